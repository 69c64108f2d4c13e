"""Changing an order that is under way: amend, patch, cancel, move to another release.

All of them are one thing: the order as it is from now on is decomposed and composed anew, and laid over the plan
(`domain/revise.py`). A cancellation is the order without some bundles, or without any; a move is the same order by
another release. The plan is frozen first; work under way that a change has to wait for ends before it is carried out.
What is refused leaves the plan exactly as it was. Source: REFERENCE c2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from domain import facts as f
from domain.asset_states import refuse_untimely_actions, states_to_come
from domain.catalogue import Action
from domain.change_refusals import (
    is_unjoined,
    refuse_built_on,
    refuse_late,
    refuse_protected,
    refuse_taken,
    refuse_untimely,
)
from domain.compose import Template, compose
from domain.decompose import decompose
from domain.errors import (
    Conflict,
    NotFound,
    NothingToFulfil,
    NotPossibleNow,
    OrderplanError,
)
from domain.inventory import ACTIVE, SUSPENDED, Account, Asset, OpenOrder, Projection
from domain.line_changes import LineOutcome, changed_lines
from domain.lines import Line, order_context
from domain.messages import ChangeOrder
from domain.order_edits import patched_order
from domain.orders import Order, OrderLine, moved_relations
from domain.plan import Plan
from domain.price_calls import NO_ANSWERS, Answers, FunctionsWanted, PriceAnswer
from domain.rejoin import undeliverable
from domain.release import CompiledRelease
from domain.resolve import named_product, resolve_lines
from domain.revise import Revision, revise
from domain.sealing import MASK, SEALED, Protector, classify, is_sealed, same_value
from domain.states import ItemState, OrderState, PlanState
from domain.steer import after_freeze, freeze
from domain.turn import Turn, give_up, move_order


@dataclass(slots=True)
class Change:
    """A change worked out and not carried out: `revision` is None for an order that has no plan yet."""

    kind: str
    order: Order
    release: CompiledRelease
    revision: Revision | None
    is_cancel: bool = False
    is_moved: bool = False
    """It is by another release from then on."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be other than before."""
        if self.is_cancel or self.is_moved or self.kind == "rejoin" or self.revision is None:
            return False
        return all(each is LineOutcome.NO_CHANGE for each in self.revision.lines.outcomes.values())


def decide_change(
    turn: Turn,
    message: ChangeOrder,
    account: Account | None,
    release: CompiledRelease,
    answers: Answers = NO_ANSWERS,
) -> Change | None:
    """Change the order, or ask for it where work under way has to end first; None when nothing would be other.

    Args:
        turn: of the plan.
        message: what is wanted.
        account: the plan's; None when another host keeps it.
        release: that the order is to run by from now on.
        answers: what price functions have said.
    Raises:
        FunctionsWanted: `answers` lacks calls of price functions that have to be made first; nothing was changed.
        NotPossibleNow: the order has ended, another change waits, or items would wait in a circle.
        StaleVersion: the order has changed since the version that the message was made for.
        PastNoReturn: a bundle that would change is past its point of no return.
        ProtectedAttribute: an attribute may not change while the order runs.
        Conflict, OpenOrderConflict, InventoryConflict: another order, or what is installed, stands against it.
        UnknownProduct, BadDocument, NothingToFulfil, ExpressionFailed: the order as it would be cannot be delivered.
        NotFound: a line that is named is none of the order.
    """
    plan = turn.plan
    refuse_untimely(plan, message)
    if plan.template is None:
        return _change_waiting(turn, message, account, release)
    # What is refused must not have replaced a secret value.
    protector = _LaterProtector(turn.protector)
    change = planned_change(plan, message, account, release, protector, answers)
    if change.is_empty and change.order.to_dict() == plan.order.to_dict():
        return None
    protector.carry_out()
    turn.add(f.CHANGE_ASKED, None, _asked(message, change, answers))
    freeze(turn, message.reason)
    if change.is_cancel:
        move_order(turn, OrderState.ASSESSING_CANCELLATION)
    if plan.state is PlanState.FROZEN:
        _carry_out(turn, change, message.reason)
    turn.settle()
    return change


def carry_out_asked(turn: Turn, account: Account | None, release: CompiledRelease) -> Change | None:
    """Carry out the change that waited for work under way; the last of it has ended. None when it is refused.

    It is worked out again, because what has ended may have changed lines, or passed a point of no return: then it is
    refused, and the plan goes on as it was.
    """
    plan = turn.plan
    assert plan.change is not None, "asked for before"
    message = _message_of(plan.change)
    answers = {key: PriceAnswer(values) for key, values in plan.change.get("prices", {}).items()}
    try:
        change = _planned_without_asking(turn, message, account, release, answers)
    except OrderplanError as error:
        was_held = plan.is_held_again
        turn.add(f.CHANGE_REFUSED, None, {"id": plan.change["id"], "reasons": [error.as_dict()]})
        turn.add(f.PLAN_THAWED, None, {"reason": "the change was refused"})
        awaits = dict.fromkeys([*message.awaits, *(undeliverable(plan, account) if account is not None else ())])
        give_up(turn, awaits, "does not make")
        after_freeze(turn, "held before", was_held=was_held)
        turn.settle()
        return None
    _carry_out(turn, change, message.reason)
    turn.settle()
    return change


def _planned_without_asking(
    turn: Turn, message: ChangeOrder, account: Account | None, release: CompiledRelease, answers: Answers
) -> Change:
    try:
        return planned_change(turn.plan, message, account, release, turn.protector, answers)
    except FunctionsWanted as wanted:
        raise NotPossibleNow(
            "what price functions have to be asked is other than when the change was asked for",
            mend="send the change again",
        ) from wanted


def planned_change(
    plan: Plan,
    message: ChangeOrder,
    account: Account | None,
    release: CompiledRelease,
    protector: Protector,
    answers: Answers = NO_ANSWERS,
) -> Change:
    """Work a change out; nothing of the plan or the account is changed. See `decide_change` for what it raises."""
    assert plan.template is not None
    if message.kind == "cancel":
        gone = _cancelled_roots(plan, message.lines)
        if gone is None:
            nothing = Template((), (), (), ())
            lines = changed_lines(plan, (), release.products)
            refuse_late(plan, lines, is_forced=message.is_forced)
            revision = revise(plan, plan.order, release, lines, nothing)
            return Change("cancel", plan.order, release, revision, is_cancel=True)
        order, wanted = plan.order, _without(plan, gone)
    before = _account_before(plan, account)
    projection = before.projected()
    if message.kind != "cancel":
        order = _order_of(plan, message, release, projection, protector)
        wanted = _with_lines(order, [line for line in order.lines if not _is_gone(plan, line.line_id)])
    resolved = resolve_lines(wanted, release, projection)
    if plan.change is None:
        # Not again when it is carried out. Those that wait come after it; its own lines were judged when they came.
        refuse_untimely_actions(wanted, resolved.lines, projection, {}, _known(plan))
    target = decompose(wanted, release, resolved, projection, protector, answers)
    lines = changed_lines(plan, target, release.products)
    refuse_protected(plan, lines, release)
    refuse_late(plan, lines, is_forced=message.is_forced)
    refuse_taken(plan, before, resolved.roots)
    refuse_built_on(plan, account, lines, is_told=message.kind == "rejoin")
    template = compose(release, target, order_context(order), order.relations)
    if template.is_idle and release.source.empty_plan == "reject":
        raise NothingToFulfil(
            f"nothing of the order as it would be matches a scenario of release {release.release_id}",
            mend="cancel the order, or amend it to something that can be delivered",
        )
    revision = revise(plan, order, release, lines, template)
    return Change(message.kind, order, release, revision, is_moved=release is not plan.release)


# The order as it is from now on.


def _order_of(
    plan: Plan, message: ChangeOrder, release: CompiledRelease, projection: Projection, protector: Protector
) -> Order:
    if message.kind in ("move", "rejoin"):
        return plan.order
    if message.kind == "patch":
        order = patched_order(plan.order, message.patch)
    else:
        assert message.order is not None
        order = Order.from_dict(message.order)
        order.order_id, order.tenant = plan.order.order_id, plan.order.tenant
        # By these the channel finds it again.
        order.channel, order.client_key = plan.order.channel, plan.order.client_key
        order.related = moved_relations(plan.order.related, order.related)
        if order.external_id not in (None, plan.order.external_id):
            raise Conflict(
                "an amendment leaves the external id as it is: by it the channel finds the order again",
                path="externalId",
                mend="leave it out, or order what is wanted as a new order",
            )
        order.external_id = plan.order.external_id
        if order.account != plan.order.account:
            raise Conflict(
                "an amendment leaves the account as it is", path="billingAccount", mend="order it for the other account"
            )
    known = {line.line_id: line for line in plan.order.lines}
    for line in order.lines:
        old = known.get(line.line_id)
        if old is None:
            continue
        for name in ("specification", "offering", "product_id", "action"):
            if getattr(line, name) != getattr(old, name):
                raise Conflict(
                    f"item {line.line_id!r} is about another product or action than before ({name})",
                    path=line.path,
                    mend="leave that item out and give the new one an id of its own",
                )
        # What is shown as asterisks, and sent back so, is meant to stay.
        line.attributes = {
            name: old.attributes[name] if value == MASK and name in old.attributes else value
            for name, value in line.attributes.items()
        }
    for line in order.lines:
        product, old = named_product(release, line, projection), known.get(line.line_id)
        line.attributes = classify(
            release,
            product,
            line.attributes,
            protector,
            tenant=order.tenant,
            order_id=order.order_id,
            # A secret that is said anew gets a name of its own: nobody can compare it with the one that is out of
            # sight, so it counts as another one, and what was done with that is done again.
            line_key=line.line_id if old is None else f"{line.line_id}~{plan.facts}",
        )
        if old is not None and _is_gone(plan, line.line_id) and not _says_the_same(old, line):
            raise Conflict(
                f"item {line.line_id!r} was cancelled",
                path=line.path,
                mend="give what is wanted instead an id of its own",
            )
    return order


def _says_the_same(old: OrderLine, new: OrderLine) -> bool:
    names = old.attributes.keys() | new.attributes.keys()
    pairs = [(old.attributes.get(name), new.attributes.get(name)) for name in names]
    is_same = all(same_value(then, now) or (is_sealed(then) and is_sealed(now)) for then, now in pairs)
    return is_same and (old.quantity, old.place) == (new.quantity, new.place)


def _known(plan: Plan) -> frozenset[str]:
    """The lines of the order as it is: a change leaves their products and actions alone (`_order_of`)."""
    return frozenset(line.line_id for line in plan.order.lines)


def _is_gone(plan: Plan, line_id: str) -> bool:
    """Whether a line of the order was cancelled: it does not come back under its id."""
    return line_id in plan.cancelled_lines


def _cancelled_roots(plan: Plan, named: Iterable[str]) -> frozenset[str] | None:
    """Root lines of the bundles to cancel; None for all that are left."""
    roots = set()
    known = {line.line_id for line in plan.order.lines}
    for line_id in named:
        if line_id not in known or line_id not in plan.line_at:
            raise NotFound(f"order {plan.order_id} has no item {line_id!r}")
        roots.add(plan.lines[plan.line_at[line_id]].root)
    left = {
        plan.lines[plan.line_at[line.line_id]].root
        for line in plan.order.lines
        if not plan.lines[plan.line_at[line.line_id]].is_cancelled
    }
    already = roots - left
    if already:
        raise NotPossibleNow(f"item {min(already)!r} is cancelled already")
    return None if not roots or roots == left else frozenset(roots)


def _without(plan: Plan, roots: frozenset[str]) -> Order:
    """The order without some bundles, and without what was cancelled before."""
    left = [
        line
        for line in plan.order.lines
        if (stands := plan.lines[plan.line_at[line.line_id]]).root not in roots and not stands.is_cancelled
    ]
    return _with_lines(plan.order, left)


def _with_lines(order: Order, lines: list[OrderLine]) -> Order:
    """The order with these of its lines alone, and without relations to the others."""
    known = {line.line_id for line in lines}
    gone = {line.line_id for line in order.lines} - known
    if not gone:
        return order
    return replace(
        order,
        lines=[
            replace(line, relations=tuple(pair for pair in line.relations if pair[1] not in gone)) for line in lines
        ],
    )


def _account_before(plan: Plan, account: Account | None) -> Account:
    """The account as it would be without this order: what it is compared with."""
    if account is None:
        raise NotPossibleNow(
            "the plan has a host of its own, which does not see the account's inventory",
            mend="cancel the order and send it anew",
        )
    if unknown := account.unknown():
        raise NotPossibleNow(f"order {unknown[0]} of the same account cannot be read", openOrders=unknown)
    before = Account(account.account_id, dict(account.assets))
    for order_id, opened in account.open_orders.items():
        if order_id == plan.order_id:
            continue
        # Those that came later were compared with what this one is to leave: they are no part of what was before.
        if opened.is_waiting or opened.sequence < plan.sequence:
            before.open_orders[order_id] = opened
        else:
            before.open_orders[order_id] = OpenOrder(order_id, opened.roots, sequence=opened.sequence)
    for key in plan.delivered:
        line = plan.lines[plan.line_at[key]]
        if line.is_asset:
            _take_back(before, line)
    return before


_STATUS_BEFORE: Final = {Action.SUSPEND.value: ACTIVE, Action.RESUME.value: SUSPENDED}
"""What a product was before an order suspended or resumed it."""


def _take_back(account: Account, line: Line) -> None:
    """Undo what delivering a line has done to the account, as far as a comparison sees it."""
    asset = account.assets.get(line.asset_id)
    if line.action == "add":
        others = {use: n for use, n in asset.uses.items() if use not in line.add_uses} if asset is not None else {}
        if asset is None or not others:
            account.assets.pop(line.asset_id, None)
            return
        account.assets[line.asset_id] = replace(asset, uses=others)
        return
    if asset is None:
        asset = Asset(line.asset_id, line.product, line.root_asset_id, name=line.name, instance=line.instance)
    uses = {use: n for use, n in asset.uses.items() if use not in line.add_uses} | dict.fromkeys(line.drop_uses, 1)
    account.assets[line.asset_id] = replace(
        asset,
        attributes=dict(line.previous),
        quantity=line.previous_quantity or asset.quantity,
        uses=uses,
        status=_STATUS_BEFORE.get(line.action, asset.status),
    )


# Carrying it out.


def _asked(message: ChangeOrder, change: Change, answers: Answers) -> dict[str, Any]:
    asked: dict[str, Any] = {"id": message.message_id, "kind": message.kind, "reason": message.reason}
    if message.kind in ("amend", "patch"):
        # As it is stored: what must not stay has been taken out of sight.
        asked["kind"], asked["order"] = "amend", change.order.to_dict()
        if _has_sealed(change.order):
            asked["secrets"] = True
    if answers:
        # Whoever carries it out has nobody to ask.
        asked["prices"] = {key: dict(each.values) for key, each in answers.items()}
    if message.lines:
        asked["lines"] = list(message.lines)
    if message.release is not None:
        asked["release"] = message.release
    if message.is_forced:
        asked["forced"] = True
    if message.joined:
        asked["joined"], asked["awaits"] = message.joined, list(message.awaits)
    return asked


def _message_of(asked: Mapping[str, Any]) -> ChangeOrder:
    return ChangeOrder(
        kind=asked["kind"],
        reason=asked["reason"],
        message_id=asked["id"],
        order=asked.get("order"),
        lines=tuple(asked.get("lines", ())),
        release=asked.get("release"),
        is_forced=bool(asked.get("forced")),
        joined=asked.get("joined", ""),
        awaits=tuple(asked.get("awaits", ())),
    )


def _has_sealed(order: Order) -> bool:
    return any(is_sealed(value) for line in order.lines for value in line.attributes.values())


def _carry_out(turn: Turn, change: Change, reason: str) -> None:
    plan, revision = turn.plan, change.revision
    assert revision is not None
    assert plan.change is not None
    was_held = plan.is_held_again
    tasks = [item for item in plan.items if item.is_manual and item.ready_at is not None and item.ended_at is None]
    payload: dict[str, Any] = {
        "id": plan.change["id"],
        "kind": change.kind,
        "release": change.release.release_id,
        "lines": [line.to_dict() for line in revision.lines.lines],
        "template": revision.template.to_dict(),
        "amended": revision.amended,
        "cancelled": revision.cancelled,
        "reason": reason,
    }
    if change.kind in ("amend", "patch"):
        payload["order"] = change.order.to_dict()
    if change.is_cancel:
        payload["cancel"] = True
    if any(is_sealed(value) for line in revision.lines.lines for value in line.attributes.values()):
        payload["secrets"] = True
    remade = _remade(plan, change)
    plan.release = change.release
    turn.add(f.PLAN_CHANGED, None, payload)
    turn.is_changed, turn.remade = True, remade
    if plan.account_shard is not None:
        turn.lines_changed.update(dict.fromkeys(plan.line_at))
    if change.is_cancel:
        move_order(turn, OrderState.PENDING_CANCELLATION)
    for item in tasks:
        if item.state not in (ItemState.READY, ItemState.RUNNING):
            turn.tasks_closed.append(item)
        elif item.state is ItemState.RUNNING and item.key in revision.amended:
            turn.add(f.ITEM_ANNOTATED, item, {"text": "The order has changed; look at its lines again."})
    after_freeze(turn, reason, was_held=was_held)


def _remade(plan: Plan, change: Change) -> frozenset[str]:
    """Shared assets that come out otherwise because what a line had joined is not delivered, or is another thing."""
    assert change.revision is not None
    if change.is_cancel:
        return frozenset()
    pairs = zip(plan.lines, change.revision.lines.lines, strict=False)
    return frozenset(
        old.asset_id
        for old, new in pairs
        if old.sources and (is_unjoined(old, new) or (change.kind == "rejoin" and _is_another(old, new)))
    )


def _is_another(old: Line, new: Line) -> bool:
    names = ("asset_id", "action", "joins", "attributes", "previous", "quantity", "previous_quantity", "is_cancelled")
    return any(getattr(old, name) != getattr(new, name) for name in names)


def _change_waiting(
    turn: Turn, message: ChangeOrder, account: Account | None, release: CompiledRelease
) -> Change:
    """Change an order that waits for others: it has no plan yet, so it is simply another one."""
    plan = turn.plan
    if plan.order_state is not OrderState.PENDING or account is None:
        raise NotPossibleNow(f"order {plan.order_id} is {plan.order_state.value}")
    if message.kind == "cancel":
        if message.lines:
            raise NotPossibleNow(
                "the order waits and has no plan yet", mend="amend it to the items that are wanted, or cancel all of it"
            )
        reasons = [{"code": "cancelled", "reason": message.reason}]
        turn.add(f.ORDER_ENDED, None, {"state": OrderState.CANCELLED.value, "reasons": reasons})
        return Change("cancel", plan.order, release, None, is_cancel=True)
    if message.kind == "move":
        raise NotPossibleNow("the order waits and has no plan yet", mend="move it when its turn has come")
    protector = _LaterProtector(turn.protector)
    projection = account.projected()
    order = _order_of(plan, message, release, projection, protector)
    resolved = resolve_lines(order, release, projection)
    refuse_untimely_actions(
        order, resolved.lines, projection, account.states_ahead(before=plan.order_id), _known(plan)
    )
    protector.carry_out()
    behind = account.holders(resolved.roots, before=plan.order_id)
    payload: dict[str, Any] = {"order": order.to_dict(), "roots": sorted(resolved.roots), "behind": behind}
    if states := states_to_come(resolved.lines):
        payload["states"] = states
    if _has_sealed(order):
        payload["secrets"] = True
    turn.add(f.ORDER_AMENDED, None, payload)
    turn.is_changed = True
    return Change(message.kind, order, release, None)


class _LaterProtector:
    """Takes values out of sight when the change is certain, and until then only says what will stand in their place."""

    def __init__(self, protector: Protector) -> None:
        self._protector = protector
        self._sealed: list[tuple[str, str, Any]] = []

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        self._sealed.append((order_id, name, value))
        return {SEALED: name}

    def encrypt(self, tenant: str, owner: str, value: Any) -> dict[str, Any]:
        return self._protector.encrypt(tenant, owner, value)

    def mac(self, tenant: str, value: Any) -> str:
        return self._protector.mac(tenant, value)

    def carry_out(self) -> None:
        """Keep the values."""
        for order_id, name, value in self._sealed:
            self._protector.seal(order_id, name, value)
