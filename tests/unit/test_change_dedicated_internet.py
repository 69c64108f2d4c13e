"""The worked example of amending and cancelling, cell by cell: REFERENCE c3 on examples/dedicated-internet.

Where the customer calls: start, pre-notification and Start DIA are done, the site needed no enrichment, Send DIA is
done, the router is on its way. In the reference billing has not begun by then; here it begins together with the
router, so the billing system takes no calls in these tests, and Start Billing For Site is On Hold instead of Pending.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from domain.errors import PastNoReturn
from domain.orders import Order
from domain.plan import Plan
from domain.release import CompiledRelease
from gateway.tmf622 import parse_order
from gateway.views import plan_view
from tests.support.engine import Engine
from tests.support.fingerprint import fingerprint
from tests.unit.test_dedicated_internet import accept_site, accepted, finish, release, sample

__all__ = ["release"]

CALLED: Final = {
    "Start Dedicated Internet Order": "Completed",
    "Pre-Notify Billing": "Completed",
    "Start DIA Provisioning": "Completed",
    "Technical Site Enrichment": "Skipped",
    "Send DIA Provisioning Request": "Completed",
    "Ship DIA Router": "Running",
    "Start Billing For Site": "On Hold",
    "HoldProcessing": "Pending",
    "Assetize Site": "Pending",
    "Send Welcome Package": "Pending",
    "Notify Customer SMS": "Pending",
}
LATE: Final = ["HoldProcessing", "Assetize Site", "Send Welcome Package", "Notify Customer SMS"]


@pytest.fixture
def engine(release: CompiledRelease) -> Engine:
    return Engine(release)


@pytest.fixture
def plan(engine: Engine) -> Plan:
    """The order as it stands when the customer calls."""
    plan = accepted(engine, sample())
    engine.answer(plan, engine.call(plan, "billing/pre-notify"))
    engine.hold("billing")
    engine.answer(plan, engine.call(plan, "provisioning/send"))
    assert states(plan) == CALLED
    return plan


def states(plan: Plan) -> dict[str, str]:
    """The state of each item of the first round, by name."""
    items = [item for item in plan_view(plan)["items"] if "~" not in item["key"]]
    return {item["name"]: item["state"] for item in items if item["name"] in CALLED}


def again(plan: Plan) -> dict[str, dict[str, Any]]:
    """What a change has added, by key without its line."""
    return {
        item["key"].replace(f"@{item['lines'][0]}", ""): item
        for item in plan_view(plan)["items"]
        if item["key"].endswith("~1") or item["key"].startswith(("undo", "resolve"))
    }


def with_bandwidth(mbps: int) -> Order:
    return parse_order(sample(bandwidthMbps=mbps), order_id="", tenant="main", client_key=None)


def router_arrives(engine: Engine, plan: Plan) -> None:
    engine.hold()
    engine.answer(plan, engine.call(plan, "logistics/ship"))


# A: freeze.


@pytest.mark.rule(
    "B1.3", "B1.4", "B2.17", "C2.1", "C2.2", "C3.1", "C3.2", "C3.3", "C3.4", "C3.5", "C3.6", "C3.7", "C3.8", "C3.9",
)  # fmt: skip
def test_a_freeze_stops_what_has_not_begun_and_waits_for_the_router(engine: Engine, plan: Plan) -> None:
    engine.steer(plan, "freeze")
    assert plan.state == "Freezing"
    assert states(plan) == CALLED | dict.fromkeys([*LATE, "Start Billing For Site"], "Frozen") | {
        "Ship DIA Router": "Frozen - Running"
    }
    engine.answer(plan, engine.call(plan, "logistics/ship"))
    assert plan.state == "Frozen"
    assert states(plan)["Ship DIA Router"] == "Completed"
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


@pytest.mark.rule("B1.5", "B2.19")
def test_a_thaw_leads_back_to_where_everything_stood(engine: Engine, plan: Plan) -> None:
    engine.steer(plan, "freeze")
    engine.steer(plan, "thaw")
    assert plan.state == "In Progress"
    assert states(plan) == CALLED
    router_arrives(engine, plan)
    engine.resume(plan, "billing/start@site-billing@1")
    finish(engine, plan)
    assert plan.order_state == "completed"


# B: amend the bandwidth.


@pytest.mark.rule(
    "B1.6", "B2.28", "B2.30", "C1.7", "C1.13", "C2.8", "C2.13", "C3.1", "C3.2", "C3.3", "C3.4", "C3.5", "C3.6",
    "C3.7", "C3.8", "C3.9",
)  # fmt: skip
def test_an_amendment_waits_for_the_router_and_touches_what_the_bandwidth_touches(engine: Engine, plan: Plan) -> None:
    engine.change(plan, "amend", order=with_bandwidth(1000))
    assert plan.state == "Freezing"
    router_arrives(engine, plan)

    assert plan.state == "In Progress"
    assert states(plan) == {
        # A milestone has nothing to redo.
        "Start Dedicated Internet Order": "Amended",
        "Start DIA Provisioning": "Amended",
        # The reference sends nothing; ours is sent again, because what it was sent with has changed.
        "Pre-Notify Billing": "Amended",
        # The reference leaves it Skipped for ever; ours looks at the condition again.
        "Technical Site Enrichment": "Pending",
        "Send DIA Provisioning Request": "Amended",
        # The same router does up to a gigabit.
        "Ship DIA Router": "Completed",
        "Start Billing For Site": "Pending",
        **dict.fromkeys(LATE, "Pending"),
    }
    added = again(plan)
    assert {key: item["state"] for key, item in added.items()} == {
        "billing/pre-notify~1": "Running",
        "provisioning/send~1": "Pending",
    }
    waits = {item["key"]: item["dependsOn"] for item in plan_view(plan)["items"]}
    # Now also after the redo of Send DIA.
    assert waits["billing/start@site-billing@1"] == ["provisioning/send@access-provisioning@1~1"]


@pytest.mark.rule("B2.26", "C3.8")
def test_after_the_amendment_billing_starts_once_with_the_new_charge(engine: Engine, plan: Plan) -> None:
    engine.change(plan, "amend", order=with_bandwidth(1000))
    router_arrives(engine, plan)
    made = engine.finish(plan)
    billing = [call.payload["lines"][0]["attributes"] for call in made if call.item == "billing/start@site-billing@1"]
    assert billing == [{"monthlyCharge": 890}]
    assert [call.payload["lines"][0]["attributes"]["bandwidthMbps"] for call in made if "send" in call.item] == [1000]
    finish(engine, plan)
    assert plan.order_state == "completed"
    assert states(plan)["Technical Site Enrichment"] == "Skipped"
    installed = {asset.product: asset.attributes for asset in engine.account.assets.values()}
    assert installed["access-provisioning"]["bandwidthMbps"] == 1000
    assert installed["site-billing"]["monthlyCharge"] == 890
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


@pytest.mark.rule("B2.21", "B2.28")
def test_more_than_a_gigabit_has_the_skipped_enrichment_done_after_all(engine: Engine, plan: Plan) -> None:
    engine.change(plan, "amend", order=with_bandwidth(2500))
    router_arrives(engine, plan)
    engine.answer(plan, engine.call(plan, "billing/pre-notify"))
    assert states(plan)["Technical Site Enrichment"] == "Ready"
    # Another router, too.
    assert states(plan)["Ship DIA Router"] == "Amended"


# C: cancel the whole order.


@pytest.mark.rule(
    "B2.23", "B2.24", "B3.12", "B3.13", "C1.9", "C1.10", "C1.16", "C2.8", "C2.16", "C3.1", "C3.2", "C3.3", "C3.4",
    "C3.5", "C3.6", "C3.7", "C3.8", "C3.9", "C3.10",
)  # fmt: skip
def test_a_cancelled_order_is_undone_in_reverse_and_ends_as_cancelled(engine: Engine, plan: Plan) -> None:
    engine.change(plan, "cancel")
    assert (plan.state, plan.order_state) == ("Freezing", "assessingCancellation")
    router_arrives(engine, plan)
    assert (plan.state, plan.order_state) == ("In Progress", "pendingCancellation")
    assert states(plan) == {
        "Start Dedicated Internet Order": "Cancelled",
        "Start DIA Provisioning": "Cancelled",
        # No rollback defined.
        "Pre-Notify Billing": "Cancelled",
        "Technical Site Enrichment": "Discarded",
        "Send DIA Provisioning Request": "Cancelled",
        "Ship DIA Router": "Cancelled",
        # So no Undo Billing is created.
        "Start Billing For Site": "Discarded",
        **dict.fromkeys(LATE, "Discarded"),
    }
    added = {str(item["name"]): item["dependsOn"] for item in again(plan).values()}
    assert added == {
        "Undo DIA Provisioning Request": [],
        "UndoMilestone DIAProv": ["undo-provisioning/undo@access-provisioning@1"],
        # Waits on Undo DIAProv only: SiteBilling has nothing to undo.
        "Order Taken Back": ["undo-provisioning/done@access-provisioning@1"],
    }
    engine.finish(plan)
    assert (plan.state, plan.order_state) == ("Completed", "cancelled")
    assert engine.account.assets == {}
    assert engine.account.open_orders == {}
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


# D: past the point of no return.


@pytest.mark.rule("C1.1", "C2.6", "C3.11")
def test_once_the_site_is_assetized_an_amendment_is_refused_and_nothing_has_changed(
    engine: Engine, plan: Plan
) -> None:
    router_arrives(engine, plan)
    engine.resume(plan, "billing/start@site-billing@1")
    engine.finish(plan)
    accept_site(engine, plan)
    assert states(plan)["Assetize Site"] == "Completed"
    before, told = fingerprint(plan), len(engine.facts[plan.order_id])
    for kind, order in (("amend", with_bandwidth(1000)), ("cancel", None)):
        with pytest.raises(PastNoReturn):
            engine.change(plan, kind, order=order)
    assert fingerprint(plan) == before
    assert len(engine.facts[plan.order_id]) == told
    assert plan.state == "In Progress"


@pytest.mark.rule("B1.5", "C3.11")
def test_giving_an_amendment_up_thaws_what_it_has_frozen(engine: Engine) -> None:
    plan = accepted(engine, sample())
    engine.change(plan, "amend", order=with_bandwidth(1000))
    engine.steer(plan, "thaw")
    assert (plan.state, plan.change) == ("In Progress", None)
    engine.answer(plan, engine.call(plan, "billing/pre-notify"))
    assert states(plan)["Send DIA Provisioning Request"] == "Running"


# E: cancel after a failure.


@pytest.mark.rule("B2.25", "C3.12")
def test_a_cancelled_item_that_had_failed_is_resolved_by_a_person_before_the_order_is_cancelled(
    engine: Engine,
) -> None:
    plan = accepted(engine, sample())
    engine.answer(plan, engine.call(plan, "billing/pre-notify"))
    engine.fail(plan, engine.call(plan, "provisioning/send"), fatal=True)
    engine.change(plan, "cancel")
    assert states(plan)["Send DIA Provisioning Request"] == "Failed Discarded"
    resolving = again(plan)["resolve/fallout"]
    assert (resolving["state"], resolving["queue"]) == ("Ready", "fallout")
    assert plan.order_state == "pendingCancellation"
    engine.complete_task(plan, str(resolving["key"]), {"resolution": "it had done nothing"})
    assert plan.order_state == "cancelled"
    assert fingerprint(engine.replayed(plan)) == fingerprint(plan)


def test_an_event_that_happens_meanwhile_does_not_let_the_bundle_pass_what_is_done_again(
    engine: Engine, plan: Plan
) -> None:
    router_arrives(engine, plan)
    engine.resume(plan, "billing/start@site-billing@1")
    engine.finish(plan)
    assert states(plan)["HoldProcessing"] == "Running"
    engine.change(plan, "patch", patch={"lines": {"1": {"attributes": {"bandwidthMbps": 1000, "acceptedOn": "today"}}}})
    assert states(plan)["HoldProcessing"] == "Completed"
    assert states(plan)["Assetize Site"] == "Pending"
    engine.finish(plan)
    assert states(plan)["Assetize Site"] == "Completed"
