"""Dedicated plans on real journals: one host holds the account, another the plan, and nothing falls between them."""

import asyncio
from typing import Any

import pytest

from actors.envelopes import GiveAway
from domain.ids import shard_of
from domain.messages import AssetsBooked
from domain.orders import Order
from persistence import catalogue
from persistence.incarnations import Ownership
from tests.support.build import callout, depends, line, order_of, plan_of, release_document, release_of, rule
from tests.support.build import scenario as scenario_of
from tests.support.hosts import SHARDS, Host
from tests.support.journals import AT, count
from tests.support.until import until

DEDICATED = range(SHARDS, SHARDS + 4)
RELEASE: dict[str, Any] = release_document(
    products=["sim", "line", {"code": "mailbox", "scope": "account"}],
    decompositions=[rule("line", "mailbox")],
    plans=[plan_of("deliver", "reserve", "activate"), plan_of("change", callout("change"))],
    dependencies=[depends("deliver/activate", "deliver/reserve")],
    scenarios=[
        scenario_of("sim", "deliver", "add"),
        scenario_of("sim", "change", "modify", "delete"),
        scenario_of("line", "deliver", "add"),
    ],
    dedicated='order.priority == "high"',
)


@pytest.fixture
async def hosts(databases, pool):
    """Starts hosts, and ends them."""
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    made: list[Host] = []

    async def start(name: str, shards: Any = ()) -> Host:
        made.append(await Host.start(databases, pool, name, shards=shards))
        return made[-1]

    yield start
    for host in made:
        host.kill()
    await asyncio.gather(*(host.running for host in made), return_exceptions=True)


@pytest.fixture
async def home(hosts):
    """The host of every account, and of the dedicated shards nobody uses."""
    return await hosts("home", range(SHARDS + len(DEDICATED)))


def large(account: str | None = "acc-1") -> Order:
    return order_of(line("1", "sim"), account=account, priority="high")


async def moved(home: Host, hosts: Any, order_id: str, name: str = "own") -> Host:
    """The order's shard, given to a host that holds nothing else."""
    host: Host = await hosts(name)
    shard = shard_of(order_id)
    await home.ask(GiveAway({shard: name}))
    home.dispatch.forget(lambda order_id: shard_of(order_id) in home.loop.heads)
    await host.while_running(host.loop.adopt([shard]))
    return host


async def book(host: Host, home: Host, *, is_heard: bool = True) -> int:
    """Deliver every booking that waits, and those that follow; how many there were."""
    done = 0
    while host.bookings.waiting:
        booking = host.bookings.waiting.pop(0)
        [answer] = await home.ask(booking)
        assert answer == {"number": booking.number}
        done += 1
        if is_heard and booking.number:
            await host.tell(booking.order_id, AssetsBooked(booking.number))
    return done


async def state_of(pool, order_id: str) -> str:
    return str(await pool.fetchval("select state from product_order where order_id = $1", order_id))


async def holders(pool) -> list[str]:
    return [row["order_id"] for row in await pool.fetch("select order_id from shard where order_id is not null")]


async def test_a_dedicated_order_has_a_shard_for_itself_until_it_has_ended(home, pool):
    [submitted] = await home.submit(large())

    assert shard_of(submitted.order_id) in DEDICATED
    assert await holders(pool) == [submitted.order_id]

    await home.finish()
    assert await book(home, home) == 2

    assert await state_of(pool, submitted.order_id) == "completed"
    assert await holders(pool) == []


async def test_an_order_that_the_rule_does_not_mean_stays_with_its_account(home, pool):
    [submitted] = await home.submit(order_of(line("1", "sim")))

    assert shard_of(submitted.order_id) < SHARDS
    assert await holders(pool) == []


async def test_its_own_host_delivers_and_the_accounts_host_books(hosts, home, pool):
    [submitted] = await home.submit(large())
    own = await moved(home, hosts, submitted.order_id)
    made = await own.finish()

    assert [call.name for call in made] == ["reserve", "activate"]
    assert await count(pool, "asset") == 0
    assert await state_of(pool, submitted.order_id) == "inProgress"

    await book(own, home)

    assert await count(pool, "asset") == 1
    assert await state_of(pool, submitted.order_id) == "completed"
    booked = await pool.fetch("select shard, order_id from fact where kind = 'assets.booked' order by order_id")
    assert [row["order_id"] for row in booked] == [f"booking {submitted.order_id}/{n}" for n in (1, 2)]
    assert {row["shard"] for row in booked}.isdisjoint(DEDICATED)


async def test_a_booking_that_is_asked_for_twice_is_made_once(hosts, home, pool):
    [submitted] = await home.submit(large())
    own = await moved(home, hosts, submitted.order_id)
    await own.finish()
    twice = list(own.bookings.waiting)
    await book(own, home)

    assert await home.ask(*twice) == [{"number": each.number} for each in twice]
    assert await pool.fetchval("select count(*) from fact where kind = 'assets.booked'") == 2


async def test_a_host_that_dies_before_its_bookings_are_heard_loses_none(hosts, home, pool):
    [submitted] = await home.submit(large())
    own = await moved(home, hosts, submitted.order_id)
    await own.finish()
    own.kill()
    await Ownership(pool).fence("own")
    shard = shard_of(submitted.order_id)
    await Ownership(pool).reassign({shard: ("own", "home")})
    await home.while_running(home.loop.adopt([shard]))
    await book(home, home)

    assert await state_of(pool, submitted.order_id) == "completed"
    assert await count(pool, "asset") == 1


@pytest.mark.parametrize("is_booked", [False, True])
async def test_a_later_order_of_the_account_sees_no_gap(hosts, home, pool, is_booked):
    """What is delivered but not booked, or booked but not heard, counts once when the account is read again."""
    [submitted] = await home.submit(large())
    own = await moved(home, hosts, submitted.order_id)
    await own.finish()
    if is_booked:
        await home.ask(own.bookings.waiting[0])
    home.loop.memory.forget_accounts()

    [change] = await home.submit(order_of(line("1", "sim", "modify")))
    assert change.state == "pending"

    await book(own, home)
    assert await state_of(pool, change.order_id) == "inProgress"
    await home.finish()
    assert await state_of(pool, change.order_id) == "completed"
    assert await count(pool, "asset") == 1


async def test_what_is_booked_but_not_heard_of_is_awaited_by_nobody(hosts, home, pool):
    """A later order joins the account's mailbox; its delivery, which was told before, is not told again."""
    [submitted] = await home.submit(order_of(line("1", "line"), priority="high"))
    own = await moved(home, hosts, submitted.order_id)
    await own.finish()
    await home.ask(own.bookings.waiting[0])
    home.loop.memory.forget_accounts()

    [second] = await home.submit(order_of(line("1", "line")))

    assert [call.name for call in home.dispatch.calls(second.order_id)] == ["reserve"]
    await home.finish()
    assert await state_of(pool, second.order_id) == "completed"
    assert await count(pool, "asset") == 3


async def test_an_order_that_is_closed_but_does_not_know_it_holds_nobody_up(hosts, home, pool):
    [submitted] = await home.submit(large())
    own = await moved(home, hosts, submitted.order_id)
    await own.finish()
    booking = own.bookings.waiting.pop(0)
    await home.ask(booking)
    await own.tell(submitted.order_id, AssetsBooked(booking.number))
    await until(lambda: own.bookings.waiting)
    await book(own, home, is_heard=False)
    home.loop.memory.forget_accounts()

    [change] = await home.submit(order_of(line("1", "sim", "modify")))

    assert change.state == "acknowledged"
    assert await state_of(pool, submitted.order_id) == "inProgress"


async def test_two_open_orders_of_one_account_stay_together(home, pool):
    await home.submit(order_of(line("1", "sim")))
    [second] = await home.submit(large())

    assert shard_of(second.order_id) < SHARDS
    accepted = await pool.fetchval(
        "select payload ->> 'placement' from fact where order_id = $1 and kind = 'order.accepted'", second.order_id
    )
    assert accepted == "shared"


async def test_dedicated_plans_are_capped(home, pool):
    submitted = await home.submit(*(large(f"acc-{number}") for number in range(len(DEDICATED) + 1)))
    shards = [shard_of(each.order_id) for each in submitted]

    assert sorted(shards)[1:] == list(DEDICATED)
    assert sorted(shards)[0] < SHARDS


async def test_an_order_without_an_account_books_for_itself(hosts, home, pool):
    [submitted] = await home.submit(large(None))
    own = await moved(home, hosts, submitted.order_id)
    await own.finish()

    assert own.bookings.waiting == []
    assert await state_of(pool, submitted.order_id) == "completed"
    assert await count(pool, "asset") == 1
