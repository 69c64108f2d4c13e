"""Pictures of delay models as SVG, drawn by hand: lines over a plane with named axes, nothing else.

Dropped: matplotlib (40 MB for lines, and other bytes with every release of it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

COLOURS: Final = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#0e7c86", "#a0522d", "#c2388a")
GREY: Final = "#555555"
"""Of what only serves to compare with."""
WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 170, 46, 60

Point = tuple[float, float]


class Line(NamedTuple):
    """One line: its name, its points, whether they are marked, and whether it only serves to compare with.

    `colour` is one of `COLOURS`; without it, that of the line's place among the others.
    """

    name: str
    points: Sequence[Point]
    is_dashed: bool = False
    has_marks: bool = True
    colour: str = ""


class Axis(NamedTuple):
    """One direction: what it means, from and until where, and what is written at which places."""

    name: str
    least: float
    most: float
    marks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1."""
        return (min(max(value, self.least), self.most) - self.least) / ((self.most - self.least) or 1.0)


SHARES: Final = tuple((each / 10, f"{each / 10:.1f}") for each in range(0, 11, 2))


def drawn(
    title: str, note: str, across: Axis, upward: Axis, lines: Sequence[Line], marked: Sequence[float] = ()
) -> str:
    """A picture; `marked` are places across at which a line stands. The same arguments give the same bytes."""
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return LEFT + across.share(value) * inner_w

    def y(value: float) -> float:
        return TOP + (1 - upward.share(value)) * inner_h

    parts = [
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
        f'<text x="{LEFT}" y="34" fill="#555">{escape(note)}</text>',
        f'<rect x="{LEFT}" y="{TOP}" width="{inner_w}" height="{inner_h}" fill="none" stroke="#999"/>',
        f'<text x="{LEFT + inner_w / 2:.0f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(across.name)}</text>',
        f'<text x="14" y="{TOP + inner_h / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {TOP + inner_h / 2:.0f})">{escape(upward.name)}</text>',
    ]
    for value, text in across.marks:
        parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(text)}</text>')
    for value, text in upward.marks:
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + inner_w}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#eee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    for value in marked:
        parts.append(f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{TOP + inner_h}" stroke="#999"/>')
    for number, line in enumerate(lines):
        colour = line.colour or COLOURS[number % len(COLOURS)]
        places = [(x(one), y(other)) for one, other in line.points]
        dashes = ' stroke-dasharray="5 4"' if line.is_dashed else ""
        points = " ".join(f"{one:.1f},{other:.1f}" for one, other in places)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}/>')
        if line.has_marks:
            parts += [f'<circle cx="{one:.1f}" cy="{other:.1f}" r="3" fill="{colour}"/>' for one, other in places]
        parts.append(
            f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 14 + 16 * number}" fill="{colour}">{escape(line.name)}</text>'
        )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def reliability_curve(models: Mapping[str, Sequence[Sequence[float]]], note: str) -> str:
    """What was said against what was true; `models` has (said, true, points) of each bin by name."""
    lines = [Line("as it should be", ((0, 0), (1, 1)), is_dashed=True, has_marks=False, colour=GREY)]
    lines += _coloured(Line(name, _by_said(bins)) for name, bins in models.items())
    across, upward = Axis("probability said", 0, 1, SHARES), Axis("share that was late", 0, 1, SHARES)
    return drawn("Reliability", note, across, upward, lines)


def _coloured(lines: Iterable[Line]) -> list[Line]:
    """With the colours of their places among the models: a model has the same one in all pictures of a report."""
    return [line._replace(colour=COLOURS[number % len(COLOURS)]) for number, line in enumerate(lines)]


def _by_said(bins: Sequence[Sequence[float]]) -> list[Point]:
    """One point for each value that was said: a line through several above each other would double back."""
    found: dict[float, tuple[float, float]] = {}
    for said, true, points in bins:
        late, before = found.get(said, (0.0, 0.0))
        found[said] = (late + true * points, before + points)
    return [(said, late / points) for said, (late, points) in sorted(found.items())]


def _ticks(models: Mapping[str, Mapping[str, float | None]]) -> list[Line]:
    return _coloured(
        Line(name, [(float(tick.rstrip("%")) / 100, value) for tick, value in found.items() if value is not None])
        for name, found in models.items()
    )


_ALLOWED: Final = Axis(
    "share of the allowed time that is over", 0.2, 0.95, tuple((each, f"{each:.0%}") for each in (0.25, 0.5, 0.75, 0.9))
)


def earliness_curve(models: Mapping[str, Mapping[str, float | None]], note: str) -> str:
    """AUC by the share of the allowed time that is over; `models` has it by tick (`25%`) by name."""
    marks = tuple((each / 10, f"{each / 10:.1f}") for each in range(5, 11))
    return drawn("Earliness", note, _ALLOWED, Axis("AUC", 0.5, 1, marks), _ticks(models))


def worklist_precision(models: Mapping[str, Mapping[str, float | None]], note: str) -> str:
    """The share of late orders among the riskiest fifth, by the share of the allowed time that is over."""
    upward = Axis("late among the riskiest 20%", 0, 1, SHARES)
    return drawn("Worklist precision", note, _ALLOWED, upward, _ticks(models))


def write_pictures(folder: Path, models: Mapping[str, Mapping[str, Any]], note: str) -> tuple[str, ...]:
    """Write the pictures of a report into a folder, which is made; the files' names.

    Args:
        folder: where to.
        models: figures by name, with `reliability`, `aucByTick` and `worklistByTick`.
        note: what they are figures of, in words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "reliability.svg": reliability_curve({name: each["reliability"] for name, each in models.items()}, note),
        "earliness.svg": earliness_curve({name: each["aucByTick"] for name, each in models.items()}, note),
        "worklist.svg": worklist_precision({name: each["worklistByTick"] for name, each in models.items()}, note),
    }
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return tuple(made)


def risk_history(points: Sequence[Mapping[str, Any]], due_at: datetime, title: str, note: str) -> str:
    """One order's risk over time; `points` as `GET /v1/orders/{id}/risk` has its `history`.

    Raises:
        ValueError: there are no points.
    """
    if not points:
        raise ValueError("there are no scores to draw")
    began_at = datetime.fromisoformat(points[0]["scoredAt"])

    def hours(at: datetime) -> float:
        return (at - began_at).total_seconds() / 3600

    places = [(hours(datetime.fromisoformat(each["scoredAt"])), float(each["risk"])) for each in points]
    due_h = hours(due_at)
    most = max(places[-1][0], due_h, 1 / 3600)
    marks = tuple((most * part / 4, _after(most * part / 4)) for part in range(5))
    across = Axis("since the first score (vertical line: due)", 0, most, marks)
    lines = [Line("risk to be late", places, has_marks=len(places) <= 60)]
    return drawn(title, note, across, Axis("probability", 0, 1, SHARES), lines, (due_h,) if due_h > 0 else ())


def _after(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} d"
    return f"{hours:.1f} h" if hours >= 2 else f"{hours * 60:.1f} min"
