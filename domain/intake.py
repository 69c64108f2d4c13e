"""Accepting an order: validation against the release and the account, decomposition, composition, first items.

All of it happens inside the accepting turn, so the answer carries `acknowledged` or `rejected` with reasons, never the
one and then the other. What the channel can mend in its document raises (400, 409); what is well-formed but cannot be
delivered is stored as `rejected`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain import facts as f
from domain.asset_states import refuse_untimely_actions, states_to_come
from domain.compose import compose
from domain.cutover import done_items, entered_for, refuse_unreached
from domain.decompose import decompose
from domain.errors import Busy, ExpressionFailed, NothingToFulfil, OpenOrderConflict, OrderplanError
from domain.holds import NOTHING_HELD, HeldSystems
from domain.inventory import Account, Asset, AssetDelta, OpenOrder, Projection
from domain.lines import delta_of, order_context
from domain.messages import Delivered
from domain.orders import Order
from domain.plan import Plan
from domain.price_calls import NO_ANSWERS, Answers, PriceFunctionFailed
from domain.related import NO_WAITS, RelatedWaits, refuse_mutual_wait
from domain.release import CompiledRelease
from domain.resolve import Resolved, named_product, resolve_lines
from domain.sealing import Protector, classify, is_sealed
from domain.states import OrderState
from domain.turn import Turn, start

UNKNOWN_RETRY_S: Final = 60
"""When to ask again about an account with an order that cannot be read: somebody has to mend that first."""


def accept(
    order: Order,
    release: CompiledRelease,
    account: Account,
    *,
    now: datetime,
    protector: Protector,
    body_hash: bytes | None = None,
    placement: str = "",
    account_shard: int | None = None,
    held: HeldSystems = NOTHING_HELD,
    answers: Answers = NO_ANSWERS,
    others: RelatedWaits = NO_WAITS,
    actor: str = "",
    done: Sequence[str] | None = None,
) -> Turn:
    """Take an order in: the turn holds its first facts and effects, and the account knows it as open.

    `placement` and `account_shard` are kept with it (`domain/placement.py`); `answers` is what price functions said.
    `others` are orders that wait for one another, as far as this one could close a circle. `actor` is who sends it, if
    not its channel, and `done` what was done of it in another system (`domain/cutover.py`).

    Raises:
        UnknownProduct, BadDocument: an order line names nothing that the release or the account has.
        BadDocument: what is named as done is not in the plan, or something before it is not done.
        InventoryConflict: an action contradicts the projected inventory.
        OpenOrderConflict: another order holds a root asset, and the release says refuse or something is done already.
        MutualWait: it would wait for an order that waits for it.
        Busy: an open order of the account cannot be read, so nobody knows what the account will have.
        FunctionsWanted: `answers` lacks calls that have to be made first; nothing was changed.
    """
    if unknown := account.unknown():
        raise Busy(
            f"order {unknown[0]} of the same account cannot be read, so nobody knows what the account will have",
            mend="send the order again when that one can be read: /v1/cluster names the reason",
            retryAfterS=UNKNOWN_RETRY_S,
            openOrders=unknown,
        )
    projection = account.projected()
    has_secrets = _classify_lines(order, release, projection, protector)
    resolved = resolve_lines(order, release, projection)
    refuse_untimely_actions(order, resolved.lines, projection, account.states_ahead())
    plan = Plan(order=order, release=release, created_at=now, body_hash=body_hash)
    turn = Turn(
        plan=plan,
        now=now,
        protector=protector,
        actor=actor or f"channel:{order.channel}",
        cause=order.client_key,
        held=held,
    )
    accepted: dict[str, Any] = {"order": order.to_dict(), "release": release.release_id}
    if body_hash is not None:
        accepted["bodyHash"] = body_hash.hex()
    if has_secrets:
        accepted["secrets"] = True
    if placement:
        accepted["placement"] = placement
    if account_shard is not None:
        accepted["accountShard"] = account_shard
    behind = account.holders(resolved.roots)
    if behind:
        if release.source.open_order == "refuse" or done is not None:
            raise OpenOrderConflict(
                f"order {behind[0]} on the same product is still open",
                path=order.lines[0].path,
                mend="send the order again when that one has ended",
                openOrders=behind,
            )
        turn.add(f.ORDER_ACCEPTED, None, accepted)
        _wait(turn, account, behind, resolved)
        return turn
    try:
        composed = _compose(turn, account, resolved, projection, answers)
    except (ExpressionFailed, PriceFunctionFailed, NothingToFulfil) as error:
        if done is not None:
            # Somebody has to go on with it: where it was begun, as long as it cannot be here.
            raise
        turn.add(f.ORDER_REJECTED, None, accepted | {"reasons": [error.as_dict()]})
        return turn
    refuse_mutual_wait(plan, others)
    turn.add(f.ORDER_ACCEPTED, None, accepted)
    _begin(turn, account, composed, done or ())
    return turn


def readmit(turn: Turn, account: Account, answers: Answers = NO_ANSWERS) -> bool:
    """Take up a waiting order if nobody is before it any more; False when it has to wait on, as before.

    One that cannot be fulfilled any more (what it changes is gone) ends as cancelled, with the reason. One that means
    other products by now (the one it meant by specification is gone, another one fits) may have to wait for others.

    Raises:
        FunctionsWanted: `answers` lacks calls of price functions that have to be made first; nothing was changed.
    """
    plan = turn.plan
    # Two orders may end in one tick, and both call it up.
    is_waiting = plan.order_id in account.open_orders and account.open_orders[plan.order_id].is_waiting
    if not is_waiting or account.holders(plan.roots, before=plan.order_id):
        return False
    try:
        projection = account.projected()
        resolved = resolve_lines(plan.order, plan.release, projection)
        behind = account.holders(resolved.roots, before=plan.order_id)
        if behind:
            _wait(turn, account, behind, resolved)
            return True
        composed = _compose(turn, account, resolved, projection, answers)
    except OrderplanError as error:
        turn.add(f.ORDER_ENDED, None, {"state": OrderState.CANCELLED.value, "reasons": [error.as_dict()]})
        return True
    _begin(turn, account, composed)
    return True


def open_order_of(plan: Plan, booked: Collection[int] = ()) -> OpenOrder:
    """How the account sees an open order, from its plan.

    Args:
        plan: the order's.
        booked: of a dedicated plan, the bookings that are stored although the plan has not heard of it.
    """
    if plan.template is None:
        return OpenOrder(plan.order_id, plan.roots, is_waiting=True, states=plan.states)
    is_remote = plan.account_shard is not None
    opened = OpenOrder(plan.order_id, plan.roots, sequence=plan.sequence, is_remote=is_remote)
    for line in plan.lines:
        delta = None if line.key in plan.delivered else delta_of(line, plan.release)
        if delta is not None:
            opened.deltas[line.asset_id] = delta
    for number, booking in plan.bookings.items():
        if number not in booked:
            for change in booking.changes:
                opened.expect(AssetDelta.from_dict(change))
    return opened


def in_order_of_account(opened: Sequence[OpenOrder]) -> dict[str, OpenOrder]:
    """The open orders of an account, given in the order of admission; in the order that an account keeps."""
    at_work = sorted((each for each in opened if not each.is_waiting), key=lambda each: each.sequence)
    return {each.order_id: each for each in [*at_work, *(each for each in opened if each.is_waiting)]}


@dataclass(frozen=True, slots=True)
class Booking:
    """What a turn has done to its account.

    `changes` are assets (before, after); None where there is none. `news` are messages for other orders of the account,
    to be delivered in this order; None instead of a message: call `readmit`, it may have waited for this.
    """

    changes: list[tuple[Asset | None, Asset | None]]
    news: list[tuple[str, Delivered | None]]


def has_news(turn: Turn) -> bool:
    """Whether a turn has decided anything that its account has to know."""
    return bool(
        turn.deltas or turn.delivered or turn.lines_changed or turn.is_changed or turn.plan.ended_at is not None
    )


def book(turn: Turn, account: Account) -> Booking:
    """Carry out on the account what a turn has decided, and say who has to hear of it."""
    order_id = turn.plan.order_id
    refresh_open_order(account, order_id, changed_lines(turn))
    if turn.is_changed and order_id in account.open_orders:
        # In its old place: what stands behind it was compared with the account after it.
        account.open_orders[order_id] = open_order_of(turn.plan)
    has_ended = turn.plan.ended_at is not None
    is_cancelled = turn.plan.order_state is OrderState.CANCELLED
    booking = book_changes(
        account, order_id, turn.deltas, turn.delivered, has_ended=has_ended, is_cancelled=is_cancelled
    )
    if turn.is_changed and not has_ended:
        # It may hold fewer products now than somebody waits for.
        booking.news.extend((other, None) for other, each in account.open_orders.items() if each.is_waiting)
    return booking


def book_changes(
    account: Account,
    order_id: str,
    deltas: Iterable[AssetDelta],
    delivered: Collection[str],
    *,
    has_ended: bool,
    is_cancelled: bool = False,
) -> Booking:
    """Carry out on the account what one of its orders has delivered, and say who has to hear of it.

    Args:
        account: that is changed.
        order_id: the order that delivers.
        deltas: what it does to assets.
        delivered: assets that are now what the order wants of them, changed or not.
        has_ended: whether the order is over for the account.
        is_cancelled: whether it ended because it was taken back.
    """
    changes = [account.deliver(order_id, delta) for delta in deltas]
    news: list[tuple[str, Delivered | None]] = []
    if delivered:
        news.extend(_for_others(account, Delivered(order_id, frozenset(delivered))))
    if has_ended and account.open_orders.pop(order_id, None) is not None:
        news.extend(_for_others(account, Delivered(order_id, None, is_cancelled)))
        news.extend((other, None) for other, each in account.open_orders.items() if each.is_waiting)
    return Booking(changes, news)


def _for_others(account: Account, message: Delivered) -> list[tuple[str, Delivered | None]]:
    # A dedicated plan awaits nobody: it was placed while the account had no other open order.
    heard = account.open_orders.items()
    at_work = (order_id for order_id, each in heard if not (each.is_waiting or each.is_remote))
    return [(order_id, message) for order_id in at_work if order_id != message.by_order]


def changed_lines(turn: Turn) -> dict[str, AssetDelta | None]:
    """What is still to come of the lines that a turn's answers have changed, by asset."""
    plan = turn.plan
    lines = [plan.lines[plan.line_at[key]] for key in turn.lines_changed]
    return {line.asset_id: delta_of(line, plan.release) for line in lines}


def refresh_open_order(account: Account, order_id: str, changed: Mapping[str, AssetDelta | None]) -> None:
    """Let the account know what has changed in lines of an open order that are not delivered yet."""
    opened = account.open_orders.get(order_id)
    if opened is None:
        return
    for asset_id, delta in changed.items():
        if delta is None:
            opened.deltas.pop(asset_id, None)
        else:
            opened.deltas[asset_id] = delta


def _classify_lines(order: Order, release: CompiledRelease, projection: Projection, protector: Protector) -> bool:
    """Replace values that may not stay, line by line; True when any was sealed."""
    has_secrets = False
    for line in order.lines:
        if not line.attributes:
            continue
        line.attributes = classify(
            release,
            named_product(release, line, projection),
            line.attributes,
            protector,
            tenant=order.tenant,
            order_id=order.order_id,
            line_key=line.line_id,
        )
        has_secrets = has_secrets or any(is_sealed(value) for value in line.attributes.values())
    return has_secrets


def _wait(turn: Turn, account: Account, behind: list[str], resolved: Resolved) -> None:
    order_id, roots, states = turn.plan.order_id, resolved.roots, states_to_come(resolved.lines)
    payload: dict[str, Any] = {"behind": behind, "roots": sorted(roots)}
    turn.add(f.ORDER_WAITING, None, payload | ({"states": states} if states else {}))
    known = account.open_orders.get(order_id)
    if known is None:
        account.open(OpenOrder(order_id, roots, is_waiting=True, states=states))
    else:
        # It keeps its place among those that wait.
        known.roots, known.states = roots, states


def _compose(
    turn: Turn, account: Account, resolved: Resolved, projection: Projection, answers: Answers
) -> dict[str, Any]:
    """Decompose and compose against what the account will have; binds the template to the plan and gives the fact."""
    plan = turn.plan
    order, release = plan.order, plan.release
    context = order_context(order)
    lines = decompose(order, release, resolved, projection, turn.protector, answers)
    template = compose(release, lines, context, order.relations)
    if template.is_idle and release.source.empty_plan == "reject":
        idle = ", ".join(f"{line.name} ({line.action})" for line in lines[:5])
        raise NothingToFulfil(
            f"nothing to fulfil: no scenario of release {release.release_id} matches {idle}",
            mend="order something that has a scenario, or publish the release with emptyPlan: complete",
        )
    plan.template = template
    composed: dict[str, Any] = {
        "release": release.release_id,
        "template": template.template_id,
        "lines": [line.to_dict() for line in lines],
    }
    if any(is_sealed(value) for line in lines for value in line.attributes.values()):
        composed["secrets"] = True
    sequence = account.next_sequence()
    if sequence:
        composed["sequence"] = sequence
    return composed


def _begin(turn: Turn, account: Account, composed: dict[str, Any], named: Sequence[str] = ()) -> None:
    turn.add(f.PLAN_COMPOSED, None, composed)
    turn.done = done = done_items(turn.plan, named)
    turn.entered = entered_for(turn.plan, done)
    # Known as open before its first items run, so that what they deliver is booked on it.
    account.open(open_order_of(turn.plan))
    start(turn)
    try:
        refuse_unreached(turn.plan, done)
    except OrderplanError:
        account.open_orders.pop(turn.plan.order_id)
        raise
