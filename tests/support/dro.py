"""The catalogues of examples/dro, and a reader of their CSV files that shares no code with the importer.

The reader answers what an order of one line must compose, straight from the rows, under the rules of
docs/IMPORT_DRO.md: it is what the importer and everything behind it are compared with.
"""

from __future__ import annotations

import csv
import functools
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from adapters.importers.dro import Imported, import_dro
from domain.plan import Plan
from domain.publish import compile_release
from domain.release import CompiledRelease
from tests.support.engine import Engine

FOLDER: Final = Path(__file__).parents[2] / "examples" / "dro"
CHARACTERISTICS: Final = {"Group_Identifier": "G1", "Ramp_Identifier": "R1"}


def files_of(catalogue: str) -> dict[str, bytes]:
    """The CSV files of `qb` or `mfg`."""
    return {path.name: path.read_bytes() for path in sorted((FOLDER / catalogue).glob("*.csv"))}


def bindings_of(catalogue: str) -> dict[str, Any]:
    """The example's bindings."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{catalogue}-bindings.yaml").read_text(encoding="utf-8"))
    return found


def imported(catalogue: str) -> Imported:
    """The catalogue imported with its bindings."""
    return import_dro(files_of(catalogue), bindings_of(catalogue), "1")


@functools.cache
def release_of(catalogue: str) -> CompiledRelease:
    """The catalogue ready to run."""
    return compile_release(imported(catalogue).release)


def expected_plans() -> dict[str, Any]:
    """What qb's Add orders must compose, by source product."""
    found: dict[str, Any] = json.loads((FOLDER / "qb-expected-plans.json").read_text(encoding="utf-8"))["qb"]
    return found


def finish(engine: Engine, plan: Plan) -> None:
    """Run an order to its end: calls answered, tasks done, pauses ended by an operator."""
    while True:
        engine.finish(plan)
        paused = [each for each in plan.items if each.definition and each.definition.type.value == "pushEvent"]
        waiting = [each for each in paused if each.state.value == "Running"]
        if not waiting:
            return
        engine.operate(plan, waiting[0].key, "complete")


@dataclass
class Shape:
    """A plan without ids: lines with their plan definitions, items by name, who waits for whom, void dependencies."""

    lines: list[str] = field(default_factory=list)
    items: Counter[str] = field(default_factory=Counter)
    depends_on: Counter[tuple[str, str]] = field(default_factory=Counter)
    void: set[tuple[str, str]] = field(default_factory=set)


def shape_of(plan: Plan) -> Shape:
    """The shape of a plan that was composed."""
    assert plan.template is not None
    shape = Shape()
    names = [item.definition.name if item.definition else item.key for item in plan.items]
    by_ref = {item.ref: item.name for item in plan.release.items}
    for line in plan.lines:
        scenarios = plan.release.products[line.product].scenarios.get(line.action, ())
        where = line.key.partition("@")[2].removeprefix("key:") or "line"
        shape.lines += [f"{line.product} [{where}] -> {each.plan}" for each in scenarios]
    shape.lines.sort()
    shape.items = Counter(names)
    edges = [(at, to) for at, targets in enumerate(plan.template.waits) for to in targets]
    shape.depends_on = Counter((names[at], names[to]) for at, to in edges)
    shape.void = {(names[at], by_ref[ref]) for at, ref in plan.template.voids}
    return shape


class Reader:
    """The rows of one catalogue, read with nothing but the csv module."""

    def __init__(self, catalogue: str) -> None:
        self.catalogue = catalogue
        self.products = {row["StockKeepingUnit"]: row for row in self._rows("Product2")}
        self.steps = self._rows("FulfillmentStepDefinition")
        self.rules = self._rows("ProductFulfillmentDecompRule")
        self.scenarios = self._rows("ProductFulfillmentScenario")
        self.dependencies = self._rows("FulfillmentStepDependencyDef")
        self.classes = {
            row["StockKeepingUnit"]: row["ProductClassification.Name"] for row in self._rows("ProductClass")
        }

    def _rows(self, name: str) -> list[dict[str, str]]:
        path = FOLDER / self.catalogue / f"{name}.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {column: "" if cell == "#N/A" else cell for column, cell in row.items()} for row in csv.DictReader(file)
            ]

    def sources(self) -> list[str]:
        """Every product that decomposes or has work of its own."""
        found = {row["SourceProduct.StockKeepingUnit"] for row in self.rules}
        found |= {row["Product.StockKeepingUnit"] for row in self.scenarios}
        named = {row["SourceProductClassification.Name"] for row in self.rules}
        named |= {row["ProductClassification.Name"] for row in self.scenarios}
        found |= {product for product, name in self.classes.items() if name in named - {""}}
        return sorted(found - {""})

    def worked(self, word: str) -> list[str]:
        """Products of which a line alone has work for an action: itself, or what it decomposes into."""
        return [each for each in self.sources() if self.shape(each, dict.fromkeys(self.products, word)).items]

    def targets(self, product: str) -> list[str]:
        """What a product decomposes into, all the way down."""
        found: list[str] = []
        for row in self.rules:
            is_mine = row["SourceProduct.StockKeepingUnit"] == product
            of_class = row["SourceProductClassification.Name"]
            if is_mine or (of_class and self.classes.get(product) == of_class):
                target = row["DestinationProduct.StockKeepingUnit"]
                found += [target, *self.targets(target)]
        return sorted(set(found))

    def scope(self, product: str) -> str:
        """How the instance of a derived line is called: `account`, `order`, a key's value, or `line`."""
        row = self.products[product]
        match row["DecompositionScope"]:
            case "Account":
                return "account"
            case "Order":
                return "order"
            case "Custom":
                return CHARACTERISTICS[row["CustomDecompositionScope"]]
            case _:
                return "1"

    def keeps_quantity(self, product: str) -> bool:
        """Whether the instance stays one, whatever is ordered."""
        return self.products[product]["FulfillmentQtyCalcMethod"] == "AlwaysOne"

    def shape(self, source: str, words: dict[str, str]) -> Shape:
        """What an order of one line of `source` composes; `words` is the export's action of each product's line."""
        shape = Shape()
        instances: dict[str, set[str]] = {}
        for product in [source, *self.targets(source)]:
            where = "line" if product == source else self.scope(product)
            for row in self.scenarios:
                of_class = row["ProductClassification.Name"]
                is_mine = row["Product.StockKeepingUnit"] == product
                is_of_class = of_class != "" and self.classes.get(product) == of_class
                if not (is_mine or is_of_class) or words[product] not in row["Action"].split(";"):
                    continue
                group = row["FulfillmentStepDefnGroup.Name"]
                shape.lines.append(f"{product} [{where}] -> {group}")
                for step in self.steps:
                    if step["StepDefinitionGroup.Name"] == group:
                        instances.setdefault(step["Name"], set()).add(self._instance(step, product))
        shape.lines.sort()
        shape.items = Counter({name: len(found) for name, found in instances.items()})
        for row in self.dependencies:
            item, other = row["FulfillmentStepDefinition.Name"], row["DependsOnStepDefinition.Name"]
            if item in instances and other in instances:
                shape.depends_on[item, other] = len(instances[item]) * len(instances[other])
            elif item in instances:
                shape.void.add((item, other))
        return shape

    @staticmethod
    def _instance(step: dict[str, str], product: str) -> str:
        match step["Scope"]:
            case "Plan":
                return "plan"
            case "Custom":
                return CHARACTERISTICS[step["CustomFulfillmentScope"]]
            case _:
                return product
