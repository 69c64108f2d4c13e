"""What designers save beside releases: diagrams and drafts, by name, each with a version that every change raises.

A change is made only to the version that it was made for, so nobody overwrites what somebody else has saved meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.errors import Conflict, NotFound, NotPossibleNow, StaleVersion

DESIGNS_MAX: Final = 1_000
"""Of one kind, of a tenant."""


class DesignKind(StrEnum):
    """What a design is."""

    DIAGRAM = "diagram"
    DRAFT = "draft"


class Design(NamedTuple):
    """A design as it is stored."""

    name: str
    version: int
    body: dict[str, Any]
    updated_at: datetime
    updated_by: str


class StaleDesign(StaleVersion):
    """What was sent is made for another version; `stored` is what is there."""

    stored: Design


_DESIGN: Final = "select name, version, {} as body, updated_at, updated_by from design where tenant = $1 and kind = $2"


async def list_designs(pool: asyncpg.Pool[Any], tenant: str, kind: DesignKind) -> list[Design]:
    """All of a kind by name; a draft without its release, of which only code and version are in the body."""
    body = "(body - 'release') || jsonb_strip_nulls(jsonb_build_object('of', body #> '{release,code}'))"
    rows = await pool.fetch(_DESIGN.format(body) + " order by lower(name), name", tenant, kind.value)
    return [_design(row) for row in rows]


async def read_design(pool: asyncpg.Pool[Any], tenant: str, kind: DesignKind, name: str) -> Design:
    """One by its name.

    Raises:
        NotFound: there is none.
    """
    row = await pool.fetchrow(_DESIGN.format("body") + " and name = $3", tenant, kind.value, name)
    if row is None:
        raise NotFound(f"there is no {kind} {name!r}", mend=f"GET /v1/{kind}s lists them")
    return _design(row)


async def create_design(
    pool: asyncpg.Pool[Any],
    tenant: str,
    kind: DesignKind,
    name: str,
    body: Mapping[str, Any],
    *,
    actor: str,
    now: datetime,
) -> int | None:
    """Save a new one; returns its version, None where one of that name is there, which stays as it is.

    Raises:
        NotPossibleNow: there are too many.
    """
    count = await pool.fetchval("select count(*) from design where tenant = $1 and kind = $2", tenant, kind.value)
    if count >= DESIGNS_MAX:
        raise NotPossibleNow(f"there are {count} {kind}s already", mend="delete some that nobody needs")
    version: int | None = await pool.fetchval(
        "insert into design (tenant, kind, name, version, body, created_at, updated_at, updated_by) "
        "values ($1, $2, $3, 1, $4::jsonb, $5, $5, $6) on conflict do nothing returning version",
        tenant,
        kind.value,
        name,
        orjson.dumps(body).decode(),
        now,
        actor,
    )
    return version


async def change_design(
    pool: asyncpg.Pool[Any],
    tenant: str,
    kind: DesignKind,
    name: str,
    body: Mapping[str, Any],
    *,
    version: int,
    new_name: str,
    actor: str,
    now: datetime,
) -> int:
    """Save a change of the one that is at `version`; returns the next version.

    Raises:
        NotFound: there is none of that name.
        StaleDesign: it is at another version.
        Conflict: the new name is another one's.
    """
    try:
        changed: int | None = await pool.fetchval(
            "update design set name = $5, body = $6::jsonb, version = version + 1, updated_at = $7, updated_by = $8 "
            "where tenant = $1 and kind = $2 and name = $3 and version = $4 returning version",
            tenant,
            kind.value,
            name,
            version,
            new_name,
            orjson.dumps(body).decode(),
            now,
            actor,
        )
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"there is a {kind} {new_name!r} already", path="name", mend="choose another name") from error
    if changed is None:
        raise _stale(await read_design(pool, tenant, kind, name), kind, version)
    return changed


async def delete_design(pool: asyncpg.Pool[Any], tenant: str, kind: DesignKind, name: str, *, version: int) -> None:
    """Delete the one that is at `version`.

    Raises:
        NotFound: there is none of that name.
        StaleDesign: it is at another version.
    """
    gone = await pool.fetchval(
        "delete from design where tenant = $1 and kind = $2 and name = $3 and version = $4 returning version",
        tenant,
        kind.value,
        name,
        version,
    )
    if gone is None:
        raise _stale(await read_design(pool, tenant, kind, name), kind, version)


def _stale(stored: Design, kind: DesignKind, version: int) -> StaleDesign:
    """The refusal of what was made for `version` of one that is at another."""
    error = StaleDesign(
        f"{kind} {stored.name!r} is at version {stored.version}, saved by {stored.updated_by}; "
        f"what was sent is made for version {version}",
        mend="read it again, or save over it by sending the version that it is at",
        version=stored.version,
        updatedBy=stored.updated_by,
        updatedAt=stored.updated_at.isoformat(),
    )
    error.stored = stored
    return error


def _design(row: Mapping[str, Any]) -> Design:
    return Design(row["name"], row["version"], orjson.loads(row["body"]), row["updated_at"], row["updated_by"])
