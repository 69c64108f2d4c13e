"""`orderplan release`: which releases there are, what differs between two, and their end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType
from rich.markup import escape

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, moment, show, table
from orderplan.cli.files import read_object
from orderplan.client import URL_DEFAULT, Client

app = typer.Typer(help="See, compare and retire catalogue releases.", no_args_is_help=True)

ReleaseId = Annotated[str, typer.Argument(metavar="RELEASE", help="A release: CODE@VERSION.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]

SHORT: Final = 100
"""Characters of a line that shows both values beside each other; longer ones stand below each other."""
MARKS: Final = {"added": "[green]+[/]", "removed": "[red]-[/]", "changed": "[yellow]~[/]"}
HEADINGS: Final = {
    "release": "settings of the release",
    "product": "products",
    "attribute": "attributes",
    "class": "classes",
    "decomposition": "decomposition rules",
    "scenario": "scenarios",
    "plan": "plan definitions",
    "item": "items",
    "dependency": "dependencies",
    "retry": "retry policies",
    "system": "systems",
    "queue": "queues",
}
TOUCHES: Final = {
    "presence": "there, or not there",
    "work": "other work: what is done already was done in the old way",
    "result": "other treatment of failures and results, other people: until they have ended",
    "start": "other conditions to begin: until they have begun",
    "change": "other ways when the order is amended or cancelled",
    "shown": "names and planned times only",
}
"""What a diff says of items, by `touch`, in the order of domain.release_diff.Touch."""
_NAMING: Final = frozenset({"code", "name", "plan", "product", "class", "item", "other"})


@app.command("list")
def list_releases(url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False) -> None:
    """List releases, the last to begin first: state, which one new orders take, open orders on each."""
    with client_of(url, user) as client:
        releases = client.list_releases()
    rows = [
        (
            each["id"],
            each["state"],
            "new orders" if each["isCurrent"] else "",
            each["openOrders"],
            moment(each["effectiveFrom"]),
            moment(each["publishedAt"]),
            moment(each["retiredAt"]),
        )
        for each in releases
    ]
    columns = ("release", "state", "taken by", "open orders", "from (UTC)", "published (UTC)", "retired (UTC)")
    show(as_json, {"releases": releases}, lambda: [table(columns, rows) if rows else "nothing is published yet"])


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A release, CODE@VERSION, or a file.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The release or file that it is compared with.")],
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Show what differs between two releases, and what that means for the items of running orders."""
    with client_of(url, user) as client:
        if _is_file(before) or _is_file(after):
            found = _compared(client, before, after)
        else:
            found = client.diff_releases(before, after)
    show(as_json, found, lambda: rendered(found))


def _is_file(named: str) -> bool:
    return named == "-" or Path(named).is_file()


def _compared(client: Client, before: str, after: str) -> dict[str, Any]:
    """A diff in which a file has a part: what is not published yet, the server cannot compare."""
    from domain.release_diff import diff_releases
    from domain.release_file import read_release

    one, other = (
        read_release(read_object(each, "a release") if _is_file(each) else client.release(each))
        for each in (before, after)
    )
    return diff_releases(one, other).to_dict()


@app.command("retire")
def retire(
    release_id: ReleaseId,
    reason: Reason,
    replacement: Annotated[
        str | None, typer.Option("--replacement", help="The published release that new orders take instead.")
    ] = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Let no new order take a release; orders on it go on. One that is scheduled is withdrawn."""
    with client_of(url, user) as client:
        answer = client.retire_release(release_id, reason, replacement=replacement)
    show(as_json, answer, lambda: [_steered(answer, "is retired", "was retired before")])


@app.command("unretire")
def unretire(
    release_id: ReleaseId, reason: Reason, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Take a retired release back; which one new orders take stays as it is."""
    with client_of(url, user) as client:
        answer = client.unretire_release(release_id, reason)
    show(as_json, answer, lambda: [_steered(answer, f"is {answer['state']} again", "is not retired")])


@app.command("changes")
def list_changes(
    release_id: ReleaseId, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
) -> None:
    """Show who published, scheduled, retired a release and took it back, newest first."""
    with client_of(url, user) as client:
        changes = client.release_changes(release_id)
    rows = [(moment(each["at"]), each["by"], each["kind"], _change(each["change"])) for each in changes]
    columns = ("at (UTC)", "by", "what", "why")
    show(as_json, {"changes": changes}, lambda: [table(columns, rows) if rows else "nothing is kept of it"])


def _steered(answer: Mapping[str, Any], done: str, undone: str) -> str:
    current = cell(answer["current"]) if answer["current"] else "none"
    verdict = done if answer["changed"] else undone
    return f"release {cell(answer['id'])} {cell(verdict)}; new orders take {current}"


def _change(change: Mapping[str, Any]) -> str:
    words = {"replacement": "replaced by", "replaces": "in place of", "effectiveFrom": "from"}
    parts = [str(change["reason"])] if "reason" in change else []
    parts += [f"{word} {change[name]}" for name, word in words.items() if name in change]
    return "; ".join(parts)


# A diff for people.


def rendered(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A diff, as `GET /v1/releases/{id}:diff` gives it."""
    before, after = cell(found["from"]), cell(found["to"])
    if not found["changes"]:
        yield f"{before} and {after} say the same"
        return
    counts = ", ".join(f"{found[name]} {name}" for name in ("added", "removed", "changed") if found[name])
    yield f"[bold]{before} -> {after}[/]: {counts}"
    for kind, changes in groupby(found["changes"], key=lambda each: each["kind"]):
        yield f"\n[bold]{HEADINGS[kind]}[/]"
        for each in changes:
            yield from _element(each)
    yield from _meaning(found, before, after)


def _element(change: Mapping[str, Any]) -> Iterator[str]:
    gist = _gist(change.get("value", {}))
    name = f"  {MARKS[change['change']]} {cell(change['name'])}"
    yield f"{name}  [dim]{escape(gist)}[/]" if gist else name
    for field in change.get("fields", ()):
        one, other = (_value(field, side) for side in ("from", "to"))
        line = f"      {field['path']}: {one} -> {other}"
        if len(line) <= SHORT:
            yield escape(line)
        else:
            yield escape(f"      {field['path']}:")
            if "from" in field:
                yield f"        [red]-[/] {escape(one)}"
            if "to" in field:
                yield f"        [green]+[/] {escape(other)}"


def _value(field: Mapping[str, Any], side: str) -> str:
    if side not in field:
        return "absent"
    match field[side]:
        case None:
            return "none"
        case float() as number:
            return f"{number:g}"
        case str() as text if '"' in text:
            # Expressions have quotes of their own, which would only be harder to read between more of them.
            return text
        case value:
            return json.dumps(value, ensure_ascii=False)


def _gist(value: Mapping[str, Any]) -> str:
    """What an element that came or went says, in a few words; what is long or nested is only named."""
    parts = []
    for name, each in value.items():
        if name in _NAMING:
            continue
        if isinstance(each, list) and all(isinstance(one, str) for one in each):
            parts.append(f"{name} {', '.join(each)}")
        elif isinstance(each, (list, dict)):
            parts.append(f"{name} ({len(each)})")
        elif each is True:
            parts.append(name)
        else:
            parts.append(f"{name} {each if isinstance(each, str) else json.dumps(each)}")
    text = "; ".join(parts)
    return text if len(text) <= SHORT else f"{text[:SHORT]}..."


def _meaning(found: Mapping[str, Any], before: str, after: str) -> Iterator[str]:
    yield "\n[bold]what it means for running orders[/]"
    orders = found.get("openOrders")
    running = "Orders on" if orders is None else f"{orders} open {'order' if orders == 1 else 'orders'} on"
    differs = "these items would differ:" if found["effects"] else "no item would differ."
    yield f"  {running} {before}; an order stays on its release unless it is moved. On {after} {differs}"
    for touch, effects in groupby(found["effects"], key=lambda each: each["touch"]):
        yield f"\n  {TOUCHES[touch]}"
        yield from _items(effects)
    if found["lines"]:
        yield f"\n  lines that could come out otherwise: {cell(', '.join(found['lines']))}"


def _items(effects: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Items with the same reasons share a line."""
    by_reason: dict[str, list[str]] = {}
    for each in effects:
        by_reason.setdefault(", ".join(each["why"]), []).append(each["item"])
    for why, items in by_reason.items():
        yield f"    {cell(', '.join(items))}: {escape(why)}"
