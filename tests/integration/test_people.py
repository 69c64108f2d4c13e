"""Manual queues on a real journal: who gets which task, once; leases, hand-over, and what the plan hears of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, cast

import orjson
import pytest

from actors.manual_queue import LEASE_S_DEFAULT, ManualQueues
from actors.routing import HostClient
from domain.errors import BadForm, NotFound, NotPossibleNow, NotQualified, OrderplanError, TaskTaken
from persistence import catalogue, people, tasks
from persistence.database import Pool
from persistence.people import Skill, Staffing
from tests.support.build import line, manual, order_of, plan_of, release_document, release_of
from tests.support.build import scenario as scenario_of
from tests.support.hosts import Clock, Host
from tests.support.journals import AT, count

FORM = {"type": "object", "properties": {"result": {"type": "string"}}, "required": ["result"]}
RELEASE: dict[str, Any] = release_document(
    products=[{"code": "visit", "attributes": [{"name": "result"}]}],
    plans=[plan_of("visit", manual("survey", formSchema=FORM, skills=[{"skill": "fibre", "level": 2}]))],
    scenarios=[scenario_of("visit", "visit", "add")],
)
FIBRE = Skill("fibre", 2, None)


async def put_task(pool: Pool, task_id: str, **changes: Any) -> None:
    """A row of a task in queue desk."""
    row: dict[str, Any] = {"queue": "desk", "priority": 2, "due_at": None, "opened_at": AT, "skills": []} | changes
    await pool.execute(
        "insert into manual_task (task_id, tenant, order_id, item, queue, name, priority, opened_at, due_at, body) "
        "values ($1, 'main', 'o0-1', $1, $2, $1, $3, $4, $5, $6::jsonb)",
        task_id, row["queue"], row["priority"], row["opened_at"], row["due_at"],
        orjson.dumps({"skills": row["skills"]}).decode(),
    )  # fmt: skip


async def put_worker(pool: Pool, name: str, *skills: Skill, on_shift: bool = True) -> None:
    await people.put_worker(
        pool, "main", name, on_shift=on_shift, on_shift_until=None, skills=skills, actor="olga", now=AT
    )


async def member(pool: Pool, queue: str, worker: str) -> None:
    await people.add_member(pool, "main", queue, worker, actor="olga", now=AT)


async def take(pool: Pool, worker: str = "ann", seconds: float = 0, **options: Any) -> str | None:
    return await tasks.claim_next(pool, "main", worker, AT + timedelta(seconds=seconds), 900, **options)


# Take-next.


async def test_the_next_task_is_the_most_urgent_then_the_soonest_due_then_the_oldest(pool):
    await put_task(pool, "low", priority=3, due_at=AT)
    await put_task(pool, "without a date", opened_at=AT - timedelta(days=9))
    await put_task(pool, "younger", due_at=AT + timedelta(hours=1), opened_at=AT + timedelta(seconds=1))
    await put_task(pool, "older", due_at=AT + timedelta(hours=1))
    await put_task(pool, "due", due_at=AT + timedelta(minutes=1), opened_at=AT + timedelta(days=1))
    await put_task(pool, "high", priority=1)
    listed = [each["id"] for each in await tasks.list_tasks(pool, "main", AT, limit=10)]
    taken = [await take(pool) for _ in range(7)]

    assert taken == ["high", "due", "older", "younger", "without a date", "low", None]
    assert listed == taken[:-1]


async def test_a_worker_gets_only_tasks_of_own_queues_for_which_the_skills_are_there(pool):
    await member(pool, "closed", "bob")
    await member(pool, "own", "ann")
    await put_worker(pool, "ann", Skill("fibre", 2, None), Skill("copper", 1, AT + timedelta(seconds=60)))
    await put_task(pool, "closed", queue="closed", priority=1)
    await put_task(pool, "too high", skills=[{"skill": "fibre", "level": 3}], priority=1)
    await put_task(pool, "one lacks", skills=[{"skill": "fibre", "level": 1}, {"skill": "radio", "level": 1}])
    await put_task(pool, "copper", skills=[{"skill": "copper", "level": 1}])
    await put_task(pool, "own", queue="own", skills=[{"skill": "fibre", "level": 2}], priority=3)

    later = await tasks.list_tasks(pool, "main", AT + timedelta(seconds=60), worker="ann", limit=10)
    assert [each["id"] for each in later] == ["own"], "the copper skill has expired by then"
    assert await take(pool, queues=["own"]) == "own"
    assert [await take(pool), await take(pool)] == ["copper", None]
    assert await take(pool, "bob") == "closed"


async def test_a_claim_says_what_is_missing_and_changes_nothing(pool):
    await member(pool, "desk", "ann")
    await put_task(pool, "t", skills=[{"skill": "fibre", "level": 2}])
    with pytest.raises(NotQualified, match="bob is no member of queue 'desk'"):
        await tasks.claim_task(pool, "main", "t", "bob", AT, 900)
    with pytest.raises(NotQualified, match=r"ann lacks fibre \(level 2\)") as refused:
        await tasks.claim_task(pool, "main", "t", "ann", AT, 900)
    assert (refused.value.status, refused.value.facts["missing"]) == (403, ["fibre (level 2)"])
    with pytest.raises(NotFound):
        await tasks.claim_task(pool, "main", "none", "ann", AT, 900)

    assert await count(pool, "task_claim") == 0


async def test_ten_people_at_once_get_each_task_once(pool):
    for number in range(60):
        await put_task(pool, f"t{number:02}")

    async def work(worker: str) -> list[str]:
        mine: list[str] = []
        while (task_id := await take(pool, worker)) is not None:
            mine.append(task_id)
        return mine

    taken = await asyncio.gather(*(work(f"w{number}") for number in range(10)))

    assert Counter(task for mine in taken for task in mine) == {f"t{number:02}": 1 for number in range(60)}
    assert await count(pool, "task_claim") == 60


async def test_a_held_task_is_free_again_when_its_lease_is_over(pool):
    await put_task(pool, "t")
    assert await take(pool, "ann") == "t"
    assert await take(pool, "bob", 899) is None
    assert await take(pool, "bob", 900) == "t"
    with pytest.raises(TaskTaken, match="bob holds the task until"):
        await tasks.claim_task(pool, "main", "t", "ann", AT + timedelta(seconds=901), 900)


# Staffing.


async def test_staffing_counts_members_those_with_the_skills_and_those_on_shift(pool):
    await put_worker(pool, "ann", FIBRE)
    await put_worker(pool, "bob", Skill("fibre", 2, AT + timedelta(hours=1)), on_shift=False)
    await put_worker(pool, "cem", Skill("fibre", 1, None))
    await people.put_worker(
        pool, "main", "dora", on_shift=True, on_shift_until=AT + timedelta(hours=2), skills=[FIBRE], actor="o", now=AT
    )
    needs = [("fibre", 2)]
    later, latest = AT + timedelta(hours=1), AT + timedelta(hours=2)
    assert await people.staffing(pool, "main", "desk", needs, AT) == Staffing(0, 3, 2)
    assert (await people.staffing(pool, "main", "desk", needs, AT)).is_open
    for name in ("bob", "cem", "dora", "eve"):
        await member(pool, "desk", name)

    assert await people.staffing(pool, "main", "desk", needs, AT) == Staffing(4, 2, 1)
    assert await people.staffing(pool, "main", "desk", needs, later) == Staffing(4, 1, 1)
    assert await people.staffing(pool, "main", "desk", needs, latest) == Staffing(4, 1, 0)
    assert await people.staffing(pool, "main", "desk", [], AT) == Staffing(4, 4, 3), "eve is new, and so on shift"


async def test_queues_are_listed_with_their_work_and_people_and_every_change_is_kept(pool):
    await catalogue.publish_release(pool, "main", "r@1", {"queues": [{"code": "desk", "name": "The desk"}]}, AT)
    await put_task(pool, "a", due_at=AT + timedelta(hours=1))
    await put_task(pool, "b", opened_at=AT - timedelta(hours=1))
    await take(pool)
    await member(pool, "lab", "ann")
    await member(pool, "lab", "ann")
    await people.remove_member(pool, "main", "lab", "ann", actor="pia", now=AT)
    await member(pool, "desk", "ann")
    [desk] = await people.list_queues(pool, "main", AT)

    assert desk == {
        "code": "desk", "name": "The desk", "open": 2, "held": 1, "free": 1, "members": 1, "isOpenToAll": False,
        "oldestAt": (AT - timedelta(hours=1)).isoformat(), "dueNextAt": (AT + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    kept = await people.changes(pool, "main", worker="ann")
    assert [(each["kind"], each["queue"], each["by"]) for each in kept] == [
        ("memberAdded", "desk", "olga"),
        ("memberRemoved", "lab", "pia"),
        ("memberAdded", "lab", "olga"),
    ]
    with pytest.raises(NotFound):
        await people.remove_member(pool, "main", "lab", "ann", actor="pia", now=AT)
    with pytest.raises(NotFound):
        await people.read_queue(pool, "main", "lab", AT)


async def test_what_is_not_said_of_a_worker_stays_as_it_is(pool):
    await put_worker(pool, "ann", FIBRE, on_shift=False)
    options: dict[str, Any] = {"on_shift_until": None, "actor": "pia", "now": AT}
    await people.put_worker(pool, "main", "ann", on_shift=None, skills=[Skill("radio", 1, AT)], **options)
    await people.put_worker(pool, "main", "ann", on_shift=None, skills=None, **options)
    ann = await people.read_worker(pool, "main", "ann", AT)

    assert (ann["onShift"], ann["changedBy"]) == (False, "pia")
    assert [(each["skill"], each["isExpired"]) for each in ann["skills"]] == [("radio", True)]
    assert len(await people.changes(pool, "main", worker="ann")) == 3


# With plans.


class Desk:
    """The queues, a host, and one order with a task."""

    def __init__(self, pool: Pool, host: Host, clock: Clock) -> None:
        self.pool = pool
        self.host = host
        self.clock = clock
        self.queues = ManualQueues(pool, cast("HostClient", self), "main", clock)

    async def ask(self, lane: str, shard: int, envelope: Any, *, timeout_s: float) -> Any:
        """What the queues' way to the hosts does."""
        [answer] = await self.host.ask(envelope)
        if isinstance(answer, OrderplanError):
            raise answer
        return answer

    async def task(self) -> str:
        """A new order's task."""
        [submitted] = await self.host.submit(order_of(line("1", "visit")))
        self.order_id = submitted.order_id
        found: str = await self.pool.fetchval("select task_id from manual_task where order_id = $1", self.order_id)
        return found

    def worker(self) -> str | None:
        """Who works on the task, as the plan has it."""
        [item] = self.host.loop.memory.plans[self.order_id].items
        return item.worker

    async def facts(self) -> list[tuple[str, str, str | None]]:
        """Kind, actor and worker of the facts about the task."""
        rows = await self.pool.fetch(
            "select kind, actor, payload ->> 'worker' as worker from fact where order_id = $1 and item is not null "
            'order by "offset"',
            self.order_id,
        )
        return [(row["kind"].removeprefix("item."), row["actor"], row["worker"]) for row in rows]


@pytest.fixture
async def desk(databases, pool):
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    for name in ("ann", "bob"):
        await put_worker(pool, name, FIBRE)
    clock = Clock()
    host = await Host.start(databases, pool, clock=clock)
    yield Desk(pool, host, clock)
    host.kill()
    await asyncio.gather(host.running, return_exceptions=True)


async def test_a_task_is_taken_handed_over_noted_and_completed_by_its_holder(desk):
    task_id = await desk.task()
    with pytest.raises(NotQualified):
        await desk.queues.claim(task_id, "cem", None)
    assert await desk.queues.take_next("cem", None, None) is None
    assert (await desk.queues.take_next("ann", None, None))["id"] == task_id
    with pytest.raises(NotQualified):
        await desk.queues.hand_over(task_id, "ann", "cem", None, False)
    with pytest.raises(TaskTaken, match="bob does not hold the task: ann holds it"):
        await desk.queues.hand_over(task_id, "bob", "bob", None, False)
    await desk.queues.annotate(task_id, "ann", "nobody was in")
    handed = await desk.queues.hand_over(task_id, "ann", "bob", None, False)
    assert (handed["worker"], desk.worker()) == ("bob", "bob")
    with pytest.raises(TaskTaken):
        await desk.queues.complete(task_id, "ann", {"result": "good"})
    with pytest.raises(BadForm) as refused:
        await desk.queues.complete(task_id, "bob", {})
    assert refused.value.path == "data.result"
    await desk.queues.complete(task_id, "bob", {"result": "good"})

    assert await desk.facts() == [
        ("opened", "channel:web", None),
        ("claimed", "person:ann", "ann"),
        ("annotated", "person:ann", None),
        ("claimed", "person:ann", "bob"),
        ("completed", "person:bob", None),
    ]
    assert await count(desk.pool, "task_claim") == 0
    with pytest.raises(NotPossibleNow, match="is closed"):
        await desk.queues.complete(task_id, "bob", {"result": "good"})


async def test_an_operator_gives_a_task_to_somebody_whoever_holds_it(desk):
    task_id = await desk.task()
    await desk.queues.hand_over(task_id, "olga", "ann", None, True)
    assert desk.worker() == "ann"
    await desk.queues.hand_over(task_id, "olga", "bob", None, True)

    assert desk.worker() == "bob"
    assert (await tasks.read_task(desk.pool, "main", task_id, desk.clock()))["worker"] == "bob"


async def test_a_lapsed_lease_is_swept_and_its_holder_has_to_claim_again(desk):
    task_id = await desk.task()
    await desk.queues.claim(task_id, "ann", None)
    assert await desk.queues.sweep() == 0
    desk.host.advance(LEASE_S_DEFAULT)
    with pytest.raises(TaskTaken) as refused:
        await desk.queues.complete(task_id, "ann", {"result": "good"})
    assert (refused.value.status, refused.value.mend) == (409, "claim it again")
    assert desk.worker() == "ann"
    # Two sweepers at once are harmless.
    await asyncio.gather(desk.queues.sweep(), desk.queues.sweep())
    assert (desk.worker(), await count(desk.pool, "task_claim")) == (None, 0)
    await desk.queues.claim(task_id, "ann", None)
    await desk.queues.complete(task_id, "ann", {"result": "good"})

    assert await desk.facts() == [
        ("opened", "channel:web", None),
        ("claimed", "person:ann", "ann"),
        ("released", "system", "ann"),
        ("claimed", "person:ann", "ann"),
        ("completed", "person:ann", None),
    ]


@pytest.mark.parametrize("by", ["ann", "bob"])
async def test_a_task_claimed_between_lapse_and_sweep_stays_with_who_claimed_it(desk, monkeypatch, by):
    task_id = await desk.task()
    await desk.queues.claim(task_id, "ann", None)
    desk.host.advance(LEASE_S_DEFAULT)
    read = tasks.lapsed_claims

    async def read_then_claimed(*args: Any) -> Any:
        found = await read(*args)
        await desk.queues.claim(task_id, by, None)
        return found

    monkeypatch.setattr(tasks, "lapsed_claims", read_then_claimed)
    assert await desk.queues.sweep() == 1

    assert desk.worker() == by
    assert (await tasks.read_task(desk.pool, "main", task_id, desk.clock()))["worker"] == by


async def test_the_claim_of_a_task_that_was_closed_is_forgotten_without_a_word_to_the_plan(desk):
    task_id = await desk.task()
    await desk.queues.claim(task_id, "ann", None)
    await desk.pool.execute("update manual_task set closed_at = now()")
    desk.host.advance(LEASE_S_DEFAULT)
    assert await desk.queues.sweep() == 1

    assert await count(desk.pool, "task_claim") == 0
    assert desk.worker() == "ann"


async def test_take_next_passes_over_a_task_that_its_plan_refuses(desk):
    stale, good = await desk.task(), await desk.task()
    await desk.pool.execute("update manual_task set item = 'gone', priority = 1 where task_id = $1", stale)
    task = await desk.queues.take_next("ann", None, None)

    assert task["id"] == good
    assert await desk.pool.fetch("select task_id from task_claim") == [(good,)]


async def test_many_tasks_at_once_have_an_outcome_each(desk):
    first, second = await desk.task(), await desk.task()
    await desk.queues.claim(second, "bob", None)
    claimed = await desk.queues.bulk("claim", [first, second, "none"], "ann", None)
    done = await desk.queues.bulk("complete", [first, second], "ann", {"result": "good"})

    assert [type(each) for each in claimed] == [dict, TaskTaken, NotFound]
    assert [type(each) for each in done] == [dict, TaskTaken]
    assert done[0]["closedAt"] is not None
    assert [type(each) for each in await desk.queues.bulk("release", [second], "bob", None)] == [dict]


async def test_many_tasks_are_assigned_whoever_holds_them(desk):
    first, second = await desk.task(), await desk.task()
    await desk.queues.claim(second, "bob", None)
    assigned = await desk.queues.bulk("assign", [first, second, "none"], "olga", ("ann", None))

    assert [each["worker"] for each in assigned[:2]] == ["ann", "ann"]
    assert type(assigned[2]) is NotFound
