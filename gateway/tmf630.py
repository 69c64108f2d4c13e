"""What all TM Forum APIs share (TMF630, the REST guidelines): the error body, attribute selection, list filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from domain.errors import OrderplanError
from gateway.documents import Problems, read_instant, shown

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 1000
_OFFSET_MAX: Final = 1_000_000_000

ALWAYS_SHOWN: Final = frozenset({"id", "href", "@type"})
ORDER_STATES: Final = frozenset(
    {
        "acknowledged",
        "rejected",
        "pending",
        "held",
        "inProgress",
        "assessingCancellation",
        "pendingCancellation",
        "cancelled",
        "completed",
        "failed",
        "partial",
    }
)
_TICK: Final = timedelta(microseconds=1)
_DATES: Final = ("orderDate", "requestedCompletionDate")
_DATE_FILTERS: Final = tuple(f"{name}.{bound}" for name in _DATES for bound in ("gt", "gte", "lt", "lte"))
_FILTERS: Final = frozenset(
    {"offset", "limit", "fields", "state", "externalId", "billingAccount.id", "relatedParty.id", *_DATE_FILTERS}
)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which orders a list asks for; None and () mean any.

    Several `states` are alternatives. `ordered_after` is the first instant that counts, `ordered_before` the first that
    no longer does: `.gt` and `.lte` have been moved by a microsecond, the finest time that is stored. `due_after` and
    `due_before` are the same of the requested completion date.
    """

    offset: int = 0
    limit: int = LIMIT_DEFAULT
    fields: str | None = None
    states: tuple[str, ...] = ()
    external_id: str | None = None
    billing_account: str | None = None
    related_party: str | None = None
    ordered_after: datetime | None = None
    ordered_before: datetime | None = None
    due_after: datetime | None = None
    due_before: datetime | None = None


def parse_list_query(query: Mapping[str, str]) -> ListQuery:
    """Read the query of `GET .../productOrder`.

    Raises:
        BadDocument: a filter is not known, is given twice or has a value that it cannot have; the path is its name.
    """
    problems = Problems()
    given: dict[str, str] = {}
    for name, value in query.items():
        if name not in _FILTERS:
            problems.add(name, f"lists of orders cannot be filtered by this; known are {', '.join(sorted(_FILTERS))}")
        elif name in given:
            problems.add(name, "given twice; alternatives are separated by commas")
        else:
            given[name] = value
    states = tuple(each.strip() for each in given["state"].split(",")) if "state" in given else ()
    for each in states:
        # MEF and version 5 have sub-states after a dot.
        if each.partition(".")[0] not in ORDER_STATES:
            problems.add("state", f"{shown(each)} is not a state of an order")
    for name in ("externalId", "billingAccount.id", "relatedParty.id"):
        if name in given and (not given[name] or "\0" in given[name]):
            problems.add(name, "needs a value")
    after, before = _date_range(given, "orderDate", problems)
    due_after, due_before = _date_range(given, "requestedCompletionDate", problems)
    asked = ListQuery(
        offset=_number(given, "offset", 0, 0, _OFFSET_MAX, problems),
        limit=_number(given, "limit", LIMIT_DEFAULT, 1, LIMIT_MAX, problems),
        fields=given.get("fields"),
        states=states,
        external_id=given.get("externalId"),
        billing_account=given.get("billingAccount.id"),
        related_party=given.get("relatedParty.id"),
        ordered_after=after,
        ordered_before=before,
        due_after=due_after,
        due_before=due_before,
    )
    problems.raise_if_any()
    return asked


def _number(given: Mapping[str, str], name: str, default: int, least: int, most: int, problems: Problems) -> int:
    text = given.get(name)
    if text is None:
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else -1
    if not least <= value <= most:
        problems.add(name, f"must be a whole number from {least} to {most}")
        return default
    return value


def _date_range(
    given: Mapping[str, str], date: str, problems: Problems
) -> tuple[datetime | None, datetime | None]:
    """First instant inside and first instant after the range of dates."""
    after: datetime | None = None
    before: datetime | None = None
    for name in _DATE_FILTERS:
        if name not in given or not name.startswith(f"{date}."):
            continue
        # The plus of a time zone arrives as a blank from clients that do not escape it.
        instant = read_instant(given[name].replace(" ", "+"))
        if instant is None:
            problems.add(name, "needs date, time and time zone, as in 2026-11-23T09:00:00Z")
        elif name.startswith(f"{date}.g"):
            first = instant + _TICK if name.endswith(".gt") else instant
            after = first if after is None else max(after, first)
        else:
            end = instant + _TICK if name.endswith(".lte") else instant
            before = end if before is None else min(before, end)
    return after, before


def select_fields(document: Mapping[str, Any], fields: str | None) -> dict[str, Any]:
    """The members that `?fields=` names, `id`, `href` and `@type` always; all of them when nothing is asked for.

    Members of members are named with dots (`productOrderItem.state`); `none` gives the three alone. Names that the
    document does not have are passed over, as they may be optional.
    """
    names = [each for each in (part.strip() for part in (fields or "").split(",")) if each]
    if not names:
        return dict(document)
    wanted: dict[str, list[str] | None] = {}
    for each in names:
        name, _, inner = each.partition(".")
        if not inner:
            wanted[name] = None
        elif (listed := wanted.setdefault(name, [])) is not None:
            listed.append(inner)
    return {
        name: _select_inside(value, wanted.get(name))
        for name, value in document.items()
        if name in wanted or name in ALWAYS_SHOWN
    }


def _select_inside(value: Any, inner: list[str] | None) -> Any:
    if inner is None:
        return value
    if isinstance(value, list):
        return [_select_inside(each, inner) for each in value]
    return select_fields(value, ",".join(inner)) if isinstance(value, Mapping) else value


def tmf_error(error: OrderplanError) -> dict[str, Any]:
    """The TMF630 body of a refusal: `reason` for people, `message` with place and mending too, and all problems."""
    body: dict[str, Any] = {
        "@type": "Error",
        "code": error.code,
        "reason": error.reason,
        "message": str(error),
        "status": str(error.status),
    }
    if error.path:
        body["problems"] = [{"path": error.path, "reason": error.reason}]
    body.update((name, error.facts[name]) for name in ("problems", "problemsTotal") if name in error.facts)
    return body
