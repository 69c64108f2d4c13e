"""`orderplan order`: very many orders over one connection, a JSON object a line, new ones and those under way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, cell, client_of, show
from orderplan.cli.files import opened_for_errors, opened_lines
from orderplan.client import URL_DEFAULT, Client, Document

REFUSED_SHOWN_MAX: Final = 20
"""Refused lines of a bulk that are shown; all of them are written with --errors."""
Errors = Annotated[
    Path | None, typer.Option("--errors", help="Write each refused line's number and reason here, one a line.")
]


def ingest(
    file: Annotated[str, typer.Argument(help="TMF622 orders, one JSON object a line; - reads standard input.")],
    errors: Errors = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Submit very many orders over one connection."""
    _send(file, errors, url, user, as_json, lambda client, lines: client.ingest_orders(lines))


def cutover(
    file: Annotated[
        str,
        typer.Argument(
            help="TMF622 orders that are under way elsewhere, one JSON object a line, each with the list `done` of the "
            "items of its plan that are done (plan/item, or an item's key); - reads standard input."
        ),
    ],
    errors: Errors = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Go on with orders that another system has begun; sent twice, they are the same orders."""
    _send(file, errors, url, user, as_json, lambda client, lines: client.cut_over_orders(lines))


def _send(
    file: str,
    errors: Path | None,
    url: str,
    user: str,
    as_json: bool,
    send: Callable[[Client, Iterable[bytes]], Iterator[Document]],
) -> None:
    states: Counter[str] = Counter()
    refused: list[Document] = []
    with opened_lines(file) as lines, client_of(url, user) as client, opened_for_errors(errors) as kept:
        for answer in send(client, lines):
            if "error" not in answer:
                is_known = answer.get("isRepeat") and answer["state"] != "rejected"
                states["known already" if is_known else answer["state"]] += 1
                continue
            states["refused"] += 1
            if len(refused) < REFUSED_SHOWN_MAX:
                refused.append(answer)
            kept.write(json.dumps(answer) + "\n")
    shown: Document = {"orders": states.total(), "states": dict(states), "refused": refused}

    def render() -> Iterable[RenderableType]:
        counts = ", ".join(f"{count} {cell(state)}" for state, count in states.most_common())
        yield f"{states.total()} orders: {counts}" if states else "no orders"

    if not refused:
        show(as_json, shown, render)
        return
    first = refused[0]["error"]
    raise UserError(
        f"{states['refused']} of {states.total()} lines are refused, the first is line {refused[0]['line']}: "
        f"{first.get('reason')}",
        path=first.get("path"),
        mend=first.get("mend") or ("see --errors FILE for all" if errors is None else f"see {errors}"),
        **shown,
    )
