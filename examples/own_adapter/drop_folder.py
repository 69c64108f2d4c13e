"""Hands tasks to a system that takes its work from a folder, one JSON file per task."""

import asyncio
import json
import os
from hashlib import sha256
from pathlib import Path

from orderplan import Adapter, Outcome, Task


class DropFolderAdapter(Adapter):
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    async def perform(self, task: Task) -> Outcome:
        # Files block, and many tasks share one event loop: a thread does the waiting.
        return await asyncio.to_thread(self.drop, task)

    def drop(self, task: Task) -> Outcome:
        # The key names the file, so the same task sent again finds it there: one effect, however many repeats.
        name = sha256(task.key.encode()).hexdigest()[:32] + ".json"
        target, draft = self.folder / name, self.folder / f".{name}.{os.urandom(4).hex()}"
        if target.exists():
            return Outcome.completed({"reference": name})
        try:
            draft.write_text(json.dumps({"order": task.order_id, "work": task.operation, **task.payload}))
            draft.rename(target)  # Whoever watches the folder never sees half a file.
        except OSError as error:
            return Outcome.retryable(f"the folder cannot be written: {error.strerror}", "folder")
        return Outcome.completed({"reference": name})
