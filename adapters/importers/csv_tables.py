"""CSV files as tables: what an export tool or a spreadsheet made of them, with the place of every cell for messages.

What can be told with certainty is read as it is meant: a byte order mark, UTF-16, any line ends, and the delimiter,
which is the one that gives the header the columns it must have. Everything else is a problem with its place and what
to do about it.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.errors import BadRelease

NONE_WORDS: Final = frozenset({"", "#N/A"})
"""Cells that say nothing."""
BYTES_MAX: Final = 16 * 1024 * 1024
ROWS_MAX: Final = 100_000
PROBLEMS_MAX: Final = 200
_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class Problems:
    """Every reason against an import with its place and mend, so that all can be mended in one go."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def add(self, where: str, reason: str, mend: str) -> None:
        """Note a problem."""
        self.found.append((where, reason, mend))

    def raise_if_any(self) -> None:
        """Refuse the import if there was a problem.

        Raises:
            BadRelease: place, reason and mend are those of the first problem, the fact `problems` lists up to 200.
        """
        if not self.found:
            return
        where, reason, mend = self.found[0]
        if len(self.found) > 1:
            reason = f"{reason}; and {len(self.found) - 1} more"
        listed = [f"{place}: {why} ({how})" for place, why, how in self.found[:PROBLEMS_MAX]]
        raise BadRelease(reason, path=where, mend=mend, problems=listed)


@dataclass(frozen=True, slots=True)
class Row:
    """One record: `line` is the line of the file that it begins on, `cells` hold what is not empty."""

    file: str
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def first(self, *columns: str) -> str:
        """The first of these columns that says something."""
        return next((self.cells[each] for each in columns if each in self.cells), "")

    def where(self, column: str = "") -> str:
        """The place, for messages."""
        return f"{self.file} line {self.line}" + (f", column {column}" if column else "")


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one file; `columns` is its header."""

    file: str
    columns: tuple[str, ...] = ()
    rows: Sequence[Row] = field(default=())

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


def read_table(file: str, content: str | bytes, required: Sequence[str], problems: Problems) -> Table:
    """The rows of a CSV file; what is wrong is noted, and the table is empty then.

    Args:
        file: its name, for messages.
        content: as it was read; bytes are UTF-8, or UTF-16 with its mark.
        required: columns that the header must have, in any order and case.
        problems: where to note what is wrong.
    """
    text = _decoded(file, content, problems)
    if text is None:
        return Table(file)
    header, delimiter = _header(file, text, required, problems)
    if not header:
        return Table(file)
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        next(reader)
        start = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(header):
                    problems.add(
                        f"{file} line {start}",
                        f"has {len(cells)} cells, the header has {len(header)}",
                        "put cells that hold a delimiter or a line end into double quotes",
                    )
                else:
                    said = {
                        name: value
                        for name, cell in zip(header, cells, strict=True)
                        if (value := _value(cell)) not in NONE_WORDS
                    }
                    if said:
                        rows.append(Row(file, start, said))
            if len(rows) > ROWS_MAX:
                problems.add(file, f"has more than {ROWS_MAX} rows", "split the catalogue")
                break
            start = reader.line_num + 1
    except csv.Error as error:
        mend = "look for a double quote that is not closed or not doubled"
        problems.add(f"{file} line {start}", f"cannot be read: {error}", mend)
        return Table(file)
    return Table(file, tuple(header), rows)


def _value(cell: str) -> str:
    # A line end inside a name is a matter of how it was shown.
    return re.sub(r"\s*[\r\n]+\s*", " ", cell.strip())


def _decoded(file: str, content: str | bytes, problems: Problems) -> str | None:
    if len(content) > BYTES_MAX:
        problems.add(file, f"is larger than {BYTES_MAX // 2**20} MiB", "split the catalogue")
        return None
    if isinstance(content, bytes):
        is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        try:
            text = content.decode("utf-16" if is_wide else "utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            problems.add(f"{file} line {line}", f"byte {error.start} is not UTF-8 text", "save the file as UTF-8")
            return None
    else:
        text = content
    text = text.removeprefix("\ufeff")
    if (at := text.find("\0")) >= 0:
        place = f"{file} line {text.count(chr(10), 0, at) + 1}"
        problems.add(place, "holds a NUL character, so it is no CSV file", "export it again as CSV")
        return None
    return text


def _header(file: str, text: str, required: Sequence[str], problems: Problems) -> tuple[list[str], str]:
    """The columns, under the names that `required` gives them, and the delimiter; no columns when that is not sure."""
    known = {name.casefold(): name for name in required}
    best: list[str] = []
    best_delimiter = ","
    for delimiter in _DELIMITERS:
        try:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
        except csv.Error:
            continue
        names = [known.get(cell.strip().casefold(), cell.strip()) for cell in cells]
        if len(known.keys() & {name.casefold() for name in names}) > len(
            known.keys() & {name.casefold() for name in best}
        ):
            best, best_delimiter = names, delimiter
    if not best:
        problems.add(
            f"{file} line 1",
            f"is no header with the columns {', '.join(required)}",
            f"separate columns by {', '.join(_DELIMITERS.values())}, and name them in the first line",
        )
        return [], ","
    missing = [name for name in required if name not in best]
    for name in missing:
        problems.add(
            f"{file} line 1, column {name}",
            "is missing",
            "export the file with this column; leave its cells empty if there is nothing to say",
        )
    twice = sorted({name for name in best if name and best.count(name) > 1})
    for name in twice:
        problems.add(f"{file} line 1, column {name}", "stands there twice", "leave one of them")
    return ([] if missing or twice else best), best_delimiter
