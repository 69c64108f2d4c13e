"""What an export of Dynamic Revenue Orchestrator cannot say: how things are called and done in this house."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.importers.csv_tables import Problems
from domain.catalogue import Code


class FlowCall(BaseModel):
    """A flow that is a call to a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: Code
    operation: str = ""


class Bindings(BaseModel):
    """The bindings file. All members may be left out; keys are names as the export has them."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    code: Code | None = None
    """The release's name."""
    systems: dict[str, Code] = Field(default_factory=dict)
    """Integration definition -> system code; unnamed ones keep their name."""
    flows: dict[str, Code | FlowCall] = Field(default_factory=dict)
    """Flow -> the auto task that does its work (a stock one or one's own), or the system that is called instead."""
    users: dict[str, str] = Field(default_factory=dict)
    """User of the export, a placeholder for instance -> member of queues here."""
    events: dict[str, str] = Field(default_factory=dict)
    """Pause step -> CEL over its line that ends the pause."""
    timeout_s: float | None = Field(default=None, gt=0, le=366 * 86400, alias="timeoutS")
    """Seconds until a call counts as failed."""
    empty_plan: Literal["reject", "complete"] = Field(default="reject", alias="emptyPlan")
    """What becomes of an order for which there is nothing to do."""


def read_bindings(document: Any, problems: Problems) -> Bindings:
    """The bindings; what is wrong with them is noted."""
    try:
        return Bindings.model_validate({} if document is None else document)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            place = ".".join(("bindings", *map(str, each["loc"])))
            known = ", ".join(field.alias or name for name, field in Bindings.model_fields.items())
            problems.add(place, each["msg"], f"bindings have the members {known}: see docs/IMPORT_DRO.md")
        return Bindings()
