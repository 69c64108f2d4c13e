"""`orderplan events`: what happens, as it happens."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from orderplan.cli.common import Json, Url, cell, console, moment
from orderplan.client import URL_DEFAULT
from orderplan.stream import follow


def events(
    order: Annotated[str | None, typer.Option("--order", help="Only this order, by its id.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Only orders of this account.")] = None,
    kinds: Annotated[str | None, typer.Option("--kinds", help="Only these kinds of facts, by commas.")] = None,
    from_id: Annotated[str | None, typer.Option("--from-id", help="Resume after this place of the stream.")] = None,
    url: Url = URL_DEFAULT,
    as_json: Json = False,
) -> None:
    """Follow the facts of all orders until Ctrl-C; with --json one object a line."""
    named = {"order": order, "account": account, "kinds": kinds}
    filters = {name: value for name, value in named.items() if value is not None}
    screen = console()
    try:
        for each in follow(url.rstrip("/"), last_event_id=from_id, filters=filters, attempts_max=20):
            if as_json:
                sys.stdout.write(json.dumps({"place": each.place, "event": each.event, **each.data}) + "\n")
                sys.stdout.flush()
            else:
                data = each.data
                what = f"{data['kind']} {data['item'] or ''}".rstrip()
                screen.print(f"{moment(data['at'])}  {cell(data['orderId'])}  {cell(what)}  {cell(data['actor'])}")
    except KeyboardInterrupt:
        return
