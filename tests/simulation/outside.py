"""The world around the cluster: fulfilment systems, channels, people, operators. They never die; they are only late,
wrong, twice or silent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from actors.envelopes import Submission, Submitted
from adapters.interface import Outcome, Task
from domain.errors import OrderplanError
from domain.ids import account_shard, parse_effect_key
from domain.messages import ChangeLine, ClaimTask, CompleteTask, OperateItem, PlanMessage, ReleaseTask, Report
from domain.orders import Order
from tests.simulation.catalogue import RESOLVE, SYSTEMS
from tests.simulation.checkers import SECRET
from tests.simulation.database import POISON
from tests.simulation.holds import LIMITS
from tests.simulation.seen import parsed
from tests.support.build import line, order_of

if TYPE_CHECKING:
    from tests.simulation.world import World

REPEATS_MAX: Final = 400
"""Tries of a channel, a person or a system to get something across; it takes a very long outage to use them up."""
ANSWER_S: Final = 4.0
REPEAT_S: Final = 0.7

BEHAVIOURS: Final[tuple[tuple[str, int], ...]] = (
    ("completes", 60), ("refuses", 7), ("silent", 4), ("silentAndDone", 5), ("doneBut500", 4), ("callsBack", 7),
    ("callsBackTwice", 3), ("refusesForGood", 2), ("raises", 2), ("poisoned", 1), ("late", 3), ("fastAndDone", 2),
)  # fmt: skip
"""What a system does with a call while the weather is bad, and how often of a hundred."""


class Systems:
    """All fulfilment systems: each does a key once, and answers a repeat as it answered before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._done: dict[str, dict[str, Any]] = {}
        self._accepted: set[str] = set()
        self.down: set[str] = set()
        """Systems that refuse everything just now."""
        self._secrets = 0

    def adapter(self, kind: str, config: Mapping[str, Any]) -> _SystemAdapter:
        """What the adapter actor builds for a system."""
        return _SystemAdapter(self._world, self)

    def receive(self, task: Task, answer: Callable[[Outcome], None]) -> None:
        """A call has arrived."""
        world = self._world
        key = task.key
        order_id, item, attempt = parse_effect_key(key)
        world.trace(f"system {task.system} gets {key}")
        world.checkers.arrived(key, order_id, item, attempt)
        if key in self._done:
            answer(Outcome.completed(self._done[key]))
            return
        how = world.pick(BEHAVIOURS) if world.is_rough else "completes"
        if task.system in self.down:
            how = "refuses"
        if how in ("refuses", "refusesForGood"):
            world.checkers.answered(key, is_performed=False, is_refused=True)
            answer(Outcome.retryable("busy", "503") if how == "refuses" else Outcome.failed("no", "422"))
        elif how == "silent":
            world.checkers.answered(key, is_performed=False, is_refused=False)
        elif how in ("callsBack", "callsBackTwice"):
            world.checkers.answered(key, is_performed=False, is_refused=False)
            answer(Outcome.accepted())
            if key not in self._accepted:
                self._accepted.add(key)
                delay_s = world.draw.uniform(0.0, 6.0)
                for _ in range(2 if how == "callsBackTwice" else 1):
                    world.later(delay_s, self._call_back, task)
        elif how == "raises":
            world.checkers.answered(key, is_performed=False, is_refused=False)
            answer(Outcome("retryable", error="raised", error_code="raise"))
        else:
            self._do(task, is_poisoned=how == "poisoned")
            if how == "late":
                world.later(world.draw.uniform(5.0, 25.0), answer, Outcome.completed(self._done[key]))
            elif how == "doneBut500":
                answer(Outcome.retryable("internal error", "500"))
            elif how != "silentAndDone":
                answer(Outcome.completed(self._done[key]))

    def _do(self, task: Task, *, is_poisoned: bool = False) -> None:
        if task.key in self._done:
            return
        world = self._world
        world.checkers.answered(task.key, is_performed=True, is_refused=False)
        attributes: dict[str, Any] = {}
        if task.name == "reserve":
            self._secrets += 1
            attributes = {"IMSI": f"imsi-{self._secrets}", "PUK": f"{SECRET}{self._secrets}"}
        if is_poisoned:
            attributes |= {"IMSI": POISON, "NUM": POISON, "n": POISON}
        self._done[task.key] = {"attributes": attributes} if attributes else {}

    def _call_back(self, task: Task) -> None:
        self._do(task)
        order_id, item, attempt = parse_effect_key(task.key)
        report = Report(item, attempt, "completed", self._done[task.key], via="callback")
        self._world.trace(f"system {task.system} calls back {task.key}")
        self._world.outside(self._world.insist(order_id, report, f"adapter:{task.system}", task.key, REPEATS_MAX))


class _SystemAdapter:
    """Carries calls to the systems and answers back; gone with its process."""

    def __init__(self, world: World, systems: Systems) -> None:
        self._world = world
        self._systems = systems

    async def perform(self, task: Task) -> Outcome:
        world = self._world
        heard: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def answer(outcome: Outcome) -> None:
            world.later(world.delay_s(), _answer, heard, outcome)

        world.later(world.delay_s(), self._systems.receive, task, answer)
        outcome = await heard
        if outcome.error_code == "raise":
            raise ConnectionResetError("the system hung up")
        return outcome

    async def close(self) -> None:
        return


def _answer(heard: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not heard.done():
        heard.set_result(outcome)


PRODUCTS: Final = ("sim", "sim", "visit", "line", "voice", "voice")


@dataclass(slots=True)
class Channels:
    """Orders and the clients that send them until somebody says that they are taken."""

    world: World
    sent: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: int = 0

    def order(self, number: int, seed: int) -> None:
        """Send an order; what it is about is drawn when it is sent."""
        draw = random.Random(seed)
        world = self.world
        account = f"acc-{draw.randrange(world.accounts)}"
        key = f"key-{number}"
        order = self._change(draw, account) if draw.random() < 0.35 else None
        if order is None:
            products = [draw.choice(PRODUCTS) for _ in range(1 if draw.random() < 0.7 else 2)]
            lines = [
                line(str(at), product, n=draw.randrange(5), **_secrets(product, number))
                for at, product in enumerate(products, 1)
            ]
            order = order_of(*lines, account=account)
        order.client_key = key
        if draw.random() < 0.25:
            order.priority = "high"
        self.sent.append(key)
        world.trace(f"{key}: {account} orders {[(each.specification, each.action) for each in order.lines]}")
        copies = 2 if draw.random() < 0.15 else 1
        for _ in range(copies):
            self.waiting += 1
            world.outside(self._send(key, order))

    def _change(self, draw: random.Random, account: str) -> Order | None:
        """Change or give back something that the account has, or is about to have."""
        rows = [row for row in self.world.database.assets.values() if row.account == account]
        assets = [row for row in rows if row.status != "terminated" and row.product != "mailbox"]
        if not assets:
            return None
        chosen = draw.choice(assets)
        action = draw.choice(("modify", "delete")) if chosen.product in ("sim", "visit") else "delete"
        changed = line("1", None, action, product_id=chosen.asset_id, **({"n": 7} if action == "modify" else {}))
        return order_of(changed, account=account)

    async def _send(self, key: str, order: Order) -> None:
        world = self.world
        body = order.to_dict()
        shard = account_shard("main", str(order.account), world.database.shared)
        for _ in range(REPEATS_MAX):
            submission = Submission(shard, body, key.encode())
            try:
                answer = await world.gateway.ask.remote("receive_orders", shard, submission, ANSWER_S)
            except Exception as error:
                answer = error
            if isinstance(answer, Submitted):
                world.trace(f"{key} is {answer.order_id}, {answer.state}")
                world.checkers.heard(key, answer.order_id)
                break
            if isinstance(answer, OrderplanError) and answer.status < 500:
                world.trace(f"{key} is refused: {answer}")
                world.checkers.refused(key, answer.code)
                self.refused[key] = answer.code
                break
            await asyncio.sleep(REPEAT_S)
        self.waiting -= 1


def _secrets(product: str, number: int) -> dict[str, Any]:
    return {"PUK": f"{SECRET}order-{number}", "TAX": f"{SECRET}tax-{number}"} if product == "sim" else {}


class People:
    """A worker, an operator and an agent, who look at the lists now and then and do something about what they see."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._claims: dict[str, tuple[str, float]] = {}
        """The queue's own table: task -> (worker, end of the lease)."""
        self._messages = 0

    async def work(self) -> None:
        """For ever."""
        world = self._world
        while True:
            await asyncio.sleep(world.draw.uniform(0.3, 2.0))
            await self._task()
            await self._repair()
            await self._agent()

    async def _task(self) -> None:
        world = self._world
        tasks = [row for row in world.database.tasks.values() if row.closed_at is None]
        if not tasks:
            return
        task = world.draw.choice(tasks)
        worker = world.draw.choice(("ann", "bob"))
        now = world.loop.time()
        holder = self._claims.get(task.task_id)
        if holder is not None and holder[1] > now and holder[0] != worker:
            return
        self._claims[task.task_id] = (worker, now + 8.0)
        if not await self._tell(task.order_id, lambda name: ClaimTask(task.item, worker, name), worker):
            self._claims.pop(task.task_id, None)
            return
        how = world.draw.random()
        if world.is_rough and how < 0.1:
            return
        if world.is_rough and how < 0.25:
            await self._tell(task.order_id, lambda name: ReleaseTask(task.item, worker, name), worker)
        else:
            data: dict[str, Any] = {"n": world.draw.randrange(5)} if task.item.startswith("visit/") else {}
            if task.item.startswith(RESOLVE):
                data = {"resolution": "looked, and put right"}
            await self._tell(task.order_id, lambda name: CompleteTask(task.item, worker, data, name), worker)
        self._claims.pop(task.task_id, None)

    async def _repair(self) -> None:
        world = self._world
        rows = [row for row in world.database.fallout.values() if row.retry_at is None]
        if not rows:
            return
        row = world.draw.choice(rows)
        action: Any = world.pick((("retry", 60), ("skip", 20), ("complete", 15), ("edit", 5)))
        if row.error_code == "notDelivered":
            action = world.pick((("retry", 70), ("skip", 30)))
        if action == "edit":
            world.checkers.edited.add(f"{row.order_id} {row.item}")
        members: dict[str, Any] = {"payload": {"edited": True}} if action == "edit" else {}
        await self._tell(
            row.order_id, lambda name: OperateItem(row.item, action, "op", "looked at", name, **members), "op"
        )

    async def _agent(self) -> None:
        """Tell running orders what their push events wait for."""
        world = self._world
        for order_id in [row.order_id for row in world.database.orders.values() if row.ended_at is None]:
            for name in [each for each in world.checkers.orders[order_id].items if each.startswith("line/wait@")]:
                item = world.checkers.orders[order_id].items[name]
                if item.begun and not item.done and (not world.is_rough or world.draw.random() < 0.3):
                    await self._ready(order_id, parsed(name).line)

    async def _ready(self, order_id: str, line_key: str) -> None:
        await self._tell(order_id, lambda name: ChangeLine(line_key, {"go": "yes"}, "ready", name), "ann")

    async def _tell(self, order_id: str, message: Callable[[str], PlanMessage], who: str) -> bool:
        self._messages += 1
        name = f"said-{self._messages}"
        return await self._world.insist(order_id, message(name), f"person:{who}", name, 5)


SYSTEM_ROWS: Final[tuple[dict[str, Any], ...]] = tuple(
    {"tenant": "main", "code": code, "adapter": "sim", "config": {}, "updatedAt": "1"} | asdict(LIMITS)
    for code in SYSTEMS
)
