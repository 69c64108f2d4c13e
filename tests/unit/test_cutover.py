"""Orders that another system has begun: what is done is taken as done, the rest is driven, and all or nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from domain.errors import BadDocument, NothingToFulfil, OpenOrderConflict
from domain.facts import ITEM_COMPLETED
from tests.support.build import (
    assetize,
    callout,
    depends,
    line,
    manual,
    milestone,
    order_of,
    plan_of,
    release_of,
    scenario,
)
from tests.support.engine import Engine

PLAN = plan_of(
    "p",
    callout("reserve", rollbackPlan="undo"),
    callout("survey", condition="attributes.n == 2", skipBranch=False),
    milestone("planned"),
    manual("visit"),
    callout("activate"),
    assetize(),
    callout("bill"),
)
ORDER = ["reserve", "survey", "planned", "visit", "activate", "assetize", "bill"]


def engine() -> Engine:
    return Engine(
        release_of(
            products=[{"code": "x", "attributes": [{"name": "n"}]}],
            plans=[PLAN, plan_of("undo", "unreserve")],
            dependencies=[depends(f"p/{after}", f"p/{first}") for first, after in pairwise(ORDER)],
            scenarios=[scenario("x", "p", "add", "modify")],
        )
    )


def begun(made: Engine, *done: str, **members: Any) -> Any:
    return made.accept(order_of(line("1", "x", n=1), **members), actor="person:mia", done=done)


@pytest.mark.parametrize(
    ("done", "open_item"),
    [
        ((), "p/reserve@1"),
        (("p/reserve",), "p/visit@1"),
        (("p/visit", "p/reserve@1"), "p/activate@1"),
        (("p/reserve", "p/planned", "p/visit", "p/activate"), "p/bill@1"),
    ],
)
def test_what_is_named_is_done_without_being_sent_and_the_rest_is_driven(done: tuple[str, ...], open_item: str) -> None:
    made = engine()
    plan = begun(made, *done)

    sent = [call.item for call in made.calls[plan.order_id]]
    assert [*sent, *made.tasks[plan.order_id]] == [open_item]
    named = {name.partition("@")[0] + "@1" for name in done} - {"p/planned@1"}
    completed = [fact for fact in made.facts[plan.order_id] if fact.kind == ITEM_COMPLETED and fact.payload]
    told = {fact.item: (fact.actor, (fact.payload or {})["by"]) for fact in completed}
    assert told == dict.fromkeys(named, ("person:mia", "cutover"))
    assert made.replayed(plan) == plan
    made.finish(plan)
    assert (plan.order_state, len(made.account.assets)) == ("completed", 1)


def test_an_order_of_which_all_is_done_ends_and_its_products_are_there() -> None:
    made = engine()
    plan = begun(made, "p/reserve", "p/visit", "p/activate", "p/bill")
    assert (plan.order_state, made.calls[plan.order_id], len(made.account.assets)) == ("completed", [], 1)


def test_an_item_whose_condition_is_false_here_was_done_all_the_same() -> None:
    made = engine()
    plan = begun(made, "p/reserve", "p/survey")
    assert plan.by_key["p/survey@1"].state == "Completed"


@pytest.mark.parametrize("gate", [{"condition": "attributes.n == 2"}, {"processAfter": "'2099-01-01T00:00:00Z'"}])
@pytest.mark.parametrize("skip_branch", [False, True])
def test_a_sub_plan_of_which_something_is_done_was_begun_whatever_its_condition_or_date_says_here(
    gate: dict[str, Any], skip_branch: bool
) -> None:
    visit = {"code": "visit", "type": "subPlan", "subPlan": "v", "skipBranch": skip_branch} | gate
    made = Engine(
        release_of(
            products=[{"code": "x", "attributes": [{"name": "n"}]}],
            plans=[
                plan_of("p", visit, "after"),
                plan_of("v", "travel", "work"),
            ],
            dependencies=[depends("v/work", "v/travel"), depends("p/after", "p/visit")],
            scenarios=[scenario("x", "p")],
        )
    )
    plan = begun(made, "v/travel")
    states = {key: item.state.value for key, item in plan.by_key.items()}
    assert states == {
        "p/visit@1": "Running", "v/travel@1": "Completed", "v/work@1": "Running", "p/after@1": "Pending",
    }  # fmt: skip


def test_what_cannot_be_planned_here_is_refused_and_stays_where_it_was_begun() -> None:
    made = Engine(release_of(products=["x", "y"], plans=[plan_of("p", "work")], scenarios=[scenario("x", "p")]))
    order = order_of(line("1", "y"))
    with pytest.raises(NothingToFulfil):
        made.accept(order, done=())
    assert (made.plans, made.account.open_orders) == ({}, {})


@pytest.mark.parametrize(
    ("done", "path", "reason"),
    [
        (("p/reserve", "p/nothing"), "done[1]", "the plan has no item 'p/nothing'"),
        (("p/visit",), "done[0]", "item 'p/visit@1' cannot be done: p/planned@1 is before it and not done"),
        (("p/reserve", "p/bill"), "done[1]", "p/assetize@1 is before it"),
    ],
)
def test_what_cannot_be_done_refuses_the_order_and_nothing_is_kept(
    done: tuple[str, ...], path: str, reason: str
) -> None:
    made = engine()
    with pytest.raises(BadDocument) as refused:
        begun(made, *done)
    assert refused.value.path == path
    assert reason in refused.value.reason
    assert (made.plans, made.account.open_orders, made.account.assets) == ({}, {}, {})


def test_of_several_items_of_one_name_each_is_named_by_its_key() -> None:
    made = engine()
    order = order_of(line("1", "x", n=1), line("2", "x", n=1))
    with pytest.raises(BadDocument, match=r"the plan has 2 items 'p/reserve'.*p/reserve@1, p/reserve@2"):
        made.accept(order, done=["p/reserve"])
    plan = made.accept(order, done=["p/reserve@2"])
    assert [call.item for call in made.calls[plan.order_id]] == ["p/reserve@1"]


def test_an_order_that_would_wait_for_another_one_is_refused() -> None:
    made = engine()
    made.finish(made.accept(order_of(line("1", "x", n=1))))
    [asset_id] = made.account.assets
    change = order_of(line("1", None, "modify", product_id=asset_id, n=2))
    made.accept(change)
    with pytest.raises(OpenOrderConflict):
        made.accept(order_of(line("1", None, "modify", product_id=asset_id, n=3)), done=["p/reserve"])


def test_what_was_done_elsewhere_is_undone_here_when_the_order_is_cancelled() -> None:
    made = engine()
    plan = begun(made, "p/reserve", "p/visit")
    made.answer(plan, made.call(plan, "p/activate@1"))
    made.answer(plan, made.call(plan, "p/bill@1"))
    assert plan.order_state == "completed"

    plan = begun(made, "p/reserve")
    made.change(plan, "cancel")
    assert [call.item.partition("@")[0] for call in made.calls[plan.order_id]] == ["undo/unreserve"]
    made.finish(plan)
    assert plan.order_state == "cancelled"


def visits() -> Engine:
    release = release_of(
        products=["x"],
        plans=[
            plan_of("p", "before", {"code": "visit", "type": "subPlan", "subPlan": "v"}, "after"),
            plan_of("v", "travel", "work"),
        ],
        dependencies=[
            depends("p/visit", "p/before"),
            depends("p/after", "p/visit"),
            depends("v/work", "v/travel"),
        ],
        scenarios=[scenario("x", "p")],
    )
    return Engine(release)


def test_of_a_sub_plan_its_items_are_named_and_it_is_done_when_they_are() -> None:
    made, order = visits(), order_of(line("1", "x"))
    with pytest.raises(BadDocument, match="is done when what it stands for is"):
        made.accept(order, done=["p/before", "p/visit"])
    with pytest.raises(BadDocument, match="'v/travel@1' cannot be done: p/visit@1 is before it"):
        made.accept(order, done=["v/travel"])

    plan = made.accept(order, done=["p/before", "v/travel"])
    assert [call.item for call in made.calls[plan.order_id]] == ["v/work@1"]
    plan = made.accept(order, done=["p/before", "v/travel", "v/work"])
    assert [call.item for call in made.calls[plan.order_id]] == ["p/after@1"]
