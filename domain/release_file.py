"""A release from its file form and back: what the gateway, the command line and importers have in common."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from domain.catalogue import Release
from domain.errors import BadRelease

PROBLEMS_MAX: Final = 50


def read_release(document: Any) -> Release:
    """A release from its file form; what it names is checked by `compile_release`.

    Raises:
        BadRelease: it is not of that form; the path is that of the first problem (`plans[0].items[2].type`), the fact
            `problems` lists up to 50.
    """
    try:
        return Release.model_validate(document)
    except ValidationError as error:
        found = [
            (path_text(each["loc"]), _reason(each["type"], each["msg"]))
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    path, reason = found[0]
    raise BadRelease(
        reason if len(found) == 1 else f"{reason}; and {len(found) - 1} more",
        path=path,
        problems=[f"{where}: {why}" for where, why in found[:PROBLEMS_MAX]],
        mend="see docs/CATALOGUE.md for the form",
    )


def release_document(release: Release) -> dict[str, Any]:
    """The file form of a release, without what is default."""
    document = {"format": release.format, **release.model_dump(mode="json", by_alias=True, exclude_defaults=True)}
    for index, rule in enumerate(release.decompositions):
        for position, mapping in enumerate(rule.map):
            if "static" in mapping.model_fields_set and mapping.static is None:
                # A null that was given is the mapping itself; left out as a default, the mapping would say nothing.
                document["decompositions"][index]["map"][position]["static"] = None
    return document


def path_text(steps: tuple[int | str, ...]) -> str:
    """`("plans", 0, "items")` as `plans[0].items`; the document itself is `$`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text or "$"


def _reason(kind: str, text: str) -> str:
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is unknown"
        case "model_type":
            return "must be an object"
        case _:
            return text.removeprefix("Value error, ")
