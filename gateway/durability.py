"""What the databases' settings promise, looked at again and again: they change under a running cluster, and a failover
leaves another server behind the same URL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from gateway.metrics import Metrics
from persistence.database import is_unavailable
from persistence.durability import Weakness, look

log = structlog.get_logger(__name__)

LOOK_S: Final = 5.0


class DurabilityWatch:
    """Keeps what is weak for whoever asks; a change is logged and counted.

    `dsns` has the URL of each database by the name that is shown for it.
    """

    def __init__(
        self,
        dsns: Mapping[str, str],
        metrics: Metrics,
        *,
        look_at: Callable[[str], Awaitable[list[Weakness]]] = look,
    ) -> None:
        self._dsns = dsns
        self._gauge = metrics.weaknesses
        self._look_at = look_at
        self._found: dict[str, list[Weakness]] = {}

    def shown(self) -> list[dict[str, Any]]:
        """What is weak, as answers show it."""
        return [{"database": name, **each._asdict()} for name, weak in self._found.items() for each in weak]

    async def run(self) -> None:
        """Look until cancelled. While a database is away, what was last seen stands."""
        while True:
            await self.check()
            await asyncio.sleep(LOOK_S)

    async def check(self) -> None:
        """Look at every database once."""
        for name, dsn in self._dsns.items():
            try:
                found = await self._look_at(dsn)
            except Exception as error:
                if not is_unavailable(error):
                    # A setting that cannot be read must not end the look at the others.
                    log.exception("a database's durability cannot be read", database=name)
                continue
            self._note(name, found)

    def _note(self, name: str, found: list[Weakness]) -> None:
        before = self._found.get(name, [])
        for each in found:
            if each not in before:
                log.warning(each.reason, database=name, setting=each.setting, mend=each.mend)
        for each in before:
            if each not in found:
                log.info("not weak any more", database=name, code=each.code, setting=each.setting)
        self._found[name] = found
        self._gauge.clear()
        for row in self.shown():
            self._gauge.labels(row["database"], row["code"], row["setting"]).set(1)
