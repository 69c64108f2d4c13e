"""The archive on the command line: batch after batch, told as they go, and stopped in between."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

import orderplan.cli.archive
from orderplan.cli.main import app

NOBODY = "http://127.0.0.1:1"


class Server:
    """What the client of the command gets to see: batches in turn, or somebody's Ctrl-C."""

    def __init__(self, *batches: dict[str, Any] | type[BaseException]) -> None:
        self.batches = list(batches)
        self.asked: list[tuple[float, int]] = []

    def archive_orders(self, older_than_days: float, *, orders: int) -> dict[str, Any]:
        self.asked.append((older_than_days, orders))
        batch = self.batches.pop(0)
        if not isinstance(batch, dict):
            raise batch
        return batch

    def archive(self) -> dict[str, Any]:
        return {
            "months": [{"month": "2030-01", "facts": 1_234_567, "bytes": 250_000_000}],
            "finishedHot": 100_000,
            "finishedHotAreMore": True,
            "oldestHotEndedAt": "2030-02-01T00:00:00+00:00",
        }


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Any:
    def begin(server: Server) -> Server:
        @contextlib.contextmanager
        def client_of(_url: str, _user: str) -> Iterator[Server]:
            yield server

        monkeypatch.setattr(orderplan.cli.archive, "client_of", client_of)
        return server

    return begin


def batch(orders: int, facts: int, *, is_more: bool) -> dict[str, Any]:
    return {"orders": orders, "facts": facts, "isMore": is_more}


def test_batches_follow_one_another_until_nothing_else_may_go_and_each_is_told(serve: Any) -> None:
    full = [batch(500, facts, is_more=True) for facts in (11_500, 12_500)]
    server = serve(Server(*full, batch(7, 90, is_more=False)))

    ended = CliRunner().invoke(app, ["archive", "--older-than", "30"])

    assert ended.exit_code == 0, ended.output
    assert ended.stderr.splitlines() == [
        "11,500 facts of 500 orders",
        "24,000 facts of 1,000 orders",
        "24,090 facts of 1,007 orders",
    ]
    assert ended.stdout.splitlines() == ["24,090 facts of 1,007 orders were archived; nothing else may go now"]
    assert server.asked == [(30.0, 500)] * 3


def test_ctrl_c_ends_it_and_the_summary_has_what_was_done(serve: Any) -> None:
    serve(Server(batch(20, 400, is_more=True), KeyboardInterrupt))

    ended = CliRunner().invoke(app, ["archive", "--older-than", "0.5", "--orders", "20", "--json"])

    assert ended.exit_code == 0, ended.output
    assert ended.stderr.splitlines() == ["400 facts of 20 orders", "stopped"]
    assert json.loads(ended.stdout) == {"orders": 20, "facts": 400, "isMore": True}


def test_the_archive_is_shown_by_month_with_what_is_left_to_move(serve: Any) -> None:
    serve(Server())

    ended = CliRunner().invoke(app, ["archive", "--show"])

    assert ended.exit_code == 0, ended.output
    assert "2030-01" in ended.stdout
    assert "1,234,567" in ended.stdout
    assert "250.0" in ended.stdout
    assert ended.stdout.splitlines()[-1] == (
        "finished orders that are not archived: 100,000+, since 2030-02-01 00:00:00"
    )


@pytest.mark.parametrize("arguments", [[], ["--show", "--older-than", "30"]])
def test_one_of_moving_and_showing_has_to_be_asked_for(arguments: list[str]) -> None:
    ended = CliRunner().invoke(app, ["archive", *arguments, "--url", NOBODY])

    assert ended.exit_code == 2
    assert "--older-than DAYS, or --show" in ended.stderr
