"""What the bench claims follows from what it measured, and what it measures is what it says."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from actors.config import DIRECTOR, NOTIFIER, PREDICTOR, ClusterConfig
from bench import base
from bench.load import numbers
from bench.report import BARS, Bar, at, page, picture, write
from bench.run import median, ratios
from bench.scenarios import DEEP, PEOPLE, TEN, WIDE, bench_release, mixed_release, scenarios
from bench.scoring import Arm, Round, figure, verdict
from bench.timed import dispatch_latencies_s, waits_after_strike_s
from domain.catalogue import Release
from domain.publish import compile_release
from domain.release_file import read_release
from gateway.documents import Problems
from gateway.tmf637 import read_product
from orderplan.cluster import Cluster, Options


@pytest.mark.parametrize("document", [bench_release(), mixed_release()], ids=["bench", "mixed"])
def test_the_releases_of_the_bench_can_be_published(document):
    compiled = compile_release(read_release(document))

    assert compiled.products


def test_ten_is_ten_items_six_deep_and_wide_is_ten_thousand():
    deep: dict[str, int] = {}
    for item, others in TEN.items():
        deep[item] = 1 + max((deep[other] for other in others), default=0)

    assert (len(TEN), max(deep.values())) == (10, 6)
    assert {name: each.items for name, each in scenarios().items()} == {
        "ten": 10, "deep": 200, "row": 10, "wide": 10_000, "people": 3, "mixed": 0,
    }  # fmt: skip
    assert (len(DEEP), len(WIDE), len(PEOPLE)) == (200, 5, 3)


@pytest.mark.parametrize("name", scenarios())
def test_each_order_of_a_run_is_for_an_account_of_its_own(name):
    made = [scenarios()[name].order(number, "run") for number in range(6)]
    customers = {party["id"] for order in made for party in order["relatedParty"] if party.get("role") == "customer"}

    assert len({order["externalId"] for order in made}) == 6
    assert len(customers | {order.get("billingAccount", {}).get("id") for order in made} - {None}) >= 6


def test_dispatch_latency_counts_from_the_last_dependency(tmp_path: Path):
    at_s = {"start": 1.0, "a1": 1.5, "a2": 2.0, "b1": 1.0, "b2": 3.0, "c1": 1.0, "c2": 2.5, "join": 3.25}
    (tmp_path / "asked.json").write_text(json.dumps([("o1", item, instant) for item, instant in at_s.items()]))

    assert sorted(dispatch_latencies_s(tmp_path / "asked.json")) == [0.0, 0.0, 0.25, 0.5, 0.5, 1.5, 2.0]


def test_a_plan_is_overdue_from_the_end_of_what_its_call_waits_for_or_from_the_strike(tmp_path: Path):
    done = [
        ("o1", "r0", 90.0, 101.0),  # under way when the host was struck at 100
        ("o1", "r1", 104.0, 112.0),  # 3 s overdue
        ("o1", "r2", 113.0, 120.0),  # 1 s overdue
        ("o2", "r0", 80.0, 95.0),
        ("o2", "r1", 107.0, 110.0),  # its result had come before the strike: 7 s overdue
        ("o3", "r0", 80.0, 99.0),
        ("o3", "r1", 100.1, 110.0),  # had left the host before
        ("of another host", "r0", 101.0, 110.0),
    ]
    (tmp_path / "slow.json").write_text(json.dumps(done))

    after, overdue = waits_after_strike_s(tmp_path / "slow.json", {"o1", "o2", "o3"}, 100.0)

    assert after == [4.0, 7.0, 13.0]
    assert overdue == [1.0, 3.0, 7.0]


def test_figures_are_medians_and_ratios_are_of_one_round():
    found: list[dict[str, Any]] = [
        {"ten": {"orders_s": ten, "cpu": {"host": ten / 10}}, "floor": {"orders_s": floor}, "note": "text"}
        for ten, floor in ((100, 1_000), (300, 1_000), (200, 500))
    ]
    for each in found:
        each["ratios"] = ratios(each)

    assert median(found) == {
        "ten": {"orders_s": 200, "cpu": {"host": 20}},
        "floor": {"orders_s": 1_000},
        "ratios": {"ten_to_floor": 0.3},
    }


def test_a_bar_is_missed_from_the_side_that_it_bounds():
    assert [Bar("", "", 10).holds(value) for value in (9, 10, 11)] == [False, True, True]
    assert [Bar("", "", 10, is_most=True).holds(value) for value in (9, 10, 11)] == [True, True, False]


def test_the_page_says_what_was_missed_and_leaves_empty_what_was_not_measured():
    measured = {"ten": {"orders_s": 900.0}, "calm": {"p50_ms": 9.0}}
    drawn = page({"machine": {"cores": 2, "plan_hosts": 1, "seconds": 60.0}, "median": measured, "rounds": [measured]})

    assert "| `ten`, one order a request: orders/s | ≥ 1000 | 1400 | 900 | **missed** |" in drawn
    assert "| at 10 orders/s, from due to completed: p50 ms | ≤ 15 |  | 9 | reached |" in drawn
    assert "| ... to DBOS | ≥ 30 |  |  |  |" in drawn
    assert ">900<" in picture(measured)
    assert all(at({}, bar.place) is None for bar in BARS)


def test_what_was_measured_on_request_stands_on_the_page_beside_the_rest(tmp_path: Path):
    machine = {"cores": 2, "plan_hosts": 1, "seconds": 60.0}
    usual = {"ten": {"orders_s": 900.0}, "ratios": {"ten_to_floor": 0.1}}
    large = {"finished": {"finished": 1_000_000}, "ratios": {"beside_finished": 0.9}}
    write({"machine": machine, "median": large, "rounds": [large]}, tmp_path, is_large=True)
    write({"machine": machine, "median": usual, "rounds": [usual]}, tmp_path, is_large=False)

    drawn = (tmp_path / "PERFORMANCE.md").read_text()

    assert "| ... of the floor | ≥ 0.15 | 0.25 | 0.1 | **missed** |" in drawn
    assert "| `ten` beside 1,000,000 finished orders, to an empty database | ≥ 0.85 |  | 0.9 | reached |" in drawn
    assert "| finished orders of the history | 1,000,000 |" in drawn


def test_a_load_ends_after_so_many_orders_or_with_its_time():
    assert list(numbers(3, 0)) == [0, 1, 2]
    assert list(numbers(0, 0)) == []
    assert list(islice(numbers(0, 1_000), 2)) == [0, 1]


def test_every_line_of_the_installed_base_is_a_product_of_its_release() -> None:
    release = compile_release(Release.model_validate(base.RELEASE))
    problems = Problems()
    read = [read_product(json.loads(line), "", release, problems) for line in base.products(base.LARGE + 9)]

    problems.raise_if_any()
    assert [account for account, _ in read] == [base.account(number) for number in range(base.LARGE + 9)]
    attributes = read[-1][1].attributes if read[-1][1] is not None else {}
    assert attributes["phone"] == base.phone(base.LARGE + 8)


METRICS = """# TYPE orderplan_actor gauge
orderplan_actor{actor="adapters",name="facts"} 7.0
orderplan_actor{actor="predictor",name="factsPerShard"} 8.0
orderplan_actor{actor="predictor",name="facts"} 1200.0
"""


def test_what_scoring_costs_is_the_median_of_rounds_in_which_the_predictor_has_read_something():
    rounds = [Round(Arm(each, facts=10.0), Arm(100.0)) for each in (95.0, 40.0, 91.0)]
    slow = [Round(Arm(each, facts=10.0), Arm(100.0)) for each in (95.0, 89.0, 88.0)]

    assert verdict(rounds) == (True, "throughput of ten with scoring, to that without: 0.910 (bar 0.9: reached)")
    assert verdict(slow)[0] is False
    assert verdict([*rounds, Round(Arm(100.0), Arm(100.0))])[0] is False
    assert (figure(METRICS, "facts"), figure(METRICS, "scored")) == (1200.0, 0.0)
    assert "on 95.0 orders/s, off 100.0: 0.950" in str(rounds[0])


@pytest.mark.parametrize("is_on", [True, False])
def test_a_cluster_without_scoring_starts_no_predictor(is_on, tmp_path, monkeypatch):
    started: list[str] = []

    class Handle:
        def __getattr__(self, _name: str) -> Handle:
            return self

        def remote(self) -> None:
            return None

    def start(_actor: type, name: str, _config: object, restarts: int) -> Handle:
        started.append(name)
        return Handle()

    monkeypatch.setattr("actors.remote.start_actor", start)
    monkeypatch.setattr("actors.remote.handle_of", lambda name: Handle() if name == DIRECTOR else None)
    monkeypatch.setattr("ray.get", lambda *_args, **_kwargs: True)
    config = ClusterConfig(dsn="", key_dsn="", port=0)
    Cluster(Options(data=tmp_path, delay_scoring=is_on))._start_actors(config)

    assert (PREDICTOR in started) is is_on
    assert NOTIFIER in started
