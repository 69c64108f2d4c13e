"""The registry of delay models: what was registered never changes but for its stage, and every change is kept.

    registered -> shadow, champion, retired       a tenant has one champion at most, and a few shadows
    shadow     -> registered, champion, retired
    champion   -> retired                         when another one is promoted, by a rollback, or by itself
    retired    -> shadow, champion

Without a champion the built-in model answers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from domain.errors import NotFound, NotPossibleNow

SHADOWS_MAX: Final = 3
"""Each has a process of its own and scores what the champion scores."""
NEXT: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "shadow": (("registered", "retired"), "shadow"),
    "rest": (("shadow",), "registered"),
    "promote": (("registered", "shadow", "retired"), "champion"),
    "retire": (("registered", "shadow", "champion"), "retired"),
}
"""By action: from which stages it leads, and where."""
_SHOWN: Final = "name, form, digest, signature, stage, registered_at, registered_by"


class ActiveModel(NamedTuple):
    """A model that scores: the champion, or a shadow."""

    name: str
    digest: str
    stage: str


async def register(
    pool: asyncpg.Pool[Any],
    tenant: str,
    name: str,
    *,
    form: str,
    digest: str,
    signature: dict[str, Any],
    document: str,
    at: datetime,
    by: str,
) -> None:
    """Take a model in; the same one under the same name again changes nothing.

    Raises:
        NotPossibleNow: another model has the name.
    """
    async with pool.acquire() as connection, connection.transaction():
        added = await connection.execute(
            "insert into delay_model (tenant, name, form, digest, signature, document, stage, registered_at, "
            "registered_by) values ($1, $2, $3, $4, $5, $6, 'registered', $7, $8) on conflict do nothing",
            tenant,
            name,
            form,
            digest,
            orjson.dumps(signature).decode(),
            document,
            at,
            by,
        )
        if added.endswith(" 1"):
            await _note(connection, tenant, name, "register", "registered", None, at, by, "", None)
            return
        known = await connection.fetchval(
            "select digest from delay_model where tenant = $1 and name = $2", tenant, name
        )
        if known != digest:
            raise NotPossibleNow(
                f"another model is registered as {name!r}", path="name", mend="give this one a name of its own"
            )


class HeldAgainst(NamedTuple):
    """Whom a model was held against; None: the built-in one."""

    champion: str | None


async def move(
    pool: asyncpg.Pool[Any],
    tenant: str,
    name: str,
    action: str,
    *,
    at: datetime,
    by: str,
    reason: str = "",
    figures: dict[str, Any] | None = None,
    against: HeldAgainst | None = None,
) -> None:
    """Change a model's stage; promoting retires the champion before it.

    Args:
        pool: of the order database.
        tenant: whose.
        name: of the model.
        action: one of `NEXT`.
        at: now.
        by: who.
        reason: in words.
        figures: by which it was decided.
        against: the champion that it was held against, if a rule decided.

    Raises:
        NotFound: there is no such model.
        NotPossibleNow: its stage does not allow it, there are shadows enough, or another model has become champion
            since it was held against one.
    """
    before, becomes = NEXT[action]
    async with pool.acquire() as connection, connection.transaction():
        stages = await _locked(connection, tenant)
        if name not in stages:
            raise NotFound(f"there is no delay model {name!r}")
        if stages[name] not in before:
            raise NotPossibleNow(f"the model is {stages[name]}: only {' or '.join(before)} may be asked to {action}")
        if becomes == "shadow" and sum(stage == "shadow" for stage in stages.values()) >= SHADOWS_MAX:
            raise NotPossibleNow(f"{SHADOWS_MAX} models score in shadow already", mend="let one of them rest first")
        former = _champion(stages)
        if against is not None and former != against.champion:
            raise NotPossibleNow(
                f"{former or 'the built-in model'} has become champion meanwhile, which {name} was not held against",
                mend="ask again",
            )
        if becomes == "champion" and former is not None:
            await _set(connection, tenant, former, "retired")
        await _set(connection, tenant, name, becomes)
        kept = former if becomes == "champion" else None
        await _note(connection, tenant, name, action, becomes, kept, at, by, reason, figures)


async def rollback(
    pool: asyncpg.Pool[Any], tenant: str, *, at: datetime, by: str, reason: str
) -> tuple[str, str | None]:
    """Put the champion before the present one back: (who was champion, who is; None: the built-in model).

    Raises:
        NotPossibleNow: there is no champion.
    """
    async with pool.acquire() as connection, connection.transaction():
        stages = await _locked(connection, tenant)
        champion = _champion(stages)
        if champion is None:
            raise NotPossibleNow("the built-in model is at work: there is nothing to roll back")
        # Of the promotion and not of a rollback: two in a row lead back two promotions.
        former: str | None = await connection.fetchval(
            "select former from delay_model_change where tenant = $1 and name = $2 and action = 'promote' "
            "order by sequence desc limit 1",
            tenant,
            champion,
        )
        await _set(connection, tenant, champion, "retired")
        if former is None:
            await _note(connection, tenant, champion, "rollback", "retired", champion, at, by, reason, None)
        else:
            await _set(connection, tenant, former, "champion")
            await _note(connection, tenant, former, "rollback", "champion", champion, at, by, reason, None)
        return champion, former


async def _locked(connection: Any, tenant: str) -> dict[str, str]:
    """The stage of every model of the tenant; nobody else changes one until the end of the transaction."""
    rows = await connection.fetch(
        "select name, stage from delay_model where tenant = $1 order by name for update", tenant
    )
    return {row["name"]: row["stage"] for row in rows}


def _champion(stages: dict[str, str]) -> str | None:
    return next((name for name, stage in stages.items() if stage == "champion"), None)


async def _set(connection: Any, tenant: str, name: str, stage: str) -> None:
    await connection.execute(
        "update delay_model set stage = $3 where tenant = $1 and name = $2", tenant, name, stage
    )


async def _note(
    connection: Any,
    tenant: str,
    name: str,
    action: str,
    stage: str,
    former: str | None,
    at: datetime,
    by: str,
    reason: str,
    figures: dict[str, Any] | None,
) -> None:
    await connection.execute(
        "insert into delay_model_change (tenant, name, action, stage, former, at, by, reason, figures) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tenant,
        name,
        action,
        stage,
        former,
        at,
        by,
        reason,
        orjson.dumps(figures).decode() if figures is not None else None,
    )


async def active(pool: asyncpg.Pool[Any], tenant: str) -> list[ActiveModel]:
    """The champion, then the shadows by name."""
    rows = await pool.fetch(
        "select name, digest, stage from delay_model where tenant = $1 and stage in ('champion', 'shadow') "
        "order by stage, name",
        tenant,
    )
    return [ActiveModel(row["name"], row["digest"], row["stage"]) for row in rows]


async def read_document(pool: asyncpg.Pool[Any], tenant: str, name: str) -> dict[str, Any]:
    """The artefact.

    Raises:
        NotFound: there is no such model.
    """
    text = await pool.fetchval("select document from delay_model where tenant = $1 and name = $2", tenant, name)
    if text is None:
        raise NotFound(f"there is no delay model {name!r}")
    found: dict[str, Any] = orjson.loads(text)
    return found


async def list_models(pool: asyncpg.Pool[Any], tenant: str, name: str | None = None) -> list[dict[str, Any]]:
    """All models, newest first, or the one of that name: everything but the artefact's body."""
    rows = await pool.fetch(
        f"select {_SHOWN} from delay_model where tenant = $1 and ($2::text is null or name = $2) "
        "order by registered_at desc, name",
        tenant,
        name,
    )
    return [
        {
            "name": row["name"],
            "form": row["form"],
            "digest": row["digest"],
            "stage": row["stage"],
            "registeredAt": row["registered_at"].isoformat(),
            "registeredBy": row["registered_by"],
            "signature": orjson.loads(row["signature"]),
        }
        for row in rows
    ]


async def list_changes(pool: asyncpg.Pool[Any], tenant: str, limit: int) -> list[dict[str, Any]]:
    """What was done with models, the newest first."""
    rows = await pool.fetch(
        "select * from delay_model_change where tenant = $1 order by sequence desc limit $2", tenant, limit
    )
    return [
        {
            "sequence": row["sequence"],
            "name": row["name"],
            "action": row["action"],
            "stage": row["stage"],
            "former": row["former"],
            "at": row["at"].isoformat(),
            "by": row["by"],
            "reason": row["reason"],
            "figures": orjson.loads(row["figures"]) if row["figures"] is not None else None,
        }
        for row in rows
    ]
