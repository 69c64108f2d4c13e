"""Random orders, and what people make of them afterwards."""

from __future__ import annotations

import copy
import random
from collections.abc import Collection
from typing import Any, Final

from domain.inventory import Asset
from domain.orders import Order, OrderLine
from tests.changes.catalogue import ORDERED, SALEABLE
from tests.support.build import line, order_of

_VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "n": (0, 1, 2, 3, 4),
    "zone": ("east", "west"),
    "color": ("red", "blue", "green"),
    "pin": ("1234", "9999"),
    "code": ("alpha", "beta"),
    "fixed": ("one", "two"),
}
_STARTS: Final = (None, None, "2026-03-02T09:01:00Z", "2026-03-02T10:00:00Z")


def copied(order: Order) -> Order:
    """An order that whoever takes it in may change."""
    return Order.from_dict(copy.deepcopy(order.to_dict()))


def drawn_order(rng: random.Random, installed: dict[str, Asset]) -> Order:
    """Bundles of new lines, and what becomes of something installed."""
    lines: list[OrderLine] = []
    count = rng.choice((1, 1, 2, 3))
    for _ in range(count):
        _add_bundle(rng, lines)
    changeable = sorted(asset_id for asset_id, asset in installed.items() if asset.product in SALEABLE)
    rng.shuffle(changeable)
    for asset_id in changeable[: rng.choice((0, 1, 1, 2))]:
        action = rng.choice(("modify", "modify", "delete", "noChange"))
        attributes = _attributes(rng, 0.4) if action == "modify" else {}
        quantity = rng.choice((None, 1, 2, 3)) if action == "modify" else None
        lines.append(line(_fresh(lines), None, action, product_id=asset_id, quantity=quantity, **attributes))
    if len(lines) > 1 and rng.random() < 0.15:
        # Only what is there changes.
        lines = [each for each in lines if each.product_id is not None] or lines
    return order_of(*lines, description=rng.choice(("", "", "urgent")), due_at=rng.choice(_STARTS))


def changed_order(rng: random.Random, order: Order, taken: set[str]) -> Order:
    """The whole new order: other values, lines less, lines more, with ids that are not `taken`."""
    after = copied(order)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change(rng, after, taken)
    return after


def drawn_patch(rng: random.Random, order: Order) -> dict[str, Any]:
    """A patch of a line or two, or of the order itself."""
    patch: dict[str, Any] = {}
    if rng.random() < 0.2:
        patch["description"] = rng.choice(("", "urgent", "calm"))
    lines: dict[str, dict[str, Any]] = {}
    for each in rng.sample(order.lines, min(len(order.lines), rng.choice((1, 1, 2)))):
        member = rng.choice(("attributes", "attributes", "attributes", "quantity", "requestedStartAt"))
        if member == "attributes":
            name = _name(rng)
            lines[each.line_id] = {"attributes": {name: rng.choice((None, *_VALUES[name]))}}
        elif member == "quantity":
            lines[each.line_id] = {"quantity": rng.randint(1, 4)}
        else:
            lines[each.line_id] = {"requestedStartAt": rng.choice(_STARTS[2:])}
    return patch | {"lines": lines}


def patched(order: Order, patch: dict[str, Any]) -> Order:
    """The order as a patch makes it, by the words of the patch's documentation."""
    after = copied(order)
    after.description = patch.get("description", after.description)
    for each in after.lines:
        laid_over = patch["lines"].get(each.line_id, {})
        for name, value in laid_over.get("attributes", {}).items():
            if value is None:
                each.attributes.pop(name, None)
            else:
                each.attributes[name] = value
        each.quantity = laid_over.get("quantity", each.quantity)
        each.requested_start_at = laid_over.get("requestedStartAt", each.requested_start_at)
    return after


def bundle_of(order: Order, line_id: str) -> set[str]:
    """The lines of a line's bundle."""
    parents = {each.line_id: dict(each.relations).get("isChild") for each in order.lines}

    def root(of: str) -> str:
        above = parents[of]
        return of if above is None else root(above)

    return {each for each in parents if root(each) == root(line_id)}


def without(order: Order, line_ids: set[str]) -> Order:
    """The order without some lines."""
    after = copied(order)
    after.lines = [each for each in after.lines if each.line_id not in line_ids]
    return after


def _name(rng: random.Random) -> str:
    extra = ORDERED if rng.random() < 0.2 else ()
    names: tuple[str, ...] = ("n", "n", "n", "zone", "zone", "color", "pin", "code", *extra)
    return rng.choice(names)


def _change(rng: random.Random, order: Order, taken: set[str]) -> None:
    lines = order.lines
    act = rng.choice(("value",) * 6 + ("quantity", "start", "remove", "remove", "child", "bundle", "text"))
    chosen = rng.choice(lines)
    if act == "value":
        name = _name(rng)
        chosen.attributes[name] = rng.choice(_VALUES[name])
        if rng.random() < 0.1:
            del chosen.attributes[name]
    elif act == "quantity":
        chosen.quantity = rng.randint(1, 4)
    elif act == "start":
        chosen.requested_start_at = rng.choice(_STARTS)
    elif act == "remove":
        gone = {chosen.line_id} | {each.line_id for each in lines if (("isChild", chosen.line_id) in each.relations)}
        gone |= {each.line_id for each in lines if any(other in gone for _, other in each.relations)}
        if len(gone) < len(lines):
            order.lines = [each for each in lines if each.line_id not in gone]
    elif act == "child":
        if chosen.action == "add":
            lines.append(_line(rng, _fresh(lines, taken), "b", chosen.line_id))
    elif act == "bundle":
        _add_bundle(rng, lines, taken)
    else:
        order.description = rng.choice(("", "urgent", "calm"))


def _add_bundle(rng: random.Random, lines: list[OrderLine], taken: Collection[str] = ()) -> None:
    root = _line(rng, _fresh(lines, taken), rng.choice(("a", "a", "b")), None)
    lines.append(root)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        above = rng.choice([root, lines[-1]])
        lines.append(_line(rng, _fresh(lines, taken), rng.choice(("b", "b", "a")), above.line_id))


def _line(rng: random.Random, line_id: str, product: str, below: str | None) -> OrderLine:
    return line(
        line_id,
        product,
        below=below,
        quantity=rng.choice((None, None, 1, 2, 3)),
        requested_start_at=rng.choice(_STARTS),
        **_attributes(rng, 0.6),
    )


def _attributes(rng: random.Random, share: float) -> dict[str, Any]:
    return {name: rng.choice(values) for name, values in _VALUES.items() if rng.random() < share}


def _fresh(lines: list[OrderLine], taken: Collection[str] = ()) -> str:
    return str(max((int(each) for each in (*(line.line_id for line in lines), *taken)), default=0) + 1)
