"""Bulk jobs: one runner at a time, an honest outcome for each item, and nothing done twice through any death."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from actors.envelopes import Envelope, ToPlan
from actors.jobs import LEASE_S, PLAN_WINDOW_MAX, TRIES_MAX, Jobs, message_id_of
from domain.errors import Busy, NotFound, NotPossibleNow, OrderplanError
from domain.messages import AnnotateItem, OperateItem
from persistence import catalogue, jobs
from persistence.database import Pool, open_pool
from persistence.jobs import JobLost, NewJob, Outcome, Taken
from persistence.vault import Vault
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import Clock, Host
from tests.support.journals import AT, count
from tests.support.until import until

RELEASE: dict[str, Any] = release_document(
    products=[{"code": "port", "attributes": [{"name": "number"}]}],
    plans=[plan_of("port", callout("install"))],
    scenarios=[scenario("port", "port", "add")],
)
SECOND = timedelta(seconds=1)


# Rows.


async def put_job(pool: Pool, job_id: str = "j1", items: int = 3, **changes: Any) -> None:
    """A job over items `i1`, `i2`, ... of orders `o0-1`, `o0-2`, ..."""
    given: dict[str, Any] = {"action": "retry", "rate": 1000.0, "argument": None} | changes
    job = NewJob(job_id, "main", operator="olga", reason="the system is back", selection={}, **given)
    selection = [(f"o0-{each}", f"i{each}") for each in range(1, items + 1)]
    await put_orders(pool, *(order_id for order_id, _ in selection))
    await jobs.create_job(pool, job, wanted=None, items=selection, now=AT)


async def put_orders(pool: Pool, *order_ids: str) -> None:
    """Rows of these orders."""
    await pool.executemany(
        "insert into product_order (order_id, tenant, shard, channel, priority, state, created_at, active, fallout, "
        "sealed, items) values ($1, 'main', 0, 'web', 'normal', 'held', $2, false, 1, false, 1) on conflict do nothing",
        [(order_id, AT) for order_id in dict.fromkeys(order_ids)],
    )


async def taken(pool: Pool, at: Any = AT) -> Taken:
    found = await jobs.take_job(pool, "main", at, 10)
    assert found is not None
    return found


async def test_a_job_is_stored_once_with_its_items_in_order(pool):
    await put_job(pool)
    await put_job(pool, items=5)
    job = await jobs.read_job(pool, "main", "j1")
    items = await jobs.job_items(pool, "main", "j1", outcome=None, after=1, limit=5)

    assert (job["total"], job["done"], job["state"], job["operator"]) == (3, 0, "running", "olga")
    assert [(each["number"], each["item"]) for each in items] == [(2, "i2"), (3, "i3")]
    assert await count(pool, "job_item") == 3
    with pytest.raises(NotFound):
        await jobs.read_job(pool, "other", "j1")


async def test_two_runners_never_have_the_same_job(pool):
    for number in range(8):
        await put_job(pool, f"j{number}")

    async def runner() -> list[str]:
        found = []
        while (job := await jobs.take_job(pool, "main", AT, 10)) is not None:
            found.append(job.job_id)
        return found

    shares = await asyncio.gather(runner(), runner(), runner())

    assert Counter(job for share in shares for job in share) == Counter(f"j{number}" for number in range(8))


async def test_what_an_outlived_runner_writes_changes_nothing(pool):
    await put_job(pool)
    old = await taken(pool)
    assert await jobs.take_job(pool, "main", AT + 9 * SECOND, 10) is None
    assert await jobs.mark_sent(pool, old, 2, AT, 10)
    new = await taken(pool, AT + 10 * SECOND)
    assert (new.epoch, new.sent_to) == (old.epoch + 1, 2)
    for write in (
        jobs.mark_sent(pool, old, 3, AT, 10),
        jobs.settle(pool, old, [Outcome(1, "refused", "x", "y")], AT, 10),
        jobs.keep_job(pool, old, AT, 10),
    ):
        with pytest.raises(JobLost):
            await write
    await jobs.leave_job(pool, old)
    await jobs.settle(pool, new, [Outcome(number, "done", "retried", "") for number in (1, 2, 3)], AT + 10 * SECOND, 10)
    assert not await jobs.finish(pool, old, AT)
    assert await jobs.take_job(pool, "main", AT + 11 * SECOND, 10) is None
    assert await jobs.finish(pool, new, AT)

    job = await jobs.read_job(pool, "main", "j1")
    assert (job["state"], job["done"], job["refused"]) == ("done", 3, 0)


async def test_a_settled_item_keeps_its_outcome_and_lists_are_by_outcome(pool):
    await put_job(pool)
    job = await taken(pool)
    await jobs.settle(pool, job, [Outcome(1, "done", "retried", ""), Outcome(2, "refused", "x", "y")], AT, 10)
    await jobs.settle(pool, job, [Outcome(1, "failed", "late", "")], AT, 10)

    async def numbers_of(outcome: str | None) -> list[int]:
        items = await jobs.job_items(pool, "main", "j1", outcome=outcome, after=0, limit=9)
        return [each["number"] for each in items]

    numbers = {outcome: await numbers_of(outcome) for outcome in ("done", "refused", "failed", "open", None)}

    assert numbers == {"done": [1], "refused": [2], "failed": [], "open": [3], None: [1, 2, 3]}
    assert not await jobs.finish(pool, job, AT), "an item is open"


async def test_a_job_is_paused_resumed_and_stopped_only_where_that_has_a_meaning(pool):
    await put_job(pool, argument={"$encrypted": "1.x"})

    async def refused(action: str) -> str:
        with pytest.raises(NotPossibleNow) as error:
            await jobs.steer(pool, "main", "j1", action, AT)
        return str(error.value.facts["state"])

    assert await refused("resume") == "running"
    await jobs.steer(pool, "main", "j1", "pause", AT)
    assert await jobs.take_job(pool, "main", AT, 10) is None
    assert await refused("pause") == "paused"
    await jobs.steer(pool, "main", "j1", "resume", AT)
    await jobs.steer(pool, "main", "j1", "stop", AT)
    assert [await refused(action) for action in ("pause", "resume", "stop")] == ["stopped"] * 3
    assert await pool.fetchval("select argument is null and ended_at is not null from job")
    assert await jobs.take_job(pool, "main", AT, 10) is None
    with pytest.raises(NotFound):
        await jobs.steer(pool, "main", "j2", "stop", AT)


# The runner.


class Killed(Exception):
    """The runner's process ends here."""


class Way:
    """A way to the plans that the test writes the script of; without a host everything is done."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.host: Host | None = None
        self.sent: list[tuple[str, float]] = []
        self.answer: Callable[[ToPlan], Any] | None = None
        """Called before an envelope gets to the host; what it gives or raises is the answer, None lets it pass."""
        self.lost: Callable[[ToPlan], Any] | None = None
        """Called after the host has decided it."""

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any:
        assert isinstance(envelope, ToPlan)
        self.sent.append((str(envelope.cause), (self.clock.now - AT).total_seconds()))
        answer = self.answer(envelope) if self.answer is not None else None
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer is None and self.host is not None:
            [answer] = await self.host.ask(envelope)
        if isinstance(answer, OrderplanError):
            raise answer
        if self.lost is not None:
            self.lost(envelope)
        return answer or {"itemState": "Running"}

    def times_sent(self) -> Counter[int]:
        """How often each item was sent, by its number."""
        return Counter(int(cause.rpartition("/")[2]) for cause, _ in self.sent)


class Desk:
    """Runners on one clock, and the way that they use."""

    def __init__(self, pool: Pool, vault: Vault) -> None:
        self.pool = pool
        self.clock = Clock()
        self.way = Way(self.clock)
        self.vault = vault

    def runner(self) -> Jobs:
        return Jobs(self.pool, self.vault, self.way, "main", clock=self.clock, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.clock.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async def work(self) -> dict[str, Any]:
        """A new life of the runner takes the job, after the lease of the last one, and works on it."""
        self.clock.now += timedelta(seconds=LEASE_S)
        assert await self.runner().work()
        return await self.job()

    async def job(self) -> dict[str, Any]:
        [job] = await jobs.list_jobs(self.pool, "main", 9)
        return job | {"open": job["total"] - job["done"] - job["refused"] - job["failed"]}

    async def items(self, outcome: str | None = None) -> list[dict[str, Any]]:
        job = await self.job()
        return await jobs.job_items(self.pool, "main", job["job_id"], outcome=outcome, after=0, limit=500)

    async def create(self, items: Sequence[tuple[str, str]], action: str = "retry", **options: Any) -> dict[str, Any]:
        given: dict[str, Any] = {"argument": {}, "rate": 1000.0, "key": "k"} | options
        return await self.runner().start_job(action, "olga", "the system is back", {}, None, items, **given)


@pytest.fixture
async def desk(databases, pool) -> AsyncIterator[Desk]:
    keys = await open_pool(databases.key_dsn, size_max=1)
    yield Desk(pool, Vault(keys, pool))
    keys.terminate()


async def test_a_job_ends_with_what_was_done_of_each_item(desk):
    await put_job(desk.pool, items=3)
    desk.way.answer = lambda envelope: NotPossibleNow("it runs") if envelope.message.item == "i2" else None
    job = await desk.work()

    assert (job["state"], job["done"], job["refused"], job["open"]) == ("done", 2, 1, 0)
    shown = [(each["outcome"], each["code"], each["reason"]) for each in await desk.items()]
    assert shown == [
        ("done", "retried", "Running right after"),
        ("refused", "notPossibleNow", "it runs"),
        ("done", "retried", "Running right after"),
    ]


async def test_a_job_keeps_its_rate(desk):
    await put_job(desk.pool, items=45, rate=20.0)
    await desk.work()

    assert Counter(at for _, at in desk.way.sent) == {LEASE_S: 20, LEASE_S + 1: 20, LEASE_S + 2: 5}


async def test_a_slow_job_keeps_its_lease_while_it_waits(desk):
    await put_job(desk.pool, items=3, rate=0.05)
    other: list[Any] = []
    sleep = desk._sleep

    async def look(seconds: float) -> None:
        await sleep(seconds)
        other.append(await jobs.take_job(desk.pool, "main", desk.clock.now, LEASE_S))

    desk._sleep = look
    await desk.work()

    assert [at for _, at in desk.way.sent] == [LEASE_S, LEASE_S + 20, LEASE_S + 40]
    assert other == [None] * len(other)


async def test_a_slow_job_does_not_keep_the_next_waiting(desk):
    await put_job(desk.pool, "slow", items=500, rate=1.0)
    await put_job(desk.pool, "swift", items=5)
    running = asyncio.create_task(desk.runner().run())

    async def is_done() -> bool:
        return bool((await jobs.read_job(desk.pool, "main", "swift"))["state"] == "done")

    await until(is_done)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert (await jobs.read_job(desk.pool, "main", "slow"))["state"] == "running"


async def test_a_window_has_few_items_of_one_plan(desk):
    items = [("o0-1", f"i{each}") for each in range(25)] + [(f"o0-{each}", "i") for each in range(2, 9)]
    await put_orders(desk.pool, *(order_id for order_id, _ in items))
    await desk.create(items)
    windows: list[int] = []
    mark = jobs.mark_sent

    async def marked(pool: Any, job: Any, number: int, *rest: Any) -> bool:
        windows.append(number)
        return await mark(pool, job, number, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "mark_sent", marked)
        await desk.work()

    assert windows == [PLAN_WINDOW_MAX, 2 * PLAN_WINDOW_MAX, 32]


async def test_a_host_that_does_not_answer_is_asked_again_a_few_times(desk):
    await put_job(desk.pool, items=3)
    tries: Counter[str] = Counter()

    def answer(envelope: ToPlan) -> Any:
        item = cast("Any", envelope.message).item
        tries[item] += 1
        return Busy("nobody answered") if item == "i3" or (item == "i2" and tries[item] == 1) else None

    desk.way.answer = answer
    job = await desk.work()
    [failed] = await desk.items("failed")

    assert tries == {"i1": 1, "i2": 2, "i3": TRIES_MAX}
    assert (job["state"], job["done"], job["failed"]) == ("done", 2, 1)
    assert (failed["item"], failed["code"]) == ("i3", "busy")
    assert "nobody answered" in failed["reason"]


async def test_a_paused_job_finishes_what_is_under_way_and_goes_on_when_resumed(desk):
    await put_job(desk.pool, items=30, rate=10.0)

    async def pause_at_11(envelope: ToPlan) -> None:
        if envelope.cause == message_id_of("j1", 11):
            await jobs.steer(desk.pool, "main", "j1", "pause", desk.clock.now)

    desk.way.answer = pause_at_11
    job = await desk.work()
    assert (job["state"], job["done"], job["open"]) == ("paused", 20, 10)
    desk.way.answer = None
    await jobs.steer(desk.pool, "main", "j1", "resume", desk.clock.now)
    job = await desk.work()

    assert (job["state"], job["done"]) == ("done", 30)
    assert set(desk.way.times_sent().values()) == {1}


async def test_a_stopped_job_sends_nothing_more_and_says_what_it_has_done(desk):
    await put_job(desk.pool, items=30, rate=10.0)

    async def stop_at_3(envelope: ToPlan) -> Any:
        if envelope.cause == message_id_of("j1", 3):
            await jobs.steer(desk.pool, "main", "j1", "stop", desk.clock.now)
        return Busy("no answer") if envelope.cause == message_id_of("j1", 4) else None

    desk.way.answer = stop_at_3
    job = await desk.work()

    assert (job["state"], job["done"], job["failed"], job["open"]) == ("stopped", 9, 1, 20)
    assert len(desk.way.sent) == 10
    assert [each["code"] for each in await desk.items("failed")] == ["unknown"]
    assert await jobs.take_job(desk.pool, "main", desk.clock.now + 60 * SECOND, 10) is None


async def test_an_outlived_runner_stops_without_a_trace(desk):
    await put_job(desk.pool, items=30, rate=10.0)
    taken_over: list[Taken] = []

    async def take_over(envelope: ToPlan) -> None:
        if envelope.cause == message_id_of("j1", 11):
            taken_over.append(await taken(desk.pool, desk.clock.now + 60 * SECOND))

    desk.way.answer = take_over
    with pytest.raises(JobLost):
        await desk.work()

    assert (await desk.job())["done"] == 10
    assert len(desk.way.sent) == 20
    assert (await jobs.sent_items(desk.pool, taken_over[0]))[0].number == 11


async def test_the_same_key_with_the_same_job_makes_one_job(desk):
    await put_orders(desk.pool, "o0-1")
    first = await desk.create([("o0-1", "i")])
    again = await desk.create([("o0-1", "i")])
    other = await desk.create([("o0-1", "i")], key="another")

    assert first["job_id"] == again["job_id"] != other["job_id"]
    assert await count(desk.pool, "job") == 2


async def test_a_job_whose_argument_cannot_be_opened_is_paused(desk):
    await put_job(desk.pool, argument={"$encrypted": "9.AAAA", "mac": ""}, action="complete")
    job = await desk.work()

    assert (job["state"], job["open"], desk.way.sent) == ("paused", 3, [])


# With plans.


class Plans(Desk):
    """A desk whose way leads to a host, and an order of many items that are Fatally Failed."""

    host: Host
    order_id: str
    keys: list[str]

    async def order(self, items: int) -> list[tuple[str, str]]:
        """The selection: all items of a new order, each failed for good."""
        [submitted] = await self.host.submit(order_of(*(line(str(each), "port") for each in range(items))))
        self.order_id = submitted.order_id
        await self.fail()
        rows = await self.pool.fetch("select order_id, item from fallout_item order by item")
        self.keys = [row["item"] for row in rows]
        assert len(rows) == items
        return [tuple(row) for row in rows]

    async def fail(self, count: int | None = None) -> None:
        """Let the system refuse the calls that are open."""
        for call in self.host.dispatch.calls()[:count]:
            await self.host.report(call, "failed", error="no such port", error_code="NO_PORT")

    async def chatter(self) -> None:
        """More messages of people than a plan remembers."""
        for number in range(60):
            message = AnnotateItem(self.keys[0], "still looking", f"note-{number}")
            await self.host.tell(self.order_id, message, actor="person:ann", cause=f"note-{number}")

    async def facts(self, kind: str) -> Counter[str]:
        """How often each item has such a fact."""
        sql = "select item from fact where order_id = $1 and kind = $2"
        return Counter(row["item"] for row in await self.pool.fetch(sql, self.order_id, kind))


@pytest.fixture
async def plans(databases, pool) -> AsyncIterator[Plans]:
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    keys = await open_pool(databases.key_dsn, size_max=1)
    made = Plans(pool, Vault(keys, pool))
    made.host = made.way.host = await Host.start(databases, pool, clock=made.clock)
    yield made
    made.host.kill()
    keys.terminate()
    await asyncio.gather(made.host.running, return_exceptions=True)


async def killed_at(plans: Plans, number: int) -> None:
    """A runner that dies when the plan has decided about this item, before anybody has written a word of it."""
    job_id = (await plans.job())["job_id"]

    def die(envelope: ToPlan) -> None:
        if envelope.cause == message_id_of(job_id, number):
            raise Killed

    plans.way.lost = die
    with pytest.raises(Killed):
        await plans.work()
    plans.way.lost = None


async def test_sixty_items_of_one_plan_are_retried_once_each_through_the_death_of_the_runner(plans):
    await plans.create(await plans.order(60))
    await killed_at(plans, 35)
    assert sum((await plans.facts("item.retried")).values()) == 40, "the whole window was decided"
    assert (await plans.job())["done"] == 30
    # Some have failed again by now, others run: a repeat would retry the former, and be refused by the latter.
    await plans.fail(count=37)
    await plans.chatter()
    job = await plans.work()

    assert (job["state"], job["done"], job["refused"], job["failed"]) == ("done", 60, 0, 0)
    assert await plans.facts("item.retried") == Counter(plans.keys)
    assert {each["code"] for each in await plans.items()} == {"retried"}


async def test_a_copy_that_arrives_late_does_not_make_done_work_a_refusal(plans):
    await plans.create(await plans.order(8))
    late: list[ToPlan] = []

    def hold(envelope: ToPlan) -> Any:
        late.append(envelope)
        raise Killed

    plans.way.answer = hold
    with pytest.raises(Killed):
        await plans.work()
    first = late[:]

    async def deliver(_envelope: ToPlan) -> None:
        """The next life has read the facts by now."""
        arrived, first[:] = first[:], []
        if arrived:
            await plans.host.ask(*arrived)
            await plans.chatter()

    plans.way.answer = deliver
    job = await plans.work()

    assert len(late) == 8
    assert (job["done"], job["refused"]) == (8, 0)
    assert await plans.facts("item.retried") == Counter(plans.keys)


async def test_an_answer_that_is_lost_is_found_in_the_facts(plans):
    await plans.create(await plans.order(3))
    lost: list[str] = []

    def lose(envelope: ToPlan) -> None:
        if len(lost) < 3:
            lost.append(str(envelope.cause))
            raise Busy("nobody answered")

    plans.way.lost = lose
    job = await plans.work()

    assert (job["done"], job["failed"]) == (3, 0)
    assert set(plans.way.times_sent().values()) == {1}, "what the facts tell is not asked again"


async def test_a_stopped_job_whose_runner_died_says_what_the_facts_say(plans):
    await plans.create(await plans.order(12))
    job_id = (await plans.job())["job_id"]

    def die(envelope: ToPlan) -> Any:
        if int(str(envelope.cause).rpartition("/")[2]) > 4:
            raise Killed

    plans.way.answer = die
    with pytest.raises(Killed):
        await plans.work()
    plans.way.answer = None
    await jobs.steer(plans.pool, "main", job_id, "stop", plans.clock.now)
    retried = sum((await plans.facts("item.retried")).values())
    job = await plans.work()

    assert retried == 4
    assert (job["state"], job["done"], job["failed"], job["open"]) == ("stopped", 4, 6, 2)
    assert sum((await plans.facts("item.retried")).values()) == 4


async def test_what_runs_again_by_somebody_elses_hand_is_not_completed_by_the_job(plans):
    await plans.create(await plans.order(3), "complete")
    retry = OperateItem(plans.keys[1], "retry", "bob", "looked at it", "m")
    await plans.host.tell(plans.order_id, retry, actor="person:bob", cause="m")
    await plans.work()
    [refused] = await plans.items("refused")

    assert (refused["item"], refused["code"]) == (plans.keys[1], "notPossibleNow")
    assert "has not failed, it is Running" in refused["reason"]
    assert [call.item for call in plans.host.dispatch.calls()] == [plans.keys[1]]


async def test_what_is_repaired_meanwhile_is_refused_with_its_state(plans):
    selection = await plans.order(3)
    await plans.create([*selection, (plans.order_id, "no such item")])
    skip = OperateItem(plans.keys[1], "skip", "bob", "not needed", "m")
    await plans.host.tell(plans.order_id, skip, actor="person:bob", cause="m")
    await plans.work()
    shown = [(each["outcome"], each["code"]) for each in await plans.items()]

    assert shown == [("done", "retried"), ("refused", "notPossibleNow"), ("done", "retried"), ("refused", "notFound")]


@pytest.mark.parametrize(
    ("action", "argument", "did", "kind"),
    [
        ("complete", {"attributes": {"number": "079 1"}}, "completed", "item.completed"),
        ("edit", {"number": "079 1"}, "edited", "item.edited"),
        ("skip", {}, "skipped", "item.skipped"),
    ],
)
async def test_every_action_leaves_operator_and_reason_with_each_item_and_its_argument_nowhere(
    plans, action, argument, did, kind
):
    await plans.create(await plans.order(2), action, argument=argument)
    stored = await plans.pool.fetchval("select argument::text from job")
    assert (stored is None) == (not argument)
    assert "079 1" not in (stored or "")
    job = await plans.work()
    rows = await plans.pool.fetch("select actor, payload::text from fact where kind = $1", kind)

    assert (job["state"], job["done"]) == ("done", 2), await plans.items()
    assert {each["code"] for each in await plans.items()} == {did}
    assert [row["actor"] for row in rows] == ["person:olga"] * 2
    assert all("the system is back" in row["payload"] for row in rows)
    if argument:
        assert all("079 1" in row["payload"] for row in rows)
    assert await plans.pool.fetchval("select argument is null from job")
