"""What `orderplan up` says when the server is ready."""

from __future__ import annotations

from pathlib import Path

from orderplan.cli.up import announced


def test_up_says_where_data_and_the_logs_of_the_actors_are() -> None:
    logs = Path("/tmp/ray/session_1/logs")
    text = "\n".join(announced("http://127.0.0.1:8080", Path("/data"), logs, is_paused=False))

    assert "  data     /data\n  logs     /tmp/ray/session_1/logs/worker-*.err\n" in text
    assert "paused" not in text
