"""Listeners of a simulated world, the process that tells them, and what goes wrong between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from actors.deliveries import Deliveries
from actors.notifier import Notifier
from adapters.webhook import TIMEOUT_S, Answer
from gateway.tmf622_events import render_event
from persistence.consumers import ConsumerFenced
from tests.simulation.hearing import Hearing
from tests.simulation.hub import HubTables, Link, MemoryFeed, MemoryOutbox
from tests.simulation.loop import Process
from tests.simulation.twins import MemoryStore

if TYPE_CHECKING:
    from tests.simulation.world import World

SHARE_LISTENED_TO: Final = 0.25
"""Of the seeds."""
FAULTS_OF_LISTENERS: Final[tuple[tuple[str, int], ...]] = (
    ("kill_notifier", 30), ("stop_notifier", 15), ("second_notifier", 15), ("split_notifier", 20),
    ("listener_away", 15), ("leave", 5),
)  # fmt: skip
ANSWERS: Final[tuple[tuple[str, int], ...]] = (
    ("takes", 74), ("refuses", 6), ("complains", 4), ("takesSilently", 5), ("takesBut500", 4), ("takesLate", 4),
    ("silent", 3),
)  # fmt: skip
"""What a listener does with an event while the weather is bad, and how often of a hundred."""
QUERIES: Final = ("", "fields=id,state")


class Hub:
    """The listeners, the tables of the hub, and every process that was a notifier."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.tables = HubTables(world.database)
        self.hearing = Hearing()
        self.tables.on_take_over.append(lambda epoch: world.guarded(self.hearing.took_over, (epoch,)))
        self.tables.on_write.append(lambda epoch: world.guarded(self.hearing.wrote, (epoch,)))
        self._notifiers: list[tuple[Process, Link]] = []
        self._away: set[str] = set()
        self._left: set[str] = set()
        self._lives = 0

    # Processes.

    def start(self) -> None:
        """A new life of the notifier; the last one may still be there."""
        self._lives += 1
        process = Process(f"notifier{self._lives}")
        link = process.run(Link, self._world.database)
        self._notifiers.append((process, link))
        process.spawn(self._work(link))
        # As Ray does.
        process.deaths.append(lambda: self._world.later(self._world.draw.uniform(0.3, 2.0), self.start))

    async def _work(self, link: Link) -> None:
        """As `gateway.notifier_actor.NotifierActor`, over twins."""
        world = self._world
        outbox = MemoryOutbox(self.tables, link)
        deliveries = Deliveries(outbox, _Post(world, self), clock=world.clock)
        notifier = Notifier(
            MemoryFeed(self.tables, "main", link),
            outbox,
            MemoryStore(world.database),
            render_event,
            clock=world.clock,
            wake=deliveries.wake,
        )
        while True:
            try:
                deliveries.epoch = await notifier.start()
                break
            except OSError:
                await asyncio.sleep(0.5)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(notifier.run())
                group.create_task(deliveries.run())
        except* ConsumerFenced:
            world.trace(f"the notifier of epoch {deliveries.epoch} is fenced")

    def _living(self) -> list[tuple[Process, Link]]:
        return [each for each in self._notifiers if not each[0].is_dead]

    def _chosen(self, number: int) -> tuple[Process, Link] | None:
        """Mostly the newest."""
        living = self._living()
        return living[-1 if number % 4 else number // 4 % len(living)] if living else None

    def chosen(self, number: int) -> Process | None:
        """The process that something happens to."""
        found = self._chosen(number)
        return found[0] if found else None

    def kill(self, number: int) -> None:
        """One notifier dies."""
        process = self.chosen(number)
        if process is not None:
            process.kill()

    def kill_all(self) -> None:
        """The machine goes down."""
        for process, _ in self._living():
            process.kill()

    def split(self, number: int, for_s: float) -> None:
        """A notifier is cut off from the database for a while."""
        found = self._chosen(number)
        if found is not None:
            found[1].cut()
            self._world.later(for_s, found[1].mend)

    def calm(self) -> None:
        """From now on everything is well."""
        self._away.clear()
        for process, link in self._living():
            link.mend()
            process.go_on()

    def is_quiet(self) -> bool:
        """Whether nothing is left to be told."""
        tables = self.tables
        return not tables.listeners or (not tables.waiting and tables.cursors == tables.heads())

    # Listeners.

    def listen(self, number: int) -> None:
        """Somebody registers, and insists."""
        self._world.outside(self._register(f"listener{number}", QUERIES[number % len(QUERIES)]))

    async def _register(self, name: str, query: str) -> None:
        def register() -> None:
            if name not in self.tables.listeners and name not in self._left:
                self.tables.register(name, name, query)
                self.hearing.listens(name)
                self._world.trace(f"{name} is registered")

        while True:
            try:
                await self._world.database.ask(register)
                return
            except OSError:
                await asyncio.sleep(0.5)

    def leave(self, number: int) -> None:
        """Somebody does not want to hear any more."""
        names = sorted(self.tables.listeners)
        if names:
            name = names[number % len(names)]
            self._left.add(name)
            self.hearing.leaves(name)
            self.tables.unregister(name)

    def send_away(self, number: int, for_s: float) -> None:
        """A listener cannot be reached for a while."""
        names = sorted(self.tables.listeners)
        if names:
            name = names[number % len(names)]
            self._away.add(name)
            self._world.later(for_s, self._away.discard, name)

    def receive(self, name: str, body: bytes, answer: Callable[[Answer], None]) -> None:
        """An event has arrived at a listener's door."""
        world = self._world
        how = world.pick(ANSWERS) if world.is_rough else "takes"
        if name in self._away:
            answer(Answer(None, "no connection"))
        elif how == "refuses":
            answer(Answer(503, "answered 503"))
        elif how == "complains":
            answer(Answer(422, "answered 422"))
        elif how == "takesLate":
            world.later(world.draw.uniform(1.0, 14.0), self._take, name, body, answer)
        elif how != "silent":
            error = {"takes": Answer(204), "takesBut500": Answer(500, "answered 500")}
            self._take(name, body, lambda _: answer(error[how]) if how in error else None)

    def _take(self, name: str, body: bytes, answer: Callable[[Answer], None]) -> None:
        self._world.trace(f"{name} gets {body[:200]!r}")
        self.hearing.heard(name, body)
        answer(Answer(204))


class _Post:
    """As `adapters.webhook.Webhooks`; gone with its process."""

    def __init__(self, world: World, hub: Hub) -> None:
        self._world = world
        self._hub = hub

    async def post(self, url: str, body: bytes) -> Answer:
        world = self._world
        heard: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answer(said: Answer) -> None:
            world.later(world.delay_s(), _answer, heard, said)

        world.later(world.delay_s(), self._hub.receive, url, body, answer)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await heard
        except TimeoutError:
            return Answer(None, f"no answer came within {TIMEOUT_S:g} s")


def _answer(heard: asyncio.Future[Any], answer: Answer) -> None:
    if not heard.done():
        heard.set_result(answer)
