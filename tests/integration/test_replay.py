"""Replaying facts from empty gives the stored rows, and the check that says so sees a difference."""

import pytest

from domain.messages import ClaimTask, CompleteTask
from tests.support.deliveries import imported, sim, visit
from tests.support.replay_check import replay_differences


@pytest.fixture
async def busy(host):
    """A host with orders in every state: done, under way, waiting, failed, held, with secrets, with people."""
    [done] = await host.submit(sim("acc-1", PIN="4711"))
    await host.report(host.dispatch.calls()[0], answer={"attributes": {"PUK": "12345678", "IMSI": "1"}})
    await host.finish()
    await host.ask(imported("acc-9", "p9", cause="c1"))
    await host.submit(sim("acc-2"), sim("acc-3"), sim("acc-4"), visit("acc-5"), visit("acc-6"), visit("acc-7"))
    calls = host.dispatch.calls()
    await host.report(calls[0], "retryable", error="busy")
    await host.report(calls[1], "failed", error="no")
    for worker, plan in zip(("ann", "bob"), list(host.loop.memory.plans.values())[-2:], strict=True):
        item = plan.items[0].key
        await host.tell(plan.order_id, ClaimTask(item, worker, f"m1{worker}"), f"person:{worker}", f"m1{worker}")
        if worker == "bob":
            message = CompleteTask(item, worker, {}, "m2")
            await host.tell(plan.order_id, message, "person:bob", "m2")
    return done


async def test_the_facts_of_busy_orders_give_the_stored_rows(busy, databases):
    assert await replay_differences(databases.dsn) == []


@pytest.mark.parametrize(
    "change",
    [
        "update product_order set state = 'failed' where state = 'completed'",
        "update product_order set active = not active where account = 'acc-2'",
        "update product_order set timer_at = null where account = 'acc-2'",
        "update asset set body = body || '{\"quantity\": 7}' where account = 'acc-1'",
        "delete from asset where account = 'acc-9'",
        "delete from manual_task where closed_at is null",
        "update manual_task set closed_at = null",
        "delete from fact where kind = 'order.ended'",
    ],
)
async def test_a_row_that_its_facts_do_not_give_is_seen(busy, pool, databases, change):
    assert await pool.execute(change) not in ("UPDATE 0", "DELETE 0")

    assert len(await replay_differences(databases.dsn)) >= 1
