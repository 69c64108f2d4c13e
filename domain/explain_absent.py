"""Why something is not in a plan: an item that no line composed, a line for which there is nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from domain.catalogue import ItemType
from domain.explanation import Reason
from domain.expression_paths import values_read
from domain.lines import Line, line_context, order_context
from domain.plan import Plan
from domain.release import CompiledRelease, ItemDef, ScenarioDef

LINES_SHOWN_MAX: Final = 50
"""Lines of which an explanation says one by one why they did not compose something."""


def explain_absent(composed: Plan, ref: str) -> list[Reason]:
    """Why the plan has no item of a definition `plan/item`: the scenarios that could have composed it, line by line.

    Args:
        composed: the plan as it was when it was composed: scenarios read the values of that moment.
        ref: `plan/item`.
    """
    definitions = {each.ref: each for each in composed.release.items}
    definition = definitions.get(ref)
    if definition is None:
        near = get_close_matches(ref, definitions, 3, 0.5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        text = f"Release {composed.release.release_id} has no item {ref}.{hint}"
        return [Reason("unknownItem", text, {"near": near})]
    if composed.template is None:
        text = f"The order is {composed.order_state.value} and has no plan, so it has no item {ref} either."
        return [Reason("noPlan", text, {"state": composed.order_state.value})]
    above = _sub_plan_item(composed.release, definition)
    if above is not None:
        text = f"Item {ref} is part of sub-plan {definition.plan}, which only item {above.ref} begins."
        return [Reason("inSubPlan", text, {"item": above.ref}), *explain_absent(composed, above.ref)]
    context = order_context(composed.order)
    found = [
        reason
        for line in composed.lines
        if (reason := _why_not(composed, line, definition.plan, line_context(context, line))) is not None
    ]
    if not found:
        return [_no_line(composed.release, definition.plan)]
    rest = len(found) - LINES_SHOWN_MAX
    if rest > 0:
        return [*found[:LINES_SHOWN_MAX], Reason("moreLines", f"The same goes for {rest} more lines.", {"more": rest})]
    return found


def _sub_plan_item(release: CompiledRelease, definition: ItemDef) -> ItemDef | None:
    """The sub-plan item that stands for the plan of a definition, if one does."""
    for each in release.items:
        if each.type is ItemType.SUB_PLAN and each.source.sub_plan == definition.plan:
            return each
    return None


def _no_line(release: CompiledRelease, plan: str) -> Reason:
    named = [each for each in release.source.scenarios if each.plan == plan]
    products = sorted({each.product for each in named if each.product is not None})
    classes = sorted({each.product_class for each in named if each.product_class is not None})
    if not named:
        return Reason("noScenario", f"No scenario of the release leads to plan {plan}.", {"plan": plan})
    about = [*(f"product {each}" for each in products), *(f"class {each}" for each in classes)]
    text = f"Plan {plan} is for {', '.join(about)}; no line of the order is of that."
    return Reason("otherProduct", text, {"plan": plan, "products": products, "classes": classes})


def _why_not(plan: Plan, line: Line, wanted: str, context: Mapping[str, Any]) -> Reason | None:
    by_action = plan.release.products[line.product].scenarios
    about: dict[int, ScenarioDef] = {
        each.index: each for scenarios in by_action.values() for each in scenarios if each.plan == wanted
    }
    if not about:
        return None
    named = f"Line {line.key} ({line.name})"
    facts: dict[str, Any] = {"line": line.key, "product": line.product, "action": line.action}
    with_action = [each for each in about.values() if line.action in each.actions]
    if not with_action:
        actions = sorted({action for each in about.values() for action in each.actions})
        text = f"{named} has action {line.action}; plan {wanted} is for {', '.join(actions)}."
        return Reason("otherAction", text, facts | {"actions": actions})
    meant = [each for each in with_action if not each.sub_actions or line.sub_action in each.sub_actions]
    if not meant:
        asked = sorted({each for scenario in with_action for each in scenario.sub_actions})
        text = f"{named} has sub-action {line.sub_action or 'none'}; plan {wanted} is for {', '.join(asked)}."
        return Reason("otherSubAction", text, facts | {"subAction": line.sub_action, "subActions": asked})
    conditions = {each.when.source: values_read(each.when.source, context) for each in meant if each.when is not None}
    text = f"{named} did not meet the condition of the scenario: {'; '.join(conditions)}."
    return Reason("scenarioFalse", text, facts | {"conditions": conditions})


def idle_lines(plan: Plan) -> list[Line]:
    """Lines that become assets although no scenario leads from them to any work."""
    assert plan.template is not None
    return [line for index in plan.template.idle_lines if (line := plan.lines[index]).is_asset]


def explain_idle(plan: Plan) -> list[Reason]:
    """Why lines of a composed plan have no work, at most so many of them."""
    found = idle_lines(plan)
    reasons = []
    for line in found[:LINES_SHOWN_MAX]:
        by_action = {action: each for action, each in plan.release.products[line.product].scenarios.items() if each}
        facts: dict[str, Any] = {"line": line.key, "product": line.product, "action": line.action}
        named = f"Line {line.key} ({line.name}, {line.action}) is delivered without work"
        if line.action in by_action:
            text = f"{named}: it met the condition of none of its scenarios."
        elif by_action:
            facts["actions"] = sorted(by_action)
            text = f"{named}: the scenarios of {line.product} are for {', '.join(facts['actions'])}."
        else:
            text = f"{named}: no scenario is about {line.product} or its class."
        reasons.append(Reason("noWork", text, facts))
    rest = len(found) - LINES_SHOWN_MAX
    if rest > 0:
        reasons.append(Reason("moreLines", f"So are {rest} more lines.", {"more": rest}))
    return reasons
