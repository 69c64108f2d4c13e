"""What may be done to an installed product in which state, and what it is then.

The states are TMF637's; products that are loaded may have others of it than the two that orders lead to. A product that
an order has yet to make is not there, and one that was deleted is gone: both are refused where products are looked up.
Source: REFERENCE b3 (connected, disconnected, offline), TMF637 v4.
"""

from __future__ import annotations

from typing import Final

from domain.catalogue import Action
from domain.errors import InventoryConflict
from domain.inventory import ACTIVE, SUSPENDED, Asset

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


def refuse_untimely_action(asset: Asset, action: str, path: str) -> None:
    """Refuse an action that means nothing in the product's state.

    A state that orders know nothing of (`created`, `pendingActive` and the like, of products loaded from elsewhere)
    counts as active: whoever loaded it says what it means.

    Raises:
        InventoryConflict: with the way on.
    """
    state = asset.status if asset.status in AFTER else ACTIVE
    if action in AFTER[state]:
        return
    raise InventoryConflict(
        f"product {asset.asset_id!r} is {asset.status}, so {action} means nothing",
        path=f"{path}.action",
        mend=_MENDS.get((state, Action(action)), "choose another action"),
    )
