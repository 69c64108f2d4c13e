"""`orderplan worker`: people, their shifts and skills."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, client_of, moment, show, table
from orderplan.client import URL_DEFAULT, Document

app = typer.Typer(help="Say who is on shift, and who can do what.", no_args_is_help=True)


@app.command("list")
def list_workers(
    queue: Annotated[str | None, typer.Option("--queue", help="Only members of this queue.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")] = 100,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List workers."""
    with client_of(url, user) as client:
        workers = client.list_workers(queue=queue, limit=limit)
    show(as_json, {"workers": workers}, lambda: [_workers(workers) if workers else "no workers yet"])


@app.command("set")
def set_worker(
    name: Annotated[str, typer.Argument(help="The worker's name.", metavar="WORKER")],
    on_shift: Annotated[bool | None, typer.Option("--on-shift/--off-shift", help="Whether at work.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="With --on-shift: until this instant.")] = None,
    skill: Annotated[
        list[str] | None,
        typer.Option("--skill", help="NAME[=LEVEL[@EXPIRY]]; may stand more than once, replaces all that were there."),
    ] = None,
    no_skills: Annotated[bool, typer.Option("--no-skills", help="Take all skills away.")] = False,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Say whether somebody is on shift, and all the skills they have; what is not given stays as it is."""
    if skill and no_skills:
        raise UserError("--skill and --no-skills contradict each other", mend="give one of them")
    skills = [parse_skill(each) for each in skill] if skill else [] if no_skills else None
    with client_of(url, user) as client:
        worker = client.put_worker(name, on_shift=on_shift, on_shift_until=until, skills=skills)
    show(as_json, worker, lambda: [_workers([worker])])


def parse_skill(text: str) -> Document:
    """A skill from `NAME[=LEVEL[@EXPIRY]]`.

    Raises:
        UserError: the level is no number.
    """
    name, _, rest = text.partition("=")
    level, _, expires_at = rest.partition("@")
    skill: Document = {"skill": name}
    if level:
        if not level.isdecimal():
            raise UserError(f"{level!r} is no level", path="--skill", mend="write fibre=2@2027-01-31T00:00:00Z")
        skill["level"] = int(level)
    if expires_at:
        skill["expiresAt"] = expires_at
    return skill


def skills_text(worker: Document) -> str:
    """A worker's skills in one line."""
    return ", ".join(
        f"{each['skill']} {each['level']}" + (" (expired)" if each["isExpired"] else "") for each in worker["skills"]
    )


def _workers(workers: list[Document]) -> Table:
    rows = [
        (
            each["name"],
            "yes" if each["onShift"] else "no",
            moment(each["onShiftUntil"]),
            skills_text(each),
            ", ".join(each["queues"]),
            moment(each["changedAt"]),
            each["changedBy"],
        )
        for each in workers
    ]
    columns = ("worker", "on shift", "until (UTC)", "skills", "queues", "changed (UTC)", "by")
    return table(columns, rows)
