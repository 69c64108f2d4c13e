"""`orderplan risk`: which orders will be late, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from orderplan.cli.common import (
    USER_DEFAULT,
    Json,
    Url,
    User,
    UserError,
    cell,
    client_of,
    moment,
    pairs,
    show,
    table,
)
from orderplan.cli.order import OrderId, id_of
from orderplan.client import URL_DEFAULT, Document

app = typer.Typer(help="See which orders will be late, and why.", no_args_is_help=True)

POINTS_SHOWN = 20


def in_words(seconds: float) -> str:
    """A time that is left, for people."""
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


@app.command("list")
def list_risks(
    min_risk: Annotated[float, typer.Option("--min-risk", min=0, max=1, help="Only orders at this risk or more.")] = 0,
    account: Annotated[str | None, typer.Option("--account", help="Only orders of this account.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Only orders with this plan definition.")] = None,
    step: Annotated[str | None, typer.Option("--step", help="Only orders that are at this PLAN/ITEM.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="Only orders that are at this system.")] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="Of value at stake, such as EUR.")] = None,
    period: Annotated[str | None, typer.Option("--period", help="Of recurring charges; month if not said.")] = None,
    min_recurring: Annotated[
        float | None, typer.Option("--min-recurring", min=0, help="Only orders whose recurring charges are so high.")
    ] = None,
    min_one_time: Annotated[
        float | None, typer.Option("--min-one-time", min=0, help="Only orders whose one-time charges are so high.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", help="risk (falling), due (rising), delay (expected, falling), recurring or oneTime (value)."
        ),
    ] = "risk",
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on where the list before ended.")] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List open orders by risk to be late."""
    with client_of(url, user) as client:
        found = client.list_risks(
            min_risk=min_risk,
            account=account,
            plan=plan,
            step=step,
            system=system,
            currency=currency,
            period=period,
            min_recurring=min_recurring,
            min_one_time=min_one_time,
            sort=sort,
            limit=limit,
            cursor=cursor,
        )

    def render() -> Iterable[RenderableType]:
        if not found["orders"]:
            yield "no open order has such a risk"
            return
        columns = ("risk", "order", "external id", "account", "value", "due (UTC)", "expected (UTC)", "because")
        rows = [
            (
                f"{each['risk']:.0%}",
                each["orderId"],
                each["externalId"],
                each["account"],
                _value(each["value"]),
                moment(each["dueAt"])[:19],
                moment(each["expectedAt"])[:19],
                each["reasons"][0]["reason"] if each["reasons"] else "",
            )
            for each in found["orders"]
        ]
        yield table(columns, rows)
        if found["next"]:
            yield f"more: the same command with --cursor {found['next']}"

    show(as_json, found, render)


def _value(charges: Iterable[Document]) -> str:
    return ", ".join(
        f"{each['net']} {each['currency'] or ''}" + (f" a {each['period']}" if each["period"] else "")
        for each in charges
    )


@app.command("what-if")
def what_if(
    order_id: OrderId,
    change: Annotated[
        list[str] | None,
        typer.Option("--change", help="priority=high, expedite=ITEM, queue=ITEM=TO or system=ITEM=TO; again for more."),
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Ask the delay model what an order's risk would be after a change, or what would help. Nothing is done."""
    changes = [_change(each) for each in change or ()]
    with client_of(url, user) as client:
        found = client.what_if(id_of(client, order_id), changes)
    show(as_json, found, lambda: _estimates(found))


def _change(text: str) -> dict[str, str]:
    match text.split("="):
        case ["priority", to]:
            return {"variable": "priority", "to": to}
        case ["expedite", item]:
            return {"variable": "expedite", "item": item}
        case [("queue" | "system") as variable, item, to]:
            return {"variable": variable, "item": item, "to": to}
    mend = "write priority=high, expedite=ITEM, queue=ITEM=TO or system=ITEM=TO"
    raise UserError(f"{text!r} cannot be read", path="--change", mend=mend)


def _estimates(found: Document) -> Iterable[RenderableType]:
    yield f"risk {found['risk']:.0%}, {in_words(found['remainingS'])} left, by {found['model']} {found['version']}"
    for each in found["contributions"]:
        yield f"  {cell(each['reason'])}"
    if "modelContributions" in found:
        yield f"to {found['model']}, whose usual risk is {found['usualRisk']:.0%}:"
        for each in found["modelContributions"]:
            yield f"  {cell(each['reason'])}"
    tried = [{"what": "with these changes", **found["changed"]}] if "changed" in found else found["improvements"]
    if tried:
        rows = [
            (each["what"], f"{each['risk']:.0%}", f"{100 * each['gain']:+.0f} points", in_words(each["remainingS"]))
            for each in tried
        ]
        yield table(("what", "risk then", "gain", "left then"), rows)
    else:
        yield _of_no_help(found["tried"])
    yield found["note"]


def _of_no_help(tried: int) -> str:
    if tried == 0:
        return "there is nothing that may be done"
    if tried == 1:
        return "the one thing that may be done would not help"
    return f"none of the {tried} things that may be done would help"


@app.command("show")
def show_risk(
    order_id: OrderId,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the history there, as SVG.")] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show one order's risk, why, and how it came to it."""
    with client_of(url, user) as client:
        found = client.risk(id_of(client, order_id))
    if picture is not None:
        _draw(picture, found)
    show(as_json, found, lambda: _risk(found))


def _draw(path: Path, found: Document) -> None:
    from delay.pictures import risk_history

    if found["score"] is None or not found["history"]:
        mend = "ask again when the order has been scored; histories go 30 days after an order's end"
        raise UserError(f"order {found['orderId']} has no history to draw", path="--picture", mend=mend)
    due_at = datetime.fromisoformat(found["score"]["dueAt"])
    text = risk_history(found["history"], due_at, f"Risk of order {found['orderId']}", "as it was stored")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        mend = "make room, or name another file"
        raise UserError(f"{path} cannot be written: {error.strerror}", path="--picture", mend=mend) from error


def _risk(found: Document) -> Iterable[RenderableType]:
    score = found["score"]
    if score is None:
        yield f"order {found['orderId']} has no score: it has no plan yet, or ended within its first second"
        return
    yield pairs(
        [
            ("order", found["orderId"]),
            ("ended (UTC)", moment(score["endedAt"])),
            ("risk", f"{score['risk']:.0%} ({score['band']}), as of {moment(score['scoredAt'])} UTC"),
            ("due (UTC)", f"{moment(score['dueAt'])} ({score['dueBasis']})"),
            *([("due by now (UTC)", moment(score["currentDueAt"]))] if score["currentDueAt"] != score["dueAt"] else []),
            ("expected (UTC)", moment(score["expectedAt"])),
            ("8 of 10 between", f"{moment(score['lowAt'])} and {moment(score['highAt'])}"),
            ("model", f"{score['model']} {score['version']}"),
        ]
    )
    for each in score["reasons"]:
        yield f"  {cell(each['reason'])}"
    late = [each for each in found["jeopardy"] if each["status"] != "ok"]
    if late:
        columns = ("item", "jeopardy", "planned end (UTC)")
        yield table(columns, [(each["item"], each["status"], moment(each["lateAt"])) for each in late])
    rows = [
        (moment(each["scoredAt"]), f"{each['risk']:.0%}", moment(each["expectedAt"]))
        for each in found["history"][-POINTS_SHOWN:]
    ]
    if rows:
        yield table(("scored (UTC)", "risk", "expected (UTC)"), rows, title="history")
