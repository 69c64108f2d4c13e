"""The numbers that managers look at, as JSON or as CSV. docs/NUMBERS.md defines each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web

from domain.errors import BadDocument, NotFound
from gateway.context import context_of, tenant_of
from gateway.csv_text import csv_text, plain
from gateway.documents import read_instant
from gateway.orders import native_json
from gateway.queries import limit_of, read_zone, text_of
from persistence.numbers import COLUMNS, EndedFilter, EndedPlace, Span, list_ended, read_numbers

WINDOW_DEFAULT: Final = "24h"
HOURS_MAX: Final = 92 * 24
_WINDOW: Final = re.compile(r"([0-9]{1,4})([hd])")
_HOURS: Final = {"h": 1, "d": 24}
_PARAMETERS: Final = frozenset({"window", "zone", "format"})
CSV: Final = "text/csv"
ENDED_MAX: Final = 1_000


async def get_numbers(request: web.Request) -> web.Response:
    """GET /v1/numbers?window=24h&zone=UTC: what is due and overdue, cycle times, fallout rates, queues and teams.

    `window` is a number of hours or days (`1h` to `92d`) before now, from the beginning of its hour; `zone` (IANA) says
    which day today is. `GET /v1/numbers/{table}` gives one table, also as CSV.
    """
    return native_json(plain(await _numbers(request)))


async def get_number_table(request: web.Request) -> web.Response:
    """GET /v1/numbers/{table}?window=&zone=&format=: one of orders, offers, items, systems, queues, hours.

    As CSV with `Accept: text/csv` or `format=csv`.
    """
    name = request.match_info["table"]
    if name not in COLUMNS:
        raise NotFound(f"there is no table {name!r}", mend=f"ask for {', '.join(COLUMNS)}")
    is_csv = _is_csv(request)
    found = await _numbers(request)
    if not is_csv:
        about = {key: found[key] for key in found.keys() - COLUMNS.keys()}
        return native_json(plain(about | {name: found[name]}))
    headers = {
        "Content-Disposition": f'attachment; filename="{name}-{found["at"]:%Y%m%dT%H%M%SZ}.csv"',
        "Cache-Control": "no-store",
    }
    return web.Response(text=csv_of(COLUMNS[name], found[name]), content_type=CSV, charset="utf-8", headers=headers)


async def list_ended_orders(request: web.Request) -> web.Response:
    """GET /v1/ended-orders?since=&before=&offer=&state=&right=&limit=&after=: orders that have ended, the last first.

    What the times and shares of the numbers are told of. `since` is an instant, as in the answer of numbers.
    """
    query = dict(request.query)
    unknown = sorted(query.keys() - {"since", "before", "offer", "state", "right", "limit", "after"})
    if unknown:
        raise BadDocument("is no parameter of this list", path=unknown[0][:100], mend="use since, before, offer, ...")
    since, before = _instant(query, "since"), _instant(query, "before")
    if since is None:
        raise BadDocument("is needed", path="since", mend="write it as 2027-01-31T00:00:00Z")
    right = query.get("right")
    if right not in (None, "true", "false"):
        raise BadDocument("must be true or false", path="right")
    limit = limit_of(query.get("limit", "100"), ENDED_MAX)
    wanted = EndedFilter(
        since=since,
        before=before,
        offer=text_of(query.get("offer"), "offer"),
        state=text_of(query.get("state"), "state"),
        is_right=None if right is None else right == "true",
    )
    rows = await list_ended(
        context_of(request).pool, tenant_of(request), wanted, after=_place(query.get("after")), limit=limit + 1
    )
    page = [
        {
            "orderId": row["order_id"],
            "externalId": row["external_id"],
            "account": row["account"],
            "state": row["state"],
            "offers": row["offers"],
            "createdAt": row["created_at"],
            "endedAt": row["ended_at"],
            "tookS": row["took_s"],
            "firstTimeRight": row["is_right"],
        }
        for row in rows[:limit]
    ]
    last = rows[limit - 1] if len(rows) > limit else None
    after = f"{last['ended_at'].isoformat()}_{last['order_id']}" if last is not None else None
    return native_json(plain({"orders": page, "next": after}))


def _instant(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    # The plus of a time zone arrives as a blank from clients that do not escape it.
    instant = read_instant(query[name].replace(" ", "+"))
    if instant is None:
        raise BadDocument("must be an instant with a time zone (RFC 3339)", path=name)
    return instant


def _place(text: str | None) -> EndedPlace | None:
    if text is None:
        return None
    at, _, order_id = text.partition("_")
    instant = read_instant(at.replace(" ", "+"))
    if instant is None or not order_id or "\0" in order_id:
        raise BadDocument("is no place in this list", path="after", mend="take `next` of the page before as it is")
    return EndedPlace(instant, order_id)


async def _numbers(request: web.Request) -> dict[str, Any]:
    unknown = sorted(request.query.keys() - _PARAMETERS)
    if unknown:
        raise BadDocument("is no parameter of the numbers", path=unknown[0][:100], mend="use window, zone, format")
    context, now = context_of(request), context_of(request).now()
    zone = read_zone(request.query.get("zone", "UTC"))
    span = span_of(now, read_window(request.query.get("window", WINDOW_DEFAULT)), zone)
    found = await read_numbers(context.pool, tenant_of(request), span)
    day = {"dayStartsAt": span.day_starts_at, "dayEndsAt": span.day_ends_at}
    return {"at": now, "since": span.since, "zone": zone.key} | day | found


def read_window(text: str) -> timedelta:
    """A window as it is asked for, such as `15h` or `7d`.

    Raises:
        BadDocument: it is none, or too long.
    """
    match = _WINDOW.fullmatch(text)
    hours = int(match[1]) * _HOURS[match[2]] if match else 0
    if not 1 <= hours <= HOURS_MAX:
        raise BadDocument("must be a window of time", path="window", mend=f"write 1h to {HOURS_MAX // 24}d")
    return timedelta(hours=hours)


def span_of(now: datetime, window: timedelta, zone: ZoneInfo) -> Span:
    """From the beginning of the hour (UTC) in which the window begins until now, and the day in the zone."""
    since = (now - window).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    today = now.astimezone(zone).date()
    starts_at, ends_at = (datetime.combine(each, time(), zone) for each in (today, today + timedelta(days=1)))
    return Span(since, now, starts_at.astimezone(UTC), ends_at.astimezone(UTC))


def csv_of(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV, names first."""
    return csv_text([columns, *([row[name] for name in columns] for row in rows)])


def _is_csv(request: web.Request) -> bool:
    given = request.query.get("format")
    if given not in (None, "json", "csv"):
        raise BadDocument("must be json or csv", path="format")
    if given is not None:
        return given == "csv"
    accepted = [each.partition(";")[0].strip() for each in request.headers.get("Accept", "").split(",")]
    return CSV in accepted and "application/json" not in accepted
