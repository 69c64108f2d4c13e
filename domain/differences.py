"""What differs between two JSON documents, as paths; for whoever has to choose between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple


class _Absent:
    """There is nothing in this place."""


ABSENT: Final = _Absent()
_LENGTH_MAX: Final = 200


class Difference(NamedTuple):
    """The smallest place that differs: `plans[deliver].items[reserve].durationS`."""

    path: str
    stored: Any
    sent: Any

    def to_dict(self) -> dict[str, Any]:
        """The form of answers: a side that has nothing there is left out, a long value is cut."""
        sides = (("stored", self.stored), ("sent", self.sent))
        return {"path": self.path} | {name: _cut(value) for name, value in sides if value is not ABSENT}


def differences(stored: Any, sent: Any, path: str = "") -> Iterator[Difference]:
    """The smallest members that differ; elements of lists are paired by their `code` where all have one of their own.

    True and 1 are not the same.
    """
    if isinstance(stored, dict) and isinstance(sent, dict):
        yield from _members(stored, sent, path, ".{}" if path else "{}")
        return
    by_code = (_by_code(stored), _by_code(sent))
    if by_code[0] is not None and by_code[1] is not None:
        yield from _members(by_code[0], by_code[1], path, "[{}]")
        if list(by_code[0]) != list(by_code[1]) and by_code[0].keys() == by_code[1].keys():
            yield Difference(f"{path} (order)", list(by_code[0]), list(by_code[1]))
    elif stored != sent or isinstance(stored, bool) is not isinstance(sent, bool):
        yield Difference(path, stored, sent)


def _members(stored: dict[str, Any], sent: dict[str, Any], path: str, joint: str) -> Iterator[Difference]:
    for name in dict.fromkeys((*stored, *sent)):
        one, other = stored.get(name, ABSENT), sent.get(name, ABSENT)
        place = path + joint.format(name)
        if one is ABSENT or other is ABSENT:
            yield Difference(place, one, other)
        else:
            yield from differences(one, other, place)


def _by_code(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, list) or not all(isinstance(each, dict) and "code" in each for each in value):
        return None
    found = {str(each["code"]): each for each in value}
    return found if len(found) == len(value) else None


def _cut(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= _LENGTH_MAX else f"{text[:_LENGTH_MAX]}…"
