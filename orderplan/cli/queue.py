"""`orderplan queue`: manual queues, and who works in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, moment, show, table
from orderplan.cli.worker import skills_text
from orderplan.client import URL_DEFAULT, Document

app = typer.Typer(help="See manual queues, and say who works in them.", no_args_is_help=True)

Code = Annotated[str, typer.Argument(help="The queue's code, as the release names it.", metavar="QUEUE")]
Name = Annotated[str, typer.Argument(help="The worker's name.", metavar="WORKER")]


@app.command("list")
def list_queues(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List the queues with what is going on in each."""
    with client_of(url, user) as client:
        queues = client.list_queues()
    columns = ("queue", "open", "held", "oldest (UTC)", "due next (UTC)", "members")
    rows = [
        (
            each["code"],
            each["open"],
            each["held"],
            moment(each["oldestAt"]),
            moment(each["dueNextAt"]),
            each["members"] or "everybody",
        )
        for each in queues
    ]
    show(as_json, {"queues": queues}, lambda: [table(columns, rows) if rows else "no queues yet"])


@app.command("members")
def members(code: Code, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Show who works in a queue, with shifts and skills, and who changed that."""
    with client_of(url, user) as client:
        queue = client.queue(code)
    show(as_json, queue, lambda: _members(queue))


@app.command("add-member")
def add_member(
    code: Code, worker: Name, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Make somebody a member; from the first one on only members see the queue's tasks."""
    with client_of(url, user) as client:
        queue = client.add_member(code, worker)
    show(as_json, queue, lambda: _members(queue))


@app.command("remove-member")
def remove_member(
    code: Code, worker: Name, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """End a membership; a queue without members is open to everybody."""
    with client_of(url, user) as client:
        client.remove_member(code, worker)
        left = client.list_workers(queue=code)
    text = f"{cell(worker)} is no member of {cell(code)} any more"
    text += "" if left else "; the queue has no members now, so everybody may work in it"
    show(as_json, {"queue": code, "removed": worker, "isOpenToAll": not left}, lambda: [text])


def _members(queue: Document) -> Iterable[RenderableType]:
    if queue["isOpenToAll"]:
        yield f"{cell(queue['code'])} has no members: everybody may work in it"
    else:
        rows = [(each["name"], "yes" if each["onShift"] else "no", skills_text(each)) for each in queue["workers"]]
        yield table((f"member of {queue['code']}", "on shift", "skills"), rows)
    if queue["changes"]:
        changes = [(moment(each["at"]), each["by"], each["kind"], each["worker"]) for each in queue["changes"]]
        yield table(("changed (UTC)", "by", "what", "worker"), changes)
