"""Stands in for a system that is not there yet, or not wanted: answers by itself, and every result says so.

The outcome is a pure function of (seed, key): a task that is sent again goes the same way, in every process. Drawn by a
hash, not by a checksum: checksums of keys that differ in one digit differ by a constant, which would tie the luck of an
item's second attempt to that of its first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from adapters.config import Config, read_config, utc_now
from adapters.interface import Adapter, Outcome, Task

_ONE: Final = 1 << 64
"""What a draw of 64 bits is measured against."""

_Rate = Annotated[float, Field(ge=0, le=1)]


def _pair(delay: object) -> object:
    is_number = isinstance(delay, int | float) and not isinstance(delay, bool)
    return [delay, delay] if is_number else delay


def _ascending(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise ValueError("must be a number or [min, max]")
    return bounds


class SimulatedConfig(Config):
    """How the system behaves that is not there: rates of both kinds of failure, delay, answer."""

    seed: int = 0
    failure_rate: _Rate = 0.0
    permanent_rate: _Rate = 0.0
    delay_s: Annotated[
        list[Annotated[float, Field(ge=0, le=366 * 86400)]],
        Field(min_length=2, max_length=2),
        AfterValidator(_ascending),
        BeforeValidator(_pair),
    ] = Field(default=[0.0, 0.0])
    """Outside a number, or [min, max]."""
    answer: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_rates(self) -> SimulatedConfig:
        if self.failure_rate + self.permanent_rate > 1:
            raise ValueError("failureRate and permanentRate are more than 1 together")
        return self


class SimulatedAdapter(Adapter):
    """Answers without asking anybody; every outcome has `simulated` set.

    `failureRate` of the keys are retryable, `permanentRate` are refused for good. All tasks share one answer object.

    Args:
        config: members of `SimulatedConfig` in camelCase; each has a default.
        sleep: waits so many seconds; never called without a delay.
        clock: gives the present as an aware datetime; asked only when there is a delay, to see whether the answer would
            come after the task's deadline.
    Raises:
        BadDocument: the configuration is wrong.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        read = read_config(SimulatedConfig, config or {})
        self._sleep = sleep
        self._clock = clock
        self._completed = Outcome.completed(read.answer, simulated=True)
        self._seed = blake2b(str(read.seed).encode(), digest_size=32).digest()
        self._permanent_below = int(read.permanent_rate * _ONE)
        self._failure_below = self._permanent_below + int(read.failure_rate * _ONE)
        self._delay_min_s, self._delay_max_s = read.delay_s
        # Nothing to draw and nothing to wait for: what benchmarks use.
        self._always = self._completed if self._failure_below == 0 and self._delay_max_s == 0 else None

    async def perform(self, task: Task) -> Outcome:
        """Say how the task would have gone, after the delay."""
        if self._always is not None:
            return self._always
        draws = blake2b(task.key.encode(), digest_size=16, key=self._seed).digest()
        if self._delay_max_s > 0:
            share = int.from_bytes(draws[8:]) / _ONE
            delay_s = self._delay_min_s + (self._delay_max_s - self._delay_min_s) * share
            remaining_s = (task.deadline_at - self._clock()).total_seconds()
            if delay_s >= remaining_s:
                if remaining_s > 0:
                    await self._sleep(remaining_s)
                return _TIMEOUT
            if delay_s > 0:
                await self._sleep(delay_s)
        luck = int.from_bytes(draws[:8])
        if luck < self._permanent_below:
            return _FAILED
        if luck < self._failure_below:
            return _RETRYABLE
        return self._completed

    async def close(self) -> None:
        """Nothing is held."""


_RETRYABLE: Final = Outcome(
    "retryable", error="a simulated failure, may be tried again", error_code="simulated", simulated=True
)
_FAILED: Final = Outcome("failed", error="a simulated refusal", error_code="simulated", simulated=True)
_TIMEOUT: Final = Outcome("retryable", error="no answer came before the deadline", error_code="timeout", simulated=True)
