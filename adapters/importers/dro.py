"""Import of a Dynamic Revenue Orchestrator export: a folder of CSV files becomes a release that can be published.

Step groups are plan definitions, steps their items, dependency definitions hold in the whole plan; scenarios and
decomposition rules are about products or classes; workspaces are diagrams. docs/IMPORT_DRO.md says what becomes of
what. Nothing is half imported: what cannot be understood for certain is refused with file, line, column and mend; what
is understood but not used, or probably not meant, is a finding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from adapters.importers.csv_tables import Problems, Row
from adapters.importers.dro_bindings import read_bindings
from adapters.importers.dro_products import (
    class_names,
    classes,
    classes_of_products,
    read_decompositions,
    read_products,
    with_keys,
)
from adapters.importers.dro_source import DEPENDENCY, GROUP, PRODUCT, SCENARIO, STEP, Source, read_source
from adapters.importers.dro_steps import Work, note_fallout_by_code, read_work
from adapters.importers.dro_workspaces import Diagram, read_workspaces
from domain.catalogue import Action, Decomposition, Dependency, ItemRef, Release, Scenario, Scope
from domain.release_file import path_text

FILES_MAX: Final = 100
RENEW: Final = "renew"
_ACTIONS: Final[Mapping[str, tuple[Action, str]]] = {
    "Add": (Action.ADD, ""),
    "Amend": (Action.MODIFY, ""),
    "Renew": (Action.MODIFY, RENEW),
    "No Change": (Action.NO_CHANGE, ""),
    "NoChange": (Action.NO_CHANGE, ""),
    "Cancel": (Action.DELETE, ""),
}
_SCOPES: Final[Mapping[str, Scope | None]] = {
    "Plan": Scope.GLOBAL,
    "LineItem": Scope.ITEM,
    "OrderLineItem": Scope.ITEM,
    "Bundle": Scope.BUNDLE,
    "Order": Scope.ORDER,
    "Custom": Scope.KEY,
}


class Imported(NamedTuple):
    """A release, what is to be known about how it came about, and what belongs to the environment instead."""

    release: Release
    findings: list[str]
    environment: dict[str, Any]
    """`queues`: [{"code", "members"}]: who is to work in which queue."""
    diagrams: list[Diagram]
    """The workspaces, in the order of their file."""


def import_dro(
    files: Mapping[str, str | bytes], bindings: dict[str, Any] | None, version: str, code: str = "dro"
) -> Imported:
    """Turn an export into a release.

    Args:
        files: content of the CSV files by name, as `Product2.csv`.
        bindings: what an export cannot say; see adapters/importers/dro_bindings.py.
        version: of the release.
        code: of the release, where the bindings give none.
    Raises:
        BadRelease: a file, column or reference is missing or not understood. The path is the place of the first
            problem, the fact `problems` lists all of them as texts.
    """
    problems = Problems()
    if len(files) > FILES_MAX:
        problems.add("files", f"are more than {FILES_MAX}", "give only the files of one catalogue")
        problems.raise_if_any()
    bound = read_bindings(bindings, problems)
    source = read_source(files, bound, problems)
    # Without the right files and columns every reference would be a problem of its own.
    problems.raise_if_any()
    try:
        imported = _build(source, version, code)
    except ValidationError as error:
        # What a cell says is checked where it is read; this is what only an element as a whole can say.
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            where = f"{error.title}.{path_text(each['loc'])}" if error.title != "Release" else path_text(each["loc"])
            problems.add(where, each["msg"], "correct what the export, the bindings or the version say there")
        problems.raise_if_any()
        raise
    return imported


def _build(source: Source, version: str, code: str) -> Imported:
    work = read_work(source)
    products = read_products(source)
    of_class = classes_of_products(source, products)
    names = class_names(source, of_class)
    decompositions = read_decompositions(source, products)
    scenarios = _read_scenarios(source, work, products)
    dependencies = _read_dependencies(source, work)
    diagrams = read_workspaces(source, work.plans)
    note_fallout_by_code(source)
    _note_unused_bindings(source)
    source.problems.raise_if_any()
    made, rules = with_keys(products, of_class, decompositions, _keys_of(work, scenarios, of_class))
    _note_directions(source, scenarios, dependencies)
    _note_unreachable(source, scenarios, decompositions, products, of_class)
    release = Release(
        code=source.bindings.code or code,
        version=version,
        empty_plan=source.bindings.empty_plan,
        products=tuple(made),
        classes=classes(names),
        decompositions=tuple(rules),
        plans=tuple(work.plans),
        dependencies=tuple(dependencies),
        scenarios=tuple(scenarios),
        retries=tuple(work.retries.values()),
        systems=tuple(work.systems.values()),
        queues=tuple(work.queues.values()),
    )
    queues = [{"code": each, "members": members} for each, members in work.members.items() if members]
    return Imported(release, source.findings, {"queues": queues}, diagrams)


def _read_scenarios(source: Source, work: Work, products: Mapping[str, Any]) -> list[Scenario]:
    groups = {plan.code: plan for plan in work.plans}
    found: dict[tuple[str, str, str, str], Row] = {}
    scenarios: list[Scenario] = []
    for row in source.tables[SCENARIO]:
        named = row["Name"] or row.where()
        group = source.refers(row, "FulfillmentStepDefnGroup.Name", GROUP, groups)
        product = source.refers(row, "Product.StockKeepingUnit", PRODUCT, products)
        of_class = source.code(row, "ProductClassification.Name") or None
        actions = _actions(source, row)
        if product is not None and of_class is not None:
            source.problems.add(
                row.where("ProductClassification.Name"),
                "a scenario is about a product or about a class, and this one names both",
                "leave one of the two cells",
            )
        if not row["FulfillmentStepDefnGroup.Name"]:
            source.note(f"{row.where('FulfillmentStepDefnGroup.Name')}: scenario {named!r} composes nothing; left out")
            continue
        if not row["Product.StockKeepingUnit"] and of_class is None:
            source.note(
                f"{row.where('Product.StockKeepingUnit')}: scenario {named!r} is about no product and no class, so it "
                "can never match; left out"
            )
            continue
        if not row["Action"]:
            source.note(f"{row.where('Action')}: scenario {named!r} has no action, so it can never match; left out")
            continue
        if group is None or (product is None) == (of_class is None) or not actions:
            continue
        key = (group, product or "", of_class or "", ";".join(sorted(f"{a}/{s}" for a, s in actions)))
        if key in found:
            source.note(f"{row.where()}: scenario {named!r} says the same as line {found[key].line}; once counts")
            continue
        found[key] = row
        if not groups[group].items:
            source.note(f"{row.where()}: scenario {named!r} composes no step, because {group!r} has none")
        scenarios += _scenarios(group, product, of_class, actions)
    return scenarios


def _actions(source: Source, row: Row) -> set[tuple[Action, str]]:
    found = set()
    for word in (part.strip() for part in row["Action"].split(";")):
        meaning = next((value for known, value in _ACTIONS.items() if known.casefold() == word.casefold()), None)
        if meaning is not None:
            found.add(meaning)
        elif word:
            source.problems.add(
                row.where("Action"), f"{word!r} is not known", f"use {', '.join(_ACTIONS)}, joined by semicolons"
            )
    return found


def _scenarios(
    group: str, product: str | None, of_class: str | None, actions: set[tuple[Action, str]]
) -> Iterable[Scenario]:
    """One scenario, or two where an amendment and a renewal go different ways."""
    amends, renews = (Action.MODIFY, "") in actions, (Action.MODIFY, RENEW) in actions
    plain = [each for each in Action if (each, "") in actions and (each is not Action.MODIFY or renews)]
    if plain:
        yield Scenario(plan=group, product=product, product_class=of_class, actions=tuple(plain))
    if amends and not renews:
        # `!=` would be false where there is no sub-action.
        when = f'!(line.subAction == "{RENEW}")'
        yield Scenario(plan=group, product=product, product_class=of_class, actions=(Action.MODIFY,), when=when)
    if renews and not amends:
        yield Scenario(
            plan=group, product=product, product_class=of_class, actions=(Action.MODIFY,), sub_actions=(RENEW,)
        )


def _read_dependencies(source: Source, work: Work) -> list[Dependency]:
    dependencies: dict[tuple[str, str], Dependency] = {}
    for row in source.tables[DEPENDENCY]:
        if source.flag(row, "IsCompensateInReverse"):
            source.note(f"{row.where('IsCompensateInReverse')}: is not imported")
        if row["PropagateStateToDependentStep"] not in ("", "None"):
            source.note(f"{row.where('PropagateStateToDependentStep')}: is not imported")
        scope = source.word(row, "DependencyScope", _SCOPES, None)
        item, other = (
            _step(source, row, column, work)
            for column in ("FulfillmentStepDefinition.Name", "DependsOnStepDefinition.Name")
        )
        if item is None or other is None:
            continue
        ends = (str(item), str(other))
        if ends in dependencies:
            source.note(f"{row.where()}: {item.item!r} waits for {other.item!r} already; the first row counts")
            continue
        dependencies[ends] = Dependency(item=item, other=other, scope=scope)
    return list(dependencies.values())


def _step(source: Source, row: Row, column: str, work: Work) -> ItemRef | None:
    source.must_say(row, column, "name a step")
    name = source.refers(row, column, STEP, work.groups)
    if name is None:
        return None
    groups = work.groups[name]
    if len(groups) > 1:
        source.problems.add(
            row.where(column),
            f"{name!r} is a step of several groups ({', '.join(groups)}), so nobody knows which is meant",
            "give the steps different names",
        )
        return None
    return ItemRef(plan=groups[0], item=name)


def _keys_of(work: Work, scenarios: list[Scenario], of_class: Mapping[str, str]) -> dict[str, set[str]]:
    """Product -> the characteristics by which its work is told apart."""
    by_class: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, set[str]] = defaultdict(set)
    for each in scenarios:
        (keys if each.product else by_class)[each.product or each.product_class or ""] |= work.keys[each.plan]
    for product, name in of_class.items():
        keys[product] |= by_class[name]
    return keys


# What would run, but perhaps not as meant.


def _note_directions(source: Source, scenarios: list[Scenario], dependencies: list[Dependency]) -> None:
    """Dependencies that also hold while something is taken away, and those whose ends never meet."""
    actions: dict[str, set[Action]] = defaultdict(set)
    for each in scenarios:
        actions[each.plan].update(each.actions)
    both = []
    for dependency in dependencies:
        mine, others = actions[dependency.item.plan], actions[dependency.other.plan]
        named = f"{dependency.item.item!r} waits for {dependency.other.item!r}"
        if Action.DELETE in mine and Action.DELETE in others:
            both.append(named)
        elif mine and others and not mine & others:
            source.note(f"{DEPENDENCY}.csv: {named}, but no action composes both; it holds only across lines")
    if both:
        source.note(
            f"{DEPENDENCY}.csv: what is cancelled is worked on in the order of what is added, across the directions: "
            f"{'; '.join(both)}"
        )


def _note_unreachable(
    source: Source,
    scenarios: list[Scenario],
    decompositions: list[Decomposition],
    products: Iterable[str],
    of_class: Mapping[str, str],
) -> None:
    """What is delivered without work, and what cannot be ordered alone. (Publishing names plans without a scenario.)"""
    worked = {each.product for each in scenarios}
    worked_classes = {each.product_class for each in scenarios}
    worked |= {code for code, name in of_class.items() if name in worked_classes}
    split = {each.source for each in decompositions}
    split_classes = {each.source_class for each in decompositions}
    split |= {code for code, name in of_class.items() if name in split_classes}
    for target in dict.fromkeys(each.target for each in decompositions):
        if target not in worked and target not in split:
            source.note(f"product {target!r} is decomposed into, but no scenario is about it: delivered without work")
    idle = [code for code in products if code not in worked and code not in split]
    if idle:
        more = f" and {len(idle) - 5} more" if len(idle) > 5 else ""
        source.note(
            f"{PRODUCT}.csv: no scenario and no rule is about {', '.join(map(repr, idle[:5]))}{more}: an order of such "
            "products alone has nothing to fulfil"
        )


def _note_unused_bindings(source: Source) -> None:
    """Bindings that name nothing of the export are most likely misspelt."""
    steps = source.tables[STEP]
    said = {
        "systems": {row["DeveloperName"] for row in source.tables["IntegrationProviderDef"]}
        | {row["IntegrationDefinitionName.DeveloperName"] for row in steps},
        "flows": {row["FlowDefinitionName"] for row in steps},
        "users": {row["AssignedTo.Name"] for row in steps},
        "events": {row["Name"] for row in steps if row["StepType"].casefold() == "pause"},
    }
    for member, known in said.items():
        for name in getattr(source.bindings, member):
            if name not in known:
                source.note(f"bindings.{member}: {name!r} is nothing that the export names")
