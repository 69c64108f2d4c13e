"""`python -m bench.base`: a large installed base through the import that customers use, twice, and what is found in it.

Bars, each told as met or not, the exit code being 1 when one is not: the first import takes at most so long, the second
changes nothing, memory of the product's processes does not grow with the number of products, and products by phone
number and the timeline of an account are answered in time.

Memory is that of all processes of these kinds on the machine, so no other cluster may run there meanwhile.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from bench.cluster import Measured
from bench.figures import Figures, ms
from bench.machine import memory_mb
from orderplan.client import Client

PRODUCTS: Final = 1_000_000
IMPORT_S_MAX: Final = 600.0
"""For a million; for fewer in proportion."""
ASKED_S_P99_MAX: Final = 0.2
GROWN_MB_MAX: Final = 256.0
"""From the first tenth on, all processes but PostgreSQL together: caches that have a bound fill up."""
OF_AN_ACCOUNT: Final = 4
LARGE: Final = 2_000
"""Products of one account that is larger than the others."""
ASKED: Final = 500
SAMPLED_EACH_S: Final = 2.0
RELEASE: Final[dict[str, Any]] = {
    "code": "base",
    "version": "1",
    "products": [
        {
            "code": "sim",
            "attributes": [
                {"name": "phone", "type": "string", "searchable": True},
                {"name": "tariff", "type": "string", "searchable": True},
                {"name": "volume", "type": "integer"},
            ],
        }
    ],
}


def phone(number: int) -> str:
    """The phone number of the n-th product."""
    return f"+4179{number:08d}"


def account(number: int) -> str:
    """The account of the n-th product."""
    return "large" if number < LARGE else f"base-{number // OF_AN_ACCOUNT}"


def products(count: int) -> Iterator[bytes]:
    """TMF637 products, one a line."""
    for number in range(count):
        values = {"phone": phone(number), "tariff": f"t-{number % 3}", "volume": number % 50}
        yield json.dumps(
            {
                "id": f"sim-{number}",
                "name": "SIM",
                "status": "active",
                "billingAccount": {"id": account(number)},
                "productSpecification": {"id": "sim"},
                "productCharacteristic": [{"name": name, "value": value} for name, value in values.items()],
            }
        ).encode()


class Memory:
    """Looks at the memory of the product's processes again and again, while something goes on."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.samples: list[tuple[float, dict[str, float]]] = []

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.is_set():
            self.samples.append((time.monotonic(), memory_mb()))
            self._is_over.wait(SAMPLED_EACH_S)

    def grown_mb(self) -> dict[str, float]:
        """Of each kind of process but PostgreSQL's, by how much the last tenth is above the end of the first tenth."""
        began, ended = self.samples[0][0], self.samples[-1][0]
        early = [mb for at, mb in self.samples if at <= began + (ended - began) / 10][-1]
        late = self.samples[-1][1]
        return {name: round(mb - early.get(name, 0.0), 1) for name, mb in late.items() if name != "PostgreSQL"}


def load(client: Client, count: int) -> Figures:
    """Import so many products: seconds, what became of them, and how memory grew."""
    began = time.monotonic()
    with Memory() as memory:
        results = Counter(answer.get("result", "refused") for answer in client.ingest_inventory(products(count)))
    seconds = time.monotonic() - began
    grown = memory.grown_mb()
    return {
        "seconds": round(seconds, 1),
        "products_s": round(count / seconds),
        "results": dict(results),
        "grown_mb": round(sum(grown.values())),
        "grown_mb_of": {name: mb for name, mb in grown.items() if abs(mb) >= 1},
    }


def asked(ask: Callable[[int], Any], numbers: list[int]) -> Figures:
    """How long it takes to be answered, one question after the other."""
    took = []
    for number in numbers:
        began = time.monotonic()
        ask(number)
        took.append(time.monotonic() - began)
    took.sort()
    return {"asked": len(took), "p50_ms": ms(took, 0.5), "p99_ms": ms(took, 0.99)}


def measure(count: int, plan_hosts: int, say: Callable[[str], None]) -> Figures:
    """All of it, on a cluster of its own."""
    found: Figures = {"products": count}
    with Measured(plan_hosts) as cluster, Client(cluster.url) as client:
        cluster.call("POST", "/v1/releases:publish", RELEASE)
        for name in ("first", "again"):
            found[name] = load(client, count)
            say(f"{name}: {found[name]}")
        found["memory_mb"] = memory_mb()
        # What autovacuum does within minutes.
        cluster.execute("analyze asset")
        draw = random.Random(1)
        numbers = [draw.randrange(count) for _ in range(ASKED)]

        def by_phone(number: int) -> None:
            [product] = client.find_products("phone", phone(number))
            assert product["id"] == f"sim-{number}"

        def timeline(number: int) -> None:
            assert client.account_timeline(account(number))["entries"]

        found["by_phone"] = asked(by_phone, numbers)
        found["common_value"] = asked(lambda n: client.find_products("tariff", f"t-{n % 3}"), numbers[: ASKED // 10])
        found["timeline"] = asked(timeline, numbers)
        found["timeline_large"] = asked(timeline, [0] * (ASKED // 10))
    bars = {
        "imported": found["first"]["results"] == {"imported": count},
        "importedInTime": found["first"]["seconds"] <= IMPORT_S_MAX * max(count / PRODUCTS, 0.1),
        "unchangedAgain": found["again"]["results"] == {"unchanged": count},
        "memoryFlat": max(found[name]["grown_mb"] for name in ("first", "again")) <= GROWN_MB_MAX,
        "answeredInTime": all(
            found[name]["p99_ms"] <= ASKED_S_P99_MAX * 1000
            for name in ("by_phone", "common_value", "timeline", "timeline_large")
        ),
    }
    return found | {"bars": bars}


def main() -> None:
    """Measure and print; progress on standard error, the figures as the last line of standard output."""
    parser = argparse.ArgumentParser(prog="python -m bench.base", description="A large installed base.")
    parser.add_argument("--products", type=int, default=PRODUCTS)
    parser.add_argument("--plan-hosts", type=int, default=1)
    args = parser.parse_args()
    if args.products <= LARGE:
        parser.error(f"--products must be above {LARGE}")
    found = measure(args.products, args.plan_hosts, lambda text: print(text, file=sys.stderr, flush=True))
    print(json.dumps(found))
    if missed := [name for name, is_met in found["bars"].items() if not is_met]:
        raise SystemExit(f"not met: {', '.join(missed)}")


if __name__ == "__main__":
    main()
