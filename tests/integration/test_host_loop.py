"""The host's loop on a real journal: whatever happens to a commit, nothing is lost and nothing is decided twice."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

import actors.host_loop
import actors.inbox
import actors.memory
import actors.tick
import domain.decide
import domain.intake
from actors.config import ClusterConfig
from actors.envelopes import Due, GiveAway, NotOwner, Redrive, Submitted, ToPlan
from actors.host_loop import SETTLED_FAILURES_MAX
from actors.plan_host import PlanHost
from actors.watchdog import HostWatchdog
from domain.decide import pending_effects
from domain.errors import Busy, ClientKeyReused, NotPossibleNow, OrderplanError, PlanUnreadable, Unstorable
from domain.ids import shard_for, shard_of
from domain.messages import ClaimTask, CompleteTask, OperateItem
from domain.orders import Order
from domain.payloads import payload_of
from persistence.incarnations import Ownership
from persistence.journal import Fenced
from tests.support.build import line, order_of
from tests.support.deliveries import imported, kinds, sim, visit
from tests.support.hosts import SHARDS, Clock, Host, reported, submission
from tests.support.journals import count
from tests.support.proxy import Proxy
from tests.support.until import until


@pytest.fixture
async def proxy(databases):
    async with Proxy(databases.dsn) as made:
        yield made


async def state_of(pool, order_id: str) -> str:
    return str(await pool.fetchval("select state from product_order where order_id = $1", order_id))


GOOD_PATH = [
    "order.accepted",
    "plan.composed",
    "item.started deliver/reserve",
    "item.completed deliver/reserve",
    "item.started deliver/activate",
    "item.completed deliver/activate",
    "assets.changed",
    "order.ended",
]


async def test_an_order_goes_from_submission_to_asset(host, pool):
    [submitted] = await host.submit(sim())
    made = await host.finish()

    assert submitted.state == "acknowledged"
    assert [call.name for call in made] == ["reserve", "activate"]
    assert await kinds(pool, submitted.order_id) == GOOD_PATH
    assert await state_of(pool, submitted.order_id) == "completed"
    assert await count(pool, "asset") == 1
    assert host.loop.memory.plans == {}


async def test_a_host_that_is_still_starting_tells_its_name():
    """Whoever scrapes the metrics meanwhile must not fail."""
    starting = PlanHost(ClusterConfig(dsn="", key_dsn=""), "host-a")

    assert (await starting.stats())["incarnation"] == "host-a"


async def test_nothing_leaves_before_the_commit(hosts, pool):
    """At the moment before COMMIT nobody has an answer and nothing was sent."""
    seen: list[tuple[int, bool]] = []

    async def look(point: str) -> None:
        if point == "committing" and asked:
            seen.append((len(host.dispatch.sent), asked[0].done()))

    asked: list[asyncio.Task[Any]] = []
    host = await hosts(probe=look)
    asked.append(asyncio.create_task(host.submit(sim())))
    await asked[0]

    assert seen == [(0, False)]
    assert len(host.dispatch.sent) == 1


# Client keys.


async def test_a_repeat_in_the_same_tick_names_the_same_order(host, pool):
    first, second = await host.submit(sim(key="k"), sim(key="k"))

    assert not first.is_repeat
    assert second.is_repeat
    assert second.order_id == first.order_id
    assert await count(pool, "product_order") == 1
    assert len(host.dispatch.sent) == 1


async def test_a_repeat_in_a_later_tick_names_the_same_order(host, pool):
    [first] = await host.submit(sim(key="k"))
    await host.finish()
    [second] = await host.submit(sim(key="k"))

    assert (second.order_id, second.is_repeat) == (first.order_id, True)
    assert await count(pool, "product_order") == 1


async def test_a_repeat_at_the_next_owner_names_the_same_order(hosts, pool):
    old = await hosts()
    [first] = await old.submit(sim(key="k"))
    old.kill()
    await Ownership(pool).fence("host-a")
    new = await hosts("host-b")

    [second] = await new.submit(sim(key="k"))

    assert (second.order_id, second.is_repeat) == (first.order_id, True)


@pytest.mark.parametrize("is_same_tick", [True, False])
async def test_the_same_key_with_another_body_is_refused_and_its_tick_goes_on(host, pool, is_same_tick):
    batches = [[sim(key="k"), sim(key="k", IMSI="1"), sim("acc-2")]]
    if not is_same_tick:
        batches = [batches[0][:1], batches[0][1:]]

    answers = [answer for batch in batches for answer in await host.submit(*batch)]

    assert [type(answer) for answer in answers] == [Submitted, ClientKeyReused, Submitted]
    assert await count(pool, "product_order") == 2


async def test_another_account_cannot_use_the_key(hosts, pool):
    here, there = shard_for("main/acc-1", SHARDS), shard_for("main/acc-2", SHARDS)
    assert here != there
    one = await hosts("host-a", shards=[here])
    other = await hosts("host-b", shards=[there])
    await one.submit(sim("acc-1", "k"))

    [answer] = await other.submit(sim("acc-2", "k"))

    assert isinstance(answer, ClientKeyReused)
    assert await count(pool, "product_order") == 1


@pytest.mark.parametrize("blind", [1, 100])
async def test_two_hosts_that_take_one_key_at_once_store_one_order(hosts, pool, monkeypatch, blind):
    """The second has not seen the first when it asked; the database decides, and the rest of the tick goes on."""
    here, there = shard_for("main/acc-1", SHARDS), shard_for("main/acc-2", SHARDS)
    one = await hosts("host-a", shards=[here])
    other = await hosts("host-b", shards=[there])
    await one.submit(sim("acc-1", "k"))
    ask, left = other.journal.known_keys, [blind]

    async def blind_at_first(tenant: str, keys: list[str]) -> Any:
        left[0] -= 1
        return {} if left[0] >= 0 else await ask(tenant, keys)

    monkeypatch.setattr(other.journal, "known_keys", blind_at_first)
    refused, taken = await other.submit(sim("acc-2", "k"), sim("acc-2"))

    assert isinstance(refused, ClientKeyReused)
    assert isinstance(taken, Submitted)
    assert await count(pool, "product_order") == 2


# Commits that are not heard.

MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])


async def settled_by(host: Host, pool, order_id: str) -> Counter[str]:
    """Finish the order; what its facts count."""
    await host.finish()
    assert await state_of(pool, order_id) == "completed"
    return Counter(await kinds(pool, order_id))


@MOMENTS
async def test_an_unheard_submission_is_accepted_once(hosts, pool, proxy, moment):
    host = await hosts(dsn=proxy.dsn)
    proxy.cut(moment, b"COMMIT")

    [submitted] = await host.submit(sim(key="k"))

    assert proxy.cuts_made == 1
    assert await count(pool, "product_order") == 1
    assert [call.name for call in host.dispatch.calls()] == ["reserve"]
    assert await settled_by(host, pool, submitted.order_id) == Counter(GOOD_PATH)


@MOMENTS
async def test_an_unheard_submission_without_a_key_is_accepted_once(hosts, pool, proxy, moment):
    host = await hosts(dsn=proxy.dsn)
    proxy.cut(moment, b"COMMIT")

    await host.submit(sim())

    assert await count(pool, "product_order") == 1
    assert host.loop.memory.accounts["main", "acc-1"].open_orders.keys() == host.loop.memory.plans.keys()


@MOMENTS
async def test_an_unheard_report_is_decided_once_and_what_follows_is_sent(hosts, pool, proxy, moment):
    host = await hosts(dsn=proxy.dsn)
    [submitted] = await host.submit(sim())
    proxy.cut(moment, b"COMMIT")

    await host.report(host.dispatch.calls()[0])

    assert [call.name for call in host.dispatch.calls()] == ["activate"]
    assert await settled_by(host, pool, submitted.order_id) == Counter(GOOD_PATH)
    assert Counter(host.dispatch.sent).most_common(1)[0][1] == 1


@MOMENTS
async def test_an_unheard_operator_action_is_decided_once(hosts, pool, proxy, moment):
    host = await hosts(dsn=proxy.dsn)
    [submitted] = await host.submit(sim())
    call = host.dispatch.calls()[0]
    await host.report(call, "failed", error="no such card")
    retry = OperateItem(call.item, "retry", "ann", "the card was delivered", "m1")
    proxy.cut(moment, b"COMMIT")

    answer = await host.tell(submitted.order_id, retry, "person:ann", "m1")

    assert answer["itemState"] == "Running"
    again = await host.tell(submitted.order_id, retry, "person:ann", "m1")
    assert again["orderId"] == submitted.order_id
    assert [call.attempt for call in host.dispatch.calls()] == [2]
    found = await settled_by(host, pool, submitted.order_id)
    assert found["item.retried deliver/reserve"] == 1
    assert found["item.started deliver/reserve"] == 2


@MOMENTS
async def test_an_unheard_claim_is_decided_once(hosts, pool, proxy, moment):
    host = await hosts(dsn=proxy.dsn)
    [submitted] = await host.submit(visit())
    item = next(iter(host.loop.memory.plans[submitted.order_id].items)).key
    proxy.cut(moment, b"COMMIT")
    await host.tell(submitted.order_id, ClaimTask(item, "ann", "m1"), "person:ann", "m1")
    proxy.cut(moment, b"COMMIT")
    await host.tell(submitted.order_id, CompleteTask(item, "ann", {}, "m2"), "person:ann", "m2")

    found = await settled_by(host, pool, submitted.order_id)
    assert found["item.claimed visit/survey"] == 1
    assert found["item.completed visit/survey"] == 1
    assert proxy.cuts_made == 2


@MOMENTS
async def test_an_unheard_import_is_recorded_once(hosts, pool, proxy, moment):
    host = await hosts(dsn=proxy.dsn)
    proxy.cut(moment, b"COMMIT")

    [answer] = await host.ask(imported("acc-1", "p1", cause="c1"))
    [again] = await host.ask(imported("acc-1", "p1", cause="c1"))

    assert answer == again == {"account": "acc-1", "imported": 1, "results": ["imported"]}
    assert await count(pool, "fact") == 1
    assert await count(pool, "asset") == 1


@MOMENTS
async def test_an_unheard_release_of_a_shard_leaves_one_owner(hosts, pool, proxy, moment):
    """What is decided again must not be written to a shard that the unheard commit gave away."""
    shard = shard_for("main/acc-1", SHARDS)
    host = await hosts(dsn=proxy.dsn)
    other = await hosts("host-b", shards=[])
    proxy.cut(moment, b"COMMIT")

    _, answer = await host.ask(GiveAway({shard: "host-b"}), submission(sim("acc-1")))

    assert shard not in host.loop.heads
    owners = {each.shard: each.incarnation_id for each in await Ownership(pool).assignments()}
    assert owners[shard] == "host-b"
    await other.loop.adopt([shard])
    assert await count(pool, "product_order") == isinstance(answer, Submitted)
    await other.submit(sim("acc-1"))
    assert len(await other.finish()) == 2 * await count(pool, "product_order")


async def test_a_database_that_is_away_for_long_is_waited_for(hosts, pool, proxy):
    host = await hosts(dsn=proxy.dsn)
    [first] = await host.submit(sim("acc-1"))
    proxy.is_closed = True
    proxy.drop_all()
    waiting = asyncio.create_task(host.submit(sim("acc-2")))
    await until(lambda: host.loop._doubtful is None and host.loop.ticks >= 2)
    assert not waiting.done()

    proxy.is_closed = False
    [second] = await waiting

    await host.finish()
    assert [await state_of(pool, each.order_id) for each in (first, second)] == ["completed", "completed"]


NO_ROOM = """
create function no_room() returns trigger language plpgsql as
$$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
create trigger no_room before insert on fact for each statement execute function no_room()"""
ROOM = "drop function if exists no_room cascade"


async def test_a_database_whose_disk_is_full_is_waited_for_and_no_message_is_blamed(host, pool):
    """Everything else is answered meanwhile, the raise of the own epoch included."""
    [first] = await host.submit(sim("acc-1"))
    await pool.execute(NO_ROOM)
    try:
        work = [host.submit(sim("acc-2")), host.report(host.dispatch.calls(first.order_id)[0])]
        waiting = [asyncio.create_task(each) for each in work]

        async def has_tried() -> bool:
            epoch = await pool.fetchval("select max(epoch) from incarnation")
            return int(epoch) > 4 * SETTLED_FAILURES_MAX

        await until(has_tried)
        assert not any(each.done() for each in waiting)
    finally:
        await pool.execute(ROOM)
    [second], answer = await asyncio.gather(*waiting)

    assert not isinstance(answer, OrderplanError)
    await host.finish()
    assert [await state_of(pool, each.order_id) for each in (first, second)] == ["completed", "completed"]
    assert await kinds(pool, first.order_id) == GOOD_PATH


@pytest.mark.parametrize(
    "statements",
    [(b"copy ", b"COPY ", b"update incarnation", b"insert into asset", b"BEGIN"), (b"COMMIT",) * 5],
    ids=["a transaction", "one statement"],
)
async def test_connections_lost_at_any_statement_of_a_tick_lose_nothing(hosts, pool, proxy, monkeypatch, statements):
    if len(set(statements)) > 1:
        monkeypatch.setattr("persistence.journal.is_quick", lambda _commit: False)
    host = await hosts(dsn=proxy.dsn)
    orders = []
    for number, statement in enumerate(statements):
        proxy.cut("before" if number % 2 else "after", statement)
        orders += await host.submit(sim(f"acc-{number}", f"k{number}"))
        await host.finish()

    assert proxy.cuts_made >= 3
    for each in orders:
        assert await state_of(pool, each.order_id) == "completed"
        assert Counter(await kinds(pool, each.order_id)) == Counter(GOOD_PATH)


# Values that cannot be stored, and bugs.


async def test_a_poisoned_report_goes_to_a_person_and_the_rest_of_its_tick_goes_on(host, pool):
    submitted = await host.submit(*(sim(f"acc-{n}") for n in range(5)))
    poisoned, *others = host.dispatch.calls()
    answers = await host.ask(
        *(reported(call) for call in others), reported(poisoned, answer={"attributes": {"IMSI": "\u0000"}})
    )

    assert isinstance(answers[-1], Unstorable)
    assert not any(isinstance(answer, OrderplanError) for answer in answers[:-1])
    await host.finish()
    states = {each.order_id: await state_of(pool, each.order_id) for each in submitted}
    assert states.pop(poisoned.order_id) == "held"
    assert set(states.values()) == {"completed"}
    found = await kinds(pool, poisoned.order_id)
    assert found[-3:] == ["order.quarantined", "item.fatallyFailed deliver/reserve", "order.moved"]
    assert await pool.fetchval("select fallout from product_order where order_id = $1", poisoned.order_id) == 1

    repair = OperateItem(poisoned.item, "complete", "ann", "the card has a number now", "m1")
    await host.tell(poisoned.order_id, repair, "person:ann", "m1")
    await host.finish()
    assert await state_of(pool, poisoned.order_id) == "completed"


async def test_the_call_of_a_poisoned_report_needs_no_sending_any_more(host):
    await host.submit(sim())
    await host.report(host.dispatch.calls()[0], answer={"attributes": {"IMSI": "\u0000"}})

    assert host.dispatch.calls() == []


async def test_the_call_of_a_report_that_found_no_room_is_kept(host, monkeypatch):
    await host.submit(sim())
    [call] = host.dispatch.calls()
    monkeypatch.setattr(actors.inbox, "INBOX_MAX", 0)

    assert isinstance(await host.report(call), Busy)

    assert host.dispatch.calls() == [call]


async def test_a_poisoned_submission_is_refused_and_the_rest_of_its_tick_goes_on(host, pool):
    answers = await host.submit(sim("acc-1"), sim("acc-2", IMSI="\u0000"), sim("acc-3"))

    assert [type(answer) for answer in answers] == [Submitted, Unstorable, Submitted]
    assert await count(pool, "product_order") == 2
    assert host.loop.memory.accounts.get(("main", "acc-2")) is None


def broken_for(monkeypatch, order_id: str, error: Exception) -> None:
    """A bug in the rules that one order's messages meet; taking it to a person works."""
    decide = domain.decide.decide

    def decide_or_fail(turn, message):
        if turn.plan.order_id == order_id and type(message).__name__ != "Quarantine":
            decide(turn, message)
            raise error
        decide(turn, message)

    monkeypatch.setattr(actors.tick, "decide", decide_or_fail)


@pytest.mark.parametrize("error", [KeyError("a bug"), AssertionError("a bug"), NotPossibleNow("raised too late")])
async def test_a_bug_in_one_message_does_not_stop_the_others(host, pool, monkeypatch, error):
    submitted = await host.submit(*(sim(f"acc-{n}") for n in range(3)))
    broken_for(monkeypatch, submitted[1].order_id, error)

    answers = await host.ask(*(reported(call) for call in host.dispatch.calls()))

    assert [isinstance(answer, OrderplanError) for answer in answers] == [False, True, False]
    await host.finish()
    assert [await state_of(pool, each.order_id) for each in submitted] == ["completed", "held", "completed"]
    assert "item.completed deliver/reserve" not in await kinds(pool, submitted[1].order_id)


async def test_a_bug_when_a_timer_fires_takes_the_item_to_a_person(host, pool, monkeypatch):
    one, other = await host.submit(sim("acc-1"), sim("acc-2"))
    for call in host.dispatch.calls():
        await host.report(call, "retryable", error="busy")
    broken_for(monkeypatch, one.order_id, KeyError("a bug"))
    host.advance(6)

    await until(lambda: host.dispatch.calls(other.order_id))
    await until(lambda: _is(pool, one.order_id, "held"))
    await host.finish()
    assert await state_of(pool, other.order_id) == "completed"
    assert await pool.fetchval("select timer_at from product_order where order_id = $1", one.order_id) is None


async def _is(pool, order_id: str, state: str) -> bool:
    return await state_of(pool, order_id) == state


async def test_a_refusal_during_acceptance_leaves_no_ghost_on_the_account(host, monkeypatch):
    accept = domain.intake.accept

    def accept_and_refuse(*args, **options):
        accept(*args, **options)
        raise NotPossibleNow("raised too late")

    monkeypatch.setattr(actors.tick, "accept", accept_and_refuse)
    await host.submit(sim())
    monkeypatch.setattr(actors.tick, "accept", accept)

    account = host.loop.memory.accounts.get(("main", "acc-1"))
    assert account is None or account.open_orders == {}


# Ticks are bounded by their work.


@pytest.fixture
def narrow(monkeypatch):
    """A tick has work enough after one order (two or three facts, a line and two items)."""
    monkeypatch.setattr(actors.host_loop, "WORK_MAX", 5)


class Held:
    """A probe that stops the next commit before its end, until it is let go."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.is_reached, self.is_over = asyncio.Event(), asyncio.Event()

    async def __call__(self, point: str) -> None:
        if point == "committing" and self.is_wanted:
            self.is_wanted = False
            self.is_reached.set()
            await self.is_over.wait()


async def submitted_meanwhile(host: Host, held: Held, early: list[Order], late: list[Order]) -> list[Any]:
    """Submit the late orders while the first commit for the early ones is under way."""
    held.is_wanted = True
    first = asyncio.create_task(host.submit(*early))
    await held.is_reached.wait()
    second = asyncio.create_task(host.submit(*late))
    await until(lambda: len(host.loop._inbox) == len(late))
    held.is_over.set()
    return [*await first, *await second]


async def test_a_tick_with_work_enough_leaves_the_rest_to_the_next_in_order(hosts, pool, narrow):
    held = Held()
    host = await hosts(probe=held)
    before = host.loop.commits

    submitted = await submitted_meanwhile(host, held, [sim(f"acc-{n}") for n in range(4)], [sim("acc-4")])

    assert host.loop.commits - before >= 5
    tails = [each.order_id.partition("-")[2] for each in submitted]
    assert tails == sorted(tails)
    assert len(await host.finish()) == 10
    for each in submitted:
        assert Counter(await kinds(pool, each.order_id)) == Counter(GOOD_PATH)


@MOMENTS
async def test_what_an_unheard_tick_left_undecided_is_decided_once(hosts, pool, proxy, moment, narrow):
    host = await hosts(dsn=proxy.dsn)
    proxy.cut(moment, b"COMMIT")

    submitted = await host.submit(*(sim(f"acc-{n}", f"k{n}") for n in range(4)))

    assert proxy.cuts_made == 1
    assert not any(each.is_repeat for each in submitted)
    for each in submitted:
        assert (await settled_by(host, pool, each.order_id)) == Counter(GOOD_PATH)
    assert await count(pool, "product_order") == 4


async def test_timers_that_a_full_tick_leaves_fire_in_the_next(host, pool, narrow):
    submitted = await host.submit(*(sim(f"acc-{n}") for n in range(6)))
    for call in host.dispatch.calls():
        await host.report(call, "retryable", error="busy")
    assert host.dispatch.calls() == []

    host.advance(6)
    await until(lambda: len(host.dispatch.calls()) == 6)

    assert host.loop._unwatched == {}
    await host.finish()
    for each in submitted:
        assert Counter(await kinds(pool, each.order_id))["item.started deliver/reserve"] == 2


async def test_very_many_timers_at_once_fire_in_portions(host, pool, narrow, monkeypatch):
    await host.submit(*(sim(f"acc-{n}") for n in range(9)))
    for call in host.dispatch.calls():
        await host.report(call, "retryable", error="busy")
    monkeypatch.setattr(actors.host_loop, "BATCH_MAX", 2)
    waiting: list[int] = []
    commit = host.journal.commit

    async def watched(*args: Any) -> None:
        waiting.append(len(host.loop._unwatched))
        await commit(*args)

    monkeypatch.setattr(host.journal, "commit", watched)
    host.advance(6)
    await until(lambda: len(host.dispatch.calls()) == 9)

    assert max(waiting) == 2
    assert host.loop._unwatched == {}


async def test_due_orders_are_not_kept_waiting_by_what_arrives_after_them(hosts, narrow):
    """They stand at the end of their batch; what a full tick leaves comes before everything newer."""
    held = Held()
    host = await hosts(probe=held)
    [waiting] = await host.submit(sim("acc-due"))
    await host.report(host.dispatch.calls()[0], "retryable", error="busy")
    host.clock.now += timedelta(seconds=6)

    *_, late = await submitted_meanwhile(host, held, [sim(f"acc-{n}") for n in range(3)], [sim("acc-3")])

    order = [key.partition("/")[0] for key in host.dispatch.sent]
    assert order.count(waiting.order_id) == 2
    assert order[-1] == late.order_id


# Recovery.


async def test_the_next_owner_ends_every_order(hosts, pool):
    old = await hosts()
    submitted = await old.submit(*(sim(f"acc-{n % 7}", f"k{n}") for n in range(30)))
    for call in old.dispatch.calls()[::2]:
        await old.report(call)
    sent = Counter(old.dispatch.sent)
    old.kill()
    await Ownership(pool).fence("host-a")

    new = await hosts("host-b")

    assert sum(sent.values()) == 45
    assert set(new.dispatch.sent) <= set(sent)
    assert len(new.dispatch.sent) == 30
    await new.finish()
    for each in submitted:
        assert Counter(await kinds(pool, each.order_id)) == Counter(GOOD_PATH)
    assert await count(pool, "asset") == 30


async def test_the_next_owner_knows_the_timers(hosts, pool):
    old = await hosts()
    [submitted] = await old.submit(sim())
    await old.report(old.dispatch.calls()[0], "retryable", error="busy")
    old.kill()
    await Ownership(pool).fence("host-a")
    new = await hosts("host-b")
    assert new.dispatch.calls() == []

    new.advance(6)
    await until(new.dispatch.calls)

    await new.finish()
    assert await state_of(pool, submitted.order_id) == "completed"


@pytest.mark.parametrize("away_s", [9, 3600])
async def test_a_stop_that_outlasts_the_time_of_a_call_costs_it_no_attempt(hosts, pool, away_s):
    """Nine of the ten seconds of a call: sent once more within the last of them it would hardly be answered."""
    old = await hosts()
    [submitted] = await old.submit(sim())
    [first] = old.dispatch.calls()
    old.kill()
    await Ownership(pool).fence("host-a")
    later = Clock()
    later.now += timedelta(seconds=away_s)

    new = await hosts("host-b", clock=later)

    a_time = timedelta(seconds=10)
    await until(lambda: [call for call in new.dispatch.calls() if call.deadline_at >= later.now + a_time])
    assert "plan.redriven" not in await kinds(pool, submitted.order_id)
    assert {(call.item, call.attempt) for call in new.dispatch.calls()} == {(first.item, 1)}
    await new.finish()
    assert await state_of(pool, submitted.order_id) == "completed"
    assert not [each for each in await kinds(pool, submitted.order_id) if each.startswith("item.failed")]


async def test_a_call_that_times_out_under_the_next_owner_costs_an_attempt_as_ever(hosts, pool):
    old = await hosts()
    [submitted] = await old.submit(sim())
    old.kill()
    await Ownership(pool).fence("host-a")
    new = await hosts("host-b")

    new.advance(3600)

    async def has_failed() -> bool:
        return "item.failed deliver/reserve" in await kinds(pool, submitted.order_id)

    await until(has_failed)


async def test_a_refusal_that_comes_as_its_call_is_made_again_ends_that_call_too(hosts, pool, monkeypatch):
    """It waited while nobody owned the plan, and is decided in the tick that makes the call again: sent after that, the
    call could be done beside its next attempt (simulation, seed 6397).
    """
    old = await hosts()
    [submitted] = await old.submit(sim())
    [first] = old.dispatch.calls()
    old.kill()
    await Ownership(pool).fence("host-a")
    later = Clock()
    later.now += timedelta(hours=1)
    new = await hosts("host-b", shards=[], clock=later)
    await pool.execute("update shard set incarnation_id = 'host-b'")
    adopted = new.loop._adopt

    async def adopt(shards: list[int]) -> None:
        await adopted(shards)
        new.loop.put(reported(first, "retryable", error="not now"))

    monkeypatch.setattr(new.loop, "_adopt", adopt)
    await new.while_running(new.loop.adopt(range(SHARDS)))

    async def is_refused() -> bool:
        return (await kinds(pool, submitted.order_id))[-1] == "item.failed deliver/reserve"

    await until(is_refused)
    again = ["item.held deliver/reserve", "item.started deliver/reserve"]
    assert (await kinds(pool, submitted.order_id))[-3:-1] == again
    assert new.dispatch.sent == []


async def test_a_commit_that_fails_makes_no_order_lost_whose_turn_is_yet_to_come(hosts, pool):
    """More calls were left behind than one tick makes again; the watchdog must not find those of the others lost."""
    host = await hosts()
    waiting, touched = await host.submit(sim(), sim("acc-2"))
    loop = host.loop
    loop._inbox.put_first([Due(waiting.order_id)])
    loop._unwatched.update(dict.fromkeys([waiting.order_id, touched.order_id]))

    await loop._forget_doubtful()

    assert list(loop._unwatched) == [waiting.order_id]


async def test_the_next_owner_knows_a_call_that_began_in_the_tick_in_which_the_last_one_ended(hosts, pool):
    """The row says in the end what it said before, and something else in between (simulation, seed 18)."""
    old = await hosts()
    [submitted] = await old.submit(order_of(line("1", "sim"), line("2", "visit")))
    await old.report(old.dispatch.calls()[0])
    [activate] = old.dispatch.calls()
    survey = next(key for key in old.loop.memory.plans[submitted.order_id].by_key if key.startswith("visit/survey"))
    done = ToPlan(submitted.order_id, CompleteTask(survey, "ann", {}, "m-1"), "person:ann", "m-1")

    await old.ask(reported(activate), done)
    old.kill()
    await Ownership(pool).fence("host-a")
    new = await hosts("host-b")

    assert [call.name for call in new.dispatch.calls()] == ["close"]
    await new.finish()
    assert await state_of(pool, submitted.order_id) == "completed"


async def test_an_idle_plan_leaves_memory_and_goes_on_with_the_next_message(hosts, pool, monkeypatch):
    """Nothing of an order that waits for people stays in memory: neither plan nor account nor row."""
    host = await hosts()
    monkeypatch.setattr(actors.memory, "IDLE_S", -1.0)
    [submitted, other] = await host.submit(visit(), sim())
    loop = host.loop

    assert list(loop.memory.plans) == [other.order_id]
    await host.finish()
    assert (loop.memory.plans, loop._rows) == ({}, {})
    assert ("main", "acc-1") not in loop.memory.accounts

    [survey] = [row["item"] for row in await pool.fetch("select item from manual_task")]
    await host.tell(submitted.order_id, CompleteTask(survey, "ann", {}, "m-1"), "person:ann", "m-1")
    await host.finish()
    assert await state_of(pool, submitted.order_id) == "completed"
    assert await count(pool, "asset") == 2


async def test_a_takeover_reads_no_plan_that_only_waits_for_its_time(hosts, pool):
    old = await hosts()
    [submitted] = await old.submit(sim())
    await old.report(old.dispatch.calls()[0], "retryable", error="not now")
    old.kill()
    await Ownership(pool).fence("host-a")
    new = await hosts("host-b")

    async def called() -> bool:
        return bool(new.dispatch.calls())

    assert new.loop.memory.plans == {}
    assert new.dispatch.sent == []
    new.advance(60)
    await until(called)
    await new.finish()
    assert await kinds(pool, submitted.order_id) == [
        *GOOD_PATH[:3], "item.failed deliver/reserve", *GOOD_PATH[2:]
    ]  # fmt: skip


async def test_a_tick_reads_so_many_plans_and_no_more(hosts, pool, monkeypatch):
    """Thousands may come due together, or get a message, and a host that commits nothing meanwhile is fenced."""
    monkeypatch.setattr(actors.host_loop, "READ_MAX", 2)
    # It would read them before.
    monkeypatch.setattr(HostWatchdog, "is_due", lambda *_: False)
    old = await hosts()
    submitted = await old.submit(*(sim(f"acc-{number}") for number in range(5)), *(visit(f"v-{n}") for n in range(5)))
    for call in old.dispatch.calls():
        await old.report(call, "retryable", error="not now")
    old.kill()
    await Ownership(pool).fence("host-a")
    new = await hosts("host-b")
    each, read = new.loop._loader.each, []

    async def counting(order_ids: list[str]) -> None:
        read.append(len([order_id for order_id in order_ids if order_id not in new.loop.memory.plans]))
        await each(order_ids)

    monkeypatch.setattr(new.loop._loader, "each", counting)
    tasks = await pool.fetch("select order_id, item from manual_task")
    done = [
        ToPlan(row["order_id"], CompleteTask(row["item"], "ann", {}, f"m-{n}"), "person:ann", f"m-{n}")
        for n, row in enumerate(tasks)
    ]
    new.advance(60)
    answers = await new.ask(*done)

    async def all_called() -> bool:
        return len(new.dispatch.calls()) == len(submitted)

    await until(all_called)
    assert not [each for each in answers if isinstance(each, Exception)]
    assert max(read) <= 4
    await new.finish()
    assert await count(pool, "asset") == 10


async def test_a_new_owner_sends_the_first_calls_before_it_has_read_every_plan(hosts, pool, monkeypatch):
    old = await hosts()
    await old.submit(*(sim(f"acc-{number}") for number in range(5)))
    old.kill()
    await Ownership(pool).fence("host-a")
    monkeypatch.setattr(actors.host_loop, "ADOPT_PART", 2)
    sent_at: list[int] = []
    new = await hosts("host-b", shards=[])
    each = new.loop._loader.each

    async def counting(order_ids: list[str]) -> None:
        sent_at.append(len(new.dispatch.sent))
        await each(order_ids)

    monkeypatch.setattr(new.loop._loader, "each", counting)
    await pool.execute("update shard set incarnation_id = 'host-b'")
    await new.while_running(new.loop.adopt(range(SHARDS)))

    assert sent_at == [0, 2, 4]
    assert len(new.dispatch.sent) == 5


async def test_a_fenced_host_answers_nobody_and_ends(hosts, pool):
    host = await hosts()
    await host.submit(sim())
    call = host.dispatch.calls()[0]
    before = await count(pool, "fact")
    await Ownership(pool).fence("host-a")

    assert isinstance(await host.report(call), NotOwner)
    with pytest.raises(Fenced):
        await host.running
    with pytest.raises(NotOwner):
        host.loop.put(reported(call))
    assert await count(pool, "fact") == before


async def test_one_plan_that_cannot_be_read_does_not_keep_a_host_from_its_shards(hosts, pool):
    old = await hosts()
    bad, good = await old.submit(sim("acc-1"), sim("acc-2"))
    old.kill()
    await Ownership(pool).fence("host-a")
    await pool.execute(
        "update fact set payload = '{}' where order_id = $1 and kind = 'plan.composed'", bad.order_id
    )

    new = await hosts("host-b")

    assert [call.order_id for call in new.dispatch.calls()] == [good.order_id]
    await new.finish()
    assert await state_of(pool, good.order_id) == "completed"


DAMAGED = "update fact set v = v + $2 where order_id = $1 and kind = 'plan.composed'"


async def test_one_plan_that_cannot_be_read_does_not_stop_the_others_of_its_account(hosts, pool):
    old = await hosts()
    bad, good, due = await old.submit(sim(), sim(), sim())
    bad_call = old.dispatch.calls(bad.order_id)[0]
    await old.report(old.dispatch.calls(due.order_id)[0], "retryable", error="busy")
    old.kill()
    await Ownership(pool).fence("host-a")
    await pool.execute(DAMAGED, bad.order_id, 1)

    new = await hosts("host-b")
    ticks = new.loop.ticks
    new.advance(6)
    await until(lambda: new.dispatch.calls(due.order_id))
    [refused] = await new.submit(sim())
    kept = await new.report(bad_call)
    asked = await new.tell(bad.order_id, OperateItem(bad_call.item, "retry", "ann", "again", "m-1"), "person:ann")
    await new.finish()

    assert await state_of(pool, good.order_id) == await state_of(pool, due.order_id) == "completed"
    assert new.loop.ticks - ticks < 20
    assert (type(refused), type(kept), type(asked)) == (Busy, Busy, PlanUnreadable)
    assert bad.order_id in refused.reason
    assert list(new.loop.unreadable()) == [bad.order_id]
    assert (await kinds(pool, due.order_id)).count("order.quarantined") == 0

    await pool.execute(DAMAGED, bad.order_id, -1)
    await new.report(bad_call)
    [later] = await new.submit(sim())
    await new.finish()

    assert await state_of(pool, bad.order_id) == await state_of(pool, later.order_id) == "completed"
    assert await kinds(pool, bad.order_id) == GOOD_PATH
    assert new.loop.unreadable() == {}


async def test_an_order_that_waits_goes_on_waiting_while_another_of_its_account_cannot_be_read(hosts, pool):
    old = await hosts()
    [made] = await old.submit(sim())
    await old.finish()
    [asset_id] = await pool.fetchrow("select asset_id from asset")
    [bad] = await old.submit(sim())
    first, second = await old.submit(
        order_of(line("1", "sim", "modify", product_id=asset_id, IMSI="1")),
        order_of(line("1", "sim", "modify", product_id=asset_id, IMSI="2")),
    )
    old.kill()
    await Ownership(pool).fence("host-a")
    await pool.execute(DAMAGED, bad.order_id, 1)

    new = await hosts("host-b")
    adopted_at = new.clock()
    await new.finish()
    new.loop.watchdog.note([second.order_id])
    new.advance(120)
    await new.ask()

    assert [await state_of(pool, each.order_id) for each in (made, first, second)] == [
        "completed", "completed", "pending",
    ]  # fmt: skip
    assert await kinds(pool, second.order_id) == ["order.accepted", "order.waiting"]

    await pool.execute(DAMAGED, bad.order_id, -1)
    await new.loop._loader.each([bad.order_id])
    new.dispatch.send(pending_effects(new.loop.memory.plans[bad.order_id], adopted_at))
    await new.finish()

    assert [await state_of(pool, each.order_id) for each in (bad, second)] == ["completed", "completed"]


async def test_a_disk_error_while_facts_are_read_blames_no_message(host, pool, monkeypatch):
    [submitted] = await host.submit(sim())
    call = host.dispatch.calls()[0]
    host.loop.memory.forget([submitted.order_id], [("main", "acc-1")])
    facts_of, asked = host.journal.facts_of, []

    async def failing_twice(order_ids: Any) -> Any:
        asked.append(order_ids)
        if len(asked) <= 2:
            raise asyncpg.PostgresIOError("could not read block 7")
        return await facts_of(order_ids)

    monkeypatch.setattr(host.journal, "facts_of", failing_twice)
    assert await host.report(call) is None
    await host.finish()

    assert await kinds(pool, submitted.order_id) == GOOD_PATH


async def test_an_account_that_cannot_be_read_does_not_make_its_timers_come_due_for_ever(hosts, pool, monkeypatch):
    host = await hosts()
    [submitted] = await host.submit(sim())
    await host.report(host.dispatch.calls()[0], "retryable", error="busy")
    host.loop.memory.forget_accounts()
    reads: list[str] = []

    async def broken(_tenant: str, accounts: Any) -> Any:
        reads.extend(accounts)
        raise ValueError("damaged")

    with monkeypatch.context() as patched:
        patched.setattr(host.journal, "account_state", broken)
        host.advance(6)
        await until(lambda: len(reads) >= 3)
        for _ in range(50):
            await asyncio.sleep(0)
        await host.ask(Redrive("o0-none", (), host.clock()))
        seen = len(reads)
    host.advance(61)
    await until(lambda: host.dispatch.calls(submitted.order_id))
    await host.finish()

    assert seen == 3
    assert await state_of(pool, submitted.order_id) == "completed"


async def test_a_plan_that_cannot_be_read_is_named_with_its_reason_until_it_can(hosts, pool):
    old = await hosts()
    bad, _ = await old.submit(sim("acc-1"), sim("acc-2"))
    old.kill()
    await Ownership(pool).fence("host-a")
    await pool.execute(DAMAGED, bad.order_id, 1)

    new = await hosts("host-b")
    shown = dict(new.loop.unreadable())
    await pool.execute(DAMAGED, bad.order_id, -1)
    await new.loop._loader.each([bad.order_id])

    assert shown == {bad.order_id: f"the facts of order {bad.order_id} make no plan: ValueError"}
    assert new.loop.unreadable() == {}


async def test_a_plan_that_cannot_be_read_is_named_by_the_owner_of_its_shard_alone(hosts, pool):
    old = await hosts()
    [bad] = await old.submit(sim("acc-1"))
    old.kill()
    await Ownership(pool).fence("host-a")
    await pool.execute("update fact set payload = '{}' where order_id = $1 and kind = 'plan.composed'", bad.order_id)
    one, other = await hosts("host-b"), await hosts("host-c", shards=[])

    await one.ask(GiveAway({shard_of(bad.order_id): "host-c"}))
    await other.loop.adopt([shard_of(bad.order_id)])

    assert one.loop.unreadable() == {}
    assert list(other.loop.unreadable()) == [bad.order_id]


async def test_one_plan_whose_calls_cannot_be_made_again_does_not_keep_a_host_from_its_shards(hosts, pool, monkeypatch):
    old = await hosts()
    bad, good = await old.submit(sim("acc-1"), sim("acc-2"))
    old.kill()
    await Ownership(pool).fence("host-a")

    def failing(plan: Any, *args: Any) -> Any:
        if plan.order_id == bad.order_id:
            raise TypeError("a bug")
        return payload_of(plan, *args)

    monkeypatch.setattr("domain.decide.payload_of", failing)
    new = await hosts("host-b")
    monkeypatch.undo()

    assert [call.order_id for call in new.dispatch.calls()] == [good.order_id]
    assert new.loop.unreadable() == {bad.order_id: "what it waits for cannot be asked for again: TypeError"}
    await new.finish()
    assert await state_of(pool, good.order_id) == "completed"
    new.advance(60)
    await until(lambda: not new.loop.unreadable())
    new.advance(6)
    await until(new.dispatch.calls)
    await new.finish()
    assert await state_of(pool, bad.order_id) == "completed"


async def test_adoption_is_not_lost_in_a_commit_that_is_under_way(hosts, pool):
    """A tick decides on the heads of its beginning; shards that came meanwhile stay."""
    first, second = shard_for("main/acc-1", SHARDS), shard_for("main/acc-2", SHARDS)
    held, go_on = asyncio.Event(), asyncio.Event()

    async def hold(point: str) -> None:
        if point == "committing" and is_holding:
            held.set()
            await go_on.wait()

    is_holding: list[bool] = []
    host = await hosts(shards=[first], probe=hold)
    is_holding.append(True)
    submitting = asyncio.create_task(host.submit(sim("acc-1")))
    await held.wait()
    await pool.execute("update shard set incarnation_id = 'host-a' where shard = $1", second)
    adopting = asyncio.create_task(host.loop.adopt([second]))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(submitting, adopting)

    assert set(host.loop.heads) == {first, second}
    [answer] = await host.submit(sim("acc-2"))
    assert isinstance(answer, Submitted)


async def test_adopting_twice_at_once_does_not_set_plans_back(hosts, pool):
    old = await hosts()
    submitted = await old.submit(*(sim(f"acc-{n}") for n in range(10)))
    old.kill()
    await Ownership(pool).fence("host-a")
    new = await hosts("host-b", shards=[])
    await pool.execute("update shard set incarnation_id = 'host-b'")

    await asyncio.gather(*(new.loop.adopt(range(SHARDS)) for _ in range(3)))
    assert len(new.dispatch.sent) == 10
    await asyncio.gather(new.finish(), *(new.loop.adopt(range(SHARDS)) for _ in range(3)))

    for each in submitted:
        assert Counter(await kinds(pool, each.order_id)) == Counter(GOOD_PATH)


async def slow_adopter(hosts, pool, monkeypatch, **options: Any) -> tuple[Host, list[str]]:
    """A host before it takes up ten orders of a dead one, to which every two plans take more than a second; and the
    points its commits pass.
    """
    old = await hosts()
    await old.submit(*(sim(f"acc-{n}") for n in range(10)))
    old.kill()
    await Ownership(pool).fence("host-a")
    passed: list[str] = []

    async def note(point: str) -> None:
        passed.append(point)

    new = await hosts("host-b", shards=[], probe=note, **options)
    await pool.execute("update shard set incarnation_id = 'host-b'")
    each = new.loop._loader.each

    async def slowly(order_ids: list[str]) -> None:
        # A tick, which comes later, loads what it needs at once.
        assert len(order_ids) <= 2 or new.loop.heads
        new.clock.now += timedelta(seconds=1.2)
        await each(order_ids)

    monkeypatch.setattr(actors.host_loop, "ADOPT_PART", 2)
    monkeypatch.setattr(new.loop._loader, "each", slowly)
    passed.clear()
    return new, passed


async def test_a_host_that_takes_up_many_plans_is_heard_of_meanwhile(hosts, pool, monkeypatch):
    new, passed = await slow_adopter(hosts, pool, monkeypatch)

    await new.while_running(new.loop.adopt(range(SHARDS)))

    assert passed.count("committing") == 5
    await until(lambda: len(new.dispatch.calls()) == 10)
    await new.finish()
    assert await count(pool, "asset") == 10


@MOMENTS
async def test_a_heartbeat_that_is_not_heard_does_not_end_an_adoption(hosts, pool, proxy, monkeypatch, moment):
    new, _ = await slow_adopter(hosts, pool, monkeypatch, dsn=proxy.dsn)
    proxy.cut(moment, b"COMMIT")

    await new.while_running(new.loop.adopt(range(SHARDS)))

    assert proxy.cuts_made == 1
    await until(lambda: len(new.dispatch.calls()) == 10)
    await new.finish()
    assert await count(pool, "asset") == 10


async def test_a_host_that_is_fenced_while_it_takes_up_plans_sends_nothing(hosts, pool, monkeypatch):
    new, _ = await slow_adopter(hosts, pool, monkeypatch)
    await pool.execute("update incarnation set state = 'fenced', epoch = epoch + 1 where incarnation_id = 'host-b'")

    with pytest.raises(Fenced):
        await new.loop.adopt(range(SHARDS))

    assert new.dispatch.sent == []
    assert new.loop.heads == {}
    with pytest.raises(Fenced):
        await new.running


# Shards that move between living hosts.


async def test_shards_are_handed_over_without_loss(hosts, pool):
    one = await hosts()
    submitted = await one.submit(*(sim(f"acc-{n}") for n in range(20)))
    for call in one.dispatch.calls()[::2]:
        await one.report(call)
    open_before = {(call.order_id, call.item) for call in one.dispatch.calls()}
    other = await hosts("host-b", shards=[])
    half = list(range(0, SHARDS, 2))

    await one.ask(GiveAway(dict.fromkeys(half, "host-b")))
    await other.loop.adopt(half)

    moved = {(call.order_id, call.item) for call in other.dispatch.calls()}
    assert moved == {each for each in open_before if shard_of(each[0]) in half}
    for call in list(one.dispatch.calls()):
        answer = await one.report(call)
        assert isinstance(answer, NotOwner) == (shard_of(call.order_id) in half)
    for key in [key for key in one.dispatch.open if shard_of(key[0]) in half]:
        one.dispatch.settled(*key)
    await one.finish()
    await other.finish()
    for each in submitted:
        assert Counter(await kinds(pool, each.order_id)) == Counter(GOOD_PATH)


async def test_a_shard_that_comes_back_is_written_as_it_is(hosts, pool):
    """What a host remembers of the rows it wrote is worth nothing once another owner has changed them."""
    one, other = await hosts(), await hosts("host-b", shards=[])
    [submitted] = await one.submit(visit())
    plan = one.loop.memory.plans[submitted.order_id]
    item = plan.items[0].key
    shard = shard_of(submitted.order_id)
    rows = "select active, timer_at from product_order"
    before = await pool.fetchrow(rows)
    await one.ask(GiveAway({shard: "host-b"}))
    await other.loop.adopt([shard])
    await other.tell(submitted.order_id, CompleteTask(item, "ann", {}, "m1"), "person:ann", "m1")
    assert (await pool.fetchrow(rows))["active"]
    await other.ask(GiveAway({shard: "host-a"}))
    await one.loop.adopt([shard])

    await one.report(one.dispatch.calls()[0], "failed", error="closed for good")

    after = await pool.fetchrow(rows)
    assert (before["active"], after["active"]) == (False, False)
    assert await state_of(pool, submitted.order_id) == "held"


# Sealed values.


async def keys_of(databases, order_id: str) -> int:
    import asyncpg

    connection = await asyncpg.connect(databases.key_dsn)
    try:
        return int(
            await connection.fetchval("select count(*) from order_key where order_id = $1 and key <> ''", order_id)
        )
    finally:
        await connection.close()


async def test_a_key_that_is_stored_late_does_not_outlive_its_order(host, pool, databases):
    """Found by the simulator (seed 2902): a statement that was given up as unheard is carried out after all."""
    import asyncpg

    [submitted] = await host.submit(sim(PIN="4711"))
    connection = await asyncpg.connect(databases.key_dsn)
    try:
        [late] = await connection.fetch("select key_id, order_id, key from order_key")
        await host.finish()
        await until(lambda: pool.fetchval("select not sealed from product_order"))
        await connection.execute(
            "insert into order_key (key_id, order_id, key) values ($1, $2, $3) on conflict do nothing", *late
        )
    finally:
        await connection.close()

    assert await keys_of(databases, submitted.order_id) == 0


async def test_the_keys_of_an_ended_order_are_destroyed(host, pool, databases):
    [submitted] = await host.submit(sim(PIN="pin-4711"))
    assert await keys_of(databases, submitted.order_id) == 1
    await host.report(host.dispatch.calls()[0], answer={"attributes": {"PUK": "12345678"}})
    assert await count(pool, "sealed_value") == 2
    await host.finish()

    await until(lambda: pool.fetchval("select not sealed from product_order"))
    assert await keys_of(databases, submitted.order_id) == 0
    assert await count(pool, "sealed_value") == 0
    stored = await pool.fetchval("select string_agg(fact::text, '') from fact")
    assert "pin-4711" not in stored
    assert "12345678" not in stored


async def _is_zero(databases, order_id: str) -> bool:
    return await keys_of(databases, order_id) == 0


async def test_recovery_destroys_the_keys_that_a_dead_host_left(hosts, pool, databases, monkeypatch):
    host = await hosts()
    monkeypatch.setattr(host.loop._shredder, "add", lambda _order_ids: None)
    [submitted] = await host.submit(sim(PIN="4711"))
    await host.finish()
    assert await keys_of(databases, submitted.order_id) == 1
    host.kill()
    await Ownership(pool).fence("host-a")

    await hosts("host-b")

    await until(lambda: _is_zero(databases, submitted.order_id))


@MOMENTS
async def test_keys_are_destroyed_when_the_end_was_not_heard(hosts, pool, databases, proxy, moment):
    host = await hosts(dsn=proxy.dsn)
    [submitted] = await host.submit(sim(PIN="4711"))
    await host.report(host.dispatch.calls()[0])
    proxy.cut(moment, b"COMMIT")
    await host.finish()

    await until(lambda: _is_zero(databases, submitted.order_id))
    assert await state_of(pool, submitted.order_id) == "completed"


# Ids, time, memory.


async def test_ids_grow_with_every_order_whatever_the_clock_does(hosts):
    host = await hosts(entropy=lambda: 0)
    ids = []
    for step in (0, 0, -3600, 0.001, 0, 5):
        host.clock.now += timedelta(seconds=step)
        ids += [each.order_id for each in await host.submit(*(sim(f"acc-1-{n}") for n in range(5)))]

    tails = [order_id.partition("-")[2] for order_id in ids]
    assert tails == sorted(set(tails))


async def test_timers_of_ended_orders_wake_nobody(host, pool, monkeypatch):
    await host.submit(*(sim(f"acc-{n}") for n in range(5)))
    await host.finish()
    asked: list[str] = []
    facts_of = host.journal.facts_of

    async def watched(order_ids):
        asked.extend(order_ids)
        return await facts_of(order_ids)

    monkeypatch.setattr(host.journal, "facts_of", watched)
    host.advance(3600)
    await host.submit(visit("other"))

    assert asked == []
    assert len(host.loop.memory.plans) == 1


async def test_a_call_that_is_not_answered_is_repeated_under_its_key_when_its_deadline_has_passed(host):
    [submitted] = await host.submit(sim())
    [first] = host.dispatch.sent
    host.advance(16)
    await until(lambda: _has_timer(host, submitted.order_id, "Failed"))
    host.advance(6)
    await until(lambda: len(host.dispatch.sent) == 2)

    assert host.dispatch.sent == [first, first]


def _has_timer(host: Host, order_id: str, state: str) -> bool:
    return host.loop.memory.plans[order_id].items[0].state.value == state


async def test_a_deadline_that_ends_in_fallout_ends_the_sending_too(host, pool):
    [submitted] = await host.submit(sim())
    for seconds in (16, 6, 16):
        host.advance(seconds)
        before = host.loop.facts
        await until(lambda: host.loop.facts > before)  # noqa: B023  # awaited in this very round

    assert await state_of(pool, submitted.order_id) == "held"
    assert host.dispatch.calls() == []
