"""The report on delay models as Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from delay.pictures import write_pictures
from delay.reasons import in_words_s
from delay.stock.trial import shown
from orderplan.cli.common import UserError, moment
from orderplan.client import Document

SHIFT_FROM: Final = 0.1
"""Indices below are chance, mostly."""


def as_markdown(found: Document) -> str:
    """A page for people."""
    return "\n".join(_lines(found)) + "\n"


def pictured(folder: Path, models: Mapping[str, Any], note: str, page: Path | None) -> str:
    """Draw the pictures of a report; the Markdown that shows them, with ways from where the page is kept.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        names = write_pictures(folder, models, note)
    except OSError as error:
        mend = "make room, or name another folder"
        raise UserError(f"{folder} cannot be written: {error.strerror}", path="--pictures", mend=mend) from error
    way = Path(os.path.relpath(folder, page.parent)) if page is not None else folder
    return "".join(f"\n![{name.removesuffix('.svg')}]({way.as_posix()}/{name})\n" for name in names)


def _lines(found: Document) -> Iterator[str]:
    yield f"# Delay models, {found['at'][:16]} UTC"
    yield ""
    yield f"Champion: {_champion(found)}."
    share = found["fallbackShare"]
    if share is not None and found["answering"]:
        yield f"Since it came to answer, the built-in model answered in its place for {share:.1%} of the scores."
    yield ""
    yield "Each model at ticks of the allowed time (25, 50, 75, 90%), over the newest orders with a known outcome:"
    yield ""
    yield "| Model | Stage | Orders | Late | AUC | Brier | Skill | ECE | Brier when trained | Waiting | Label lag |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for each in found["models"]:
        live, trained = each["live"], each["trained"] or {}
        lag = in_words_s(live["labelLagS"]) if live["labelLagS"] is not None else "-"
        name = each["name"] + (" (trained on SIMULATED orders)" if each["simulated"] else "")
        yield (
            f"| {name} | {each['stage']} | {live['outcomes']:,} | {shown(live['lateShare'], 2)} | {shown(live['auc'])} "
            f"| {shown(live['brier'], 4)} | {shown(live['brierSkill'])} | {shown(live['ece'])} | "
            f"{shown(trained.get('brier'), 4)} | {each['waiting']:,} | {lag} |"
        )
    yield from _at_work(found)
    for each in found["models"]:
        if (against := each["againstChampion"]) is not None:
            verdict = "better" if against["isBetter"] else "not better"
            yield ""
            yield f"*{each['name']}* is {verdict} than the champion: {against['reason']}."
    yield ""
    moved = sorted(((value, name) for name, value in found["shift"].items() if value >= SHIFT_FROM), reverse=True)
    if moved:
        yield "Shifted since the champion's training (population stability index; from 0.25 on train anew):"
        yield ""
        yield from (f"- {name}: {value:.2f}" for value, name in moved)
    elif found["shift"]:
        yield "No feature has shifted since the champion's training."
    for each in found["models"]:
        if each["live"]["reliability"]:
            yield ""
            yield f"What *{each['name']}* said and what was true, in bins of equally many points:"
            yield ""
            yield "| said | " + " | ".join(f"{said:.2f}" for said, _, _ in each["live"]["reliability"]) + " |"
            yield "|---|" + "---|" * len(each["live"]["reliability"])
            yield "| true | " + " | ".join(f"{true:.2f}" for _, true, _ in each["live"]["reliability"]) + " |"


def _champion(found: Document) -> str:
    if found["champion"]:
        return str(found["champion"])
    if found["answering"]:
        return f"none in the registry, {found['answering']} answers, which the server was started with"
    return "none, the built-in model answers"


def _at_work(found: Document) -> Iterator[str]:
    rows = [(each["name"], each["atWork"]) for each in found["models"] if each["stage"] != "builtIn"]
    if (configured := found["configured"]) is not None:
        rows.append((configured["model"], configured))
    if not rows:
        return
    yield ""
    yield "What they were asked since they came to score, in snapshots, and how they stand:"
    yield ""
    yield "| Model | Since (UTC) | Asked | Unanswered | Refused | Errors | Now | Last cause |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, each in rows:
        if each is None:
            yield f"| {name} | - | - | - | - | - | {standing(None)} | - |"
            continue
        counts = " | ".join(f"{each[what]:,}" for what in ("asked", "unanswered", "refused", "errors"))
        since = moment(each["since"])[:16] if each["since"] is not None else "-"
        cause = (each["lastCause"] or "-").replace("|", "/")
        yield f"| {name} | {since} | {counts} | {standing(each)} | {cause} |"


def standing(at_work: Document | None) -> str:
    """In a few words, how a model that is to score stands."""
    if at_work is None:
        return "not taken up by the predictor"
    if at_work["restingUntil"] is not None:
        return f"left out until {moment(at_work['restingUntil'])[11:19]}"
    if at_work["since"] is None:
        return "cannot be used"
    if at_work["isLearning"]:
        return "starts and learns"
    if at_work["unanswered"] < at_work["asked"]:
        return "answers"
    return "has not answered yet" if at_work["asked"] else "not asked yet"
