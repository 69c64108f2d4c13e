"""A server in memory: its tables, its transactions, and the way there and back.

A statement travels to the server, is carried out there at one instant whatever becomes of its sender, and its answer
travels back. Either way may be slow, and a connection may break on either, so that a commit can be stored and nobody
hears of it, or arrive after its sender has given up. What was committed outlives everything.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from domain.errors import NotFound
from persistence.consumers import ConsumerFenced
from persistence.holds import HoldRow
from persistence.journal import DataRefused, Fenced
from persistence.rows import (
    AssetRow,
    Commit,
    FactRow,
    FalloutRow,
    HeldRow,
    OrderRow,
    SealedRow,
    TaskRow,
    WaitRow,
)

POISON: Final = "\N{SKULL AND CROSSBONES}"
"""Stands for whatever the server refuses to store: every commit with it is refused for its data."""
OUTSIDE: Final = Context()
"""In which the server works: no process of the cluster takes it along when it dies."""


class Weather(Protocol):
    """How slow and how unreliable the ways are (tests/simulation/world.py)."""

    def delay_s(self) -> float:
        """Seconds that the next message takes."""
        ...

    def breaks(self) -> bool:
        """Whether the connection breaks on the next way."""
        ...

    def late_s(self) -> float:
        """How much later the server reads what was sent on a connection that broke then."""
        ...


class Calm:
    """No delay, no break."""

    def delay_s(self) -> float:
        return 0.0

    def breaks(self) -> bool:
        return False

    def late_s(self) -> float:
        return 0.0


@dataclass(slots=True)
class Session:
    """A connection: open until somebody ends it; the transaction that is under way on it."""

    is_open: bool = True
    incarnation_id: str = ""
    staged: Commit | None = None


@dataclass(slots=True)
class _Incarnation:
    started_at: datetime
    heartbeat_at: datetime
    dedicated_shard: int | None
    session: Session
    epoch: int = 1
    state: str = "living"
    locked_by: Session | None = None


@dataclass(slots=True)
class Shard:
    """A row of the table of owners."""

    incarnation_id: str | None = None
    version: int = 0
    is_dedicated: bool = False
    order_id: str | None = None


class MemoryDatabase:
    """All tables, and the server that keeps them."""

    def __init__(
        self, shards: int, clock: Callable[[], datetime], weather: Weather | None = None, *, dedicated: int = 0
    ) -> None:
        self.clock = clock
        self.weather: Weather = weather or Calm()
        self.is_up = True
        self.shared = shards
        self.shards = {number: Shard(is_dedicated=number >= shards) for number in range(shards + dedicated)}
        self.incarnations: dict[str, _Incarnation] = {}
        self.facts: dict[int, list[FactRow]] = defaultdict(list)
        self.facts_of: dict[str, list[FactRow]] = defaultdict(list)
        self.orders: dict[str, OrderRow] = {}
        self.client_keys: dict[tuple[str, str], str] = {}
        self.assets: dict[tuple[str, str], AssetRow] = {}
        self.templates: dict[tuple[str, str], str] = {}
        self.tasks: dict[str, TaskRow] = {}
        self.fallout: dict[tuple[str, str], FalloutRow] = {}
        self.held: dict[tuple[str, str], HeldRow] = {}
        self.waits: dict[tuple[str, str], WaitRow] = {}
        self.holds: dict[tuple[str, str], HoldRow] = {}
        """(system, cause) -> what holds it."""
        self.sealed: dict[tuple[str, str], SealedRow] = {}
        self.order_keys: dict[str, str] = {}
        self.destroyed_keys: set[str] = set()
        self.releases: list[tuple[str, dict[str, Any]]] = []
        self.on_commit: list[Callable[[str, Commit], None]] = []
        """Called with (incarnation, what it has written) at the instant of every commit."""
        self.on_fence: list[Callable[[str], None]] = []
        """Called with an incarnation at the instant in which it is fenced."""
        self._sessions: list[Session] = []

    # The way there and back.

    async def ask(self, work: Callable[[], Any], session: Session | None = None) -> Any:
        """Have the server carry something out and hear its answer.

        Raises:
            OSError: the server is down, or the connection broke; whether it was carried out is not known.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        late_s = self.weather.late_s() if self.weather.breaks() else None
        way_s = self.weather.delay_s() + (late_s or 0.0)
        loop.call_later(way_s, self._arrive, work, session, answer, context=OUTSIDE.copy())
        if late_s is not None:
            # What was sent before the break may be read by the server yet, long after its sender has given up.
            await asyncio.sleep(self.weather.delay_s())
            raise ConnectionResetError("the connection broke")
        return await answer

    def _arrive(self, work: Callable[[], Any], session: Session | None, answer: asyncio.Future[Any]) -> None:
        result: Any = None
        error: BaseException | None = None
        if not self.is_up:
            error = ConnectionRefusedError("the server is down")
        elif session is not None and not session.is_open:
            error = ConnectionResetError("the session has ended")
        else:
            try:
                result = work()
            except (Fenced, ConsumerFenced, DataRefused, NotFound, OSError) as refused:
                error = refused
        loop = asyncio.get_running_loop()
        loop.call_later(self.weather.delay_s(), _settle, answer, result, error, context=OUTSIDE.copy())

    def open_session(self, incarnation_id: str = "") -> Session:
        """A new connection."""
        session = Session(incarnation_id=incarnation_id)
        self._sessions = [each for each in self._sessions if each.is_open]
        self._sessions.append(session)
        return session

    def terminate(self, session: Session) -> None:
        """End a connection from the server's side: what is not committed on it never will be."""
        session.is_open = False
        session.staged = None
        row = self.incarnations.get(session.incarnation_id)
        if row is not None and row.locked_by is session:
            row.locked_by = None

    def cut(self, incarnation_id: str) -> None:
        """The connection of a host breaks while it is idle or waits."""
        row = self.incarnations.get(incarnation_id)
        if row is not None:
            self.terminate(row.session)

    def crash(self) -> None:
        """The server dies: open transactions are gone, everybody's connections break."""
        self.is_up = False
        for session in self._sessions:
            self.terminate(session)
        self._sessions.clear()

    def start(self) -> None:
        """The server is there again."""
        self.is_up = True

    # Transactions of hosts.

    def lock(self, session: Session, incarnation_id: str, epoch: int) -> None:
        """The first statement of a commit: check and lock the row of the incarnation."""
        row = self.incarnations[incarnation_id]
        if row.locked_by not in (None, session):
            raise TimeoutError("the row stayed locked")
        if row.epoch != epoch or row.state != "living":
            raise Fenced(f"incarnation {incarnation_id} is not the owner any more")
        row.locked_by = session

    def stage(self, session: Session, commit: Commit) -> None:
        """Write inside the transaction; nobody sees it yet."""
        try:
            self._check(commit)
        except DataRefused:
            self.roll_back(session)
            raise
        session.staged = commit

    def roll_back(self, session: Session) -> None:
        """Give up the transaction."""
        session.staged = None
        row = self.incarnations[session.incarnation_id]
        if row.locked_by is session:
            row.locked_by = None

    def commit(self, session: Session) -> None:
        """Make visible what was staged, in one instant."""
        commit, session.staged = session.staged, None
        assert commit is not None, "nothing was staged"
        try:
            self._check(commit)
        except DataRefused:
            self.roll_back(session)
            raise
        self._apply(session.incarnation_id, commit)
        self.roll_back(session)

    def _check(self, commit: Commit) -> None:
        """The constraints of the tables."""
        seen: set[tuple[int, int]] = set()
        for fact in commit.facts:
            place = (fact.shard, fact.offset)
            if place in seen or fact.offset <= len(self.facts[fact.shard]):
                raise DataRefused("an offset is written already", "23505", "fact_pkey")
            seen.add(place)
            if fact.payload is not None and POISON in fact.payload:
                raise DataRefused("a character cannot be stored", "22P05")
        for row in commit.orders_new.values():
            key = (row.tenant, row.client_key)
            if row.client_key is not None and key in self.client_keys:
                raise DataRefused("the client key exists", "23505", "product_order_client_key_key")
            if row.order_id in self.orders:
                raise DataRefused("the order exists", "23505", "product_order_pkey")
        for asset in commit.assets.values():
            known = self.assets.get((asset.tenant, asset.asset_id))
            if known is not None and known.account != asset.account:
                raise DataRefused("a product id belongs to another account", "23505", "asset_owner")

    def _apply(self, incarnation_id: str, commit: Commit) -> None:
        for template in commit.templates.values():
            self.templates.setdefault((template.tenant, template.template_id), template.body)
        for fact in commit.facts:
            self.facts[fact.shard].append(fact)
            self.facts_of[fact.order_id].append(fact)
        for order_id, order in commit.orders_new.items():
            self.orders[order_id] = order
            if order.client_key is not None:
                self.client_keys[order.tenant, order.client_key] = order_id
        for order_id, order in commit.orders_changed.items():
            if order_id in self.orders:
                self.orders[order_id] = order
        for asset in commit.assets.values():
            self.assets[asset.tenant, asset.asset_id] = asset
        for task_id, task in commit.tasks_new.items():
            self.tasks[task_id] = task
        for task_id, closed_at in commit.tasks_closed.items():
            if task_id in self.tasks:
                self.tasks[task_id] = self.tasks[task_id]._replace(closed_at=closed_at)
        for place, fallout in commit.fallout.items():
            if fallout is None:
                self.fallout.pop(place, None)
            else:
                self.fallout[place] = fallout
        for place, held in commit.held.items():
            if held is None:
                self.held.pop(place, None)
            else:
                self.held[place] = held
        for place, wait in commit.waits.items():
            if wait is None:
                self.waits.pop(place, None)
            else:
                known = self.waits.get(place)
                self.waits[place] = wait if known is None else known._replace(blocks=wait.blocks)
        for sealed in commit.sealed:
            self.sealed[sealed.order_id, sealed.name] = sealed
        for shard, holder in commit.holders.items():
            self.shards[shard].order_id = holder
        row = self.incarnations[incarnation_id]
        row.heartbeat_at = self.clock()
        for watch in self.on_commit:
            watch(incarnation_id, commit)
        for shard, to in commit.released_shards:
            if self.shards[shard].incarnation_id == incarnation_id:
                self.shards[shard].incarnation_id = to
                self.shards[shard].version += 1

    def keep_keys(self, new: Iterable[tuple[str, str]]) -> None:
        """Store keys of orders, but none that was destroyed meanwhile."""
        self.order_keys.update(each for each in new if each[0] not in self.destroyed_keys)

    def put_incarnation(self, incarnation_id: str, session: Session, dedicated_shard: int | None) -> None:
        """Register an incarnation as living."""
        now = self.clock()
        self.incarnations[incarnation_id] = _Incarnation(now, now, dedicated_shard, session)

    def raise_own_epoch(self, incarnation_id: str, session: Session) -> int:
        """Raise the epoch of a living incarnation from a new connection."""
        row = self.incarnations[incarnation_id]
        if row.state != "living":
            raise Fenced(f"incarnation {incarnation_id} is not the owner any more")
        if row.locked_by not in (None, session):
            raise TimeoutError("the row stayed locked")
        row.epoch += 1
        row.session = session
        row.heartbeat_at = self.clock()
        return row.epoch

    def fence(self, incarnation_id: str) -> bool:
        """End a living incarnation."""
        row = self.incarnations.get(incarnation_id)
        if row is None or row.state != "living":
            return False
        if row.locked_by is not None:
            raise TimeoutError("the row stayed locked")
        row.epoch += 1
        row.state = "fenced"
        for watch in self.on_fence:
            watch(incarnation_id)
        return True

    def reassign(self, wanted: Mapping[int, tuple[str | None, str]]) -> int:
        """Point shards of dead owners elsewhere."""
        moved = 0
        for shard, (old, new) in wanted.items():
            row = self.shards[shard]
            owner = self.incarnations.get(old) if old is not None else None
            if row.incarnation_id == old and not (owner is not None and owner.state == "living"):
                row.incarnation_id = new
                row.version += 1
                moved += 1
        return moved


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
        # Nobody may be left to hear it.
        answer.exception()
    else:
        answer.set_result(result)
