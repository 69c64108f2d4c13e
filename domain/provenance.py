"""Where the value of a line's attribute came from: told from the facts of its order and the rules of its release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain import facts as f
from domain.catalogue import Action
from domain.decompose import ranked_mappings
from domain.errors import NotFound
from domain.expression_paths import shown, values_read
from domain.expressions import ABSENT
from domain.facts import Fact
from domain.lines import Line, line_context, order_context
from domain.plan import Plan
from domain.release import BACK_PROPAGATE, CompiledMapping, Rule


@dataclass(frozen=True, slots=True)
class Origin:
    """One step of the way of a value, the last one first; `value` as it may be shown."""

    kind: str
    text: str
    value: Any
    facts: dict[str, Any] = field(default_factory=dict)


def provenance_of(plan: Plan, composed: Plan, facts: Iterable[Fact], line_key: str, attribute: str) -> list[Origin]:
    """Where the value came from, the newest origin first, followed up the chain of mappings to where it began.

    Args:
        plan: as it is now.
        composed: the same plan as it was when it was composed.
        facts: of the order.
        line_key: an order line or a technical one.
        attribute: by name.
    Raises:
        NotFound: the order has no such line.
    """
    if line_key not in plan.line_at:
        raise NotFound(f"order {plan.order_id} has no line {line_key!r}")
    line = composed.lines[composed.line_at[line_key]]
    attempts: dict[str, int] = {}
    """Item -> its newest attempt so far: the one that an answer belongs to."""
    origins: list[Origin] = []
    for fact in facts:
        if fact.kind == f.ITEM_STARTED and fact.payload is not None:
            attempts[fact.item or ""] = fact.payload["attempt"]
        later = _later(plan, fact, line_key, attribute, attempts.get(fact.item or ""))
        if later is not None:
            origins.insert(0, later)
    return [*origins, *_at_composition(composed, line, attribute)]


def _later(plan: Plan, fact: Fact, line_key: str, attribute: str, attempt: int | None) -> Origin | None:
    payload = fact.payload or {}
    if fact.kind not in (f.ITEM_COMPLETED, f.LINE_CHANGED) or attribute not in payload.get("set", {}).get(line_key, {}):
        return None
    value = shown(payload["set"][line_key][attribute])
    told: dict[str, Any] = {"at": fact.at.isoformat(), "actor": fact.actor, "item": fact.item}
    if fact.kind == f.LINE_CHANGED:
        return Origin("change", f"{fact.actor} said so: {payload.get('reason', '')}.", value, told)
    item = plan.by_key[fact.item or ""]
    name = item.definition.name if item.definition is not None else item.key
    if payload.get("by") == "operator":
        return Origin("operator", f"{fact.actor} completed {name} with it.", value, told)
    if item.is_manual:
        return Origin("form", f"{fact.actor} filled it in with {name}.", value, told)
    if item.definition is not None and item.definition.source.task == BACK_PROPAGATE:
        told["lines"] = [
            line.key
            for line in plan.lines_of(item)
            if line.sources and line_key in line.order_lines and attribute in line.attributes
        ]
        return Origin("backPropagation", f"{name} brought it from line {', '.join(told['lines'])}.", value, told)
    told["attempt"] = attempt
    told["system"] = item.definition.system if item.definition is not None else None
    return Origin("answer", f"{told['system']} answered {name} with it (attempt {attempt}).", value, told)


def _at_composition(plan: Plan, line: Line, attribute: str) -> list[Origin]:
    """What the line had when the plan was composed."""
    if not line.sources:
        return _of_order_line(plan, line, attribute)
    context = order_context(plan.order)
    sources = [plan.lines[plan.line_at[key]] for key in line.sources]
    feeding = [
        (source, rule)
        for source in sources
        for rule in plan.release.products[source.product].rules
        # Of several sources of one product the rule may hold for some only.
        if rule.target == line.product and rule.name in line.rules and _holds(rule, source, context)
    ]

    def said(mapping: CompiledMapping, _rule: Rule, _source: Line) -> Any:
        """What a function said when the plan was composed: it is never called again."""
        return line.attributes.get(mapping.to, ABSENT)

    for source, rule, mapping, value in ranked_mappings(context, feeding, said):
        if mapping.to != attribute:
            continue
        told: dict[str, Any] = {"rule": rule.name, "mapping": mapping.kind, "line": source.key}
        told["function" if mapping.kind == "function" else "attribute"] = mapping.source
        if mapping.expression is not None:
            text = mapping.expression.source
            told |= {"expression": text, "values": values_read(text, line_context(context, source))}
        origin = Origin("mapping", _mapped_by(rule.name, mapping.kind, mapping.source, source), shown(value), told)
        if mapping.kind in ("copy", "list") and mapping.source is not None:
            return [origin, *_at_composition(plan, source, mapping.source)]
        return [origin]
    if attribute in line.previous:
        return [Origin("installed", f"It was installed so on {line.asset_id}.", shown(line.previous[attribute]))]
    return _default(plan, line, attribute)


def _holds(rule: Rule, source: Line, context: Mapping[str, Any]) -> bool:
    if source.action == Action.DELETE:
        return False
    return rule.when is None or rule.when.is_true(line_context(context, source))


def _mapped_by(rule: str, kind: str, attribute: str | None, source: Line) -> str:
    if kind == "static":
        return f"Rule {rule} gives it, whatever the source says."
    if kind == "function":
        return f"Rule {rule} had it computed by function {attribute} from line {source.key}, once, at decomposition."
    if kind == "expression":
        return f"Rule {rule} computes it from line {source.key}."
    how = "copies" if kind == "copy" else "looks it up by"
    return f"Rule {rule} {how} {attribute} of line {source.key} ({source.name})."


def _of_order_line(plan: Plan, line: Line, attribute: str) -> list[Origin]:
    ordered = next((each for each in plan.order.lines if each.line_id == line.key), None)
    # What is installed stays with noChange, whatever the line repeats of it.
    is_kept = line.action == Action.NO_CHANGE and attribute in line.previous
    if ordered is not None and attribute in ordered.attributes and not is_kept:
        text = f"The order says so in item {line.key}."
        return [Origin("order", text, shown(ordered.attributes[attribute]), {"channel": plan.order.channel})]
    if attribute in line.previous:
        return [Origin("installed", f"It was installed so on {line.asset_id}.", shown(line.previous[attribute]))]
    return _default(plan, line, attribute)


def _default(plan: Plan, line: Line, attribute: str) -> list[Origin]:
    declared = plan.release.products[line.product].attributes.get(attribute)
    if attribute in line.attributes and declared is not None and declared.default is not None:
        return [Origin("default", f"It is the default of product {line.product}.", shown(declared.default))]
    return []
