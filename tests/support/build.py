"""Small releases and orders, written in one breath.

A release is given by its parts as keyword lists (products as codes or dictionaries of their file form); what a test
does not mention is left out or has the plainest value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from domain.catalogue import Release
from domain.orders import Order, OrderLine
from domain.publish import compile_release
from domain.release import CompiledRelease

Part = Mapping[str, Any]


def release_document(**parts: Any) -> dict[str, Any]:
    """The file form of a release. `products` may be codes; every system and queue that an item names is declared."""
    parts["products"] = [{"code": each} if isinstance(each, str) else dict(each) for each in parts.get("products", ())]
    items = [each for plan in parts.get("plans", ()) for each in plan["items"]]
    for part, member in (("systems", "system"), ("queues", "queue")):
        parts.setdefault(part, [{"code": code} for code in sorted({each[member] for each in items if member in each})])
    return {"code": "test", "version": "1"} | parts


def release_of(**parts: Any) -> CompiledRelease:
    """A compiled release from its parts."""
    return compile_release(Release.model_validate(release_document(**parts)))


def plan_of(code: str, *items: Part | str, **members: Any) -> dict[str, Any]:
    """A plan definition; an item given as text is a callout of that code."""
    return {"code": code, "items": [callout(each) if isinstance(each, str) else each for each in items]} | members


def callout(code: str, **members: Any) -> dict[str, Any]:
    """A callout to system `sys`."""
    return {"code": code, "type": "callout", "system": "sys"} | members


def manual(code: str, **members: Any) -> dict[str, Any]:
    """A manual task in queue `desk`."""
    return {"code": code, "type": "manualTask", "queue": "desk"} | members


def milestone(code: str, **members: Any) -> dict[str, Any]:
    """A milestone."""
    return {"code": code, "type": "milestone"} | members


def assetize(code: str = "assetize", **members: Any) -> dict[str, Any]:
    """An auto task that turns lines into assets."""
    return {"code": code, "type": "autoTask", "task": "assetize"} | members


def rule(source: str, target: str, *mappings: Part, **members: Any) -> dict[str, Any]:
    """A decomposition rule named `source>target`."""
    return {"name": f"{source}>{target}", "source": source, "target": target, "map": list(mappings)} | members


def scenario(product: str, plan: str, *actions: str, **members: Any) -> dict[str, Any]:
    """A scenario for lines of a product; action add when none is given."""
    return {"product": product, "plan": plan, "actions": list(actions or ("add",))} | members


def depends(item: str, other: str, scope: str | None = None, **members: Any) -> dict[str, Any]:
    """`plan/item` waits for `plan/item`."""
    (plan, code), (other_plan, other_code) = item.split("/"), other.split("/")
    named = {"item": {"plan": plan, "item": code}, "other": {"plan": other_plan, "item": other_code}}
    return named | ({"scope": scope} if scope else {}) | members


def line(line_id: str, product: str | None, action: str = "add", **members: Any) -> OrderLine:
    """An order line; keyword arguments are attributes, except the fields of a line and `below` (its parent's id)."""
    fields = {name: members.pop(name) for name in _LINE_FIELDS & members.keys()}
    below = members.pop("below", None)
    if below is not None:
        fields["relations"] = (("isChild", below), *fields.get("relations", ()))
    return OrderLine(
        line_id, action, specification=product, attributes=members, path=f"productOrderItem[{line_id}]", **fields
    )


_LINE_FIELDS = {
    "name",
    "offering",
    "product_id",
    "quantity",
    "relations",
    "product_relations",
    "place",
    "requested_start_at",
    "prices",
}


def order_of(*lines: OrderLine, account: str | None = "acc-1", **members: Any) -> Order:
    """An order of these lines; its id is given by who accepts it."""
    given: dict[str, Any] = {"channel": "web", "external_id": None, "client_key": None} | members
    return Order(order_id="", tenant="main", account=account, lines=list(lines), **given)


def chain_of(codes: Sequence[str], **members: Any) -> list[dict[str, Any]]:
    """Rules from each product to the next."""
    return [rule(source, target, **members) for source, target in pairwise(codes)]
