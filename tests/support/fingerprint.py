"""Everything there is of a plan, as plain values that can be compared."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from domain.items import ItemRun
from domain.plan import Plan


def fingerprint(plan: Plan) -> dict[str, Any]:
    """All fields of a plan and its items, also those that are added later.

    Not what is kept only because it takes time to make, which is no part of what the plan is. A release goes by its id
    and a template by its own. Of the timers count those that still hold: the heap keeps
    settled ones until somebody looks at it.
    """
    seen: dict[str, Any] = {each.name: getattr(plan, each.name) for each in fields(plan) if each.compare}
    seen["release"] = plan.release.release_id
    seen["template"] = plan.template.template_id if plan.template else None
    seen["items"] = [_item(item) for item in plan.items]
    seen["by_key"] = {key: item.node for key, item in plan.by_key.items()}
    seen["timers"] = sorted({(at, index) for at, index in plan.timers if plan.items[index].timer_at == at})
    return seen


def _item(item: ItemRun) -> dict[str, Any]:
    seen: dict[str, Any] = {each.name: getattr(item, each.name) for each in fields(item)}
    seen["definition"] = item.definition.ref if item.definition else None
    return seen
