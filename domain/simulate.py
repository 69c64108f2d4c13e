"""What a real order would have become under a draft of a release: composed by the same code, and nothing is done.

The order is taken as it was when its plan was composed. What its account had then is worked out from the lines of that
plan: they say which installed values they were compared with, which uses they added and dropped, and whose delivery
they waited for. As a proof the order is composed by its own release in the same way: if that does not give the plan
that it got, what is shown is approximate, and says so.

Alternative dropped: to compose against the account as it is today. What an order has added would be there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.catalogue import Action
from domain.compose import Template, compose
from domain.decompose import decompose
from domain.errors import NothingToFulfil, OrderplanError
from domain.inventory import ACTIVE, SUSPENDED, Account, Asset, AssetDelta, OpenOrder
from domain.lines import Line, order_context
from domain.orders import Order
from domain.plan import Plan
from domain.preview import NoProtector, longest_way_s
from domain.price_calls import FunctionsWanted
from domain.release import CompiledRelease, ItemDef
from domain.resolve import resolve_lines
from domain.sealing import is_encrypted, same_value
from domain.states import OrderState

NAMED_MAX: Final = 100
"""Items and lines of each kind that an answer names of an order; all are counted."""
_STATUS_BEFORE: Final = {Action.RESUME.value: SUSPENDED}
_ELSEWHERE: Final = "elsewhere"
"""Stands for the sources of a shared instance that are not in the order."""


@dataclass(frozen=True, slots=True)
class Composed:
    """What an order becomes: its lines, and its plan without the order."""

    lines: list[Line]
    template: Template

    def items(self) -> dict[str, int]:
        """Item key -> node."""
        return {self.template.key_of(node, self.lines): node for node in range(len(self.template.nodes))}

    def planned_s(self) -> float:
        """Seconds of planned work on the longest way."""
        return longest_way_s(self.template, [True] * len(self.template.nodes))


def simulate(plan: Plan, draft: CompiledRelease) -> dict[str, Any] | None:
    """What the draft would make of an order, against what its release has made of it; None where it was given none.

    Args:
        plan: folded up to its composition, or to the order's rejection.
        draft: the release to try.
    Returns: `outcome` (same, other; refused by the draft; accepted by the draft alone), `error` or `errorBefore` with
        the reason, `isApproximate`, counts of `items`, `plannedS`, and by names what is `added`, `gone` and `changed`,
        of items and of `lines`.
    """
    is_rejected = plan.order_state is OrderState.REJECTED
    if plan.template is None and not is_rejected:
        return None
    before = Composed(plan.lines, plan.template) if plan.template is not None else None
    account = account_before(plan)
    after, error = _try(plan.order, draft, account)
    shown: dict[str, Any] = {
        "outcome": _outcome(before, after),
        "isApproximate": is_rejected or not _is_proved(plan, before, account),
        "items": {"before": _count(before), "after": _count(after)},
        "plannedS": {"before": _planned(before), "after": _planned(after)},
    }
    if error is not None:
        shown["error"] = error
    if before is None:
        shown["errorBefore"] = plan.reasons[0] if plan.reasons else {"code": "rejected", "reason": "it was rejected"}
    if before is not None and after is not None:
        differs = _compared(before, after)
        shown |= differs | {"outcome": "other" if _has_any(differs) else "same"}
    return shown


def account_before(plan: Plan) -> Account:
    """The account as the order found it, as far as the lines of its plan tell."""
    account = Account(plan.order.account)
    line_at = {line.key: line for line in plan.lines}
    for line in plan.lines:
        if not line.is_asset:
            continue
        if line.awaits and line.joins:
            gone = Asset(line.awaits, line.product, line.root_asset_id, instance=line.instance)
            account.assets[line.awaits] = gone
            _pending(account, line.joins).deltas[line.awaits] = AssetDelta(
                "remove", line.awaits, line.product, line.root_asset_id, instance=line.instance
            )
            continue
        if line.action == Action.ADD:
            continue
        asset = Asset(
            asset_id=line.asset_id,
            product=line.product,
            root_id=line.root_asset_id,
            name=line.name,
            offering=line.offering,
            attributes=dict(line.previous),
            quantity=line.previous_quantity or 1,
            uses=_uses_before(line, line_at),
            instance=line.instance,
            place=line.place,
            status=_STATUS_BEFORE.get(line.action, ACTIVE),
        )
        account.assets[line.asset_id] = asset
        if line.joins:
            # Of an order that had yet to deliver it.
            _pending(account, line.joins).deltas[line.asset_id] = AssetDelta(
                "change", line.asset_id, line.product, line.root_asset_id, instance=line.instance
            )
    return account


def _pending(account: Account, order_id: str) -> OpenOrder:
    return account.open_orders.setdefault(order_id, OpenOrder(order_id, frozenset()))


def _uses_before(line: Line, line_at: Mapping[str, Line]) -> dict[str, int]:
    """Who has used an instance, and for how much of it."""
    uses: dict[str, int] = {}
    for key in line.sources:
        source = line_at[key]
        is_used = source.asset_id not in line.add_uses or source.previous_quantity not in (0, source.quantity)
        if source.action != Action.ADD and is_used:
            uses[source.asset_id] = source.previous_quantity or source.quantity
    # Others kept it from being removed, or used the rest of it.
    is_kept = line.action != Action.DELETE and not (uses.keys() - set(line.drop_uses)) and not line.add_uses
    others = line.previous_quantity - sum(uses.values())
    if line.sources and line.action != Action.DELETE and (is_kept or others > 0):
        uses[_ELSEWHERE] = max(others, 1)
    return uses


def _try(order: Order, release: CompiledRelease, account: Account) -> tuple[Composed | None, dict[str, Any] | None]:
    """What a release makes of an order; or why it makes nothing of it."""
    try:
        return _composed(order, release, account), None
    except FunctionsWanted as wanted:
        names = ", ".join(sorted({call.function for call in wanted.calls}))
        return None, {
            "code": "priceFunctions",
            "reason": f"it depends on what price functions say ({names}), which a simulation does not call",
        }
    except OrderplanError as error:
        return None, error.as_dict()


def _composed(order: Order, release: CompiledRelease, account: Account) -> Composed:
    # A copy: what is worked out for one release must not be seen by the other.
    order = Order.from_dict(order.to_dict())
    projection = account.projected()
    resolved = resolve_lines(order, release, projection)
    lines = decompose(order, release, resolved, projection, NoProtector())
    template = compose(release, lines, order_context(order), order.relations)
    if template.is_idle and release.source.empty_plan == "reject":
        raise NothingToFulfil(f"no scenario of release {release.release_id} matches any line of the order")
    return Composed(lines, template)


def _is_proved(plan: Plan, before: Composed | None, account: Account) -> bool:
    """Whether the order's own release, composed in the same way, gives what it gave."""
    again, _ = _try(plan.order, plan.release, account)
    return again is not None and before is not None and not _has_any(_compared(before, again))


def _outcome(before: Composed | None, after: Composed | None) -> str:
    if after is None:
        return "refused"
    return "accepted" if before is None else "same"


def _count(composed: Composed | None) -> int:
    return 0 if composed is None else len(composed.template.nodes)


def _planned(composed: Composed | None) -> float:
    return 0.0 if composed is None else composed.planned_s()


# What differs.


def _compared(before: Composed, after: Composed) -> dict[str, Any]:
    ours, theirs = before.items(), after.items()
    changed = _changed_items(before, after, ours, theirs)
    lines, lines_after = ({line.key: line for line in each.lines} for each in (before, after))
    changed_lines = (
        {"key": key, "fields": fields}
        for key, line in lines.items()
        if key in lines_after and (fields := _line_fields(line, lines_after[key]))
    )
    return {
        "added": _listed(_named(after, theirs, (key for key in theirs if key not in ours))),
        "gone": _listed(_named(before, ours, (key for key in ours if key not in theirs))),
        "changed": _listed(changed),
        "lines": {
            "added": _listed({"key": key} for key in lines_after if key not in lines),
            "gone": _listed({"key": key} for key in lines if key not in lines_after),
            "changed": _listed(changed_lines),
        },
    }


def _listed(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    every = list(found)
    return {"total": len(every), "first": every[:NAMED_MAX]}


def _has_any(differs: Mapping[str, Any]) -> bool:
    kinds = ("added", "gone", "changed")
    return any(each[kind]["total"] for each in (differs, differs["lines"]) for kind in kinds)


def _named(composed: Composed, items: Mapping[str, int], keys: Iterable[str]) -> Iterator[dict[str, Any]]:
    for key in keys:
        yield {"key": key, "name": _name(composed.template.definitions[items[key]])}


def _name(definition: ItemDef | None) -> str:
    return "await" if definition is None else definition.name


def _changed_items(
    before: Composed, after: Composed, ours: Mapping[str, int], theirs: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Items that are in both plans and do something else, or wait for something else."""
    waits, waits_after = _waits(before, ours), _waits(after, theirs)
    for key, node in ours.items():
        if key not in theirs:
            continue
        one, other = before.template.definitions[node], after.template.definitions[theirs[key]]
        fields = _fields(one, other)
        no_more, now = waits[key] - waits_after[key], waits_after[key] - waits[key]
        if fields or no_more or now:
            yield {
                "key": key,
                "name": _name(other),
                "fields": fields,
                "waitsNoMoreFor": sorted(no_more),
                "waitsNowFor": sorted(now),
            }


def _waits(composed: Composed, items: Mapping[str, int]) -> dict[str, frozenset[str]]:
    keys = {node: key for key, node in items.items()}
    return {key: frozenset(keys[each] for each in composed.template.waits[node]) for key, node in items.items()}


def _document(definition: ItemDef) -> dict[str, Any]:
    found: dict[str, Any] = definition.source.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return found


def _fields(one: ItemDef | None, other: ItemDef | None) -> list[str]:
    """The members of an item's definition that differ."""
    if one is None or other is None:
        return [] if one is other else ["type"]
    if one.source == other.source:
        return []
    ours, theirs = _document(one), _document(other)
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def _line_fields(one: Line, other: Line) -> list[str]:
    """What of a line is otherwise: its action, its quantity, or the names of attributes; never their values."""
    fields = [name for name in ("action", "quantity") if getattr(one, name) != getattr(other, name)]
    names = {*one.attributes, *other.attributes}
    differing = (name for name in sorted(names) if _is_other(one.attributes.get(name), other.attributes.get(name)))
    return [*fields, *(f"attributes.{name}" for name in differing)]


def _is_other(value: Any, now: Any) -> bool:
    # What is encrypted here cannot be compared with what was encrypted then.
    return not same_value(value, now) and not (is_encrypted(value) and is_encrypted(now))
