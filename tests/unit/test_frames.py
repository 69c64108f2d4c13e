"""Frames of the stream: few however many facts there are, none of which is left uncounted."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from gateway.frames import GAP_S, NAMED_MAX, Batch, FrameClient, send_frames
from gateway.stream import _Event
from persistence.readstore import stored_fact
from tests.support.journals import fact


def events(first: int, count: int, kind: str = "item.started", payload: str | None = None) -> Batch:
    rows = [fact(first + at, kind=kind, payload=payload)._asdict() for at in range(count)]
    return Batch(_Event(stored_fact(row), "acc-1") for row in rows)


def read(frame: bytes) -> dict[str, Any]:
    name, data = frame.decode().strip().split("\n")
    assert name == "event: frame"
    found: dict[str, Any] = json.loads(data.removeprefix("data: "))
    return found


def test_a_frame_counts_all_facts_and_names_the_first() -> None:
    client = FrameClient()
    client.offer(events(1, NAMED_MAX - 10))
    client.offer(events(NAMED_MAX - 9, 300, "order.ended", '{"state": "completed", "secret": 1}'))
    frame = read(client.take())

    assert frame["counts"] == {"item.started": NAMED_MAX - 10, "order.ended": 300}
    assert [each["id"] for each in frame["facts"]] == [f"0-{offset}" for offset in range(1, NAMED_MAX + 1)]
    assert frame["more"] == 290
    assert frame["facts"][-1] == {
        "id": f"0-{NAMED_MAX}", "kind": "order.ended", "actor": "system", "orderId": "o0-1", "account": "acc-1",
        "item": None, "state": "completed",
    }  # fmt: skip


def test_the_next_frame_begins_anew() -> None:
    client = FrameClient()
    client.offer(events(1, NAMED_MAX + 1))
    client.take()
    client.offer(events(1000, 1))

    assert (read(client.take())["counts"], client.counts) == ({"item.started": 1}, {})


@pytest.mark.parametrize("write_s", [0.0, 0.1, 5.0])
async def test_there_are_four_frames_a_second_at_most_and_a_slow_client_gets_larger_ones(write_s: float) -> None:
    client, now, frames = FrameClient(), 0.0, []

    def pass_time(seconds: float) -> None:
        # A thousand facts come in each second that passes.
        nonlocal now
        now += seconds
        client.offer(events(1, round(seconds * 1_000)))
        client.is_cut_off = now > 20

    async def write(frame: bytes) -> None:
        frames.append((now, read(frame)))
        pass_time(write_s)

    async def sleep(seconds: float) -> None:
        pass_time(seconds)

    client.offer(events(1, 10))
    async with asyncio.timeout(10):
        await send_frames(client, write, heartbeat_s=1, sleep=sleep, clock=lambda: now)
    moments = [at for at, _ in frames]
    gaps = [later - earlier for earlier, later in pairwise(moments)]

    assert moments[0] == 0
    assert gaps == pytest.approx([max(GAP_S, write_s)] * len(gaps))
    told = sum(sum(frame["counts"].values()) for _, frame in frames) + client.counts.total()
    assert told == pytest.approx(10 + 1_000 * now)
    assert all(len(frame["facts"]) <= NAMED_MAX for _, frame in frames)


async def test_where_nothing_comes_the_client_hears_that_it_is_still_there() -> None:
    client, heard = FrameClient(), []

    async def write(text: bytes) -> None:
        heard.append(text)
        client.is_cut_off = len(heard) == 2

    async with asyncio.timeout(10):
        await send_frames(client, write, heartbeat_s=0.001)

    assert heard == [b": still here\n\n"] * 2
