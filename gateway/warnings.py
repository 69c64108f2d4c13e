"""What ran, or runs, but perhaps not as meant: shown with an order."""

from __future__ import annotations

from domain.catalogue import Scope
from domain.explain_absent import idle_lines
from domain.plan import Plan


def warnings_of(plan: Plan) -> list[str]:
    """Sentences about a composed plan: lines without work, and keys that no line gives."""
    assert plan.template is not None
    found = [
        f"line {line.key} ({line.name}, {line.action}) matches no scenario and is delivered without work"
        for line in idle_lines(plan)
    ]
    for line in plan.lines:
        product = plan.release.products[line.product].source
        if line.sources and product.scope is Scope.KEY and not line.instance.startswith("key:"):
            found.append(f"line {line.key} ({line.name}) has no {product.scope_key}, so it is an instance of its own")
    for node, definition in zip(plan.template.nodes, plan.template.definitions, strict=True):
        if definition is not None and definition.scope is Scope.KEY and node.instance[0] == "line":
            line = plan.lines[node.lines[0]]
            found.append(
                f"item {definition.ref}: line {line.key} ({line.name}) has no {definition.scope_key}, so it has one of "
                "its own"
            )
    return found
