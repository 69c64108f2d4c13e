"""One simulated run: a cluster of the real runtime, a world around it, and what goes wrong, all from one seed.

A run is a script, a list of what happens when (orders and faults), drawn from the seed before it begins; everything
smaller (how long a message takes, what a system does with a call) is drawn while it runs. So a script can be shortened
and run again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, NoReturn

import structlog

from actors.adapter import AdapterRuntime
from actors.director import Watch
from actors.envelopes import Envelope, ToPlan
from actors.folding import PlanFolder
from actors.host_runtime import HostRuntime
from actors.routing import HostClient
from actors.rows import order_row
from domain.errors import Busy, OrderplanError
from domain.holds import Hold, HoldCause
from domain.ids import shard_of
from domain.messages import ChangeOrder, PlanMessage
from persistence.database import is_unavailable
from persistence.holds import HoldRow
from tests.simulation.catalogue import RELEASES, SYSTEMS
from tests.simulation.changes import SHARE_CHANGED, Agents
from tests.simulation.checkers import Checkers
from tests.simulation.database import OUTSIDE, MemoryDatabase
from tests.simulation.holds import MemoryHolds, SimulatedResumer
from tests.simulation.listeners import FAULTS_OF_LISTENERS, SHARE_LISTENED_TO, Hub
from tests.simulation.loop import Endless, Idle, Process, VirtualLoop, current_process
from tests.simulation.network import NOTICED_S, Network, Place
from tests.simulation.outside import SYSTEM_ROWS, Channels, People, Systems
from tests.simulation.seen import Violation
from tests.simulation.twins import MemoryJournal, MemoryOwnership, MemoryStore, MemoryVault
from tests.simulation.twins import stored as stored_fact

START: Final = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
ROUGH_S: Final = 40.0
"""Until then things go wrong; afterwards everything heals, and what was acknowledged has to end."""
END_S: Final = 400.0
SHARDS: Final = 4
DEDICATED: Final = 2


class Event(NamedTuple):
    """One line of a script: at this second, this happens, with these numbers."""

    at_s: float
    what: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.at_s:7.2f} s  {self.what} {' '.join(f'{each:g}' for each in self.numbers)}"


FAULTS: Final[tuple[tuple[str, int], ...]] = (
    ("kill_host", 22), ("stop_host", 14), ("kill_adapters", 10), ("stop_adapters", 4), ("kill_gateway", 5),
    ("kill_director", 5), ("stop_director", 4), ("second_director", 4), ("outage", 10), ("crash", 6), ("jump", 4),
    ("publish", 6), ("scale", 6), ("everything", 2), ("split", 26), ("hold", 8), ("system_down", 8),
    ("kill_resumer", 4),
)  # fmt: skip


def script_of(seed: int) -> list[Event]:
    """What happens in the run of a seed."""
    draw = random.Random(f"script {seed}")
    events = [
        Event(round(draw.uniform(0.5, 22.0), 2), "order", (number, draw.randrange(1 << 30)))
        for number in range(draw.randint(2, 6))
    ]
    for _ in range(draw.choice((0, 1, 2, 2, 3, 4, 6))):
        numbers = (draw.randrange(1 << 20), round(draw.random(), 3))
        events.append(Event(round(draw.uniform(1.0, 32.0), 2), _pick(draw, FAULTS), numbers))
    return sorted([*events, *_listening(seed), *_changing(seed)])


def _listening(seed: int) -> list[Event]:
    """Who listens to the run of a seed, and what becomes of what they listen to. Polling takes steps, so not always."""
    draw = random.Random(f"listeners {seed}")
    if draw.random() >= SHARE_LISTENED_TO:
        return []
    events = [
        Event(draw.choice((0.0, 0.0, round(draw.uniform(0.5, 20.0), 2))), "listen", (number, 0.0))
        for number in range(draw.choice((1, 1, 2)))
    ]
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        numbers = (draw.randrange(1 << 20), round(draw.random(), 3))
        events.append(Event(round(draw.uniform(1.0, 34.0), 2), _pick(draw, FAULTS_OF_LISTENERS), numbers))
    return events


def _changing(seed: int) -> list[Event]:
    """When orders of the run of a seed are changed, held or frozen. Not always, for that costs it other faults."""
    draw = random.Random(f"changes {seed}")
    if draw.random() >= SHARE_CHANGED:
        return []
    return [
        Event(round(draw.uniform(1.0, 30.0), 2), "change", (draw.randrange(1 << 30),))
        for _ in range(draw.choice((1, 2, 3, 4, 6, 8)))
    ]


def _pick(draw: random.Random, choices: Sequence[tuple[str, int]]) -> str:
    names, weights = zip(*choices, strict=True)
    return str(draw.choices(names, weights)[0])


@dataclass
class World:
    """Everything of one run."""

    seed: int
    script: list[Event]
    is_traced: bool = False
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(f"world {self.seed}")
        self.loop = VirtualLoop()
        self.is_rough = True
        self.is_bumpy = self.draw.random() < 0.6
        """Whether messages get lost without any process dying."""
        self.accounts = self.draw.randint(1, 3)
        self.wanted = self.draw.choice((1, 2, 2, 3))
        self.database = MemoryDatabase(SHARDS, self.clock, self, dedicated=DEDICATED)
        self.checkers = Checkers()
        self.checkers.owners = self.database.shards
        self.database.on_commit.append(self._committed)
        self.database.on_fence.append(self.checkers.fenced.add)
        self.network = Network(self)
        self.hosts: dict[str, Place] = {}
        self.adapters_at = Place("adapters")
        self.gateway_at = Place("gateway")
        self.adapters = self.network.handle(self.adapters_at)
        self.gateway = self.network.handle(self.gateway_at)
        self.directors: list[tuple[Process, Watch]] = []
        self.resumer: Process | None = None
        self.systems = Systems(self)
        self.channels = Channels(self)
        self.people = People(self)
        self.agents = Agents(self)
        self.hub = Hub(self)
        self._made = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.errors: list[str] = []
        self.violation: Violation | None = None
        self._publish()

    # What everybody draws on.

    def clock(self) -> datetime:
        """The time, as the process that asks believes it is."""
        process = current_process()
        skew_s = process.skew_s if process is not None else 0.0
        return START + timedelta(seconds=self.loop.time() + skew_s)

    def pick(self, choices: Sequence[tuple[str, int]]) -> str:
        """One of the names, by weight."""
        return _pick(self.draw, choices)

    def delay_s(self) -> float:
        """See `Weather.delay_s`."""
        if not self.is_rough:
            return 0.002
        drawn = self.draw.random()
        return drawn * 0.02 if drawn < 0.95 else drawn * 0.6

    def breaks(self) -> bool:
        """See `Weather.breaks`."""
        return self.is_rough and self.is_bumpy and self.draw.random() < 0.01

    def late_s(self) -> float:
        """See `Weather.late_s`."""
        return self.draw.choice((0.0, 0.05, 0.1, 0.2, 0.5, 2.0))

    def later(self, delay_s: float, work: Callable[..., None], *args: Any) -> None:
        """Do something outside of all processes."""
        self.loop.call_later(delay_s, self.guarded, work, args, context=OUTSIDE.copy())

    def guarded(self, work: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Call a checker, or something that calls one."""
        try:
            work(*args)
        except Violation as violation:
            self._wrong(violation)

    def outside(self, work: Coroutine[Any, Any, Any]) -> None:
        """A task outside of all processes."""
        task = self.loop.create_task(work, context=OUTSIDE.copy())
        self._tasks.add(task)
        task.add_done_callback(self._ended, context=OUTSIDE.copy())

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Violation):
            self._wrong(error)
        elif error is not None:
            self._wrong(Violation(f"the world broke: {error!r}"))

    def _wrong(self, violation: Violation) -> None:
        if self.violation is None:
            self.violation = violation
            self.trace(f"VIOLATION {violation}")
        self.loop.stop()

    def trace(self, text: str) -> None:
        """Note what happens, if somebody will read it."""
        if self.is_traced:
            self.lines.append(f"{self.loop.time():8.3f}  {text}")

    def _id(self, kind: str) -> str:
        self._made += 1
        return f"{kind}{self._made}"

    def _committed(self, incarnation_id: str, commit: Any) -> None:
        if self.is_traced:
            for row in commit.facts:
                self.lines.append(
                    f"{self.loop.time():8.3f}    {incarnation_id} {row.shard}-{row.offset} {row.order_id} {row.kind} "
                    f"{row.item or ''} {row.cause or ''}"
                )
        try:
            self.checkers.committed(incarnation_id, commit)
            self.hub.hearing.committed(commit)
        except Violation as violation:
            self._wrong(violation)

    # The cluster.

    def _publish(self) -> None:
        number = len(self.database.releases)
        if number < len(RELEASES):
            body = RELEASES[number]
            release_id = f"{body['code']}@{body['version']}"
            self.database.releases.append((release_id, body))
            self.checkers.published.add(release_id)

    def handle_of(self, name: str) -> Any | None:
        """The handle of a host, as Ray finds it by name; None once it has noticed that it is dead."""
        place = self.hosts.get(name)
        return self.network.handle(place) if place is not None else None

    def forget_host(self, name: str) -> None:
        """Ray has noticed that it is dead."""
        self.hosts.pop(name, None)

    def start_adapters(self) -> None:
        """A new life of the adapter actor."""
        process = Process(self._id("adapters"))
        self.adapters_at.fill(process, process.run(_Adapters, self, process.name))
        self._restarts(process, self.start_adapters)

    def start_gateway(self) -> None:
        """A new life of the gateway."""
        process = Process(self._id("gateway"))
        self.gateway_at.fill(process, process.run(_Gateway, self))
        self._restarts(process, self.start_gateway)

    def start_resumer(self) -> None:
        """A new life of the people actor, as far as held items are concerned."""
        self.resumer = process = Process(self._id("resumer"))
        process.spawn(SimulatedResumer(self).run())
        self._restarts(process, self.start_resumer)

    def start_director(self) -> None:
        """A new life of the director; the last one may still be there."""
        process = Process(self._id("director"))

        async def open_table() -> MemoryOwnership:
            return MemoryOwnership(self.database)

        watch = process.run(lambda: Watch(open_table, _Fleet(self), self.wanted, new_id=lambda: self._id("h")))
        self.directors.append((process, watch))
        process.spawn(watch.run())
        self._restarts(process, self.start_director)

    def _restarts(self, process: Process, start: Callable[[], None]) -> None:
        """Ray starts it again when it has died."""
        process.deaths.append(lambda: self.later(self.draw.uniform(0.3, 2.0), start))

    def living_hosts(self) -> list[Process]:
        """Processes of hosts that are not dead."""
        found = [place.process for place in self.hosts.values() if place.process is not None]
        return [process for process in found if not process.is_dead]

    # What happens.

    async def _play(self) -> None:
        for event in self.script:
            await asyncio.sleep(event.at_s - self.loop.time())
            self.trace(f"-- {event.what} {event.numbers}")
            getattr(self, f"_do_{event.what}")(*event.numbers)
        await asyncio.sleep(max(0.0, ROUGH_S - self.loop.time()))
        self._calm()

    def _calm(self) -> None:
        """From now on everything is well."""
        self.trace("-- everything heals")
        self.is_rough = False
        self.database.start()
        self.systems.down.clear()
        # Circuit breakers find out by themselves.
        for place in [place for place in self.database.holds if place[1] == HoldCause.OFFLINE]:
            del self.database.holds[place]
        places = [self.adapters_at, self.gateway_at, *self.hosts.values()]
        for process in [*(place.process for place in places), *(process for process, _ in self.directors)]:
            if process is not None:
                process.skew_s = 0.0
                process.go_on()
        self.hub.calm()

    def _do_order(self, number: float, seed: float) -> None:
        self.channels.order(int(number), int(seed))

    def _do_change(self, seed: float) -> None:
        self.agents.change(int(seed))

    def _chosen_host(self, number: float) -> Process | None:
        living = self.living_hosts()
        return living[int(number) % len(living)] if living else None

    def _do_kill_host(self, number: float, _share: float) -> None:
        process = self._chosen_host(number)
        if process is not None:
            self.trace(f"kill -9 {process.name}")
            process.kill()

    def _do_stop_host(self, number: float, share: float) -> None:
        self._stop(self._chosen_host(number), 0.5 + share * 28.0)

    def _stop(self, process: Process | None, for_s: float) -> None:
        if process is not None:
            self.trace(f"SIGSTOP {process.name} for {for_s:.1f} s")
            process.stop()
            self.later(for_s, process.go_on)

    def _do_kill_adapters(self, _number: float, _share: float) -> None:
        if self.adapters_at.process is not None:
            self.adapters_at.process.kill()

    def _do_stop_adapters(self, _number: float, share: float) -> None:
        self._stop(self.adapters_at.process, 0.5 + share * 12.0)

    def _do_kill_gateway(self, _number: float, _share: float) -> None:
        if self.gateway_at.process is not None:
            self.gateway_at.process.kill()

    def _do_kill_director(self, _number: float, _share: float) -> None:
        self.directors[-1][0].kill()

    def _do_stop_director(self, _number: float, share: float) -> None:
        self._stop(self.directors[-1][0], 0.5 + share * 15.0)

    def _do_second_director(self, _number: float, _share: float) -> None:
        self.start_director()

    def _do_outage(self, _number: float, share: float) -> None:
        """The server cannot be reached for a while; what it holds stays."""
        self.database.is_up = False
        self.later(0.2 + share * 14.0, self.database.start)

    def _do_crash(self, _number: float, share: float) -> None:
        self.database.crash()
        self.later(0.2 + share * 6.0, self.database.start)

    def _do_jump(self, number: float, share: float) -> None:
        process = self._chosen_host(number)
        if process is not None:
            process.skew_s = (share - 0.5) * 20.0

    def _do_split(self, number: float, share: float) -> None:
        """A host is cut off from everybody for a moment, and goes on: others may take it for dead."""
        process = self._chosen_host(number)
        if process is None:
            return
        self.trace(f"split {process.name}")
        place = self.hosts.pop(process.name, None)
        if place is not None:
            self.later(3.0, self._named_again, process.name, place)
        for delay_s in (share, share + 0.1, share + 0.2, share + 0.7):
            self.later(delay_s, self.database.cut, process.name.removeprefix("host-"))

    def _named_again(self, name: str, place: Place) -> None:
        if place.process is not None and not place.process.is_dead:
            self.hosts[name] = place

    def _do_hold(self, number: float, share: float) -> None:
        """An administrator takes a system offline for a while."""
        code = SYSTEMS[int(number) % len(SYSTEMS)]
        hold = Hold(code, HoldCause.OFFLINE, reason="maintenance")
        self.database.holds[code, hold.cause.value] = HoldRow("main", hold, "olga", self.clock(), None)
        self.later(0.5 + share * 20.0, self._release, code)

    def _release(self, code: str) -> None:
        for place in [place for place in self.database.holds if place[0] == code]:
            del self.database.holds[place]

    def _do_system_down(self, number: float, share: float) -> None:
        code = SYSTEMS[int(number) % len(SYSTEMS)]
        self.systems.down.add(code)
        self.later(0.5 + share * 25.0, self.systems.down.discard, code)

    def _do_kill_resumer(self, _number: float, _share: float) -> None:
        assert self.resumer is not None
        self.resumer.kill()

    def _do_listen(self, number: float, _share: float) -> None:
        self.hub.listen(int(number))

    def _do_leave(self, number: float, _share: float) -> None:
        self.hub.leave(int(number))

    def _do_kill_notifier(self, number: float, _share: float) -> None:
        self.hub.kill(int(number))

    def _do_stop_notifier(self, number: float, share: float) -> None:
        self._stop(self.hub.chosen(int(number)), 0.3 + share * 15.0)

    def _do_second_notifier(self, _number: float, _share: float) -> None:
        self.hub.start()

    def _do_split_notifier(self, number: float, share: float) -> None:
        self.hub.split(int(number), 0.1 + share * 8.0)

    def _do_listener_away(self, number: float, share: float) -> None:
        self.hub.send_away(int(number), 0.5 + share * 20.0)

    def _do_publish(self, _number: float, _share: float) -> None:
        self._publish()

    def _do_scale(self, number: float, _share: float) -> None:
        self.wanted = 1 + int(number) % 3
        for _, watch in self.directors:
            watch.wanted = self.wanted

    def _do_everything(self, _number: float, _share: float) -> None:
        """The machine goes down: every process dies, the server too."""
        self._do_kill_resumer(0, 0)
        self.hub.kill_all()
        for process in [*self.living_hosts(), *(each for each, _ in self.directors)]:
            process.kill()
        for place in (self.adapters_at, self.gateway_at):
            if place.process is not None:
                place.process.kill()
        self._do_crash(0, 0.2)

    async def insist(self, order_id: str, message: PlanMessage, actor: str, cause: str, repeats: int) -> bool:
        """Get a message to a plan; True when it was taken."""
        _, answer = await self.tell(order_id, message, actor, cause, repeats)
        if isinstance(answer, OrderplanError) and answer.status < 500:
            self.trace(f"{actor} is refused: {answer}")
        return not isinstance(answer, BaseException)

    async def tell(
        self, order_id: str, message: PlanMessage | ChangeOrder, actor: str, cause: str, repeats: int
    ) -> tuple[int, Any]:
        """Say something to a plan until somebody answers; how often it was said, and the answer or the last error."""
        envelope = ToPlan(order_id, message, actor, cause)
        lane = "receive_reports" if actor.startswith("adapter:") else "receive_orders"
        answer: Any = None
        for count in range(1, repeats + 1):
            try:
                answer = await self.gateway.ask.remote(lane, shard_of(order_id), envelope, 4.0)
            except Exception as error:
                answer = error
            is_refused = isinstance(answer, OrderplanError) and answer.status < 500
            if is_refused or not isinstance(answer, BaseException):
                return count, answer
            await asyncio.sleep(0.7)
        return repeats, answer

    # The run.

    def run(self) -> None:
        """Run the script to its end.

        Raises:
            Violation: an invariant does not hold.
        """
        asyncio.set_event_loop(self.loop)
        before = structlog.get_config()
        structlog.configure(
            processors=[self._log], wrapper_class=structlog.make_filtering_bound_logger(30),
            cache_logger_on_first_use=False,
        )  # fmt: skip
        try:
            main = self.loop.create_task(self._main(), context=OUTSIDE.copy())
            main.add_done_callback(lambda _: self.loop.stop())
            try:
                self.loop.run_forever()
            except Idle:
                raise Violation("5: everybody waits for somebody else") from None
            except Endless:
                raise Violation("5: something goes round in circles") from None
            if self.violation is not None:
                raise self.violation
            main.result()
        finally:
            structlog.configure(**before)
            self.loop.bury()
            asyncio.set_event_loop(None)
            self.loop.close()

    def _log(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> NoReturn:
        if self.is_traced:
            self.lines.append(f"{self.loop.time():8.3f}      log: {level} {event}")
        if level in ("error", "exception") and "exc_info" in event:
            self.errors.append(str(event.get("event")))
            self._wrong(Violation(f"an exception was logged: {event.get('event')}"))
        raise structlog.DropEvent

    async def _main(self) -> None:
        self.start_adapters()
        self.start_gateway()
        self.start_director()
        self.start_resumer()
        self.outside(self.people.work())
        if any(event.what == "change" for event in self.script):
            self.outside(self.agents.steer())
        if any(event.what == "listen" for event in self.script):
            self.hub.start()
        await self._play()
        while not self._is_over():
            if self.loop.time() > END_S:
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(3.0)
        database = self.database
        self.checkers.finished(self.channels.sent, list(database.assets.values()), database.order_keys, database.sealed)
        self.hub.hearing.finished()
        if self.channels.waiting:
            raise Violation(f"5: {self.channels.waiting} channels never hear of their orders")
        await self._replays()

    def _is_over(self) -> bool:
        orders = self.database.orders.values()
        is_done = not self.channels.waiting and all(row.ended_at is not None and not row.sealed for row in orders)
        return is_done and self.hub.is_quiet()

    async def _replays(self) -> None:
        """Folding an order's facts from empty gives its stored row."""
        folder = PlanFolder(MemoryStore(self.database))
        for order_id, row in self.database.orders.items():
            plan = await folder.fold([stored_fact(each) for each in self.database.facts_of[order_id]])
            replayed = order_row(plan)
            if plan.ended_at is not None:
                replayed = replayed._replace(sealed=False)
            if replayed != row:
                raise Violation(f"12: {order_id} is {row}, its facts give {replayed}")
        open_tasks = [task for task, row in self.database.tasks.items() if row.closed_at is None]
        if open_tasks:
            raise Violation(f"5: tasks stay open: {open_tasks}")
        if self.database.held:
            raise Violation(f"12: held items of ended orders: {list(self.database.held)}")
        if self.database.fallout:
            raise Violation(f"12: fallout of ended orders: {list(self.database.fallout)}")


class _Host:
    """As `actors.plan_host.PlanHost`, over twins."""

    def __init__(self, world: World, name: str, dedicated_shard: int | None) -> None:
        self._world = world
        self._name = name
        self._dedicated_shard = dedicated_shard
        self._runtime: HostRuntime | None = None

    async def start(self) -> str:
        world = self._world
        journal = MemoryJournal(world.database, self._name, dedicated_shard=self._dedicated_shard)
        await journal.open()
        hosts = HostClient(MemoryOwnership(world.database), handles=world.handle_of)
        await hosts.open()
        process = current_process()
        assert process is not None
        self._runtime = HostRuntime(
            journal,
            MemoryVault(world.database, self._name),
            hosts,
            lambda: world.adapters,
            clock=world.clock,
            entropy=lambda: world.draw.getrandbits(20),
            is_unavailable=is_unavailable,
            die=lambda _code: process.kill(),
            read_held=MemoryHolds(world.database).read_held,
        )
        self._runtime.start()
        return self._name

    def __getattr__(self, name: str) -> Any:
        runtime = self.__dict__.get("_runtime")
        if runtime is None:
            raise AttributeError(name)
        return getattr(runtime, name)

    async def ping(self) -> str:
        return self._name


class _Fleet:
    """As the director's Ray fleet, over simulated processes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def handle(self, incarnation_id: str) -> Any | None:
        return self._world.handle_of(f"host-{incarnation_id}")

    def start(self, incarnation_id: str, dedicated_shard: int | None) -> Any:
        world = self._world
        name = f"host-{incarnation_id}"
        place = world.hosts[name] = Place(name)
        process = Process(name)
        place.fill(process, _Host(world, incarnation_id, dedicated_shard))
        process.deaths.append(lambda: world.later(NOTICED_S, world.forget_host, name))
        return world.network.handle(place)

    def kill(self, handle: Any) -> None:
        process = handle.place.process
        if process is not None:
            process.kill()


class _Adapters:
    """As `actors.adapter.AdapterActor`: the real runtime over simulated systems."""

    def __init__(self, world: World, boot_id: str) -> None:
        self._world = world
        self._boot_id = boot_id
        self._runtime: AdapterRuntime | None = None
        self._opening = asyncio.Lock()

    async def _ready(self) -> AdapterRuntime:
        async with self._opening:
            if self._runtime is None:
                world = self._world
                hosts = HostClient(MemoryOwnership(world.database), handles=world.handle_of)
                await hosts.open()
                runtime = AdapterRuntime(
                    self._read_systems,
                    MemoryVault(world.database, self._boot_id),
                    hosts,
                    callback_base="",
                    secret=b"secret",
                    boot_id=self._boot_id,
                    build=world.systems.adapter,
                    clock=world.clock,
                    holds=MemoryHolds(world.database),
                )
                await runtime.refresh()
                self._runtime = runtime
                self._polling = asyncio.get_running_loop().create_task(runtime.poll())
            return self._runtime

    async def _read_systems(self) -> list[dict[str, Any]]:
        return list(await self._world.database.ask(lambda: SYSTEM_ROWS))

    async def perform(self, calls: list[Any]) -> str:
        return (await self._ready()).perform(calls)

    async def boot(self) -> str:
        return (await self._ready()).boot_id


class _Gateway:
    """The way of everybody outside to the hosts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hosts: HostClient | None = None
        self._opening = asyncio.Lock()

    async def ask(self, lane: str, shard: int, envelope: Envelope, timeout_s: float) -> Any:
        """The host's answer, or the refusal as a value."""
        async with self._opening:
            if self._hosts is None:
                hosts = HostClient(MemoryOwnership(self._world.database), handles=self._world.handle_of)
                try:
                    await hosts.open()
                except OSError:
                    return Busy("the gateway is starting")
                self._hosts = hosts
        try:
            return await self._hosts.ask(lane, shard, envelope, timeout_s=timeout_s)
        except OrderplanError as error:
            return error
