"""Auto tasks of one's own: functions that orderplan calls as if they were a system.

A function takes the `Task` and gives the answer (a mapping), an `Outcome`, or nothing; it may be async. Packages name
theirs in the entry points `orderplan.auto_tasks`; a release may also name one by `module:function`. Blocking functions
run in a pool of threads of this process, never on its event loop. A thread cannot be ended: one that is still at work
after its item's time-out keeps its place in the pool until it returns.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from adapters.interface import Adapter, Outcome, Task
from adapters.named_functions import find_function

GROUP: Final = "orderplan.auto_tasks"
THREADS_MAX: Final = 16

AutoTask = Callable[[Task], Any]


class TasksAdapter(Adapter):
    """Calls the function that the task's operation names."""

    def __init__(self) -> None:
        self._known: dict[str, AutoTask] = {}
        self._threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="auto task")

    async def perform(self, task: Task) -> Outcome:
        """Call the function; what it raises counts as retryable, a function that is not there as refused."""
        function = self._known.get(task.operation)
        if function is None:
            found = find_task(task.operation)
            if isinstance(found, str):
                return Outcome.failed(found, "unknownTask")
            function = self._known[task.operation] = found
        if inspect.iscoroutinefunction(function):
            answer = await function(task)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, function, task)
        if isinstance(answer, Outcome):
            return answer
        if answer is None or isinstance(answer, Mapping):
            return Outcome.completed(answer)
        reason = f"auto task {task.operation!r} gave a {type(answer).__name__}, not a mapping"
        return Outcome.failed(reason, "badAnswer")

    async def close(self) -> None:
        """Let the threads go; one that is still at work is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def find_task(name: str) -> AutoTask | str:
    """The function of that name; a sentence that says why there is none."""
    return find_function(GROUP, "auto task", name)
