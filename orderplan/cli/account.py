"""`orderplan account`: what an account has, what happened to it, and how it is erased."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Roles, Url, User, client_of, moment, pairs, show, table
from orderplan.client import URL_DEFAULT, Document

app = typer.Typer(help="See what an account has, and what happened to it; erase it.", no_args_is_help=True)

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


@app.command("erase")
def erase_account(
    account: Account,
    reason: Annotated[str, typer.Option("--reason", help="Why; stands on the certificate.")],
    products: Annotated[
        bool, typer.Option("--products", help="Erase products that are not terminated, too: somebody else ends them.")
    ] = False,
    roles: Roles = "",
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Erase an account: its orders, products, facts and values, for good. Asked again, it goes on where it was."""
    with client_of(url, user) as client:
        done = client.erase_account(account, reason, products=products, roles=roles)
    show(as_json, done, lambda: rendered_certificate(done))


@app.command("erasures")
def list_erasures(
    account: Annotated[str | None, typer.Option("--account", help="Of this account alone.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 100,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List erasures, and who was refused one, newest first."""
    with client_of(url, user) as client:
        found = client.list_erasures(account=account, limit=limit)
    rows = [
        (moment(each["askedAt"]), each["id"], each["account"], each["state"], each["by"], each["reason"])
        for each in found
    ]
    show(as_json, {"erasures": found}, lambda: [table(("at (UTC)", "id", "account", "state", "who", "why"), rows)])


@app.command("certificate")
def show_certificate(
    erasure: Annotated[str, typer.Argument(help="The erasure's id.", metavar="ERASURE")],
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show the certificate of an erasure: what was erased, what is kept and why, and where the data went."""
    with client_of(url, user) as client:
        found = client.erasure(erasure)
    show(as_json, found, lambda: rendered_certificate(found))


def rendered_certificate(found: Document) -> Iterable[RenderableType]:
    """A certificate, for people."""
    yield pairs(
        [
            ("erasure", found["id"]),
            ("account", found["account"]),
            ("state", found["state"]),
            ("by", found["by"]),
            ("reason", found["reason"]),
            ("asked (UTC)", moment(found["askedAt"])),
            ("finished (UTC)", moment(found["finishedAt"])),
        ]
    )
    if found["state"] == "refused":
        return
    went_to = found["wentTo"]
    yield pairs(
        [
            ("orders", ", ".join(found["orderIds"]) or "none"),
            ("products", found["products"]),
            ("rows", ", ".join(f"{table} {count}" for table, count in found["rows"].items()) or "none"),
            ("secrets destroyed", ", ".join(found["secretsDestroyed"]) or "none"),
            *(
                ("secret kept", f"{each['secretId']}: needed by {', '.join(each['productIds'])}")
                for each in found["secretsKept"]
            ),
            ("went to systems", ", ".join(went_to["systems"]) or "none"),
            ("to listeners", ", ".join(each["callback"] for each in went_to["listeners"]) or "none"),
            ("to channels", ", ".join(went_to["channels"]) or "none"),
        ]
    )
    yield table(("kept", "what of it, and for how long"), list(found["kept"].items()))


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
