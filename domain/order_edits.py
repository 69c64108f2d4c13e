"""A patch of an order under way: what an agent or a channel knows better by now of its lines and of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from domain.edits import merged
from domain.errors import BadDocument, NotFound
from domain.orders import Order, OrderLine

_LINE_MEMBERS: Final = {"attributes", "quantity", "requestedStartAt", "place"}
_ORDER_MEMBERS: Final = {"lines", "description", "dueAt", "requestedStartAt"}


def patched_order(order: Order, patch: Mapping[str, Any]) -> Order:
    """The order with the patch laid over it; the given one is left as it is.

    Args:
        order: as it is.
        patch: `description`, `dueAt`, `requestedStartAt`, and `lines`: by line id `attributes` (a value of null takes
            the attribute away), `quantity`, `requestedStartAt`, `place` (of which it says what changes, too).
    Raises:
        BadDocument: a member that no patch has, or of another form; the path names it.
        NotFound: the order has no such line.
    """
    _refuse_unknown(patch, _ORDER_MEMBERS, "")
    lines = patch.get("lines", {})
    if not isinstance(lines, Mapping):
        raise BadDocument("must be an object with line ids as names", path="lines")
    known = {line.line_id: line for line in order.lines}
    for line_id, each in lines.items():
        if line_id not in known:
            raise NotFound(f"order {order.order_id} has no item {line_id!r}", path=f"lines.{line_id}")
        if not isinstance(each, Mapping):
            raise BadDocument("must be an object", path=f"lines.{line_id}")
        known[line_id] = _patched_line(known[line_id], each)
    description = patch.get("description", order.description)
    if not isinstance(description, str):
        raise BadDocument("must be a text", path="description")
    return replace(
        order,
        lines=list(known.values()),
        description=description,
        due_at=_instant(patch, "dueAt", order.due_at, ""),
        requested_start_at=_instant(patch, "requestedStartAt", order.requested_start_at, ""),
    )


def _instant(patch: Mapping[str, Any], name: str, before: str | None, where: str) -> str | None:
    """An instant as text, null for none."""
    given = patch.get(name, before)
    if given is None:
        return None
    try:
        is_instant = isinstance(given, str) and datetime.fromisoformat(given).tzinfo is not None
    except ValueError:
        is_instant = False
    if not is_instant:
        raise BadDocument("must be an instant with a time zone (RFC 3339)", path=f"{where}{name}")
    return str(given)


def _patched_line(line: OrderLine, patch: Mapping[str, Any]) -> OrderLine:
    where = f"lines.{line.line_id}"
    _refuse_unknown(patch, _LINE_MEMBERS, f"{where}.")
    attributes = patch.get("attributes", {})
    if not isinstance(attributes, Mapping):
        raise BadDocument("must be an object", path=f"{where}.attributes")
    quantity = patch.get("quantity", line.quantity)
    if quantity is not None and (isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1):
        raise BadDocument("must be a whole number from 1 on", path=f"{where}.quantity")
    place = patch.get("place", {})
    if not isinstance(place, Mapping):
        raise BadDocument("must be an object", path=f"{where}.place")
    laid_over = {**line.attributes, **attributes}
    return replace(
        line,
        attributes={name: value for name, value in laid_over.items() if value is not None},
        quantity=quantity,
        requested_start_at=_instant(patch, "requestedStartAt", line.requested_start_at, f"{where}."),
        place=merged(line.place, place),
    )


def _refuse_unknown(given: Mapping[str, Any], known: set[str], where: str) -> None:
    for name in given:
        if name not in known:
            mend = f"use {', '.join(sorted(known))}"
            raise BadDocument(f"a patch has no member {name!r}", path=f"{where}{name}", mend=mend)
