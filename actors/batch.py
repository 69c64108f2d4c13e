"""Snapshots that are scored together; what several models need of them is worked out once, off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from delay.critical_path import CriticalPath
from delay.features import Leak, check_point_in_time
from delay.model import Prediction
from delay.snapshot import Snapshot
from delay.stock.frame import Frame, frame_of_checked


class Batch:
    """Some snapshots with the built-in model's answers and their features, each made when it is first asked for."""

    def __init__(self, snapshots: Sequence[Snapshot], builtin: CriticalPath) -> None:
        self.snapshots = snapshots
        self._builtin = builtin
        self._answers: dict[int, Prediction] = {}
        self._frame: tuple[Frame, list[int]] | None = None

    async def builtin(self, places: Sequence[int]) -> list[Prediction]:
        """The built-in model's predictions for the snapshots at these places."""
        missing = [at for at in places if at not in self._answers]
        if missing:
            found = await asyncio.to_thread(self._builtin.predict, [self.snapshots[at] for at in missing])
            self._answers.update(zip(missing, found, strict=True))
        return [self._answers[at] for at in places]

    async def frame(self) -> tuple[Frame, list[int]]:
        """(features, places of the snapshots that they are of). One that seems to know the future is left out: no
        model may see it, and the built-in one does not look at attributes.
        """
        if self._frame is None:
            self._frame = await asyncio.to_thread(self._made)
            self._answers.update(zip(self._frame[1], self._frame[0].builtin, strict=True))
        return self._frame

    def _made(self) -> tuple[Frame, list[int]]:
        places = []
        for at, snapshot in enumerate(self.snapshots):
            try:
                check_point_in_time(snapshot)
            except Leak:
                continue
            places.append(at)
        return frame_of_checked([self.snapshots[at] for at in places], self._builtin), places

    def some(self, places: Sequence[int]) -> Batch:
        """A part of the batch, with what is known of it."""
        made = Batch([self.snapshots[at] for at in places], self._builtin)
        made._answers = {new: self._answers[old] for new, old in enumerate(places) if old in self._answers}
        return made
