"""`orderplan archive`: facts of orders that ended long ago leave the hot table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, client_of, moment, show, table
from orderplan.client import URL_DEFAULT, Client, Document


def archive(
    older_than: Annotated[
        float | None, typer.Option("--older-than", help="Orders that ended more than so many days ago.")
    ] = None,
    orders: Annotated[int, typer.Option("--orders", min=1, max=2_000, help="At most so many at a time.")] = 500,
    is_shown: Annotated[bool, typer.Option("--show", help="Only show what is in the archive.")] = False,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Move the facts of orders that ended long ago to the archive, batch by batch; Ctrl-C stops after any of them."""
    if (older_than is None) is not is_shown:
        raise UserError("say --older-than DAYS, or --show", mend="usual is 30")
    with client_of(url, user) as client:
        if older_than is None:
            found = client.archive()
            show(as_json, found, lambda: _shown(found))
            return
        done = _moved(client, older_than, orders)
    rest = "there are more" if done["isMore"] else "nothing else may go now"
    show(as_json, done, lambda: [f"{done['facts']:,} facts of {done['orders']:,} orders were archived; {rest}"])


def _moved(client: Client, older_than: float, orders: int) -> Document:
    """Move batch after batch, and tell of each; what all of them moved."""
    done: Document = {"orders": 0, "facts": 0, "isMore": True}
    try:
        while done["isMore"]:
            batch = client.archive_orders(older_than, orders=orders)
            done["orders"] += batch["orders"]
            done["facts"] += batch["facts"]
            done["isMore"] = batch["isMore"]
            typer.echo(f"{done['facts']:,} facts of {done['orders']:,} orders", err=True)
    except KeyboardInterrupt:
        # The server finishes the batch that it has begun; it is not counted here.
        typer.echo("stopped", err=True)
    return done


def _shown(found: Document) -> Iterable[RenderableType]:
    rows = [(each["month"], f"{each['facts']:,}", f"{each['bytes'] / 1e6:,.1f}") for each in found["months"]]
    yield table(("month of the end", "facts (about)", "MB"), rows) if rows else "the archive is empty"
    more = "+" if found["finishedHotAreMore"] else ""
    since = f", since {moment(found['oldestHotEndedAt'])}" if found["oldestHotEndedAt"] else ""
    yield f"finished orders that are not archived: {found['finishedHot']:,}{more}{since}"
