"""Orders that wait for items of other orders: what the plan holds, how the other order stands, circles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actors.rows import fallout_row, wait_rows
from domain.compose import Template
from domain.errors import BadRelease, MutualWait, NotPossibleNow
from domain.explain import explain_item, explain_order
from domain.explanation import World
from domain.facts import Fact
from domain.intake import accept
from domain.inventory import Account
from domain.messages import ChangeOrder, Delivered, RelatedTold
from domain.orders import Order, moved_relations
from domain.plan import Plan
from domain.preview import preview
from domain.related import RelatedWaits, Wait, find_circle, open_waits, standing_of
from domain.release import CompiledRelease
from domain.states import ItemState, OrderState
from domain.turn import Turn
from domain.watchdog import stuck_items
from gateway.views import plan_view
from tests.support.build import callout, depends, line, milestone, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import START, Engine, OpenProtector

AWAIT = "await/relatedOrder@0:core/ring"


def sites(*more: dict[str, Any], **parts: Any) -> CompiledRelease:
    """A site is switched on when the core of the related orders stands; a core waits for nothing of others."""
    return release_of(
        **{
            "products": ["core", "site"],
            "plans": [
                plan_of("core", "ring", "check"),
                plan_of("site", "build", callout("switch"), milestone("on")),
            ],
            "scenarios": [scenario("core", "core", "add"), scenario("site", "site", "add")],
            "dependencies": [
                depends("core/check", "core/ring"),
                depends("site/switch", "site/build"),
                depends("site/on", "site/switch"),
                depends("site/switch", "core/ring", "relatedOrder"),
                *more,
            ],
        }
        | parts
    )


def site_order(*related: str, external_id: str = "site-1", lines: int = 1, **members: Any) -> Order:
    wanted = [line(str(number), "site") for number in range(1, lines + 1)]
    return order_of(*wanted, external_id=external_id, related=related, **members)


def states(plan: Plan) -> dict[str, str]:
    return {item.key: item.state.value for item in plan.items}


def told(engine: Engine, plan: Plan, outcome: Any, item: str = AWAIT, **members: Any) -> list[Fact]:
    return engine.tell(plan, RelatedTold(item, "o9-1", outcome, **members)).facts


# In the plan.


def test_a_plan_has_one_await_item_for_each_related_order_and_definition_whoever_waits():
    both = (depends("site/on", each, "relatedOrder") for each in ("core/check", "core/ring"))
    engine = Engine(sites(*both))
    plan = engine.accept(site_order("core-1", "core-2", lines=2))

    assert plan.template is not None
    waits = {item.key: {plan.items[at].key for at in plan.template.waits[item.node]} for item in plan.items}
    rings = {f"await/relatedOrder@{place}:core/ring" for place in (0, 1)}
    checks = {f"await/relatedOrder@{place}:core/check" for place in (0, 1)}
    assert {key for key in waits if key.startswith("await/")} == rings | checks
    for number in (1, 2):
        assert waits[f"site/switch@{number}"] == {f"site/build@{number}"} | rings
        assert waits[f"site/on@{number}"] == {f"site/switch@{number}"} | checks | rings
        assert waits[f"site/build@{number}"] == set()
    assert len(plan.items) == len(waits)


def test_orders_of_one_shape_share_a_template_whichever_orders_they_relate_to():
    engine = Engine(sites())
    first, second = (engine.accept(site_order(name, account=None)) for name in ("core-1", "core-2"))
    alone = engine.accept(site_order(account=None))

    assert first.template is second.template
    assert first.template is not None
    assert "core-1" not in str(first.template.to_dict())
    assert alone.template is not first.template
    assert Template.from_dict(first.template.to_dict(), first.release) == first.template


def test_an_order_that_relates_to_none_has_the_dependency_void():
    engine = Engine(sites())
    plan = engine.accept(site_order())
    engine.finish(plan)

    assert plan.order_state is OrderState.COMPLETED
    assert plan.template is not None
    assert [(plan.items[at].key, ref) for at, ref in plan.template.voids] == [("site/switch@1", "core/ring")]
    [reason] = explain_item(plan, plan.by_key["site/switch@1"], World(), START)
    assert reason.text == "It would wait for core/ring of related orders, and this one relates to none."


def test_a_relation_is_nothing_to_a_release_without_such_dependencies():
    release = release_of(products=["site"], plans=[plan_of("site", "build")], scenarios=[scenario("site", "site")])
    engine = Engine(release)

    assert list(engine.accept(site_order("core-1")).by_key) == ["site/build@1"]


@pytest.mark.parametrize("outcome", ["done", "void"])
def test_an_item_begins_when_the_related_order_has_done_its_part_or_has_none(outcome: str):
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))
    engine.answer(plan, engine.call(plan, "site/build"))
    assert states(plan) == {
        "site/build@1": "Completed", "site/switch@1": "Pending", "site/on@1": "Pending", AWAIT: "Pending",
    }  # fmt: skip

    facts = told(engine, plan, outcome)

    assert [fact.kind for fact in facts] == ["item.completed", "item.started"]
    assert facts[0].payload == {"order": "o9-1"} | ({"void": True} if outcome == "void" else {})
    engine.answer(plan, engine.call(plan, "site/switch"))
    assert plan.order_state is OrderState.COMPLETED
    assert states(engine.replayed(plan)) == states(plan)


def test_what_is_told_twice_or_of_an_item_that_is_not_there_means_nothing():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))
    told(engine, plan, "done")

    assert told(engine, plan, "done") == []
    assert told(engine, plan, "notDone") == []
    assert told(engine, plan, "done", item="await/relatedOrder@7:core/ring") == []
    assert told(engine, plan, "done", item="site/switch@1") == []


def test_what_an_order_of_its_account_delivers_means_nothing_to_such_a_wait():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))

    assert engine.tell(plan, Delivered("o9-1", None)).facts == []
    assert engine.tell(plan, Delivered("o9-1", frozenset({"p1"}))).facts == []


@pytest.mark.parametrize(
    ("outcome", "orders", "code", "text"),
    [
        ("notDone", (), "relatedNotDone", "order o9-1 (core-1) will not do core/ring any more"),
        ("mutualWait", ("a", "b", "a"), "mutualWait", "orders wait for one another in a circle: a -> b -> a"),
    ],
)
def test_a_person_decides_about_what_never_comes(outcome: str, orders: tuple[str, ...], code: str, text: str):
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))
    told(engine, plan, outcome, orders=orders)
    item = plan.by_key[AWAIT]

    assert (item.state, item.error_code, item.error) == (ItemState.FATALLY_FAILED, code, text)
    row = fallout_row(plan, item)
    assert row is not None
    assert row.name == "Await related order"
    with pytest.raises(NotPossibleNow):
        engine.operate(plan, AWAIT, "retry")
    engine.operate(plan, AWAIT, "complete")
    engine.finish(plan)
    assert plan.order_state is OrderState.COMPLETED


def test_an_operator_can_skip_the_wait_for_an_order_that_never_comes_and_not_pretend_that_it_is_done():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))

    with pytest.raises(NotPossibleNow):
        engine.operate(plan, AWAIT, "complete")
    engine.operate(plan, AWAIT, "skip")
    engine.finish(plan)
    assert plan.order_state is OrderState.COMPLETED


def test_an_open_wait_is_no_reason_for_the_watchdog_and_told_while_the_order_is_held():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))
    engine.answer(plan, engine.call(plan, "site/build"))
    assert stuck_items(plan, START + timedelta(days=30), ()) == []
    assert not engine.redrive(plan).facts

    engine.steer(plan, "hold")
    told(engine, plan, "done")
    assert states(plan)["site/switch@1"] == "Pending"
    engine.steer(plan, "resume")
    assert states(plan)["site/switch@1"] == "Running"


def test_the_open_waits_of_a_plan_say_what_they_hold_up():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1", "core-2", channel="web"))
    told(engine, plan, "done", item="await/relatedOrder@1:core/ring")

    [wait] = open_waits(plan, START)
    assert wait == Wait(
        plan.order_id, AWAIT, "web", "core-1", "core/ring", frozenset({"site/switch", "site/on"}), START
    )
    [row] = wait_rows(plan, START)
    assert row[1:6] == wait[:5]
    assert row.blocks == ["site/on", "site/switch"]


def test_a_wait_of_a_sub_plan_holds_up_its_items_and_what_follows_it():
    release = sites(
        plans=[
            plan_of("core", "ring", "check"),
            plan_of("site", "build", {"code": "switch", "type": "subPlan", "subPlan": "inner"}, milestone("on")),
            plan_of("inner", "first", "second"),
        ]
    )
    plan = Engine(release).accept(site_order("core-1"))

    [wait] = open_waits(plan, START)
    assert wait.blocks == {"site/switch", "site/on", "inner/first", "inner/second"}


# Changes.


def amended(plan: Plan, **members: Any) -> Order:
    return replace(plan.order, **members)


def test_a_place_means_the_same_order_for_as_long_as_an_order_lives():
    assert moved_relations((), ("a", "b")) == ("a", "b")
    assert moved_relations(("a", "b"), ("b", "c")) == ("", "b", "c")
    assert moved_relations(("", "b", "c"), ("", "b", "c")) == ("", "b", "c")
    assert moved_relations(("", "b"), ("a", "b")) == ("", "b", "a")


def test_an_amendment_may_relate_an_order_to_others_and_drops_the_waits_that_nobody_needs():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1", "core-2"))
    told(engine, plan, "done", item="await/relatedOrder@1:core/ring")
    engine.answer(plan, engine.call(plan, "site/build"))
    engine.change(plan, "amend", order=amended(plan, related=("core-2", "core-3")))

    assert plan.order.related == ("", "core-2", "core-3")
    assert {key: state for key, state in states(plan).items() if key.startswith("await/")} == {
        AWAIT: "Discarded",
        "await/relatedOrder@1:core/ring": "Completed",
        "await/relatedOrder@2:core/ring": "Pending",
    }
    assert [(each.item, each.name) for each in open_waits(plan, START)] == [
        ("await/relatedOrder@2:core/ring", "core-3")
    ]
    told(engine, plan, "done")
    told(engine, plan, "done", item="await/relatedOrder@2:core/ring")
    engine.finish(plan)
    assert plan.order_state is OrderState.COMPLETED
    assert states(engine.replayed(plan)) == states(plan)


def test_a_cancelled_order_waits_for_nobody():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))
    engine.change(plan, "cancel")
    engine.finish(plan)

    assert list(open_waits(plan, START)) == []
    assert plan.order_state is OrderState.CANCELLED


def test_an_order_that_is_moved_to_a_release_with_other_dependencies_waits_by_those():
    engine = Engine(sites(version="1"))
    later = sites(depends("site/on", "core/check", "relatedOrder"), version="2")
    engine.releases[later.release_id] = later
    plan = engine.accept(site_order("core-1"))
    engine.answer(plan, engine.call(plan, "site/build"))
    engine.change(plan, "move", release=later.release_id)

    assert {each.item: each.blocks for each in open_waits(plan, START)} == {
        AWAIT: {"site/switch", "site/on"}, "await/relatedOrder@0:core/check": {"site/on"},
    }  # fmt: skip


def test_previews_name_what_will_be_waited_for():
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))
    engine.answer(plan, engine.call(plan, "site/build"))
    order = amended(plan, related=("core-1", "core-2"))
    shown = preview(
        Turn(plan, START, engine.protector),
        ChangeOrder("amend", "because", "m-1", order=order.to_dict(), is_dry_run=True),
        engine.account_of(plan),
        plan.release,
    )

    names = {each["key"]: each["name"] for each in shown["plan"] if each["type"] == "await"}
    assert names == {
        AWAIT: "Await core/ring of order core-1",
        "await/relatedOrder@1:core/ring": "Await core/ring of order core-2",
    }
    assert {each["name"] for each in plan_view(plan)["items"] if each["type"] == "await"} == {names[AWAIT]}
    assert [each["key"] for each in shown["added"]] == ["await/relatedOrder@1:core/ring"]


# How the other order stands.


def core_order(**members: Any) -> Order:
    return order_of(line("c", "core", speed=1), external_id="core-1", **members)


def core(**parts: Any) -> tuple[Engine, Plan]:
    engine = Engine(sites(**parts))
    return engine, engine.accept(core_order())


def test_an_item_of_another_order_counts_when_it_is_done():
    engine, plan = core()
    assert standing_of(plan, "core/ring") is None
    assert standing_of(plan, "site/on") == "void"

    engine.answer(plan, engine.call(plan, "core/ring"))
    assert standing_of(plan, "core/ring") == "done"
    assert standing_of(plan, "core/check") is None
    engine.finish(plan)
    assert standing_of(plan, "core/check") == "done"


def test_an_item_that_has_failed_is_waited_for_and_one_that_was_skipped_is_not():
    engine, plan = core()
    engine.fail(plan, engine.call(plan, "core/ring"), fatal=True)
    assert standing_of(plan, "core/ring") is None
    engine.operate(plan, "core/ring@c", "skip")
    assert standing_of(plan, "core/ring") == "done"


def test_all_items_of_the_definition_have_to_be_done():
    engine = Engine(sites())
    plan = engine.accept(order_of(line("a", "core"), line("b", "core")))
    engine.answer(plan, engine.call(plan, "core/ring@a"))
    assert standing_of(plan, "core/ring") is None
    engine.answer(plan, engine.call(plan, "core/ring@b"))
    assert standing_of(plan, "core/ring") == "done"


def test_what_is_done_again_counts_when_it_is_done_again():
    engine, plan = core()
    engine.answer(plan, engine.call(plan, "core/ring"))
    ring = engine.call(plan, "core/check")
    changed = amended(plan, lines=[line("c", "core", speed=2)])
    engine.change(plan, "amend", order=changed)
    assert plan.change is not None, "the check is under way, and waited for"
    assert standing_of(plan, "core/ring") is None

    engine.answer(plan, ring)
    assert states(plan)["core/ring@c"] == "Amended"
    assert standing_of(plan, "core/ring") is None
    engine.answer(plan, engine.call(plan, "core/ring"))
    assert standing_of(plan, "core/ring") == "done"


def test_what_an_amend_plan_brings_in_line_counts_when_that_is_done():
    engine, plan = core(
        plans=[
            plan_of("core", callout("ring", amendPlan="mend"), milestone("check"), "more"),
            plan_of("site", "build", "switch", milestone("on")),
            plan_of("mend", "tune"),
        ]
    )
    engine.answer(plan, engine.call(plan, "core/ring"))
    engine.change(plan, "amend", order=amended(plan, lines=[line("c", "core", speed=2)]))
    engine.answer(plan, engine.call(plan, "core/more"))
    assert "mend/tune@c" in states(plan)
    assert standing_of(plan, "core/ring") is None
    engine.answer(plan, engine.call(plan, "mend/tune"))
    assert standing_of(plan, "core/ring") == "done"


def test_what_was_cancelled_is_not_done_any_more():
    engine, plan = core()
    engine.fail(plan, engine.call(plan, "core/ring"))
    engine.change(plan, "cancel")
    engine.finish(plan)
    assert standing_of(plan, "core/ring") == "notDone"


def test_a_rejected_order_does_nothing_and_one_that_has_no_plan_may_yet():
    engine = Engine(sites(products=["core", "site", "idle"]))
    rejected = engine.accept(order_of(line("x", "idle")))
    assert rejected.order_state is OrderState.REJECTED
    assert standing_of(rejected, "core/ring") == "notDone"

    waiting = replace(rejected, ended_at=None)
    assert standing_of(waiting, "core/ring") is None


# Circles.


def wait(order: str, on: str | None, ref: str = "r", blocks: Iterable[str] = ("r",), item: str = "await") -> Wait:
    return Wait(order, item, "web", on or "?", ref, frozenset(blocks), START, on)


def circle(start: Wait, *others: Wait, **members: Any) -> list[str] | None:
    found = find_circle(start, others, **members)
    return None if found is None else [each.order_id for each in found]


def test_orders_in_a_circle_are_found_directly_and_over_several():
    assert circle(wait("a", "b"), wait("b", "a")) == ["a", "b"]
    assert circle(wait("a", "b"), wait("b", "c"), wait("c", "d"), wait("d", "a")) == ["a", "b", "c", "d"]
    assert circle(wait("a", "b"), wait("b", "c"), wait("c", "b")) is None, "it waits for a circle, and is in none"
    assert circle(wait("a", "b"), wait("b", "c"), wait("c", None)) is None
    assert circle(wait("a", "a")) == ["a"]


def test_orders_that_wait_for_each_others_items_that_nothing_holds_up_are_in_no_circle():
    for ref, found in (("early", None), ("late", ["a", "b"])):
        ways = [wait(order, other, ref=ref, blocks=["late"]) for order, other in (("a", "b"), ("b", "a"))]
        assert circle(*ways) == found


def test_an_order_without_a_plan_waits_for_all_of_those_before_it():
    behind = {"b": ["c"], "c": ["a"]}
    assert circle(wait("a", "b"), behind={"b": ["a"]}) == ["a"]
    assert circle(wait("a", "b"), behind=behind) == ["a"]
    assert circle(wait("a", "b"), wait("c", "a", blocks=()), behind={"b": ["c"]}) == ["a", "c"]
    assert circle(wait("a", "b"), behind={"b": ["c"]}) is None


def both_ways() -> CompiledRelease:
    """Every switch waits for the switches of related orders, and for nothing when it has none."""
    return sites(depends("site/switch", "site/switch", "relatedOrder"))


def accepted(order: Order, others: RelatedWaits) -> Plan:
    order.order_id = "o1-2-2"
    account = Account(None)
    return accept(order, both_ways(), account, now=START, protector=OpenProtector(), others=others).plan


def test_an_order_that_would_close_a_circle_is_refused_with_the_names_of_the_orders():
    theirs = Wait("o1-1", "await", "web", "site-2", "site/switch", frozenset({"site/switch"}), START)
    others = RelatedWaits({"site-1": "o1-1"}, [theirs])

    with pytest.raises(MutualWait) as refused:
        accepted(site_order("site-1", external_id="site-2", account=None), others)
    assert refused.value.facts["orders"] == ["o1-1"]
    assert refused.value.status == 409
    assert refused.value.path == "orderRelationship"

    accepted(site_order("site-1", external_id="site-3", account=None), others)
    accepted(site_order("site-1", external_id="site-2", account=None, channel="shop"), others)
    harmless = theirs._replace(ref="site/build")
    accepted(site_order("site-1", external_id="site-2", account=None), RelatedWaits({"site-1": "o1-1"}, [harmless]))


def test_an_order_may_close_a_circle_through_two_of_its_own_waits():
    """Its x waits for their p, that for its y, that for their q, that for its x."""
    release = release_of(
        products=["own"],
        plans=[plan_of("own", "x", "y"), plan_of("their", "p", "q")],
        scenarios=[scenario("own", "own")],
        dependencies=[depends("own/x", "their/p", "relatedOrder"), depends("own/y", "their/q", "relatedOrder")],
    )
    theirs = [
        Wait("o1-1", f"wait for {waited}", "web", "me", f"own/{waited}", frozenset({f"their/{blocked}"}), START)
        for blocked, waited in (("p", "y"), ("q", "x"))
    ]
    order = order_of(line("1", "own"), external_id="me", account=None, related=("them",))
    order.order_id = "o1-2"
    others = RelatedWaits({"them": "o1-1"}, theirs)

    with pytest.raises(MutualWait) as refused:
        accept(order, release, Account(None), now=START, protector=OpenProtector(), others=others)
    assert refused.value.facts["orders"] == ["o1-1"]


# What designers and people see.


def test_the_dependency_is_for_depends_on_and_may_name_one_item_twice():
    assert not any("related" in each for each in both_ways().findings)
    with pytest.raises(BadRelease, match="scope relatedOrder is for dependsOn"):
        sites(depends("site/build", "core/ring", "relatedOrder", type="processedBefore"))
    with pytest.raises(BadRelease, match="depends on itself"):
        sites(depends("site/switch", "site/switch", "order"))
    finding, *_ = sites(depends("site/switch", "core/ring", "relatedOrder")).findings
    assert finding == "dependency of site/switch on core/ring of related orders is given twice"


def test_two_items_may_wait_for_one_another_in_related_orders_and_not_in_one_order():
    ways = [("core/ring", "site/build"), ("site/build", "core/ring")]
    mutual = sites(*(depends(item, other, "relatedOrder") for item, other in ways))
    plan = Engine(mutual).accept(order_of(line("c", "core"), line("s", "site")))

    assert not [item for item in plan.items if item.definition is None]


@pytest.mark.parametrize(
    ("related", "text"),
    [
        (None, "It waits for core/ring of order core-1."),
        ({}, "It waits for core/ring of order core-1, which has not come yet. An operator can skip the wait."),
        ({"core-1": ("o9-1", "pending")}, "It waits for core/ring of order core-1, which is o9-1 (pending)."),
    ],
)
def test_an_explanation_names_the_order_and_what_is_waited_for(related: Any, text: str):
    engine = Engine(sites())
    plan = engine.accept(site_order("core-1"))
    engine.answer(plan, engine.call(plan, "site/build"))
    told_of = explain_order(plan, World(related=related), START)

    assert told_of.summary == f"{text.rstrip('.')}. 2 wait behind."
    [standing] = told_of.items
    assert [each.code for each in standing.reasons] == ["waitsForRelatedOrder"]
    assert [item.key for item in standing.behind] == ["site/switch@1", "site/on@1"]
    [reason] = explain_item(plan, plan.by_key["site/switch@1"], World(related=related), START)
    assert reason.text.startswith("It waits for core/ring of order core-1, which is Pending. It waits for core/ring")


def test_relations_are_stored_with_the_order_and_absent_where_there_are_none():
    order = site_order("a", "b")
    assert Order.from_dict(order.to_dict()).related == ("a", "b")
    assert "related" not in site_order().to_dict()


def test_a_rule_of_decomposition_may_lead_to_what_waits():
    release = sites(
        products=["core", "shop", "site"],
        decompositions=[rule("shop", "site")],
    )
    plan = Engine(release).accept(order_of(line("s", "shop"), related=("core-1",)))
    assert AWAIT in plan.by_key
