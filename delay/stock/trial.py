"""A model held against the forms of the stock model, on the orders of a history that came after all that was learnt.

The cuts are those of `delay.stock.learn`: the forms learn from the first part and are levelled by the second, and all
are judged on the third. A model that was trained on the history itself may have seen that one; the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from delay.features import column
from delay.loading import load_model
from delay.metrics import CaseBootstrap, Floats, auc, worklist
from delay.model import checked
from delay.replay import History, closed_orders
from delay.stock.artefact import Artefact
from delay.stock.forms import forms_for
from delay.stock.learn import EVENT_SHARE, fitted, halves, level, numbers_of
from delay.stock.proof import check_probabilities
from delay.stock.rule import ROUNDS, verdict
from delay.stock.running import ArtefactModel
from delay.stock.watch import by_tick, figures
from delay.training import Split, TrainingSet, later_snapshots, training_sets
from domain.errors import BadDocument

HISTORY_MAX: Final = 500
"""Closed orders that a class learns from, the newest: as many as in the predictor."""
BATCH: Final = 1_000
_MODEL: Final = "model"
WORSE_THAN_CHANCE: Final = (
    "The model ranks worse than chance (an AUC below 0.5): see whether its columns stand in the order of the schema, "
    "whether it gives the probability of late and not of in time, and whether a label was among its features."
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A report: `models` by name, the tried one, of this `digest`, as `model`; `against` the verdicts on it."""

    split_at: str
    simulated: bool
    source: str
    digest: str | None
    seed: int
    orders: Mapping[str, int]
    has_seen: bool
    models: Mapping[str, Mapping[str, Any]]
    against: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "splitAt": self.split_at,
            "simulated": self.simulated,
            "source": self.source,
            "digest": self.digest,
            "seed": self.seed,
            "orders": dict(self.orders),
            "hasSeenTheseOrders": self.has_seen,
            "models": {name: dict(each) for name, each in self.models.items()},
            "against": {name: dict(each) for name, each in self.against.items()},
        }


def trial(
    history: History,
    artefact: Artefact | None,
    *,
    simulated: bool,
    source: str,
    seed: int = 1,
    event_share: float = EVENT_SHARE,
) -> Trial:
    """Try a model, or without one only the forms of the stock model.

    Args:
        history: read several times.
        artefact: the model.
        simulated: whether its orders never were.
        source: where it comes from.
        seed: of the choice of points and of the drawings.
        event_share: of the events become points.

    Raises:
        TooLittleHistory: a part would be empty.
        BadDocument: the model cannot be run here.
    """
    # What cannot be run is refused before the history is read.
    of_rows = ArtefactModel(artefact) if artefact is not None and artefact.form != "class" else None
    split = training_sets(history, seed=seed, event_share=event_share)
    levelled, judged = halves(split.test)
    said: dict[str, Floats] = {}
    if artefact is not None:
        if of_rows is None:
            said[_MODEL] = _of_class(artefact, history, split, judged, seed, event_share)
        else:
            # Its own numbers for the categories.
            said[_MODEL] = _of_rows(of_rows, renumbered(judged, split, artefact))
    orders = len(np.unique(split.train.order_ids))
    for name in forms_for(orders):
        form = fitted(name, split.train, seed)
        said[name] = level(form, levelled)(form.p_late(judged.rows))
    late, cases = judged.is_late.astype(np.float64), numbers_of(judged)
    share = float(split.train.is_late.mean())
    drawn = CaseBootstrap(cases, ROUNDS, seed)
    return Trial(
        split.at.isoformat(),
        simulated,
        source,
        artefact.digest if artefact is not None else None,
        seed,
        {"learnt": orders, "judged": len(np.unique(judged.order_ids)), "points": len(judged)},
        artefact is not None and _has_seen(artefact, split.at),
        {name: _figures(late, found, share, judged, drawn) for name, found in said.items()},
        {
            name: verdict(late, found, said[_MODEL], cases, margin=0.0, outcomes_min=1, seed=seed).to_dict()
            for name, found in said.items()
            if _MODEL in said and name != _MODEL
        },
    )


def _has_seen(artefact: Artefact, split_at: datetime) -> bool:
    until = artefact.signature.get("trainedUntil")
    return isinstance(until, str) and datetime.fromisoformat(until) > split_at


def renumbered(judged: TrainingSet, split: Split, artefact: Artefact) -> Floats:
    """The rows of a part with the categories as the artefact numbers them."""
    rows = judged.rows.copy()
    for name, texts in split.schema.categories.items():
        numbers = [artefact.schema.number(name, text) for text in texts]
        values = column(judged.rows, name).astype(int)
        column(rows, name)[:] = [numbers[value] if value >= 0 else -1.0 for value in values]
    return rows


def _of_rows(model: ArtefactModel, rows: Floats) -> Floats:
    """Raises BadDocument for what anybody's model may raise, and for what are no probabilities."""
    try:
        found = model.p_late(rows)
        check_probabilities(found, len(rows))
        return found
    except BadDocument:
        raise
    except Exception as error:
        reason = f"fails on {len(rows):,} rows: {type(error).__name__}: {str(error)[:200]}"
        raise BadDocument(reason, path="body") from error


def _of_class(
    artefact: Artefact, history: History, split: Split, judged: TrainingSet, seed: int, event_share: float
) -> Floats:
    model = load_model(str(artefact.body["address"]))
    known = [each for each in closed_orders(history) if each.ended_at < split.at]
    model.fit(known[-HISTORY_MAX:])
    wanted = set(judged.order_ids.tolist())
    found: dict[tuple[str, float, float], float] = {}
    batch: list[tuple[Any, float]] = []

    def answered(some: Sequence[tuple[Any, float]]) -> None:
        answers = model.predict([snapshot for snapshot, _ in some])
        for (snapshot, tick), answer in zip(some, answers, strict=True):
            found[snapshot.order_id, snapshot.now.timestamp(), tick] = checked(answer).p_late

    for point in later_snapshots(history, split.at, seed=seed, event_share=event_share):
        if point[0].order_id in wanted:
            batch.append(point)
        if len(batch) == BATCH:
            answered(batch)
            batch.clear()
    if batch:
        answered(batch)
    keys = zip(judged.order_ids.tolist(), judged.at.tolist(), judged.tick.tolist(), strict=True)
    return np.array([found[key] for key in keys])


def _figures(late: Floats, p_late: Floats, share: float, judged: TrainingSet, drawn: CaseBootstrap) -> dict[str, Any]:
    interval = drawn.interval(auc(late, p_late), drawn.aucs(late, p_late))
    half = judged.tick == 0.5
    precision, recall = worklist(late[half], p_late[half])
    found = figures(late, p_late, share)
    found["aucLow"], found["aucHigh"] = _plain(interval.low), _plain(interval.high)
    found |= by_tick(late, p_late, judged.tick)
    found["worklist"] = {"precision": _plain(precision), "recall": _plain(recall)}
    return found


def _plain(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def as_markdown(found: Trial) -> str:
    """A page for people."""
    orders = found.orders
    simulated = " **The orders are simulated.**" if found.simulated else ""
    seen = " **The model may have seen the orders that it is judged on.**" if found.has_seen else ""
    lines = [
        "## Backtest of a delay model",
        "",
        f"From {found.source}: learnt from {orders['learnt']:,} orders that had ended by {found.split_at[:16]}, judged "
        f"on {orders['judged']:,} later ones at {orders['points']:,} points.{simulated}{seen}",
        "",
        "| Model | AUC (95% of orders drawn) | Brier | Skill | ECE | at 25% | 50% | 75% | 90% | worklist |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found.models.items():
        ticks = " | ".join(shown(value) for value in each["aucByTick"].values())
        lines.append(
            f"| {name} | {shown(each['auc'])} ({shown(each['aucLow'])} to {shown(each['aucHigh'])}) | "
            f"{shown(each['brier'], 4)} | {shown(each['brierSkill'])} | {shown(each['ece'])} | {ticks} | "
            f"{shown(each['worklist']['precision'], 2)} |"
        )
    tried = found.models.get(_MODEL)
    if tried is not None and (tried["auc"] or 0.5) < 0.5:
        lines += ["", f"**{WORSE_THAN_CHANCE}**"]
    for name, each in found.against.items():
        lines += ["", f"Against *{name}*: {'better' if each['isBetter'] else 'not better'}; {each['reason']}."]
    return "\n".join(lines) + "\n"


def shown(value: float | None, digits: int = 3) -> str:
    """A figure for a table."""
    return f"{value:.{digits}f}" if value is not None else "-"
