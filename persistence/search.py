"""Finding orders: the list behind the search box, its count, and the frozen selection of a job over all of it.

Only conditions that are asked for stand in the statement, so that a rare word is found by the index of its column and
the newest orders by that of the list. What no index helps with (`due`, `risk`) is looked at along the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from domain.errors import Busy
from persistence.servers import bounded_read

TIMEOUT_S: Final = 5.0
"""For one search, which shares few connections with all that the gateway reads."""
COUNT_MAX: Final = 100_000
"""Matches are counted up to here, and listed up to here: whoever looks for one order adds a word."""


@dataclass(frozen=True, slots=True)
class Span:
    """From an instant on (it counts) until before another one; None is without a bound."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders; what is None or empty does not matter.

    `words` each name an order by id, external id or account, whole, or by how it begins where a `*` ends it. `states`
    are alternatives. `system`, `error_code` are those of failed items, `queue` that of open tasks. `due` is what is
    promised by now. `risk` is a probability: at least the first, below the second.
    """

    words: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    is_open: bool | None = None
    is_failed: bool | None = None
    account: str | None = None
    external_id: str | None = None
    channel: str | None = None
    priority: str | None = None
    release_id: str | None = None
    system: str | None = None
    error_code: str | None = None
    queue: str | None = None
    ordered: Span = Span()
    ended: Span = Span()
    due: Span = Span()
    risk: tuple[float | None, float | None] = (None, None)


class Place(NamedTuple):
    """Where in the list an order stands."""

    created_at: datetime
    order_id: str


@dataclass(frozen=True, slots=True)
class OrderSelection:
    """Orders that fit, up to the newest one that counts: what comes later changes no page and joins no job.

    With `is_begun` that one does not count any more: it is the last of a page that was read.
    """

    wanted: OrderFilter
    begin: Place | None = None
    is_begun: bool = False


_FROM: Final = "from product_order as o left join delay_score as s on s.order_id = o.order_id"
_DUE: Final = "o.requested_due_at"
"""As the order has it by now; written with the change, and what the numbers for managers count."""
_FAILED: Final = "select from fallout_item as f where f.order_id = o.order_id and f.retry_at is null"
_EQUALS: Final = {
    "account": "o.account = {}",
    "external_id": "o.external_id = {}",
    "channel": "o.channel = {}",
    "priority": "o.priority = {}",
    "release_id": "o.release_id = {}",
    "system": f"exists ({_FAILED} and f.system = {{}})",
    "error_code": f"exists ({_FAILED} and f.error_code = {{}})",
    "queue": (
        "exists (select from manual_task as t where t.order_id = o.order_id and t.closed_at is null and t.queue = {})"
    ),
}


class _Conditions:
    """The conditions of a statement and their values, in step."""

    def __init__(self, tenant: str) -> None:
        self.values: list[Any] = [tenant]
        self.parts = ["o.tenant = $1"]

    def place(self, value: Any) -> str:
        """The parameter that stands for the value."""
        self.values.append(value)
        return f"${len(self.values)}"

    def add(self, template: str, value: Any) -> None:
        """One condition; each `{}` of it is the value."""
        self.parts.append(template.replace("{}", self.place(value)))

    @property
    def where(self) -> str:
        return "where " + " and ".join(self.parts)


def _conditions(tenant: str, chosen: OrderSelection) -> _Conditions:
    wanted, begin = chosen.wanted, chosen.begin
    made = _Conditions(tenant)
    for word in wanted.words:
        if word.endswith("*"):
            made.add("(o.order_id ^@ {} or o.external_id ^@ {} or o.account ^@ {})", word[:-1])
        else:
            made.add("(o.order_id = {} or o.external_id = {} or o.account = {})", word)
    for name, template in _EQUALS.items():
        if (value := getattr(wanted, name)) is not None:
            made.add(template, value)
    if wanted.states:
        made.add("o.state = any({}::text[])", list(wanted.states))
    if wanted.is_open is not None:
        made.parts.append(f"o.ended_at is {'' if wanted.is_open else 'not '}null")
    if wanted.is_failed is not None:
        made.parts.append("o.fallout > 0" if wanted.is_failed else "o.fallout = 0")
    for column, span in (("o.created_at", wanted.ordered), ("o.ended_at", wanted.ended), (_DUE, wanted.due)):
        if span.start is not None:
            made.add(f"{column} >= {{}}", span.start)
        if span.end is not None:
            made.add(f"{column} < {{}}", span.end)
    least, below = wanted.risk
    if least is not None or below is not None:
        # An order that has ended keeps its last score, which is no risk any more.
        made.parts.append("o.ended_at is null")
    if least is not None:
        made.add("s.p_late >= {}", least)
    if below is not None:
        made.add("s.p_late < {}", below)
    if begin is not None:
        sign = "<" if chosen.is_begun else "<="
        made.parts.append(f"(o.created_at, o.order_id) {sign} ({made.place(begin[0])}, {made.place(begin[1])})")
    return made


async def place_of(pool: asyncpg.Pool[Any], tenant: str, order_id: str) -> Place | None:
    """Where the order stands in the list; None: the tenant has none of that id."""
    row = await pool.fetchrow(
        "select created_at, order_id from product_order where tenant = $1 and order_id = $2", tenant, order_id
    )
    return Place(*row) if row is not None else None


class TooMuchToSearch(Busy):
    """The database has given up after the time that one search may take."""

    code = "tooMuchToSearch"


async def _fetch(pool: asyncpg.Pool[Any], statement: str, *values: Any) -> list[asyncpg.Record]:
    try:
        async with bounded_read(pool, TIMEOUT_S) as connection:
            found: list[asyncpg.Record] = await connection.fetch(statement, *values)
            return found
    except (asyncpg.QueryCanceledError, TimeoutError) as error:
        raise TooMuchToSearch(
            f"orders like that cannot be found within {TIMEOUT_S:.0f} s", path="search",
            mend="add a word that says more, such as customer: or state:open", retryAfterS=5,
        ) from error  # fmt: skip


async def list_orders(
    pool: asyncpg.Pool[Any], tenant: str, chosen: OrderSelection, *, offset: int, limit: int
) -> list[dict[str, Any]]:
    """The orders, newest first, with so many of them passed over."""
    made = _conditions(tenant, chosen)
    bounds = f"limit {made.place(limit)} offset {made.place(offset)}"
    rows = await _fetch(
        pool,
        "select o.order_id, o.external_id, o.state, o.account, o.channel, o.priority, o.release_id, o.items, "
        f"o.fallout, o.created_at, o.ended_at, {_DUE} as due_at, s.p_late as risk "
        f"{_FROM} {made.where} order by o.created_at desc, o.order_id desc {bounds}",
        *made.values,
    )
    return [dict(row) for row in rows]


async def count_orders(pool: asyncpg.Pool[Any], tenant: str, chosen: OrderSelection) -> int:
    """How many there are; `COUNT_MAX + 1` says more than `COUNT_MAX`."""
    made = _conditions(tenant, chosen)
    [row] = await _fetch(
        pool, f"select count(*) from (select {_FROM} {made.where} limit {COUNT_MAX + 1}) as o", *made.values
    )
    return int(row["count"])


async def count_by_state(pool: asyncpg.Pool[Any], tenant: str, chosen: OrderSelection) -> dict[str, int]:
    """How many are in which state, most first; of `COUNT_MAX` at most."""
    made = _conditions(tenant, chosen)
    rows = await _fetch(
        pool,
        f"select state, count(*) as n from (select o.state {_FROM} {made.where} limit {COUNT_MAX + 1}) as o "
        "group by state order by n desc, state",
        *made.values,
    )
    return {row["state"]: row["n"] for row in rows}


async def count_named(pool: asyncpg.Pool[Any], tenant: str, order_ids: Sequence[str]) -> dict[str, int]:
    """How many of these orders of the tenant are in which state, most first."""
    rows = await _fetch(
        pool,
        "select state, count(*) as n from product_order where tenant = $1 and order_id = any($2) "
        "group by state order by n desc, state",
        tenant,
        list(order_ids),
    )
    return {row["state"]: row["n"] for row in rows}


async def select_orders(
    connection: asyncpg.pool.PoolConnectionProxy[Any], tenant: str, chosen: OrderSelection, limit: int
) -> Sequence[str]:
    """The ids of all of them, longest ago first, at most `limit`."""
    made = _conditions(tenant, chosen)
    rows = await connection.fetch(
        f"select o.order_id {_FROM} {made.where} order by o.created_at, o.order_id limit {made.place(limit)}",
        *made.values,
    )
    return [row["order_id"] for row in rows]
