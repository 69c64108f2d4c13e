"""Changes of orders under way, rule by rule: what is done again, undone, kept, refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from domain.errors import (
    BadDocument,
    Conflict,
    NotFound,
    NotPossibleNow,
    OpenOrderConflict,
    OrderplanError,
    PastNoReturn,
    ProtectedAttribute,
    StaleVersion,
)
from domain.messages import ChangeOrder
from domain.plan import Plan
from domain.preview import preview
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
    rule,
    scenario,
)
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint


def engine_of(*items: dict[str, Any], depend: tuple[str, ...] = (), **parts: Any) -> Engine:
    """One product `offer` with plan `p` of these items, each waiting for the one before (or `depend`: `b<a`)."""
    codes = [item["code"] for item in items]
    edges = [each.split("<") for each in depend] or [[after, before] for before, after in pairwise(codes)]
    given: dict[str, Any] = {
        "products": [{"code": "offer", "attributes": [{"name": "speed"}, {"name": "colour", "significant": False}]}],
        "plans": [plan_of("p", *items), *parts.pop("plans", ())],
        "dependencies": [depends(f"p/{after}", f"p/{before}") for after, before in edges],
        "scenarios": [scenario("offer", "p", "add", "modify", "delete")],
    }
    return Engine(release_of(**given | parts))


def offer(speed: int = 1, line_id: str = "1", **attributes: Any) -> Any:
    return line(line_id, "offer", speed=speed, **attributes)


def states(plan: Plan) -> dict[str, str]:
    return {item.key.removeprefix("p/").replace("@1", ""): item.state.value for item in plan.items}


def unchanged(engine: Engine, plan: Plan, error: type[OrderplanError], kind: str, **members: Any) -> OrderplanError:
    """The refusal of a change, which has left everything as it was."""
    before, told = fingerprint(plan), len(engine.facts[plan.order_id])
    with pytest.raises(error) as refused:
        engine.change(plan, kind, **members)
    assert fingerprint(plan) == before
    assert len(engine.facts[plan.order_id]) == told
    return refused.value


def done(engine: Engine, plan: Plan) -> None:
    """The order ends, and its facts give its state."""
    engine.finish(plan)
    assert plan.ended_at is not None
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)
    assert engine.account.open_orders == {}


# What is done again.


@pytest.mark.rule("B2.20", "B2.26", "C1.17")
def test_what_has_not_run_carries_the_new_value_and_what_has_is_done_again() -> None:
    engine = engine_of(callout("one"), callout("two"), manual("three"))
    plan = engine.accept(order_of(offer(1)))
    engine.answer(plan, engine.call(plan, "p/one"))
    engine.answer(plan, engine.call(plan, "p/two"))
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    again = {"one~1": "Running", "two~1": "Pending"}
    assert states(plan) == {"one": "Amended", "two": "Amended", "three": "Pending", **again}
    assert engine.tasks[plan.order_id] == {}, "a task that has to wait again is taken off its queue"
    made = engine.finish(plan)
    assert [call.payload["lines"][0]["attributes"]["speed"] for call in made] == [2, 2]
    assert [call.item for call in made] == ["p/one@1~1", "p/two@1~1"]
    done(engine, plan)


@pytest.mark.rule("C1.15")
def test_a_value_that_does_not_matter_changes_without_work() -> None:
    engine = engine_of(callout("one"), callout("two"))
    plan = engine.accept(order_of(offer(1, colour="red")))
    engine.answer(plan, engine.call(plan, "p/one"))
    engine.steer(plan, "hold")
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"colour": "blue"}}}})
    call = engine.call(plan, "p/two")
    engine.answer(plan, call)
    assert states(plan) == {"one": "Completed", "two": "Completed"}
    assert plan.lines[0].attributes["colour"] == "blue"


@pytest.mark.rule("C1.15")
def test_an_item_with_a_request_of_its_own_is_done_again_only_if_it_says_something_else() -> None:
    engine = engine_of(
        callout("reads", request={"speed": "attributes.speed"}),
        callout("reads-not", request={"city": "place.city"}),
        manual("last"),
    )
    plan = engine.accept(order_of(offer(1, place={"city": "Exampleton"})))
    for code in ("reads", "reads-not"):
        engine.answer(plan, engine.call(plan, f"p/{code}"))
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    assert states(plan)["reads"] == "Amended"
    assert states(plan)["reads-not"] == "Completed"


@pytest.mark.rule("B2.20", "C1.15", "C1.17", "C2.13")
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ({"onAmend": "nothing"}, {}),
        ({"amendPlan": "mend"}, {"mend/set": "Running"}),
        ({"onAmend": "undoThenRedo", "rollbackPlan": "undo"}, {"undo/back": "Running", "one~1": "Pending"}),
        ({}, {"one~1": "Running"}),
    ],
)
def test_the_definition_says_what_becomes_of_done_work(behaviour: dict[str, Any], expected: dict[str, str]) -> None:
    engine = engine_of(
        callout("one", **behaviour),
        manual("last"),
        plans=[plan_of("undo", "back"), plan_of("mend", "set")],
    )
    plan = engine.accept(order_of(offer(1)))
    engine.answer(plan, engine.call(plan, "p/one"), {"attributes": {"colour": "as built"}})
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    found = states(plan)
    assert found.pop("one") == "Amended"
    last = found.pop("last")
    assert found == expected
    # The task waits for what is under way now, and its definition's words are what there is to wait for.
    assert last == ("Pending" if expected else "Ready")
    if "undo/back" in expected:
        assert engine.call(plan, "undo/back").payload["lines"][0]["attributes"]["speed"] == 1
    done(engine, plan)
    assert plan.order_state == "completed"


@pytest.mark.rule("B2.22")
def test_a_task_that_somebody_works_on_goes_on_with_a_note() -> None:
    engine = engine_of(manual("one"), callout("two"))
    plan = engine.accept(order_of(offer(1)))
    engine.claim(plan, "p/one@1")
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    assert states(plan) == {"one": "Running", "two": "Pending"}
    assert engine.facts[plan.order_id][-1].kind == "item.annotated"
    assert list(engine.tasks[plan.order_id]) == ["p/one@1"]
    engine.complete_task(plan, "p/one@1")
    done(engine, plan)


@pytest.mark.rule("B2.29")
def test_a_failed_try_that_nobody_heard_of_is_followed_by_one_with_a_key_of_its_own() -> None:
    engine = engine_of(callout("one"))
    plan = engine.accept(order_of(offer(1)))
    engine.fail(plan, engine.call(plan, "p/one"), unheard=True)
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    assert states(plan) == {"one": "Failed"}
    engine.fire(plan, "p/one@1")
    call = engine.call(plan, "p/one")
    assert (call.attempt, call.payload["lines"][0]["attributes"]["speed"]) == (2, 2)


def test_what_answers_have_said_stays_unless_the_order_now_says_something_else() -> None:
    product = {"code": "offer", "attributes": [{"name": "speed"}, {"name": "serial"}]}
    engine = engine_of(callout("one"), manual("last"), products=[product])
    plan = engine.accept(order_of(offer(1, serial="ordered")))
    engine.answer(plan, engine.call(plan, "p/one"), {"attributes": {"serial": "built", "speed": 9}})
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    assert plan.lines[0].attributes == {"speed": 2, "serial": "built"}


# Freezing.


@pytest.mark.rule("B2.17")
def test_an_item_under_way_that_goes_on_is_not_waited_for_and_done_again_behind_itself() -> None:
    engine = engine_of(callout("one", freeze="goOn"), manual("last"))
    plan = engine.accept(order_of(offer(1)))
    first = engine.call(plan, "p/one")
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    assert states(plan) == {"one": "Running", "last": "Pending", "one~1": "Pending"}
    engine.answer(plan, first)
    assert states(plan)["one~1"] == "Running"
    done(engine, plan)


def test_a_timer_rests_while_its_plan_is_held_or_frozen() -> None:
    engine = engine_of(callout("one"), callout("two", processAfter="attributes.start"), depend=("two<one",))
    start = "2026-03-02T10:00:00+00:00"
    plan = engine.accept(order_of(offer(1, start=start)))
    engine.answer(plan, engine.call(plan, "p/one"))
    item = plan.by_key["p/two@1"]
    assert states(plan)["two"] == "Scheduled"
    for stop, go in (("hold", "resume"), ("freeze", "thaw")):
        at = item.timer_at
        engine.steer(plan, stop)
        assert (item.timer_at, plan.next_timer()) == (None, None)
        engine.steer(plan, go)
        assert item.timer_at == at
        assert plan.next_timer() is not None


def test_what_comes_on_hold_while_frozen_goes_on_after_the_thaw() -> None:
    engine = engine_of(callout("one"))
    plan = engine.accept(order_of(offer(1)))
    call = engine.call(plan, "p/one")
    engine.steer(plan, "freeze")
    assert plan.state == "Freezing"
    engine.turn_back(plan, call)
    assert plan.state == "Frozen"
    engine.steer(plan, "thaw")
    assert states(plan) == {"one": "On Hold"}
    engine.resume(plan, "p/one@1")
    assert engine.call(plan, "p/one").attempt == 1, "it was not made, so its key stays"
    done(engine, plan)


@pytest.mark.rule("B1.2")
def test_a_held_order_is_changed_and_held_again() -> None:
    engine = engine_of(callout("one"), callout("two"))
    plan = engine.accept(order_of(offer(1)))
    engine.steer(plan, "hold")
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    engine.answer(plan, engine.call(plan, "p/one"))
    assert (plan.state, plan.order_state) == ("Held", "held")
    assert engine.calls[plan.order_id] == []
    engine.steer(plan, "resume")
    assert states(plan)["one~1"] == "Running"
    done(engine, plan)


@pytest.mark.rule("B1.5", "C1.7")
def test_a_change_that_waits_is_refused_when_another_order_builds_on_it_meanwhile() -> None:
    engine = engine_of(
        callout("late"),
        products=[
            {"code": "offer", "attributes": [{"name": "speed"}]},
            {"code": "part", "scope": "account", "attributes": [{"name": "speed"}]},
        ],
        decompositions=[rule("offer", "part", {"to": "speed", "copy": "speed"})],
        plans=[plan_of("q", "make")],
        scenarios=[scenario("offer", "p"), scenario("part", "q", "add", "modify")],
    )
    plan = engine.accept(order_of(offer(1)))
    engine.change(plan, "amend", order=order_of(offer(2)))
    assert plan.state == "Freezing"
    # Another order of the account builds on the part that the change touches.
    other = engine.accept(order_of(offer(3)))
    for call in list(engine.calls[plan.order_id]):
        engine.answer(plan, call)
    kinds = [fact.kind for fact in engine.facts[plan.order_id]]
    assert "change.refused" in kinds
    assert (plan.state, plan.change) == ("Completed", None)
    assert plan.lines[0].attributes["speed"] == 1
    for each in (plan, other):
        engine.finish(each)
    assert plan.order_state == "completed"


# Undoing.


@pytest.mark.rule("B2.23", "B2.25", "C1.9", "C1.10", "C1.16", "C2.11", "C2.12")
def test_what_is_undone_goes_in_reverse_and_only_what_was_done() -> None:
    undo = [plan_of(f"undo-{code}", "back") for code in "abcd"]
    items = [callout(code, rollbackPlan=f"undo-{code}") for code in "abcd"]
    engine = engine_of(*items, depend=("b<a", "c<a", "d<b", "d<c"), plans=undo)
    plan = engine.accept(order_of(offer(1)))
    for code in "abc":
        engine.answer(plan, engine.call(plan, f"p/{code}"))
    engine.change(plan, "cancel")
    engine.fail(plan, engine.call(plan, "p/d"), fatal=True)
    order = []
    while engine.calls[plan.order_id] or engine.tasks[plan.order_id]:
        for key in list(engine.tasks[plan.order_id]):
            order.append(key.split("@")[0])
            engine.complete_task(plan, key, {"resolution": "nothing was done"})
        for call in list(engine.calls[plan.order_id]):
            order.append(call.item.split("@")[0])
            engine.answer(plan, call)
    assert order[0] == "resolve/fallout"
    assert sorted(order[1:3]) == ["undo-b/back", "undo-c/back"]
    assert order[3:] == ["undo-a/back"]
    assert plan.order_state == "cancelled"


@pytest.mark.rule("C1.11")
def test_a_rollback_group_is_undone_once_for_each_bundle() -> None:
    engine = engine_of(
        callout("a", rollbackPlan="undo", rollbackGroup="g"),
        callout("b", rollbackPlan="undo", rollbackGroup="g"),
        manual("last"),
        plans=[plan_of("undo", "back")],
    )
    plan = engine.accept(order_of(offer(1), offer(1, "2")))
    for _ in range(4):
        engine.answer(plan, engine.calls[plan.order_id][0])
    engine.change(plan, "cancel")
    assert [call.item for call in engine.finish(plan)] == ["undo/back@1", "undo/back@2"]


def test_work_that_was_amended_and_is_then_cancelled_is_undone_once() -> None:
    engine = engine_of(callout("one", rollbackPlan="undo"), manual("last"), plans=[plan_of("undo", "back")])
    plan = engine.accept(order_of(offer(1)))
    engine.answer(plan, engine.call(plan, "p/one"))
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    engine.answer(plan, engine.call(plan, "p/one"))
    engine.change(plan, "cancel")
    made = engine.finish(plan)
    assert [(call.item, call.payload["lines"][0]["attributes"]["speed"]) for call in made] == [("undo/back@1", 2)]
    assert plan.order_state == "cancelled"


@pytest.mark.rule("B3.15", "C1.14", "C2.3")
def test_of_two_bundles_one_is_cancelled_and_the_order_ends_in_part() -> None:
    engine = engine_of(callout("one", rollbackPlan="undo"), callout("two"), plans=[plan_of("undo", "back")])
    plan = engine.accept(order_of(offer(1), offer(2, "2")))
    for call in list(engine.calls[plan.order_id]):
        engine.answer(plan, call)
    engine.change(plan, "cancel", lines=("2",))
    refusal = unchanged(engine, plan, NotPossibleNow, "cancel", lines=("2",))
    assert "waits for work under way" in refusal.reason
    done(engine, plan)
    assert plan.order_state == "partial"
    assert [asset.attributes["speed"] for asset in engine.account.assets.values()] == [1]


def test_the_last_bundle_that_is_cancelled_cancels_the_order() -> None:
    engine = engine_of(manual("one"))
    plan = engine.accept(order_of(offer(1), offer(2, "2")))
    engine.change(plan, "cancel", lines=("1",))
    engine.change(plan, "cancel", lines=("2",))
    assert plan.order_state == "cancelled"
    assert engine.tasks[plan.order_id] == {}


# What is refused.


@pytest.mark.rule("C2.3", "C2.4")
def test_a_change_is_refused_with_its_reason_and_nothing_has_changed() -> None:
    product = {"code": "offer", "attributes": [{"name": "speed", "changeable": False}]}
    engine = engine_of(manual("one"), products=[product])
    plan = engine.accept(order_of(offer(1)))
    unchanged(engine, plan, ProtectedAttribute, "amend", order=order_of(offer(2)))
    unchanged(engine, plan, StaleVersion, "cancel", version=7)
    unchanged(engine, plan, NotFound, "cancel", lines=("9",))
    unchanged(engine, plan, NotFound, "patch", patch={"lines": {"9": {}}})
    unchanged(engine, plan, BadDocument, "patch", patch={"colour": "red"})
    unchanged(engine, plan, Conflict, "amend", order=order_of(offer(1), account="acc-2"))
    unchanged(engine, plan, Conflict, "amend", order=order_of(line("1", "offer", "delete", product_id="p-1")))
    engine.steer(plan, "freeze")
    unchanged(engine, plan, NotPossibleNow, "cancel")
    engine.steer(plan, "thaw")
    engine.finish(plan)
    unchanged(engine, plan, NotPossibleNow, "cancel")


@pytest.mark.rule("C1.2", "C1.3", "C1.4")
def test_a_point_of_no_return_closes_its_bundle_only_and_may_be_forced() -> None:
    engine = engine_of(callout("one"), callout("gone", pointOfNoReturn=True), manual("last"))
    plan = engine.accept(order_of(offer(1), offer(2, "2")))
    engine.answer(plan, engine.calls[plan.order_id][0])
    refusal = unchanged(engine, plan, PastNoReturn, "cancel", lines=("1",))
    assert refusal.facts["bundles"] == ["1"]
    unchanged(engine, plan, PastNoReturn, "cancel")
    engine.change(plan, "cancel", lines=("2",))
    for call in list(engine.calls[plan.order_id]):
        engine.answer(plan, call)
    engine.change(plan, "cancel", is_forced=True)
    done(engine, plan)
    assert plan.order_state == "cancelled"


def test_an_order_does_not_take_what_another_one_holds() -> None:
    engine = engine_of(manual("one"))
    first = engine.accept(order_of(offer(1)))
    engine.finish(first)
    asset = first.lines[0].asset_id
    holder = engine.accept(order_of(line("1", "offer", "modify", product_id=asset, speed=3)))
    plan = engine.accept(order_of(offer(1)))
    wanted = order_of(offer(1), line("2", "offer", "modify", product_id=asset, speed=4))
    unchanged(engine, plan, OpenOrderConflict, "amend", order=wanted)
    engine.finish(holder)
    engine.change(plan, "amend", order=wanted)
    done(engine, plan)


def test_an_order_that_waits_goes_on_when_the_one_before_it_lets_go_of_its_product() -> None:
    engine = engine_of(manual("one"))
    first = engine.accept(order_of(offer(1)))
    engine.finish(first)
    change = line("1", "offer", "modify", product_id=first.lines[0].asset_id, speed=3)
    holder = engine.accept(order_of(change, offer(1, "2")))
    waiting = engine.accept(order_of(line("1", "offer", "delete", product_id=first.lines[0].asset_id)))
    assert waiting.order_state == "pending"
    engine.change(holder, "amend", order=order_of(offer(1, "2")))
    assert waiting.order_state == "inProgress"
    for plan in (holder, waiting):
        engine.finish(plan)
    assert engine.account.open_orders == {}


def test_an_order_that_waits_can_be_amended_and_cancelled() -> None:
    engine = engine_of(manual("one"))
    first = engine.accept(order_of(offer(1)))
    engine.finish(first)
    asset = first.lines[0].asset_id
    holder = engine.accept(order_of(line("1", "offer", "modify", product_id=asset, speed=3)))
    waiting = engine.accept(order_of(line("1", "offer", "modify", product_id=asset, speed=4)))
    engine.change(waiting, "patch", patch={"lines": {"1": {"attributes": {"speed": 5}}}})
    third = engine.accept(order_of(line("1", "offer", "delete", product_id=asset)))
    engine.change(third, "cancel")
    assert third.order_state == "cancelled"
    for plan in (holder, waiting):
        engine.finish(plan)
    assert [each.attributes["speed"] for each in engine.account.assets.values()] == [5]


# Releases, priority, previews.


@pytest.mark.rule("C2.7", "C2.10")
def test_an_order_is_moved_to_a_release_with_more_to_do() -> None:
    engine = engine_of(callout("one"), manual("two"))
    plan = engine.accept(order_of(offer(1)))
    engine.answer(plan, engine.call(plan, "p/one"))
    newer = release_of(
        version="2",
        products=[{"code": "offer", "attributes": [{"name": "speed"}]}],
        plans=[plan_of("p", "one", manual("two"), milestone("three"), callout("four"))],
        dependencies=[depends("p/two", "p/one"), depends("p/three", "p/two"), depends("p/four", "p/three")],
        scenarios=[scenario("offer", "p")],
    )
    engine.releases[newer.release_id] = newer
    engine.change(plan, "move", release=newer.release_id)
    assert states(plan) == {"one": "Completed", "two": "Ready", "three": "Pending", "four": "Pending"}
    assert plan.release is newer
    done(engine, plan)
    assert states(plan)["four"] == "Completed"


@pytest.mark.rule("C2.4", "C2.17")
def test_a_preview_says_what_then_happens_and_changes_nothing() -> None:
    engine = engine_of(callout("one", rollbackPlan="undo"), callout("two"), plans=[plan_of("undo", "back")])
    plan = engine.accept(order_of(offer(1)))
    engine.answer(plan, engine.call(plan, "p/one"))
    before = fingerprint(plan)
    message = ChangeOrder("cancel", "because", "m-1", is_dry_run=True)
    shown = preview(engine._new_turn(plan), message, engine.account_of(plan), engine.release)
    assert fingerprint(plan) == before
    assert shown["waitsFor"] == ["p/two@1"]
    assert shown["notUndone"] == ["p/two@1"]
    assert [(each["key"], each["role"]) for each in shown["added"]] == [("undo/back@1", "undo")]
    engine.change(plan, "cancel")
    engine.answer(plan, engine.call(plan, "p/two"))
    assert {item.key: item.state.value for item in plan.items} == {each["key"]: each["state"] for each in shown["plan"]}


def test_a_priority_is_given_once_and_must_exist() -> None:
    engine = engine_of(manual("one"))
    plan = engine.accept(order_of(offer(1)))
    engine.steer(plan, "prioritize", "high")
    told = len(engine.facts[plan.order_id])
    engine.steer(plan, "prioritize", "high")
    assert (plan.order.priority, len(engine.facts[plan.order_id])) == ("high", told)
    with pytest.raises(BadDocument) as refused:
        engine.steer(plan, "prioritize", "soon")
    assert refused.value.path == "priority"


def test_a_release_is_refused_whose_plans_of_change_could_never_run() -> None:
    def problems(**item: Any) -> str:
        with pytest.raises(OrderplanError) as refused:
            engine_of(callout("one", **item), plans=[plan_of("undo", "back"), plan_of("sub", assetize())])
        return str(refused.value.facts["problems"])

    assert "not a plan of the release" in problems(rollbackPlan="nowhere")
    assert "no assetize" in problems(rollbackPlan="sub")
    assert "own plan" in problems(rollbackPlan="p")
    assert "give amendPlan or onAmend" in problems(amendPlan="undo", onAmend="redo")
    assert "needs a rollbackPlan" in problems(onAmend="undoThenRedo")
    assert "needs a rollbackPlan" in problems(rollbackGroup="g")




# What a reader of the first version has found.


def test_work_whose_condition_has_become_false_is_undone() -> None:
    engine = engine_of(
        callout("one", condition="attributes.speed < 5", rollbackPlan="undo"), manual("last"),
        plans=[plan_of("undo", "back")],
    )  # fmt: skip
    plan = engine.accept(order_of(offer(1)))
    engine.answer(plan, engine.call(plan, "p/one"))
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 9}}}})
    assert [call.item for call in engine.finish(plan)] == ["undo/back@1"]
    assert states(plan)["one~1"] == "Skipped"
    assert plan.order_state == "completed"


def test_after_a_move_an_order_ends_although_the_release_lacks_what_was_cancelled() -> None:
    engine = engine_of(
        callout("one"), manual("last"),
        products=["offer", "other"],
        plans=[plan_of("q", manual("there"))],
        scenarios=[scenario("offer", "p"), scenario("other", "q")],
    )  # fmt: skip
    plan = engine.accept(order_of(line("1", "offer"), line("2", "other")))
    engine.change(plan, "cancel", lines=("2",))
    engine.answer(plan, engine.call(plan, "p/one"))
    newer = release_of(
        version="2",
        products=["offer"],
        plans=[plan_of("p", "one", manual("last"))],
        dependencies=[depends("p/last", "p/one")],
        scenarios=[scenario("offer", "p")],
    )
    engine.releases[newer.release_id] = newer
    engine.change(plan, "move", release=newer.release_id)
    done(engine, plan)
    assert plan.order_state == "partial"


def test_a_relation_to_a_cancelled_line_is_no_obstacle() -> None:
    engine = engine_of(manual("one"))
    plan = engine.accept(order_of(offer(1), offer(1, "2", relations=(("reliesOn", "1"),))))
    engine.change(plan, "cancel", lines=("1",))
    engine.change(plan, "patch", patch={"lines": {"2": {"attributes": {"speed": 2}}}})
    assert plan.lines[1].attributes["speed"] == 2


@pytest.mark.rule("B2.17", "C2.2")
def test_what_has_ended_well_while_frozen_is_done() -> None:
    engine = engine_of(callout("one"), manual("last"))
    plan = engine.accept(order_of(offer(1)))
    call = engine.call(plan, "p/one")
    engine.fail(plan, call, unheard=True)
    engine.steer(plan, "freeze")
    engine.calls[plan.order_id] = [call]
    engine.answer(plan, call)
    engine.steer(plan, "thaw")
    assert states(plan) == {"one": "Completed", "last": "Ready"}


@pytest.mark.rule("B1.6")
def test_every_change_makes_another_version() -> None:
    engine = engine_of(manual("one"))
    plan = engine.accept(order_of(offer(1), offer(1, "2")))
    engine.change(plan, "cancel", lines=("2",))
    unchanged(engine, plan, StaleVersion, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}}, version=1)
    engine.change(plan, "amend", order=order_of(offer(3)))
    engine.finish(plan)
    assert plan.order_state == "partial", "what was cancelled was ordered, though the channel names it no more"


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"lines": {"1": {"place": "here"}}}, "lines.1.place"),
        ({"lines": {"1": {"place": None}}}, "lines.1.place"),
        ({"dueAt": 5}, "dueAt"),
        ({"dueAt": "soon"}, "dueAt"),
        ({"lines": {"1": {"requestedStartAt": "2026-01-01"}}}, "lines.1.requestedStartAt"),
        ({"description": 7}, "description"),
        ({"lines": {"1": {"quantity": 0}}}, "lines.1.quantity"),
        ({"lines": {"1": {"attributes": []}}}, "lines.1.attributes"),
        ({"lines": []}, "lines"),
    ],
)
def test_a_patch_of_another_form_names_the_member(patch: dict[str, Any], path: str) -> None:
    engine = engine_of(manual("one"))
    plan = engine.accept(order_of(offer(1)))
    assert unchanged(engine, plan, BadDocument, "patch", patch=patch).path == path


def test_an_attribute_that_may_not_change_may_not_although_it_does_not_matter() -> None:
    product = {"code": "offer", "attributes": [{"name": "speed", "changeable": False, "significant": False}]}
    engine = engine_of(manual("one"), products=[product])
    plan = engine.accept(order_of(offer(1)))
    unchanged(engine, plan, ProtectedAttribute, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})


def test_what_was_joined_and_is_delivered_by_now_is_no_reason_to_do_anything_again() -> None:
    engine = engine_of(
        callout("one"),
        products=[
            {"code": "offer", "attributes": [{"name": "colour", "significant": False}]},
            {"code": "part", "scope": "account"},
        ],
        decompositions=[rule("offer", "part")],
        plans=[plan_of("q", "make")],
        scenarios=[scenario("offer", "p"), scenario("part", "q", "add", "modify", "noChange")],
    )
    first = engine.accept(order_of(line("1", "offer")))
    second = engine.accept(order_of(line("1", "offer", colour="red")))
    engine.finish(first)
    call = engine.call(second, "q/make")
    engine.answer(second, call)
    engine.change(second, "patch", patch={"lines": {"1": {"attributes": {"colour": "blue"}}}})
    for each in list(engine.calls[second.order_id]):
        engine.answer(second, each)
    assert states(second)["q/make@part@account"] == "Completed"
    assert second.order_state == "completed"


def test_a_sub_plan_is_skipped_with_those_of_its_items_that_are_open() -> None:
    engine = engine_of(
        manual("first"), {"code": "build", "type": "subPlan", "subPlan": "inner"},
        plans=[plan_of("inner", manual("dig"), manual("fill"))],
    )  # fmt: skip
    plan = engine.accept(order_of(offer(1)))
    engine.operate(plan, "inner/dig@1", "skip")
    engine.operate(plan, "p/build@1", "skip")
    engine.finish(plan)
    assert plan.order_state == "completed"


def test_what_was_done_because_of_an_earlier_round_is_undone_before_the_later_one() -> None:
    engine = engine_of(
        callout("a", rollbackPlan="undo-a"),
        callout("b", rollbackPlan="undo-b", amendPlan="mend"),
        manual("last"),
        plans=[plan_of("undo-a", "back"), plan_of("undo-b", "back"), plan_of("mend", "set")],
    )
    plan = engine.accept(order_of(offer(1)))
    for code in "ab":
        engine.answer(plan, engine.call(plan, f"p/{code}"))
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"speed": 2}}}})
    engine.answer(plan, engine.call(plan, "p/a"))
    engine.answer(plan, engine.call(plan, "mend/set"))
    engine.change(plan, "cancel")
    undoing = [call.item.split("@")[0] for call in engine.calls[plan.order_id]]
    assert "undo-a/back" not in undoing, "what came of it is not undone yet"
    done(engine, plan)
    assert plan.order_state == "cancelled"


def test_a_patch_of_the_place_says_what_changes_of_it() -> None:
    engine = engine_of(callout("work", request={"city": "place.city", "site": "place.siteId"}), manual("rest"))
    plan = engine.accept(order_of(offer(1, place={"city": "Exampleton", "siteId": "s-1", "floor": 2})))
    engine.answer(plan, engine.call(plan, "p/work"))
    engine.change(plan, "patch", patch={"lines": {"1": {"place": {"city": "Beispiel", "floor": None}}}})
    assert plan.order.lines[0].place == {"city": "Beispiel", "siteId": "s-1"}
    assert engine.call(plan, "p/work@1~1").payload == {"city": "Beispiel", "site": "s-1"}


def test_a_move_to_the_release_that_the_order_is_on_changes_nothing() -> None:
    engine = engine_of(callout("work"), manual("rest"))
    plan = engine.accept(order_of(offer(1)))
    before = fingerprint(plan)
    engine.change(plan, "move", release=plan.release.release_id)
    assert fingerprint(plan) == before


def test_an_amendment_does_not_take_the_name_by_which_the_channel_finds_the_order() -> None:
    engine = engine_of(manual("rest"))
    plan = engine.accept(order_of(offer(1), external_id="web-1"))
    with pytest.raises(Conflict, match="external id") as refused:
        engine.change(plan, "amend", order=order_of(offer(2), external_id="web-2"))
    assert refused.value.path == "externalId"
    engine.change(plan, "amend", order=order_of(offer(2)))
    assert (plan.order.external_id, plan.changes) == ("web-1", 1)


def test_a_preview_names_the_values_that_would_be_others() -> None:
    engine = engine_of(
        manual("rest"), products=[{"code": "offer", "attributes": [{"name": "pin", "assetizable": False}]}]
    )
    plan = engine.accept(order_of(offer(1, place={"city": "Exampleton"}, pin="1234"), due_at=None))
    lines = {"1": {"attributes": {"speed": 2, "pin": "9999"}, "quantity": 3, "place": {"city": "Beispiel"}}}
    message = ChangeOrder("patch", "because", "m-1", patch={"description": "urgent", "lines": lines})
    shown = preview(engine._new_turn(plan), message, engine.account, plan.release)
    assert [(each["of"], each["name"], each["before"], each["after"]) for each in shown["values"]] == [
        ("order", "order.description", "", "urgent"),
        ("1", "line.quantity", 1, 3),
        ("1", "attributes.speed", 1, 2),
        ("1", "attributes.pin", "********", "********"),
        ("1", "place.city", "Exampleton", "Beispiel"),
    ]
