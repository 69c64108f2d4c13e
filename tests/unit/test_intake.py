"""Taking orders in: what is refused, what waits, and how the orders of one account know of one another."""

from __future__ import annotations

from typing import Any

import pytest

from domain import facts as f
from domain.errors import BadDocument, InventoryConflict, NotPossibleNow, OpenOrderConflict, UnknownProduct
from domain.intake import accept, book, readmit
from domain.inventory import Account, Asset
from domain.messages import Delivered
from domain.orders import OrderLine
from domain.plan import Plan
from domain.release import CompiledRelease
from domain.turn import Turn
from tests.support.build import assetize, callout, depends, line, manual, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import START, Engine, OpenProtector
from tests.support.fingerprint import fingerprint


def mobile(**members: Any) -> Engine:
    """Lines of a mobile offer, each delivered by one call."""
    return Engine(
        release_of(
            **{
                "products": [{"code": "sim", "attributes": [{"name": "number"}]}, "option"],
                "plans": [plan_of("p", "deliver")],
                "scenarios": [
                    scenario("sim", "p", "add", "modify", "delete"),
                    scenario("option", "p", "add", "modify", "delete"),
                ],
            }
            | members
        )
    )


def installed(engine: Engine, product: str = "sim") -> list[Asset]:
    return [asset for asset in engine.account.assets.values() if asset.product == product]


def delivered(engine: Engine, *lines: OrderLine) -> Plan:
    plan = engine.accept(order_of(*lines))
    engine.finish(plan)
    assert plan.order_state == "completed"
    return plan


def kinds(engine: Engine, plan: Plan) -> list[str]:
    return [fact.kind for fact in engine.facts[plan.order_id]]


# What cannot be taken in.


def test_an_unknown_product_is_refused_with_its_place_in_the_document() -> None:
    engine = mobile()

    with pytest.raises(UnknownProduct) as refused:
        engine.accept(order_of(line("1", "sim"), line("2", "fax")))
    assert refused.value.path == "productOrderItem[2].product.productSpecification.id"
    assert "'fax'" in refused.value.reason
    assert (engine.plans, engine.account.open_orders) == ({}, {})


def test_an_unknown_offering_is_refused_with_its_place_in_the_document() -> None:
    with pytest.raises(UnknownProduct) as refused:
        mobile().accept(order_of(OrderLine("1", "add", offering="fax", path="productOrderItem[0]")))
    assert refused.value.path == "productOrderItem[0].productOffering.id"


def test_an_added_line_without_a_product_is_refused() -> None:
    with pytest.raises(BadDocument, match="neither a specification nor an offering"):
        mobile().accept(order_of(line("1", None)))


def test_two_lines_of_one_id_are_refused() -> None:
    with pytest.raises(BadDocument, match="two items have the id '1'"):
        mobile().accept(order_of(line("1", "sim"), line("1", "sim")))


@pytest.mark.rule("F.8")
@pytest.mark.parametrize("action", ["modify", "delete", "noChange", "suspend", "resume", "move"])
def test_a_change_of_what_is_not_installed_is_refused(action: str) -> None:
    engine = mobile()

    with pytest.raises(InventoryConflict, match=f"the account has no 'sim' to {action}"):
        engine.accept(order_of(line("1", "sim", action)))
    with pytest.raises(InventoryConflict, match=f"no installed product 'p-1' to {action}"):
        engine.accept(order_of(line("1", "sim", action, product_id="p-1")))
    with pytest.raises(BadDocument, match="names no specification, no offering and no product"):
        engine.accept(order_of(line("1", None, action)))


@pytest.mark.rule("F.8")
def test_where_several_products_fit_the_refusal_names_them() -> None:
    engine = mobile()
    for _ in range(2):
        delivered(engine, line("1", "sim"))

    with pytest.raises(InventoryConflict) as refused:
        engine.accept(order_of(line("1", "sim", "modify")))
    assert refused.value.facts["candidates"] == sorted(asset.asset_id for asset in installed(engine))
    assert refused.value.path == "productOrderItem[1].product"


@pytest.mark.rule("F.8")
def test_the_scope_key_tells_products_of_one_specification_apart() -> None:
    engine = mobile(products=[{"code": "sim", "scopeKey": "number"}, "option"])
    for number in ("078", "079"):
        delivered(engine, line("1", "sim", number=number))
    with pytest.raises(InventoryConflict, match="2 installed products are a 'sim'"):
        engine.accept(order_of(line("1", "sim", "delete")))
    with pytest.raises(InventoryConflict, match="the account has no 'sim'"):
        engine.accept(order_of(line("1", "sim", "delete", number="077")))
    plan = engine.accept(order_of(line("1", "sim", "delete", number="079")))

    assert plan.lines[0].asset_id == next(a.asset_id for a in installed(engine) if a.attributes["number"] == "079")


@pytest.mark.rule("F.7")
def test_the_product_id_of_another_product_is_refused() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim"))
    (sim,) = installed(engine)

    with pytest.raises(InventoryConflict, match=f"product '{sim.asset_id}' is a 'sim', not a 'option'"):
        engine.accept(order_of(line("1", "option", "modify", product_id=sim.asset_id)))


def test_an_add_of_an_installed_id_is_refused_also_while_it_is_being_installed() -> None:
    engine = mobile()
    plan = engine.accept(order_of(line("1", "sim", product_id="sim-7")))

    for _ in range(2):
        with pytest.raises(InventoryConflict, match="'sim-7' is already installed"):
            engine.accept(order_of(line("1", "sim", product_id="sim-7")))
        engine.finish(plan)
    assert [asset.asset_id for asset in installed(engine)] == ["sim-7"]


def test_two_lines_about_one_product_are_refused() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim"))
    (sim,) = installed(engine)

    with pytest.raises(InventoryConflict, match="items '1' and '2' are about the same product"):
        engine.accept(order_of(line("1", "sim", "modify"), line("2", "sim", "delete", product_id=sim.asset_id)))
    with pytest.raises(InventoryConflict, match="items '1' and '2' are about the same product 'new'"):
        engine.accept(order_of(line("1", "sim", product_id="new"), line("2", "option", product_id="new")))


@pytest.mark.rule("F.7")
def test_a_line_may_name_its_product_by_id_alone() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim"))
    (sim,) = installed(engine)
    plan = engine.accept(order_of(line("1", None, "modify", product_id=sim.asset_id, number="079")))

    assert (plan.lines[0].product, plan.lines[0].attributes) == ("sim", {"number": "079"})


def test_a_product_that_the_release_lost_is_refused_by_name() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim"))
    (sim,) = installed(engine)
    engine.release = release_of(products=["option"])

    with pytest.raises(UnknownProduct, match="is a 'sim', which release test@1 does not have"):
        engine.accept(order_of(line("1", None, "modify", product_id=sim.asset_id)))


def test_a_line_that_names_only_a_product_id_is_sealed_by_the_installed_products_rules() -> None:
    engine = mobile(products=[{"code": "sim", "attributes": [{"name": "pin", "assetizable": False}]}, "option"])
    delivered(engine, line("1", "sim"))
    (sim,) = installed(engine)
    plan = engine.accept(order_of(line("1", None, "modify", product_id=sim.asset_id, pin="1234")))

    assert plan.order.lines[0].attributes == {"pin": {"$sealed": "1/pin"}}
    assert "1234" not in repr(engine.facts[plan.order_id])


@pytest.mark.parametrize(
    ("undeclared", "stored"),
    [("keep", {"color": "red"}), ("drop", {}), ("seal", {"color": {"$sealed": "1/color"}})],
)
def test_an_attribute_that_the_product_does_not_declare_follows_the_release(
    undeclared: str, stored: dict[str, Any]
) -> None:
    plan = mobile(undeclared=undeclared).accept(order_of(line("1", "sim", color="red")))

    assert plan.order.lines[0].attributes == stored
    assert plan.has_secrets == (undeclared == "seal")


# What is rejected, and what is complete at once.


@pytest.mark.rule("B3.16", "F.3")
def test_an_order_that_composes_nothing_is_rejected_with_the_reason() -> None:
    engine = mobile(scenarios=[])
    plan = engine.accept(order_of(line("1", "sim")))

    assert (plan.order_state, plan.ended_at, plan.state) == ("rejected", START, None)
    assert [reason["code"] for reason in plan.reasons] == ["nothingToFulfil"]
    assert "sim (add)" in plan.reasons[0]["reason"]
    assert kinds(engine, plan) == [f.ORDER_REJECTED]
    assert engine.account.open_orders == {}
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


@pytest.mark.rule("F.4")
def test_an_order_that_composes_nothing_is_complete_where_the_release_says_so() -> None:
    engine = mobile(scenarios=[], emptyPlan="complete")
    plan = engine.accept(order_of(line("1", "sim")))

    assert (plan.order_state, plan.state) == ("completed", "Completed")
    assert kinds(engine, plan) == [f.ORDER_ACCEPTED, f.PLAN_COMPOSED, f.ASSETS_CHANGED, f.ORDER_ENDED]
    assert len(installed(engine)) == 1
    assert engine.account.open_orders == {}


def test_a_condition_that_cannot_be_told_rejects_the_order() -> None:
    engine = mobile(scenarios=[scenario("sim", "p", when="attributes.number > 3")])
    plan = engine.accept(order_of(line("1", "sim", number="many")))

    assert plan.order_state == "rejected"
    assert plan.reasons[0]["code"] == "expressionFailed"
    assert "many" not in repr(plan.reasons)


def test_a_rejected_order_with_secrets_says_so_because_their_key_has_to_go() -> None:
    engine = mobile(scenarios=[], undeclared="seal")
    plan = engine.accept(order_of(line("1", "sim", pin="1234")))

    assert (plan.order_state, plan.has_secrets) == ("rejected", True)


def test_an_order_without_an_account_knows_only_itself() -> None:
    engine = mobile()
    first = engine.accept(order_of(line("1", "sim"), account=None))
    second = engine.accept(order_of(line("1", "sim"), account=None))
    engine.finish(first)

    assert (first.order_state, second.order_state) == ("completed", "inProgress")
    assert engine.account.assets == {}


def test_an_accepted_order_keeps_who_sent_it_and_the_hash_of_its_body() -> None:
    engine = mobile()
    plan = engine.accept(order_of(line("1", "sim"), channel="shop", client_key="k-1"), body_hash=b"\x01\x02")
    first = engine.facts[plan.order_id][0]

    assert (first.actor, first.cause) == ("channel:shop", "k-1")
    assert (plan.body_hash, engine.replayed(plan).body_hash) == (b"\x01\x02", b"\x01\x02")


# Orders behind one another.


def behind_an_add() -> tuple[Engine, Plan, Plan]:
    """A modify of what another order is still adding."""
    engine = mobile()
    first = engine.accept(order_of(line("1", "sim")))
    second = engine.accept(order_of(line("1", "sim", "modify", number="079")))
    return engine, first, second


@pytest.mark.rule("F.11", "F.13")
def test_a_modify_waits_behind_the_add_of_its_product() -> None:
    engine, first, second = behind_an_add()
    waiting = (second.order_state, second.behind, second.items)
    engine.finish(first)

    assert waiting == ("pending", [first.order_id], [])
    assert (second.order_state, second.behind, second.lines[0].asset_id) == ("inProgress", [], first.lines[0].asset_id)
    engine.finish(second)
    assert [asset.attributes for asset in installed(engine)] == [{"number": "079"}]


def test_a_modify_of_the_product_id_of_an_order_under_way_waits_too() -> None:
    engine = mobile()
    first = engine.accept(order_of(line("1", "sim")))
    second = engine.accept(order_of(line("1", None, "modify", product_id=first.lines[0].asset_id, number="079")))

    assert (second.order_state, second.behind) == ("pending", [first.order_id])


@pytest.mark.rule("F.11")
def test_a_disconnect_waits_behind_a_modify_and_what_comes_after_waits_for_both() -> None:
    engine, first, modify = behind_an_add()
    delete = engine.accept(order_of(line("1", "sim", "delete")))
    engine.finish(first)
    after_first = (modify.order_state, delete.order_state)
    engine.finish(modify)
    after_modify = delete.order_state
    engine.finish(delete)

    assert delete.behind == []
    assert (after_first, after_modify) == (("inProgress", "pending"), "inProgress")
    assert engine.account.assets == {}
    assert engine.account.open_orders == {}


def test_orders_on_other_products_do_not_wait() -> None:
    engine, *_ = behind_an_add()

    assert engine.accept(order_of(line("1", "option"))).order_state == "inProgress"


def test_an_option_for_an_installed_bundle_holds_the_bundle() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim"))
    option = engine.accept(order_of(line("1", "sim", "noChange"), line("2", "option", below="1")))
    other = engine.accept(order_of(line("1", "sim", "modify", number="079")))

    assert (option.order_state, other.order_state, other.behind) == ("inProgress", "pending", [option.order_id])


@pytest.mark.rule("F.12")
def test_a_release_may_refuse_a_second_order_instead() -> None:
    engine = mobile(openOrder="refuse")
    first = engine.accept(order_of(line("1", "sim")))

    with pytest.raises(OpenOrderConflict) as refused:
        engine.accept(order_of(line("1", "sim", "modify")))
    assert (refused.value.status, refused.value.facts["openOrders"]) == (409, [first.order_id])
    assert list(engine.account.open_orders) == [first.order_id]


@pytest.mark.rule("F.13")
def test_a_waiting_order_that_has_nothing_left_to_change_is_cancelled_with_the_reason() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim"))
    modify = engine.accept(order_of(line("1", "sim", "modify", number="1")))
    delete = engine.accept(order_of(line("1", "sim", "delete")))
    late = engine.accept(order_of(line("1", "sim", "modify", number="2")))
    last = engine.accept(order_of(line("1", "sim", "delete")))
    engine.finish(modify)
    engine.finish(delete)

    for plan in (late, last):
        assert (plan.order_state, plan.ended_at, plan.behind) == ("cancelled", START, [])
        assert plan.reasons[0]["code"] == "inventoryConflict"
        assert fingerprint(engine.replayed(plan)) == fingerprint(plan)
    assert engine.account.open_orders == {}


def test_a_waiting_order_that_composes_nothing_any_more_is_cancelled() -> None:
    engine = mobile(
        scenarios=[scenario("sim", "p"), scenario("sim", "p", "modify", when="previous.number == '1'")],
    )
    first = engine.accept(order_of(line("1", "sim", number="2")))
    second = engine.accept(order_of(line("1", "sim", "modify", number="3")))
    engine.finish(first)

    assert (second.order_state, second.reasons[0]["code"]) == ("cancelled", "nothingToFulfil")


def test_a_waiting_order_that_means_another_product_by_now_waits_for_that_ones_order() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim"))
    (old,) = installed(engine)
    delete = engine.accept(order_of(line("1", "sim", "delete", product_id=old.asset_id)))
    # Nothing but the old one is there for `modify` to mean: order it before the delete is projected away.
    engine.account.open_orders[delete.order_id].deltas.clear()
    waiting = engine.accept(order_of(line("1", "sim", "modify", number="079")))
    add = engine.accept(order_of(line("1", "sim", number="078")))
    engine.finish(delete)
    still = (waiting.order_state, waiting.behind)
    engine.finish(add)
    engine.finish(waiting)

    assert still == ("pending", [add.order_id])
    assert kinds(engine, waiting)[:4] == [f.ORDER_ACCEPTED, f.ORDER_WAITING, f.ORDER_WAITING, f.PLAN_COMPOSED]
    assert [asset.attributes for asset in installed(engine)] == [{"number": "079"}]


def test_an_order_is_taken_up_once_when_two_before_it_end_in_one_tick() -> None:
    engine = shared(quantity="one")
    first = engine.accept(order_of(line("1", "mail")))
    joined = engine.accept(order_of(line("1", "chat")))
    waiting = engine.accept(order_of(line("1", "mail", "modify", a=1), line("2", "chat", "modify", a=1)))
    engine.finish(joined)  # all but the delivery that it waits for
    engine.finish(first)  # both end now

    assert (first.order_state, joined.order_state) == ("completed", "completed")
    assert kinds(engine, waiting).count(f.PLAN_COMPOSED) == 1


def test_taking_up_an_order_that_is_at_work_does_nothing() -> None:
    engine = mobile()
    plan = engine.accept(order_of(line("1", "sim")))
    turn = Turn(plan=plan, now=engine.now, protector=engine.protector)

    assert readmit(turn, engine.account) is False
    assert turn.facts == []


# Instances that the account shares.


def shared(*, quantity: str = "sum", **members: Any) -> Engine:
    """Mail and chat both need a profile of the account; work on a profile is one call, for add, modify and delete."""
    return Engine(
        release_of(
            **{
                "products": [
                    "mail",
                    "chat",
                    {"code": "profile", "scope": "account", "quantity": quantity, "attributes": [{"name": "domain"}]},
                ],
                "decompositions": [
                    rule("mail", "profile", {"to": "domain", "copy": "domain"}),
                    rule("chat", "profile"),
                ],
                "plans": [plan_of("own", "deliver"), plan_of("shared", "provide")],
                "scenarios": [
                    scenario("mail", "own", "add", "modify", "delete"),
                    scenario("chat", "own", "add", "modify", "delete"),
                    scenario("profile", "shared", "add", "modify", "delete"),
                ],
            }
            | members
        )
    )


def profile(plan: Plan) -> tuple[str, str | None]:
    """(action, order joined) of the plan's profile line."""
    (found,) = (each for each in plan.lines if each.product == "profile")
    return found.action, found.joins


@pytest.mark.rule("F.14")
def test_a_second_order_joins_the_instance_that_the_first_is_making() -> None:
    engine = shared()
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat")))

    assert (profile(first), profile(second)) == (("add", None), ("modify", first.order_id))
    assert sorted(second.by_key) == [
        "await/delivery@profile@account",
        "own/deliver@1",
        "shared/provide@profile@account",
    ]
    assert second.by_key["own/deliver@1"].state == "Running"
    assert second.by_key["shared/provide@profile@account"].state == "Pending"


@pytest.mark.rule("F.15")
def test_the_joining_order_goes_on_when_the_first_has_delivered_and_the_instance_has_both_uses() -> None:
    engine = shared()
    first = engine.accept(order_of(line("1", "mail")))
    second = engine.accept(order_of(line("1", "chat")))
    engine.answer(second, engine.call(second, "own/deliver"))
    before = second.order_state
    engine.finish(first)
    after = second.by_key["shared/provide@profile@account"].state
    engine.finish(second)
    (one,) = installed(engine, "profile")

    assert (before, after, second.order_state) == ("inProgress", "Running", "completed")
    assert one.uses == {installed(engine, "mail")[0].asset_id: 1, installed(engine, "chat")[0].asset_id: 1}
    assert one.quantity == 2


@pytest.mark.rule("F.15")
def test_a_line_that_changes_nothing_of_the_shared_instance_still_waits_for_it() -> None:
    engine = shared(quantity="one")
    first = engine.accept(order_of(line("1", "mail")))
    second = engine.accept(order_of(line("1", "chat")))
    engine.finish(second)
    waiting = (profile(second), second.order_state, second.by_key["await/delivery@profile@account"].state)
    engine.finish(first)

    assert waiting == (("noChange", first.order_id), "inProgress", "Pending")
    assert second.order_state == "completed"
    assert len(installed(engine, "profile")[0].uses) == 2


def test_what_depends_on_the_shared_work_waits_for_the_order_that_does_it() -> None:
    engine = shared(quantity="one", dependencies=[depends("own/deliver", "shared/provide")])
    first = engine.accept(order_of(line("1", "mail")))
    second = engine.accept(order_of(line("1", "chat")))
    waiting = second.by_key["own/deliver@1"].state
    engine.finish(first)

    assert (waiting, second.by_key["own/deliver@1"].state) == ("Pending", "Running")


def test_a_dependency_on_shared_work_that_was_done_long_ago_is_void() -> None:
    engine = shared(quantity="one", dependencies=[depends("own/deliver", "shared/provide")])
    delivered(engine, line("1", "mail"))
    second = engine.accept(order_of(line("1", "chat")))

    assert (profile(second), second.by_key["own/deliver@1"].state) == (("noChange", None), "Running")


def test_an_order_that_joins_nobody_has_no_template_in_common_with_one_that_does() -> None:
    engine = shared(quantity="one")
    first = engine.accept(order_of(line("1", "mail")))
    joining = engine.accept(order_of(line("1", "chat")))
    for plan in (joining, first, joining):
        engine.finish(plan)
    alone = engine.accept(order_of(line("1", "chat")))

    assert [each.action for each in alone.lines] == [each.action for each in joining.lines]
    assert (list(alone.by_key), len(joining.by_key)) == (["own/deliver@1"], 2)


def test_three_orders_join_one_after_the_other() -> None:
    engine = shared()
    plans = [engine.accept(order_of(line("1", "mail"))) for _ in range(3)]
    joined = [profile(plan)[1] for plan in plans]
    for plan in reversed(plans):
        engine.finish(plan)
    for plan in plans:
        engine.finish(plan)

    assert joined == [None, plans[0].order_id, plans[1].order_id]
    assert [plan.order_state for plan in plans] == ["completed"] * 3
    assert len(installed(engine, "profile")[0].uses) == 3


@pytest.mark.rule("F.14")
def test_shared_instances_do_not_lock_the_bundle_that_they_were_made_for() -> None:
    engine = shared(quantity="one")
    first = delivered(engine, line("1", "mail"))
    chat = engine.accept(order_of(line("1", "chat")))
    mail = engine.accept(order_of(line("1", "mail", "modify", a=1)))

    assert installed(engine, "profile")[0].root_id == first.lines[0].asset_id
    assert (chat.order_state, mail.order_state) == ("inProgress", "inProgress")
    assert chat.roots.isdisjoint(mail.roots)


@pytest.mark.rule("F.14")
def test_two_orders_that_each_drop_a_use_leave_nothing() -> None:
    engine = shared()
    delivered(engine, line("1", "mail"))
    delivered(engine, line("1", "chat"))
    first = engine.accept(order_of(line("1", "mail", "delete")))
    second = engine.accept(order_of(line("1", "chat", "delete")))

    assert (profile(first), profile(second)) == (("modify", None), ("delete", first.order_id))
    for plan in (second, first, second):
        engine.finish(plan)
    assert (first.order_state, second.order_state, engine.account.assets) == ("completed", "completed", {})


def test_an_instance_on_its_way_out_is_waited_for_and_made_anew() -> None:
    engine = shared()
    delivered(engine, line("1", "mail"))
    (old,) = installed(engine, "profile")
    delete = engine.accept(order_of(line("1", "mail", "delete")))
    add = engine.accept(order_of(line("1", "chat")))

    assert (profile(delete), profile(add)) == (("delete", None), ("add", delete.order_id))
    assert add.by_key["shared/provide@profile@account"].state == "Pending"
    for plan in (add, delete, add):
        engine.finish(plan)
    (new,) = installed(engine, "profile")
    assert new.asset_id != old.asset_id
    assert list(new.uses) == [installed(engine, "chat")[0].asset_id]


def test_an_order_that_waited_is_compared_with_orders_that_came_after_it() -> None:
    engine = shared(quantity="one", products=["mail", "chat", {"code": "profile", "scope": "account"}])
    engine.release = release_with_optional_profile()
    first = engine.accept(order_of(line("1", "mail", needs=False)))
    waiting = engine.accept(order_of(line("1", "mail", "modify", needs=True)))
    newcomer = engine.accept(order_of(line("1", "chat")))
    engine.finish(first)

    assert (profile(newcomer), profile(waiting)) == (("add", None), ("modify", newcomer.order_id))
    for plan in (waiting, newcomer, waiting):
        engine.finish(plan)
    assert len(installed(engine, "profile")[0].uses) == 2


def release_with_optional_profile() -> CompiledRelease:
    return release_of(
        products=["mail", "chat", {"code": "profile", "scope": "account"}],
        decompositions=[rule("mail", "profile", when="attributes.needs == true"), rule("chat", "profile")],
        plans=[plan_of("own", "deliver"), plan_of("shared", "provide")],
        scenarios=[
            scenario("mail", "own", "add", "modify"),
            scenario("chat", "own"),
            scenario("profile", "shared", "add", "modify"),
        ],
    )


def test_a_host_that_starts_anew_sees_the_orders_in_the_sequence_in_which_they_were_compared() -> None:
    engine = Engine(release_with_optional_profile())
    first = engine.accept(order_of(line("1", "mail", needs=False)))
    waiting = engine.accept(order_of(line("1", "mail", "modify", needs=True)))
    newcomer = engine.accept(order_of(line("1", "chat")))
    engine.finish(first)
    engine.account = engine.reloaded_account()
    third = Account("acc-1", dict(engine.account.assets), dict(engine.account.open_orders))
    order = order_of(line("1", "chat"))
    order.order_id = "o1-9"
    turn = accept(order, engine.release, third, now=engine.now, protector=OpenProtector())

    assert list(engine.account.open_orders) == [newcomer.order_id, waiting.order_id]
    assert profile(turn.plan) == ("modify", waiting.order_id)


# The first order does not deliver.


def undelivered(action: str = "chat") -> tuple[Engine, Plan, Plan]:
    """The first order ends without having delivered the profile that the second has joined."""
    engine = shared(
        quantity="one",
        products=[
            "mail",
            "chat",
            {"code": "profile", "scope": "account", "quantity": "one", "attributes": [{"name": "domain"}]},
        ],
        plans=[plan_of("own", "deliver"), plan_of("shared", "provide", assetize(condition="false"))],
        dependencies=[depends("shared/assetize", "shared/provide")],
    )
    first = engine.accept(order_of(line("1", "mail", domain="a.example")))
    second = engine.accept(order_of(line("1", "chat")))
    engine.finish(second)
    engine.finish(first)
    return engine, first, second


AWAIT = "await/delivery@profile@account"


def test_an_order_whose_shared_instance_was_not_delivered_goes_to_a_person() -> None:
    engine, first, second = undelivered()
    item = second.by_key[AWAIT]

    assert (first.order_state, installed(engine, "profile")) == ("completed", [])
    assert (item.state, item.error_code) == ("Fatally Failed", "notDelivered")
    assert first.order_id in item.error
    assert second.order_state == "held"


def test_a_person_who_has_made_it_himself_completes_the_wait_and_the_instance_is_whole() -> None:
    engine, _, second = undelivered()
    engine.operate(second, AWAIT, "complete", {"attributes": {"ignored": 1}})
    (one,) = installed(engine, "profile")

    assert second.order_state == "completed"
    assert one.attributes == {"domain": "a.example"}
    assert list(one.uses) == [installed(engine, "chat")[0].asset_id]
    assert fingerprint(engine.replayed(second)) == fingerprint(second)


def test_the_wait_for_another_order_is_not_ended_while_that_order_is_open() -> None:
    engine, _, _ = undelivered()
    third = engine.accept(order_of(line("1", "chat")))
    fourth = engine.accept(order_of(line("1", "chat")))
    assert profile(fourth)[1] == third.order_id

    for action in ("complete", "skip", "retry"):
        with pytest.raises(NotPossibleNow, match="waits for another order"):
            engine.operate(fourth, AWAIT, action)


def test_an_order_scope_assetize_item_waits_for_what_the_order_has_joined() -> None:
    engine = shared(
        quantity="one",
        plans=[plan_of("own", "deliver", assetize(scope="order")), plan_of("shared", "provide")],
        dependencies=[depends("own/assetize", "own/deliver")],
    )
    first = engine.accept(order_of(line("1", "mail")))
    second = engine.accept(order_of(line("1", "chat")))
    engine.finish(second)
    early = installed(engine, "chat")
    engine.finish(first)

    assert early == []
    assert second.order_state == "completed"
    assert len(installed(engine, "profile")[0].uses) == 2


def test_an_answer_that_makes_a_change_needless_still_frees_who_waits_for_it() -> None:
    # The first order wants another domain; its system answers that the old one stays.
    engine = shared(quantity="one")
    delivered(engine, line("1", "mail", domain="old.example"))
    first = engine.accept(order_of(line("1", "mail", "modify", domain="new.example")))
    second = engine.accept(order_of(line("1", "chat")))
    assert (profile(first), profile(second)) == (("modify", None), ("noChange", first.order_id))
    engine.answer(first, engine.call(first, "shared/provide"), {"attributes": {"domain": "old.example"}})
    assert engine.reloaded_account() == engine.account
    engine.finish(first)
    engine.finish(second)

    assert second.order_state == "completed"
    assert second.by_key[AWAIT].state == "Completed"
    assert installed(engine, "profile")[0].attributes == {"domain": "old.example"}


def test_what_an_answer_said_of_a_shared_instance_is_known_to_the_next_order_before_it_is_delivered() -> None:
    engine = shared(quantity="one", plans=[plan_of("own", "deliver"), plan_of("shared", "provide", manual("check"))])
    first = engine.accept(order_of(line("1", "mail")))
    engine.answer(first, engine.call(first, "shared/provide"), {"attributes": {"domain": "given.example"}})
    second = engine.accept(order_of(line("1", "chat")))
    (line_of_profile,) = (each for each in second.lines if each.product == "profile")

    assert line_of_profile.previous == {"domain": "given.example"}
    assert engine.reloaded_account() == engine.account


# What a turn does to the account.


def test_news_goes_to_orders_at_work_first_and_calls_up_those_that_wait() -> None:
    engine = mobile()
    first = engine.accept(order_of(line("1", "sim")))
    other = engine.accept(order_of(line("1", "option")))
    waiting = engine.accept(order_of(line("1", "sim", "modify")))
    account = engine.account
    turn = Turn(plan=first, now=engine.now, protector=engine.protector)
    turn.delivered = ["p-1"]
    delivered_only = book(turn, account)
    first.ended_at = engine.now
    turn.delivered = []
    ended = book(turn, account)

    assert delivered_only.news == [(other.order_id, Delivered(first.order_id, frozenset({"p-1"})))]
    assert ended.news == [(other.order_id, Delivered(first.order_id, None)), (waiting.order_id, None)]
    assert first.order_id not in account.open_orders


def test_a_booking_shows_each_asset_before_and_after() -> None:
    engine = mobile()
    delivered(engine, line("1", "sim", number="1"))
    (before,) = installed(engine)
    plan = engine.accept(order_of(line("1", "sim", "delete")))
    call = engine.call(plan, "p/deliver")
    turn = Turn(plan=plan, now=engine.now, protector=engine.protector)
    engine._collect = lambda turn: None  # type: ignore[method-assign]  # this test books itself
    turn = engine.answer(plan, call)

    assert book(turn, engine.account).changes == [(before, None)]


def test_callouts_of_a_dedicated_plan_are_told_by_a_condition_of_the_release() -> None:
    release = release_of(products=["x"], plans=[plan_of("p", callout("a"))], dedicated="order.priority == 'high'")

    assert release.dedicated is not None
    assert release.dedicated.is_true({"order": {"priority": "high"}})
    assert not release.dedicated.is_true({"order": {"priority": "normal"}})
