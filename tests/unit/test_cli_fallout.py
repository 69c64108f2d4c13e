"""Bulk repair on the command line: items in a file, what is shown while one waits, and how it ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import orderplan.cli.fallout
from orderplan.cli.common import UserError
from orderplan.cli.fallout import _read_items
from orderplan.cli.main import app


def written(folder: Path, content: Any) -> str:
    path = folder / "items.json"
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    "content",
    [
        [["o1-1", "p/a@1"], ["o1-2", "p/b@1"]],
        {"items": [{"orderId": "o1-1", "item": "p/a@1", "system": "x"}, {"orderId": "o1-2", "item": "p/b@1"}]},
    ],
    ids=["pairs", "what list writes"],
)
def test_a_file_names_items_as_pairs_or_as_the_list_wrote_them(tmp_path: Path, content: Any) -> None:
    assert _read_items(written(tmp_path, content), {}) == [("o1-1", "p/a@1"), ("o1-2", "p/b@1")]


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"orders": []}, None),
        ([["o1-1", "p/a@1"], ["o1-2"]], "items[1]"),
        ([{"orderId": "o1-1"}], "items[0]"),
        (["o1-1"], "items[0]"),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_place(tmp_path: Path, content: Any, path: str | None) -> None:
    with pytest.raises(UserError) as refused:
        _read_items(written(tmp_path, content), {})

    assert refused.value.path == path
    assert "fallout list --json" in str(refused.value.mend)


def test_a_file_and_filters_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing else chooses them"):
        _read_items(written(tmp_path, []), {"system": "billing"})


def test_a_repair_of_everything_has_to_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing else chooses them"):
        _read_items(written(tmp_path, []), {}, everything=True)
    ended = CliRunner().invoke(app, ["fallout", "skip", "--reason", "r"])

    assert ended.exit_code == 2
    assert "say --all" in ended.stderr


class Server:
    """What the client of a command gets to see: a job that has the given number of failures in the end."""

    def __init__(self, failed: int) -> None:
        self.failed = failed
        self.asked: dict[str, Any] = {}

    def start_job(self, action: str, reason: str, **options: Any) -> dict[str, Any]:
        self.asked = {"action": action, "reason": reason, **options}
        return self._job("running", 0)

    def wait_for_job(self, job_id: str, heard: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        for done in (0, 2, 2):
            heard(self._job("running", done))
        return self._job("done", 5 - self.failed) | {"failed": self.failed, "open": 0}

    def _job(self, state: str, done: int) -> dict[str, Any]:
        return {
            "id": "j1", "action": "retry", "state": state, "operator": "olga", "reason": "r",
            "total": 5, "done": done, "refused": 0, "failed": 0, "open": 5 - done,
        }  # fmt: skip


@pytest.mark.parametrize(("failed", "exit_code"), [(0, 0), (1, 1)])
def test_waiting_shows_how_far_a_job_is_and_a_failure_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failed: int, exit_code: int
) -> None:
    server = Server(failed)

    @contextlib.contextmanager
    def client_of(_url: str, _user: str) -> Iterator[Server]:
        yield server

    monkeypatch.setattr(orderplan.cli.fallout, "client_of", client_of)
    items = written(tmp_path, [["o1-1", "p/a@1"]])
    ended = CliRunner().invoke(
        app, ["fallout", "retry", "--reason", "r", "--items", items, "--rate", "50", "--wait", "--json"]
    )

    assert ended.exit_code == exit_code
    assert json.loads(ended.stdout.splitlines()[-1])["failed"] == failed
    assert ended.stderr.splitlines() == [
        "0 of 5: 0 done, 0 refused, 0 failed",
        "2 of 5: 2 done, 0 refused, 0 failed",
    ]
    assert (server.asked["items"], server.asked["filter"], server.asked["rate"]) == ([("o1-1", "p/a@1")], None, 50)
