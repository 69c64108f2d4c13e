"""What being inside the orchestrator is worth: the default delay model on simulated histories, held against the planned
durations and against the same booster without the plan's structure; writes docs/DELAY_STRUCTURE.md.
`make delay-structure`.

The history of each seed is cut at T, when the order at 70% of all came. Everything is learnt from what was known at T,
with `orderplan model train`'s own code, and judged on the orders that came later. So no choice has seen what it is
judged by.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from delay.features import FEATURES, Row, column
from delay.histories import KeptHistory, Settings, Simulation
from delay.logs.booster import booster_library
from delay.metrics import CaseBootstrap, Floats, Interval, auc
from delay.replay import History
from delay.stock.forms import Trees
from delay.stock.learn import EVENT_SHARE, joined, level, numbers_of, past_due_is_late, train
from delay.stock.running import ArtefactModel
from delay.stock.trial import renumbered
from delay.stock.watch import figures
from delay.training import Split, training_sets
from orderplan.demo.samples import WORK_S, samples

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "DELAY_STRUCTURE.md"
ROUNDS: Final = 200
AHEAD_OF_PLANNED, AHEAD_OF_FLAT = 0.10, 0.03
SKILL_MIN, ERROR_MAX = 0.2, 0.05
HEAD: Final = """# What the plan's structure is worth to the delay model

Made by `make delay-structure`. **All orders on this page are simulated** (`orderplan simulate`: real catalogues and
rules; time, customers, systems and people are made up). The figures say what the model does in that world, not how
well it does on anybody's orders; `orderplan model backtest` says that.

Each history is cut at T, when the order at 70% of all came. Models learn from what was known at T, and are judged on
the orders that came later and fell due before the end, at events and at 25, 50, 75 and 90% of the allowed time, before
they are due.

- **default**: what `orderplan model train` makes of the history up to T.
- **planned**: no learning; the longest way that is left by the planned durations, against the time that is left. Ranked
  both as a difference and as a ratio; the better one counts.
- **flat**: the booster of the default model, on the same rows, without the features that need the plan
  (`delay.features.PLAN_FEATURES`); what an event log has is left. **trees** is the same booster with them.

The bar: an AUC of 0.10 more than *planned* and of 0.03 more than *flat*, Brier skill above 0.2, ECE below 0.05.
Intervals are of 95% of drawings of orders.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One seed: figures of the default model, and how far it is ahead."""

    seed: int
    form: str
    orders: int
    points: int
    own: dict[str, Any]
    planned: float
    flat: float
    trees: float
    against_planned: Interval
    against_flat: Interval
    trees_against_flat: Interval

    @property
    def missed(self) -> list[str]:
        """What of the bar does not hold."""
        conditions = {
            "planned": self.against_planned.value >= AHEAD_OF_PLANNED,
            "flat": self.against_flat.value >= AHEAD_OF_FLAT,
            "skill": self.own["brierSkill"] > SKILL_MIN,
            "ECE": self.own["ece"] < ERROR_MAX,
        }
        return [name for name, holds in conditions.items() if not holds]

    def row(self) -> str:
        return (
            f"| {self.seed} | {self.form} | {self.orders:,} | {self.points:,} | {self.own['auc']:.3f} | "
            f"{self.planned:.3f} | {_shown(self.against_planned)} | {self.flat:.3f} | {_shown(self.against_flat)} | "
            f"{self.trees:.3f} | {_shown(self.trees_against_flat)} | {self.own['brierSkill']:.3f} | "
            f"{self.own['ece']:.3f} | {', '.join(self.missed) or 'none'} |"
        )


def _shown(each: Interval) -> str:
    return f"{each.value:+.3f} ({each.low:+.3f} to {each.high:+.3f})"


class Until:
    """A history as it was known at a moment."""

    def __init__(self, history: History, until: datetime) -> None:
        self._history = history
        self.releases, self.templates, self.until = history.releases, history.templates, until

    def __iter__(self) -> Iterator[Any]:
        for happening in self._history:
            if happening[1].at >= self.until:
                return
            yield happening


def history_of(orders: int, days: int, seed: int) -> KeptHistory:
    """What `orderplan simulate` makes with these numbers."""
    settings = Settings(orders=orders, days=days, seed=seed, work_s=WORK_S)
    return Simulation(settings, samples(ROOT / "examples")).kept()


def flat(rows: Row) -> Row:
    """The rows with nothing in the columns that need the plan: the booster finds no split in them."""
    kept = rows.copy()
    kept[:, [at for at, feature in enumerate(FEATURES) if feature.needs_plan]] = 0.0
    return kept


def measured(history: History, seed: int, event_share: float = EVENT_SHARE) -> Found:
    """Learn up to T and judge what came later."""
    whole = training_sets(history, seed=seed, event_share=event_share)
    known = Until(history, whole.at)
    judged = whole.test
    inner = training_sets(known, seed=seed, event_share=event_share)
    default = train(known, simulated=True, source="", seed=seed, event_share=event_share, split=inner).artefact
    own = ArtefactModel(default).p_late(renumbered(judged, whole, default))
    with_plan, without = (_boosted(inner, whole, cut, seed) for cut in (lambda rows: rows, flat))
    late, drawn = judged.is_late.astype(np.float64), CaseBootstrap(numbers_of(judged), ROUNDS, seed)
    ratio = column(judged.rows, "planned_left_s") / np.maximum(column(judged.rows, "left_s"), 1.0)
    planned = max(ratio, -column(judged.rows, "planned_slack_s"), key=lambda said: auc(late, said))
    share = float(whole.train.is_late.mean())
    return Found(
        seed,
        default.form,
        len(np.unique(judged.order_ids)),
        len(judged),
        figures(late, own, share),
        auc(late, planned),
        auc(late, without),
        auc(late, with_plan),
        _ahead(drawn, late, own, planned),
        _ahead(drawn, late, own, without),
        _ahead(drawn, late, with_plan, without),
    )


def _boosted(inner: Split, whole: Split, cut: Any, seed: int) -> Floats:
    """What trees say of the judged orders that learnt, and were levelled, as the default model is."""

    def only(part: Any) -> Any:
        members = {name: getattr(part, name) for name in type(part).__dataclass_fields__}
        return type(part)(**members | {"rows": cut(part.rows)})

    first, second = only(inner.train), only(inner.test)
    tried = level(Trees.fit(first, seed), second)
    trees = Trees.fit(joined(first, second), seed)
    judged = whole.test
    # Categories have the numbers of what was learnt from.
    rows = judged.rows.copy()
    for name, texts in whole.schema.categories.items():
        numbers = [inner.schema.number(name, text) for text in texts]
        column(rows, name)[:] = [numbers[int(each)] if each >= 0 else -1.0 for each in column(judged.rows, name)]
    return past_due_is_late(rows, tried(trees.p_late(cut(rows))))


def _ahead(drawn: CaseBootstrap, late: Floats, one: Floats, other: Floats) -> Interval:
    return drawn.interval(auc(late, one) - auc(late, other), drawn.aucs(late, one) - drawn.aucs(late, other))


def page(found: Sequence[Found], orders: int, days: int) -> str:
    """The page of docs."""
    missed = sorted({name for each in found for name in each.missed})
    said = f"Missed: {', '.join(missed)}." if missed else "Nothing is missed."
    lines = [
        HEAD,
        f"{orders:,} orders in {days} days, seeds {', '.join(str(each.seed) for each in found)}. {said}",
        "",
        "| Seed | Form | Orders | Points | AUC | planned | ahead of it | flat | ahead of it | trees | ahead of flat | "
        "Skill | ECE | Missed |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(each.row() for each in found),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.delay_structure")
    parser.add_argument("--seeds", default="1,2,3", help="numbers with commas")
    parser.add_argument("--orders", type=int, default=6_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    if booster_library() is None:
        sys.exit("lightgbm is needed: make install")
    found = []
    for seed in given.seeds.split(","):
        began = time.monotonic()
        found.append(measured(history_of(given.orders, given.days, int(seed)), int(seed)))
        print(found[-1].row(), f"{time.monotonic() - began:.0f} s", flush=True)
    given.out.write_text(page(found, given.orders, given.days), encoding="utf-8")
    if any(each.missed for each in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
