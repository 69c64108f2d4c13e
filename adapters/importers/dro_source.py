"""The files of a Dynamic Revenue Orchestrator export, and what all parts of the import need to read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from adapters.importers.csv_tables import Problems, Row, Table, read_table
from adapters.importers.dro_bindings import Bindings

T = TypeVar("T")

GROUP: Final = "FulfillmentStepDefinitionGroup"
STEP: Final = "FulfillmentStepDefinition"
DEPENDENCY: Final = "FulfillmentStepDependencyDef"
SCENARIO: Final = "ProductFulfillmentScenario"
RULE: Final = "ProductFulfillmentDecompRule"
PRODUCT: Final = "Product2"
CLASS: Final = "ProductClass"
ENRICHMENT: Final = "ProductDecompEnrichmentRule"
TRANSFORM: Final = "ValTfrm"
TRANSFORM_GROUP: Final = "ValTfrmGrp"
JEOPARDY: Final = "FulfillmentStepJeopardyRule"
FALLOUT: Final = "FulfillmentFalloutRule"
INTEGRATION: Final = "IntegrationProviderDef"
USER: Final = "User"
QUEUE: Final = "Group"
WORKSPACE: Final = "FulfillmentWorkspace"
LANE: Final = "FulfillmentWorkspaceItem"

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    GROUP: ("Name",),
    STEP: (
        "Name",
        "StepDefinitionGroup.Name",
        "StepType",
        "Scope",
        "CustomFulfillmentScope",
        "AssignedTo.Name",
        "IntegrationDefinitionName.DeveloperName",
        "FlowDefinitionName",
        "ExecuteOn",
        "DelayOf",
        "DelayUnit",
        "IsSkipBranch",
        "PointOfNoReturn",
        "ResumeOnRule.Name",
    ),
    DEPENDENCY: ("FulfillmentStepDefinition.Name", "DependsOnStepDefinition.Name", "DependencyScope"),
    SCENARIO: ("Action", "FulfillmentStepDefnGroup.Name", "Product.StockKeepingUnit", "ProductClassification.Name"),
    RULE: (
        "Name",
        "DestinationProduct.StockKeepingUnit",
        "Priority",
        "SourceProduct.StockKeepingUnit",
        "SourceProductClassification.Name",
    ),
    PRODUCT: ("StockKeepingUnit", "Name", "DecompositionScope", "CustomDecompositionScope", "FulfillmentQtyCalcMethod"),
    CLASS: ("StockKeepingUnit", "ProductClassification.Name"),
    ENRICHMENT: ("CalculationMethod", "SourceType", "SourceApiName", "DestinationApiName"),
    TRANSFORM: ("InputString", "OutputString"),
    TRANSFORM_GROUP: ("Name",),
    JEOPARDY: (
        "Name",
        "StepType",
        "FlowDefinition",
        "IntegrationDefinition.DeveloperName",
        "EstimatedDuration",
        "EstimatedDurationUnit",
        "JeopardyThreshold",
        "JeopardyThresholdUnit",
    ),
    FALLOUT: (
        "Name",
        "StepType",
        "FlowDefinitionName",
        "IntegrationDefinition.DeveloperName",
        "ErrorCode",
        "RetriesAllowed",
        "RetryIntervals",
        "RetryPolicy",
    ),
    INTEGRATION: ("DeveloperName",),
    USER: ("Name",),
    QUEUE: ("Name",),
    WORKSPACE: ("Name",),
    LANE: ("FulfillmentStepDefinitionGroup.Name", "FulfillmentWorkspace.Name", "ShowOrder"),
}
"""The columns that each file must have; a file that is not here is not imported."""
REQUIRED: Final = (GROUP, STEP, DEPENDENCY, SCENARIO, RULE, PRODUCT)
"""Files without which the rest could not be understood."""
_ALSO_READ: Final[Mapping[str, frozenset[str]]] = {
    STEP: frozenset({"ForcePlanFreezeDuringExecution", "UsageType", "Id"}),
    GROUP: frozenset({"UsageType", "Id"}),
    DEPENDENCY: frozenset({"Name", "IsCompensateInReverse", "PropagateStateToDependentStep", "Id"}),
    SCENARIO: frozenset({"Name", "SourceIdentifier", "SourceClassIdentifier", "Id"}),
    # Ids of the org that was exported; the products are named by their stock keeping units.
    RULE: frozenset({"SourceIdentifier", "SourceClassIdentifier", "Id"}),
    PRODUCT: frozenset({"Id"}),
    ENRICHMENT: frozenset(
        {
            "Id",
            "Name",
            "DecompositionRule.Name",
            "DecompositionRuleId",
            "ListMappingGroup.Name",
            "ListMappingGroupId",
            "DestinationType",
            "RuleEnforcement",
            "SourceAttributeIdentifier",
            "DestinationAttributeIdentifier",
            "SourceAttributeDefinitionId",
            "DestinationAttributeDefinitionId",
            "SourceContextTag",
            "DestinationContextTag",
        }
    ),
    FALLOUT: frozenset({"FalloutQueue.Name", "Id"}),
    WORKSPACE: frozenset({"Description", "Id"}),
    LANE: frozenset({"Name", "Id"}),
}
_NOTHING_LOST: Final = frozenset({"userandgroup"})
"""Files that repeat what others say."""
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f@~]")
_CODE_MAX: Final = 200


@dataclass(slots=True)
class Source:
    """An export that was read, and what is noted about it on the way."""

    tables: dict[str, Table]
    bindings: Bindings
    problems: Problems
    findings: list[str] = field(default_factory=list)

    def code(self, row: Row, column: str) -> str:
        """The cell as a name inside the release; what no name can be is a problem. Empty when nothing is said."""
        text = row[column]
        if len(text) > _CODE_MAX or _FORBIDDEN.search(text):
            self.problems.add(
                row.where(column),
                f"{text[:60]!r} cannot be a name: names have at most {_CODE_MAX} characters, and neither @ nor ~",
                "rename it in every file",
            )
            return ""
        return text

    def name(self, row: Row, column: str) -> str:
        """As `code`, of a cell that must say something."""
        self.must_say(row, column, "fill it in, or delete the row")
        return self.code(row, column)

    def must_say(self, row: Row, column: str, mend: str) -> None:
        """An empty cell is a problem."""
        if not row[column]:
            self.problems.add(row.where(column), "is empty", mend)

    def word(self, row: Row, column: str, words: Mapping[str, T], default: T) -> T:
        """What a word of a list means; another word is a problem."""
        text = row[column]
        if not text:
            return default
        for word, meaning in words.items():
            if word.casefold() == text.casefold().replace(" ", ""):
                return meaning
        self.problems.add(row.where(column), f"{text!r} is not known", f"use one of {', '.join(words)}")
        return default

    def flag(self, row: Row, column: str) -> bool:
        """A yes or no; empty is no."""
        return self.word(row, column, {"true": True, "false": False, "1": True, "0": False}, False)

    def number(self, row: Row, column: str, highest: float) -> float | None:
        """A number from 0 to `highest`; None when nothing is said."""
        if not row[column]:
            return None
        try:
            number = float(row[column])
        except ValueError:
            number = -1.0
        if not 0 <= number <= highest:
            self.problems.add(
                row.where(column), f"{row[column]!r} is no number from 0 to {highest:g}", "write a plain number"
            )
            return None
        return number

    def refers(self, row: Row, column: str, to: str, known: Iterable[str]) -> str | None:
        """The cell, which must be one of `known`; None when it is empty or a problem was noted."""
        text = self.code(row, column)
        if not text:
            return None
        if text not in known:
            like = [each for each in known if each.casefold() == text.casefold()]
            mend = f"write {like[0]!r}" if like else f"add it to {to}.csv, or correct the name"
            self.problems.add(row.where(column), f"{to}.csv has no {text!r}", mend)
            return None
        return text

    def note(self, text: str) -> None:
        """Add a finding."""
        self.findings.append(text)


def read_source(files: Mapping[str, str | bytes], bindings: Bindings, problems: Problems) -> Source:
    """Read every file of an export; names count without regard to case, and `.csv` may be left out."""
    source = Source({}, bindings, problems)
    given: dict[str, str] = {}
    for file in sorted(files):
        stem = file.removesuffix(".csv").removesuffix(".CSV").casefold()
        if stem in given:
            problems.add(file, f"is the same table as {given[stem]}", "leave one of them out")
        given[stem] = file
    for table, columns in COLUMNS.items():
        file_name = given.pop(table.casefold(), None)
        if file_name is not None:
            source.tables[table] = read_table(f"{table}.csv", files[file_name], columns, problems)
        elif table in REQUIRED:
            problems.add(f"{table}.csv", "is missing", "export it too; one with only a header says that there are none")
        source.tables.setdefault(table, Table(f"{table}.csv"))
    for stem, file in sorted(given.items()):
        if stem not in _NOTHING_LOST and _says_something(files[file]):
            source.note(f"{file}: is not imported")
    for table in source.tables:
        _note_unused(source, table)
    return source


def _says_something(content: str | bytes) -> bool:
    """Whether there is more than a header."""
    return len(content.strip().splitlines()) > 1


def _note_unused(source: Source, table: str) -> None:
    """A finding for each column that says something and is not read."""
    if table in (TRANSFORM, TRANSFORM_GROUP):
        return
    read = _ALSO_READ.get(table, frozenset({"Id"})).union(COLUMNS[table])
    rows = source.tables[table].rows
    unused = Counter(column for row in rows for column in row.cells if column not in read)
    for column, count in unused.items():
        first = next(row for row in rows if column in row.cells)
        more = f" ({count} rows)" if count > 1 else ""
        source.note(f"{first.where(column)}: is not imported{more}")
