"""Stand-ins for people: they take manual tasks over the public API, fill in the form and hand it in."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from orderplan.client import ApiError, Client

PAUSE_S: Final = 0.1


class People:
    """Some workers, each a thread that takes what it may; they leave with the `with` block."""

    def __init__(self, url: str, workers: Sequence[str]) -> None:
        """Nobody works yet."""
        self._url = url
        self._leave = threading.Event()
        self._lock = threading.Lock()
        self._done: Counter[str] = Counter()
        self._by: dict[str, set[str]] = {}
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"worker {worker}", daemon=True)
            for worker in workers
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join()

    def done(self) -> dict[str, int]:
        """Tasks handed in so far, by queue.

        Raises:
            BaseException: what a worker stumbled over.
        """
        with self._lock:
            if self._errors:
                raise self._errors[0]
            return dict(sorted(self._done.items()))

    def workers(self) -> dict[str, list[str]]:
        """Who has done something, by queue."""
        with self._lock:
            return {queue: sorted(names) for queue, names in sorted(self._by.items())}

    def _work(self, worker: str) -> None:
        try:
            with Client(self._url, user=worker) as client:
                while not self._leave.is_set():
                    if not self._round(client, worker):
                        self._leave.wait(PAUSE_S)
        except Exception as error:
            with self._lock:
                self._errors.append(error)

    def _round(self, client: Client, worker: str) -> bool:
        """Do the next task; whether there was one."""
        try:
            task = client.next_task(worker)
            if task is None:
                return False
            client.complete_task(task["id"], worker, filled_in(task))
        except ApiError as error:
            # The order has moved on, or the server asks to come back later.
            if error.status not in (404, 409, 503):
                raise
            return False
        with self._lock:
            self._done[task["queue"]] += 1
            self._by.setdefault(task["queue"], set()).add(worker)
        return True


_EXAMPLES: Final[dict[str, Any]] = {"string": "done in the demo", "integer": 1, "number": 1, "boolean": True}


def filled_in(task: Mapping[str, Any]) -> dict[str, Any]:
    """A form with a plausible value in every field."""
    found: dict[str, Any] = example_of(task["formSchema"])
    return found


def example_of(schema: Mapping[str, Any]) -> Any:
    """A plausible value for a plain schema: the first choice, or an example of its type, objects member by member."""
    if "enum" in schema:
        return schema["enum"][0]
    named = schema.get("type", "string")
    kind = named if isinstance(named, str) else named[0]
    if kind == "object":
        return {name: example_of(each) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema.get("items", {}))] * schema.get("minItems", 0)
    return _EXAMPLES[kind]
