"""`orderplan key`: the keys that attributes are encrypted with."""

from __future__ import annotations

from typing import Annotated

import typer

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, client_of, moment, show, table
from orderplan.client import URL_DEFAULT

app = typer.Typer(help="Rotate the keys that attributes are encrypted with.", no_args_is_help=True)


@app.command("rotate")
def rotate(
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")],
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Encrypt with a new key from now on; what was encrypted before stays readable."""
    with client_of(url, user) as client:
        made = client.rotate_key(reason)
    show(as_json, made, lambda: [f"new values are encrypted with key {made['keyId']}, everywhere within half a minute"])


@app.command("list")
def list_keys(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List the keys and the rotations that gave them, newest first."""
    with client_of(url, user) as client:
        found = client.list_keys()
    rows = [
        (
            each["keyId"],
            moment(each["at"]),
            each["by"] or "",
            (each["reason"] or "made on first use") + ("" if each["isMade"] else " (came to nothing)"),
        )
        for each in found
    ]
    show(as_json, {"keys": found}, lambda: [table(("key", "at (UTC)", "who", "why"), rows)])
