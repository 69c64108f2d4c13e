"""Changes of orders under way: what random changes (tests/changes) have found wrong, each in its smallest form."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import Conflict, NothingToFulfil, NotPossibleNow, PastNoReturn
from domain.messages import ChangeLine, Report
from domain.orders import OrderLine
from domain.plan import Plan
from domain.watchdog import stuck_items
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

UNDO = plan_of("undo", "back")


def engine_of(*items: Any, **parts: Any) -> Engine:
    """Product `x` with plan `p` of these items, and whatever else is given."""
    parts = {
        "products": ["x"],
        "plans": [plan_of("p", *items), UNDO],
        "scenarios": [scenario("x", "p", "add", "modify", "delete")],
    } | parts
    return Engine(release_of(**parts))


def states(plan: Plan) -> dict[str, str]:
    """The state of each item, by key without scope instance where that is the first line."""
    return {item.key.replace("@1", ""): item.state.value for item in plan.items}


def amend(engine: Engine, plan: Plan, *lines: OrderLine, **members: Any) -> None:
    engine.change(plan, "amend", order=order_of(*lines, **members))


def waits_of(plan: Plan, key: str) -> list[str]:
    assert plan.template is not None
    return [plan.items[node].key for node in plan.template.waits[plan.by_key[key].node]]


# What is stored.


def test_a_secret_of_a_line_that_names_an_asset_stays_one_when_the_order_is_amended() -> None:
    engine = engine_of("call", products=[{"code": "x", "attributes": [{"name": "pin", "assetizable": False}]}])
    engine.finish(engine.accept(order_of(line("1", "x"))))
    [asset_id] = engine.account.assets
    plan = engine.accept(order_of(line("1", None, "modify", product_id=asset_id, pin="1234"), line("2", "x")))
    engine.answer(plan, engine.call(plan, "p/call@2"))
    engine.change(
        plan,
        "amend",
        order=order_of(line("1", None, "modify", product_id=asset_id, quantity=4, pin="9999"), line("2", "x")),
    )
    engine.answer(plan, engine.call(plan, "p/call@1"))
    engine.finish(plan)
    assert engine.account.assets[asset_id].quantity == 4
    assert "9999" not in repr(engine.facts[plan.order_id])


def test_a_cancelled_item_does_not_come_back_as_something_else() -> None:
    engine = engine_of(callout("call", freeze="goOn"))
    plan = engine.accept(order_of(line("1", "x"), line("2", "x", n=1)))
    engine.change(plan, "cancel", lines=("2",))
    with pytest.raises(Conflict, match="'2' was cancelled"):
        amend(engine, plan, line("1", "x"), line("2", "x", n=2))
    amend(engine, plan, line("1", "x", n=5), line("2", "x", n=1))
    engine.finish(plan)
    assert plan.order_state == "partial"
    assert [asset.attributes for asset in engine.account.assets.values()] == [{"n": 5}]


def test_another_secret_is_another_value_although_nobody_can_compare_it() -> None:
    engine = engine_of(
        callout("tell", request={"pin": "attributes.pin"}),
        manual("rest"),
        products=[{"code": "x", "attributes": [{"name": "pin", "assetizable": False}]}],
    )
    plan = engine.accept(order_of(line("1", "x", pin="1234")))
    engine.answer(plan, engine.call(plan, "p/tell"))
    amend(engine, plan, line("1", "x", pin="********"))
    assert plan.changes == 0
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"pin": "9999"}}}})
    named = engine.call(plan, "p/tell").payload["pin"]["$sealed"]
    assert engine.protector.sealed[plan.order_id, named] == "9999"
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


# What is delivered.


def shared_engine(quantity: str = "one") -> Engine:
    """`x` items share `t` over the account; `x` has work of its own, `t` is delivered when its bundle is."""
    return engine_of(
        "call",
        products=[
            {"code": "x", "attributes": [{"name": "n"}, {"name": "color", "significant": False}]},
            {"code": "t", "scope": "account", "quantity": quantity, "attributes": [{"name": "ref"}]},
        ],
        decompositions=[rule("x", "t")],
    )


def test_an_insignificant_value_of_what_is_delivered_is_not_changed_by_the_order() -> None:
    engine = shared_engine()
    plan = engine.accept(order_of(line("1", "x", color="red"), line("2", "x")))
    engine.answer(plan, engine.call(plan, "p/call@1"))
    before = fingerprint(plan)
    with pytest.raises(PastNoReturn):
        engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"color": "blue"}}}})
    assert fingerprint(plan) == before


def test_who_uses_a_delivered_instance_is_not_changed_by_the_order() -> None:
    engine = shared_engine()
    plan = engine.accept(order_of(line("1", "x"), line("2", "x")))
    engine.answer(plan, engine.call(plan, "p/call@1"))
    [shared] = [asset for asset in engine.account.assets.values() if asset.product == "t"]
    assert len(shared.uses) == 2
    with pytest.raises(PastNoReturn):
        engine.change(plan, "cancel", lines=("2",))


def test_a_value_that_comes_after_delivery_leaves_the_quantity_alone() -> None:
    engine = shared_engine()
    plan = engine.accept(order_of(line("1", "x", quantity=2), line("2", "x")))
    engine.answer(plan, engine.call(plan, "p/call@1"))
    [shared] = [asset_id for asset_id, asset in engine.account.assets.items() if asset.product == "t"]
    assert engine.account.assets[shared].quantity == 1
    engine.tell(plan, ChangeLine("t@account", {"ref": "r"}, "because", "m-1"), "person:olga", "m-1")
    assert engine.account.assets[shared].attributes == {"ref": "r"}
    assert engine.account.assets[shared].quantity == 1


def test_lines_of_an_assetize_item_that_a_change_has_overtaken_are_delivered_with_their_bundle() -> None:
    engine = engine_of(
        "call",
        products=["x", "y"],
        plans=[plan_of("p", "call"), plan_of("q", "call", assetize(scope="order"))],
        scenarios=[scenario("x", "p"), scenario("y", "q")],
        dependencies=[depends("q/assetize", "q/call")],
    )
    plan = engine.accept(order_of(line("1", "x"), line("2", "y")))
    amend(engine, plan, line("1", "x"))
    for call in list(engine.calls[plan.order_id]):
        engine.answer(plan, call)
    engine.finish(plan)
    assert plan.order_state == "completed"
    assert [asset.product for asset in engine.account.assets.values()] == ["x"]


def test_an_assetize_item_delivers_what_an_amendment_adds_to_its_lines() -> None:
    engine = engine_of(
        assetize(scope="order"),
        callout("after"),
        products=[{"code": "x", "assetize": "explicit"}],
        dependencies=[depends("p/after", "p/assetize")],
    )
    plan = engine.accept(order_of(line("1", "x")))
    assert len(engine.account.assets) == 1
    engine.change(plan, "amend", order=order_of(line("1", "x"), line("2", "x")), is_forced=True)
    engine.finish(plan)
    assert len(engine.account.assets) == 2


def test_what_serves_alone_what_is_skipped_becomes_no_asset_after_an_amendment_either() -> None:
    engine = engine_of(
        products=["x", "y", "t", {"code": "u", "scope": "order", "quantity": "one"}],
        decompositions=[rule("x", "t"), rule("t", "u"), rule("y", "u")],
        plans=[
            plan_of("p", manual("rest")),
            plan_of("q", callout("never", condition="false", skipBranch=True), assetize()),
        ],
        scenarios=[scenario("x", "p"), scenario("y", "p"), scenario("t", "q")],
        dependencies=[depends("q/assetize", "q/never")],
    )
    plan = engine.accept(order_of(line("1", "x"), line("2", "y")))
    amend(engine, plan, line("1", "x"))
    engine.finish(plan)
    assert states(plan)["q/assetize@t"] == "Skipped"
    assert [asset.product for asset in engine.account.assets.values()] == ["x"]


# Conditions.


def test_an_item_whose_condition_reads_the_order_itself_is_looked_at_again() -> None:
    engine = engine_of(callout("urgent", condition="order.description == 'urgent'"), "call")
    plan = engine.accept(order_of(line("1", "x"), description="calm"))
    assert states(plan) == {"p/urgent": "Skipped", "p/call": "Running"}
    engine.change(plan, "patch", patch={"description": "urgent"})
    engine.answer(plan, engine.call(plan, "p/call"))
    assert states(plan) == {"p/urgent": "Running", "p/call": "Completed"}


def test_what_was_sent_with_a_text_of_the_order_is_sent_again_with_another() -> None:
    engine = engine_of(callout("tell", request={"text": "order.description"}), manual("rest"))
    plan = engine.accept(order_of(line("1", "x"), description="calm"))
    engine.answer(plan, engine.call(plan, "p/tell"))
    engine.change(plan, "patch", patch={"description": "urgent"})
    assert engine.call(plan, "p/tell").payload == {"text": "urgent"}


@pytest.mark.rule("B2.28")
def test_a_skipped_item_is_looked_at_again_by_another_release() -> None:
    parts: dict[str, Any] = {"products": ["x"], "scenarios": [scenario("x", "p")]}
    engine = Engine(release_of(**parts, plans=[plan_of("p", callout("maybe", condition="false"), manual("rest"))]))
    later = release_of(**parts, plans=[plan_of("p", callout("maybe"), manual("rest"))], version="2")
    engine.releases[later.release_id] = later
    plan = engine.accept(order_of(line("1", "x")))
    engine.change(plan, "move", release=later.release_id)
    assert states(plan) == {"p/maybe": "Running", "p/rest": "Ready"}


def branches() -> Engine:
    """`last` waits for a milestone and for `maybe`, which is skipped with its branch where n is 0."""
    return engine_of(
        milestone("first"),
        callout("maybe", condition="attributes.n > 0", skipBranch=True),
        callout("last"),
        manual("rest"),
        dependencies=[depends("p/last", "p/first"), depends("p/last", "p/maybe"), depends("p/maybe", "p/rest")],
    )


def test_who_waits_for_something_done_is_not_skipped_with_a_branch_after_an_amendment() -> None:
    engine = branches()
    plan = engine.accept(order_of(line("1", "x", n=0)))
    engine.change(plan, "patch", patch={"lines": {"1": {"quantity": 2}}})
    assert states(plan)["p/first"] == "Amended"
    engine.complete_task(plan, "p/rest@1")
    assert states(plan)["p/maybe"] == "Skipped"
    assert states(plan)["p/last"] == "Running"


def test_what_was_skipped_with_a_branch_begins_when_the_branch_is_gone() -> None:
    engine = engine_of(
        plans=[
            plan_of("p", callout("last", scope="order"), manual("rest")),
            plan_of("q", callout("maybe", condition="false", skipBranch=True), manual("rest")),
        ],
        products=["x", "y"],
        scenarios=[scenario("x", "p"), scenario("y", "q")],
        dependencies=[depends("p/last", "q/maybe", "order")],
    )
    plan = engine.accept(order_of(line("1", "x"), line("2", "y")))
    assert plan.by_key["p/last@order"].state == "Skipped"
    engine.change(plan, "cancel", lines=("2",))
    assert plan.by_key["p/last@order"].state == "Running"


# Attempts.


def test_a_success_of_an_attempt_from_before_an_amendment_does_not_count() -> None:
    engine = engine_of("call")
    plan = engine.accept(order_of(line("1", "x", n=1)))
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)
    amend(engine, plan, line("1", "x", n=2))
    engine.tell(plan, Report("p/call@1", 1, "completed"))
    assert states(plan) == {"p/call": "Fatally Failed"}
    engine.operate(plan, "p/call@1", "retry")
    assert engine.call(plan, "p/call").payload["lines"][0]["attributes"] == {"n": 2}


# One change after another.


def undoing() -> tuple[Engine, Plan]:
    """An order of which `work` was done, and is undone to be done again; `other` waits for a person."""
    engine = engine_of(callout("work", rollbackPlan="undo", onAmend="undoThenRedo"), manual("other"))
    plan = engine.accept(order_of(line("1", "x", n=1), line("2", "x")))
    engine.answer(plan, engine.call(plan, "p/work@1"))
    engine.answer(plan, engine.call(plan, "p/work@2"))
    amend(engine, plan, line("1", "x", n=2), line("2", "x"))
    assert waits_of(plan, "p/work@1~1") == ["undo/back@1"]
    return engine, plan


def test_what_is_done_again_waits_for_its_undoing_also_after_another_amendment() -> None:
    engine, plan = undoing()
    engine.hold("sys")
    engine.turn_back(plan, engine.call(plan, "undo/back@1"))
    amend(engine, plan, line("1", "x", n=2), line("2", "x", n=7))
    assert waits_of(plan, "p/work@1~1") == ["undo/back@1"]


@pytest.mark.rule("B2.31", "C2.12")
def test_a_cancellation_undoes_after_what_an_earlier_change_still_undoes() -> None:
    engine = engine_of(
        plans=[
            plan_of("p", callout("first", rollbackPlan="undo", onAmend="nothing"), manual("rest")),
            plan_of("q", callout("second", rollbackPlan="undo")),
            UNDO,
        ],
        scenarios=[scenario("x", "p"), scenario("x", "q", when="attributes.n > 0")],
        dependencies=[depends("q/second", "p/first")],
    )
    plan = engine.accept(order_of(line("1", "x", n=1)))
    engine.answer(plan, engine.call(plan, "p/first"))
    engine.answer(plan, engine.call(plan, "q/second"))
    engine.hold("sys")
    # Nobody needs the second one any more.
    amend(engine, plan, line("1", "x", n=0))
    assert plan.by_key["undo/back@1"].state == "On Hold"
    engine.change(plan, "cancel")
    assert waits_of(plan, "undo/back@1~1") == ["undo/back@1"]


def held_sub_plan() -> tuple[Engine, Plan]:
    within = {"code": "within", "type": "subPlan", "subPlan": "sub"}
    engine = engine_of(plans=[plan_of("p", within, manual("rest")), plan_of("sub", "call")])
    return engine, engine.accept(order_of(line("1", "x", n=1)))


def test_a_sub_plan_ends_with_its_items_although_its_plan_is_held_again() -> None:
    engine, plan = held_sub_plan()
    engine.steer(plan, "hold")
    engine.steer(plan, "freeze")
    engine.answer(plan, engine.call(plan, "sub/call"))
    engine.steer(plan, "thaw")
    assert plan.state == "Held"
    assert stuck_items(plan, engine.now) == []
    assert states(plan)["p/within"] == "Completed"


# What earlier changes have left.


def adapting() -> tuple[Engine, Plan]:
    """An order of which `work` was done, and is being brought in line with n 2."""
    work = callout("work", amendPlan="adapt", rollbackPlan="undo")
    engine = engine_of(plans=[plan_of("p", work, manual("rest")), plan_of("adapt", "fit"), UNDO])
    plan = engine.accept(order_of(line("1", "x", n=1)))
    engine.answer(plan, engine.call(plan, "p/work"))
    amend(engine, plan, line("1", "x", n=2))
    return engine, plan


def test_an_amend_plan_that_has_failed_works_with_the_values_of_the_next_amendment_under_another_key() -> None:
    engine, plan = adapting()
    engine.fail(plan, engine.call(plan, "adapt/fit@1"), unheard=True)
    amend(engine, plan, line("1", "x", n=3))
    again = waits_of(plan, "adapt/fit@1~1")
    assert again == ["adapt/fit@1"]
    engine.operate(plan, "adapt/fit@1", "retry")
    call = engine.call(plan, "adapt/fit@1")
    assert (call.attempt, call.payload["lines"][0]["attributes"]) == (2, {"n": 3})


def test_nothing_is_adapted_that_is_cancelled() -> None:
    engine, plan = adapting()
    engine.hold("sys")
    engine.turn_back(plan, engine.call(plan, "adapt/fit@1"))
    engine.change(plan, "cancel")
    assert plan.by_key["adapt/fit@1"].state in ("Discarded", "Failed Discarded")
    assert plan.by_key["undo/back@1"].state == "On Hold"


def test_what_was_undone_with_its_group_to_be_done_again_is_not_undone_once_more() -> None:
    grouped: dict[str, Any] = {"rollbackPlan": "undo", "rollbackGroup": "g", "onAmend": "undoThenRedo"}
    engine = engine_of(callout("one", **grouped), callout("two", **grouped), manual("rest"))
    plan = engine.accept(order_of(line("1", "x", n=1)))
    engine.answer(plan, engine.call(plan, "p/one"))
    engine.answer(plan, engine.call(plan, "p/two"))
    amend(engine, plan, line("1", "x", n=2))
    assert plan.template is not None
    assert [node.role for node in plan.template.nodes].count("undo") == 1
    engine.answer(plan, engine.call(plan, "undo/back@1"))
    engine.hold("sys")
    engine.turn_back(plan, engine.call(plan, "p/one@1~1"))
    engine.turn_back(plan, engine.call(plan, "p/two@1~1"))
    engine.change(plan, "cancel")
    assert plan.template is not None
    assert [node.role for node in plan.template.nodes].count("undo") == 1


@pytest.mark.parametrize("request_of", [None, {"amount": "line.quantity", "text": "order.description"}])
def test_a_call_that_an_amendment_overtakes_is_tried_again_as_what_it_was(request_of: dict[str, str] | None) -> None:
    engine = engine_of(callout("call", freeze="goOn", **({"request": request_of} if request_of else {})))
    plan = engine.accept(order_of(line("1", "x", quantity=1)))
    first = engine.call(plan, "p/call@1")
    engine.change(plan, "patch", patch={"description": "calm", "lines": {"1": {"quantity": 4}}})
    engine.fail(plan, first, unheard=True)
    engine.fire(plan, "p/call@1")
    again = engine.call(plan, "p/call@1")
    assert (again.attempt, again.payload) == (first.attempt, first.payload)
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)
    said = engine.finish(plan)[-1].payload
    assert said == {"amount": 4, "text": "calm"} if request_of else said["lines"][0]["quantity"] == 4


def done_again() -> tuple[Engine, Plan]:
    """An order of two lines; the work of the first one was done, and done again for an amendment."""
    engine = engine_of(callout("work", rollbackPlan="undo"), manual("rest"))
    plan = engine.accept(order_of(line("1", "x", n=1), line("2", "x")))
    engine.answer(plan, engine.call(plan, "p/work@1"))
    engine.answer(plan, engine.call(plan, "p/work@2"))
    amend(engine, plan, line("1", "x", n=2), line("2", "x"))
    engine.answer(plan, engine.call(plan, "p/work@1~1"))
    return engine, plan


def test_what_was_done_twice_and_cancelled_is_not_undone_by_the_next_change_too() -> None:
    engine, plan = done_again()
    engine.change(plan, "cancel", lines=("1",))
    engine.answer(plan, engine.call(plan, "undo/back@1"))
    amend(engine, plan, line("2", "x", n=7))
    assert plan.template is not None
    assert [node.role for node in plan.template.nodes].count("undo") == 1


def test_what_was_done_twice_and_taken_out_is_done_when_it_comes_back() -> None:
    engine, plan = done_again()
    amend(engine, plan, line("2", "x"))
    engine.answer(plan, engine.call(plan, "undo/back@1"))
    amend(engine, plan, line("1", "x", n=2), line("2", "x"))
    assert engine.call(plan, "p/work@1~2").payload["lines"][0]["attributes"] == {"n": 2}


def test_what_was_done_and_undone_is_done_anew_when_its_line_comes_back() -> None:
    work = callout("work", onAmend="nothing", rollbackPlan="undo")
    engine = engine_of(work, manual("rest"))
    plan = engine.accept(order_of(line("1", "x", n=1), line("2", "x")))
    for key in ("p/work@1", "p/work@2"):
        engine.answer(plan, engine.call(plan, key))
    amend(engine, plan, line("1", "x", n=2), line("2", "x"))
    amend(engine, plan, line("2", "x"))
    engine.answer(plan, engine.call(plan, "undo/back@1"))
    amend(engine, plan, line("1", "x", n=3), line("2", "x"))
    again = engine.call(plan, "p/work@1~1")
    assert again.payload["lines"][0]["attributes"] == {"n": 3}
    engine.answer(plan, again)
    amend(engine, plan, line("2", "x"))
    assert plan.template is not None
    undoing = {item.key: plan.template.nodes[item.node].of for item in plan.items if item.key.startswith("undo/")}
    assert undoing == {"undo/back@1": plan.by_key["p/work@1"].node, "undo/back@1~1": plan.by_key[again.item].node}


def test_what_was_done_twice_and_undone_to_be_done_again_is_not_undone_once_more() -> None:
    engine = engine_of(callout("work", onAmend="undoThenRedo", freeze="goOn", rollbackPlan="undo"), manual("rest"))
    plan = engine.accept(order_of(line("1", "x", n=1)))
    first = engine.call(plan, "p/work@1")
    amend(engine, plan, line("1", "x", n=2))
    engine.answer(plan, first)
    engine.answer(plan, engine.call(plan, "p/work@1~1"))
    amend(engine, plan, line("1", "x", n=3))
    engine.change(plan, "cancel")
    engine.finish(plan)
    assert plan.order_state == "cancelled"
    assert [item.key for item in plan.items if item.key.startswith("undo/")] == ["undo/back@1"]


# Several lines together.


def test_a_request_reads_the_line_that_is_the_first_of_a_new_order_also_after_an_amendment() -> None:
    engine = engine_of(callout("tell", scope="order", request={"n": "attributes.n"}), manual("rest"))
    plan = engine.accept(order_of(line("2", "x", n=2)))
    engine.answer(plan, engine.call(plan, "p/tell"))
    amend(engine, plan, line("1", "x", n=1), line("2", "x", n=2))
    assert engine.call(plan, "p/tell@order~1").payload == {"n": 1}
    amend(engine, plan, line("2", "x", n=2), line("1", "x", n=1))
    engine.answer(plan, engine.call(plan, "p/tell@order~1"))
    assert engine.call(plan, "p/tell@order~2").payload == {"n": 2}


def test_what_was_adapted_to_more_lines_is_adapted_again_when_they_are_cancelled() -> None:
    work = callout("work", scope="order", amendPlan="adapt")
    engine = engine_of(plans=[plan_of("p", work, manual("rest")), plan_of("adapt", "fit")])
    plan = engine.accept(order_of(line("1", "x")))
    engine.answer(plan, engine.call(plan, "p/work"))
    amend(engine, plan, line("1", "x"), line("2", "x"))
    engine.answer(plan, engine.call(plan, "adapt/fit"))
    engine.change(plan, "cancel", lines=("2",))
    assert [each["line"] for each in engine.call(plan, "adapt/fit@order~1").payload["lines"]] == ["1"]
    amend(engine, plan, line("1", "x"))
    assert "adapt/fit@order~2" not in plan.by_key


def test_a_line_that_is_cancelled_stays_as_it_is() -> None:
    engine = engine_of(manual("call"), products=[{"code": "x", "attributes": [{"name": "n"}]}])
    plan = engine.accept(order_of(line("1", "x"), line("2", "x")))
    engine.change(plan, "cancel", lines=("2",))
    before = fingerprint(plan)
    with pytest.raises(NotPossibleNow, match="'2' is cancelled"):
        engine.tell(plan, ChangeLine("2", {"n": 3}, "because", "m-1"), "person:olga", "m-1")
    assert fingerprint(plan) == before


def test_an_order_is_not_moved_to_a_release_by_which_it_would_do_nothing_but_wait() -> None:
    def release(name: str, *scenarios: Any) -> Any:
        return release_of(
            version=name,
            products=["x", "y", {"code": "t", "scope": "account", "quantity": "one"}],
            decompositions=[rule("x", "t"), rule("y", "t")],
            plans=[plan_of("p", manual("work"))],
            scenarios=[scenario("x", "p"), *scenarios],
        )

    engine = Engine(release("1", scenario("y", "p"), scenario("t", "p")))
    later = release("2", scenario("t", "p"))
    engine.releases[later.release_id] = later
    engine.accept(order_of(line("1", "x")))
    plan = engine.accept(order_of(line("1", "y")))
    with pytest.raises(NothingToFulfil):
        engine.change(plan, "move", release=later.release_id)


def test_what_somebody_has_skipped_after_it_was_sent_is_past_its_point_of_no_return() -> None:
    engine = engine_of(
        callout("call", pointOfNoReturn=True), manual("rest"), dependencies=[depends("p/rest", "p/call")]
    )
    plan = engine.accept(order_of(line("1", "x", n=1)))
    engine.fail(plan, engine.call(plan, "p/call"), fatal=True)
    engine.operate(plan, "p/call@1", "skip")
    with pytest.raises(PastNoReturn):
        amend(engine, plan, line("1", "x", n=2))
