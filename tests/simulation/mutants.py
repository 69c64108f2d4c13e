"""The product, broken on purpose: each of these has to be caught, else the simulator proves nothing.

A mutant patches one thing, in the product or in the twin that stands for a statement of its SQL, for as long as it is
applied. `first_seeds.json` names for each the seed that catches it first, so that a hunt need not begin at zero every
time; if a change moves that, the hunt goes through the seeds again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import actors.deliveries
import actors.host_loop
import actors.tick
import domain.change
import domain.change_refusals
import domain.decide
import domain.evolve
import domain.evolve_change
import domain.facts
import domain.line_changes
import domain.turn
from actors.bookings import Bookings
from actors.dispatcher import Dispatcher, _Open
from actors.folding import PlanFolder
from actors.host_loop import HostLoop
from actors.loading import Loader
from actors.memory import Memory
from actors.order_standings import OrderStandings
from actors.resumer import Resumer
from actors.shredder import Shredder
from actors.tick import Tick
from actors.timers import Timers
from domain.compensate import Compensations
from domain.inventory import Account, Projection
from domain.items import ItemRun
from domain.revise import ItemOutcome, _Reviser
from domain.states import ItemState
from domain.turn import Turn
from persistence.hub import Delivery, Outcome
from persistence.journal import DataRefused, Fenced
from persistence.rows import Unfinished
from tests.simulation.database import MemoryDatabase
from tests.simulation.hub import HubTables, ListenerRow, MemoryOutbox
from tests.simulation.runs import run_script
from tests.simulation.twins import MemoryJournal, MemoryOwnership, MemoryVault
from tests.simulation.world import script_of

SEEDS_MAX: Final = 2_000
FIRST: Final = Path(__file__).with_name("first_seeds.json")
Patch = pytest.MonkeyPatch
MUTANTS: dict[str, Callable[[Patch], None]] = {}


def _mutant(function: Callable[[Patch], None]) -> Callable[[Patch], None]:
    MUTANTS[function.__name__.lstrip("_")] = function
    return function


def _before_commits(patch: Patch, early: Callable[[HostLoop], None]) -> None:
    """Let something happen with each tick just before its commit."""
    made = HostLoop.__init__

    def init(self: HostLoop, journal: Any, *args: Any, **members: Any) -> None:
        made(self, journal, *args, **members)
        stored = journal.commit

        async def commit(each: Any) -> None:
            if self._doubtful is not None:
                early(self)
            await stored(each)

        journal.commit = commit

    patch.setattr(HostLoop, "__init__", init)


# Commits and what follows them.


@_mutant
def effects_before_commit(patch: Patch) -> None:
    _before_commits(patch, lambda loop: loop._dispatch.send([*loop._doubtful.calls.values()] if loop._doubtful else []))


@_mutant
def answers_before_commit(patch: Patch) -> None:
    def answer_all(loop: HostLoop) -> None:
        for envelope, answer in loop._doubtful.replies if loop._doubtful else ():
            actors.host_loop._answer(envelope, answer)

    _before_commits(patch, answer_all)


@_mutant
def an_unheard_commit_counts_as_stored(patch: Patch) -> None:
    patch.setattr(actors.host_loop, "_is_stored", lambda *_: True)


@_mutant
def plans_of_a_failed_commit_stay_in_memory(patch: Patch) -> None:
    patch.setattr(Memory, "forget", lambda *_: None)


@_mutant
def heads_of_a_failed_commit_stay_in_memory(patch: Patch) -> None:
    decided = Tick.decide

    def decide(self: Tick, envelopes: Any) -> None:
        decided(self, envelopes)
        for loop in _LOOPS:
            if loop.memory is self.memory:
                loop.heads = self.heads

    _remember_loops(patch)
    patch.setattr(Tick, "decide", decide)

    async def recover(self: HostLoop) -> None:
        await self._forget_doubtful()

    patch.setattr(HostLoop, "_recover", recover)


_LOOPS: list[HostLoop] = []


def _remember_loops(patch: Patch) -> None:
    made = HostLoop.__init__

    def init(self: HostLoop, *args: Any, **members: Any) -> None:
        made(self, *args, **members)
        del _LOOPS[:-20]
        _LOOPS.append(self)

    patch.setattr(HostLoop, "__init__", init)


@_mutant
def a_refused_commit_is_tried_for_ever(patch: Patch) -> None:
    """One poisoned plan keeps its whole tick from being stored."""

    async def tick(self: HostLoop, batch: Any) -> None:
        while True:
            try:
                await self._once(batch)
                return
            except DataRefused:
                await self._recover()

    patch.setattr(HostLoop, "_tick", tick)


@_mutant
def a_refused_tick_is_dropped(patch: Patch) -> None:
    """The poisoned tick's envelopes are forgotten, and so are the timers that made some of them."""

    async def alone(self: HostLoop, envelope: Any) -> None:
        return

    async def recover(self: HostLoop) -> None:
        self._doubtful = None

    patch.setattr(HostLoop, "_alone", alone)
    patch.setattr(HostLoop, "_recover", recover)


@_mutant
def a_lost_wake_up(patch: Patch) -> None:
    """Whoever puts calls in while others are open believes that the sender is awake."""
    taken = Dispatcher.send

    def send(self: Dispatcher, calls: Any) -> None:
        if not self._open:
            taken(self, calls)
            return
        for call in calls:
            key = (call.order_id, call.item, call.attempt)
            self._open[key] = _Open(call)
            self._unsent[key] = None

    patch.setattr(Dispatcher, "send", send)


@_mutant
def due_timers_are_not_set_again(patch: Patch) -> None:
    taken = Timers.take_due

    def take_due(self: Timers, now: Any, count_max: int) -> list[str]:
        # All that are due are taken off, one of them is worked on.
        return taken(self, now, count_max)[:1]

    patch.setattr(Timers, "take_due", take_due)


# Ownership.


@_mutant
def no_epoch_is_checked(patch: Patch) -> None:
    def lock(self: MemoryDatabase, session: Any, incarnation_id: str, epoch: int) -> None:
        self.incarnations[incarnation_id].locked_by = session

    patch.setattr(MemoryDatabase, "lock", lock)


@_mutant
def a_fenced_host_goes_on_writing(patch: Patch) -> None:
    """A commit checks the epoch but not the state, and a takeover changes the state but not the epoch."""

    def lock(self: MemoryDatabase, session: Any, incarnation_id: str, epoch: int) -> None:
        row = self.incarnations[incarnation_id]
        if row.locked_by not in (None, session):
            raise TimeoutError("the row stayed locked")
        if row.epoch != epoch:
            raise Fenced(f"incarnation {incarnation_id} is not the owner any more")
        row.locked_by = session

    fenced = MemoryDatabase.fence

    def fence(self: MemoryDatabase, incarnation_id: str) -> bool:
        is_done = fenced(self, incarnation_id)
        if is_done:
            self.incarnations[incarnation_id].epoch -= 1
        return is_done

    patch.setattr(MemoryDatabase, "lock", lock)
    patch.setattr(MemoryDatabase, "fence", fence)


@_mutant
def a_takeover_leaves_the_old_connection(patch: Patch) -> None:
    """Neither is the old backend ended nor is its row's lock waited for."""
    fenced = MemoryDatabase.fence

    def fence(self: MemoryDatabase, incarnation_id: str) -> bool:
        row = self.incarnations.get(incarnation_id)
        if row is not None:
            row.locked_by = None
        return fenced(self, incarnation_id)

    patch.setattr("tests.simulation.twins._terminate", lambda *_: None)
    patch.setattr(MemoryDatabase, "fence", fence)


@_mutant
def shards_move_under_a_living_owner(patch: Patch) -> None:
    async def fence(self: MemoryOwnership, incarnation_id: str) -> bool:
        return True

    def reassign(self: MemoryDatabase, wanted: Any) -> int:
        for shard, (_, new) in wanted.items():
            self.shards[shard].incarnation_id = new
        return len(wanted)

    patch.setattr(MemoryOwnership, "fence", fence)
    patch.setattr(MemoryDatabase, "reassign", reassign)


@_mutant
def heads_are_read_before_the_epoch_is_raised(patch: Patch) -> None:
    """The second fence, the key of the facts, is taken away too: it would set this right."""
    checked = MemoryDatabase._check

    def check(self: MemoryDatabase, commit: Any) -> None:
        try:
            checked(self, commit)
        except DataRefused as error:
            if error.constraint != "fact_pkey":
                raise

    patch.setattr(MemoryDatabase, "_check", check)
    raised, read = MemoryJournal.raise_epoch, MemoryJournal.heads

    async def raise_epoch(self: MemoryJournal) -> None:
        owned = [shard for shard, row in self._database.shards.items() if row.incarnation_id == self.incarnation_id]
        early = await read(self, owned)
        await raised(self)
        self.early = early  # type: ignore[attr-defined]

    async def heads(self: MemoryJournal, shards: Any) -> dict[int, int]:
        early = self.__dict__.pop("early", {})
        found = await read(self, shards)
        return {shard: early.get(shard, head) for shard, head in found.items()}

    patch.setattr(MemoryJournal, "raise_epoch", raise_epoch)
    patch.setattr(MemoryJournal, "heads", heads)


@_mutant
def a_host_goes_on_with_shards_that_it_gave_away(patch: Patch) -> None:
    patch.setattr(HostLoop, "_let_go", lambda *_: None)


@_mutant
def a_takeover_forgets_timers(patch: Patch) -> None:
    adopted = HostLoop._adopt

    async def adopt(self: HostLoop, shards: list[int]) -> None:
        watch, self._watch = self._watch, lambda order_id: None  # type: ignore[method-assign]
        try:
            await adopted(self, shards)
        finally:
            self._watch = watch  # type: ignore[method-assign]

    patch.setattr(HostLoop, "_adopt", adopt)


@_mutant
def recovery_overlooks_plans_that_only_wait_for_a_time(patch: Patch) -> None:
    read = MemoryJournal.unfinished

    async def unfinished(self: MemoryJournal, shards: Any) -> Unfinished:
        return (await read(self, shards))._replace(timers=[])

    patch.setattr(MemoryJournal, "unfinished", unfinished)


# Orders and keys.


@_mutant
def a_retried_client_key_makes_a_second_order(patch: Patch) -> None:
    patch.setattr(Tick, "_known", lambda *_: None)


@_mutant
def every_retry_has_a_new_key(patch: Patch) -> None:
    def send(turn: Turn, item: ItemRun) -> None:
        item.is_unheard = False
        sent(turn, item)

    sent = domain.turn.send
    patch.setattr(domain.turn, "send", send)


@_mutant
def a_heard_failure_keeps_its_key(patch: Patch) -> None:
    def send(turn: Turn, item: ItemRun) -> None:
        item.is_unheard = item.attempt > 0
        sent(turn, item)

    sent = domain.turn.send
    patch.setattr(domain.turn, "send", send)


@_mutant
def every_report_counts(patch: Patch) -> None:
    patch.setattr(domain.decide, "_is_awaited", lambda item, report: item.ended_at is None)


@_mutant
def a_running_order_takes_the_newest_release(patch: Patch) -> None:
    folded = PlanFolder.fold

    async def fold(self: PlanFolder, stored: Any) -> Any:
        plan = await folded(self, stored)
        newest = self.current_release(plan.order.tenant, stored[-1].at)
        if newest is not None:
            plan.release = newest
        return plan

    patch.setattr(PlanFolder, "fold", fold)


# Plans.


@_mutant
def a_dependency_counts_twice(patch: Patch) -> None:
    closed = domain.evolve._close

    def close(plan: Any, item: ItemRun, at: Any) -> None:
        closed(plan, item, at)
        for follower in plan.template.followers[item.node]:
            plan.items[follower].waits = max(0, plan.items[follower].waits - 1)

    patch.setattr(domain.evolve, "_close", close)


@_mutant
def what_is_unblocked_is_not_looked_at(patch: Patch) -> None:
    unblocked = Turn.unblocked

    def some(self: Turn, items: Any) -> None:
        # The last of several that one item unblocks is forgotten.
        chosen = list(items)
        unblocked(self, chosen[:-1] if len(chosen) > 1 and self.facts[-1].kind == "item.completed" else chosen)

    patch.setattr(Turn, "unblocked", some)


@_mutant
def a_sub_plan_begins_before_its_item(patch: Patch) -> None:
    composed = domain.evolve._plan_composed

    def compose(plan: Any, fact: Any, payload: Any) -> None:
        composed(plan, fact, payload)
        for item in plan.items:
            if item.node in plan.template.parents:
                item.waits -= 1

    patch.setitem(domain.evolve._APPLY, "plan.composed", compose)


@_mutant
def push_events_are_not_looked_at(patch: Patch) -> None:
    def forget(turn: Turn) -> None:
        turn._lines_set = {}

    patch.setattr(domain.turn, "_look_at_events", forget)


# Accounts.


@_mutant
def the_projected_inventory_is_ignored(patch: Patch) -> None:
    def projected(self: Account) -> Projection:
        return Projection(Account(self.account_id, assets=self.assets))

    patch.setattr(Account, "projected", projected)


@_mutant
def a_second_order_on_a_product_does_not_wait(patch: Patch) -> None:
    patch.setattr(Account, "holders", lambda *_, **__: [])


@_mutant
def other_orders_do_not_hear_of_deliveries(patch: Patch) -> None:
    drained = Tick._drain

    def drain(self: Tick) -> None:
        self._queue.clear()
        drained(self)

    patch.setattr(Tick, "_drain", drain)


@_mutant
def orders_that_wait_are_not_taken_up(patch: Patch) -> None:
    patch.setattr(actors.tick, "readmit", lambda *_: False)


@_mutant
def a_booking_is_carried_out_twice(patch: Patch) -> None:
    async def known(self: Loader, batch: Any) -> set[str]:
        return set()

    patch.setattr(Loader, "known_bookings", known)


@_mutant
def a_booking_is_confirmed_unheard(patch: Patch) -> None:
    def send(self: Bookings, bookings: Any) -> None:
        for booking in bookings:
            if booking.number:
                self._confirmed(booking.order_id, booking.number)

    patch.setattr(Bookings, "send", send)


# Systems that are held.


@_mutant
def items_on_hold_are_not_let_go(patch: Patch) -> None:
    async def look(self: Resumer) -> None:
        return

    patch.setattr(Resumer, "look", look)


@_mutant
def items_on_hold_are_not_listed(patch: Patch) -> None:
    patch.setattr(Tick, "_keep_held", lambda *_: None)


# Values that must not stay.


@_mutant
def a_sealed_value_stands_in_a_fact(patch: Patch) -> None:
    sealed = MemoryVault.seal

    def seal(self: MemoryVault, order_id: str, name: str, value: Any) -> Any:
        return sealed(self, order_id, name, value) | {"was": value}

    patch.setattr(MemoryVault, "seal", seal)


@_mutant
def keys_of_ended_orders_are_kept(patch: Patch) -> None:
    patch.setattr(Shredder, "add", lambda *_: None)


@_mutant
def a_host_that_dies_leaves_keys_behind(patch: Patch) -> None:
    async def unshredded(self: MemoryJournal, shards: Any) -> list[str]:
        return []

    patch.setattr(MemoryJournal, "unshredded", unshredded)


# Events for listeners.


@_mutant
def a_cursor_is_written_before_its_events(patch: Patch) -> None:
    recorded = MemoryOutbox.record

    async def record(self: MemoryOutbox, epoch: int, offsets: Any, *rest: Any) -> dict[str, int]:
        await self.pass_over(epoch, offsets)
        return await recorded(self, epoch, {}, *rest)

    patch.setattr(MemoryOutbox, "record", record)


@_mutant
def an_event_that_was_not_taken_lets_the_next_one_pass(patch: Patch) -> None:
    settled = HubTables._settle_one

    def settle_one(self: HubTables, listener: ListenerRow, outcome: Outcome, now: Any) -> None:
        settled(self, listener, outcome, now)
        rows = self.waiting.get((outcome.delivery.listener_id, outcome.delivery.order_id), [])
        if outcome.error and len(rows) > 1:
            rows[1].next_at = now

    patch.setattr(HubTables, "_settle_one", settle_one)


@_mutant
def an_event_that_was_not_taken_counts_as_taken(patch: Patch) -> None:
    def taken(delivery: Delivery, *_: Any) -> Outcome:
        return Outcome(delivery)

    patch.setattr(actors.deliveries, "Outcome", taken)


@_mutant
def a_fenced_notifier_writes_on(patch: Patch) -> None:
    patch.setattr(HubTables, "check", lambda *_: None)


@_mutant
def plans_stay_ahead_of_the_cursor(patch: Patch) -> None:
    """What the notifier looked at before a write that failed is looked at again, by plans that have it already."""
    patch.setattr(OrderStandings, "clear", lambda *_: None)


@_mutant
def a_listener_is_told_what_was_before_it(patch: Patch) -> None:
    registered = HubTables.register

    def register(self: HubTables, *args: Any) -> str:
        name = registered(self, *args)
        self.listeners[name].starts_after = {}
        return name

    patch.setattr(HubTables, "register", register)


# Changes of orders under way.


@_mutant
def timers_fire_in_a_plan_that_stands_still(patch: Patch) -> None:
    patch.setattr(domain.evolve, "pause_timer", lambda _: None)
    patch.setattr(domain.evolve_change, "pause_timer", lambda _: None)


@_mutant
def a_paused_timer_is_lost(patch: Patch) -> None:
    def go_on(plan: Any, item: ItemRun) -> None:
        item.paused_at = None

    patch.setattr(domain.evolve_change, "_go_on", go_on)


@_mutant
def a_change_does_not_wait_for_running_work(patch: Patch) -> None:
    patch.setattr(ItemRun, "is_waited_for", False)


@_mutant
def a_takeover_forgets_the_change_that_waits(patch: Patch) -> None:
    folded = PlanFolder.fold

    async def fold(self: PlanFolder, stored: Any) -> Any:
        plan = await folded(self, stored)
        plan.change = None
        return plan

    patch.setattr(PlanFolder, "fold", fold)


@_mutant
def what_is_done_is_not_undone(patch: Patch) -> None:
    patch.setattr(Compensations, "undo", lambda *_: None)


@_mutant
def what_is_undone_is_undone_again(patch: Patch) -> None:
    patch.setattr(_Reviser, "_not_taken_back", lambda _, rounds: list(rounds))


@_mutant
def what_is_undone_goes_in_the_order_in_which_it_was_done(patch: Patch) -> None:
    patch.setattr(Compensations, "_later", lambda *_: [])


@_mutant
def done_work_is_kept_although_its_line_is_another(patch: Patch) -> None:
    def keep(self: _Reviser, at: int, index: int, places: Any) -> None:
        self.outcomes[index] = ItemOutcome.KEEP

    patch.setattr(_Reviser, "_amend_done", keep)


@_mutant
def nobody_finds_out_what_a_failed_call_has_done(patch: Patch) -> None:
    cancelled = _Reviser._cancel

    def cancel(self: _Reviser, chain: list[int]) -> None:
        before = self._before
        failed = (ItemState.FAILED, ItemState.FATALLY_FAILED)
        self._before = lambda index: ItemState.PENDING if before(index) in failed else before(index)  # type: ignore[method-assign]
        cancelled(self, chain)
        self._before = before  # type: ignore[method-assign]

    patch.setattr(_Reviser, "_cancel", cancel)


@_mutant
def a_task_stays_open_after_its_line_is_cancelled(patch: Patch) -> None:
    carried_out = domain.change._carry_out

    def carry_out(turn: Turn, *rest: Any) -> None:
        carried_out(turn, *rest)
        turn.tasks_closed = [each for each in turn.tasks_closed if each.state is not ItemState.DISCARDED]

    patch.setattr(domain.change, "_carry_out", carry_out)


@_mutant
def lists_are_not_written_again_after_a_thaw(patch: Patch) -> None:
    patch.setattr(domain.facts, "ABOUT_ALL_ITEMS", domain.facts.ABOUT_ALL_ITEMS - {"plan.thawed"})


@_mutant
def no_version_is_checked(patch: Patch) -> None:
    refused = domain.change_refusals.refuse_untimely
    patch.setattr(
        domain.change, "refuse_untimely", lambda plan, message: refused(plan, replace(message, version=None))
    )


@_mutant
def the_point_of_no_return_is_passed_over(patch: Patch) -> None:
    patch.setattr(domain.change_refusals, "roots_past", lambda _: frozenset())


@_mutant
def a_protected_attribute_changes(patch: Patch) -> None:
    patch.setattr(domain.change, "refuse_protected", lambda *_: None)


@_mutant
def a_change_that_is_refused_replaces_a_secret(patch: Patch) -> None:
    def seal(self: Any, order_id: str, name: str, value: Any) -> Any:
        return self._protector.seal(order_id, name, value)

    patch.setattr(domain.change._LaterProtector, "seal", seal)


@_mutant
def a_rehearsal_is_carried_out(patch: Patch) -> None:
    changed = Tick._change

    def change(self: Tick, plan: Any, message: Any, envelope: Any) -> dict[str, Any]:
        return changed(self, plan, replace(message, is_dry_run=False), envelope)

    patch.setattr(Tick, "_change", change)


@_mutant
def a_change_that_comes_twice_is_made_twice(patch: Patch) -> None:
    patch.setattr(domain.evolve, "_APPLIED_MAX", 0)


@_mutant
def an_amended_order_keeps_its_old_document(patch: Patch) -> None:
    added = Turn.add

    def add(self: Turn, kind: str, item: Any = None, payload: Any = None) -> None:
        if kind == "plan.changed" and payload is not None and "order" in payload:
            payload = payload | {"order": self.plan.order.to_dict()}
        added(self, kind, item, payload)

    patch.setattr(Turn, "add", add)


@_mutant
def an_amended_line_keeps_its_old_values(patch: Patch) -> None:
    patch.setattr(domain.line_changes, "_merged", lambda old, new: dict(new.attributes) | dict(old.attributes))


@_mutant
def a_move_stays_on_its_release(patch: Patch) -> None:
    planned = domain.change.planned_change

    def plan(plan: Any, message: Any, account: Any, release: Any, *rest: Any) -> Any:
        return replace(planned(plan, message, account, plan.release, *rest), is_moved=message.kind == "move")

    patch.setattr(domain.change, "planned_change", plan)


@_mutant
def a_held_plan_goes_on(patch: Patch) -> None:
    settled = Turn.settle

    def settle(self: Turn) -> None:
        if self.plan.state == "Held":
            ready = [each for each in self._ready if each.state is ItemState.PENDING and each.waits == 0]
            self._ready.clear()
            for item in ready:
                domain.turn._unblock(self, item)
        settled(self)

    patch.setattr(Turn, "settle", settle)


@contextlib.contextmanager
def applied(name: str) -> Iterator[None]:
    """The product with one mutant."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        yield


def hunt(name: str, first: int = 0) -> tuple[int, str]:
    """Look for a seed that catches the mutant; (seed, violation), (-1, "") when none of them does."""
    with applied(name):
        for seed in [first, *(each for each in range(SEEDS_MAX) if each != first)]:
            _, violation = run_script(seed, script_of(seed))
            if violation is not None:
                return seed, str(violation)
    return -1, ""


def hunt_all(processes: int, *, is_fresh: bool = False) -> Iterator[tuple[str, int, str]]:
    """Hunt every mutant; (name, seed, violation). Fresh: all begin at seed 0, whatever is noted."""
    noted = {} if is_fresh else json.loads(FIRST.read_text())
    firsts = [noted.get(name, 0) for name in MUTANTS]
    with ProcessPoolExecutor(processes) as pool:
        for name, (seed, violation) in zip(MUTANTS, pool.map(hunt, MUTANTS, firsts), strict=True):
            yield name, seed, violation


def note_first_seeds(found: dict[str, int]) -> None:
    """Keep which seed catches which mutant."""
    FIRST.write_text(json.dumps(found, indent=2) + "\n")
