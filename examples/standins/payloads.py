"""Says what is wrong with a callout's payload, as the systems behind it would.

Written from the documented standard payload alone and without the project's code, so that a mistake there is seen here.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

ACTIONS: Final = frozenset({"add", "modify", "delete", "noChange", "suspend", "resume", "move"})
SYSTEMS: Final = ("billing", "inventory", "activation", "workforce")

_PATTERNS: Final[dict[str, dict[str, re.Pattern[str]]]] = {
    "inventory": {"IMSI": re.compile(r"[0-9]{14,15}")},
    "activation": {"MSISDN": re.compile(r"\+?[0-9]{8,15}"), "ICCID": re.compile(r"[0-9]{18,20}")},
}
"""Attributes that a system reads itself, and what it takes for one."""


class Fault(NamedTuple):
    """The first thing wrong with a payload."""

    path: str
    reason: str


def find_fault(system: str, operation: str, payload: object, order_id: str | None) -> Fault | None:
    """What is wrong with the payload for that system, or None.

    Args:
        system: one of `SYSTEMS`.
        operation: the one that the address names.
        payload: the decoded body.
        order_id: the one that the headers name, if they do.
    """
    if not isinstance(payload, dict):
        return Fault("$", "must be an object")
    for name in ("orderId", "item"):
        if not _is_text(payload.get(name)):
            return Fault(name, "must be a text that is not empty")
    if order_id is not None and payload["orderId"] != order_id:
        return Fault("orderId", "is not the order that the header X-Order-Id names")
    if payload.get("operation", operation) != operation:
        return Fault("operation", "is not the operation that the address names")
    lines = payload.get("lines")
    if not isinstance(lines, list) or not lines:
        return Fault("lines", "must be a list of at least one line")
    for position, line in enumerate(lines):
        if fault := _line_fault(system, line):
            return Fault(f"lines[{position}]{'.' if fault.path else ''}{fault.path}", fault.reason)
    return None


def _line_fault(system: str, line: object) -> Fault | None:
    if not isinstance(line, dict):
        return Fault("", "must be an object")
    if not _is_text(line.get("line")):
        return Fault("line", "must be a text that is not empty")
    action = line.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        return Fault("action", f"must be one of {', '.join(sorted(ACTIONS))}")
    product = line.get("product")
    if not isinstance(product, dict):
        return Fault("product", "must be an object")
    if not _is_text(product.get("specification")):
        return Fault("product.specification", "must be a text that is not empty")
    # What is yet to be made may have no id; what is there is found by it.
    if not _is_text(product.get("id")) and (action != "add" or product.get("id") is not None):
        return Fault("product.id", f"must name the product to {action}")
    quantity = line.get("quantity", 1)
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
        return Fault("quantity", "must be a whole number, 0 or more")
    attributes = line.get("attributes")
    if not isinstance(attributes, dict):
        return Fault("attributes", "must be an object")
    if action == "modify" and not isinstance(line.get("previous"), dict):
        return Fault("previous", "must be an object with the installed values that differ")
    for name, pattern in _PATTERNS.get(system, {}).items():
        value = attributes.get(name)
        if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
            return Fault(f"attributes.{name}", f"is no {name}")
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)
