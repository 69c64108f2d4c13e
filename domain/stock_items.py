"""Item definitions that no release has: what a change of an order needs besides the catalogue."""

from __future__ import annotations

from typing import Final

from domain.catalogue import FormField, Item, ItemType, Scope
from domain.forms import Form, schema_of
from domain.release import ItemDef, RetryPolicy

RESOLVE_QUEUE: Final = "fallout"
"""The manual queue of tasks to resolve fallout; no release has to declare it."""
_FIELDS: Final = (FormField(name="resolution", type="string", required=True),)

RESOLVE_FALLOUT: Final = ItemDef(
    index=-1,
    ref="resolve/fallout",
    plan="resolve",
    name="Resolve Fallout",
    type=ItemType.MANUAL_TASK,
    scope=Scope.ITEM,
    scope_key=None,
    source=Item(
        code="fallout", name="Resolve Fallout", type=ItemType.MANUAL_TASK, queue=RESOLVE_QUEUE, form=_FIELDS
    ),
    condition=None,
    process_after=None,
    request=None,
    response=None,
    event=None,
    retry=RetryPolicy(),
    form=Form(schema_of(_FIELDS)),
)
"""An item failed, then its work was cancelled: nobody knows what it has done outside, so a person finds out and says
what was done about it (REFERENCE b2: the stock plan for orchestration fallouts).
"""
