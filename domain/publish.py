"""Publishing: checking a release and compiling it for running.

`compile_release` refuses what could never run (unknown names, cycles, expressions that do not compile) by name, and
returns findings for what would run but probably not as meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from domain.catalogue import RELATED_ORDER, Action, Decomposition, Item, ItemType, Release, Scope
from domain.classes import class_chains
from domain.cycles import find_cycle
from domain.errors import BadExpression, BadRelease
from domain.expressions import Expression, compile_condition, compile_value
from domain.forms import form_of
from domain.release import (
    ANSWER_VARIABLES,
    ASSETIZE,
    LINE_VARIABLES,
    STOCK_AUTO_TASKS,
    CompiledMapping,
    CompiledRelease,
    Edge,
    ItemDef,
    ProductDef,
    RetryPolicy,
    Rule,
    ScenarioDef,
    release_id_of,
)

_NAMED_MAX: Final = 5
"""Items that one finding names."""


class _Problems:
    """Collects every reason before refusing, so that a designer mends them in one go."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.findings: list[str] = []

    def condition(self, where: str, source: str, known: frozenset[str] = LINE_VARIABLES) -> Expression | None:
        return self._compile(where, source, known, is_condition=True)

    def value(self, where: str, source: str, known: frozenset[str] = LINE_VARIABLES) -> Expression | None:
        return self._compile(where, source, known, is_condition=False)

    def _compile(self, where: str, source: str, known: frozenset[str], *, is_condition: bool) -> Expression | None:
        if not source.strip():
            return None
        try:
            return compile_condition(source, known) if is_condition else compile_value(source, known)
        except BadExpression as error:
            self.errors.append(f"{where}: {error.reason} in {source!r}")
            return None

    def unique(self, what: str, codes: Iterable[str]) -> None:
        seen: set[str] = set()
        for code in codes:
            if code in seen:
                self.errors.append(f"{what} {code!r} is defined twice")
            seen.add(code)


def compile_release(release: Release) -> CompiledRelease:
    """Check and compile a release.

    Raises:
        BadRelease: with every reason; `facts["problems"]` lists them.
    """
    problems = _Problems()
    problems.unique("product", (each.code for each in release.products))
    problems.unique("plan", (each.code for each in release.plans))
    problems.unique("decomposition", (each.name for each in release.decompositions))
    problems.unique("class", (each.code for each in release.classes))
    problems.unique("retry policy", (each.code for each in release.retries))
    problems.unique("system", (each.code for each in release.systems))
    problems.unique("queue", (each.code for each in release.queues))
    items = _compile_items(release, problems)
    products = _compile_products(release, items, problems)
    _attach_sub_plans(release, items, problems)
    _attach_change_plans(release, items, problems)
    _compile_dependencies(release, items, problems)
    _refuse_cycles(items, problems)
    dedicated = problems.condition("dedicated", release.dedicated, frozenset({"order", "account"}))
    if problems.errors:
        first, *more = problems.errors
        reason = first if not more else f"{first}; and {len(more)} more"
        raise BadRelease(reason, problems=problems.errors, mend="mend the release and publish it again")
    _look_for_oddities(release, products, problems)
    _look_for_work_without_undo(release, items, problems)
    by_specification, by_offering = (
        {each.source.external_id or code: code for code, each in products.items() if each.source.kind in (kind, "both")}
        for kind in ("technical", "commercial")
    )
    return CompiledRelease(
        release_id=release_id_of(release),
        source=release,
        products=products,
        by_specification=by_specification,
        by_offering=by_offering,
        items=items,
        findings=problems.findings,
        dedicated=dedicated,
        key_names=tuple(sorted({item.scope_key for item in items if item.scope_key})),
    )


def _look_for_oddities(release: Release, products: Mapping[str, ProductDef], problems: _Problems) -> None:
    """Note what would run, but probably not as meant."""
    used = {scenario.plan for scenario in release.scenarios}
    for plan in release.plans:
        for item in plan.items:
            used.update(each for each in (item.sub_plan, item.rollback_plan, item.amend_plan) if each)
    for plan in release.plans:
        if plan.code not in used:
            problems.findings.append(f"plan {plan.code}: no scenario composes it")
    makes_assets = any(item.task == ASSETIZE for plan in release.plans for item in plan.items)
    for product in release.products:
        if product.asset and product.assetize == "explicit" and not makes_assets:
            problems.findings.append(
                f"product {product.code} becomes an asset only through an assetize item, and no plan has one"
            )
        for attribute in product.attributes:
            # Significant is the default: only who says so himself is told that it means nothing here.
            if "significant" in attribute.model_fields_set and attribute.significant and not attribute.assetizable:
                problems.findings.append(
                    f"product {product.code}: attribute {attribute.name} is not kept, so it cannot be compared; "
                    "it drives no modify"
                )
    for each in products.values():
        for derived in () if each.source.asset else each.rules:
            problems.findings.append(
                f"decomposition {derived.name}: {each.code!r} is no asset, so a later order cannot find what it became"
            )
    for rule in release.decompositions:
        for mapping in rule.map:
            if not products[rule.target].is_assetizable(mapping.to):
                problems.findings.append(
                    f"decomposition {rule.name}, mapping to {mapping.to}: the attribute is not kept; "
                    "fill it during orchestration"
                )


def _look_for_work_without_undo(release: Release, items: list[ItemDef], problems: _Problems) -> None:
    """Note what a cancelled order would leave outside; one finding for all, since catalogues without any undo exist."""
    delivering = {Action.ADD, Action.MODIFY}
    composed = {scenario.plan for scenario in release.scenarios if delivering.intersection(scenario.actions)}
    waiting = list(composed)
    for plan in waiting:
        inner = {item.source.sub_plan for item in items if item.plan == plan and item.source.sub_plan} - composed
        composed |= inner
        waiting.extend(inner)
    left = [
        item.ref
        for item in items
        if item.plan in composed and item.is_call and not item.rollback_refs and not item.source.leaves_nothing
    ]
    if left:
        named = ", ".join(left[:_NAMED_MAX]) + (f" and {len(left) - _NAMED_MAX} more" if left[_NAMED_MAX:] else "")
        problems.findings.append(
            f"a cancelled order leaves what these items have done outside: {named}; give each a rollbackPlan, or say "
            "leavesNothing: true"
        )


def _compile_items(release: Release, problems: _Problems) -> list[ItemDef]:
    retries = {each.code: RetryPolicy(each.attempts_max, each.delays_s or (0.0,)) for each in release.retries}
    systems = {each.code for each in release.systems}
    queues = {each.code for each in release.queues}
    items: list[ItemDef] = []
    for plan in release.plans:
        problems.unique(f"item of plan {plan.code}", (each.code for each in plan.items))
        for item in plan.items:
            ref = f"{plan.code}/{item.code}"
            if item.type is ItemType.CALLOUT and item.system not in systems:
                problems.errors.append(f"item {ref}: system {item.system!r} is not in the release")
            if item.type is ItemType.MANUAL_TASK and item.queue not in queues:
                problems.errors.append(f"item {ref}: queue {item.queue!r} is not in the release")
            if item.type is ItemType.AUTO_TASK and not item.task:
                stock = ", ".join(sorted(STOCK_AUTO_TASKS))
                problems.errors.append(f"item {ref}: an auto task needs task: {stock}, or a function of one's own")
            _refuse_strangers(ref, item, problems)
            if item.retry is not None and item.retry not in retries:
                problems.errors.append(f"item {ref}: retry policy {item.retry!r} is not in the release")
            scope = item.scope or plan.scope
            if scope is Scope.KEY and not item.scope_key:
                problems.errors.append(f"item {ref}: scope key needs scopeKey, the attribute that names the instance")
            items.append(
                ItemDef(
                    index=len(items),
                    ref=ref,
                    plan=plan.code,
                    name=item.name or item.code,
                    type=item.type,
                    scope=scope,
                    scope_key=item.scope_key,
                    source=item,
                    condition=problems.condition(f"item {ref} condition", item.condition),
                    process_after=problems.value(f"item {ref} processAfter", item.process_after),
                    request=_compile_values(problems, f"item {ref} request", item.request, LINE_VARIABLES),
                    response=_compile_values(problems, f"item {ref} response", item.response, ANSWER_VARIABLES),
                    event=problems.condition(f"item {ref} event", item.event),
                    retry=retries[item.retry] if item.retry in retries else RetryPolicy(),
                    form=form_of(item, ref, problems) if item.type is ItemType.MANUAL_TASK else None,
                )
            )
    return items


_ONLY_FOR: Final = {
    "event": ItemType.PUSH_EVENT,
    "event_timeout_s": ItemType.PUSH_EVENT,
    "sub_plan": ItemType.SUB_PLAN,
}
"""Members of an item definition that mean something for one type only."""


def _refuse_strangers(ref: str, item: Item, problems: _Problems) -> None:
    for member, kind in _ONLY_FOR.items():
        if member in item.model_fields_set and item.type is not kind:
            name = type(item).model_fields[member].alias or member
            problems.errors.append(f"item {ref}: {name} is for type {kind.value}, this item is a {item.type.value}")


def _attach_sub_plans(release: Release, items: list[ItemDef], problems: _Problems) -> None:
    """Give each sub-plan item the items that it stands for."""
    items_of: dict[str, list[int]] = defaultdict(list)
    for item in items:
        items_of[item.plan].append(item.index)
    chosen = {each.plan for each in release.scenarios}
    users: dict[str, str] = {}
    edges: dict[str, list[str]] = {plan.code: [] for plan in release.plans}
    for item in items:
        if item.type is not ItemType.SUB_PLAN:
            continue
        name = item.source.sub_plan
        if name is None or name not in edges:
            problems.errors.append(f"item {item.ref}: subPlan {name!r} is not a plan of the release")
            continue
        if name in chosen:
            problems.errors.append(f"item {item.ref}: a scenario chooses plan {name!r}, so it cannot be a sub-plan")
        if name in users:
            problems.errors.append(f"items {users[name]} and {item.ref} name the same sub-plan {name!r}")
        users[name] = item.ref
        edges[item.plan].append(name)
        item.sub_items = tuple(items_of[name])
    cycle = find_cycle(edges)
    if cycle:
        problems.errors.append(f"sub-plans contain one another in a circle: {' -> '.join(cycle)}")


def _attach_change_plans(release: Release, items: list[ItemDef], problems: _Problems) -> None:
    """Give each item those of the plans that undo it or bring it in line with an amendment."""
    items_of: dict[str, list[ItemDef]] = {plan.code: [] for plan in release.plans}
    for item in items:
        items_of[item.plan].append(item)
    for item in items:
        source = item.source
        for member, name in (("rollbackPlan", source.rollback_plan), ("amendPlan", source.amend_plan)):
            if name is None:
                continue
            where = f"item {item.ref}: {member} {name!r}"
            if name not in items_of:
                problems.errors.append(f"{where} is not a plan of the release")
                continue
            if name == item.plan:
                problems.errors.append(f"{where} is the item's own plan")
            for part in items_of[name]:
                if part.type is ItemType.SUB_PLAN or part.source.task == ASSETIZE:
                    problems.errors.append(f"{where} has item {part.ref}, and may have no sub-plan and no assetize")
            refs = tuple(part.ref for part in items_of[name])
            if member == "rollbackPlan":
                item.rollback_refs = refs
            else:
                item.amend_refs = refs
        if source.amend_plan is not None and source.on_amend is not None:
            problems.errors.append(f"item {item.ref}: give amendPlan or onAmend, not both")
        if source.on_amend == "undoThenRedo" and source.rollback_plan is None:
            problems.errors.append(f"item {item.ref}: onAmend undoThenRedo needs a rollbackPlan")
        if source.leaves_nothing and source.rollback_plan is not None:
            problems.errors.append(f"item {item.ref}: give rollbackPlan or leavesNothing, not both")
        if source.rollback_group is not None and source.rollback_plan is None:
            problems.errors.append(f"item {item.ref}: rollbackGroup needs a rollbackPlan")
        if source.freeze == "goOn" and not item.is_call:
            problems.errors.append(f"item {item.ref}: freeze goOn is for what calls a system or a function")


def _compile_values(
    problems: _Problems, where: str, sources: Mapping[str, str] | None, known: frozenset[str]
) -> dict[str, Expression] | None:
    if sources is None:
        return None
    for name, source in sources.items():
        if not source.strip():
            problems.errors.append(f"{where} {name}: the expression is empty")
    compiled = {name: problems.value(f"{where} {name}", source, known) for name, source in sources.items()}
    return {name: expression for name, expression in compiled.items() if expression is not None}


def _compile_products(release: Release, items: list[ItemDef], problems: _Problems) -> dict[str, ProductDef]:
    products = {
        each.code: ProductDef(source=each, code=each.code, attributes={a.name: a for a in each.attributes})
        for each in release.products
    }
    ids: dict[tuple[str, str], str] = {}
    for product in release.products:
        for kind in ("commercial", "technical") if product.kind == "both" else (product.kind,):
            known_as = (kind, product.external_id or product.code)
            other = ids.setdefault(known_as, product.code)
            if other != product.code:
                problems.errors.append(f"products {other!r} and {product.code!r} have the same id {known_as[1]!r}")
        problems.unique(f"attribute of product {product.code}", (a.name for a in product.attributes))
        if product.scope is Scope.KEY and not product.scope_key:
            problems.errors.append(f"product {product.code}: scope key needs scopeKey")
    chains = class_chains(release, problems.errors)
    _attach_rules(release, products, chains, problems)
    _attach_scenarios(release, products, chains, items, problems)
    return products


def _attach_rules(
    release: Release, products: dict[str, ProductDef], chains: Mapping[str, tuple[str, ...]], problems: _Problems
) -> None:
    rules: dict[str, list[Rule]] = defaultdict(list)
    members: dict[str, list[str]] = {each.code: [] for each in release.classes}
    for code, chain in chains.items():
        for each_class in chain:
            members.setdefault(each_class, []).append(code)
    for each in release.decompositions:
        where = f"decomposition {each.name}"
        if (each.source is None) == (each.source_class is None):
            problems.errors.append(f"{where}: give either source or sourceClass")
        if each.source_class is not None and each.source_class not in members:
            problems.errors.append(f"{where}: class {each.source_class!r} is not in the release")
        for end in (each.source, each.target):
            if end is not None and end not in products:
                problems.errors.append(f"{where}: product {end!r} is not in the release")
        when = problems.condition(where, each.when)
        mappings = tuple(_compile_mappings(each, problems))
        sources = members.get(each.source_class or "", []) if each.source is None else [each.source]
        if each.source_class is not None and not sources:
            problems.findings.append(f"{where}: no product is of class {each.source_class!r}")
        for source in sources:
            if source == each.target:
                problems.errors.append(f"{where}: {source!r} decomposes into itself")
            rules[source].append(Rule(each.name, source, each.target, each.priority, when, mappings))
    for code, found in rules.items():
        if code in products:
            products[code].rules = tuple(found)
    _rank(products, problems)


def _compile_mappings(rule: Decomposition, problems: _Problems) -> Iterable[CompiledMapping]:
    for each in rule.map:
        where = f"decomposition {rule.name}, mapping to {each.to}"
        given = each.model_fields_set & {"copy_from", "static", "list_of", "expression", "function"}
        if len(given) != 1:
            problems.errors.append(f"{where}: give exactly one of copy, static, list, expression, function")
            continue
        kind = given.pop()
        if (kind == "copy_from" and not each.copy_from) or (kind == "list_of" and not each.list_of):
            problems.errors.append(f"{where}: {'copy' if kind == 'copy_from' else 'list'} names no attribute")
        elif kind == "copy_from":
            yield CompiledMapping(each.to, "copy", source=each.copy_from)
        elif kind == "static":
            yield CompiledMapping(each.to, "static", value=each.static)
        elif kind == "list_of":
            yield CompiledMapping(each.to, "list", source=each.list_of, table=each.table)
        elif kind == "function":
            if not each.function:
                problems.errors.append(f"{where}: function names none")
                continue
            yield CompiledMapping(each.to, "function", source=each.function)
        else:
            expression = problems.value(where, each.expression or "")
            if expression is None:
                problems.errors.append(f"{where}: the expression is empty")
                continue
            yield CompiledMapping(each.to, "expression", expression=expression)


def _rank(products: dict[str, ProductDef], problems: _Problems) -> None:
    """Give each product its place: a target comes after all its sources."""
    sources: dict[str, set[str]] = {code: set() for code in products}
    for product in products.values():
        for rule in product.rules:
            if rule.target in sources and rule.target != product.code:
                sources[rule.target].add(product.code)
    cycle = find_cycle({code: sorted(above) for code, above in sources.items()})
    if cycle:
        problems.errors.append(f"decomposition goes in a circle: {' -> '.join(reversed(cycle))}")
        return
    # Level by level, from the products that nothing decomposes into.
    targets: dict[str, list[str]] = defaultdict(list)
    for code, above in sources.items():
        for source in above:
            targets[source].append(code)
    waiting = {code: len(above) for code, above in sources.items()}
    ready = [code for code, count in waiting.items() if count == 0]
    for code in ready:
        for target in targets[code]:
            products[target].rank = max(products[target].rank, products[code].rank + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)


def _attach_scenarios(
    release: Release,
    products: dict[str, ProductDef],
    chains: Mapping[str, tuple[str, ...]],
    items: list[ItemDef],
    problems: _Problems,
) -> None:
    items_of: dict[str, list[int]] = defaultdict(list)
    for item in items:
        items_of[item.plan].append(item.index)
    by_product: dict[str, list[ScenarioDef]] = defaultdict(list)
    by_class: dict[str, list[ScenarioDef]] = defaultdict(list)
    plans = {each.code for each in release.plans}
    classes = {each.code for each in release.classes}
    for index, scenario in enumerate(release.scenarios):
        where = f"scenario {index + 1} ({scenario.product or scenario.product_class} -> {scenario.plan})"
        if scenario.plan not in plans:
            problems.errors.append(f"{where}: plan {scenario.plan!r} is not in the release")
        if (scenario.product is None) == (scenario.product_class is None):
            problems.errors.append(f"{where}: give either product or class")
        if scenario.product is not None and scenario.product not in products:
            problems.errors.append(f"{where}: product {scenario.product!r} is not in the release")
        if scenario.product_class is not None and scenario.product_class not in classes:
            problems.errors.append(f"{where}: class {scenario.product_class!r} is not in the release")
        compiled = ScenarioDef(
            index=index,
            plan=scenario.plan,
            actions=frozenset(action.value for action in scenario.actions),
            when=problems.condition(where, scenario.when),
            items=tuple(items_of[scenario.plan]),
            sub_actions=frozenset(scenario.sub_actions),
        )
        if scenario.product is not None:
            by_product[scenario.product].append(compiled)
        elif scenario.product_class is not None:
            by_class[scenario.product_class].append(compiled)
    for defined in products.values():
        found = list(by_product[defined.code])
        for each_class in chains[defined.code]:
            found.extend(by_class[each_class])
        found.sort(key=lambda each: each.index)
        defined.scenarios = {
            action.value: tuple(each for each in found if action.value in each.actions) for action in Action
        }


def _compile_dependencies(release: Release, items: list[ItemDef], problems: _Problems) -> None:
    by_ref = {item.ref: item for item in items}
    seen: set[tuple[int, int]] = set()
    for each in release.dependencies:
        item, other = by_ref.get(str(each.item)), by_ref.get(str(each.other))
        for ref, found in ((each.item, item), (each.other, other)):
            if found is None:
                problems.errors.append(f"dependency {each.item} on {each.other}: item {ref} is not in the release")
        if item is None or other is None:
            continue
        if each.scope == RELATED_ORDER:
            if each.type == "processedBefore":
                problems.errors.append(
                    f"dependency {each.item} on {each.other}: scope relatedOrder is for dependsOn, "
                    "since the order that waits names the other one"
                )
            elif other.ref in item.waits_for_related:
                problems.findings.append(f"dependency of {item.ref} on {other.ref} of related orders is given twice")
            else:
                item.waits_for_related.append(other.ref)
            continue
        if item is other:
            problems.errors.append(f"item {item.ref} depends on itself")
            continue
        if each.scope is Scope.KEY and item.scope_key is None and other.scope_key is None:
            problems.errors.append(
                f"dependency {each.item} on {each.other}: scope key needs an item with a scopeKey at one end"
            )
        is_before = each.type == "processedBefore"
        waiter, target = (other, item) if is_before else (item, other)
        if (waiter.index, target.index) in seen:
            problems.findings.append(f"dependency of {waiter.ref} on {target.ref} is given twice; the first counts")
            continue
        seen.add((waiter.index, target.index))
        edge = Edge(waiter=waiter.index, target=target.index, owner=item.index, scope=each.scope)
        waiter.waits_for.append(edge)
        if is_before:
            item.precedes.append(edge)


def _refuse_cycles(items: list[ItemDef], problems: _Problems) -> None:
    waits = {item.index: [edge.target for edge in item.waits_for] for item in items}
    for item in items:
        # A sub-plan is done when its items are, and they begin when what it waits for is done.
        for child in item.sub_items:
            waits[child].extend(edge.target for edge in item.waits_for)
        waits[item.index].extend(item.sub_items)
    cycle = find_cycle(waits)
    if cycle:
        problems.errors.append(f"items wait for one another in a circle: {' -> '.join(items[i].ref for i in cycle)}")
