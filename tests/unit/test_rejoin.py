"""Orders that share an instance of their account, of which the one that was to make it is cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import NotPossibleNow
from domain.facts import PLAN_CHANGED
from domain.messages import ChangeLine
from domain.plan import Plan
from domain.watchdog import AWAITED_ENDED, Stuck
from tests.support.build import callout, line, manual, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint

AWAIT = "await/delivery@profile@account"
WAITED_FOR = [
    plan_of("own", callout("deliver", rollbackPlan="undo")),
    plan_of("make", manual("provide")),
    plan_of("change", manual("extend")),
    plan_of("undo", "back"),
]
"""A change of the order waits for its own call."""


def shared(**parts: Any) -> Engine:
    """Mail and chat both need a profile of the account, which is made by one kind of work and changed by another."""
    return Engine(
        release_of(
            **{
                "products": [
                    "mail",
                    "chat",
                    {
                        "code": "profile",
                        "scope": "account",
                        "quantity": "sum",
                        "attributes": [{"name": "domain"}, {"name": "size"}],
                    },
                ],
                "decompositions": [
                    rule("mail", "profile", {"to": "domain", "copy": "domain"}),
                    rule("chat", "profile", {"to": "size", "copy": "size"}),
                ],
                "plans": [
                    plan_of("own", callout("deliver", freeze="goOn", rollbackPlan="undo")),
                    plan_of("make", manual("provide")),
                    plan_of("change", manual("extend")),
                    plan_of("undo", "back"),
                ],
                "scenarios": [
                    scenario("mail", "own", "add", "delete"),
                    scenario("chat", "own", "add", "delete"),
                    scenario("profile", "make", "add"),
                    scenario("profile", "change", "modify"),
                ],
            }
            | parts
        )
    )


def profile(plan: Plan) -> tuple[str, str | None]:
    """(action, order joined) of the plan's profile line."""
    (found,) = (each for each in plan.lines if each.product == "profile")
    return found.action, found.joins


def installed(engine: Engine) -> list[tuple[str, dict[str, Any], int]]:
    """What profiles there are: values and number of uses."""
    return [
        (each.product, each.attributes, sum(each.uses.values()))
        for each in engine.account.assets.values()
        if each.product == "profile"
    ]


@pytest.mark.rule("F.16")
def test_a_line_that_has_joined_an_order_becomes_an_add_when_that_order_is_cancelled() -> None:
    engine = shared()
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    before = (profile(second), sorted(second.by_key))
    engine.change(first, "cancel")
    engine.finish(first)

    assert before == (
        ("modify", first.order_id),
        [AWAIT, "change/extend@profile@account", "own/deliver@1"],
    )
    assert (first.order_state, profile(second)) == ("cancelled", ("add", None))
    assert {key: item.state.value for key, item in second.by_key.items()} == {
        "own/deliver@1": "Running",
        "change/extend@profile@account": "Discarded",
        AWAIT: "Discarded",
        "make/provide@profile@account": "Ready",
    }
    assert fingerprint(engine.replayed(second)) == fingerprint(second)
    assert engine.reloaded_account() == engine.account

    engine.finish(second)
    assert second.order_state == "completed"
    # Nothing is left of what the cancelled order wanted of it.
    assert installed(engine) == [("profile", {"size": 2}, 1)]


def test_those_that_have_joined_a_line_that_becomes_an_add_are_compared_anew_too() -> None:
    engine = shared()
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    third = engine.accept(order_of(line("1", "mail", domain="c.example")))
    assert (profile(second), profile(third)) == (("modify", first.order_id), ("modify", second.order_id))
    engine.change(first, "cancel")
    engine.finish(first)

    assert (profile(second), profile(third)) == (("add", None), ("modify", second.order_id))
    assert [fact.kind for fact in engine.facts[third.order_id]].count(PLAN_CHANGED) == 1
    (of_third,) = (each for each in third.lines if each.product == "profile")
    assert of_third.previous == {"size": 2}
    engine.finish(third)
    assert third.order_state == "inProgress"
    engine.finish(second)
    engine.finish(third)
    assert (second.order_state, third.order_state) == ("completed", "completed")
    assert installed(engine) == [("profile", {"size": 2, "domain": "c.example"}, 2)]


def test_an_order_at_work_joins_anew_when_its_call_has_ended() -> None:
    engine = shared(
        plans=WAITED_FOR
    )
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    call = engine.call(second, "own/deliver")
    engine.change(first, "cancel")
    engine.finish(first)
    assert (second.state, second.by_key["own/deliver@1"].state) == ("Freezing", "Frozen - Running")
    assert fingerprint(engine.replayed(second)) == fingerprint(second)
    engine.answer(second, call)

    assert second.by_key["own/deliver@1"].state == "Completed"
    assert profile(second) == ("add", None)
    engine.finish(second)
    assert installed(engine) == [("profile", {"size": 2}, 1)]


def test_where_somebody_has_frozen_the_order_a_person_decides() -> None:
    engine = shared()
    first = engine.accept(order_of(line("1", "mail")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    engine.steer(second, "freeze")
    engine.change(first, "cancel")
    engine.finish(first)
    item = second.by_key[AWAIT]
    assert (item.state, item.error_code) == ("Fatally Failed", "notDelivered")
    assert first.order_id in item.error

    engine.steer(second, "thaw")
    # An amendment compares the order with what there is by now, and needs nobody's delivery any more.
    engine.change(second, "amend", order=order_of(line("1", "chat", size=3)))
    assert profile(second) == ("add", None)
    engine.finish(second)
    assert (second.order_state, installed(engine)) == ("completed", [("profile", {"size": 3}, 1)])


def test_who_cannot_join_anew_any_more_when_his_call_has_ended_goes_to_a_person() -> None:
    engine = shared(
        plans=[
            plan_of("own", callout("deliver", rollbackPlan="undo")),
            plan_of("make", "provide"),
            plan_of("change", manual("extend")),
            plan_of("undo", "back"),
        ],
        decompositions=[
            rule("mail", "profile"),
            rule("chat", "profile", {"to": "size", "copy": "size"}),
        ],
    )
    first = engine.accept(order_of(line("1", "mail")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    call = engine.call(second, "own/deliver")
    engine.change(first, "cancel")
    engine.finish(first)
    assert second.change is not None
    # Meanwhile the account gets an order that nobody can read.
    engine.account.open_orders["o1-9"] = type(engine.account.open_orders[second.order_id])(
        "o1-9", frozenset(), is_unknown=True
    )
    engine.answer(second, call)
    item = second.by_key[AWAIT]
    assert (second.state, item.state, item.error_code) == ("In Progress", "Fatally Failed", "notDelivered")
    assert fingerprint(engine.replayed(second)) == fingerprint(second)


# Several that share several.


def two_shared(*, freeze: str = "goOn") -> Engine:
    """`mail` shares alpha, `talk` beta, `chat` both."""
    shares = [("mail", "alpha"), ("talk", "beta"), ("chat", "alpha"), ("chat", "beta")]
    return Engine(
        release_of(
            products=["mail", "talk", "chat", *({"code": each, "scope": "account"} for each in ("alpha", "beta"))],
            decompositions=[rule(source, target) for source, target in shares],
            plans=[
                plan_of("own", callout("deliver", freeze=freeze, rollbackPlan="undo")),
                plan_of("make", manual("provide")),
                plan_of("change", manual("extend")),
                plan_of("undo", "back"),
            ],
            scenarios=[
                *(scenario(each, "own", "add") for each in ("mail", "talk", "chat")),
                *(scenario(each, "make", "add") for each in ("alpha", "beta")),
                *(scenario(each, "change", "modify") for each in ("alpha", "beta")),
            ],
        )
    )


def test_each_of_many_orders_joins_anew_once() -> None:
    engine = Engine(
        release_of(
            products=["k0", "k1", "k2", *({"code": f"s{each}", "scope": "account"} for each in range(3))],
            decompositions=[rule(f"k{each}", f"s{(each + more) % 3}") for each in range(3) for more in (0, 1)],
            plans=[plan_of("own", callout("deliver", freeze="goOn")), plan_of("make", manual("provide"))],
            scenarios=[
                *(scenario(f"k{each}", "own") for each in range(3)),
                *(scenario(f"s{each}", "make", "add", "modify") for each in range(3)),
            ],
        )
    )
    plans = [engine.accept(order_of(line("1", f"k{number % 3}"))) for number in range(24)]
    engine.change(plans[0], "cancel")
    engine.finish(plans[0])

    changes = [[fact.kind for fact in engine.facts[plan.order_id]].count(PLAN_CHANGED) for plan in plans[1:]]
    assert set(changes) <= {0, 1}
    for plan in plans[1:]:
        engine.finish(plan)
    assert {plan.order_state for plan in plans[1:]} == {"completed"}
    shared_ones = [each.product for each in engine.account.assets.values() if each.product[0] == "s"]
    assert sorted(shared_ones) == ["s0", "s1", "s2"]


def test_who_waits_for_something_that_is_made_as_before_goes_on_waiting() -> None:
    engine = two_shared()
    first = engine.accept(order_of(line("1", "mail")))
    second = engine.accept(order_of(line("1", "chat")))
    third = engine.accept(order_of(line("1", "talk")))
    engine.steer(third, "freeze")
    engine.change(first, "cancel")
    engine.finish(first)
    assert third.by_key["await/delivery@beta@account"].state == "Pending"
    engine.steer(third, "thaw")
    engine.finish(second)
    engine.finish(third)
    assert third.order_state == "completed"


def test_a_change_that_waits_covers_what_is_cancelled_meanwhile() -> None:
    engine = two_shared(freeze="wait")
    first, other = engine.accept(order_of(line("1", "mail"))), engine.accept(order_of(line("1", "talk")))
    second = engine.accept(order_of(line("1", "chat")))
    call = engine.call(second, "own/deliver")
    for plan in (first, other):
        engine.answer(plan, engine.call(plan, "own/deliver"))
        engine.change(plan, "cancel")
        engine.finish(plan)
    assert second.by_key["await/delivery@beta@account"].state == "Pending"
    engine.answer(second, call)
    assert [(each.product, each.action, each.joins) for each in second.lines if each.sources] == [
        ("alpha", "add", None),
        ("beta", "add", None),
    ]
    engine.finish(second)
    assert second.order_state == "completed"


# What a person does.


def waiting_for_a_ghost() -> tuple[Engine, Plan, Plan]:
    """The third order was frozen when the second one became the one that makes the profile."""
    engine = shared()
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    third = engine.accept(order_of(line("1", "mail", domain="c.example")))
    engine.steer(third, "freeze")
    engine.change(first, "cancel")
    engine.finish(first)
    engine.steer(third, "thaw")
    assert third.by_key[AWAIT].error_code == "notDelivered"
    return engine, second, third


@pytest.mark.parametrize("is_delivered", [True, False])
def test_a_person_has_the_order_join_anew_by_a_retry(is_delivered: bool) -> None:
    engine, second, third = waiting_for_a_ghost()
    if is_delivered:
        engine.finish(second)
    engine.operate(third, AWAIT, "retry")
    assert third.by_key[AWAIT].state == "Failed Discarded"
    assert profile(third) == ("modify", None if is_delivered else second.order_id)
    assert fingerprint(engine.replayed(third)) == fingerprint(third)
    if not is_delivered:
        assert third.by_key[f"{AWAIT}~1"].state == "Pending"
        engine.finish(second)
    engine.finish(third)
    assert installed(engine) == [("profile", {"size": 2, "domain": "c.example"}, 2)]


@pytest.mark.parametrize("action", ["skip", "complete"])
def test_nobody_makes_a_second_instance_by_hand(action: str) -> None:
    engine, second, third = waiting_for_a_ghost()
    with pytest.raises(NotPossibleNow, match=r"another profile by now.*retry the item"):
        engine.operate(third, AWAIT, action)
    engine.finish(second)
    with pytest.raises(NotPossibleNow, match="another profile by now"):
        engine.operate(third, AWAIT, action)


def test_an_amendment_that_makes_the_instance_itself_is_heard_by_those_who_share_it() -> None:
    engine = shared()
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    third = engine.accept(order_of(line("1", "mail", domain="c.example")))
    engine.answer(first, engine.call(first, "own/deliver"))
    engine.change(first, "cancel")
    assert first.order_state == "pendingCancellation"
    engine.change(second, "amend", order=order_of(line("1", "chat", size=3)))
    assert (profile(second), profile(third)) == (("add", None), ("modify", second.order_id))
    for plan in (first, second, third):
        engine.finish(plan)
    assert installed(engine) == [("profile", {"size": 3, "domain": "c.example"}, 2)]


def test_who_gives_a_waiting_change_up_has_the_item_before_him() -> None:
    engine = two_shared(freeze="wait")
    first, second = engine.accept(order_of(line("1", "mail"))), engine.accept(order_of(line("1", "chat")))
    engine.change(first, "cancel")
    engine.finish(first)
    assert second.change is not None
    engine.steer(second, "thaw")
    assert second.by_key["await/delivery@alpha@account"].error_code == "notDelivered"
    assert fingerprint(engine.replayed(second)) == fingerprint(second)


def test_what_a_cancelled_order_with_a_host_of_its_own_was_to_make_becomes_an_add_too() -> None:
    engine = shared(dedicated="order.description == 'big'")
    first = engine.accept(order_of(line("1", "mail", domain="a.example"), description="big"))
    assert first.account_shard is not None
    second = engine.accept(order_of(line("1", "chat", size=2)))
    engine.change(first, "cancel")
    engine.finish(first)
    assert (first.order_state, profile(second)) == ("cancelled", ("add", None))


def test_what_another_order_is_about_to_make_is_not_made_by_hand_before_it() -> None:
    engine = shared()
    for domain in ("a.example", "b.example"):
        engine.accept(order_of(line("1", "mail", domain=domain)))
    third = engine.accept(order_of(line("1", "mail", domain="c.example")))
    fourth = engine.accept(order_of(line("1", "mail", domain="d.example")))
    engine.steer(fourth, "freeze")
    engine.change(third, "cancel")
    engine.finish(third)
    engine.steer(fourth, "thaw")
    with pytest.raises(NotPossibleNow, match=r"about to make profile.*retry the item"):
        engine.operate(fourth, AWAIT, "skip")
    engine.operate(fourth, AWAIT, "retry")
    for plan in engine.plans.values():
        engine.finish(plan)
    assert installed(engine) == [("profile", {"domain": "d.example"}, 3)]


def test_who_has_joined_anew_after_a_failure_changes_nothing_but_what_he_wants() -> None:
    engine, second, third = waiting_for_a_ghost()
    engine.operate(third, AWAIT, "retry")
    [key] = [each.key for each in second.lines if each.product == "profile"]
    engine.tell(second, ChangeLine(key, {"size": 7}, "because", "m-1"), "person:olga", "m-1")
    engine.finish(second)
    engine.finish(third)
    assert installed(engine) == [("profile", {"size": 7, "domain": "c.example"}, 2)]


def test_all_who_share_an_installed_instance_count_its_uses_anew() -> None:
    engine = shared()
    engine.finish(engine.accept(order_of(line("1", "mail"))))
    plans = [engine.accept(order_of(line("1", "mail"))) for _ in range(4)]
    engine.change(plans[0], "cancel")
    engine.finish(plans[0])
    told = [each.quantity for plan in plans[1:] for each in plan.lines if each.product == "profile"]
    assert told == [2, 3, 4]


def at_work_on_an_installed_profile() -> tuple[Engine, Plan]:
    """The second order had an amendment waiting for its call when the first one was cancelled."""
    engine = shared(
        plans=WAITED_FOR
    )
    engine.finish(engine.accept(order_of(line("1", "mail"))))
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    engine.change(second, "amend", order=order_of(line("1", "chat", size=3)))
    engine.answer(first, engine.call(first, "own/deliver"))
    engine.change(first, "cancel")
    engine.finish(first)
    assert (first.order_state, second.by_key[AWAIT].state) == ("cancelled", "Pending")
    return engine, second


def test_a_thaw_leaves_nobody_waiting_for_what_a_cancelled_order_was_to_deliver() -> None:
    engine, second = at_work_on_an_installed_profile()
    engine.steer(second, "thaw")
    assert second.by_key[AWAIT].error_code == "notDelivered"
    engine.operate(second, AWAIT, "retry")
    engine.answer(second, engine.call(second, "own/deliver"))
    engine.finish(second)
    [profile_now] = [each for each in engine.account.assets.values() if each.product == "profile"]
    assert (profile_now.quantity, profile_now.attributes) == (2, {"size": 2})


def test_the_watchdog_does_not_take_for_delivered_what_a_cancelled_order_has_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = shared()
    engine.finish(engine.accept(order_of(line("1", "mail"))))
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat", size=2)))
    monkeypatch.setattr(engine, "_hear", lambda *_: None)
    engine.change(first, "cancel")
    engine.finish(first)
    engine.redrive(second, [Stuck(AWAIT, AWAITED_ENDED)])
    assert second.by_key[AWAIT].error_code == "notDelivered"


def test_bundles_of_their_own_are_changed_whatever_later_orders_make_of_the_same_kind() -> None:
    engine = Engine(
        release_of(
            products=["x", {"code": "t", "scope": "bundle"}],
            decompositions=[rule("x", "t")],
            plans=[plan_of("p", manual("work"))],
            scenarios=[scenario("t", "p")],
        )
    )
    first = engine.accept(order_of(line("1", "x"), line("2", "x")))
    engine.accept(order_of(line("1", "x")))
    engine.change(first, "amend", order=order_of(line("1", "x"), line("2", "x", quantity=2)))
    engine.change(first, "cancel", lines=("2",))
    engine.finish(first)
    assert first.order_state == "partial"
