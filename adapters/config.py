"""Reads an adapter's configuration and names what is wrong with it, before the first task arrives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from domain.errors import BadDocument

ROOT = "config"


class Config(BaseModel):
    """Base of the configurations: camelCase outside, no unknown members, no guessing of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel, allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


def read_config(model: type[ConfigT], config: Mapping[str, Any]) -> ConfigT:
    """The configuration as the adapter reads it.

    Raises:
        BadDocument: it is not of that shape; path and reason are the first problem's (`config.url`), the fact
            `problems` lists all as {"path", "reason"}. Values are never shown.
    """
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        problems = [
            {"path": ".".join((ROOT, *map(str, each["loc"]))), "reason": _reason(each["type"], each["msg"])}
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        known = ", ".join(sorted(field.alias or name for name, field in model.model_fields.items()))
        is_unknown = any(each["type"] == "extra_forbidden" for each in error.errors())
        mend = f"known members: {known}" if is_unknown else None
    # Raised out here, so that pydantic's error does not hang on it: that one shows values, which may be credentials.
    raise BadDocument(problems[0]["reason"], path=problems[0]["path"], mend=mend, problems=problems)


def utc_now() -> datetime:
    """The clock of adapters that are given no other."""
    return datetime.now(UTC)


def _reason(kind: str, text: str) -> str:
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is unknown"
        case _:
            return text.removeprefix("Value error, ")
