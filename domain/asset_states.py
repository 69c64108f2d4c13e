"""What may be done to an installed product in which state, and what it is then.

The states are TMF637's; products that are loaded may have others of it than the two that orders lead to. A product that
an order has yet to make is not there, and one that was deleted is gone: both are refused where products are looked up.
An action is judged once, when an order says it: when the order is accepted, or when a change brings the line. It is
judged by the state that the product will have when the order's turn comes, so what waits before it counts. After that
the order stands: what is suspended already when a suspension is taken up is delivered as it is.
Source: REFERENCE b3 (connected, disconnected, offline), TMF637 v4.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final

from domain.catalogue import Action
from domain.errors import InventoryConflict
from domain.inventory import ACTIVE, SUSPENDED, Projection
from domain.lines import Line
from domain.orders import Order

AFTER: Final[dict[str, dict[str, str | None]]] = {
    ACTIVE: {
        Action.MODIFY: ACTIVE,
        Action.MOVE: ACTIVE,
        Action.NO_CHANGE: ACTIVE,
        Action.SUSPEND: SUSPENDED,
        Action.DELETE: "terminated",
    },
    SUSPENDED: {
        Action.NO_CHANGE: SUSPENDED,
        Action.RESUME: ACTIVE,
        Action.DELETE: "terminated",
    },
}
"""State -> action -> state when the order has delivered it; an action that is missing is refused."""
_MENDS: Final = {
    (ACTIVE, Action.RESUME): "leave the item out: it is not suspended",
    (SUSPENDED, Action.SUSPEND): "leave the item out: it is suspended already",
    (SUSPENDED, Action.MODIFY): "resume it first",
    (SUSPENDED, Action.MOVE): "resume it first",
}


def states_to_come(lines: Iterable[Line]) -> dict[str, str]:
    """The state of each product, by asset id, that lines suspend or resume."""
    after = {Action.SUSPEND.value: SUSPENDED, Action.RESUME.value: ACTIVE}
    return {line.asset_id: after[line.action] for line in lines if line.is_asset and line.action in after}


def refuse_untimely_actions(
    order: Order,
    lines: Iterable[Line],
    projection: Projection,
    ahead: Mapping[str, str],
    known: Container[str] = (),
) -> None:
    """Refuse an order with an action that means nothing in the state that its product will have.

    A state that orders know nothing of (`created`, `pendingActive` and the like, of products loaded from elsewhere)
    counts as active: whoever loaded it says what it means.

    Args:
        order: whose lines they are.
        lines: as they were resolved, one for each order line.
        projection: what the account will have when the orders at work have delivered.
        ahead: the states that orders which wait before this one lead to, by asset id.
        known: keys of lines that were judged before.
    Raises:
        InventoryConflict: with the way on.
    """
    paths = {each.line_id: each.path for each in order.lines}
    for line in lines:
        asset = projection.assets.get(line.asset_id)
        if asset is None or line.key in known:
            continue
        told = ahead.get(asset.asset_id, asset.status)
        state = told if told in AFTER else ACTIVE
        if line.action not in AFTER[state]:
            raise InventoryConflict(
                f"product {asset.asset_id!r} is {told}, so {line.action} means nothing",
                path=f"{paths[line.key]}.action",
                mend=_MENDS.get((state, Action(line.action)), "choose another action"),
            )
