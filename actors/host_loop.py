"""The loop of a plan host: take a batch, decide it, commit it once, and only then let anything leave.

Plain asyncio with everything injected (journal, vault, dispatch, clock, entropy), so that the same code runs under
Ray and under a simulator. One loop owns all state; the methods that others call only put envelopes into the bounded
inbox. A tick begins at once when little is going on, and a few milliseconds after the last one when much is. It is
bounded by its envelopes and by its work: once it has enough, the rest of its batch goes back to the head of the inbox
with the commit, so envelopes keep their order and due orders wait for nothing newer.

When a commit fails there are three ways on. The database refuses the data: the tick is decided again envelope by
envelope, and the plan that still fails goes to a person (quarantine). The outcome was not heard: the own epoch is
raised first, so that the old commit is settled one way or the other; then the heads tell which. If it is stored, the
tick is finished as if it had been heard; else the touched plans are read and the same envelopes decided again. Somebody
else has raised the epoch: stop at once, write nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from actors.envelopes import (
    BookAssets,
    Due,
    Envelope,
    GiveAway,
    ImportAssets,
    Later,
    NotOwner,
    Readmit,
    Redrive,
    Submission,
    ToPlan,
    booking_envelope,
)
from actors.inbox import Inbox
from actors.loading import Loader
from actors.memory import AccountKey, Memory, account_key
from actors.ports import BookingPort, DispatchPort, JournalPort, VaultPort
from actors.price_desk import LateAnswers, PriceDesk
from actors.shredder import Shredder
from actors.tick import Tick
from actors.timers import Timers
from actors.watchdog import ROWS_A_LOOK, HostWatchdog
from domain.decide import pending_effects
from domain.errors import Busy, ClientKeyReused, InventoryConflict, OrderplanError, Unstorable
from domain.holds import HeldSystems
from domain.ids import shard_of
from domain.messages import ChangeOrder, NotJoined, Quarantine, Report, TimerFired
from domain.plan import Plan
from domain.turn import is_left_behind
from domain.watchdog import LATE_S
from persistence.erasures import Erasure
from persistence.journal import NOBODYS_FAULT, CommitUnknown, DataRefused, Fenced
from persistence.rows import Commit, OrderRow

log = structlog.get_logger(__name__)

BATCH_MAX: Final = 2_000
WORK_MAX: Final = 20_000
"""Facts, lines and items after which a tick decides nothing more: large orders must not hold the loop for seconds."""
GATHER_FROM: Final = 8
"""Envelopes of a tick after which the next one lets others come first; with fewer it begins at once."""
GATHER_ENOUGH: Final = 200
GATHER_S: Final = 0.005
"""What a tick costs whatever is in it (ways to the database, to the adapters and back) is two to three orders' worth of
work: with as many of them in each tick as come in this time it is shared by more.
"""
HEARTBEAT_S: Final = 2.0
ADOPT_PART: Final = 200
"""Plans that are read at once when shards are taken over; the loop does nothing else meanwhile."""
READ_MAX: Final = 200
"""Plans that a tick reads, and timers that it looks at: however many that left memory are asked for at once, a commit
tells the database in time that this host lives.
"""
LAG_MAX_S: Final = 1.0
"""With adapters that take longer to accept a call no new orders are taken."""
SETTLED_FAILURES_MAX: Final = 5
"""Commits of one tick that may fail although the database answers, before its envelopes are looked at one by one."""
BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Waits between attempts to reach the database; the last repeats for as long as nobody fences this host."""
POISONED_PAUSE: Final = timedelta(seconds=60)
"""How long an order rests whose timers can neither be dealt with nor given to a person."""
_OF_A_PLAN: Final = (ToPlan, Due, Redrive, Readmit)
_TICK_MIN: Final = timedelta(milliseconds=1)
_UNAVAILABLE: Final = (CommitUnknown, OSError, TimeoutError)


class HostLoop:
    """The plan actors of a set of shards: one owner of their state, one commit per tick."""

    def __init__(
        self,
        journal: JournalPort,
        vault: VaultPort,
        dispatch: DispatchPort,
        bookings: BookingPort,
        *,
        clock: Callable[[], datetime],
        entropy: Callable[[], int],
        is_unavailable: Callable[[BaseException], bool] = lambda error: isinstance(error, _UNAVAILABLE),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tenants: Sequence[str] = ("main",),
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._dispatch = dispatch
        self._bookings = bookings
        self._clock = clock
        self._entropy = entropy
        self._is_unavailable = is_unavailable
        self._sleep = sleep
        self._tenants = tenants
        self.memory = Memory(
            journal, lambda shard: shard in self.heads, lambda: asyncio.get_running_loop().time()
        )
        self._loader = Loader(self.memory, journal, is_unavailable)
        self.heads: dict[int, int] = {}
        """Last offset of each owned shard; a shard that is not here is not ours."""
        self._holders: dict[int, str | None] = {}
        """The dedicated shards among them, each with the open order that has it for itself."""
        self._taken_at: dict[int, datetime] = {}
        """When each owned shard was taken over: before that an answer may have found nobody."""
        self._rows: dict[str, OrderRow] = {}
        self._timers = Timers()
        self.watchdog = HostWatchdog(self.memory, self._loader.unreadable, dispatch.knows, self._timers.of)
        self._unwatched: dict[str, None] = {}
        """Orders of failed ticks whose timers are still to be read again."""
        self._between: list[tuple[Callable[[], Awaitable[None]], asyncio.Future[None]]] = []
        self._inbox = Inbox(lambda: asyncio.get_running_loop().time())
        self._deciding: list[Envelope] = []
        """The batch of the tick under way: what was taken out of the inbox and is not answered yet."""
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._sequence = 0
        self._last_at: datetime | None = None
        self._shredder = Shredder(vault.destroy, is_unavailable=is_unavailable, sleep=sleep)
        self.prices = PriceDesk(self._take_back, self._refuse_asked)
        self.late = LateAnswers()
        self.held: Mapping[str, HeldSystems] = {}
        """Tenant -> its systems that take no calls, as this host has last heard. One that it has not heard of in time
        costs a way to the adapters and back, no more.
        """
        self.is_fenced = False
        self.ticks = 0
        self.commits = 0
        self.facts = 0

    # What others call: put something in, and perhaps wait for the answer.

    def put(self, envelope: Envelope) -> None:
        """Put one envelope into the inbox.

        Raises:
            Busy: the inbox is full.
            NotOwner: this host is fenced or stopping.
        """
        if self.is_fenced or self._is_stopping:
            raise NotOwner(f"host {self._journal.incarnation_id} has stopped")
        if isinstance(envelope, Submission) and self._dispatch.lag_s() > LAG_MAX_S:
            # Accepted, its calls would only queue up before systems that are asked as fast as can be already.
            raise Busy("too many calls are waiting", retryAfterS=1)
        self._inbox.put(envelope)
        if isinstance(envelope, ToPlan) and isinstance(envelope.message, Report):
            # From here on it is decided, by this host or by its successor: sent once more now, the call could be done
            # after the plan has been told that it was refused. Not so a report for which the inbox has no room.
            self._dispatch.settled(envelope.order_id, envelope.message.item, envelope.message.attempt)
        self._wake.set()

    async def ask(self, envelopes: Sequence[Envelope], *, is_patient: bool = True) -> list[Any]:
        """Put envelopes in and wait for their answers; an `OrderplanError` stands for a refusal, in its place, and for
        one who is not patient a `Later` for an answer that takes longer.
        """
        loop = asyncio.get_running_loop()
        answers: list[Any] = []
        for envelope in envelopes:
            envelope.reply = loop.create_future()
            try:
                self.put(envelope)
            except OrderplanError as error:
                envelope.reply.set_result(error)
            answers.append(envelope.reply)
        given = [await each for each in answers]
        return [await self.late.get(each.token) if is_patient and isinstance(each, Later) else each for each in given]

    def stop(self) -> None:
        """Finish what is in the inbox, then return from `run`."""
        self._is_stopping = True
        self._wake.set()

    # Shards.

    async def adopt(self, shards: Iterable[int]) -> None:
        """Take over shards whose last owner's epoch has been raised: read heads, activate what has something to do.

        Done between two ticks: a tick under way knows nothing of the new shards.
        """
        wanted = list(shards)
        await self._do_between(lambda: self._adopt(wanted))

    async def _do_between(self, work: Callable[[], Awaitable[None]]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._between.append((work, done))
        self._wake.set()
        await done

    async def _adopt(self, shards: list[int]) -> None:
        # Asked again here, between two ticks: a shard given away since then must not be taken up.
        owned = await self._journal.owned_shards()
        new = [shard for shard in shards if shard not in self.heads and shard in owned]
        if not new:
            return
        for tenant in self._tenants:
            await self._vault.load_tenant(tenant)
            await self.memory.folder.refresh_releases(tenant, self._clock())
        heads = await self._journal.heads(new)
        unfinished = await self._journal.unfinished(new)
        unshredded = await self._journal.unshredded(new)
        recent = await self._journal.recent(new)
        # What only waits for its time is read when it has come, so a takeover costs no more for however many of them.
        for order_id, at in unfinished.timers:
            self._timers.set(order_id, at)
        await self._take_up(unfinished.active)
        now = self._clock()
        self.heads.update(heads)
        self._taken_at.update(dict.fromkeys(heads, now))
        self._holders.update({shard: owned[shard].order_id for shard in new if owned[shard].is_dedicated})
        self._shredder.add(unshredded)
        self.watchdog.note(recent)
        log.info(
            "shards adopted", shards=len(new), plans=len(unfinished.active), timers=len(unfinished.timers)
        )

    async def erase(self, shard: int, erasure: Erasure) -> None:
        """Erase an account of the shard: in the database, and in memory, so that nothing of it comes back.

        Done between two ticks: nothing is decided on what it has, and nothing of it on the way to the database.

        Raises:
            NotOwner: the shard is not this host's.
            ErasureOutdated: the account has something else by now.
            Busy: whether it was stored was not heard.
        """
        if self.is_fenced or self._is_stopping:
            raise NotOwner(f"host {self._journal.incarnation_id} has stopped")
        await self._do_between(lambda: self._erase(shard, erasure))

    async def _erase(self, shard: int, erasure: Erasure) -> None:
        if shard not in self.heads:
            raise NotOwner("the shard belongs to another host")
        try:
            await self._journal.erase(erasure, self._vault.destroy_secrets, self._clock())
        except Fenced as error:
            # The next tick hears of it as well, and ends the process.
            raise NotOwner(f"host {self._journal.incarnation_id} was replaced") from error
        except Exception as error:
            if not self._is_unavailable(error):
                raise
            log.warning("an erasure was not heard", error=_safe(error))
            await self._settle_own_epoch(0)
            raise Busy("nobody has heard whether it is erased", mend="ask again", retryAfterS=1) from error
        finally:
            # Whatever came of it: what is there still is read again.
            self.memory.forget(erasure.order_ids, [(erasure.tenant, erasure.account)])
            for order_id in erasure.order_ids:
                self._rows.pop(order_id, None)

    async def _take_up(self, order_ids: list[str]) -> None:
        """Read plans that wait for somebody else, and ask him again, part by part: the first call goes out at once,
        however many plans there are. Before each part goes the proof that this host has not been fenced meanwhile,
        which also lets the database hear of it: a silent one would be.
        """
        left_behind: dict[str, None] = {}
        for start in range(0, len(order_ids), ADOPT_PART):
            part = order_ids[start : start + ADOPT_PART]
            await self._loader.each(part)
            await self._beat()
            # Of now: reading all of them may take as long as a call has.
            now = self._clock()
            for order_id in part:
                plan = self.memory.plans.get(order_id)
                if plan is None:
                    continue
                self._watch(order_id)
                if self._ask_again(plan, now) and any(is_left_behind(item, now) for item in plan.items):
                    left_behind[order_id] = None
        # As if their timers had fired: that makes these calls again, with a time of their own.
        self._inbox.put_first([Due(order_id) for order_id in left_behind])
        self._unwatched.update(left_behind)

    def _ask_again(self, plan: Plan, now: datetime) -> bool:
        """Send what a plan of a shard that was taken over at `now` waits for; False: it cannot be told."""
        try:
            calls = [call for call in pending_effects(plan, now) if not is_left_behind(plan.by_key[call.item], now)]
            bookings = [booking_envelope(plan, each) for each in plan.bookings.values()]
        except Exception as error:
            # One plan must not keep all shards from having an owner. With its timers it may yet go on.
            self._loader.unreadable[plan.order_id] = f"what it waits for cannot be asked for again: {_safe(error)}"
            log.exception("the calls of a plan cannot be made again; it stands still", order_id=plan.order_id)
            return False
        self._dispatch.send(calls)
        self._bookings.send(bookings)
        return True

    async def _beat(self) -> None:
        """Commit nothing, which tells the database that this host lives."""
        try:
            await self._journal.commit(Commit())
        except Exception as error:
            if isinstance(error, Fenced) or not self._is_unavailable(error):
                raise
            await self._settle_own_epoch(0)

    # The loop.

    async def run(self) -> None:
        """Run until stopped or fenced.

        Raises:
            Fenced: another incarnation has taken over; the process must end.
        """
        while True:
            await self._wait()
            if self._between:
                await self._run_between()
                continue
            self._look()
            batch = self._take()
            if self._is_stopping and not batch:
                self._refuse_priced()
                await self.prices.ended()
                return
            try:
                await self._tick(batch)
            except Fenced:
                self._fall(batch)
                raise
            if len(batch) >= GATHER_FROM and len(self._inbox) < GATHER_ENOUGH and not self._is_stopping:
                await self._sleep(GATHER_S)

    async def _run_between(self) -> None:
        """Do what has to happen between two ticks; its failure is its caller's, not the loop's."""
        asked, self._between = self._between, []
        for work, done in asked:
            try:
                await work()
            except Exception as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(None)

    async def _wait(self) -> None:
        """Return when there is something to do: an envelope, a due timer, or time for a heartbeat."""
        if self._inbox or self._between or self._is_stopping:
            return
        timeout = HEARTBEAT_S
        earliest = self._timers.earliest()
        if earliest is not None:
            timeout = min(timeout, max(0.0, (earliest - self._clock()).total_seconds()))
        self._wake.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return

    def _look(self) -> None:
        """Let the watchdog look at some plans; what it has found comes before what waits, as it was found."""
        now = self._clock()
        if not self._is_stopping and self.watchdog.is_due(now):
            answered = _answered(self._inbox)
            self._inbox.put_first(
                self.watchdog.look(
                    now, self.lag(), self.heads.__contains__, self._unwatched, lambda *call: call in answered
                )
            )

    async def sweep(self) -> None:
        """Ask the database for orders that should be on their way, some shards at a time; the next looks read them."""
        shards, after = self.watchdog.page(self.heads)
        if shards:
            before = self._clock() - timedelta(seconds=LATE_S)
            self.watchdog.take_page(await self._journal.watched(shards, before, after, ROWS_A_LOOK))

    def _take(self) -> list[Envelope]:
        batch, orders = self._inbox.take(BATCH_MAX)
        batch = self._readable(batch)
        # Those that a full tick left are in the inbox still: however many come due at once, so many wait there at most.
        due = self._timers.take_due(self._clock(), min(READ_MAX, BATCH_MAX - len(self._unwatched)))
        # Until their tick is stored: whatever fails, the timers are set again.
        self._unwatched.update(dict.fromkeys(due))
        return [*batch, *(Due(order_id) for order_id in due), *orders]

    def _readable(self, batch: list[Envelope]) -> list[Envelope]:
        """The head of a batch for which not too many plans have to be read; the rest waits for the next tick."""
        unread: set[str] = set()
        for index, envelope in enumerate(batch):
            if isinstance(envelope, _OF_A_PLAN) and envelope.order_id not in self.memory.plans:
                unread.add(envelope.order_id)
                if len(unread) > READ_MAX:
                    self._inbox.put_first(batch[index:])
                    return batch[:index]
        return batch

    def _fall(self, batch: list[Envelope]) -> None:
        """Fenced: answer nobody with success, remember nothing."""
        self.is_fenced = True
        self._shredder.stop()
        self._journal.abandon()
        for envelope in [*batch, *self._inbox]:
            _answer(envelope, NotOwner(f"host {self._journal.incarnation_id} was replaced"))
        self._inbox.clear()
        self._refuse_priced()
        self.heads.clear()

    def _take_back(self, envelopes: list[Envelope]) -> None:
        """Decide what waited for price functions before what came after it."""
        self._inbox.put_back(envelopes)
        self._wake.set()

    def _refuse_asked(self, envelope: Envelope, error: OrderplanError) -> None:
        """Price functions give no answers; a change that the product itself wants has nobody else who hears of it."""
        change = envelope.message if isinstance(envelope, ToPlan) else None
        if isinstance(envelope, ToPlan) and isinstance(change, ChangeOrder) and change.kind == "rejoin":
            self._take_back([ToPlan(envelope.order_id, NotJoined(change.awaits, error.reason))])
        else:
            _answer(envelope, error)

    def _refuse_priced(self) -> None:
        """Let go of what waits for price functions; whoever sent it finds the next owner."""
        for envelope in self.prices.stop():
            _answer(envelope, NotOwner(f"host {self._journal.incarnation_id} has stopped"))

    async def _tick(self, batch: list[Envelope]) -> None:
        """Decide and commit a batch; returns when it is stored (or answered with its refusals)."""
        self.ticks += 1
        self._deciding = batch
        attempt = failures = 0
        while True:
            try:
                await self._once(batch)
                return
            except Fenced:
                raise
            except DataRefused as error:
                log.warning("commit refused for its data", sqlstate=error.sqlstate, constraint=error.constraint)
                if error.constraint == "fact_pkey" and attempt < SETTLED_FAILURES_MAX:
                    # Somebody else wrote at our offsets: not the data's fault. See what is ours.
                    if await self._settle_own_epoch(attempt):
                        return
                    attempt += 1
                    continue
                break
            except Exception as error:
                if not self._is_unavailable(error):
                    log.exception("a message could not be decided")
                    break
                log.warning("commit not heard", error=_safe(error), attempt=attempt)
                if await self._settle_own_epoch(attempt):
                    return
                attempt += 1
                failures += not _is_nobodys_fault(error)
                if failures >= SETTLED_FAILURES_MAX:
                    # The database answers, yet refuses this commit every time: find out whose fault it is.
                    break
        await self._recover()
        for envelope in batch:
            if isinstance(envelope, Due):
                await self._ensure_loaded(envelope.order_id)
            for each in self._expand(envelope, self._clock()):
                await self._alone(each)

    async def _alone(self, envelope: Envelope) -> None:
        """Decide one envelope in a commit of its own; one that still fails is quarantined or refused."""
        attempt = failures = 0
        while True:
            try:
                await self._once([envelope])
                return
            except Fenced:
                raise
            except Exception as error:
                is_away = self._is_unavailable(error) and not isinstance(error, DataRefused)
                if is_away and failures < SETTLED_FAILURES_MAX:
                    if await self._settle_own_epoch(attempt):
                        return
                    attempt += 1
                    failures += not _is_nobodys_fault(error)
                    continue
                await self._recover()
                await self._poisoned(envelope, error)
                return

    async def _ensure_loaded(self, order_id: str) -> None:
        while True:
            try:
                await self._loader.each([order_id])
                return
            except Exception as error:
                if not self._is_unavailable(error):
                    raise
                await self._settle_own_epoch(0)

    async def _poisoned(self, envelope: Envelope, error: Exception) -> None:
        log.error("message quarantined", envelope=type(envelope).__name__, error=type(error).__name__)
        is_data = isinstance(error, DataRefused)
        if isinstance(error, DataRefused) and error.constraint == "product_order_client_key_key":
            _answer(envelope, ClientKeyReused("the client key already names an order of another account"))
            return
        if isinstance(error, DataRefused) and error.constraint == "asset_owner":
            _answer(envelope, InventoryConflict("a product id belongs to another account", mend="use another id"))
            return
        reason = "a value cannot be stored" if is_data else f"the message could not be decided: {type(error).__name__}"
        _answer(envelope, Unstorable(reason))
        # A person's request is refused, no more; what systems and clocks say would come again and again.
        if isinstance(envelope, ToPlan) and isinstance(envelope.message, Report | TimerFired):
            await self._alone(ToPlan(envelope.order_id, Quarantine(reason, envelope.message.item)))
        elif isinstance(envelope, ToPlan) and isinstance(envelope.message, Quarantine):
            # Not even that: its timers have been set again, and one that has passed would come due at once, for ever.
            due = self._timers.of(envelope.order_id)
            if due is not None:
                self._timers.set(envelope.order_id, max(due, self._clock() + POISONED_PAUSE))

    async def _once(self, batch: list[Envelope]) -> None:
        mine, foreign = self._sort(batch)
        for envelope in foreign:
            _answer(envelope, NotOwner("the shard belongs to another host"))
            if isinstance(envelope, Due):
                self._unwatched.pop(envelope.order_id, None)
        mine = await self._read_anew(mine)
        known = await self._loader.batch(mine)
        imports = await self._loader.known_imports(mine)
        bookings = await self._loader.known_bookings(mine)
        tick = Tick(
            memory=self.memory,
            heads=dict(self.heads),
            rows=self._rows,
            known_keys=known,
            imports=imports,
            protector=self._vault,
            digest=self._vault.digest,
            now=self._now(),
            entropy=self._entropy,
            sequence=self._sequence,
            holders=dict(self._holders),
            taken_at=self._taken_at,
            known_bookings=bookings,
            related_waits=await self._loader.related_waits(mine),
            knows_call=self._call_test(mine),
            held=self.held,
            unreadable=self._loader.unreadable,
            asking=set(self.prices.waiting),
        )
        self._doubtful = tick
        tick.decide(self._portion(tick, mine))
        self._sequence = tick.sequence
        tick.commit.sealed = [
            row._replace(tenant=self.memory.plans[row.order_id].order.tenant)
            for row in self._vault.take_sealed()
            if row.order_id in tick.touched
        ]
        self._vault.drop_new_keys(tick.keeps_keys_of)
        await self._vault.store_keys()
        # An import is over with its tick: nothing must be encrypted with a secret that may be destroyed meanwhile.
        self._vault.forget(tick.imported)
        await self._journal.commit(tick.commit)
        self._committed(tick)

    async def _read_anew(self, batch: list[Envelope]) -> list[Envelope]:
        """Read the plans that the watchdog names: what memory says of one that is stuck is in doubt, the journal
        decides. Returns the batch without those that cannot be read.
        """
        looks = {each.order_id: each for each in batch if isinstance(each, Redrive)}
        for order_id, each in looks.items():
            if each.found and (plan := self.memory.plans.get(order_id)) is not None:
                self.memory.forget([order_id], [account_key(plan)])
        if not looks:
            return batch
        await self._loader.each(list(looks))
        unreadable = self._loader.unreadable
        return [each for each in batch if not (isinstance(each, Redrive) and each.order_id in unreadable)]

    def _call_test(self, batch: list[Envelope]) -> Callable[[str, str, int], bool]:
        """Tells for a tick whether a call is on its way, or its result here; asked only where the watchdog looks."""
        if not any(isinstance(each, Redrive) for each in batch):
            return lambda _order_id, _item, _attempt: True
        answered = _answered([*self._deciding, *self._inbox])
        return lambda *call: call in answered or self._dispatch.knows(*call)

    _doubtful: Tick | None = None
    """The tick whose commit is under way: what it touched is forgotten if it fails."""

    def _now(self) -> datetime:
        """The time of a tick, at least a millisecond after the last one: ids and admissions keep their order."""
        now = self._clock()
        if self._last_at is not None:
            now = max(now, self._last_at + _TICK_MIN)
        self._last_at = now
        return now

    def _sort(self, batch: list[Envelope]) -> tuple[list[Envelope], list[Envelope]]:
        mine: list[Envelope] = []
        foreign: list[Envelope] = []
        for envelope in batch:
            # What comes most is looked for first.
            match envelope:
                case ToPlan() | Due() | Redrive() | Readmit():
                    is_mine = shard_of(envelope.order_id) in self.heads
                case Submission() | ImportAssets() | BookAssets():
                    is_mine = envelope.shard in self.heads
                case GiveAway():
                    is_mine = all(shard in self.heads for shard in envelope.shards)
                case _:
                    is_mine = True
            (mine if is_mine else foreign).append(envelope)
        return mine, foreign

    def _portion(self, tick: Tick, batch: list[Envelope]) -> Iterable[Envelope]:
        """The batch as messages, from its head until the tick has work enough; it keeps the rest.

        Made while the tick decides: an order that comes due twice has no due timer left the second time.
        """
        now = self._clock()
        for index, envelope in enumerate(batch):
            if tick.work >= WORK_MAX:
                tick.left = batch[index:]
                return
            if isinstance(envelope, Due):
                tick.due.append(envelope.order_id)
                yield from self._expand(envelope, now)
            else:
                yield envelope

    def _expand(self, envelope: Envelope, now: datetime) -> Iterable[Envelope]:
        """A due order as one message per due timer."""
        if not isinstance(envelope, Due):
            yield envelope
            return
        plan = self.memory.plans.get(envelope.order_id)
        if plan is None or plan.ended_at is not None:
            return
        since = self._taken_at.get(shard_of(envelope.order_id))
        running = ((at, plan.items[index]) for at, index in plan.timers)
        fired = [item for at, item in running if item.timer_at == at and (at <= now or is_left_behind(item, since))]
        for item in fired:
            yield ToPlan(envelope.order_id, TimerFired(item.key))

    def _committed(self, tick: Tick) -> None:
        """Everything is stored: remember it, answer, send."""
        self._doubtful = None
        self.commits += 1
        self.facts += len(tick.commit.facts)
        self.heads = tick.heads
        self._holders = tick.holders
        # Before what has arrived since; beyond the bound of the inbox by a batch and its due orders at most.
        self._inbox.put_back(tick.left)
        self._rows.update(tick.commit.orders_new)
        self._rows.update(tick.commit.orders_changed)
        self.memory.folder.stored_templates.update(
            (row.tenant, row.template_id) for row in tick.commit.templates.values()
        )
        for settled in tick.settled:
            self._dispatch.settled(*settled)
        for envelope, answer in tick.replies:
            _answer(envelope, answer)
        for asked in tick.asked:
            self.late.put_off(asked.envelope)
        self.prices.take(tick.asked)
        self._dispatch.send([*tick.calls.values()])
        self._bookings.send(tick.bookings)
        for order_id in tick.due:
            self._unwatched.pop(order_id, None)
        for order_id in dict.fromkeys([*tick.touched, *tick.due]):
            self._watch(order_id)
        # What was written goes on, whatever kept it from that when it was taken up.
        self._loader.forget_unreadable(tick.touched)
        self.watchdog.mended(tick.redriven)
        self.watchdog.note(self._to_look_at(tick))
        left = self.memory.trim(tick.touched, tick.accounts)
        for order_id in left:
            self._rows.pop(order_id, None)
        self._vault.forget(left)
        if tick.commit.released_shards:
            self._let_go({shard for shard, _ in tick.commit.released_shards})
        if tick.ended_with_secrets:
            self._shredder.add(tick.ended_with_secrets)

    def _to_look_at(self, tick: Tick) -> Iterable[str]:
        """Open orders that a tick has touched, and those that may have waited for one that it has ended; each once,
        however many orders of an account end together.
        """
        told: dict[AccountKey, None] = {}
        for order_id in tick.touched:
            plan = self.memory.plans.get(order_id)
            if plan is None:
                continue
            if plan.ended_at is None:
                yield order_id
                continue
            self.watchdog.ended(order_id)
            told[account_key(plan)] = None
        for key in told:
            if (account := self.memory.accounts.get(key)) is not None:
                yield from (order_id for order_id in account.open_orders if order_id not in tick.touched)

    def _watch(self, order_id: str) -> None:
        plan = self.memory.plans.get(order_id)
        timer = plan.next_timer() if plan is not None and plan.ended_at is None else None
        self._timers.set(order_id, timer[0] if timer is not None else None)

    def _let_go(self, shards: set[int]) -> None:
        gone = [order_id for order_id in self.memory.plans if shard_of(order_id) in shards]
        self.memory.forget(gone, [account_key(self.memory.plans[order_id]) for order_id in gone])
        self._vault.forget(gone)
        for shard in shards:
            self.heads.pop(shard, None)
            self._holders.pop(shard, None)
            self._taken_at.pop(shard, None)
        self._bookings.forget(lambda order_id: shard_of(order_id) not in shards)
        # Another owner changes the rows from now on: should the shard come back, what they say is not known here.
        for order_id in [order_id for order_id in self._rows if shard_of(order_id) in shards]:
            del self._rows[order_id]
        self._timers.drop(lambda order_id: shard_of(order_id) in shards)
        self.watchdog.forget(lambda order_id: shard_of(order_id) in shards)
        self._loader.forget_unreadable([each for each in self._loader.unreadable if shard_of(each) in shards])
        self.memory.forget_accounts()

    # After a commit that failed.

    async def _settle_own_epoch(self, attempt: int) -> bool:
        """Settle an unheard commit: raise the own epoch, then read what became of it.

        True when the commit turns out to be stored: the tick is finished, answered and sent, as if it had been heard.
        False when its envelopes have to be decided again.
        """
        while True:
            await self._sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
            attempt += 1
            try:
                await self._journal.raise_epoch()
                owned = await self._journal.owned_shards()
                heads = await self._journal.heads(list(self.heads))
                tick = self._doubtful
                if tick is not None and _is_stored(tick, heads, owned):
                    log.info("the unheard commit is stored", facts=len(tick.commit.facts))
                    self._committed(tick)
                    return True
                await self._forget_doubtful()
            except Fenced:
                raise
            except Exception as error:
                if not self._is_unavailable(error):
                    raise
                log.warning("the database is away", error=_safe(error), attempt=attempt)
                continue
            self.heads = heads
            # Given away by a commit that nobody heard: nothing that is decided again may be written there.
            self._let_go({shard for shard in heads if shard not in owned})
            return False

    async def _recover(self) -> None:
        """After a commit that is known not to be stored: forget what it touched, and read the heads again."""
        try:
            await self._forget_doubtful()
            self.heads = await self._journal.heads(list(self.heads))
        except Exception as error:
            if not self._is_unavailable(error):
                raise
            await self._settle_own_epoch(0)

    async def _forget_doubtful(self) -> None:
        """Read again what a failed tick touched: its plans in memory are ahead of the journal."""
        tick, self._doubtful = self._doubtful, None
        self._vault.take_sealed()
        if tick is not None:
            touched = [plan for order_id in tick.touched if (plan := self.memory.plans.get(order_id)) is not None]
            # With their accounts, changed or not: one must not stay with an order whose plan cannot be read again.
            self.memory.forget(tick.touched, [*tick.accounts, *map(account_key, touched)])
            for order_id in tick.touched:
                self._rows.pop(order_id, None)
            self._unwatched.update(tick.touched)
        # Whatever failed, the timers of what it touched must not be lost with it.
        await self._loader.each(list(self._unwatched))
        for order_id in self._unwatched:
            self._watch(order_id)
        # Those whose turn has yet to come are still on their way to it: the watchdog would find them lost.
        waiting = {each.order_id for each in self._inbox if isinstance(each, Due)}
        self._unwatched = {order_id: None for order_id in self._unwatched if order_id in waiting}

    async def refresh_releases(self) -> None:
        """Learn which releases new orders take, now and later."""
        for tenant in self._tenants:
            await self.memory.folder.refresh_releases(tenant, self._clock())

    def unreadable(self) -> Mapping[str, str]:
        """Orders that stand still because their plans, or the calls that they wait for, cannot be read; and why."""
        return self._loader.unreadable

    def lag(self) -> timedelta:
        """How late the earliest due timer is; zero when none is due."""
        earliest = self._timers.earliest()
        return max(timedelta(0), self._clock() - earliest) if earliest is not None else timedelta(0)


def _safe(error: BaseException) -> str:
    """An error for the log: what a server says of a value may quote it."""
    return error.reason if isinstance(error, OrderplanError) else type(error).__name__


def _is_nobodys_fault(error: BaseException) -> bool:
    """Whether the server says that it could take nothing from anybody."""
    return str(getattr(error, "sqlstate", None) or "").startswith(NOBODYS_FAULT)


def _is_stored(tick: Tick, heads: Mapping[int, int], owned: Iterable[int]) -> bool:
    """Whether a commit whose answer was not heard is in the database; one that writes nothing is decided again."""
    if tick.commit.facts:
        return all(heads.get(row.shard) == tick.heads[row.shard] for row in tick.commit.facts)
    given = {shard for shard, _ in tick.commit.released_shards}
    return bool(given) and given.isdisjoint(owned)


def _answered(envelopes: Iterable[Envelope]) -> set[tuple[str, str, int]]:
    """Calls whose results are among the envelopes."""
    return {
        (each.order_id, each.message.item, each.message.attempt)
        for each in envelopes
        if isinstance(each, ToPlan) and isinstance(each.message, Report)
    }


def _answer(envelope: Envelope, answer: Any) -> None:
    if envelope.reply is not None and not envelope.reply.done():
        envelope.reply.set_result(answer)
