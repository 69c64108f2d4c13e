"""The workspaces of a Dynamic Revenue Orchestrator export: each is a diagram, a canvas of plan definitions."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, Final, NamedTuple

from adapters.importers.csv_tables import Row
from adapters.importers.dro_source import GROUP, LANE, WORKSPACE, Source
from domain.catalogue import Plan

_ORDER_MAX: Final = 1_000_000


class Diagram(NamedTuple):
    """A named canvas: codes of plan definitions, in the order of its lanes."""

    name: str
    description: str
    plans: tuple[str, ...]

    def to_dict(self, catalogue: str) -> dict[str, Any]:
        """The form of PUT /v1/diagrams/{name}, of the releases that are called `catalogue`."""
        said = {"description": self.description} if self.description else {}
        return {"catalogue": catalogue, "plans": list(self.plans), **said}


def read_workspaces(source: Source, plans: Iterable[Plan]) -> list[Diagram]:
    """The workspaces with a step group at least; lanes by ShowOrder, those without one last, as their rows stand."""
    groups = frozenset(plan.code for plan in plans)
    workspaces: dict[str, Row] = {}
    for row in source.tables[WORKSPACE]:
        name = source.name(row, "Name")
        if name in workspaces:
            source.note(f"{row.where()}: workspace {name!r} stands there twice; once counts")
        elif name:
            workspaces[name] = row
    lanes: dict[str, dict[str, float]] = {name: {} for name in workspaces}
    for row in source.tables[LANE]:
        workspace = source.refers(row, "FulfillmentWorkspace.Name", WORKSPACE, workspaces)
        group = source.refers(row, "FulfillmentStepDefinitionGroup.Name", GROUP, groups)
        place = source.number(row, "ShowOrder", _ORDER_MAX)
        if workspace is None or group is None:
            if not (row["FulfillmentWorkspace.Name"] and row["FulfillmentStepDefinitionGroup.Name"]):
                source.note(f"{row.where()}: is of no workspace or no step group; left out")
            continue
        if group in lanes[workspace]:
            source.note(f"{row.where()}: {group!r} stands in workspace {workspace!r} already; once counts")
            continue
        lanes[workspace][group] = inf if place is None else place
    diagrams = []
    for name, row in workspaces.items():
        if lanes[name]:
            ordered = sorted(lanes[name], key=lanes[name].__getitem__)
            diagrams.append(Diagram(name, row["Description"], tuple(ordered)))
        else:
            source.note(f"{row.where()}: workspace {name!r} has no step group; left out")
    return diagrams
