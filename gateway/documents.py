"""From bytes to a JSON value that can be stored, and the list of what is wrong with a document.

Every order passes here, so the common case does as little as possible in Python: orjson refuses malformed text, lone
surrogates and infinities by itself, one search of the bytes tells whether a NUL can be in the document at all, and one
walk without paths finds depth and numbers that lost digits. Paths are worked out only for a document that is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final

import orjson

from domain.errors import BadDocument

ROOT: Final = "$"
"""The path of the document itself."""
DEPTH_MAX: Final = 64
"""Deeper nesting is refused: nothing that handles a document may run out of stack."""
PROBLEMS_MAX: Final = 50

_EXACT_MAX: Final = 2.0**53
_EXPLAINED_MAX: Final = 1 << 20
"""Bytes of a malformed body that are read a second time, to name the path of a lone surrogate."""
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Problems:
    """What is wrong with one document, in the order found; the first 50 are kept, all are counted."""

    __slots__ = ("found", "total")

    def __init__(self) -> None:
        self.found: list[dict[str, str]] = []
        self.total = 0

    def add(self, path: str, reason: str) -> None:
        """Note one problem. Reasons never show the value of a characteristic: it may be one that must not stay."""
        self.total += 1
        if len(self.found) < PROBLEMS_MAX:
            self.found.append({"path": path[:500], "reason": reason[:500]})

    def raise_if_any(self) -> None:
        """Refuse the document if a problem was noted.

        Raises:
            BadDocument: its path and reason are those of the first problem; the fact `problems` lists them as
                {"path", "reason"}, and `problemsTotal` stands beside it where more were found than are listed.
        """
        if not self.found:
            return
        facts: dict[str, Any] = {"problems": self.found}
        if self.total > len(self.found):
            facts["problemsTotal"] = self.total
        raise BadDocument(self.found[0]["reason"], path=self.found[0]["path"], **facts)


def shown(text: str) -> str:
    """A client's text for a message: quoted, shortened, with nothing in it that cannot be encoded."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def kind_of(value: Any) -> str:
    """What a JSON value is, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    for kinds, name in ((dict, "an object"), (list, "a list"), (str, "a text"), ((int, float), "a number")):
        if isinstance(value, kinds):
            return name
    return type(value).__name__


def read_instant(text: str) -> datetime | None:
    """The instant that an RFC 3339 text with time zone names, else None."""
    if _INSTANT.fullmatch(text) is None:
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    # In the first and the last year a conversion to UTC could leave the calendar.
    return instant if 1 < instant.year < 9999 else None


def decode_body(raw: bytes) -> Any:
    """Decode a JSON document whose every value can be stored.

    Raises:
        BadDocument: it is not JSON (facts `line`, `column`, `position`), or holds NUL characters, lone surrogates or
            integers that would lose digits, or is nested deeper than 64 levels; `problems` names every such path.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _malformed(raw, error) from error
    if b"\\u0000" in raw or not _is_plain(body):
        problems = Problems()
        for path, fault in _faults(body):
            problems.add(path, fault)
        problems.raise_if_any()
    return body


def _is_plain(body: Any) -> bool:
    """Whether depth and numbers are in order, found without building a path."""
    level: list[Any] = [[body]]
    for _ in range(DEPTH_MAX + 1):
        below: list[Any] = []
        for holder in level:
            for value in holder.values() if holder.__class__ is dict else holder:
                kind = value.__class__
                if kind is dict or kind is list:
                    below.append(value)
                elif kind is float and not -_EXACT_MAX < value < _EXACT_MAX:
                    return False
        if not below:
            return True
        level = below
    return False


def _faults(body: Any) -> Iterator[tuple[str, str]]:
    """Path and reason of each value that cannot be stored, in document order."""
    waiting: list[tuple[str, Any, int]] = [("", body, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if isinstance(value, str):
            if fault := _text_fault(value):
                yield path or ROOT, fault
        elif isinstance(value, float):
            if not -_EXACT_MAX < value < _EXACT_MAX:
                yield path or ROOT, "the number is too large to be kept digit by digit; send it as a text"
        elif isinstance(value, dict | list):
            if depth == DEPTH_MAX:
                yield path or ROOT, f"the document is nested deeper than {DEPTH_MAX} levels"
                continue
            if isinstance(value, dict):
                for name in value:
                    if fault := _text_fault(name):
                        yield path or ROOT, f"in the name of a member: {fault}"
                inside = [(_member(path, name), each, depth + 1) for name, each in value.items()]
            else:
                inside = [(f"{path or ROOT}[{index}]", each, depth + 1) for index, each in enumerate(value)]
            waiting.extend(reversed(inside))


def _text_fault(text: str) -> str:
    if "\0" in text:
        return "a text holds a NUL character, which cannot be stored"
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return "a text holds a lone surrogate, which is not a character and cannot be stored"
    return ""


def _member(path: str, name: str) -> str:
    if not name.isprintable() or len(name) > 60:
        return f"{path or ROOT}[{shown(name)}]"
    return f"{path}.{name}" if path else name


def _malformed(raw: bytes, error: orjson.JSONDecodeError) -> BadDocument:
    """Say where the text stops being JSON; for a lone surrogate, which the standard parser lets pass, name its path."""
    where: dict[str, Any] = {"line": error.lineno, "column": error.colno, "position": error.pos}
    if len(raw) <= _EXPLAINED_MAX and b"\\ud" in raw.lower():
        try:
            faults = list(islice(_faults(json.loads(raw)), PROBLEMS_MAX))
        except (ValueError, RecursionError):
            faults = []
        if faults:
            problems = [{"path": path[:500], "reason": reason} for path, reason in faults]
            return BadDocument(problems[0]["reason"], path=problems[0]["path"], problems=problems, **where)
    reason = f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
    return BadDocument(reason, path=ROOT, problems=[{"path": ROOT, "reason": reason}], **where)
