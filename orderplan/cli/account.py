"""`orderplan account`: what an account has, and what happened to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, client_of, moment, pairs, show, table
from orderplan.client import URL_DEFAULT, Document

app = typer.Typer(help="See what an account has, and what happened to it.", no_args_is_help=True)

Account = Annotated[str, typer.Argument(help="The billing account's id, else the customer's.", metavar="ACCOUNT")]
WORDS: Final = {
    "order.accepted": "ordered",
    "order.ended": "order ended",
    "task.opened": "task opened",
    "task.closed": "task closed",
    "item.failed": "failed",
    "product.changed": "product changed",
}
"""What an entry says, in words."""


@app.command("show")
def show_account(account: Account, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Show how much an account has."""
    with client_of(url, user) as client:
        found = client.account(account)
    rows = [
        ("account", found["account"]),
        ("orders", f"{found['orders']}, open {found['openOrders']}"),
        ("products", found["products"]),
        ("open tasks", found["openTasks"]),
        ("failed items", found["failedItems"]),
    ]
    show(as_json, found, lambda: [pairs(rows)])


@app.command("timeline")
def show_timeline(
    account: Account,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on where the list before ended.")] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show what happened to an account, newest first: orders, tasks, failures, products."""
    with client_of(url, user) as client:
        found = client.account_timeline(account, limit=limit, cursor=cursor)
    show(as_json, found, lambda: rendered(account, found))


def rendered(account: str, found: Document) -> Iterable[RenderableType]:
    """A page of the timeline, for people."""
    rows = [
        (
            moment(each["at"]),
            WORDS[each["kind"]],
            each.get("name") or each["id"],
            each["state"],
            each.get("orderId"),
            each.get("item"),
        )
        for each in found["entries"]
    ]
    yield table(("at (UTC)", "what", "name", "state", "order", "item"), rows)
    if found.get("next"):
        yield f"more: orderplan account timeline {account} --cursor {found['next']}"
