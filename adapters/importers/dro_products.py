"""Products, classes, decomposition rules and mappings of a Dynamic Revenue Orchestrator export."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from adapters.importers.csv_tables import Row
from adapters.importers.dro_source import CLASS, ENRICHMENT, PRODUCT, RULE, SCENARIO, TRANSFORM, TRANSFORM_GROUP, Source
from domain.catalogue import Attribute, Decomposition, Product, ProductClass, Scope
from domain.catalogue import Mapping as AttributeMapping

Quantity: TypeAlias = Literal["one", "sum", "max"]

_SCOPES: Final = {
    "OrderLineItem": Scope.ITEM,
    "Order": Scope.ORDER,
    "Bundle": Scope.BUNDLE,
    "Account": Scope.ACCOUNT,
    "Custom": Scope.KEY,
}
_QUANTITIES: Final[Mapping[str, Quantity]] = {"AlwaysOne": "one", "Aggregate": "sum", "Max": "max"}
_METHODS: Final = {"Ad-verbatim": "copy", "Static-Lookup": "list", "Expression-Set": ""}
_FIELDS: Final = {
    "quantity": "line.quantity",
    "startdate": "line.requestedStartAt",
    "servicedate": "line.requestedStartAt",
    "action": "line.action",
    "product2id": "line.product",
}
"""Fields of an order line that an order here has too, by their names in lower case."""
_NAMING_CLASSES: Final = ((RULE, "SourceProductClassification.Name"), (SCENARIO, "ProductClassification.Name"))
_INPUTS: Final = ("InputString", "InputNumber", "InputDate", "InputDatetime", "InputPicklistValueId")
_OUTPUTS: Final = ("OutputString", "OutputNumber", "OutputDate", "OutputDatetime", "OutputPicklistValueId")


def classes_of_products(source: Source, products: Iterable[str]) -> dict[str, str]:
    """Product code -> its class, as ProductClass.csv says."""
    known = set(products)
    found: dict[str, str] = {}
    for row in source.tables[CLASS]:
        product = source.refers(row, "StockKeepingUnit", PRODUCT, known)
        name = source.name(row, "ProductClassification.Name")
        if product is None or not name:
            continue
        other = found.setdefault(product, name)
        if other != name:
            source.problems.add(
                row.where("ProductClassification.Name"),
                f"{product!r} is already of class {other!r}",
                "give a product one class; a class above both can be added to the release by hand",
            )
    return found


def class_names(source: Source, of_products: Mapping[str, str]) -> dict[str, None]:
    """All classes: what products are of, and what rules and scenarios name.

    Without ProductClass.csv nobody knows which products a rule on a class is about.
    """
    names = dict.fromkeys(of_products.values())
    for table, column in _NAMING_CLASSES:
        for row in source.tables[table]:
            name = source.code(row, column)
            if not name:
                continue
            if not source.tables[CLASS].columns:
                source.problems.add(
                    row.where(column),
                    f"names class {name!r}, but ProductClass.csv is missing",
                    "add ProductClass.csv with the columns StockKeepingUnit and ProductClassification.Name",
                )
            elif name not in names:
                source.note(f"{row.where(column)}: no product is of class {name!r}, so this never matches")
            names.setdefault(name)
    return names


def read_products(source: Source) -> dict[str, Product]:
    """Products by stock keeping unit: what is sold and what is delivered stands in one table."""
    products: dict[str, Product] = {}
    rows: dict[str, Row] = {}
    for row in source.tables[PRODUCT]:
        if not row["StockKeepingUnit"]:
            source.note(f"{row.where('StockKeepingUnit')}: {row['Name']!r} has none, so nothing can name it; left out")
            continue
        code = source.code(row, "StockKeepingUnit")
        if not code:
            continue
        if code in rows:
            if rows[code].cells == row.cells:
                source.note(f"{row.where()}: product {code!r} stands there twice, once counts")
            else:
                source.problems.add(
                    row.where("StockKeepingUnit"),
                    f"{code!r} is already the product of line {rows[code].line}, which says something else",
                    "leave one of the two rows",
                )
            continue
        rows[code] = row
        products[code] = _product(source, row, code)
    if not products and source.tables[PRODUCT].columns:
        source.problems.add(f"{PRODUCT}.csv", "has no product", "export the products too")
    return products


def _product(source: Source, row: Row, code: str) -> Product:
    scope = source.word(row, "DecompositionScope", _SCOPES, Scope.ITEM)
    key = source.code(row, "CustomDecompositionScope") or None
    if scope is Scope.KEY and key is None:
        source.note(f"{row.where('CustomDecompositionScope')}: is empty, so {code!r} is one instance per order line")
        scope = Scope.ITEM
    elif scope is not Scope.KEY and key is not None:
        source.note(
            f"{row.where('CustomDecompositionScope')}: {key!r} does not count, because DecompositionScope is "
            f"{row['DecompositionScope'] or 'empty'}"
        )
        key = None
    return Product(
        code=code,
        name=row["Name"],
        kind="both",
        scope=scope,
        scope_key=key,
        quantity=source.word(row, "FulfillmentQtyCalcMethod", _QUANTITIES, "sum"),
    )


def read_decompositions(source: Source, products: Mapping[str, Product]) -> list[Decomposition]:
    """Decomposition rules with their mappings."""
    mappings = _read_mappings(source)
    rules: dict[str, Decomposition] = {}
    for row in source.tables[RULE]:
        name = source.name(row, "Name")
        product = source.refers(row, "SourceProduct.StockKeepingUnit", PRODUCT, products)
        target = source.refers(row, "DestinationProduct.StockKeepingUnit", PRODUCT, products)
        of_class = source.code(row, "SourceProductClassification.Name") or None
        source.must_say(row, "DestinationProduct.StockKeepingUnit", "name the product that the rule gives")
        if bool(row["SourceProduct.StockKeepingUnit"]) == (of_class is not None):
            source.problems.add(
                row.where("SourceProduct.StockKeepingUnit"),
                "a rule is about a product or about a class, and this one names " + ("both" if of_class else "neither"),
                "fill in SourceProduct.StockKeepingUnit or SourceProductClassification.Name",
            )
        priority = source.number(row, "Priority", 1000)
        if not name or target is None or (product is None) == (of_class is None):
            continue
        rule = Decomposition(
            name=name,
            source=product,
            source_class=of_class,
            target=target,
            priority=3 if priority is None else max(1, int(priority)),
            map=tuple(mappings.pop(name, ())),
        )
        other = rules.setdefault(name, rule)
        if other is not rule:
            if other.model_copy(update={"map": ()}) == rule.model_copy(update={"map": ()}):
                source.note(f"{row.where()}: rule {name!r} stands there twice, once counts")
            else:
                source.problems.add(row.where("Name"), f"there is already a rule {name!r}", "give each its own name")
    for name in mappings:
        source.problems.add(f"{ENRICHMENT}.csv", f"{RULE}.csv has no rule {name!r}", "correct the rule's name")
    return list(rules.values())


def with_keys(
    products: Mapping[str, Product],
    of_class: Mapping[str, str],
    decompositions: list[Decomposition],
    keys_of: Mapping[str, set[str]],
) -> tuple[list[Product], list[Decomposition]]:
    """Products and rules by which technical lines carry the characteristics that name their instances.

    A custom scope is named by a characteristic of the order line, and what decides is the technical line that came of
    it: so every rule hands down the keys of its target's scope, of the target's work (`keys_of`, by product), and of
    what the target decomposes into in turn.
    """
    targets: dict[str, set[str]] = defaultdict(set)
    members: dict[str, list[str]] = defaultdict(list)
    for code, name in of_class.items():
        members[name].append(code)
    for rule in decompositions:
        for each in [rule.source] if rule.source else members[rule.source_class or ""]:
            targets[each].add(rule.target)
    needs = {code: set(keys_of.get(code, ())) for code in products}
    for code, product in products.items():
        if product.scope_key is not None:
            needs[code].add(product.scope_key)
    changed = True
    while changed:
        changed = False
        for code, below in targets.items():
            wanted = set().union(*(needs[each] for each in below))
            if not wanted <= needs[code]:
                needs[code] |= wanted
                changed = True
    rules = []
    derived: dict[str, set[str]] = defaultdict(set)
    for rule in decompositions:
        own = {each.to for each in rule.map}
        handed = sorted(needs[rule.target] - own)
        derived[rule.target].update(handed)
        rules.append(
            rule.model_copy(
                update={"map": (*rule.map, *(AttributeMapping(to=each, copy_from=each) for each in handed))}
            )
        )
    made = []
    for code, product in products.items():
        # The key of somebody else who feeds a shared line must not make it a modify.
        quiet = sorted(derived[code] - {product.scope_key})
        made.append(
            product.model_copy(
                update={
                    "product_class": of_class.get(code),
                    "attributes": tuple(Attribute(name=each, significant=False) for each in quiet),
                }
            )
        )
    return made, rules


def classes(names: Iterable[str]) -> tuple[ProductClass, ...]:
    """The classes of the release."""
    return tuple(ProductClass(code=each) for each in names)


def _read_mappings(source: Source) -> dict[str, list[AttributeMapping]]:
    """Rule name -> its mappings."""
    tables = _read_transforms(source)
    found: dict[str, list[AttributeMapping]] = defaultdict(list)
    for row in source.tables[ENRICHMENT]:
        rule = row.first("DecompositionRule.Name", "DecompositionRuleId")
        if not rule:
            source.must_say(row, "DecompositionRule.Name", "name the decomposition rule")
        to = row.first("DestinationApiName", "DestinationAttributeIdentifier", "DestinationAttributeDefinitionId")
        read = row.first("SourceApiName", "SourceAttributeIdentifier", "SourceAttributeDefinitionId")
        for column, text in (("DestinationApiName", to), ("SourceApiName", read)):
            if not text:
                source.problems.add(row.where(column), "is empty", "name the attribute or field")
        method = source.word(row, "CalculationMethod", _METHODS, "copy")
        if row["RuleEnforcement"] == "InitialFulfillmentRequest":
            source.note(f"{row.where('RuleEnforcement')}: the mapping is applied on every order, not only on the first")
        if method == "":
            source.note(
                f"{row.where('CalculationMethod')}: the expression set is not in the export, so {to!r} stays unset; "
                "add a mapping with an expression to the release"
            )
            continue
        if not (rule and to and read):
            continue
        expression = None
        if row["SourceType"].casefold() == "field":
            expression = _FIELDS.get(read.rpartition(".")[2].casefold())
            if expression is None:
                source.note(f"{row.where('SourceApiName')}: field {read!r} is read from a characteristic of that name")
        if method == "list":
            found[rule].append(_list_mapping(source, row, to, read, tables))
        elif expression is not None:
            found[rule].append(AttributeMapping(to=to, expression=expression))
        else:
            found[rule].append(AttributeMapping(to=to, copy_from=read))
    return found


def _list_mapping(
    source: Source, row: Row, to: str, read: str, tables: Mapping[str, dict[str, Any]]
) -> AttributeMapping:
    group = row.first("ListMappingGroup.Name", "ListMappingGroupId")
    if group not in tables:
        source.problems.add(
            row.where("ListMappingGroupId"), f"{TRANSFORM_GROUP}.csv has no {group!r}", "add it, or correct the name"
        )
    return AttributeMapping(to=to, list_of=read, table=tables.get(group, {}))


def _read_transforms(source: Source) -> dict[str, dict[str, Any]]:
    """Tables of list mappings, by the group's name and by its id."""
    by_name: dict[str, dict[str, Any]] = {}
    for row in source.tables[TRANSFORM_GROUP]:
        table: dict[str, Any] = {}
        for key in (source.name(row, "Name"), row["Id"]):
            if key:
                by_name[key] = table
    for row in source.tables[TRANSFORM]:
        group = row.first("ValueTransformGroup.Name", "ValueTransformGroupId")
        if group not in by_name:
            source.problems.add(
                row.where("ValueTransformGroupId"), f"{TRANSFORM_GROUP}.csv has no {group!r}", "add it, or correct it"
            )
            continue
        column = next((each for each in _INPUTS if row[each]), None)
        if column is None:
            source.problems.add(row.where("InputString"), "no input column says anything", "fill in one of them")
            continue
        key = _number_text(row[column]) if column == "InputNumber" else row[column]
        if key in by_name[group]:
            source.problems.add(row.where(column), f"{key!r} stands in {group!r} already", "leave one of them")
        out = next((each for each in _OUTPUTS if row[each]), None)
        value: Any = source.flag(row, "IsOutputBoolean") if out is None else row[out]
        by_name[group][key] = json.loads(_number_text(value)) if out == "OutputNumber" else value
    return by_name


def _number_text(text: str) -> str:
    """The number as it is looked up: `30.0` is `30`."""
    try:
        number = float(text)
    except ValueError:
        return json.dumps(text)
    return str(int(number)) if number.is_integer() else str(number)
