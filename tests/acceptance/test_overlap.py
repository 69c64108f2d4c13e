"""Independent items overlap; nothing waits that no rule makes wait."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from bench.scenarios import bench_release, scenarios
from tests.support.running import Running

CALL_MS = 200


def test_ten_keeps_three_calls_open_and_takes_six_call_times(running: Running) -> None:
    release = bench_release()
    release["version"] = "overlap"
    running.ok("POST", "/v1/releases:publish", release)
    running.ok(
        "PUT",
        "/v1/systems/bench",
        {"adapter": "http", "config": {"url": f"{running.standins}/activation"}, "concurrency": 100},
    )
    running.behave(system="activation", delayMs=CALL_MS)
    try:
        order_id = running.submit(scenarios()["ten"].order(1, "overlap"))
        assert running.ended(order_id)["state"] == "completed"
    finally:
        running.behave(system="activation", delayMs=0)
    calls = running.calls(order_id)
    spans = [(datetime.fromisoformat(call["startedAt"]), datetime.fromisoformat(call["endedAt"])) for call in calls]
    open_most = max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)
    taken_s = (max(end for _, end in spans) - min(begin for begin, _ in spans)).total_seconds()
    waves = sum(later - earlier > 0.5 * CALL_MS / 1000 for earlier, later in pairwise(starts(spans)))

    assert len(calls) == 10
    assert open_most == 3
    assert waves == 5, "six waves of calls, one behind the other"
    assert taken_s < 9 * CALL_MS / 1000, "ten calls one after the other would take ten call times"


def starts(spans: list[tuple[datetime, datetime]]) -> list[float]:
    return sorted(begin.timestamp() for begin, _ in spans)
