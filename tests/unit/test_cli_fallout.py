"""The items of a bulk job in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orderplan.cli.common import UserError
from orderplan.cli.fallout import _read_items


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
