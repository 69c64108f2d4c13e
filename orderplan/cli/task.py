"""`orderplan task`: what people have to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, login_name, moment, show, table
from orderplan.cli.files import parse_object
from orderplan.client import URL_DEFAULT, Document

app = typer.Typer(help="See and do manual tasks.", no_args_is_help=True)

TaskId = Annotated[str, typer.Argument(help="The task's id.", metavar="ID")]
Worker = Annotated[str, typer.Option("--worker", help="Who works on it.")]
Lease = Annotated[float | None, typer.Option("--lease", min=1, help="Hold it for so many seconds.")]


@app.command("list")
def list_tasks(
    queue: Annotated[str | None, typer.Option("--queue", help="Only tasks of this queue.")] = None,
    worker: Annotated[str | None, typer.Option("--worker", help="Only tasks that this worker may do.")] = None,
    free: Annotated[bool, typer.Option("--free", help="Only tasks that nobody holds.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")] = 50,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List open tasks, most urgent first."""
    with client_of(url, user) as client:
        tasks = client.list_tasks(queue=queue, worker=worker, is_free=free, limit=limit)
    columns = ("task", "queue", "what", "account", "opened (UTC)", "held by", "form")
    rows = [
        (
            each["id"],
            each["queue"],
            each["name"],
            each.get("account"),
            moment(each["openedAt"]),
            each.get("worker"),
            _form(each),
        )
        for each in tasks
    ]
    show(as_json, {"tasks": tasks}, lambda: [table(columns, rows) if rows else "no open tasks"])


def _form(task: Document) -> str:
    return ", ".join(f"{field['name']}{'' if field['required'] else '?'}" for field in task.get("form", ()))


@app.command("claim")
def claim(
    task_id: TaskId,
    worker: Worker,
    lease: Lease = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Take a task, so that nobody else does it."""
    with client_of(url, user) as client:
        task = client.claim_task(task_id, worker, lease)
    show(as_json, task, lambda: _claimed(task, worker))


def _claimed(task: Document, worker: str) -> Iterable[RenderableType]:
    until = moment(task["claimEndsAt"])
    yield f"{cell(task.get('worker') or worker)} holds {task['id']} ({cell(task['name'])}) until {until} UTC"
    for field in task.get("form", ()):
        need = "required" if field["required"] else "optional"
        yield f"  {cell(field['name'])}: {field['type']}, {need}"


@app.command("next")
def take_next(
    worker: Worker,
    queue: Annotated[list[str] | None, typer.Option("--queue", help="Only of this queue; may stand twice.")] = None,
    lease: Lease = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Take the most urgent free task that the worker may do."""
    with client_of(url, user) as client:
        task = client.next_task(worker, queues=queue or None, lease_s=lease)
    if task is None:
        show(as_json, {"task": None}, lambda: [f"there is no free task that {cell(worker)} may do"])
    else:
        show(as_json, {"task": task}, lambda: _claimed(task, worker))


@app.command("hand-over")
def hand_over(
    task_id: TaskId,
    worker: Worker,
    to: Annotated[str, typer.Option("--to", help="Who gets it.")],
    as_operator: Annotated[bool, typer.Option("--operator", help="Do it whoever holds the task.")] = False,
    lease: Lease = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Give a task that you hold to somebody else who may do it."""
    with client_of(url, user) as client:
        task = client.hand_over_task(task_id, worker, to, as_operator=as_operator, lease_s=lease)
    show(as_json, task, lambda: _claimed(task, to))


@app.command("note")
def note(
    task_id: TaskId,
    worker: Annotated[str | None, typer.Option("--worker", help="Who says so.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Add this note; without it the notes are shown.")] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Leave a note with a task, or read its notes."""
    with client_of(url, user) as client:
        if text is not None:
            client.add_note(task_id, worker or user or login_name(), text)
        notes = client.notes(task_id)
    rows = [(moment(each["at"]), each["by"], each["text"]) for each in notes]
    show(as_json, {"notes": notes}, lambda: [table(("at (UTC)", "by", "note"), rows) if rows else "no notes"])


@app.command("release")
def release(
    task_id: TaskId, worker: Worker, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Give a task back."""
    with client_of(url, user) as client:
        task = client.release_task(task_id, worker)
    show(as_json, task, lambda: [f"{task['id']} ({cell(task['name'])}) is free again"])


@app.command("complete")
def complete(
    task_id: TaskId,
    worker: Worker,
    data: Annotated[str, typer.Option("--data", help="The form's values as a JSON object, or @FILE.")] = "{}",
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Hand in the form of a task that you hold: the order goes on."""
    values = parse_object(data, "--data")
    with client_of(url, user) as client:
        task = client.complete_task(task_id, worker, values)
    show(as_json, task, lambda: [f"{task['id']} ({cell(task['name'])}) is done"])
