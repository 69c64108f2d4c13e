"""`orderplan fallout` and `orderplan job`: what failed for good, and its repair in bulk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, UserError, cell, client_of, moment, pairs, show, table
from orderplan.cli.files import parse_object, read_document
from orderplan.client import URL_DEFAULT, Client, Document

app = typer.Typer(help="Look at what failed for good, and mend it in bulk.", no_args_is_help=True)
jobs = typer.Typer(help="Bulk jobs: how far they are, and what became of each item.", no_args_is_help=True)

System = Annotated[str | None, typer.Option("--system", help="Only items of this system.")]
ErrorCode = Annotated[str | None, typer.Option("--error-code", help="Only items with this error code.")]
Queue = Annotated[str | None, typer.Option("--queue", help="Only items of this error queue.")]
Plan = Annotated[str | None, typer.Option("--plan", help="Only items of this plan definition.")]
Name = Annotated[str | None, typer.Option("--name", help="Only items of this name.")]
Account = Annotated[str | None, typer.Option("--account", help="Only orders of this account.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit trail.")]
Rate = Annotated[float, typer.Option("--rate", min=1, max=5_000, help="Items a second.")]
Wait = Annotated[bool, typer.Option("--wait", help="Show how far the job is, and return when it is done.")]
ItemsFile = Annotated[
    str | None,
    typer.Option("--items", help="Exactly the items of a file: pairs of order and item, or what `list --json` wrote."),
]
Everything = Annotated[bool, typer.Option("--all", help="Everything that has failed for good.")]
State = Annotated[
    str | None, typer.Option("--state", help="failed: for good; retrying: tried again later by itself; all.")
]
JobId = Annotated[str, typer.Argument(help="The job's id.", metavar="JOB")]


def _filters(**given: str | None) -> dict[str, str]:
    names = {"error_code": "errorCode"}
    return {names.get(name, name): value for name, value in given.items() if value is not None}


@app.command("list")
def list_items(
    system: System = None,
    error_code: ErrorCode = None,
    queue: Queue = None,
    plan: Plan = None,
    name: Name = None,
    account: Account = None,
    state: State = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="At most so many.")] = 100,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List items that failed for good, longest ago first; with --state also those that are tried again."""
    filters = _filters(
        system=system, error_code=error_code, queue=queue, plan=plan, name=name, account=account, state=state
    )
    with client_of(url, user) as client:
        page = client.list_fallout(limit=limit, **filters)
        retrying = sum(each["retrying"] for each in client.fallout_groups()) if state is None else 0

    def render() -> Iterable[RenderableType]:
        rows = [
            (
                moment(each["failedAt"]),
                moment(each["retryAt"]) or "for good",
                each["orderId"],
                each["item"],
                each["system"],
                each["errorCode"],
                each["error"],
            )
            for each in page["items"]
        ]
        if rows:
            yield table(("failed (UTC)", "again (UTC)", "order", "item", "system", "code", "error"), rows)
        else:
            yield "nothing of that has failed" if state else "nothing has failed for good"
        if page["next"]:
            yield "there are more"
        if retrying:
            yield f"{retrying} more have failed and are tried again by themselves: --state retrying"

    show(as_json, page, render)


@app.command("groups")
def groups(
    system: System = None,
    error_code: ErrorCode = None,
    queue: Queue = None,
    plan: Plan = None,
    name: Name = None,
    account: Account = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Count failed items by cause: system and error code."""
    filters = _filters(system=system, error_code=error_code, queue=queue, plan=plan, name=name, account=account)
    with client_of(url, user) as client:
        found = client.fallout_groups(**filters)

    def render() -> Iterable[RenderableType]:
        rows = [
            (
                each["count"],
                each["retrying"],
                each["system"] or "none",
                each["errorCode"],
                moment(each["oldest"]),
                each["sample"],
            )
            for each in found
        ]
        columns = ("for good", "tried again", "system", "code", "since (UTC)", "newest error")
        yield table(columns, rows) if rows else "no fallout"

    show(as_json, {"groups": found}, render)


def _bulk(action: str, help_text: str) -> None:
    def command(
        reason: Reason,
        system: System = None,
        error_code: ErrorCode = None,
        queue: Queue = None,
        plan: Plan = None,
        name: Name = None,
        account: Account = None,
        state: State = None,
        items: ItemsFile = None,
        everything: Everything = False,
        argument: Annotated[
            str | None,
            typer.Option("--answer", "--payload", help="For complete: the answer. For edit: members that change."),
        ] = None,
        rate: Rate = 200,
        wait: Wait = False,
        url: Url = URL_DEFAULT,
        user: User = USER_DEFAULT,
        as_json: Json = False,
    ) -> None:
        filters = _filters(
            system=system, error_code=error_code, queue=queue, plan=plan, name=name, account=account, state=state
        )
        chosen = _read_items(items, filters, everything) if items is not None else None
        if not (filters or everything or items is not None):
            raise UserError("nothing says which items", mend="choose by --system and the like, or say --all")
        given = parse_object(argument, "--answer or --payload") if argument is not None else None
        with client_of(url, user) as client:
            job = client.start_job(
                action, reason, filter=filters if chosen is None else None, items=chosen, argument=given, rate=rate
            )
            if wait:
                job = client.wait_for_job(job["id"], heard=_told())
        show(as_json, job, lambda: [job_shown(job)])
        if job["failed"]:
            raise typer.Exit(1)

    command.__doc__ = help_text
    app.command(action)(command)


def _read_items(name: str, filters: dict[str, str], everything: bool = False) -> list[tuple[str, str]]:
    """(order, item) of a file.

    Raises:
        UserError: it holds something else, or there are filters besides.
    """
    if filters or everything:
        raise UserError("--items names the items, so nothing else chooses them", mend="leave the other options out")
    document = read_document(name, "a list of items")
    listed = document.get("items") if isinstance(document, dict) else document
    mend = 'write [["ORDER", "ITEM"], ...], or keep what `orderplan fallout list --json` writes'
    if not isinstance(listed, list):
        raise UserError(f"{name} holds no list of items", mend=mend)
    found = []
    for index, each in enumerate(listed):
        pair = [each.get("orderId"), each.get("item")] if isinstance(each, dict) else each
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise UserError(f"{name} names no order and item there", path=f"items[{index}]", mend=mend)
        found.append((pair[0], pair[1]))
    return found


def _told() -> Callable[[Document], None]:
    """Says on standard error how far a job is, whenever that has changed."""
    last = -1

    def tell(job: Document) -> None:
        nonlocal last
        settled = job["total"] - job["open"]
        if settled != last:
            last = settled
            typer.echo(f"{settled} of {job['total']}: {_counts(job)}", err=True)

    return tell


def _counts(job: Document) -> str:
    return f"{job['done']} done, {job['refused']} refused, {job['failed']} failed"


_bulk("retry", "Try all failed items that fit again, as a job.")
_bulk("skip", "Go on without all failed items that fit, as a job.")
_bulk("complete", "Take all failed items that fit as done, as a job.")
_bulk("edit", "Change the payload of all failed items that fit and try them again, as a job.")


def job_shown(job: Document) -> RenderableType:
    """A job for people."""
    return pairs(
        [
            ("job", f"{job['id']}: {job['action']} {job['total']} items, {job['state']}"),
            ("campaign", cell(job["selection"]["campaign"]) if "campaign" in job["selection"] else None),
            ("outcome", f"{_counts(job)}, {job['open']} open"),
            ("failed again", f"{job['failedAgain']} of those done" if job.get("failedAgain") else None),
            ("by", f"{cell(job['operator'])}: {cell(job['reason'])}"),
            ("why refused", f"orderplan job show {job['id']} --outcome refused" if job["refused"] else None),
        ]
    )


@jobs.command("list")
def list_jobs(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List bulk jobs, newest first."""
    with client_of(url, user) as client:
        found = client.list_jobs()

    def render() -> Iterable[RenderableType]:
        rows = [
            (each["id"], each["action"], each["state"], each["total"], each["done"], each["refused"], each["failed"])
            for each in found
        ]
        yield table(("job", "action", "state", "items", "done", "refused", "failed"), rows) if rows else "no jobs yet"

    show(as_json, {"jobs": found}, render)


@jobs.command("show")
def show_job(
    job_id: JobId,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="List items: done, refused, failed, open, failedAgain.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show how far a job is, and with --outcome what became of its items."""
    with client_of(url, user) as client:
        job = client.job(job_id)
        items = _items(client, job_id, outcome) if outcome is not None else []

    def render() -> Iterable[RenderableType]:
        yield job_shown(job)
        if items:
            members = ("orderId", "item", "outcome", "reason", "stateNow")
            rows = [tuple(each[name] for name in members) for each in items]
            yield table(("order", "item", "outcome", "reason", "state now"), rows)

    show(as_json, job | {"items": items}, render)


def _items(client: Client, job_id: str, outcome: str) -> list[dict[str, Any]]:
    return client.job_items(job_id, outcome=outcome, limit=1_000)


def _steer(action: str, help_text: str) -> None:
    def command(job_id: JobId, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
        with client_of(url, user) as client:
            job = client.steer_job(job_id, action)
        show(as_json, job, lambda: [job_shown(job)])

    command.__doc__ = help_text
    jobs.command(action)(command)


_steer("pause", "Let a job rest; what is under way is finished.")
_steer("resume", "Let a job go on.")
_steer("stop", "End a job; items that have no outcome keep none.")
