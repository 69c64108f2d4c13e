"""Forms: which schemas a release may give, and what is said of what was filled in."""

from __future__ import annotations

from typing import Any

import pytest

from domain.catalogue import FormField
from domain.errors import BadForm, BadRelease
from domain.forms import Form, problem_of, schema_of
from tests.support.build import manual, plan_of, release_of


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


VISIT = {
    "$id": "https://example.com/visit",
    "type": "object",
    "properties": {
        "address": {"$ref": "#/$defs/address"},
        "photos": {"type": "array", "items": {"type": "object", "required": ["name"]}, "maxItems": 2},
        "on": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "result": {"enum": ["good", "bad"]},
        "loss": {"type": ["number", "null"], "minimum": 0},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "additionalProperties": False,
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]}},
}


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({"address": {}}, "data.address.street", "is required by the form"),
        ({"address": {"street": 7}}, "data.address.street", "must be of type string"),
        ({"photos": [{"name": "a"}, {}]}, "data.photos[1].name", "is required by the form"),
        ({"photos": [{"name": "a"}] * 3}, "data.photos", "must have at most 2 entries"),
        ({"on": "2026-02-30"}, "data.on", "must be of the form date"),
        ({"at": "2026-02-03T10:00:00"}, "data.at", "must be of the form date-time"),
        ({"result": "fair"}, "data.result", "must be one of: 'good', 'bad'"),
        ({"loss": -1}, "data.loss", "must be at least 0"),
        ({"loss": "1"}, "data.loss", "must be of type number"),
        ({"code": "a"}, "data.code", "must match ^[A-Z]+$"),
        ({"either": None}, "data.either", "does not meet `anyOf` of the form"),
        ({"colour": "red"}, "data.colour", "the form has no field 'colour'"),
    ],
)
def test_a_refusal_names_the_path_of_the_field(data: dict[str, Any], path: str, reason: str) -> None:
    assert problem_of(VISIT) is None
    with pytest.raises(BadForm) as refused:
        Form(VISIT).values(data)
    assert (refused.value.path, refused.value.reason, refused.value.status) == (path, reason, 422)


def test_a_refusal_lists_every_problem_and_shows_no_value() -> None:
    with pytest.raises(BadForm) as refused:
        Form(VISIT).values({"loss": "hunter2", "code": "hunter2", "address": "hunter2"})

    assert [each["path"] for each in refused.value.facts["problems"]] == ["data.address", "data.code", "data.loss"]
    assert "hunter2" not in str(refused.value.as_dict())


def test_the_values_are_those_of_the_top_level_without_nulls() -> None:
    data = {"address": {"street": "Sample Road 1"}, "on": "2026-02-03", "at": "2026-02-03T10:00:00Z", "loss": None}

    assert Form(VISIT).values(data) == {name: value for name, value in data.items() if name != "loss"}


def test_fields_for_display_come_from_the_schema_and_a_list_of_fields_becomes_one() -> None:
    fields = (FormField(name="serial", required=True), FormField(name="ports", type="integer"))
    form = Form(schema_of(fields))

    assert form.fields() == [each.model_dump() for each in fields]
    assert problem_of(form.schema) is None
    assert [(each["name"], each["type"]) for each in Form(VISIT).fields()][-4:] == [
        ("result", "any"),
        ("loss", "number"),
        ("code", "string"),
        ("either", "any"),
    ]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({}, 'its root must say "type": "object"'),
        ({"type": "string"}, 'its root must say "type": "object"'),
        ({"type": "objekt"}, "it is no JSON Schema (draft 2020-12) at type"),
        (object_of(a={"minimum": "1"}), "it is no JSON Schema (draft 2020-12) at properties.a.minimum"),
        (object_of(a={"pattern": "("}), "it is no JSON Schema (draft 2020-12) at properties.a.pattern"),
        (object_of(a={"$ref": "#/$defs/none"}), "it refers to '#/$defs/none', which is not in it"),
        (object_of(a={"$ref": "https://example.com/other"}), "it refers to 'https://example.com/other'"),
        (object_of(a={"$id": "https://example.com/a"}), "a part of it has an $id"),
        ({"type": "object", "$ref": "#"}, "the form's schema refers to itself without an end"),
    ],
)
def test_a_schema_that_nobody_could_fill_in_is_not_published(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRelease) as refused:
        release_of(products=["p"], plans=[plan_of("visit", manual("look", formSchema=schema))])

    assert refused.value.reason.startswith(f"item visit/look formSchema: {reason}")


def test_what_looks_like_a_reference_in_data_is_none() -> None:
    assert problem_of(object_of(a={"const": {"$ref": "#/nowhere", "$id": "x"}})) is None


def test_a_schema_that_goes_round_only_for_some_data_is_refused_then() -> None:
    schema = object_of(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"$ref": "#/$defs/b"}}}
    assert problem_of(schema) is None

    with pytest.raises(BadForm, match="refers to itself"):
        Form(schema).values({"a": 1})


def test_an_item_gives_form_or_schema_and_names_each_skill_once() -> None:
    item = manual(
        "look", form=[{"name": "a"}], formSchema={"type": "object"}, skills=[{"skill": "fibre"}, {"skill": "fibre"}]
    )
    with pytest.raises(BadRelease) as refused:
        release_of(products=["p"], plans=[plan_of("visit", item)])

    assert refused.value.facts["problems"] == [
        "skill of item visit/look 'fibre' is defined twice",
        "item visit/look: give form or formSchema, not both",
    ]
