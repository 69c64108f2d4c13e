"""Who answers a batch of snapshots: the model of one's own while it behaves, else the built-in one.

A model that is slow, breaks or says what cannot be is left out for a while, longer each time. Whatever it does, every
snapshot gets a prediction that can be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import structlog

from actors.model_process import ModelFailed
from delay.critical_path import CriticalPath
from delay.model import ClosedOrder, Prediction, UnusablePrediction, checked
from delay.snapshot import Snapshot

log = structlog.get_logger(__name__)

PREDICT_TIMEOUT_S: Final = 5.0
FIT_TIMEOUT_S: Final = 120.0
"""For starting, importing and learning, in which time the built-in model answers."""
REST_S: Final = 30.0
REST_MAX_S: Final = 1800.0


class OwnModel(Protocol):
    """A model of one's own behind a time limit (`actors/model_process.py`)."""

    @property
    def is_running(self) -> bool: ...
    async def ask(self, method: str, argument: Any, timeout_s: float) -> Any: ...
    async def close(self) -> None: ...


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
        self._monotonic = monotonic
        self._timeout_s = timeout_s
        self._history: Sequence[ClosedOrder] = ()
        self._teaching: asyncio.Task[None] | None = None
        self._rest_until = 0.0
        self._rest_s = REST_S
        self.fallbacks = 0
        """Snapshots that the built-in model answered in the place of the own one."""
        self.model_errors = 0
        """Time-outs, breaks and exceptions of the own model."""
        self.refused = 0
        """Predictions of the own model that cannot be."""

    @property
    def is_resting(self) -> bool:
        """Whether the own model is left out for the time being."""
        return self._own is not None and self._monotonic() < self._rest_until

    async def fit(self, history: Sequence[ClosedOrder]) -> None:
        """Teach the built-in model now, the own one beside the work."""
        await asyncio.to_thread(self._builtin.fit, history)
        self._history = history if self._own is not None else ()
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

    async def predict(self, snapshots: Sequence[Snapshot]) -> list[Prediction]:
        """One prediction for each snapshot, in their order."""
        answers: list[Prediction | None] = [None] * len(snapshots)
        if self._own is not None:
            answers = await self._ask(self._own, snapshots)
        missing = [at for at, answer in enumerate(answers) if answer is None]
        if self._own is not None:
            self.fallbacks += len(missing)
        if missing:
            built = await asyncio.to_thread(self._builtin.predict, [snapshots[at] for at in missing])
            for at, answer in zip(missing, built, strict=True):
                answers[at] = answer
        return [answer for answer in answers if answer is not None]

    async def _ask(self, own: OwnModel, snapshots: Sequence[Snapshot]) -> list[Prediction | None]:
        nothing: list[Prediction | None] = [None] * len(snapshots)
        if self.is_resting or self._teaching is not None:
            return nothing
        if not own.is_running:
            self._teach()
            return nothing
        try:
            answers = await own.ask("predict", snapshots, self._timeout_s)
        except ModelFailed as error:
            self._failed(str(error))
            return nothing
        if len(answers) != len(snapshots):
            self._failed(f"{len(answers)} predictions for {len(snapshots)} snapshots")
            return nothing
        usable = [self._usable(answer) for answer in answers]
        refused = usable.count(None)
        if refused:
            self.refused += refused
            self._failed(f"{refused} of {len(snapshots)} predictions cannot be")
        else:
            self._rest_s = REST_S
        return usable

    def _usable(self, answer: Any) -> Prediction | None:
        try:
            prediction = checked(answer)
        except UnusablePrediction:
            return None
        return prediction if prediction.model else replace(prediction, model=self._name)

    def _failed(self, reason: str) -> None:
        self.model_errors += 1
        self._rest_until = self._monotonic() + self._rest_s
        log.warning("the delay model is left out for a while", model=self._name, reason=reason, rest_s=self._rest_s)
        self._rest_s = min(2 * self._rest_s, REST_MAX_S)

    async def close(self) -> None:
        """End the own model."""
        if self._teaching is not None:
            self._teaching.cancel()
            await asyncio.wait([self._teaching])
        if self._own is not None:
            await self._own.close()
