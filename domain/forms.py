"""Forms of manual tasks: one way of checking, by JSON Schema (draft 2020-12).

A release gives a schema, or the short list of fields that becomes one. A refusal names the field by its path
(`data.address.street`) and never repeats a value: it may be one that must not stay. A schema is closed in itself: what
it refers to stands inside it, so that checking never reads anything from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from domain.catalogue import FormField, Item
from domain.errors import BadForm

PROBLEMS_MAX: Final = 20
_DATA_NOT_SCHEMA: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are data: what looks like a reference in them is none."""
_FORMATS: Final = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "uuid"))
"""What `format` is held to; other formats are remarks, as the specification has it."""


@_FORMATS.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


class Form:
    """What a task returns: a JSON Schema, ready to check with."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Take a schema that `problem_of` has nothing against."""
        self.schema: Final = dict(schema)
        # With a registry of its own nothing is ever fetched.
        self._validator = Draft202012Validator(self.schema, registry=Registry(), format_checker=_FORMATS)

    def fields(self) -> list[dict[str, Any]]:
        """The top-level fields for display: name, type (`any` where it is no single one) and whether required."""
        required = self.schema.get("required", ())
        return [
            {"name": name, "type": _type_of(each), "required": name in required}
            for name, each in self.schema.get("properties", {}).items()
        ]

    def values(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The checked values by top-level field; a field that is null has none.

        Raises:
            BadForm: the path and reason of the first problem; the fact `problems` lists up to 20.
        """
        try:
            errors = list(islice(self._validator.iter_errors(dict(data)), PROBLEMS_MAX))
        except RecursionError as error:
            raise BadForm("the form's schema refers to itself without an end", path="data") from error
        # Keywords come in the order of the stored schema, which means nothing.
        problems = sorted(dict.fromkeys(problem for error in errors for problem in _problems(error)))
        if problems:
            path, reason = problems[0]
            raise BadForm(
                reason,
                path=path,
                problems=[{"path": where, "reason": why} for where, why in problems[:PROBLEMS_MAX]],
                mend="fill in the form as the task's formSchema says",
            )
        return {name: value for name, value in data.items() if value is not None}


class Problems(Protocol):
    """Collects what is wrong with a release."""

    errors: list[str]

    def unique(self, what: str, codes: Iterable[str]) -> None:
        """Note each code that comes twice."""


def form_of(item: Item, ref: str, problems: Problems) -> Form | None:
    """The form of a manual task, by its fields or its schema; None where a problem was noted."""
    problems.unique(f"form field of item {ref}", (each.name for each in item.form))
    problems.unique(f"skill of item {ref}", (each.skill for each in item.skills))
    if item.form_schema is None:
        return Form(schema_of(item.form))
    if item.form:
        problems.errors.append(f"item {ref}: give form or formSchema, not both")
    if reason := problem_of(item.form_schema):
        problems.errors.append(f"item {ref} formSchema: {reason}")
        return None
    return Form(item.form_schema)


def schema_of(fields: Sequence[FormField]) -> dict[str, Any]:
    """The JSON Schema that a list of fields stands for. A field that is not required may be null."""
    properties: dict[str, Any] = {}
    for each in fields:
        if not each.required:
            properties[each.name] = {"type": [each.type, "null"]}
        elif each.type == "string":
            properties[each.name] = {"type": "string", "minLength": 1}
        else:
            properties[each.name] = {"type": each.type}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := [each.name for each in fields if each.required]:
        schema["required"] = required
    return schema


def problem_of(schema: Mapping[str, Any]) -> str | None:
    """Why nobody can fill in a form with this schema, or None."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ".".join(str(step) for step in error.absolute_path)
        return f"it is no JSON Schema (draft 2020-12){f' at {place}' if place else ''}: {error.message[:200]}"
    except RecursionError:
        return "it is nested too deep"
    if schema.get("type") != "object":
        return 'its root must say "type": "object"'
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(dict(schema)))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            return f"it refers to {reference!r}, which is not in it"
    if any(_inner_ids(schema, is_root=True)):
        return "a part of it has an $id; only its root may"
    try:
        Form(schema).values({})
    except BadForm as error:
        if isinstance(error.__cause__, RecursionError):
            return error.reason
    return None


def _inside(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name, value in part.items():
        if name not in _DATA_NOT_SCHEMA:
            yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Mapping))


def _references(part: Mapping[str, Any]) -> Iterator[str]:
    yield from (value for name in ("$ref", "$dynamicRef") if isinstance(value := part.get(name), str))
    for each in _inside(part):
        yield from _references(each)


def _inner_ids(part: Mapping[str, Any], *, is_root: bool = False) -> Iterator[bool]:
    yield not is_root and isinstance(part.get("$id"), str)
    for each in _inside(part):
        yield from _inner_ids(each)


def _type_of(field: Any) -> str:
    """One word for people; null beside another type only says that the field may stay empty."""
    named = field.get("type") if isinstance(field, Mapping) else None
    kinds = [each for each in (named if isinstance(named, list) else [named]) if each != "null"]
    return kinds[0] if len(kinds) == 1 and isinstance(kinds[0], str) else "any"


# What is wrong, in our words: those of the library show the value.


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    path = "data" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    keyword = str(error.validator)
    wanted: Any = error.validator_value
    value: Any = error.instance
    if keyword == "required":
        yield from ((f"{path}.{name}", "is required by the form") for name in wanted if name not in value)
    elif keyword == "additionalProperties" and isinstance(error.schema, Mapping):
        known = error.schema.get("properties", {})
        unknown = [name for name in value if name not in known]
        yield from ((f"{path}.{name}", f"the form has no field {name!r}") for name in unknown[:PROBLEMS_MAX])
    else:
        yield path, _REASONS.get(keyword, lambda _: f"does not meet `{keyword}` of the form")(wanted)


def _words(wanted: Any) -> str:
    return " or ".join(each for each in wanted if each != "null") if isinstance(wanted, list) else str(wanted)


def _shown(values: Any) -> str:
    return ", ".join(repr(each) for each in values[:PROBLEMS_MAX])


_REASONS: Final[dict[str, Callable[[Any], str]]] = {
    "type": lambda wanted: f"must be of type {_words(wanted)}",
    "enum": lambda wanted: f"must be one of: {_shown(wanted)}",
    "const": lambda wanted: f"must be {wanted!r}",
    "minLength": lambda wanted: "must not be empty" if wanted == 1 else f"must have at least {wanted} characters",
    "maxLength": lambda wanted: f"must have at most {wanted} characters",
    "minimum": lambda wanted: f"must be at least {wanted}",
    "maximum": lambda wanted: f"must be at most {wanted}",
    "exclusiveMinimum": lambda wanted: f"must be more than {wanted}",
    "exclusiveMaximum": lambda wanted: f"must be less than {wanted}",
    "multipleOf": lambda wanted: f"must be a multiple of {wanted}",
    "pattern": lambda wanted: f"must match {wanted}",
    "format": lambda wanted: f"must be of the form {wanted}",
    "minItems": lambda wanted: f"must have at least {wanted} entries",
    "maxItems": lambda wanted: f"must have at most {wanted} entries",
    "uniqueItems": lambda _: "must not have an entry twice",
}
