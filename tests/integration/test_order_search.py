"""Orders are found by each condition of the search, counted, and paged while new ones come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.search_text import read_search
from persistence import search
from persistence.database import Pool
from persistence.search import OrderSelection
from tests.support.journals import AT, order_row

HOUR = timedelta(hours=1)


async def put(pool: Pool, order_id: str, **changes: Any) -> None:
    row = order_row(order_id, **changes)
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await pool.execute(f"insert into product_order ({', '.join(row._fields)}) values ({places})", *row)


@pytest.fixture
async def orders(pool: Pool) -> None:
    """Order `a` is held and high, `b` has failed and is due, `c` is at risk, `d` has ended, `e` is another tenant's."""
    await put(pool, "o0-a", account="acme", external_id="ext-1", state="held", priority="high", created_at=AT)
    await put(pool, "o0-b", account="acme", channel="shop", fallout=1, requested_due_at=AT + HOUR, created_at=AT + HOUR)
    await put(
        pool, "o0-c", account="acme-2", release_id="r@2", requested_due_at=AT + 2 * HOUR, created_at=AT + HOUR
    )
    ended = {"state": "completed", "ended_at": AT + 3 * HOUR, "active": False}
    await put(pool, "o0-d", account="other", created_at=AT + 2 * HOUR, **ended)
    await put(pool, "o0-e", account="acme", created_at=AT, tenant="another")
    await pool.execute(
        "insert into fallout_item (tenant, order_id, item, shard, name, plan, system, error_code, error, attempt, "
        "failed_at, priority, retry_at) values ('main', 'o0-b', 'i', 0, 'bill', 'p', 'billing', '503', 'busy', 1, $1, "
        "'normal', null), ('main', 'o0-c', 'i', 0, 'bill', 'p', 'billing', '503', 'busy', 1, $1, 'normal', $1)",
        AT,
    )
    await pool.execute(
        "insert into manual_task (task_id, tenant, order_id, item, queue, name, priority, opened_at, closed_at, body) "
        "values ('o0-a.i', 'main', 'o0-a', 'i', 'desk', 'look', 1, $1, null, '{}'), "
        "('o0-d.i', 'main', 'o0-d', 'i', 'desk', 'look', 1, $1, $1, '{}')",
        AT,
    )
    await pool.execute(
        "insert into delay_score (order_id, tenant, scored_at, p_late, expected_at, low_at, high_at, due_at, "
        "due_basis, model, version, factors, current_due_at) values "
        # What the score of `c` was made for is older than its date; `d` has ended, and its score is no risk any more.
        "('o0-c', 'main', $1, 0.8, $1, $1, $1, $1, 'promised', 'm', '1', '[]', $1), "
        "('o0-d', 'main', $1, 0.9, $1, $1, $1, $1, 'promised', 'm', '1', '[]', $1)",
        AT,
    )


def chosen(text: str) -> OrderSelection:
    return OrderSelection(read_search(text, ZoneInfo("UTC"), AT))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "dcba"),
        ("o0-b", "b"),
        ("ext-1", "a"),
        ("acme", "ba"),
        ("acme*", "cba"),
        ("acme* o0-c", "c"),
        ("state:held", "a"),
        ("state:held,completed", "da"),
        ("state:open", "cba"),
        ("state:ended", "d"),
        ("state:fallout", "b"),
        ("customer:other", "d"),
        ("external:ext-1", "a"),
        ("channel:shop", "b"),
        ("priority:high", "a"),
        ("release:r@2", "c"),
        ("system:billing", "b"),
        ("system:billing error:404", ""),
        ("error:503", "b"),
        ("queue:desk", "a"),
        ("ordered<2030-01-31T13:00:00Z", "a"),
        ("ordered>now ordered<2030-01-31T14:00:00Z", "cb"),
        ("ended:today", "d"),
        ("due<=+1h", "b"),
        ("due>+1h", "c"),
        ("risk>=80", "c"),
        ("risk>=81", ""),
        ("risk<90", "c"),
    ],
)
async def test_an_order_is_found_by_what_is_asked_for(pool: Pool, orders: None, text: str, found: str) -> None:
    rows = await search.list_orders(pool, "main", chosen(text), offset=0, limit=9)

    assert "".join(row["order_id"][-1] for row in rows) == found
    assert await search.count_orders(pool, "main", chosen(text)) == len(found)


async def test_a_search_that_takes_too_long_is_given_up_with_what_to_do(
    pool: Pool, orders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(search, "_FROM", search._FROM + " cross join lateral (select pg_sleep(5)) as slow")

    for asked in (search.count_orders, search.count_by_state):
        with pytest.raises(search.TooMuchToSearch) as refused:
            await asked(pool, "main", chosen("state:open"))
        assert (refused.value.status, refused.value.path) == (503, "search")


async def test_pages_and_selections_from_a_place_on_do_not_know_of_newer_orders(pool: Pool, orders: None) -> None:
    place = await search.place_of(pool, "main", "o0-c")
    selection = OrderSelection(chosen("").wanted, place)
    page = await search.list_orders(pool, "main", selection, offset=1, limit=1)
    async with pool.acquire() as connection:
        selected = await search.select_orders(connection, "main", selection, 9)

    assert [row["order_id"] for row in page] == ["o0-b"]
    assert selected == ["o0-a", "o0-b", "o0-c"]
    assert await search.count_by_state(pool, "main", selection) == {"inProgress": 2, "held": 1}
    assert await search.place_of(pool, "main", "o0-e") is None
