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

    def render() -> Iterable[RenderableType]:
        yield f"[bold]{cell(told['summary'])}[/]"
        for reason in told["reasons"]:
            if reason["text"] != told["summary"] or reason["facts"].get("conditions"):
                yield _reason(reason)
        for each in told["items"]:
            branch = Tree(f"{cell(each['name'])}  {cell(each['item'])}  [bold]{cell(each['state'])}[/]")
            for reason in each["reasons"]:
                _grow(branch, reason)
            yield branch
        if told["more"]:
            yield f"and {told['more']} more items that stand still"

    show(as_json, told, render)


def _reason(reason: dict[str, Any]) -> RenderableType:
    branch = Tree("order")
    _grow(branch, reason)
    return branch


def _grow(branch: Tree, reason: dict[str, Any]) -> None:
    leaf = branch.add(f"{cell(reason['text'])}  [dim]{reason['code']}[/]")
    for name in ("valuesNow", "conditions"):
        for where, values in reason["facts"].get(name, {}).items():
            read = ", ".join(f"{key} = {cell(value)}" for key, value in values.items())
            leaf.add(f"{cell(where)}: {read or 'reads nothing'}")


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
