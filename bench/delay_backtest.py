"""The default delay model on simulated event logs, held against the baselines and the bar; writes
docs/DELAY_BACKTEST.md. `make delay-backtest`.

The bar, on every log: an AUC of at least the best baseline's minus 0.005; Brier skill above 0; a calibration error of
at most 0.10, and 0.05 where nothing drifts; a remaining time no further off than the untuned booster's. And the
controls.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from delay.backtest import DEFAULT, Report, backtest
from delay.backtest_controls import Untold, dealt_anew
from delay.backtest_report import as_markdown, as_timings
from delay.event_log import from_event_log
from delay.logs.booster import booster_library
from delay.made_logs import KINDS

PAGE = Path(__file__).parents[1] / "docs" / "DELAY_BACKTEST.md"
STEADY = ("stable", "tickets")
HEAD = """# Backtest of the delay model for event logs

Made by `make delay-backtest`; how to read it: [DELAY.md](DELAY.md), section "Event logs". **All logs on this page are
simulated**: made up by `delay.made_logs` from a seed. They say that the model and the protocol do what they should on
processes of known kind, not how well the model does on anybody's orders; `python -m delay.backtest LOG.csv` says that.

The bar: an AUC of at least the best baseline's minus 0.005, Brier skill above 0, a calibration error (ECE) of at most
0.10 and of 0.05 where nothing drifts and cases are many, and a remaining time no further off than the untuned
booster's.
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A report held against the bar."""

    kind: str
    report: Report

    @property
    def missed(self) -> list[str]:
        """What does not hold, in words."""
        scores = dict(self.report.scores)
        own = scores.pop(DEFAULT)
        error_max = 0.05 if self.kind in STEADY else 0.10
        conditions = {
            "AUC": own.auc.value >= max(found.auc.value for found in scores.values()) - 0.005,
            "skill": own.skill > 0,
            "ECE": own.calibration_error <= error_max,
            "days": own.rest_error_days <= scores["booster"].rest_error_days,
        }
        return [name for name, holds in conditions.items() if not holds]

    def row(self) -> str:
        scores = dict(self.report.scores)
        own = scores.pop(DEFAULT)
        name, best = max(scores.items(), key=lambda item: item[1].auc.value)
        booster = scores["booster"]
        return (
            f"| {self.kind} | {self.report.seed} | {self.report.counts['test']:,} | {own.auc.value:.3f} "
            f"({own.auc.low:.3f} to {own.auc.high:.3f}) | {best.auc.value:.3f} ({name}) | {own.against.value:+.3f} "
            f"({own.against.low:+.3f} to {own.against.high:+.3f}) | {own.skill:+.3f} | {own.calibration_error:.3f} | "
            f"{own.rest_error_days:.2f} | {booster.rest_error_days:.2f} | {', '.join(self.missed) or 'none'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay_backtest")
    parser.add_argument("--seeds", default="1,2,3", help="numbers with commas")
    parser.add_argument("--kinds", default=",".join(KINDS), help="names with commas")
    given = parser.parse_args()
    if booster_library() is None:
        sys.exit("lightgbm is needed: make install")
    seeds = [int(seed) for seed in given.seeds.split(",")]
    judged = []
    for kind in given.kinds.split(","):
        for seed in seeds:
            report = backtest(KINDS[kind](seed), seed=seed)
            judged.append(Judged(kind, report))
            print(judged[-1].row(), as_timings(report), flush=True)
    controls = control_lines(seeds[0])
    PAGE.write_text("\n".join([HEAD, *overview(judged), *controls, *details(judged, seeds[0])]), encoding="utf-8")
    if any(each.missed for each in judged):
        sys.exit(1)


def overview(judged: Sequence[Judged]) -> list[str]:
    """One line for each log."""
    return [
        "| Log | Seed | Cases | AUC (95%) | best baseline | against empirical (95%) | Skill | ECE | Days off | "
        "booster's | Missed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(each.row() for each in judged),
        "",
    ]


def control_lines(seed: int) -> list[str]:
    """What the controls say, on the stable log."""
    log = KINDS["stable"](seed)
    told = backtest(log, {DEFAULT: partial(from_event_log, seed)}, seed).scores[DEFAULT].auc
    untold = backtest(log, {DEFAULT: lambda: Untold(from_event_log(seed))}, seed).scores[DEFAULT].auc
    dealt = dealt_anew(log, partial(from_event_log, seed), seed)
    found = [
        "## Controls",
        "",
        f"On the stable log, seed {seed}. Without the promised dates the AUC falls from {told.value:.3f} to "
        f"{untold.value:.3f} ({untold.low:.3f} to {untold.high:.3f}). Against outcomes dealt to the cases anew it is "
        f"{dealt.value:.3f} (95% of deals: {dealt.low:.3f} to {dealt.high:.3f}).",
        "",
    ]
    print("\n".join(found), flush=True)
    return found


def details(judged: Sequence[Judged], seed: int) -> list[str]:
    """The whole report of one log of each kind, and what the model chose there."""
    lines = []
    for each in judged:
        if each.report.seed == seed:
            lines += [as_markdown(each.report)]
    return lines


if __name__ == "__main__":
    main()
