"""`orderplan order explain` and `order provenance`: why something stands still, and where a value came from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.tree import Tree

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, show, table
from orderplan.cli.order import OrderId, id_of
from orderplan.client import URL_DEFAULT


def explain(
    order_id: OrderId,
    item: Annotated[str | None, typer.Argument(help="An item's key, or a definition as PLAN/ITEM.")] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Say why an order, or an item, is where it is."""
    with client_of(url, user) as client:
        told = client.explain(id_of(client, order_id), item)

    show(as_json, told, lambda: rendered(told))


def rendered(told: dict[str, Any]) -> Iterable[RenderableType]:
    """The sentence first, then each cause with what waits behind it, then what there is to say of the order."""
    yield f"[bold]{cell(told['summary'])}[/]"
    for each in told["items"]:
        yield ""
        yield _item(each)
    if told["more"]:
        yield f"\nand {told['more']} more items that stand still"
    shown = [each for each in told["reasons"] if each["text"] != told["summary"] or each["facts"].get("conditions")]
    if shown:
        yield ""
        branch = Tree("order" if told["items"] else "why")
        for reason in shown:
            _grow(branch, reason)
        yield branch


def _item(each: dict[str, Any]) -> RenderableType:
    """From cause to consequence: what stands in the item's way, the item with its reasons, what waits behind it."""
    chains = (reason["facts"]["chain"] for reason in each["reasons"] if "chain" in reason["facts"])
    chain: list[dict[str, Any]] = next(chains, [])
    top = at = None
    for step in chain:
        label = f"{cell(step['item'])}  {cell(step['state'])}"
        top, at = (Tree(label),) * 2 if at is None else (top, at.add(label))
    label = f"[bold]{cell(each['name'])}[/]  {cell(each['item'])}  {cell(each['state'])}"
    if at is None:
        top = branch = Tree(label)
    else:
        branch = at.add(label)
    for reason in each["reasons"]:
        _grow(branch, reason)
    behind = each["holdsUp"]
    if behind["count"]:
        more = behind["count"] - len(behind["items"])
        rest = f" and {'at least ' if behind['isAtLeast'] else ''}{more} more" if more else ""
        branch.add(f"[dim]holds up[/] {', '.join(cell(key) for key in behind['items'])}{rest}")
    return top or branch


def _grow(branch: Tree, reason: dict[str, Any]) -> None:
    leaf = branch.add(f"{cell(reason['text'])}  [dim]{reason['code']}[/]")
    facts = reason["facts"]
    then, now = facts.get("values"), facts.get("valuesNow", {})
    for where, values in (then or now).items():
        changed = then is not None and now.get(where) != values
        leaf.add(f"{_read(where, values)}" + (f"; now {_values(now.get(where, {}))}" if changed else ""))
    for condition, values in facts.get("conditions", {}).items():
        leaf.add(_read(condition, values))


def _read(where: str, values: dict[str, Any]) -> str:
    return f"[dim]{cell(where)}:[/] {_values(values)}"


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{cell(key)} = {cell(value)}" for key, value in values.items()) or "reads nothing"


def provenance(
    order_id: OrderId,
    line: Annotated[str, typer.Argument(help="The line's key, as `order plan` shows it.")],
    attribute: Annotated[str, typer.Argument(help="The attribute's name.")],
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Say where the value of a line's attribute came from, the newest origin first."""
    with client_of(url, user) as client:
        told = client.provenance(id_of(client, order_id), line, attribute)

    def render() -> Iterable[RenderableType]:
        rows = [(each["kind"], each["value"], each["text"]) for each in told["origins"]]
        yield table(("origin", "value", "how"), rows) if rows else f"line {cell(line)} has no {cell(attribute)}"

    show(as_json, told, render)
