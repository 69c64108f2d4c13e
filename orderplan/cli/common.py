"""What all commands share: options, the client, output for people and for programs, and how errors end a command.

With `--json` the last line of standard output is one JSON object, also when the command fails. Exit codes: 0 done, 2
for what the user can mend (one line on standard error says how), 1 for a bug of ours.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from domain.errors import OrderplanError
from orderplan.client import URL_DEFAULT, ApiError, Client, WaitedTooLong

WIDTH_UNKNOWN: Final = 200
"""Columns where the output is no terminal: ids must not be cut short."""
_JSON_WANTED: Final = "orderplan.json"

STATE_STYLES: Final = {
    "completed": "green",
    "Completed": "green",
    "Skipped": "yellow",
    "rejected": "red",
    "failed": "red",
    "cancelled": "red",
    "partial": "red",
    "held": "red",
    "Failed": "yellow",
    "Fatally Failed": "red",
    "Running": "cyan",
    "inProgress": "cyan",
}


class UserError(Exception):
    """Something that the user can mend; `path` names the place, `mend` what to do."""

    def __init__(self, reason: str, *, path: str | None = None, mend: str | None = None, **facts: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.mend = mend
        self.facts = facts


def _note_json(context: typer.Context, value: bool) -> bool:
    # `meta` is one dictionary for a command and all groups above it: the root reads it when something fails.
    context.meta[_JSON_WANTED] = value
    return value


Url = Annotated[str, typer.Option("--url", "--server", envvar="ORDERPLAN_URL", help="Where orderplan serves.")]
User = Annotated[str, typer.Option("--user", envvar="ORDERPLAN_USER", help="Who acts, for the audit trail.")]
Json = Annotated[
    bool, typer.Option("--json", callback=_note_json, help="Make the last line of output one JSON object.")
]
Roles = Annotated[str, typer.Option("--roles", envvar="ORDERPLAN_ROLES", help="Your roles, separated by commas.")]
USER_DEFAULT: Final = ""


def client_of(url: str = URL_DEFAULT, user: str = USER_DEFAULT) -> Client:
    """A client of the server; without a name the user is who is logged in."""
    return Client(url, user=user or login_name())


def login_name() -> str:
    """Who is logged in, for the audit trail."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


class Commands(TyperGroup):
    """The root group: turns refusals into one line on standard error and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (OrderplanError, ApiError, UserError, WaitedTooLong) as error:
            shown = describe(error)
            if ctx.meta.get(_JSON_WANTED):
                print_json({"error": shown})
            typer.echo(f"orderplan: {_line(shown)}", err=True)
            raise typer.Exit(1 if shown["code"] == "internal" else 2) from error


def describe(error: Exception) -> dict[str, Any]:
    """An error as the JSON output shows it: code, reason and, where known, path, mend and facts."""
    match error:
        case OrderplanError():
            return error.as_dict()
        case ApiError():
            shown: dict[str, Any] = {"code": error.code, "reason": error.detail}
            rest = {"path": error.path, "mend": error.mend, "status": error.status or None, **error.facts}
        case UserError():
            shown = {"code": "badInput", "reason": error.reason}
            rest = {"path": error.path, "mend": error.mend, **error.facts}
        case WaitedTooLong():
            shown = {"code": "waitedTooLong", "reason": str(error), "id": error.order_id, "state": error.state}
            look = {"order": f"orderplan order plan {error.order_id}", "job": f"orderplan job show {error.order_id}"}
            rest = {"mend": f"see what it waits for: {look.get(error.what, 'GET /v1/cluster')}"}
        case _:
            raise AssertionError(f"{type(error).__name__} is not expected here")
    return shown | {name: value for name, value in rest.items() if value is not None}


def _line(shown: Mapping[str, Any]) -> str:
    text = f"{shown['path']}: {shown['reason']}" if shown.get("path") else str(shown["reason"])
    if shown.get("mend"):
        text += f" ({shown['mend']})"
    return " ".join(text.split())


# Output.


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON object on a line of its own."""
    typer.echo(json.dumps(document, ensure_ascii=False, default=str))


def console(*, stderr: bool = False) -> Console:
    """For people: as wide as the terminal, or wide enough for everything where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDTH_UNKNOWN, highlight=False, soft_wrap=False)


def show(is_json: bool, document: Mapping[str, Any], render: Callable[[], Iterable[RenderableType]]) -> None:
    """The result of a command: the JSON object, or what `render` gives for people."""
    if is_json:
        print_json(document)
        return
    screen = console()
    for part in render():
        screen.print(part)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """A plain table; texts of rows are shown as they are, states in their colours."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(cell(each) for each in row))
    return made


def cell(value: object) -> str:
    """A value for a table."""
    if value is None:
        return ""
    text = str(value)
    style = STATE_STYLES.get(text)
    return f"[{style}]{escape(text)}[/]" if style else escape(text)


def pairs(rows: Iterable[tuple[str, object]]) -> Table:
    """Names and values, one pair a line; what has no value is left out."""
    made = Table.grid(padding=(0, 2))
    for name, value in rows:
        if value not in (None, ""):
            made.add_row(f"[bold]{escape(name)}[/]", cell(value))
    return made


def moment(instant: str | None) -> str:
    """An instant of an answer for people: UTC, to the millisecond."""
    return instant[:23].replace("T", " ").partition("+")[0] if instant else ""


def seconds(since: str | None, until: str | None) -> float | None:
    """Seconds between two instants of an answer, if both are there."""
    if not since or not until:
        return None
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def duration(stretch: float) -> str:
    """A stretch of time for people: its two greatest units."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left = round(stretch)
    parts: list[str] = []
    for name, size in units:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or "0 s"
