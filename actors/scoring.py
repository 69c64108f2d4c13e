"""Who answers a batch of snapshots: the model of one's own while it behaves, else the built-in one.

A model that is slow, breaks or says what cannot be is left out for a while, longer each time. Whatever it does, every
snapshot gets a prediction that can be used.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from actors.batch import Batch
from actors.model_process import ModelFailed
from delay.critical_path import CriticalPath
from delay.features import FEATURES
from delay.model import ClosedOrder, Prediction, UnusablePrediction, checked
from delay.snapshot import Snapshot
from delay.stock.explained import Explanation
from delay.stock.frame import Frame

log = structlog.get_logger(__name__)

PREDICT_TIMEOUT_S: Final = 5.0
FIT_TIMEOUT_S: Final = 120.0
"""For starting, importing and learning, in which time the built-in model answers."""
REST_S: Final = 30.0
REST_MAX_S: Final = 1800.0
CAUSE_MAX: Final = 200
"""Characters kept of why a model failed: the name of an exception is its model's."""


class OwnModel(Protocol):
    """A model of one's own behind a time limit (`actors/model_process.py`)."""

    @property
    def is_running(self) -> bool: ...
    async def ask(self, method: str, argument: Any, timeout_s: float) -> Any: ...
    async def close(self) -> None: ...


@dataclass(slots=True)
class Tally:
    """What one model has done since it came to answer."""

    asked: int = 0
    """Snapshots that it was to answer."""
    unanswered: int = 0
    """Those of them about which it said nothing that can be used."""
    refused: int = 0
    """Predictions that cannot be."""
    errors: int = 0
    """Time-outs, breaks and exceptions, and batches with a refused prediction."""
    last_cause: str | None = None
    """Of the last error: which method, what happened, the type of an exception; no value of an order."""
    since: datetime | None = None

    def note(self, answers: Sequence[Prediction | None]) -> None:
        """Count a batch."""
        self.asked += len(answers)
        self.unanswered += answers.count(None)


class Scorer:
    """Predictions for snapshots, always."""

    def __init__(
        self,
        builtin: CriticalPath,
        own: OwnModel | None = None,
        *,
        name: str = "",
        monotonic: Callable[[], float],
        timeout_s: float = PREDICT_TIMEOUT_S,
    ) -> None:
        """Nothing is started yet.

        Args:
            builtin: answers when the own model does not.
            own: the deployment's model, if it has one.
            name: stands in scores whose model gives no name.
            monotonic: seconds that only grow.
            timeout_s: how long the own model may take for a batch.
        """
        self._builtin = builtin
        self._own = own
        self._name = name
        self._version = ""
        self._reads_frames = False
        self._monotonic = monotonic
        self._timeout_s = timeout_s
        self._history: Sequence[ClosedOrder] = ()
        self._teaching: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        """A process answers one question after the other: whoever asks what if does not cut in."""
        self._rest_until = 0.0
        self._rest_s = REST_S
        self.tally = Tally()
        """Of the present own model, or of one that could not be taken."""
        self.fallbacks = 0
        """Snapshots that the built-in model answered in the place of the own one, whichever it was."""
        self.model_errors = 0
        """Time-outs, breaks and exceptions of the own model."""
        self.refused = 0
        """Predictions of the own model that cannot be."""

    @property
    def builtin(self) -> CriticalPath:
        """The model that answers when the own one does not."""
        return self._builtin

    @property
    def own_and_name(self) -> tuple[OwnModel | None, str]:
        """The own model and what stands in its scores."""
        return self._own, self._name

    @property
    def fallback_share(self) -> float | None:
        """The share that the built-in model answered of what the present own model was asked; None without any."""
        return self.tally.unanswered / self.tally.asked if self._own is not None and self.tally.asked else None

    @property
    def is_resting(self) -> bool:
        """Whether the own model is left out for the time being."""
        return self._own is not None and self._monotonic() < self._rest_until

    def standing(self, now: datetime) -> dict[str, Any]:
        """What the present own model has done since it came to answer, until when it is left out, and why."""
        rests_s = self._rest_until - self._monotonic()
        is_resting = self._own is not None and rests_s > 0
        return {
            "since": self.tally.since.isoformat() if self.tally.since is not None else None,
            "asked": self.tally.asked,
            "unanswered": self.tally.unanswered,
            "refused": self.tally.refused,
            "errors": self.tally.errors,
            "isLearning": self._teaching is not None,
            "restingUntil": (now + timedelta(seconds=rests_s)).isoformat() if is_resting else None,
            "lastCause": self.tally.last_cause,
        }

    async def fit(self, history: Sequence[ClosedOrder]) -> None:
        """Teach the built-in model now, the own one beside the work."""
        await asyncio.to_thread(self._builtin.fit, history)
        self._history = history if self._own is not None else ()
        self._teach()

    async def adopt(
        self,
        own: OwnModel | None,
        *,
        name: str = "",
        version: str = "",
        reads_frames: bool = True,
        history: Sequence[ClosedOrder] = (),
        now: datetime | None = None,
    ) -> None:
        """Have another own model from now on, or none; the one before is ended.

        Args:
            own: the model.
            name: stands in its scores, whatever it says of itself.
            version: likewise.
            reads_frames: it is given features, not snapshots.
            history: that it learns from.
            now: from when on it is counted.
        """
        await self.close()
        self._own, self._name, self._version, self._reads_frames = own, name, version, reads_frames
        self._history = history
        self._rest_until, self._rest_s = 0.0, REST_S
        # What the model before did says nothing of this one.
        self.tally = Tally(since=now)
        self._teach()

    def _teach(self) -> None:
        if self._own is not None and not self.is_resting and self._teaching is None:
            self._teaching = asyncio.create_task(self._taught(self._own))

    async def _taught(self, own: OwnModel) -> None:
        try:
            await own.ask("fit", self._history, FIT_TIMEOUT_S)
        except ModelFailed as error:
            self._failed(str(error))
        finally:
            self._teaching = None

    async def predict(self, snapshots: Sequence[Snapshot] | Batch, *, is_counted: bool = True) -> list[Prediction]:
        """One prediction for each snapshot, in their order.

        Args:
            snapshots: any number.
            is_counted: they are plans in flight. What somebody merely asks about is not: the share of plans that the
                own model does not answer for would move with how often it is asked.
        """
        batch = snapshots if isinstance(snapshots, Batch) else Batch(snapshots, self._builtin)
        answers = await self.ask(batch)
        missing = [at for at, answer in enumerate(answers) if answer is None]
        if self._own is not None and is_counted:
            self.tally.note(answers)
            self.fallbacks += len(missing)
        for at, answer in zip(missing, await batch.builtin(missing), strict=True):
            answers[at] = answer
        return [answer for answer in answers if answer is not None]

    async def ask(self, batch: Batch) -> list[Prediction | None]:
        """What the own model says of each snapshot, None where it says nothing that can be used."""
        nothing: list[Prediction | None] = [None] * len(batch.snapshots)
        if self._own is None:
            return nothing
        if not self._reads_frames:
            return await self._ask(self._own, batch.snapshots, len(batch.snapshots))
        frame, places = await batch.frame()
        for at, answer in zip(places, await self._ask(self._own, frame, len(places)), strict=True):
            nothing[at] = answer
        return nothing

    async def explain(self, snapshot: Snapshot) -> tuple[Explanation, Frame] | None:
        """What the features of a snapshot do to its risk as the own model has it, and the features; None where it does
        not say.
        """
        own = self._own
        if own is None or not self._reads_frames:
            return None
        frame, places = await Batch([snapshot], self._builtin).frame()
        async with self._one_at_a_time:
            is_ready = not self.is_resting and self._teaching is None and own is self._own and own.is_running
            if not places or not is_ready:
                return None
            try:
                answers = await own.ask("explain", frame, self._timeout_s)
            except ModelFailed as error:
                self._failed(str(error))
                return None
        found = answers[0] if isinstance(answers, list) and len(answers) == 1 else None
        return (found, frame) if isinstance(found, Explanation) and _can_be(found) else None

    async def _ask(self, own: OwnModel, given: Any, count: int) -> list[Prediction | None]:
        async with self._one_at_a_time:
            return await self._ask_now(own, given, count)

    async def _ask_now(self, own: OwnModel, given: Any, count: int) -> list[Prediction | None]:
        nothing: list[Prediction | None] = [None] * count
        if self.is_resting or self._teaching is not None or own is not self._own:
            return nothing
        if not own.is_running:
            self._teach()
            return nothing
        try:
            answers = await own.ask("predict", given, self._timeout_s)
        except ModelFailed as error:
            self._failed(str(error))
            return nothing
        if len(answers) != count:
            self._failed(f"{len(answers)} predictions for {count} snapshots")
            return nothing
        usable = [self._usable(answer) for answer in answers]
        refused = usable.count(None)
        if refused:
            self.refused += refused
            self.tally.refused += refused
            self._failed(f"{refused} of {count} predictions cannot be")
        else:
            self._rest_s = REST_S
        return usable

    def _usable(self, answer: Any) -> Prediction | None:
        try:
            prediction = checked(answer)
        except UnusablePrediction:
            return None
        if self._version:
            return replace(prediction, model=self._name, version=self._version)
        return prediction if prediction.model else replace(prediction, model=self._name)

    def _failed(self, reason: str) -> None:
        self.model_errors += 1
        self.tally.errors += 1
        self.tally.last_cause = reason[:CAUSE_MAX]
        self._rest_until = self._monotonic() + self._rest_s
        log.warning("the delay model is left out for a while", model=self._name, reason=reason, rest_s=self._rest_s)
        self._rest_s = min(2 * self._rest_s, REST_MAX_S)

    async def close(self) -> None:
        """End the own model; the built-in one answers from now on."""
        if self._teaching is not None:
            self._teaching.cancel()
            await asyncio.wait([self._teaching])
        # Whoever asks from now on starts nothing: nobody would end it.
        own, self._own = self._own, None
        if own is not None:
            await own.close()


def _can_be(found: Explanation) -> bool:
    return len(found.points) == len(found.values) == len(found.usual) == len(FEATURES) and all(
        math.isfinite(each) for each in (found.base, *found.points)
    )
