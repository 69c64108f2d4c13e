"""What the stand-ins remember: every call, every key that had an effect, and how many calls were open at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import orjson

from .payloads import SYSTEMS

CALLS_MAX: Final = 200_000
"""Calls kept in memory, newest last; keys are kept for ever, and the file keeps everything."""
NO_ANSWER: Final = 0
"""The status of a call whose connection was dropped."""


@dataclass(slots=True)
class Call:
    """One call from its arrival to its answer."""

    system: str
    operation: str
    key: str | None
    order: str | None
    item: str | None
    started_at: datetime
    payload: Any = None
    is_repeat: bool = False
    status: int = NO_ANSWER
    ended_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """The line of the log; `at` is when it was written, and grows from line to line."""
        assert self.ended_at is not None
        return {
            "at": instant_text(self.ended_at),
            "system": self.system,
            "operation": self.operation,
            "key": self.key,
            "order": self.order,
            "item": self.item,
            "repeat": self.is_repeat,
            "status": self.status,
            "startedAt": instant_text(self.started_at),
            "endedAt": instant_text(self.ended_at),
            "payload": self.payload,
        }


@dataclass(slots=True)
class Effect:
    """What one key did: the body it stands for, and its answer once there is one."""

    fingerprint: bytes
    is_settled: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0
    answer: dict[str, Any] | None = None
    callback: str = ""
    """Empty without one; else `open`, `delivered` or `lost`."""


@dataclass(slots=True)
class _Counts:
    calls: int = 0
    repeats: int = 0
    effects: int = 0
    references: int = 0
    open: int = 0
    open_max: int = 0
    keys: set[str] = field(default_factory=set)

    def as_dict(self) -> dict[str, int]:
        return {
            "calls": self.calls,
            "keys": len(self.keys),
            "repeats": self.repeats,
            "effects": self.effects,
            "open": self.open,
            "openMax": self.open_max,
        }


class CallLog:
    """A file with one JSON line per call, each written out before the caller has its answer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def append(self, line: dict[str, Any]) -> None:
        """Write one line and hand it to the system."""
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Ledger:
    """Calls and effects since the start or the last reset; each system has keys of its own."""

    def __init__(self, log: CallLog | None = None) -> None:
        self._log = log
        self._calls: deque[Call] = deque(maxlen=CALLS_MAX)
        self._counts = {system: _Counts() for system in SYSTEMS}
        self.effects: dict[str, dict[str, Effect]] = {system: {} for system in SYSTEMS}

    def open(self, call: Call) -> None:
        """Count the call as open."""
        counts = self._counts[call.system]
        counts.open += 1
        counts.open_max = max(counts.open_max, counts.open)

    def close(self, call: Call) -> None:
        """Record the call, which has its status and its end."""
        counts = self._counts[call.system]
        counts.open -= 1
        counts.calls += 1
        counts.repeats += call.is_repeat
        counts.effects += 200 <= call.status < 300 and not call.is_repeat
        if call.key is not None:
            counts.keys.add(call.key)
        self._calls.append(call)
        if self._log is not None:
            self._log.append(call.as_dict())

    def next_reference(self, system: str) -> str:
        """The name of the next work that the system does: `billing-1`, `billing-2` and so on."""
        self._counts[system].references += 1
        return f"{system}-{self._counts[system].references}"

    def calls(self, system: str | None, order: str | None, since: datetime | None) -> Iterator[dict[str, Any]]:
        """The calls of a system, of an order, written after a moment (all that are given); in order of their end."""
        for call in self._calls:
            assert call.ended_at is not None
            is_later = since is None or call.ended_at > since
            if is_later and system in (None, call.system) and order in (None, call.order):
                yield call.as_dict()

    def stats(self) -> dict[str, Any]:
        """Counts of all systems together and of each; `openMax` of all together is the largest of one."""
        systems = {system: counts.as_dict() for system, counts in self._counts.items()}
        total = {
            name: (max if name == "openMax" else sum)(each[name] for each in systems.values())
            for name in _Counts().as_dict()
        }
        return {**total, "systems": systems}


class Ticks:
    """Instants that always grow, so that "what came after" has one answer."""

    def __init__(self) -> None:
        self._last_at = datetime.min.replace(tzinfo=UTC)

    def after(self, now: datetime) -> datetime:
        """`now`, or the next microsecond when that was given out already."""
        self._last_at = max(now, self._last_at + timedelta(microseconds=1))
        return self._last_at


def fingerprint_of(operation: str, payload: Any) -> bytes:
    """Stands for what a call asks; the order of members does not matter."""
    return blake2b(orjson.dumps([operation, payload], option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def instant_text(instant: datetime) -> str:
    """RFC 3339 in UTC, microseconds, `Z`."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
