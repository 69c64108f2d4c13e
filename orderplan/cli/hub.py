"""`orderplan hub`: who hears of state changes, and what waits for them."""

from __future__ import annotations

from typing import Annotated

import typer

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, moment, show, table
from orderplan.client import URL_DEFAULT, Document

app = typer.Typer(help="Say who hears of state changes, and see what waits for them.", no_args_is_help=True)

Listener = Annotated[str, typer.Argument(help="The listener's id, as `hub list` shows it.", metavar="LISTENER")]


@app.command("list")
def list_listeners(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List the listeners with what waits for each and what went wrong last."""
    with client_of(url, user) as client:
        found = client.list_listeners()
    columns = ("listener", "callback", "query", "state", "waiting", "since (UTC)", "delivered", "missed", "last error")
    rows = [
        (
            each["id"],
            each["callback"],
            each["query"],
            standing(each),
            each["backlog"],
            moment(each["oldestAt"]),
            each["delivered"],
            each["missed"],
            f"{moment(each['lastErrorAt'])} {each['lastError']}" if each["lastError"] else "",
        )
        for each in found
    ]
    show(as_json, {"listeners": found}, lambda: [table(columns, rows) if rows else "no listeners yet"])


@app.command("register")
def register(
    callback: Annotated[str, typer.Argument(help="Where events are posted to.", metavar="CALLBACK")],
    query: Annotated[
        str, typer.Option("--query", help="Which ones: eventType=ProductOrderStateChangeEvent&state=completed,held")
    ] = "",
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Have events posted to an address from now on."""
    with client_of(url, user) as client:
        listener = client.register_listener(callback, query)
    show(as_json, listener, lambda: [f"listener {cell(listener['id'])} hears at {cell(callback)}"])


@app.command("delete")
def delete(listener: Listener, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Send nothing more to a listener, and drop what waits for it."""
    with client_of(url, user) as client:
        client.unregister_listener(listener)
    show(as_json, {"deleted": listener}, lambda: [f"listener {cell(listener)} hears nothing more"])


@app.command("resume")
def resume(listener: Listener, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Send to a listener again at once: one that is suspended, or that is left alone for a while."""
    with client_of(url, user) as client:
        found = client.resume_listener(listener)
    show(as_json, found, lambda: [f"listener {cell(listener)} is sent the {found['backlog']} events that wait for it"])


def standing(listener: Document) -> str:
    """How a listener does, in a word or two."""
    if listener["state"] == "suspended":
        return f"suspended {moment(listener['suspendedAt'])}"
    if listener["pausedUntil"]:
        return f"down since {moment(listener['failingSince'])}"
    if listener["ordersFailing"]:
        return f"refuses events of {listener['ordersFailing']} orders"
    return "active"
