"""What stands in the query of a request, read and checked."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.errors import BadDocument

_DIGITS_MAX: Final = 9
"""Python itself refuses to read numbers of thousands of digits."""
_ZONE_LENGTH_MAX: Final = 64


def limit_of(text: str, most: int) -> int:
    """How many entries a list is to have.

    Raises:
        BadDocument: it is no number between 1 and `most`.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
    if not is_number or not 1 <= int(text) <= most:
        raise BadDocument(f"must be a whole number between 1 and {most}", path="limit")
    return int(text)


def text_of(given: str | None, path: str) -> str | None:
    """A text to look for in the database, if the request has one.

    Raises:
        BadDocument: no text of the database can be like that.
    """
    if given is not None and "\0" in given:
        raise BadDocument("must not hold a NUL character", path=path)
    return given


def read_zone(text: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        BadDocument: there is none of that name.
    """
    try:
        if len(text) > _ZONE_LENGTH_MAX:
            raise ValueError(text)
        return ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        mend = "write its IANA name, such as Europe/Amsterdam"
        raise BadDocument("is no time zone", path="zone", mend=mend) from None
