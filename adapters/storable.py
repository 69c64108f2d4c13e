"""Makes what adapters answer storable: PostgreSQL's jsonb holds less than JSON can say, and less still than Python.

Done once, at the border, so that no value of one order can break the commit of a whole tick. Nearly every answer is in
order already: one flat walk finds that out, and only a document with something to replace is copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from domain.errors import Unstorable

DEPTH_MAX: Final = 64
"""Levels of containers; also what ends the walk through a document that holds itself."""
SIZE_MAX: Final = 4_000_000
"""Values plus characters of texts and keys: about the bytes of the document as JSON."""

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def storable(value: Any) -> Any:
    """The document as jsonb can hold it: the same object when nothing had to change, else a copy.

    NUL characters and lone surrogates become U+FFFD, NaN and infinities None, integers beyond 64 bits texts, keys texts
    (as JSON would write them). What Python hands out beside JSON's own types is taken too: tuples and sets as
    lists, times as ISO 8601, Decimal and UUID as text, bytes read as UTF-8. Of keys that become equal the last stays.

    Raises:
        Unstorable: nested deeper than 64 levels, larger than `SIZE_MAX`, or it holds something that is no value at all.
    """
    return value if _is_storable(value) else _Copy().of(value, 0)


def _is_storable(value: Any) -> bool:
    """Whether nothing has to be replaced. Checks both bounds for the whole document while nothing is found."""
    size = 0
    level: list[Any] = [[value]]
    for _ in range(DEPTH_MAX + 1):
        below: list[Any] = []
        for holder in level:
            values = holder
            if holder.__class__ is dict:
                values = holder.values()
                for key in holder:
                    if key.__class__ is not str or not _is_storable_text(key):
                        return False
                    size += len(key)
            size += len(holder)
            if size > SIZE_MAX:
                raise _too_large()
            for each in values:
                kind = each.__class__
                if kind is str:
                    if not _is_storable_text(each):
                        return False
                    size += len(each)
                elif kind is dict or kind is list:
                    below.append(each)
                elif kind is int:
                    if not _INT_MIN <= each <= _INT_MAX:
                        return False
                elif kind is float:
                    if not math.isfinite(each):
                        return False
                elif each is not None and kind is not bool:
                    return False
        if not below:
            if size > SIZE_MAX:
                raise _too_large()
            return True
        level = below
    raise _too_deep()


def _is_storable_text(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Copy:
    """One copy in the making: counts its size. Recursive, which the bound on depth makes safe."""

    def __init__(self) -> None:
        self._size = 0

    def of(self, value: Any, depth: int) -> Any:
        """The storable form of a value that stands below `depth` containers."""
        self._count(1)
        match value:
            case None | bool():
                return value
            case Enum():
                return self.of(value.value, depth)
            case str():
                return self._text(str(value))
            case int():
                return int(value) if _INT_MIN <= value <= _INT_MAX else self._text(str(int(value)))
            case float():
                return float(value) if math.isfinite(value) else None
            case Mapping():
                inner = _deeper(depth)
                return {self._text(_key(key)): self.of(each, inner) for key, each in value.items()}
            case list() | tuple() | set() | frozenset():
                inner = _deeper(depth)
                return [self.of(each, inner) for each in value]
            case datetime() | date() | time():
                return value.isoformat()
            case Decimal() | UUID():
                return str(value)
            case bytes() | bytearray():
                return self._text(value.decode(errors="replace"))
            case _:
                raise Unstorable(f"the document holds a {type(value).__name__}, which is no JSON")

    def _text(self, text: str) -> str:
        self._count(len(text))
        if _is_storable_text(text):
            return text
        # Through UTF-16, because two surrogates that belong together are one character and no fault.
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return joined.replace("\0", _REPLACEMENT)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > SIZE_MAX:
            raise _too_large()


def _key(key: object) -> str:
    match key:
        case str():
            return str(key.value) if isinstance(key, Enum) else str(key)
        case None:
            return "null"
        case bool():
            return "true" if key else "false"
        case _:
            return str(key)


def _deeper(depth: int) -> int:
    if depth >= DEPTH_MAX:
        raise _too_deep()
    return depth + 1


def _too_deep() -> Unstorable:
    return Unstorable(f"the document is nested deeper than {DEPTH_MAX} levels")


def _too_large() -> Unstorable:
    return Unstorable(f"the document is larger than {SIZE_MAX} values and characters")
