"""Facts: what happened to an order, in past tense, append-only.

A fact is the audit trail, the recovery source, the training data of delay models and the feed of every consumer. Each
kind has a schema version; `upcast` turns every earlier version into the newest, so that readers know one form only.
Golden files of every version stand in tests/golden/facts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

ORDER_ACCEPTED: Final = "order.accepted"
ORDER_REJECTED: Final = "order.rejected"
ORDER_WAITING: Final = "order.waiting"
ORDER_MOVED: Final = "order.moved"
ORDER_ENDED: Final = "order.ended"
ORDER_QUARANTINED: Final = "order.quarantined"
ORDER_CLOSING: Final = "order.closing"
PLAN_COMPOSED: Final = "plan.composed"
PLAN_REDRIVEN: Final = "plan.redriven"
"""It stood still although it could go on; what was stuck is named."""
PLAN_HELD: Final = "plan.held"
PLAN_RESUMED: Final = "plan.resumed"
PLAN_FROZEN: Final = "plan.frozen"
"""Nothing of it begins any more, so that it can be changed; `busy` while work under way is waited for."""
PLAN_STILLED: Final = "plan.stilled"
"""The last work that a freeze waited for has ended."""
PLAN_THAWED: Final = "plan.thawed"
CHANGE_ASKED: Final = "change.asked"
CHANGE_REFUSED: Final = "change.refused"
PLAN_CHANGED: Final = "plan.changed"
"""An amendment, a cancellation or a move to another release is carried out: the plan as it is from now on."""
ORDER_AMENDED: Final = "order.amended"
"""An order that waits for another one has another document now."""
ORDER_PRIORITIZED: Final = "order.prioritized"
ITEM_STARTED: Final = "item.started"
ITEM_OPENED: Final = "item.opened"
ITEM_BEGUN: Final = "item.begun"
"""Of a push event or sub-plan: from now on it is Running."""
ITEM_SCHEDULED: Final = "item.scheduled"
ITEM_HELD: Final = "item.held"
"""Its system takes no calls just now; `item.started` follows when it does."""
ITEM_ACCEPTED: Final = "item.accepted"
ITEM_CLAIMED: Final = "item.claimed"
ITEM_RELEASED: Final = "item.released"
ITEM_COMPLETED: Final = "item.completed"
ITEM_FAILED: Final = "item.failed"
ITEM_FATALLY_FAILED: Final = "item.fatallyFailed"
ITEM_RETRIED: Final = "item.retried"
ITEM_EDITED: Final = "item.edited"
ITEM_SKIPPED: Final = "item.skipped"
ITEM_NOTED: Final = "item.noted"
LINE_CHANGED: Final = "line.changed"
ITEM_ANNOTATED: Final = "item.annotated"
ASSETS_CHANGED: Final = "assets.changed"
ASSETS_IMPORTED: Final = "assets.imported"
ASSETS_BOOKED: Final = "assets.booked"
"""Of the account: what a dedicated plan had changed is booked."""
ASSETS_CONFIRMED: Final = "assets.confirmed"
"""Of the dedicated plan: it has heard of the booking."""

VERSIONS: Final[dict[str, int]] = {
    ORDER_ACCEPTED: 2,
    ORDER_REJECTED: 2,
    ORDER_WAITING: 1,
    ORDER_MOVED: 1,
    ORDER_ENDED: 1,
    ORDER_QUARANTINED: 1,
    ORDER_CLOSING: 1,
    PLAN_COMPOSED: 1,
    PLAN_REDRIVEN: 1,
    PLAN_HELD: 1,
    PLAN_RESUMED: 1,
    PLAN_FROZEN: 1,
    PLAN_STILLED: 1,
    PLAN_THAWED: 1,
    CHANGE_ASKED: 2,
    CHANGE_REFUSED: 1,
    PLAN_CHANGED: 2,
    ORDER_AMENDED: 1,
    ORDER_PRIORITIZED: 1,
    ITEM_STARTED: 1,
    ITEM_OPENED: 1,
    ITEM_BEGUN: 1,
    ITEM_SCHEDULED: 1,
    ITEM_HELD: 1,
    ITEM_ACCEPTED: 1,
    ITEM_CLAIMED: 1,
    ITEM_RELEASED: 1,
    ITEM_COMPLETED: 1,
    ITEM_FAILED: 1,
    ITEM_FATALLY_FAILED: 1,
    ITEM_RETRIED: 1,
    ITEM_EDITED: 1,
    ITEM_SKIPPED: 1,
    ITEM_NOTED: 1,
    LINE_CHANGED: 1,
    ITEM_ANNOTATED: 1,
    ASSETS_CHANGED: 1,
    ASSETS_IMPORTED: 1,
    ASSETS_BOOKED: 1,
    ASSETS_CONFIRMED: 1,
}
"""The newest schema version of every kind."""

ABOUT_ALL_ITEMS: Final = frozenset(
    {PLAN_HELD, PLAN_RESUMED, PLAN_FROZEN, PLAN_THAWED, PLAN_CHANGED, ORDER_PRIORITIZED, PLAN_REDRIVEN}
)
"""After these any item of the order may stand otherwise than before, although the fact names none."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {
    # 2: `placement` and `accountShard`, absent where the release's rule does not ask for a host.
    (ORDER_ACCEPTED, 1): lambda payload: payload,
    (ORDER_REJECTED, 1): lambda payload: payload,
    # 2: `joined` and `awaits`, absent where the change is not because of another order of the account.
    (CHANGE_ASKED, 1): lambda payload: payload,
    # 2: also of `kind` rejoin.
    (PLAN_CHANGED, 1): lambda payload: payload,
}
"""(kind, version) -> payload of the next version."""


class Fact(NamedTuple):
    """One fact of one order, without its place in the journal.

    `actor` says who: `system`, `adapter:<code>`, `person:<name>`, `channel:<name>`. `cause` names what it answers (an
    effect key, a message id).
    """

    kind: str
    at: datetime
    item: str | None = None
    payload: dict[str, Any] | None = None
    actor: str = "system"
    cause: str | None = None


def upcast(kind: str, version: int, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload in its newest version.

    Raises:
        ValueError: the kind is unknown, or newer than this program: an older program must not guess.
    """
    newest = VERSIONS.get(kind)
    if newest is None or version > newest:
        raise ValueError(f"fact {kind} version {version} is newer than this program knows")
    while version < newest:
        payload = UPCASTERS[kind, version](payload)
        version += 1
    return payload
