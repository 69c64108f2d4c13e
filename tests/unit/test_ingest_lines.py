"""A body of very many lines is taken apart as it comes, whatever its pieces, and none of them is kept for long."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.line_service import lines_of


class Body:
    """A body that comes in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    async def iter_any(self) -> AsyncIterator[bytes]:
        for each in self.pieces:
            yield each


async def read(*pieces: bytes, bytes_max: int = 8) -> list[bytes | None]:
    return [each async for each in lines_of(Body(*pieces), bytes_max)]


@pytest.mark.parametrize(
    "pieces",
    [(b"one\ntwo\nthree\n",), (b"one\ntwo\nthree",), (b"o", b"ne\n", b"two\nth", b"ree"), (b"one\n", b"two\nthree\n")],
)
async def test_lines_are_the_same_whatever_pieces_they_come_in(pieces: tuple[bytes, ...]) -> None:
    assert await read(*pieces) == [b"one", b"two", b"three"]


async def test_an_empty_body_has_no_line_and_a_blank_line_counts() -> None:
    assert await read() == []
    assert await read(b"a\n\nb\n") == [b"a", b"", b"b"]


@pytest.mark.parametrize(
    "pieces",
    [(b"a\n123456789\nb\n",), (b"a\n12345", b"6789", b"\nb"), (b"a\n", b"1234567890", b"1234567890", b"1\nb\n")],
)
async def test_a_line_that_is_too_long_is_told_of_and_the_next_one_is_read(pieces: tuple[bytes, ...]) -> None:
    assert await read(*pieces) == [b"a", None, b"b"]


async def test_a_last_line_that_is_too_long_is_told_of_too() -> None:
    assert await read(b"a\n12345", b"6789") == [b"a", None]
    assert await read(b"a\n12345678") == [b"a", b"12345678"]
