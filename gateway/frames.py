"""The stream of facts in frames, for screens: a few a second however many facts there are.

A frame says how many facts of each kind there were since the one before, and names the first of them without their
payload. Of the rest a screen learns only that there are more, and reads anew what it shows. So what a browser has to do
is bounded, while it is told of everything, and one that is slow gets larger frames and not later ones.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

import orjson

from persistence.readstore import StoredFact

GAP_S: Final = 0.25
"""Between two frames of one client."""
NAMED_MAX: Final = 200
"""Facts that one frame names."""


class Event(Protocol):
    """A fact on its way to a client."""

    @property
    def fact(self) -> StoredFact: ...
    @property
    def account(self) -> str | None: ...


class Batch(list[Any]):
    """Events that all clients get together; what frames need of them is worked out once."""

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many facts there are of each kind."""
        return Counter(event.fact.kind for event in self)

    @cached_property
    def named(self) -> list[dict[str, Any]]:
        """The first facts without their payloads; of these only the state that it names."""
        return [_named(event) for event in self[:NAMED_MAX]]


def _named(event: Event) -> dict[str, Any]:
    fact = event.fact
    is_order = fact.order_id.startswith("o")
    shown: dict[str, Any] = {"id": f"{fact.shard}-{fact.offset}", "kind": fact.kind, "actor": fact.actor}
    shown["orderId"] = fact.order_id if is_order else None
    shown["account"] = event.account
    shown["item"] = fact.item
    if "state" in fact.payload:
        shown["state"] = fact.payload["state"]
    return shown


@dataclass(slots=True, eq=False)
class FrameClient:
    """One listener that wants frames: what the next one will say."""

    counts: Counter[str] = field(default_factory=Counter)
    named: list[dict[str, Any]] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_cut_off: bool = False

    def offer(self, batch: Sequence[Any]) -> None:
        """Take a batch into the next frame."""
        assert isinstance(batch, Batch)
        self.counts.update(batch.counts)
        self.named.extend(batch.named[: NAMED_MAX - len(self.named)])
        self.wake.set()

    def take(self) -> bytes:
        """The frame as a server-sent event; the next one begins."""
        more = self.counts.total() - len(self.named)
        body = orjson.dumps({"counts": self.counts, "facts": self.named, "more": more})
        self.counts, self.named = Counter(), []
        return b"event: frame\ndata: " + body + b"\n\n"


async def send_frames(
    client: FrameClient,
    write: Callable[[bytes], Awaitable[None]],
    *,
    heartbeat_s: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Write frames as facts come, the first at once and each other at least `GAP_S` after the one before, until the
    client is cut off; a comment where there is nothing for long.
    """
    while not client.is_cut_off:
        client.wake.clear()
        if not client.counts:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await client.wake.wait()
            except TimeoutError:
                await write(b": still here\n\n")
            continue
        began = clock()
        await write(client.take())
        await sleep(max(0.0, GAP_S - (clock() - began)))
