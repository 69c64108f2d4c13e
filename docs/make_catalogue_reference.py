"""Writes the tables of docs/CATALOGUE.md from domain/catalogue.py: `python -m docs.make_catalogue_reference`.

The text around the tables is written by hand; a test fails when the tables and the code differ.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, Final

from domain.catalogue import Release

TARGET: Final = Path(__file__).with_name("CATALOGUE.md")
START: Final = "<!-- fields: written by `python -m docs.make_catalogue_reference` -->"
END: Final = "<!-- end of fields -->"
ORDER: Final = (
    "Release",
    "Product",
    "Attribute",
    "ProductClass",
    "Decomposition",
    "Mapping",
    "Scenario",
    "Plan",
    "Item",
    "FormField",
    "SkillNeed",
    "Retry",
    "Dependency",
    "ItemRef",
    "System",
    "Queue",
)
VALUES: Final = ("Action", "Scope", "ItemType")
LISTS: Final = {
    "Product": "products",
    "Attribute": "attributes of a product",
    "ProductClass": "classes",
    "Decomposition": "decompositions",
    "Mapping": "map of a decomposition",
    "Scenario": "scenarios",
    "Plan": "plans",
    "Item": "items of a plan",
    "FormField": "form of an item",
    "SkillNeed": "skills of an item",
    "Retry": "retries",
    "Dependency": "dependencies",
    "ItemRef": "item and other of a dependency",
    "System": "systems",
    "Queue": "queues",
}


def tables() -> str:
    """One table per kind of element: field, what it takes, default, meaning."""
    schema = Release.model_json_schema(by_alias=True)
    elements = {**schema["$defs"], "Release": schema}
    parts = []
    for name in ORDER:
        title = "The release" if name == "Release" else f"`{LISTS[name]}`"
        parts += [f"### {title}", textwrap.fill(_one_line(elements[name].get("description", "")), 120)]
        required = elements[name].get("required", [])
        rows = [
            f"| `{field}` | {_type(value)} | {_default(value, field in required)} | {_one_line(value['description'])} |"
            for field, value in elements[name]["properties"].items()
        ]
        parts.append("\n".join(["| field | takes | default | meaning |", "|---|---|---|---|", *rows]))
    parts.append("### Words")
    rows = [
        f"| {name} | {', '.join(f'`{word}`' for word in elements[name]['enum'])} | "
        f"{_one_line(elements[name]['description'])} |"
        for name in VALUES
    ]
    parts.append("\n".join(["| kind | words | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _type(value: dict[str, Any]) -> str:
    """What a field takes, in a few words."""
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"] if each.get("type") != "null")
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    kind = value.get("type")
    if kind == "array":
        return f"list of {_type(value['items'])}"
    if kind == "object":
        inside = value.get("additionalProperties")
        return f"object of {_type(inside)}" if isinstance(inside, dict) else "object"
    if kind == "string":
        if value.get("maxLength") == 4000:
            return "CEL"
        return "code" if "pattern" in value else "text"
    bounds = [
        f"{sign} {value[key]:g}"
        for sign, key in (("≥", "minimum"), (">", "exclusiveMinimum"), ("≤", "maximum"))
        if key in value
    ]
    words = {"integer": "whole number", "number": "number", "boolean": "true or false", None: "anything"}
    return f"{words[kind]}{' ' + ', '.join(bounds) if bounds else ''}"


def _default(value: dict[str, Any], is_required: bool) -> str:
    if is_required:
        return "required"
    default = value.get("default")
    if default in (None, "", [], {}):
        return ""
    if isinstance(default, bool):
        return "true" if default else "false"
    return f"`{default}`"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def render(text: str) -> str:
    """The page with fresh tables."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    TARGET.write_text(render(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
