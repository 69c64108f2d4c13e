"""Models of event logs held against what became true: one protocol, the same for every model and log.

    eligible    at least two events, a duration, and begun so long before the log's end that 95% would have ended
    T           when the eligible case at 70% of them began
    train       cases that had ended before T; those open at T are given as prefixes, as known then
    test        cases that began at T or later: nothing of them is in training, and no future in what a model is asked
    due         the log's promise, else the start and what 80% of the training cases of the class needed
    points      the first 20 events but the last, and 25/50/75/90% of the allowed time; risk only until the due date

`python -m delay.backtest LOG.csv --case-id ... --activity ... --at ...` writes the report of a log.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from delay.event_log import Case, EventLog, Prefix, from_event_log, read_csv
from delay.logs.baselines import baselines
from delay.logs.history import Flags
from delay.metrics import (
    CaseBootstrap,
    Floats,
    Interval,
    Ints,
    auc,
    average_precision,
    brier,
    brier_skill,
    calibration_error,
    reliability,
    worklist,
)
from delay.score_points import TICKS, DueRule, percentile, points_of

TRAIN_SHARE: Final = 0.7
LONG_SHARE: Final = 0.95
ROUNDS: Final = 200
WORKLIST_TICK: Final = 0.5
DEFAULT: Final = "default"
REFERENCE: Final = "empirical"

Factory = Callable[[], Any]


class TooSmall(ValueError):
    """A log has too few cases to be split."""


@dataclass(frozen=True, slots=True)
class Split:
    """A log at T: cases to learn from, cases to answer for, and those under way."""

    at: datetime
    train: tuple[Case, ...]
    test: tuple[Case, ...]
    opened: tuple[Prefix, ...]
    rule: DueRule


def split(log: EventLog) -> Split:
    """The log at the moment at which its later part began; due dates are filled in everywhere.

    Raises:
        TooSmall: a part is empty.
    """
    lasting = [case for case in log.cases if len(case.events) > 1 and case.duration_s > 0]
    long_s = percentile([case.duration_s for case in lasting], LONG_SHARE)
    begun_by = log.ended_at - timedelta(seconds=long_s)
    eligible = sorted(
        (case for case in lasting if case.started_at < begun_by), key=lambda case: (case.started_at, case.case_id)
    )
    if not eligible:
        raise TooSmall(f"{log.name} has no case that began before its last {long_s / 86_400:.1f} days")
    at = eligible[int(TRAIN_SHARE * len(eligible))].started_at
    train = [case for case in eligible if case.ended_at < at]
    test = [case for case in eligible if case.started_at >= at]
    if not train or not test:
        raise TooSmall(f"{log.name} has {len(train)} cases to learn from and {len(test)} to answer for")
    rule = DueRule(train)
    opened = [case.prefix(at, None, rule.due_at(case)) for case in eligible if case.started_at < at <= case.ended_at]
    return Split(at, tuple(_due(train, rule)), tuple(_due(test, rule)), tuple(opened), rule)


def _due(cases: Sequence[Case], rule: DueRule) -> list[Case]:
    return [
        Case(case.case_id, case.events, case.attributes, rule.due_at(case), case.case_class) for case in cases
    ]


@dataclass(frozen=True, slots=True)
class Questions:
    """The points of the test cases, shuffled, and what became true; `tick` is 0 at events."""

    prefixes: tuple[Prefix, ...]
    case: Ints
    tick: Floats
    late: Floats
    rest_s: Floats
    is_past_due: Flags

    @classmethod
    def of(cls, cases: Sequence[Case], seed: int) -> Questions:
        """All points of the cases."""
        found = []
        for at, case in enumerate(cases):
            assert case.due_at is not None, "the split fills it in"
            for point in points_of(case, case.due_at):
                rest_s = (case.ended_at - point.prefix.now).total_seconds()
                numbers = (at, point.tick or 0.0, case.ended_at > case.due_at, rest_s, point.is_past_due)
                found.append((point.prefix, numbers))
        random.Random(seed).shuffle(found)
        columns = np.array([numbers for _, numbers in found], dtype=np.float64).reshape(-1, 5).T
        return cls(
            tuple(prefix for prefix, _ in found),
            columns[0].astype(np.int64),
            columns[1],
            columns[2],
            columns[3],
            columns[4].astype(bool),
        )


@dataclass(frozen=True, slots=True)
class Scores:
    """How one model did. `against` is its AUC minus that of the empirical baseline, on the same drawings of cases.
    `chosen` is what the model says of itself (`summary`).
    """

    auc: Interval
    against: Interval
    average_precision: float
    brier: float
    skill: float
    calibration_error: float
    auc_by_tick: Mapping[str, float]
    precision: float
    recall: float
    rest_error_days: float
    reliability: Sequence[tuple[float, float, int]]
    chosen: str


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of models on one log. `microseconds` for each prefix differ from run to run and stay out of the bytes."""

    log: str
    simulated: bool
    seed: int
    split_at: str
    counts: Mapping[str, int]
    train_share: float
    test_share: float
    scores: Mapping[str, Scores]
    microseconds: Mapping[str, float] = field(default_factory=dict, compare=False)


def backtest(log: EventLog, models: Mapping[str, Factory] | None = None, seed: int = 0) -> Report:
    """The report of the models (by name; without any: the default model and the baselines) on the log."""
    parts = split(log)
    questions = Questions.of(parts.test, seed)
    before = ~questions.is_past_due
    if not before.any():
        raise TooSmall(f"no case of {log.name} is ever asked about before its due date")
    known = Questions.of(parts.train, seed)
    train_share = float(known.late[~known.is_past_due].mean())
    models = models if models is not None else {DEFAULT: lambda: from_event_log(seed), **baselines(seed)}
    answers: dict[str, Floats] = {}
    took: dict[str, float] = {}
    chosen: dict[str, str] = {}
    for name, make in models.items():
        model = make()
        if hasattr(model, "fit"):
            model.fit(parts.train, parts.opened)
        began = time.perf_counter()
        answers[name] = answered(model, questions.prefixes)
        took[name] = (time.perf_counter() - began) * 1e6 / len(questions.prefixes)
        chosen[name] = str(getattr(model, "summary", ""))
    drawn = CaseBootstrap(questions.case[before], ROUNDS, seed)
    late = questions.late[before]
    aucs = {name: drawn.aucs(late, found[before, 0]) for name, found in answers.items()}
    points = {name: auc(late, found[before, 0]) for name, found in answers.items()}
    reference = REFERENCE if REFERENCE in answers else next(iter(answers))
    scores = {
        name: _scores(
            questions,
            found,
            train_share,
            drawn.interval(points[name], aucs[name]),
            drawn.interval(points[name] - points[reference], aucs[name] - aucs[reference]),
            chosen[name],
        )
        for name, found in answers.items()
    }
    counts = {
        "cases": len(log.cases),
        "train": len(parts.train),
        "open": len(parts.opened),
        "test": len(parts.test),
        "points": int(before.sum()),
        "ticks": int((before & (questions.tick > 0)).sum()),
    }
    return Report(
        log.name,
        log.simulated,
        seed,
        parts.at.isoformat(),
        counts,
        train_share,
        float(late.mean()),
        scores,
        took,
    )


def answered(model: Any, prefixes: Sequence[Prefix]) -> Floats:
    """Shape (prefixes, 2): probability and seconds.

    Raises:
        ValueError: the model did not give one usable answer for each prefix.
    """
    found = np.array([tuple(answer)[:2] for answer in model.predict(list(prefixes))], dtype=np.float64).reshape(-1, 2)
    if len(found) != len(prefixes):
        raise ValueError(f"{len(found)} answers to {len(prefixes)} prefixes")
    if not np.isfinite(found).all() or found[:, 0].min() < 0 or found[:, 0].max() > 1:
        raise ValueError("an answer is no probability and number of seconds")
    return found


def _scores(
    questions: Questions,
    answers: Floats,
    share: float,
    ranking: Interval,
    against: Interval,
    chosen: str,
) -> Scores:
    before = ~questions.is_past_due
    late, p_late = questions.late[before], answers[before, 0]
    tick = questions.tick[before]
    half = tick == WORKLIST_TICK
    precision, recall = worklist(late[half], p_late[half])
    at_events = questions.tick == 0
    errors = np.abs(answers[at_events, 1] - questions.rest_s[at_events])
    return Scores(
        auc=ranking,
        against=against,
        average_precision=average_precision(late, p_late),
        brier=brier(late, p_late),
        skill=brier_skill(late, p_late, share),
        calibration_error=calibration_error(late, p_late),
        auc_by_tick={f"{each:.0%}": auc(late[tick == each], p_late[tick == each]) for each in TICKS},
        precision=precision,
        recall=recall,
        rest_error_days=float(errors.mean()) / 86_400 if len(errors) else float("nan"),
        reliability=reliability(late, p_late),
        chosen=chosen,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report of a CSV file, as Markdown or JSON, to standard output."""
    from delay.backtest_report import as_json, as_markdown

    parser = argparse.ArgumentParser(prog="python -m delay.backtest", description="Backtest delay models on a log.")
    parser.add_argument("log", type=Path)
    for name in ("case-id", "activity", "at"):
        parser.add_argument(f"--{name}", required=True, help="name of the column")
    for name in ("due-at", "case-class"):
        parser.add_argument(f"--{name}", help="name of the column, if there is one")
    parser.add_argument("--case-attributes", default="", help="names of columns known from the start, with commas")
    parser.add_argument("--time-format", help="of times that are not ISO, as in strptime")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="JSON instead of Markdown")
    given = parser.parse_args(arguments)
    log = read_csv(
        given.log,
        case_id=given.case_id,
        activity=given.activity,
        at=given.at,
        due_at=given.due_at,
        case_class=given.case_class,
        case_attributes=[name for name in given.case_attributes.split(",") if name],
        time_format=given.time_format,
    )
    report = backtest(log, seed=given.seed)
    sys.stdout.write(as_json(report) if given.json else as_markdown(report))


if __name__ == "__main__":
    main()
