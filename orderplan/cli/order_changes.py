"""`orderplan order`: what changes an order under way, each with `--dry-run` to see first what would come of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType

from orderplan.cli.common import USER_DEFAULT, Json, Url, User, cell, client_of, duration, pairs, show, table
from orderplan.cli.files import parse_object, read_object
from orderplan.cli.order import OrderId, Reason, id_of
from orderplan.client import URL_DEFAULT, Document

ITEMS_SHOWN_MAX: Final = 60
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would come of it, and change nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Past the point of no return too; for managers.")]
Version = Annotated[
    int | None, typer.Option("--version", help="Refuse it if the order has another version by now (`order show`).")
]

OUTCOMES: Final = {
    "keep": "stays",
    "update": "works on what the order says now",
    "redo": "is done again",
    "undoThenRedo": "is undone and done again",
    "amendPlan": "is amended by its amend plan",
    "nothing": "stays done as it is",
    "undo": "is undone",
    "notUndone": "stays done: nothing undoes it",
    "discard": "is needed no more",
    "resolve": "a person finds out what it has done",
}
"""What becomes of an item, in words."""


def _steering(action: str, text: str) -> Callable[..., None]:
    """A command that steers the order as a whole and takes nothing but the reason."""

    def command(
        order_id: OrderId, reason: Reason, url: Url = URL_DEFAULT, user: User = USER_DEFAULT, as_json: Json = False
    ) -> None:
        _steer(order_id, action, reason, url, user, as_json)

    command.__doc__ = text
    return command


def prioritize(
    order_id: OrderId,
    priority: Annotated[str, typer.Argument(help="high, normal or low.")],
    reason: Reason,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Give an order another priority: it takes its place anew wherever it waits."""
    _steer(order_id, "prioritize", reason, url, user, as_json, priority)


def _steer(
    order_id: str, action: str, reason: str, url: str, user: str, as_json: bool, priority: str | None = None
) -> None:
    with client_of(url, user) as client:
        result = client.steer_order(id_of(client, order_id), action, reason, priority=priority)
    show(as_json, result, lambda: [_steered(result, action)])


def _steered(result: Document, action: str) -> str:
    if action == "prioritize":
        return f"order {result['orderId']} has priority {result['priority']}"
    return f"order {result['orderId']} is {cell(result['state'])}, its plan {cell(result['planState'])}"


def amend(
    order_id: OrderId,
    file: Annotated[str, typer.Argument(help="The whole new TMF622 order, JSON or YAML; - reads standard input.")],
    reason: Reason,
    dry_run: DryRun = False,
    force: Force = False,
    version: Version = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Make an order under way another one: what is done and has changed is done again."""
    document = read_object(file, "an order")
    with client_of(url, user) as client:
        result = client.amend_order(
            id_of(client, order_id), document, reason, dry_run=dry_run, force=force, version=version
        )
    _show(result, as_json)


def cancel(
    order_id: OrderId,
    reason: Reason,
    item: Annotated[
        list[str] | None, typer.Option("--item", help="Only the bundle of this order item; may be repeated.")
    ] = None,
    dry_run: DryRun = False,
    force: Force = False,
    version: Version = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Take an order back, or some bundles of it: what is done is undone in reverse order."""
    with client_of(url, user) as client:
        result = client.cancel_order(
            id_of(client, order_id), reason, items=item or (), dry_run=dry_run, force=force, version=version
        )
    _show(result, as_json)


def move(
    order_id: OrderId,
    release: Annotated[str, typer.Argument(help="The release to run by, as `release list` shows it.")],
    reason: Reason,
    dry_run: DryRun = False,
    force: Force = False,
    version: Version = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Have an order under way run by another release."""
    with client_of(url, user) as client:
        result = client.move_order(
            id_of(client, order_id), release, reason, dry_run=dry_run, force=force, version=version
        )
    _show(result, as_json)


def patch(
    order_id: OrderId,
    changes: Annotated[
        str, typer.Argument(help='What is known better by now: \'{"lines": {"1": {"attributes": {"speed": 100}}}}\'.')
    ],
    reason: Reason,
    dry_run: DryRun = False,
    version: Version = None,
    url: Url = URL_DEFAULT,
    user: User = USER_DEFAULT,
    as_json: Json = False,
) -> None:
    """Change values of an order under way: `{"lines": {"1": {"attributes", "quantity", "requestedStartAt", "place"}},
    "description", "dueAt", "requestedStartAt"}`, of which it takes what is to be another.
    """
    given = parse_object(changes, "CHANGES")
    with client_of(url, user) as client:
        result = client.patch_order(id_of(client, order_id), given, reason, dry_run=dry_run, version=version)
    _show(result, as_json)


def _show(result: Document, as_json: bool) -> None:
    show(as_json, result, lambda: rendered(result))


def rendered(result: Document) -> Iterable[RenderableType]:
    """What came of a change, or would come of it, for people."""
    if not result.get("dryRun"):
        if result.get("pending"):
            yield f"order {result['orderId']} waits for {', '.join(result['waitsFor'])} to end, then it is changed"
        elif result.get("changed") is False:
            yield f"order {result['orderId']} says that already; nothing is changed"
        else:
            yield f"order {result['orderId']} is changed; it is {cell(result['state'])}"
        return
    rest = result["plannedRestS"]
    yield pairs(
        [
            ("order", result["orderId"]),
            ("it would be", "as it is: nothing differs" if not result["changed"] else result["state"]),
            ("it waits first for", ", ".join(result["waitsFor"])),
            ("planned work left", f"{duration(rest['before'])}, then {duration(rest['after'])}"),
        ]
    )
    for reason in result.get("refused", ()):
        yield f"[red]refused[/] when that has ended: {cell(reason.get('reason'))}"
    yield from _rendered_outcomes(result)
    yield "nothing was changed"


def _value(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _rendered_outcomes(result: Document) -> Iterable[RenderableType]:
    values = result.get("values", ())
    if values:
        said = [
            (each["of"], each["name"], _value(each["before"]), _value(each["after"]))
            for each in values[:ITEMS_SHOWN_MAX]
        ]
        yield table(["of", "value", "is", "would be"], said)
    if len(values) > ITEMS_SHOWN_MAX:
        yield f"and {len(values) - ITEMS_SHOWN_MAX} more values"
    lines = [each for each in result.get("lines", ()) if each["outcome"] != "noChange"]
    if lines:
        yield table(["line", "becomes"], [(each["line"], each["outcome"]) for each in lines])
    items: list[dict[str, Any]] = [each for each in result.get("items", ()) if each["outcome"] != "keep"]
    if items:
        rows = [
            (each["key"], each["name"], each["state"], OUTCOMES[each["outcome"]], each["stateAfter"])
            for each in items[:ITEMS_SHOWN_MAX]
        ]
        yield table(["item", "name", "is", "what becomes of it", "then"], rows)
    if len(items) > ITEMS_SHOWN_MAX:
        counts = Counter(OUTCOMES[each["outcome"]] for each in items[ITEMS_SHOWN_MAX:])
        yield "and " + ", ".join(f"{count} items: {word}" for word, count in sorted(counts.items()))
    added = result.get("added", ())
    if added:
        made = [
            (each["key"], each["name"], f"{each.get('role', 'new')} {each.get('of', '')}".strip(), each["stateAfter"])
            for each in added[:ITEMS_SHOWN_MAX]
        ]
        yield table(["added", "name", "what for", "state"], made)
    if len(added) > ITEMS_SHOWN_MAX:
        yield f"and {len(added) - ITEMS_SHOWN_MAX} more items"


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "amend": amend,
    "patch": patch,
    "cancel": cancel,
    "move": move,
    "hold": _steering("hold", "Let nothing new of an order begin; work under way goes on."),
    "resume": _steering("resume", "Let an order that is held go on."),
    "freeze": _steering("freeze", "Freeze an order, as a change of it does."),
    "thaw": _steering("thaw", "Let a frozen order go on as it was; a change that waits is given up."),
    "prioritize": prioritize,
}
