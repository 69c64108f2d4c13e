"""One tick of a host: decide a batch of envelopes in memory and collect everything that has to be written or sent.

Nothing here is awaited: what the batch needs was loaded before. The tick owns no state of its own beyond the batch,
so a failed commit throws it away together with the plans it touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from actors.envelopes import (
    BookAssets,
    Envelope,
    GiveAway,
    ImportAssets,
    Readmit,
    Redrive,
    Submission,
    Submitted,
    ToPlan,
    booking_envelope,
)
from actors.memory import AccountKey, Memory, account_key
from actors.price_desk import Asked, DeskKey
from actors.rows import (
    asset_row,
    fact_rows,
    fallout_row,
    held_row,
    is_as_written,
    order_row,
    task_id_of,
    task_row,
    wait_rows,
)
from domain import facts as f
from domain.change import carry_out_asked, decide_change
from domain.decide import decide, pending_effects
from domain.errors import (
    Busy,
    ClientKeyReused,
    NotFound,
    NotPossibleNow,
    OrderplanError,
    PlanUnreadable,
    StaleRelease,
)
from domain.facts import VERSIONS, Fact
from domain.holds import NOTHING_HELD, HeldSystems
from domain.ids import OWN_ACCOUNT, booking_id, order_id_of, shard_of
from domain.installed_base import IMPORTED, import_assets
from domain.intake import (
    UNKNOWN_RETRY_S,
    Booking,
    accept,
    book,
    book_changes,
    changed_lines,
    has_news,
    readmit,
    refresh_open_order,
)
from domain.inventory import Account, Asset, AssetDelta
from domain.items import ItemRun
from domain.messages import ChangeOrder, NotJoined, OperateItem, PlanMessage, Report, SteerOrder
from domain.orders import Order
from domain.placement import DEDICATED, placement_of
from domain.plan import Plan
from domain.preview import BlindProtector, copied_account, preview, shown_change, shown_order
from domain.price_calls import FunctionsWanted
from domain.redrive import redrive
from domain.rejoin import first_of, followers, merged, refuse_second, rejoining, retrying, undeliverable
from domain.related import NO_WAITS, RelatedWaits, is_related
from domain.release import CompiledRelease
from domain.sealing import Protector
from domain.states import PlanState
from domain.turn import Call, Turn
from domain.watchdog import CALL_LOST, Stuck
from persistence.rows import Commit, FactRow, KnownKey, OrderRow, TemplateRow

MESSAGES_MAX: Final = 100_000
"""Bound on what plans of one batch may tell one another; beyond it something goes round in circles."""


_ENDS_ATTEMPT = frozenset(
    {f.ITEM_COMPLETED, f.ITEM_FAILED, f.ITEM_FATALLY_FAILED, f.ITEM_SKIPPED, f.ITEM_ACCEPTED, f.ITEM_HELD}
)
"""After these a call needs no sending any more, whoever caused them: a report, the clock, an operator."""


_LOOKED_AT = _ENDS_ATTEMPT | f.ABOUT_ALL_ITEMS | {f.PLAN_COMPOSED}
"""Facts from which more follows for what is written and sent than their rows."""


def import_id_of(cause: str) -> str:
    """What stands in an import's fact in the place of an order."""
    return f"import {cause}"


CHANGE: Final = "change"
"""Stands for the tenant in the key of an order of which a change waits for price functions."""
REHEARSAL: Final = "rehearsal"
"""Stands for the tenant in the key of an account of which a new order is rehearsed."""
TAKE_UP: Final = "take up"
"""Stands for the tenant in the key of an order that waits for price functions to be taken up."""


class _Postponed(Exception):
    """The envelope cannot be decided in this tick."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked.key)
        self.asked = asked


class HalfDecided(Exception):
    """A bug: a message was refused after some of its facts were applied."""


@dataclass(slots=True)
class Tick:
    """The decisions on one batch.

    `heads` are the last offsets of the shards; the tick advances them. `rows` are the order rows as last written, so
    that an order's row is written only when something a list shows has changed.
    """

    memory: Memory
    heads: dict[int, int]
    rows: dict[str, OrderRow]
    known_keys: Mapping[tuple[str, str], KnownKey]
    protector: Protector
    digest: Callable[[str, bytes], bytes]
    """Keyed hash of a body: (tenant, plain hash) -> what is stored and compared."""
    now: datetime
    entropy: Callable[[], int]
    """20 random bits for each new order's id."""
    commit: Commit = field(default_factory=Commit)
    calls: dict[tuple[str, str, int], Call] = field(default_factory=dict)
    """By order, item and attempt, those that nothing decided later in the tick has settled."""
    replies: list[tuple[Envelope, Any]] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)
    accounts: dict[AccountKey, None] = field(default_factory=dict)
    ended_with_secrets: list[str] = field(default_factory=list)
    settled: list[tuple[str, str, int]] = field(default_factory=list)
    """(order, item, attempt) of calls that nobody waits for any more."""
    _moved: dict[str, bool] = field(default_factory=dict)
    """Orders with facts of this tick, and whether it is their first."""
    _queue: deque[tuple[str, PlanMessage]] = field(default_factory=deque)
    _called: dict[str, None] = field(default_factory=dict)
    """Orders that wait and are called up, each once, when those at work have nothing to say any more."""
    _rejoins: dict[str, ChangeOrder] = field(default_factory=dict)
    """Orders that have to join anew, each once whatever makes it do so."""
    _new_keys: dict[tuple[str, str], KnownKey] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    """Causes of imports that are stored already."""
    imported: set[str] = field(default_factory=set)
    """Imports of this tick that have changed something, by the name that stands in their facts."""
    work: int = 0
    """Facts decided, and lines and items composed: what takes time, here and in the commit."""
    left: list[Envelope] = field(default_factory=list)
    """The end of the batch, left to the next tick because this one has work enough."""
    due: list[str] = field(default_factory=list)
    """Orders whose due timers were looked at."""
    knows_call: Callable[[str, str, int], bool] = lambda _order, _item, _attempt: True
    """Whether a call (order, item, attempt) is with the dispatcher."""
    redriven: list[str] = field(default_factory=list)
    """Orders that stood still and were made to go on."""
    sequence: int = 0
    """Orders that the host has numbered so far; grows with each new order, over all ticks."""
    holders: dict[int, str | None] = field(default_factory=dict)
    """The host's dedicated shards, each with the open order that has it for itself."""
    taken_at: Mapping[int, datetime] = field(default_factory=dict)
    """When the host took its shards over, those that it has not had from their beginning."""
    bookings: list[BookAssets] = field(default_factory=list)
    """What dedicated plans have to tell the hosts of their accounts."""
    known_bookings: set[str] = field(default_factory=set)
    """Bookings of the batch that are stored already, by the name that stands in their fact."""
    held: Mapping[str, HeldSystems] = field(default_factory=dict)
    """Tenant -> its systems that take no calls."""
    related_waits: Mapping[tuple[str, str, str], RelatedWaits] = field(default_factory=dict)
    """(tenant, channel, external id) of new orders that somebody waits for -> who waits for whom from them on."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Orders whose plans cannot be read, and why."""
    asking: set[DeskKey] = field(default_factory=set)
    """Accounts with a new order that waits for price functions, and orders to be taken up that do."""
    asked: list[Asked] = field(default_factory=list)
    """What could not be decided for want of their answers."""
    _readmits: dict[str, Readmit] = field(default_factory=dict)

    def decide(self, envelopes: Iterable[Envelope]) -> None:
        """Decide each envelope, and what its plans tell one another, in order of arrival."""
        for envelope in envelopes:
            try:
                answer = self._one(envelope)
            except OrderplanError as error:
                answer = error
            except _Postponed as postponed:
                self._ask(postponed.asked)
                continue
            self.replies.append((envelope, answer))
            self._drain()
        self._write_rows()

    def keeps_keys_of(self, owner: str) -> bool:
        """Whether something of the order or import is written, so that its new keys are needed."""
        return owner in self.touched or owner in self.imported

    def _write_rows(self) -> None:
        """Write the rows of orders that are another than before the tick, whatever they were in between."""
        for order_id, is_new in self._moved.items():
            plan, known = self.memory.plans[order_id], self.rows.get(order_id)
            if known is not None and not is_new and is_as_written(plan, known):
                continue
            row = order_row(plan)
            if is_new:
                self.commit.orders_new[order_id] = row
            elif known != row:
                self.commit.orders_changed[order_id] = row

    def _one(self, envelope: Envelope) -> Any:
        match envelope:
            case Submission():
                return self._rehearse(envelope) if envelope.is_dry_run else self._submit(envelope)
            case ToPlan():
                return self._tell(envelope)
            case ImportAssets():
                return self._import(envelope)
            case BookAssets():
                return self._book_for(envelope)
            case Redrive():
                return self._redrive(envelope)
            case Readmit():
                self._readmits[envelope.order_id] = envelope
                self._called[envelope.order_id] = None
                return None
            case GiveAway():
                self.commit.released_shards.extend(envelope.shards.items())
                return None
            case _:
                raise AssertionError(f"no rule for {type(envelope).__name__}")

    # Orders coming in.

    def _rehearse(self, submission: Submission) -> dict[str, Any]:
        """Say what would become of an order, on a copy of its account."""
        order = Order.from_dict(submission.order)
        release = self._release_for(order.tenant, submission)
        account = Account(None)
        if order.account is not None:
            account = copied_account(self.memory.accounts[order.tenant, order.account])
        order.order_id = order_id_of(submission.shard, int(self.now.timestamp() * 1000), 0)
        key: DeskKey = (REHEARSAL, order.account or order.order_id)
        if key in self.asking:
            raise _Postponed(Asked(key, submission, ()))
        try:
            turn = accept(
                order,
                release,
                account,
                now=self.now,
                protector=BlindProtector(self.protector),
                held=self._held(order.tenant),
                answers=submission.answers,
                others=self._others(order),
            )
        except FunctionsWanted as wanted:
            raise _Postponed(Asked(key, submission, wanted.calls)) from None
        return shown_order(turn.plan)

    def _release_for(self, tenant: str, submission: Submission) -> CompiledRelease:
        release = self.memory.folder.current_release(tenant, self.now)
        if release is None:
            raise NotPossibleNow(
                "no catalogue release is published", mend="publish one: orderplan catalogue publish FILE"
            )
        if submission.release_id not in (None, release.release_id):
            raise StaleRelease(
                f"release {submission.release_id!r} is not the one that new orders take, {release.release_id}",
                path="releaseId",
                mend="make the order for that release, or leave releaseId out",
            )
        return release

    def _submit(self, submission: Submission) -> Submitted:
        self._check_readable(submission.order_id)
        made = self.memory.plans.get(submission.order_id)
        if made is not None:
            return _submitted(made, submission)
        order = Order.from_dict(submission.order)
        body_hash = self.digest(order.tenant, submission.body_hash) if submission.body_hash else None
        if order.client_key is not None:
            known = self._known(order.tenant, order.client_key)
            if known is not None:
                if known.body_hash and body_hash and known.body_hash != body_hash:
                    raise ClientKeyReused(
                        f"client key {order.client_key!r} already names order {known.order_id}, which has another body",
                        mend="use a new key for another order",
                        orderId=known.order_id,
                    )
                return Submitted(known.order_id, known.state, is_repeat=True)
        release = self._release_for(order.tenant, submission)
        self.sequence += 1
        # Ids of one host grow with every order, so that order of admission is order of id.
        entropy = ((self.sequence & 0xF_FFFF) << 20) | (self.entropy() & 0xF_FFFF)
        known_account = Account(None)
        if order.account is not None:
            if (order.tenant, order.account) in self.asking:
                raise _Postponed(Asked((order.tenant, order.account), submission, ()))
            known_account = self.memory.accounts[order.tenant, order.account]
        free = next((shard for shard, holder in self.holders.items() if holder is None), None)
        placement = placement_of(order, release, known_account, is_free=free is not None)
        shard = free if placement == DEDICATED and free is not None else submission.shard
        order.order_id = order_id_of(shard, int(self.now.timestamp() * 1000), entropy)
        submission.order_id = order.order_id
        key: AccountKey = (order.tenant, order.account or OWN_ACCOUNT + order.order_id)
        account = self.memory.accounts.setdefault(key, known_account)
        self.accounts[key] = None
        try:
            turn = accept(
                order,
                release,
                account,
                now=self.now,
                protector=self.protector,
                body_hash=body_hash,
                placement=placement,
                account_shard=submission.shard if placement == DEDICATED and order.account is not None else None,
                held=self._held(order.tenant),
                answers=submission.answers,
                others=self._others(order),
                actor=submission.actor,
                done=submission.done,
            )
        except FunctionsWanted as wanted:
            submission.order_id = ""
            if order.account is None:
                del self.memory.accounts[key], self.accounts[key]
            raise _Postponed(Asked(key, submission, wanted.calls)) from None
        except OrderplanError:
            account.open_orders.pop(order.order_id, None)
            raise
        plan = turn.plan
        self.memory.plans[order.order_id] = plan
        self._collect(turn, is_new=True)
        shown = _shown_state(plan)
        if order.client_key is not None:
            self._new_keys[order.tenant, order.client_key] = KnownKey(
                order.client_key, order.order_id, body_hash or b"", shown
            )
        return _submitted(plan, submission)

    def _others(self, order: Order) -> RelatedWaits:
        """Who waits for whom among the orders that a new one could close a circle with."""
        return self.related_waits.get((order.tenant, order.channel, order.external_id or ""), NO_WAITS)

    def _known(self, tenant: str, client_key: str) -> KnownKey | None:
        return self._new_keys.get((tenant, client_key)) or self.known_keys.get((tenant, client_key))

    # Messages for plans.

    def _tell(self, envelope: ToPlan) -> dict[str, Any] | None:
        message = envelope.message
        self._check_readable(envelope.order_id, message)
        plan = self.memory.plans.get(envelope.order_id)
        if plan is None:
            raise NotFound(f"there is no order {envelope.order_id!r}")
        if envelope.cause is not None and envelope.cause in plan.applied:
            # Decided before a commit whose outcome was not heard: it is stored, so it is not decided twice.
            return _stands(plan, message)
        if plan.ended_at is not None and envelope.actor.startswith("person:"):
            raise NotPossibleNow(f"order {plan.order_id} has ended ({plan.order_state.value})")
        if isinstance(message, ChangeOrder):
            do = self._rejoin if message.kind == "rejoin" else self._change
            return do(plan, message, envelope)
        if isinstance(message, OperateItem):
            if (change := retrying(plan, message)) is not None:
                return self._change(plan, change, envelope) | _stands(plan, message)
            if plan.account_shard is None:
                refuse_second(plan, message, self.memory.account_of(plan))
        self._turn(plan, message, actor=envelope.actor, cause=envelope.cause)
        if isinstance(message, Report):
            # Whoever brings a result wants to know that it is stored, no more; they come by the thousand.
            return None
        if isinstance(message, SteerOrder) and message.action == "thaw" and plan.account_shard is None:
            stranded = undeliverable(plan, self.memory.account_of(plan))
            if stranded:
                # The change that was given up would have seen to them.
                self._turn(plan, NotJoined(tuple(stranded), "the change that would have was given up"))
        return _stands(plan, message)

    # Changes of orders under way.

    def _change(self, plan: Plan, message: ChangeOrder, envelope: ToPlan) -> dict[str, Any]:
        """Change an order; or say what would come of it, on copies that are thrown away."""
        release = self.memory.folder.known_release(plan.order.tenant, message.release or plan.release.release_id)
        account = self.memory.account_of(plan) if plan.account_shard is None else None
        key: DeskKey = (CHANGE, plan.order_id)
        if key in self.asking:
            # Behind the one that asks: changes of an order are decided as they came.
            raise _Postponed(Asked(key, envelope, ()))
        if message.is_dry_run:
            trial = self._new_turn(plan, actor=envelope.actor, cause=envelope.cause)
            try:
                return preview(trial, message, account, release, envelope.answers)
            except FunctionsWanted as wanted:
                raise _Postponed(Asked(key, envelope, wanted.calls)) from None
        turn = self._new_turn(plan, actor=envelope.actor, cause=envelope.cause)
        self.touched[plan.order_id] = None
        if account is not None:
            self.accounts[account_key(plan)] = None
        try:
            change = decide_change(turn, message, account, release, envelope.answers)
        except FunctionsWanted as wanted:
            raise _Postponed(Asked(key, envelope, wanted.calls)) from None
        except OrderplanError as error:
            if turn.facts:
                raise HalfDecided("a change failed half-way") from error
            raise
        if change is not None:
            self._collect(turn)
        return shown_change(plan, is_other=change is not None)

    def _carry_out(self, turn: Turn) -> None:
        """Carry out the change that the end of some work has made possible."""
        plan = turn.plan
        if plan.state is PlanState.FROZEN and plan.change is not None:
            release = self.memory.folder.known_release(
                plan.order.tenant, plan.change.get("release") or plan.release.release_id
            )
            carry_out_asked(turn, self.memory.account_of(plan) if plan.account_shard is None else None, release)

    def _check_readable(self, order_id: str, message: PlanMessage | ChangeOrder | None = None) -> None:
        """Refuse what is for a plan that nobody can read; its results are kept by those who send them."""
        why = self.unreadable.get(order_id)
        if why is None:
            return
        if isinstance(message, Report):
            raise Busy(why, retryAfterS=UNKNOWN_RETRY_S)
        raise PlanUnreadable(why, mend="have its facts looked at: /v1/orders/{id}/facts")

    def _new_turn(self, plan: Plan, *, actor: str = "system", cause: str | None = None) -> Turn:
        return Turn(
            plan=plan,
            now=self.now,
            protector=self.protector,
            actor=actor,
            cause=cause,
            held=self._held(plan.order.tenant),
            owned_since=self.taken_at.get(shard_of(plan.order_id)),
        )

    def _turn(self, plan: Plan, message: PlanMessage, *, actor: str = "system", cause: str | None = None) -> None:
        turn = self._new_turn(plan, actor=actor, cause=cause)
        self.touched[plan.order_id] = None
        try:
            decide(turn, message)
        except OrderplanError as error:
            if turn.facts:
                # A refusal has to come before the first fact; the plan in memory is ahead of the journal now.
                raise HalfDecided(f"{type(message).__name__} failed half-way") from error
            raise
        self._collect(turn)

    def _redrive(self, envelope: Redrive) -> None:
        """Make a plan go on that stands still; one that is well is left as it is."""
        plan = self.memory.plans.get(envelope.order_id)
        if plan is None or not self.asking.isdisjoint(((TAKE_UP, envelope.order_id), (CHANGE, envelope.order_id))):
            return
        # Whatever comes of it: its timer is set anew, and it leaves memory if it has ended.
        self.touched[plan.order_id] = None
        lost = [
            call
            for call in pending_effects(plan, self.now)
            if not self.knows_call(call.order_id, call.item, call.attempt)
            and (call.order_id, call.item, call.attempt) not in self.calls
        ]
        named = (Stuck(call.item, CALL_LOST) for call in lost)
        account = self.memory.account_of(plan) if plan.account_shard is None else None
        if account is not None:
            self.accounts[account_key(plan)] = None
        turn = self._new_turn(plan)
        if redrive(turn, account, [*envelope.found, *named], lost, envelope.by):
            self._collect(turn)
            self.redriven.append(plan.order_id)
            if plan.template is None:
                # It may have to ask price functions before it goes on.
                self._called[plan.order_id] = None

    def _held(self, tenant: str) -> HeldSystems:
        return self.held.get(tenant, NOTHING_HELD)

    def _drain(self) -> None:
        """Deliver what plans of one account tell one another, until none has anything to say."""
        for _ in range(MESSAGES_MAX):
            if self._queue:
                order_id, message = self._queue.popleft()
                plan = self.memory.plans.get(order_id)
                if plan is not None and plan.ended_at is None:
                    self._hear(plan, message)
            elif self._rejoins:
                self._rejoin_next()
            elif self._called:
                order_id = next(iter(self._called))
                del self._called[order_id]
                self._call_up(order_id)
            else:
                return
        raise AssertionError("plans of one account talk in circles")

    def _call_up(self, order_id: str) -> None:
        """Take up an order that waits, if there is nothing left that it waits for."""
        plan = self.memory.plans.get(order_id)
        if plan is None or plan.ended_at is not None:
            return
        turn = self._new_turn(plan)
        # Whatever comes of it, the account has been changed.
        self.accounts[account_key(plan)] = None
        readmission = self._readmits.get(order_id) or Readmit(order_id)
        try:
            is_taken_up = readmit(turn, self.memory.account_of(plan), readmission.answers)
        except FunctionsWanted as wanted:
            self._ask(Asked((TAKE_UP, order_id), readmission, wanted.calls))
            return
        if is_taken_up:
            self._collect(turn)

    def _hear(self, plan: Plan, message: PlanMessage) -> None:
        """What another order of the account has told."""
        change = rejoining(plan, message)
        if change is None:
            self._turn(plan, message)
        elif plan.change is None:
            self._rejoins[plan.order_id] = merged(change, self._rejoins.get(plan.order_id))
        # Else the change that waits will be worked out against what the account has then.

    def _rejoin_next(self) -> None:
        """Have the order join anew that stands before all others that have to: it may concern those behind it."""
        plan = first_of(self._rejoins, self.memory.plans)
        change = self._rejoins.pop(plan.order_id)
        if plan.ended_at is not None:
            return
        try:
            self._rejoin(plan, change, ToPlan(plan.order_id, change))
        except _Postponed as postponed:
            self._ask(postponed.asked)

    def _rejoin(self, plan: Plan, change: ChangeOrder, envelope: ToPlan) -> dict[str, Any] | None:
        if plan.change is not None:
            # Price functions were asked meanwhile: the change that waits sees to it.
            return None
        try:
            return self._change(plan, change, envelope)
        except OrderplanError as error:
            self._turn(plan, NotJoined(change.awaits, error.reason))
            return None

    def _ask(self, asked: Asked) -> None:
        """Leave what needs price functions to the desk; an order that is taken up asks once at a time."""
        if isinstance(asked.envelope, Readmit) and asked.key in self.asking:
            return
        self.asking.add(asked.key)
        self.asked.append(asked)

    # Collecting.

    def _collect(self, turn: Turn, *, is_new: bool = False) -> None:
        """Take over what a turn decided: facts, rows, effects, and news for other orders of the account."""
        self._carry_out(turn)
        plan = turn.plan
        order_id = plan.order_id
        self.touched[order_id] = None
        shard = shard_of(order_id)
        self.work += len(turn.facts)
        self.commit.facts.extend(fact_rows(plan, shard, turn.facts, self.heads[shard]))
        self.heads[shard] += len(turn.facts)
        is_about_all = False
        for fact in turn.facts:
            if fact.kind not in _LOOKED_AT:
                continue
            is_about_all = is_about_all or (fact.item is None and fact.kind in f.ABOUT_ALL_ITEMS)
            if fact.kind == f.PLAN_COMPOSED:
                self._keep_template(plan)
                self.work += len(plan.lines) + len(plan.items)
            elif fact.kind == f.PLAN_CHANGED:
                self.work += len(plan.lines) + len(plan.items)
                assert fact.payload is not None
                overtaken = (plan.by_key[key] for key in fact.payload["cancelled"])
                self.settled.extend((order_id, item.key, item.attempt) for item in overtaken if item.attempt)
            elif fact.kind in _ENDS_ATTEMPT and fact.item is not None:
                settled = (order_id, fact.item, plan.by_key[fact.item].attempt)
                self.settled.append(settled)
                # Begun earlier in this tick: the result of an earlier sending may have come in the same one.
                self.calls.pop(settled, None)
        if plan.had_fallout or plan.had_holds or plan.order.related:
            touched = plan.items if is_about_all else _named_items(turn)
            self._keep_fallout(plan, touched)
            self._keep_held(plan, touched)
            if plan.order.related:
                self._keep_waits(turn, touched)
        self.calls.update(((call.order_id, call.item, call.attempt), call) for call in turn.calls)
        for item in turn.tasks_opened:
            task = task_row(plan, item, self.now)
            self.commit.tasks_new[task.task_id] = task
            self.commit.tasks_closed.pop(task.task_id, None)
        for item in turn.tasks_closed:
            self.commit.tasks_closed[task_id_of(order_id, item.key)] = self.now
        if is_about_all:
            self._keep_tasks(plan)
        if plan.account_shard is not None:
            self._announce(turn)
        elif has_news(turn):
            key = account_key(plan)
            self.accounts[key] = None
            account = self.memory.account_of(plan)
            self._keep(book(turn, account), plan.order.tenant, key[1], shard)
            for other, change in followers(account, self.memory.plans, plan, turn.remade):
                self._rejoins[other] = merged(change, self._rejoins.get(other))
        if shard in self.holders:
            self._hold(plan, shard)
        self._moved[order_id] = is_new or self._moved.get(order_id, False)
        if plan.ended_at is not None and plan.has_secrets:
            self.ended_with_secrets.append(order_id)

    def _keep_tasks(self, plan: Plan) -> None:
        """Bring the rows of open tasks in line with the order, which has another priority or other lines now."""
        for item in plan.items:
            if item.is_manual and item.ready_at is not None and item.ended_at is None:
                task = task_row(plan, item, item.ready_at)
                if task.task_id not in self.commit.tasks_closed:
                    self.commit.tasks_new.setdefault(task.task_id, task)

    def _keep_fallout(self, plan: Plan, items: Iterable[ItemRun]) -> None:
        """Put items that have failed into the error queue, and take out those that had."""
        for item in items:
            if item.failed_at is not None:
                self.commit.fallout[plan.order_id, item.key] = fallout_row(plan, item)

    def _keep_held(self, plan: Plan, items: Iterable[ItemRun]) -> None:
        """List items that were put On Hold, and strike those that were."""
        for item in items:
            if item.held_at is not None:
                self.commit.held[plan.order_id, item.key] = held_row(plan, item)

    def _keep_waits(self, turn: Turn, items: Iterable[ItemRun]) -> None:
        """List what waits for related orders, and strike what does not any more."""
        plan = turn.plan
        if plan.template is None:
            return
        # An item begins to wait when the plan is made or changed, and never again by itself.
        is_other = any(fact.kind in (f.PLAN_COMPOSED, f.PLAN_CHANGED) for fact in turn.facts)
        waiting = {row.item: row for row in wait_rows(plan, self.now)} if is_other else {}
        for item in plan.items if is_other else items:
            if is_related(plan, item):
                self.commit.waits[plan.order_id, item.key] = waiting.get(item.key)

    def _keep_template(self, plan: Plan) -> None:
        template = plan.template
        assert template is not None
        key = (plan.order.tenant, template.template_id)
        name = "/".join(key)
        if key in self.memory.folder.stored_templates or name in self.commit.templates:
            return
        self.commit.templates[name] = TemplateRow(
            plan.order.tenant, template.template_id, plan.release.release_id, orjson.dumps(template.to_dict()).decode()
        )

    def _keep(self, booking: Booking, tenant: str, account: str, shard: int) -> None:
        """Write the assets that a booking has changed, pass its news on."""
        for before, after in booking.changes:
            asset = after or before
            if asset is None:
                continue
            row = asset_row(tenant, account, shard, asset, self.now)
            self.commit.assets[asset.asset_id] = row if after is not None else row._replace(status="terminated")
        for order_id, message in booking.news:
            if message is not None:
                self._queue.append((order_id, message))
            else:
                self._called[order_id] = None

    # Dedicated plans, whose account is another host's.

    def _hold(self, plan: Plan, shard: int) -> None:
        """Keep in mind that an open order has the dedicated shard for itself."""
        holder = self.holders[shard]
        if plan.ended_at is None and holder is None:
            self.holders[shard] = self.commit.holders[shard] = plan.order_id
        elif plan.ended_at is not None and holder == plan.order_id:
            self.holders[shard] = self.commit.holders[shard] = None

    def _announce(self, turn: Turn) -> None:
        """What the account's host has to hear: first what changed of lines to come, then what was delivered."""
        plan = turn.plan
        news = {
            asset_id: delta.to_dict() if delta is not None else None
            for asset_id, delta in changed_lines(turn).items()
        }
        if news:
            self.bookings.append(booking_envelope(plan, changed=news))
        asked = sum(fact.kind in (f.ASSETS_CHANGED, f.ORDER_CLOSING) for fact in turn.facts)
        for number in range(plan.booked - asked + 1, plan.booked + 1):
            self.bookings.append(booking_envelope(plan, plan.bookings[number]))

    def _book_for(self, envelope: BookAssets) -> dict[str, Any]:
        """Carry out on the account what a dedicated plan has delivered; once, however often it is asked for."""
        name = booking_id(envelope.order_id, envelope.number)
        if name in self.known_bookings:
            return {"number": envelope.number}
        account = self.memory.accounts[envelope.tenant, envelope.account]
        self.accounts[envelope.tenant, envelope.account] = None
        changed = {
            asset_id: AssetDelta.from_dict(delta) if delta is not None else None
            for asset_id, delta in envelope.changed.items()
        }
        refresh_open_order(account, envelope.order_id, changed)
        if envelope.number == 0 or envelope.order_id not in account.open_orders:
            # Of an order that the account does not know as open: it was erased, and this was long on its way.
            return {"number": envelope.number}
        self.known_bookings.add(name)
        deltas = [AssetDelta.from_dict(change) for change in envelope.changes]
        booking = book_changes(
            account,
            envelope.order_id,
            deltas,
            envelope.delivered,
            has_ended=envelope.is_last,
            is_cancelled=envelope.is_cancelled,
        )
        self._keep(booking, envelope.tenant, envelope.account, envelope.shard)
        payload: dict[str, Any] = {
            "account": envelope.account,
            "order": envelope.order_id,
            "number": envelope.number,
            "changes": list(envelope.changes),
        }
        if envelope.is_last:
            payload["isLast"] = True
        fact = Fact(f.ASSETS_BOOKED, self.now, None, payload, "system", name)
        self._append(envelope.shard, envelope.tenant, name, fact)
        return {"number": envelope.number}

    # Installed base.

    def _import(self, envelope: ImportAssets) -> dict[str, Any]:
        """Put an account's products in; a result for each, in their order: a word, or the refusal."""
        arriving = [Asset.from_dict(body) for body in envelope.assets]
        if envelope.cause in self.imports:
            return _imported(envelope, [IMPORTED] * len(arriving))
        self.imports.add(envelope.cause)
        account = self.memory.accounts[envelope.tenant, envelope.account]
        self.accounts[envelope.tenant, envelope.account] = None
        release = self.memory.folder.loaded_release(envelope.tenant, envelope.release_id)
        name = import_id_of(envelope.cause)
        changed, results = import_assets(
            account, arriving, release, lambda value: self.protector.encrypt(envelope.tenant, name, value)
        )
        self.work += len(arriving)
        for asset in changed:
            row = asset_row(envelope.tenant, envelope.account, envelope.shard, asset, self.now)
            self.commit.assets[asset.asset_id] = row
        if changed:
            payload = {"account": envelope.account, "assets": [asset.to_dict() for asset in changed]}
            fact = Fact(f.ASSETS_IMPORTED, self.now, None, payload, envelope.actor, envelope.cause)
            self._append(envelope.shard, envelope.tenant, name, fact)
            self.imported.add(name)
        return _imported(envelope, results)

    def _append(self, shard: int, tenant: str, name: str, fact: Fact) -> None:
        """Write a fact that is no order's; `name` stands in the place of one."""
        self.heads[shard] += 1
        payload = orjson.dumps(fact.payload).decode()
        row = FactRow(
            shard, self.heads[shard], tenant, name, None, fact.kind, VERSIONS[fact.kind], fact.at, None, fact.actor,
            fact.cause, payload,
        )  # fmt: skip
        self.commit.facts.append(row)


def _stands(plan: Plan, message: PlanMessage | ChangeOrder) -> dict[str, Any]:
    """How the order stands, and the item that a message was about."""
    shown: dict[str, Any] = {
        "orderId": plan.order_id,
        "state": plan.order_state.value,
        "planState": plan.state.value if plan.state else None,
        "priority": plan.order.priority,
    }
    item_key = getattr(message, "item", None)
    if item_key is not None and item_key in plan.by_key:
        shown |= {"item": item_key, "itemState": plan.by_key[item_key].state.value}
    return shown


def _named_items(turn: Turn) -> list[ItemRun]:
    """The items that a turn's facts name, each once."""
    named = dict.fromkeys(fact.item for fact in turn.facts if fact.item is not None)
    return [turn.plan.by_key[key] for key in named]


def _imported(envelope: ImportAssets, results: Sequence[Any]) -> dict[str, Any]:
    done = sum(isinstance(each, str) for each in results)
    return {"account": envelope.account, "imported": done, "results": list(results)}


def _submitted(plan: Plan, submission: Submission) -> Submitted:
    """What the channel learns of its new order."""
    reclassified = {
        line.line_id: line.attributes
        for line, sent in zip(plan.order.lines, submission.order["lines"], strict=True)
        # Values that stay are the very same objects: where nothing is hidden, comparing looks into none of them.
        if line.attributes != sent.get("attributes", {})
    }
    return Submitted(
        plan.order_id, _shown_state(plan), reasons=tuple(plan.reasons), reclassified=reclassified
    )


def _shown_state(plan: Plan) -> str:
    """What the accepting answer says: what has begun since does not matter to it."""
    shown = plan.order_state.value
    return shown if shown in ("rejected", "pending") else "acknowledged"
