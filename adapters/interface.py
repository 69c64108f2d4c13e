"""What an adapter is: one async method that does one task at a fulfilment system and says how it went.

Adapter authors import this through `from orderplan import Adapter, Task, Outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Task:
    """One call to make.

    `key` stays the same when the same attempt is sent again: pass it on as the idempotency key, so that a repeat has
    one effect. `payload` is ready to send (sealed values opened). `callback_url` is where an asynchronous answer goes.
    """

    key: str
    tenant: str
    order_id: str
    item: str
    name: str
    system: str
    operation: str
    attempt: int
    deadline_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task went.

    `completed`: done, `answer` is the system's document. `accepted`: taken, the answer comes by callback.
    `retryable`: not done or not known, may be tried again under the item's retry policy. `failed`: refused for good,
    goes to a person. `simulated` is true when no real system was asked; it is kept with the result.
    """

    kind: Literal["completed", "accepted", "retryable", "failed"]
    answer: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    error_code: str = ""
    simulated: bool = False

    @classmethod
    def completed(cls, answer: Mapping[str, Any] | None = None, *, simulated: bool = False) -> Outcome:
        """The task is done."""
        return cls("completed", answer=answer or {}, simulated=simulated)

    @classmethod
    def accepted(cls) -> Outcome:
        """The system has taken the task and will call back."""
        return cls("accepted")

    @classmethod
    def retryable(cls, error: str, error_code: str = "") -> Outcome:
        """The task may be tried again."""
        return cls("retryable", error=error, error_code=error_code)

    @classmethod
    def failed(cls, error: str, error_code: str = "") -> Outcome:
        """The system refuses the task; trying again would not help."""
        return cls("failed", error=error, error_code=error_code)


@runtime_checkable
class Adapter(Protocol):
    """Connects one fulfilment system. Stateless between tasks; many tasks run at once on one instance."""

    async def perform(self, task: Task) -> Outcome:
        """Do the task before `task.deadline_at`. Exceptions count as retryable and carry their text."""
        ...

    async def close(self) -> None:
        """Let go of pools and connections."""
        ...
