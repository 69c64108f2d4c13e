"""Facts stay readable: every kind in every version that was ever written, and nobody changes one unnoticed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain import facts as f
from domain.evolve import evolve
from domain.facts import UPCASTERS, VERSIONS, Fact, upcast
from domain.inventory import Asset, AssetDelta
from tests.support import golden
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

FILES = sorted(golden.FOLDER.glob("v*/*.json"))


def stored(path: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("kind", VERSIONS)
def test_every_kind_has_a_golden_file_of_its_newest_version(kind: str) -> None:
    assert golden.path_of(kind, VERSIONS[kind]).is_file(), "write it: python -m tests.support.golden"


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_payload_is_written_today_as_its_golden_file_says(kind: str) -> None:
    newest = stored(golden.path_of(kind, VERSIONS[kind]))

    assert golden.forms(golden.written(kind)) == golden.forms(newest["payloads"]), (
        f"the form of {kind} has changed: raise its version, add an upcaster, write new golden files"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_was_written_once_gives_what_it_gave(path: Any) -> None:
    document = stored(path)
    kind, history = document["kind"], document["history"]
    assert (kind, f"v{document['v']}") == (path.stem, path.parent.name)
    assert history["facts"][-1]["kind"] == kind

    if kind == f.ASSETS_IMPORTED:
        payload = upcast(kind, document["v"], history["facts"][0]["payload"])
        assets = [Asset.from_dict(body) for body in payload["assets"]]
        assert [asset.asset_id for asset in assets] == document["then"]
        assert [asset.to_dict() for asset in assets] == payload["assets"]
    elif kind == f.ASSETS_BOOKED:
        payload = upcast(kind, document["v"], history["facts"][0]["payload"])
        deltas = [AssetDelta.from_dict(body) for body in payload["changes"]]
        assert [delta.asset_id for delta in deltas] == document["then"]
        assert [delta.to_dict() for delta in deltas] == payload["changes"]
    else:
        assert golden.seen(golden.read(history)) == document["then"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_old_payload_comes_out_in_the_newest_form(path: Any) -> None:
    document = stored(path)
    newest = stored(golden.path_of(document["kind"], VERSIONS[document["kind"]]))
    risen = [upcast(document["kind"], document["v"], payload) for payload in document["payloads"]]

    assert golden.forms(risen) <= golden.forms(newest["payloads"])


def test_every_step_from_an_old_version_has_an_upcaster() -> None:
    steps = {(kind, version) for kind, newest in VERSIONS.items() for version in range(1, newest)}

    assert set(UPCASTERS) == steps


def test_every_file_is_of_a_kind_and_version_that_exists() -> None:
    assert {path.stem for path in FILES} == set(VERSIONS)
    assert all(int(path.parent.name[1:]) <= VERSIONS[path.stem] for path in FILES)


def test_a_fact_of_a_newer_program_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match=r"order\.accepted version 3 is newer"):
        upcast(f.ORDER_ACCEPTED, VERSIONS[f.ORDER_ACCEPTED] + 1, {})
    with pytest.raises(ValueError, match=r"order\.forgotten version 1 is newer"):
        upcast("order.forgotten", 1, {})


def test_an_old_version_is_lifted_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERSIONS, f.ORDER_MOVED, 3)
    monkeypatch.setitem(UPCASTERS, (f.ORDER_MOVED, 1), lambda payload: payload | {"second": 1})
    monkeypatch.setitem(UPCASTERS, (f.ORDER_MOVED, 2), lambda payload: payload | {"third": payload["second"] + 1})

    assert upcast(f.ORDER_MOVED, 1, {"state": "held"}) == {"state": "held", "second": 1, "third": 2}
    assert upcast(f.ORDER_MOVED, 3, {"state": "held"}) == {"state": "held"}


def test_every_kind_but_those_of_accounts_changes_a_plan() -> None:
    engine = Engine(golden.release("branches"))
    plan = golden.branches().plans.popitem()[1]

    for kind in golden.ACCOUNT_FACTS:
        with pytest.raises(KeyError):
            evolve(plan, Fact(kind, engine.now))
    written = {kind for kind in VERSIONS if kind not in golden.ACCOUNT_FACTS and golden.written(kind)}
    assert written == set(VERSIONS) - set(golden.ACCOUNT_FACTS)


@pytest.mark.parametrize("story", golden.STORIES)
def test_the_stories_of_the_golden_files_replay_to_what_they_were(story: str) -> None:
    for name, order_id in golden.histories():
        if name == story:
            _, engine, _ = golden.histories()[name, order_id]
            plan = engine.plans[order_id]
            assert fingerprint(engine.replayed(plan)) == fingerprint(plan)
