"""The kinds of orders that simulated histories are made of: the example catalogues, with orders of their own.

Three catalogues: own-mobile, home-internet (over each kind of access, for households and businesses) and
dedicated-internet. The examples' stand-ins answer at once; here a shipment takes its day. So a callout that is planned
to last longer than its time-out is given the time, as who runs such a system would set `timeoutS`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from adapters.importers.tmf620 import import_tmf620
from delay.histories import Sample
from domain.catalogue import Release
from domain.publish import compile_release
from domain.release import CompiledRelease
from domain.release_file import read_release, release_document
from gateway.tmf622 import parse_order
from orderplan.cli.files import read_object

CATALOGUES: Final = ("own-mobile", "home-internet", "dedicated-internet")
TIMEOUT_FACTOR: Final = 20.0
"""Times the planned duration."""
HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
WORK_S: Final[Mapping[str, float]] = {
    "survey/visit": 2.0 * HOUR_S,
    "prepare-copper/visit": 2.0 * HOUR_S,
    "provisioning/enrich": 1.5 * HOUR_S,
    "completion/welcome": 0.4 * HOUR_S,
    "installation/visit": 3.0 * HOUR_S,
}
"""How long people work on the tasks of these catalogues, in the middle."""


def samples(examples: Path, catalogues: tuple[str, ...] = CATALOGUES) -> list[Sample]:
    """The kinds of orders of these catalogues.

    Args:
        examples: the folder of the examples.
        catalogues: their folders in it.
    """
    made = {"own-mobile": _own_mobile, "home-internet": _home_internet, "dedicated-internet": _dedicated_internet}
    return [sample for name in catalogues for sample in made[name](examples / name)]


def _own_mobile(folder: Path) -> Iterator[Sample]:
    bindings = yaml.safe_load((folder / "bindings.yaml").read_text(encoding="utf-8"))
    catalogue = json.loads((folder / "own-mobile-catalogue.json").read_text(encoding="utf-8"))
    release = _with_time(import_tmf620(catalogue, bindings, "1")[0])
    document = read_object(str(folder / "own-mobile-order.json"))
    yield _sample("mobile package", release, document, 20, HOUR_S / 6)


def _home_internet(folder: Path) -> Iterator[Sample]:
    release = _with_time(read_release(yaml.safe_load((folder / "release.yaml").read_text(encoding="utf-8"))))
    sample = read_object(str(folder / "order-residential-fibre-web.json"))
    kinds: list[tuple[str, str, str, bool, float, float, float]] = [
        ("fibre", "residential", "web", False, 18, 1.5, 0.0),
        ("fibre", "residential", "shop", False, 6, 0.017, 0.0),
        ("fibre", "residential", "web", True, 7, 2.7, 0.0),
        ("copper", "residential", "web", False, 14, 3.2, 0.3),
        ("copper", "residential", "partner", True, 6, 4.0, 0.3),
        ("wireless", "residential", "shop", False, 5, 0.017, 0.0),
        ("wireless", "residential", "web", False, 6, 1.3, 0.0),
        ("fibre", "business", "partner", True, 7, 3.7, 0.0),
        ("copper", "business", "partner", True, 7, 4.5, 0.2),
    ]
    for technology, segment, channel, has_voice, weight, promise_days, later_share in kinds:
        document = copy.deepcopy(sample)
        document["channel"] = [{"id": channel, "name": channel}]
        document["billingAccount"]["segment"] = segment
        product = document["productOrderItem"][0]["product"]
        product["place"][0]["technology"] = technology
        if has_voice:
            product["productCharacteristic"] += [
                {"name": "voice", "valueType": "boolean", "value": True},
                {"name": "portingNumber", "valueType": "string", "value": "+1-202-555-0199"},
            ]
        voice = " with voice" if has_voice else ""
        name = f"home internet over {technology}{voice}, {segment}, {channel}"
        yield _sample(name, release, document, weight, promise_days * DAY_S, later_share)


def _dedicated_internet(folder: Path) -> Iterator[Sample]:
    release = _with_time(read_release(yaml.safe_load((folder / "release.yaml").read_text(encoding="utf-8"))))
    sample = read_object(str(folder / "order-add.json"))
    yield _sample("dedicated internet", release, sample, 4, 4.5 * DAY_S)
    fast = copy.deepcopy(sample)
    characteristics = fast["productOrderItem"][0]["product"]["productCharacteristic"]
    characteristics[0]["value"] = 2500
    yield _sample("dedicated internet, 2.5 Gbit/s", release, fast, 3, 4.8 * DAY_S)
    whole = copy.deepcopy(fast)
    offerings = ("PO-CLOUDVAULT", "PO-IPAM", "PO-INSTALLATION")
    for number, offering in enumerate(offerings, start=2):
        whole["productOrderItem"].append(
            {"id": str(number), "action": "add", "productOffering": {"id": offering}, "product": {}}
        )
    whole["productOrderItem"][0]["productOrderItemRelationship"] = [
        {"id": str(number), "relationshipType": "bundles"} for number, _ in enumerate(offerings, start=2)
    ]
    yield _sample("dedicated internet with everything", release, whole, 4, 5.0 * DAY_S)


def _sample(
    name: str,
    release: CompiledRelease,
    document: dict[str, Any],
    weight: float,
    promise_s: float,
    later_share: float = 0.0,
) -> Sample:
    order = parse_order(document, order_id="", tenant="main", client_key=None)
    return Sample(name, release, order.to_dict(), weight, promise_s, later_share)


def _with_time(release: Release) -> CompiledRelease:
    """The release, its callouts with a time-out that leaves room for what is planned."""
    document = release_document(release)
    for plan in document["plans"]:
        for item in plan["items"]:
            planned_s = item.get("durationS")
            if item["type"] == "callout" and planned_s is not None:
                item["timeoutS"] = max(item.get("timeoutS", 30.0), TIMEOUT_FACTOR * planned_s)
    return compile_release(read_release(document))
