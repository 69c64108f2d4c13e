"""The default model, from a history: each form is tried, and the simplest stays unless another is better for certain.

The history is cut in three by time. The forms learn from the first part, are levelled (recalibrated) by the second and
judged on the third, so that nothing is judged by what it has seen. The chosen form is then learnt anew from all three,
with the level that the second and third together show: what is newest counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from delay.features import Row, column
from delay.metrics import Floats, Ints
from delay.recalibration import Recalibration, recalibrated
from delay.replay import History
from delay.stock.artefact import Artefact
from delay.stock.forms import FORMS, Form, forms_for
from delay.stock.rule import verdict
from delay.stock.watch import bins_of, figures
from delay.training import Split, TooLittleHistory, TrainingSet, training_sets

EVENT_SHARE: Final = 0.25
"""Of the events of an order points are made; ticks always are. All of them would take four times as long."""
JUDGED_SHARE: Final = 0.5
"""Of the later orders."""
CHOICE_OUTCOMES_MIN: Final = 40


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, and what was decided on the way, in words."""

    artefact: Artefact
    steps: tuple[str, ...]


def train(
    history: History,
    *,
    simulated: bool,
    source: str,
    seed: int = 1,
    event_share: float = EVENT_SHARE,
    forms: tuple[str, ...] = tuple(FORMS),
    split: Split | None = None,
) -> Trained:
    """Learn the default model.

    Args:
        history: read twice.
        simulated: whether its orders never were; the model says so for ever.
        source: where it comes from, for the lineage.
        seed: the same seed and history give the same bytes.
        event_share: of the events become points.
        forms: that may be chosen.
        split: the training sets of the history with the same seed and share, if they are at hand.

    Raises:
        TooLittleHistory: nothing can be learnt, or nothing judged.
    """
    split = split or training_sets(history, seed=seed, event_share=event_share)
    levelled, judged = halves(split.test)
    orders = len(np.unique(split.train.order_ids))
    names = [name for name in forms_for(orders) if name in forms]
    if not names:
        raise TooLittleHistory(f"{orders} closed orders are too few for {', '.join(forms)}")
    late = judged.is_late.astype(np.float64)
    cases = numbers_of(judged)
    said: dict[str, Floats] = {}
    for name in names:
        form = fitted(name, split.train, seed)
        said[name] = level(form, levelled)(form.p_late(judged.rows))
    chosen, steps = names[0], []
    for name in names[1:]:
        found = verdict(late, said[chosen], said[name], cases, margin=0.0, outcomes_min=CHOICE_OUTCOMES_MIN, seed=seed)
        steps.append(f"{name} against {chosen}: {found.reason}")
        if found.is_better:
            chosen = name
    everything = joined(split.train, split.test)
    form = fitted(chosen, everything, seed)
    # Of a model that has not seen these orders: the one that was judged.
    tried = fitted(chosen, split.train, seed)
    recalibration = level(tried, split.test)
    share = float(split.train.is_late.mean())
    # What is watched later are ticks.
    ticks, late_ticks = everything.tick > 0, judged.tick > 0
    signature: dict[str, Any] = {
        "schema": split.schema.to_dict(),
        "simulated": simulated,
        "source": source,
        "seed": seed,
        "trainedFrom": _moment(float(everything.at.min())),
        "trainedUntil": history.until.isoformat(),
        "splitAt": split.at.isoformat(),
        "orders": {
            "learnt": orders,
            "levelled": len(np.unique(levelled.order_ids)),
            "judged": len(np.unique(judged.order_ids)),
        },
        "points": len(everything),
        "metrics": figures(late, said[chosen], share),
        "candidates": {name: _short(figures(late, found, share)) for name, found in said.items()},
        "chosen": steps,
        "recalibration": recalibration.to_dict(),
        "metricsAtTicks": figures(late[late_ticks], said[chosen][late_ticks], share),
        "bins": bins_of(everything.rows[ticks], recalibration(form.p_late(everything.rows[ticks]))),
    }
    return Trained(Artefact(chosen, signature, form.to_dict()), tuple(steps))


def fitted(name: str, learnt: TrainingSet, seed: int) -> Form:
    """A form, learnt from the points."""
    return FORMS[name].fit(learnt, seed)


def level(form: Form, part: TrainingSet) -> Recalibration:
    """What brings the form to the level of orders that it has not learnt from."""
    # An order starts where its elapsed time began.
    starts = part.at - column(part.rows, "elapsed_s")
    return recalibrated(form.p_late(part.rows), part.is_late.astype(np.float64), numbers_of(part), starts)


def numbers_of(part: TrainingSet) -> Ints:
    """A number for each order."""
    found: Ints = np.unique(part.order_ids, return_inverse=True)[1].astype(np.int64)
    return found


def halves(part: TrainingSet) -> tuple[TrainingSet, TrainingSet]:
    """The orders that came earlier, and those that came later.

    Raises:
        TooLittleHistory: one of them would be empty.
    """
    starts = part.at - column(part.rows, "elapsed_s")
    names, first = np.unique(part.order_ids, return_index=True)
    if len(names) < 2:
        raise TooLittleHistory(f"{len(names)} later order has to level a model and to judge it")
    in_time = names[np.argsort(starts[first], kind="stable")]
    later = np.isin(part.order_ids, in_time[int(len(in_time) * (1 - JUDGED_SHARE)) :])
    return _where(part, ~later), _where(part, later)


def _where(part: TrainingSet, some: Any) -> TrainingSet:
    return TrainingSet(*(getattr(part, name)[some] for name in TrainingSet.__dataclass_fields__))


def joined(one: TrainingSet, other: TrainingSet) -> TrainingSet:
    """Both together."""
    names = TrainingSet.__dataclass_fields__
    return TrainingSet(*(np.concatenate([getattr(one, name), getattr(other, name)]) for name in names))


def _short(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("auc", "brier", "brierSkill", "ece")}


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def past_due_is_late(rows: Row, p_late: Floats) -> Floats:
    """Nothing needs to be estimated once the due date is over."""
    found: Floats = np.where(column(rows, "left_s") <= 0, 1.0, p_late)
    return found
