"""Orders that wait for price functions: the host goes on meanwhile, and nothing is decided twice or out of order."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from actors.envelopes import Later, NotOwner
from domain.errors import Busy
from domain.orders import Order
from persistence import catalogue
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, rule, scenario
from tests.support.deliveries import kinds
from tests.support.hosts import submission
from tests.support.journals import AT
from tests.support.until import until

FUNCTIONS = "tests.support.price_functions"
NAMES = ("flat", "loops", "sleeps", "raises", "not_there")

PRICED: dict[str, Any] = release_document(
    version="priced",
    products=["plain", *NAMES, *(f"{name}-bill" for name in NAMES)],
    decompositions=[
        rule(name, f"{name}-bill", {"to": "charge", "function": f"{FUNCTIONS}:{name}"}) for name in NAMES
    ],
    plans=[plan_of("bill", callout("charge")), plan_of("bring", callout("bring"))],
    scenarios=[
        scenario("plain", "bring"),
        *(scenario(f"{name}-bill", "bill") for name in NAMES),
        *(scenario(name, "bring", "add", "modify") for name in NAMES),
    ],
)


@pytest.fixture
async def host(hosts, pool):
    made = await hosts()
    await catalogue.publish_release(pool, "main", release_of(**PRICED).release_id, PRICED, AT + timedelta(days=1))
    await made.loop.refresh_releases()
    yield made
    made.loop.prices.stop()
    await made.loop.prices.ended()


def priced(function: str, account: str | None = "acc-1", **members: Any) -> Order:
    return order_of(line("1", function), account=account, **members)


async def charge_of(pool: Any, order_id: str) -> Any:
    """The charge in the composition fact."""
    text = await pool.fetchval("select payload from fact where order_id = $1 and kind = 'plan.composed'", order_id)
    return next(each["attributes"]["charge"] for each in json.loads(text)["lines"] if each.get("sources"))


@pytest.mark.parametrize("account", ["acc-1", None])
async def test_an_order_is_accepted_with_what_its_function_said(host, pool, account):
    [submitted] = await host.submit(priced("flat", account))
    await host.finish()

    assert submitted.state == "acknowledged"
    assert await charge_of(pool, submitted.order_id) == "1.50"
    assert (await kinds(pool, submitted.order_id))[-1] == "order.ended"
    assert host.loop.prices.waiting == {}
    assert host.loop.memory.plans == {}


async def test_others_are_accepted_while_a_function_never_ends(host):
    hanging = asyncio.ensure_future(host.submit(priced("sleeps", "acc-hangs")))
    await until(lambda: host.loop.prices.waiting)
    [other] = await host.submit(priced("plain", "acc-2"))

    assert other.state == "acknowledged"
    assert not hanging.done()
    [rejected] = await hanging
    assert rejected.state == "rejected"
    assert rejected.reasons[0]["reason"].endswith("took longer than 1 s")


async def test_orders_of_one_call_are_answered_while_one_of_them_waits_for_its_function(host):
    envelopes = [submission(priced("sleeps", "acc-hangs")), submission(priced("plain", "acc-2"))]
    later, other = await host.while_running(host.loop.ask(envelopes, is_patient=False))

    assert isinstance(later, Later)
    assert other.state == "acknowledged"
    assert (await host.loop.late.get(later.token)).state == "rejected"


@pytest.mark.parametrize("function", ["loops", "raises"])
async def test_a_function_that_fails_rejects_its_order_and_the_next_one_is_served(host, pool, function):
    [rejected] = await host.submit(priced(function))
    [taken] = await host.submit(priced("flat"))

    assert rejected.state == "rejected"
    assert rejected.reasons[0]["code"] == "priceFunctionFailed"
    assert await kinds(pool, rejected.order_id) == ["order.rejected"]
    assert taken.state == "acknowledged"


async def test_a_function_that_is_not_on_this_machine_costs_no_order(host, pool):
    [refused] = await host.submit(priced("not_there"))

    assert isinstance(refused, Busy)
    assert "not_there" in refused.reason
    assert await pool.fetchval("select count(*) from fact") == 0


async def test_orders_of_one_account_are_accepted_in_the_order_in_which_they_came(host):
    wanted = [priced("flat"), priced("plain"), priced("flat"), priced("plain")]
    answers = await host.submit(*wanted)

    assert [each.order_id for each in answers] == sorted(each.order_id for each in answers)
    assert {each.state for each in answers} == {"acknowledged"}


async def test_the_same_order_sent_twice_meanwhile_is_one_order(host, pool):
    first, second = await host.submit(priced("flat", client_key="k-1"), priced("flat", client_key="k-1"))

    assert first.order_id == second.order_id
    assert second.is_repeat
    assert await pool.fetchval("select count(*) from product_order") == 1


async def test_an_order_that_waited_asks_when_it_is_taken_up(host, pool):
    [first] = await host.submit(order_of(line("1", "flat", product_id="p-1")))
    [waiting] = await host.submit(order_of(line("1", None, "modify", product_id="p-1", speed="1G")))
    assert waiting.state == "pending"
    await host.finish()
    await until(lambda: host.dispatch.calls(waiting.order_id))
    await host.finish()

    assert (await kinds(pool, first.order_id))[-1] == "order.ended"
    assert (await kinds(pool, waiting.order_id))[-1] == "order.ended"
    assert await charge_of(pool, waiting.order_id) == "1.50"


async def test_a_host_that_stops_lets_go_of_what_waits_for_a_function(host):
    asked = asyncio.ensure_future(host.loop.ask([submission(priced("sleeps"))]))
    await until(lambda: host.loop.prices.waiting)
    host.loop.stop()
    await host.running

    assert isinstance((await asked)[0], NotOwner)
