"""What the demo shows: how far it is while it runs, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from orderplan.cli.common import cell, pairs, table
from orderplan.client import ApiError, Client
from orderplan.demo.people import People
from orderplan.demo.standins import StandIns

LIVE_S: Final = 0.5
PLAIN_S: Final = 2.0
ORDER_STATES: Final = ("acknowledged", "pending", "inProgress", "held", "completed", "rejected")


class Progress:
    """Shows how far it is while the `with` block runs: a live table on a terminal, else a line every two seconds."""

    def __init__(self, screen: Console, url: str, standins: StandIns, people: People) -> None:
        """Nothing is shown yet."""
        self._screen = screen
        self._url = url
        self._standins = standins
        self._people = people
        self._step = ""
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def say(self, step: str) -> None:
        """A new step begins."""
        self._step = step
        if not self._screen.is_terminal:
            self._screen.print(f"{self._elapsed()} {step}")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:6.1f} s"

    def _run(self) -> None:
        with Client(self._url) as client:
            if not self._screen.is_terminal:
                while not self._over.wait(PLAIN_S):
                    if (counts := self._counts(client)) is not None:
                        self._screen.print(f"{self._elapsed()}   {_in_words(counts)}")
                return
            with Live(console=self._screen, transient=True, auto_refresh=False) as live:
                while not self._over.wait(LIVE_S):
                    if (counts := self._counts(client)) is not None:
                        live.update(self._table(counts), refresh=True)

    def _counts(self, client: Client) -> dict[str, Any] | None:
        try:
            return {
                "orders": client.cluster()["orders"],
                "calls": self._standins.stats()["calls"],
                "open": self._standins.stats()["open"],
                "tasks": sum(self._people.done().values()),
            }
        except (ApiError, OSError):
            # It is only shown: whoever needs an answer asks again and says what is wrong.
            return None

    def _table(self, counts: Mapping[str, Any]) -> Table:
        made = Table(title=f"orderplan demo, {self._elapsed().strip()}: {self._step}", title_justify="left")
        for column in (*ORDER_STATES, "calls", "open calls", "tasks done"):
            made.add_column(column, justify="right")
        orders = counts["orders"]
        values = [orders.get(state, 0) for state in ORDER_STATES]
        made.add_row(*(str(value) for value in (*values, counts["calls"], counts["open"], counts["tasks"])))
        return made


def _in_words(counts: Mapping[str, Any]) -> str:
    orders = counts["orders"]
    states = ", ".join(f"{orders[state]} {state}" for state in ORDER_STATES if orders.get(state))
    return f"{states or 'no orders yet'}; {counts['calls']} calls, {counts['tasks']} tasks done"


def report(found: Mapping[str, Any], told: Sequence[str] | None) -> Iterable[RenderableType]:
    """The table at the end; `told` are differences from what is expected, None where nothing is."""
    yield ""
    yield pairs(
        [
            ("orders", _joined(found["orders"])),
            ("calls per system", _joined(found["calls"], value_first=False)),
            ("tasks per queue", _joined(found["tasks"], value_first=False)),
            ("heard by the channel", f"{found['events']} events, {found['heard']['completed']} orders completed"),
            ("time of an order", f"{found['p50S']:.2f} s median, {found['p95S']:.2f} s at 95 %"),
            ("wall time", f"{found['wallS']:.0f} s, of which start {found['startS']:.0f} s"),
        ]
    )
    states = sorted({state for counts in found["items"].values() for state in counts})
    rows = [(kind, *(counts.get(state, "") for state in states)) for kind, counts in found["items"].items()]
    yield ""
    yield table(("items", *states), rows)
    yield ""
    yield table(("installed product", "assets"), found["assets"].items())
    yield ""
    for name, repair in found["repairs"].items():
        yield f"repaired by an operator: {cell(name)} ({cell(repair)})"
    for name, state in found["notCompleted"].items():
        yield f"not completed: {cell(name)} is {cell(state)}"
    if told is None:
        yield "no expectation is kept for this number of orders"
    elif told:
        yield "[red]differs from examples/expected.json:[/]"
        for each in told:
            yield f"  {cell(each)}"
    else:
        yield "[green]as expected[/] (examples/expected.json)"


def _joined(counts: Mapping[str, Any], *, value_first: bool = True) -> str:
    parts = (f"{value} {name}" if value_first else f"{name} {value}" for name, value in counts.items())
    return ", ".join(parts) or "none"
