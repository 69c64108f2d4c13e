"""`orderplan campaign`: very many orders, submitted at a rate by the server itself."""

from __future__ import annotations

from typing import Annotated

import typer

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, client_of, show
from orderplan.cli.fallout import JobId, job_shown
from orderplan.cli.files import opened_lines
from orderplan.client import URL_DEFAULT

app = typer.Typer(help="Submit very many orders at a rate, behind those that somebody waits for.", no_args_is_help=True)


@app.command("create")
def create(
    file: Annotated[str, typer.Argument(help="TMF622 orders, one JSON object a line; - reads standard input.")],
    name: Annotated[str, typer.Option("--name", help="What people call it.")],
    rate: Annotated[float, typer.Option("--rate", min=1, max=5_000, help="Orders a second.")] = 50.0,
    reason: Annotated[str, typer.Option("--reason", help="Why it is done; kept with it.")] = "a campaign",
    is_started: Annotated[bool, typer.Option("--start/--no-start", help="Begin as soon as it is loaded.")] = True,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Load a campaign from a file and start it. It goes on by itself: see `orderplan job show`, `pause` and `stop`."""
    with opened_lines(file) as lines, client_of(url, user) as client:
        job = client.create_campaign(name, reason, rate=rate)
        typer.echo(f"campaign {job['id']} is being loaded", err=True)
        client.load_campaign(job["id"], lines)
        job = client.start_campaign(job["id"]) if is_started else client.job(job["id"])
    show(as_json, job, lambda: [job_shown(job)])


@app.command("start")
def start(job_id: JobId, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Start a campaign that was loaded with --no-start."""
    with client_of(url, user) as client:
        job = client.start_campaign(job_id)
    show(as_json, job, lambda: [job_shown(job)])
