"""Which models score: the registry's champion, and shadows that score beside it and are shown to nobody.

The registry is asked again every few seconds. What models say at ticks of an order's allowed time is kept for all of
them, to be held against what becomes true (`persistence/ticks.py`): a few rows an order, however often it is scored.
Shadows have processes and time limits of their own and are asked beside the work: what they take delays no score.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import structlog

from actors.batch import Batch
from actors.model_process import ModelProcess
from actors.model_watch import rolling
from actors.scoring import OwnModel, Scorer
from delay.critical_path import NAME as BUILTIN
from delay.critical_path import CriticalPath
from delay.features import Schema
from delay.model import ClosedOrder, Prediction
from delay.snapshot import Snapshot
from delay.stock.artefact import Artefact
from delay.stock.frame import numbered
from delay.stock.watch import Shift
from domain.errors import BadDocument
from persistence import models, ticks
from persistence.database import Pool, is_unavailable
from persistence.models import ActiveModel
from persistence.ticks import TickRow

log = structlog.get_logger(__name__)

POLL_S: Final = 5.0
TICKS: Final = (0, 25, 50, 75, 90)
"""Per cent of the allowed time; 0 is the first score."""
WAITING_MAX: Final = 20
"""Batches that wait for shadows; the oldest is dropped, and counted."""
SEEN_MAX: Final = 5_000
"""Rows after which older ones count half for the shift."""
JOINED_TOGETHER: Final = 1_000

History = Callable[[], Awaitable[list[ClosedOrder]]]
MakeProcess = Callable[[dict[str, Any]], OwnModel]


def process_of(document: dict[str, Any]) -> OwnModel:
    """A process for a model of the registry."""
    return ModelProcess("", document)


def tick_of(snapshot: Snapshot) -> int | None:
    """The last tick that the order has passed; None when its due date is over."""
    allowed_s = (snapshot.due_at - snapshot.created_at).total_seconds()
    elapsed_s = (snapshot.now - snapshot.created_at).total_seconds()
    if allowed_s <= 0 or elapsed_s >= allowed_s:
        return None
    return max(tick for tick in TICKS if tick <= 100 * elapsed_s / allowed_s)


class ModelDesk:
    """Keeps champion and shadows as the registry has them, and what they say at ticks."""

    def __init__(
        self,
        pool: Pool,
        tenant: str,
        scorer: Scorer,
        builtin: CriticalPath,
        history: History,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        make_process: MakeProcess = process_of,
        timeout_s: float = 5.0,
    ) -> None:
        self._pool = pool
        self._tenant = tenant
        self._scorer = scorer
        self._builtin = builtin
        self._history = history
        self._clock = clock
        self._monotonic = monotonic
        self._make_process = make_process
        self._timeout_s = timeout_s
        self._configured = scorer.own_and_name
        """The model that the server was started with: champion while the registry has none."""
        self._asked_at = float("-inf")
        scorer.tally.since = clock()
        self._champion: ActiveModel | None = None
        self._unread: dict[str, str] = {}
        """Models at work that cannot be read here, and why."""
        self._shadows: dict[ActiveModel, Scorer] = {}
        self._schema: Schema | None = None
        self._shift: Shift | None = None
        self._waiting: deque[tuple[Batch, list[int], list[Prediction]]] = deque(maxlen=WAITING_MAX)
        self._working: asyncio.Task[None] | None = None
        self.missed = 0
        """Batches about which some shadow has said nothing: too many waited, or the database was away."""
        self.errors_of_gone = 0
        """Errors of shadows that score no more."""
        self.unusable = 0
        """Models of the registry that cannot be read here."""
        self.figures: list[dict[str, Any]] = []

    async def refresh(self) -> None:
        """Take up what the registry says, at most every few seconds."""
        if self._monotonic() - self._asked_at < POLL_S:
            return
        self._asked_at = self._monotonic()
        found = await models.active(self._pool, self._tenant)
        champion = next((each for each in found if each.stage == "champion"), None)
        if champion != self._champion:
            await self._crown(champion)
        shadows = {each for each in found if each.stage == "shadow"}
        for gone in self._shadows.keys() - shadows:
            scorer = self._shadows.pop(gone)
            self.errors_of_gone += scorer.model_errors
            await scorer.close()
        for new in sorted(shadows - self._shadows.keys()):
            self._shadows[new] = await self._scorer_of(new)
        self._unread = {each.name: self._unread[each.name] for each in found if each.name in self._unread}

    async def _crown(self, champion: ActiveModel | None) -> None:
        self._schema = self._shift = None
        artefact = await self._artefact(champion) if champion is not None else None
        if champion is None or artefact is None:
            own, name = self._configured
            history = await self._history() if own is not None else ()
            await self._scorer.adopt(own, name=name, reads_frames=False, history=history, now=self._clock())
        else:
            own = self._make_process(await models.read_document(self._pool, self._tenant, champion.name))
            is_class = artefact.form == "class"
            await self._scorer.adopt(
                own,
                name=champion.name,
                version=champion.digest[:12],
                reads_frames=not is_class,
                history=await self._history() if is_class else (),
                now=self._clock(),
            )
            if not is_class:
                self._schema = artefact.schema
                self._shift = Shift(artefact.signature.get("bins", {}))
        # Only now: if the database went away above, it is tried again.
        self._champion = champion
        log.info("another delay model scores", model=champion.name if champion is not None else BUILTIN)

    async def _scorer_of(self, shadow: ActiveModel) -> Scorer:
        made = Scorer(self._builtin, name=shadow.name, monotonic=self._monotonic, timeout_s=self._timeout_s)
        artefact = await self._artefact(shadow)
        if artefact is not None:
            is_class = artefact.form == "class"
            await made.adopt(
                self._make_process(await models.read_document(self._pool, self._tenant, shadow.name)),
                name=shadow.name,
                version=shadow.digest[:12],
                reads_frames=not is_class,
                history=await self._history() if is_class else (),
                now=self._clock(),
            )
        return made

    async def _artefact(self, model: ActiveModel) -> Artefact | None:
        document = await models.read_document(self._pool, self._tenant, model.name)
        self._unread.pop(model.name, None)
        try:
            return await asyncio.to_thread(Artefact.read, document)
        except BadDocument as error:
            self._unread[model.name] = f"it cannot be used here: {error.reason}"
            # Registered by a release with other features: it has to be trained anew.
            self.unusable += 1
            log.warning("a delay model cannot be used here", model=model.name, reason=str(error))
            return None

    async def keep(self, batch: Batch, predictions: Sequence[Prediction], places: list[int], at: list[int]) -> None:
        """Keep what was said at ticks, and have the shadows say theirs.

        Args:
            batch: that was scored.
            predictions: one for each snapshot.
            places: of the snapshots that have passed a tick since their last score.
            at: the ticks.
        """
        if not places:
            return
        part = batch.some(places)
        said = [predictions[place] for place in places]
        builtin = await part.builtin(range(len(places)))
        rows = _rows(part, at, [(BUILTIN, each) for each in builtin])
        rows += _rows(part, at, [(each.model, each) if each.model != BUILTIN else None for each in said])
        await ticks.put_ticks(self._pool, self._tenant, rows)
        if self._shadows or self._shift is not None:
            self.missed += len(self._waiting) == WAITING_MAX
            self._waiting.append((part, at, said))
            if self._working is None:
                self._working = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                part, at, said = self._waiting.popleft()
                await self._note_shift(part, at, said)
                for shadow, scorer in list(self._shadows.items()):
                    answers = await scorer.ask(part)
                    scorer.tally.note(answers)
                    rows = _rows(part, at, [(shadow.name, each) if each is not None else None for each in answers])
                    if rows:
                        await ticks.put_ticks(self._pool, self._tenant, rows)
        except Exception as error:
            # What shadows say is no loss to anybody; the next batch finds them again.
            self.missed += 1
            if is_unavailable(error):
                log.warning("the database is away, shadows are not heard", error=type(error).__name__)
            else:
                log.exception("shadows were not asked")
        finally:
            self._working = None

    async def _note_shift(self, part: Batch, at: list[int], said: list[Prediction]) -> None:
        shift, schema, champion = self._shift, self._schema, self._champion
        if shift is None or schema is None or champion is None:
            return
        frame, places = await part.frame()
        counted = [row for row, place in enumerate(places) if at[place] > 0 and said[place].model == champion.name]
        if counted:
            shift.add(numbered(frame, schema)[counted], np.array([said[places[row]].p_late for row in counted]))
            if shift.seen > SEEN_MAX:
                shift.fade()

    async def idle(self) -> None:
        """Return when the shadows have said what they were asked."""
        while self._working is not None:
            await asyncio.wait([self._working])

    async def look(self, now: datetime) -> None:
        """Join outcomes that nobody was told of, and work the figures out anew."""
        await ticks.join_missed(self._pool, self._tenant, now, JOINED_TOGETHER)
        waiting = await ticks.waiting(self._pool, self._tenant)
        active = [*([self._champion] if self._champion is not None else []), *sorted(self._shadows)]
        named = [*((each.name, each.stage) for each in active), (BUILTIN, "builtIn")]
        self.figures = [
            {"model": name, "stage": stage, "waiting": waiting.get(name, 0)}
            | await rolling(self._pool, self._tenant, name)
            for name, stage in named
        ]

    def shift(self) -> dict[str, float]:
        """How far each feature, and the score, has moved since the champion's training."""
        return self._shift.indices() if self._shift is not None else {}

    def at_work(self, now: datetime) -> list[dict[str, Any]]:
        """What each model that is to score has done since it came to: `model`, `stage` and `Scorer.standing`.

        `stage` is `champion`, `shadow`, or `configured` for the model that the server was started with.
        """
        found: list[dict[str, Any]] = []
        if self._champion is not None and self._champion.name in self._unread:
            found.append(_unread(self._champion, self._unread[self._champion.name]))
        own, name = self._scorer.own_and_name
        if own is not None:
            stage = "configured" if own is self._configured[0] else "champion"
            found.append({"model": name, "stage": stage} | self._scorer.standing(now))
        for shadow, scorer in sorted(self._shadows.items()):
            if shadow.name in self._unread:
                found.append(_unread(shadow, self._unread[shadow.name]))
            else:
                found.append({"model": shadow.name, "stage": shadow.stage} | scorer.standing(now))
        return found

    def stats(self) -> dict[str, Any]:
        """Counters for metrics."""
        return {
            "shadows": len(self._shadows),
            "shadowErrors": self.errors_of_gone + sum(each.model_errors for each in self._shadows.values()),
            "atWork": self.at_work(self._clock()),
            "shadowsMissed": self.missed,
            "modelsUnusable": self.unusable,
            "models": self.figures,
            "shift": self.shift(),
        }

    async def close(self) -> None:
        """End the shadows."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])
        for each in self._shadows.values():
            await each.close()


def _rows(part: Batch, at: list[int], said: Sequence[tuple[str, Prediction] | None]) -> list[TickRow]:
    return [
        TickRow(snapshot.order_id, tick, each[0], snapshot.now, each[1].p_late, snapshot.due_at)
        for snapshot, tick, each in zip(part.snapshots, at, said, strict=True)
        if each is not None
    ]


def _unread(model: ActiveModel, cause: str) -> dict[str, Any]:
    counts = dict.fromkeys(("asked", "unanswered", "refused", "errors"), 0)
    said = {"since": None, "isLearning": False, "restingUntil": None, "lastCause": cause}
    return {"model": model.name, "stage": model.stage, **counts, **said}
