"""`orderplan order`: submit orders, look at them, repair their items."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Annotated, Any, Final

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
    console,
    moment,
    pairs,
    seconds,
    show,
    table,
)
from orderplan.cli.files import parse_object, read_object
from orderplan.client import ENDED_STATES, URL_DEFAULT, Client, Document, WaitedTooLong

app = typer.Typer(help="Submit orders, look at them, repair their items.", no_args_is_help=True)

POLL_S: Final = 0.3
_ORDER_ID: Final = re.compile(r"o[0-9a-f]+-[0-9a-f]{11}-[0-9a-f]{10}")
OrderId = Annotated[str, typer.Argument(help="The order's id, or the external id from its channel.", metavar="ID")]
ItemKey = Annotated[str, typer.Argument(help="The item's key, as `order plan` shows it.", metavar="ITEM")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Stop waiting after so many seconds.")]

ITEM_STATE_AFTER: Final = {
    "item.started": "Running",
    "item.opened": "Ready",
    "item.scheduled": "Scheduled",
    "item.held": "On Hold",
    "item.accepted": "Running",
    "item.claimed": "Running",
    "item.released": "Ready",
    "item.completed": "Completed",
    "item.failed": "Failed",
    "item.fatallyFailed": "Fatally Failed",
    "item.retried": "Ready",
    "item.skipped": "Skipped",
}
"""What a fact makes of its item, as the plan shows it."""


def id_of(client: Client, named: str) -> str:
    """The id of the order that is named by it, or by its external id.

    Raises:
        UserError: no order has this external id, or several channels have used it.
    """
    if _ORDER_ID.fullmatch(named):
        return named
    found = client.list_orders(limit=2, externalId=named, fields="id").items
    if len(found) == 1:
        order_id: str = found[0]["id"]
        return order_id
    if not found:
        raise UserError(f"there is no order {named!r}", mend="find it: orderplan order list")
    raise UserError(f"several orders have the external id {named!r}", mend="name one by its id: orderplan order list")


@app.command("submit")
def submit(
    file: Annotated[str, typer.Argument(help="A TMF622 product order, JSON or YAML; - reads standard input.")],
    key: Annotated[str | None, typer.Option("--key", help="Sent again with the same key it is the same order.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the order has ended.")] = False,
    timeout: Timeout = 3600.0,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Submit an order."""
    document = read_object(file, "an order")
    with client_of(url, user) as client:
        stored = client.submit_order(document, key=key)
        if stored["state"] == "rejected":
            raise _rejected(stored)
        if wait:
            summary = client.wait_for_order(stored["id"], timeout_s=timeout, poll_s=POLL_S)
            show(as_json, summary, lambda: _summary(summary))
            return
    shown: Document = {
        name: stored[name] for name in ("id", "state", "externalId", "href", "stateReasons") if name in stored
    }

    def render() -> Iterable[RenderableType]:
        yield f"order {stored['id']} is {cell(stored['state'])}"
        for reason in stored.get("stateReasons", ()):
            yield f"  {cell(reason.get('reason'))}"
        yield f"watch it: orderplan order watch {stored['id']}"

    show(as_json, shown, render)


def _rejected(stored: Document) -> UserError:
    reasons = stored.get("stateReasons") or [{"reason": "it was rejected"}]
    first = reasons[0]
    return UserError(
        f"order {stored['id']} is rejected: {first.get('reason')}",
        path=first.get("path"),
        mend=first.get("mend"),
        id=stored["id"],
        state="rejected",
        stateReasons=reasons,
    )


@app.command("show")
def show_order(order_id: OrderId, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Show where an order stands."""
    with client_of(url, user) as client:
        order_id = id_of(client, order_id)
        summary = client.order(order_id)
        failed = [] if as_json or not summary["items"].get("Fatally Failed") else _failed_items(client, order_id)
    show(as_json, summary, lambda: _summary(summary, failed))


def _failed_items(client: Client, order_id: str) -> list[Document]:
    return [item for item in client.plan(order_id)["items"] if item["state"] == "Fatally Failed"]


def _summary(summary: Document, failed: Iterable[Document] = ()) -> Iterable[RenderableType]:
    rows: list[tuple[str, Any]] = [
        ("order", summary["id"]),
        ("state", summary["state"]),
        ("plan", summary.get("planState")),
        ("version", summary.get("version")),
        ("priority", summary.get("priority")),
        ("due", moment(summary.get("dueAt"))),
        ("items", ", ".join(f"{count} {state}" for state, count in summary["items"].items())),
        ("account", summary.get("account")),
        ("external id", summary.get("externalId")),
        ("release", summary["releaseId"]),
        ("created", moment(summary["createdAt"])),
        ("ended", moment(summary.get("endedAt"))),
    ]
    took = seconds(summary["createdAt"], summary.get("endedAt"))
    if took:
        rows.append(("took", f"{took:.2f} s"))
    rows += [("waits for order", behind) for behind in summary.get("behind") or ()]
    rows += [("reason", reason.get("reason", reason)) for reason in summary.get("reasons") or ()]
    rows += [("warning", warning) for warning in summary.get("warnings") or ()]
    yield pairs(rows)
    for item in failed:
        yield f"\n{cell(item['name'])} ({cell(item['key'])}) needs a person: {cell(item.get('error'))}"
        yield f"  orderplan order retry {summary['id']} '{cell(item['key'])}' --reason ..."


@app.command("plan")
def show_plan(order_id: OrderId, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Show an order's plan: its items, and what waits for what."""
    with client_of(url, user) as client:
        order_id = id_of(client, order_id)
        plan = client.plan(order_id)

    def render() -> Iterable[RenderableType]:
        if not plan["items"]:
            yield f"order {order_id} has no plan: it was rejected, or waits for another order"
            return
        lines = [
            (line["key"], line["name"], line["action"], line["productId"], _attributes(line["attributes"]))
            for line in plan["lines"]
        ]
        yield table(("line", "product", "action", "product id", "attributes"), lines, title="Lines")
        open_items = {item["key"] for item in plan["items"] if item["endedAt"] is None}
        items = [
            (
                item["key"],
                item["name"],
                item["state"],
                item.get("system") or item.get("queue") or item["type"],
                item["attempt"] or "",
                "\n".join(key for key in item["dependsOn"] if key in open_items and item["key"] in open_items),
                item.get("error") or item.get("skipReason"),
            )
            for item in plan["items"]
        ]
        yield ""
        columns = ("item", "name", "state", "where", "tries", "waits for", "note")
        yield table(columns, items, title=f"Items (plan {plan['state']}, release {plan['releaseId']})")

    show(as_json, plan, render)


def _attributes(attributes: Document) -> str:
    return ", ".join(f"{name}={value}" for name, value in attributes.items())


@app.command("facts")
def show_facts(order_id: OrderId, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """Show everything that happened to an order: the audit trail."""
    with client_of(url, user) as client:
        facts = client.facts(id_of(client, order_id))
    columns = ("at (UTC)", "what", "item", "who", "why")
    rows = [(moment(fact["at"]), fact["kind"], fact["item"], fact["actor"], why(fact)) for fact in facts]
    show(as_json, {"facts": facts}, lambda: [table(columns, rows)])


def why(fact: Document) -> str:
    """The reason that a fact gives: a person's words, a system's error, a rule."""
    payload = fact.get("payload") or {}
    words = payload.get("text") or payload.get("error") or payload.get("reason")
    if words is None and payload.get("reasons"):
        words = "; ".join(each.get("reason", "") for each in payload["reasons"])
    code = payload.get("errorCode")
    return f"{words} ({code})" if words and code else str(words or "")


@app.command("watch")
def watch(
    order_id: OrderId,
    timeout: Timeout = 3600.0,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Watch an order until it ends: each change of an item's state on a line."""
    with client_of(url, user) as client:
        summary = _follow(client, id_of(client, order_id), timeout, quiet=as_json)
    show(as_json, summary, lambda: ["", *_summary(summary)])


def _follow(client: Client, order_id: str, timeout_s: float, *, quiet: bool) -> Document:
    """Print facts as they come until the order has ended; returns its summary."""
    screen = console()
    until = time.monotonic() + timeout_s
    names: dict[str, str] = {}
    told = 0
    while True:
        summary = client.order(order_id)
        # Read after the summary: when that says ended, these are all.
        facts = client.facts(order_id)
        if not names:
            names = {item["key"]: item["name"] for item in client.plan(order_id)["items"]}
        if not quiet:
            for fact in facts[told:]:
                if line := change_of(fact, names):
                    screen.print(line)
        told = len(facts)
        if summary["state"] in ENDED_STATES:
            return summary
        if time.monotonic() >= until:
            raise WaitedTooLong(order_id, summary["state"], timeout_s)
        time.sleep(POLL_S)


def _held(payload: Document) -> str:
    """What a fact says of a hold."""
    words = {
        "offline": "is offline",
        "breaker": "is failing",
        "pause": "is paused",
        "busy": "had no room for the call in time",
    }
    reason = f" ({payload['reason']})" if payload.get("reason") else ""
    return f"system {payload.get('system')} {words.get(str(payload.get('cause')), 'is held')}{reason}"


def change_of(fact: Document, names: dict[str, str]) -> str | None:
    """A fact as a line of `order watch`; None where nothing changed that a user watches for."""
    clock = fact["at"][11:19]
    payload = fact.get("payload") or {}
    state = ITEM_STATE_AFTER.get(fact["kind"])
    if state is not None:
        name = names.get(fact["item"], fact["item"])
        notes = {
            "item.started": f"attempt {payload.get('attempt')}" if payload.get("attempt", 1) > 1 else "",
            "item.accepted": "the system will call back",
            "item.opened": "waits for a person",
            "item.claimed": f"by {payload.get('worker')}",
            "item.failed": f"{payload.get('error')}; again at {str(payload.get('retryAt'))[11:19]}",
            "item.fatallyFailed": f"{payload.get('error')}; needs a person",
            "item.skipped": f"by {payload.get('reason')}",
            "item.retried": payload.get("reason", ""),
            "item.scheduled": f"until {payload.get('until')}",
            "item.held": _held(payload),
        }
        note = notes.get(fact["kind"], "")
        return f"{clock}  {cell(name)}  {cell(state)}{'  ' + cell(note) if note else ''}"
    match fact["kind"]:
        case "item.annotated":
            return f"{clock}  {cell(names.get(fact['item'], fact['item']))}  note: {cell(payload.get('text'))}"
        case "order.accepted":
            return f"{clock}  order accepted"
        case "order.waiting":
            return f"{clock}  waits for order {cell(', '.join(payload.get('behind', ())))}"
        case "plan.redriven":
            return f"{clock}  stood still and was made to go on"
        case "order.moved" | "order.ended":
            return f"{clock}  order {cell(payload.get('state'))}"
        case _:
            return None


@app.command("list")
def list_orders(
    state: Annotated[str | None, typer.Option("--state", help="Only orders in these states, by commas.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Leave out the newest so many.")] = 0,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """List orders, newest first."""
    filters = {"fields": "state,externalId,orderDate,completionDate"}
    if state is not None:
        filters["state"] = state
    with client_of(url, user) as client:
        page = client.list_orders(offset=offset, limit=limit, **filters)

    def render() -> Iterable[RenderableType]:
        rows = [
            (
                each["id"],
                each["state"],
                each.get("externalId"),
                moment(each.get("orderDate")),
                moment(each.get("completionDate")),
            )
            for each in page.items
        ]
        yield table(("order", "state", "external id", "ordered (UTC)", "completed"), rows)
        yield f"{len(page.items)} of {page.total}"

    show(as_json, {"orders": page.items, "total": page.total}, render)


# Operators.


@app.command("retry")
def retry(
    order_id: OrderId,
    item: ItemKey,
    reason: Reason,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Try a failed item again."""
    _operate(order_id, item, "retry", reason, None, url, user, as_json)


@app.command("skip")
def skip(
    order_id: OrderId,
    item: ItemKey,
    reason: Reason,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Go on without an item: what waits for it goes ahead."""
    _operate(order_id, item, "skip", reason, None, url, user, as_json)


@app.command("complete")
def complete(
    order_id: OrderId,
    item: ItemKey,
    reason: Reason,
    answer: Annotated[
        str | None, typer.Option("--answer", help="What its system would have answered: '{\"attributes\": {...}}'.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Take an item as done: somebody did its work by hand."""
    _operate(order_id, item, "complete", reason, answer, url, user, as_json)


@app.command("edit")
def edit(
    order_id: OrderId,
    item: ItemKey,
    reason: Reason,
    payload: Annotated[str, typer.Option("--payload", help="Members that change: '{\"speed\": 100}'; null removes.")],
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Change what a failed callout says, and try it again."""
    _operate(order_id, item, "edit", reason, None, url, user, as_json, parse_object(payload, "--payload"))


@app.command("change-line")
def change_line(
    order_id: OrderId,
    line: Annotated[str, typer.Argument(help="The line's key, as `order plan` shows it.")],
    attributes: Annotated[str, typer.Argument(help="What is known by now: '{\"number\": \"079\"}'.")],
    reason: Reason,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Give a line of a running order values; items that have not run use them, push events look at them."""
    given = parse_object(attributes, "ATTRIBUTES")
    with client_of(url, user) as client:
        result = client.change_line(id_of(client, order_id), line, given, reason)

    def render() -> Iterable[RenderableType]:
        yield f"line {cell(line)} is changed; order {cell(result['state'])}"

    show(as_json, result, render)


def _operate(
    order_id: str,
    item: str,
    action: str,
    reason: str,
    answer: str | None,
    url: str,
    user: str,
    as_json: bool,
    patch: dict[str, Any] | None = None,
) -> None:
    given = parse_object(answer, "--answer") if answer is not None else None
    with client_of(url, user) as client:
        result = client.operate(id_of(client, order_id), item, action, reason, given, patch)

    def render() -> Iterable[RenderableType]:
        yield f"{cell(result.get('item', item))} is {cell(result.get('itemState'))}; order {cell(result['state'])}"

    show(as_json, result, render)
