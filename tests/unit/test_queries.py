"""What stands in queries is read within its bounds."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import BadDocument
from gateway.queries import limit_of, text_of


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("1000", 1000), ("0050", 50)])
def test_a_limit_within_its_bounds_is_read(text: str, limit: int) -> None:
    assert limit_of(text, 1000) == limit


@pytest.mark.parametrize("text", ["", "0", "1001", "-1", "+1", "1.0", " 1", "٣", "0000000019999", "9" * 5000])
def test_a_limit_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadDocument) as refused:
        limit_of(text, 1000)
    assert refused.value.path == "limit"


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/workers"])
async def test_lists_of_people_at_work_have_at_most_five_hundred_entries(client: Any, path: str) -> None:
    answer = await client.get(path, params={"limit": "501"})

    problem = await answer.json(content_type=None)
    assert (answer.status, problem["path"]) == (400, "limit")
    assert "between 1 and 500" in problem["detail"]


def test_a_text_that_the_database_cannot_hold_is_refused_by_name() -> None:
    assert text_of(None, "account") is None
    assert text_of("acc-1", "account") == "acc-1"
    with pytest.raises(BadDocument) as refused:
        text_of("acc\0", "account")
    assert refused.value.path == "account"
