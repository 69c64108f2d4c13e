"""A backtest's report as JSON and as Markdown. The same seed gives the same bytes: no times of day, no timings."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from delay.metrics import Interval

if TYPE_CHECKING:
    from delay.backtest import Report

DIGITS: Final = 6


def as_json(report: Report) -> str:
    """All figures but the timings; what is unknown is null."""
    figures = asdict(report)
    del figures["microseconds"]
    return json.dumps(_rounded(figures), indent=2, sort_keys=True) + "\n"


def as_markdown(report: Report) -> str:
    """Tables for people."""
    counts = report.counts
    simulated = " This log is simulated: made up by orderplan, from a seed." if report.simulated else ""
    lines = [
        f"## {report.log}",
        "",
        f"{counts['cases']:,} cases; learnt from {counts['train']:,} that had ended by {report.split_at[:16]} and "
        f"{counts['open']:,} that were open then; asked about {counts['test']:,} later ones, at {counts['points']:,} "
        f"points before their due date, of which {counts['ticks']:,} are ticks of the clock. Of the points, "
        f"{report.train_share:.1%} belonged to late cases in training and {report.test_share:.1%} in the test."
        f"{simulated}",
        "",
        "| Model | AUC (95% of cases drawn) | against empirical | AP | Brier | Skill | ECE | Days off |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in report.scores.items():
        lines.append(
            f"| {name} | {_between(found.auc)} | {_between(found.against, '+.3f')} | {found.average_precision:.3f} | "
            f"{found.brier:.4f} | {found.skill:+.3f} | {found.calibration_error:.3f} | {found.rest_error_days:.3f} |"
        )
    ticks = list(next(iter(report.scores.values())).auc_by_tick)
    lines += [
        "",
        "AUC by share of the allowed time that has passed, and the riskiest 20% at half of it:",
        "",
        f"| Model | {' | '.join(ticks)} | precision | recall |",
        f"|---|{'---|' * (len(ticks) + 2)}",
    ]
    for name, found in report.scores.items():
        by_tick = " | ".join(f"{found.auc_by_tick[tick]:.3f}" for tick in ticks)
        lines.append(f"| {name} | {by_tick} | {found.precision:.2f} | {found.recall:.2f} |")
    first, found = next(iter(report.scores.items()))
    lines += ["", f"What *{first}* said and what was true, in ten bins of equally many points:", ""]
    lines += [_row("said", [f"{said:.2f}" for said, _, _ in found.reliability])]
    lines += [f"|---|{'---|' * len(found.reliability)}"]
    lines += [_row("true", [f"{true:.2f}" for _, true, _ in found.reliability])]
    lines += [f"\nWhat *{name}* chose: {found.chosen}." for name, found in report.scores.items() if found.chosen]
    return "\n".join(lines) + "\n"


def as_timings(report: Report) -> str:
    """Microseconds for each prefix: of this machine and this run, therefore apart."""
    return ", ".join(f"{name} {found:.0f}" for name, found in report.microseconds.items())


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _between(found: Interval, form: str = ".3f") -> str:
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value
