"""One release from several files: new orders take the newest published release, so it must hold all that is sold.

The parts keep their codes. What two parts both define must be the same in both; everything else simply stands side by
side. A release of own-mobile followed by one of home-internet would leave the customers of the first unable to change
what they have.
"""

from __future__ import annotations

from typing import Any, Final

from domain.catalogue import Release
from domain.release_file import read_release, release_document

_KEYS: Final = {
    "products": "code",
    "classes": "code",
    "decompositions": "name",
    "plans": "code",
    "retries": "code",
    "systems": "code",
    "queues": "code",
}
_LISTS: Final = ("dependencies", "scenarios")
_OF_THE_WHOLE: Final = ("undeclared", "empty_plan", "open_order", "dedicated")
"""Rules that hold for a whole release, so all parts must have been written for the same."""


class PartsDisagree(ValueError):
    """Two parts define the same thing differently."""


def merge(code: str, version: str, parts: list[Release]) -> Release:
    """The release that holds all parts.

    Raises:
        PartsDisagree: two of them define the same code, or a rule for the whole release, differently.
    """
    merged: dict[str, Any] = {"code": code, "version": version}
    for name in _OF_THE_WHOLE:
        values = {getattr(part, name) for part in parts}
        if len(values) > 1:
            raise PartsDisagree(f"{name} is not the same in all parts: {', '.join(sorted(map(repr, values)))}")
        merged[name] = values.pop()
    for part in parts:
        document = release_document(part)
        for name, key in _KEYS.items():
            known = merged.setdefault(name, [])
            for element in document.get(name, ()):
                same = next((each for each in known if each[key] == element[key]), None)
                if same is None:
                    known.append(element)
                elif same != element:
                    raise PartsDisagree(f"{name}: {element[key]!r} is not the same in two parts")
        for name in _LISTS:
            merged.setdefault(name, []).extend(document.get(name, ()))
    return read_release(merged)
