"""The environment's fulfilment systems: how each is reached, how many calls it takes, and who holds it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from adapters.registry import build_adapter
from domain.errors import BadDocument, NotFound
from domain.holds import EVERYTHING, HeldSystems, HoldCause
from domain.release import TASKS_SYSTEM
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.orders import native_json, read_object, reason_of
from persistence import catalogue, holds
from persistence.catalogue import Limits
from persistence.holds import HoldRow

CONCURRENCY_MAX: Final = 10_000
RATE_MAX: Final = 100_000.0
RATE_MIN: Final = 0.001
FAILURES_MAX: Final = 10_000
PAUSE_S_MIN: Final = 0.1
PAUSE_S_MAX: Final = 86_400.0
COUNTED_MAX: Final = 10_000
"""Held items of a system that a list counts."""
CHANGES_SHOWN: Final = 100


async def list_systems(request: web.Request) -> web.Response:
    """GET /v1/systems: how this environment reaches its fulfilment systems, their limits, and what holds them."""
    context, tenant = context_of(request), tenant_of(request)
    systems = await catalogue.list_systems(context.pool, tenant)
    rows = await holds.list_holds(context.pool, tenant)
    counts = await asyncio.gather(
        *(holds.count_held(context.pool, tenant, each["code"], COUNTED_MAX) for each in systems)
    )
    held = HeldSystems.of(row.hold for row in rows)
    return native_json([_shown(each, held, rows, count) for each, count in zip(systems, counts, strict=True)])


async def list_calls(request: web.Request) -> web.Response:
    """GET /v1/systems:calls: calls running and waiting at each system just now, and its breaker."""
    tenant = tenant_of(request)
    found = (await context_of(request).stats()).get("adapters", {}).get("systems", ())
    shown = ("code", "running", "waiting", "breaker", "held")
    return native_json([{name: each[name] for name in shown} for each in found if each["tenant"] == tenant])


async def put_system(request: web.Request) -> web.Response:
    """PUT /v1/systems/{code}: say how it is reached and how many calls it takes; what is left out is as by default.

    `{"adapter": "http", "config": {...}, "concurrency": 50, "ratePerS": 20, "breaker": {"failures": 20, "pauseS": 10},
    "drainPerS": 200}`; null for `ratePerS` is no limit, for `breaker` none.
    """
    context, code = context_of(request), request.match_info["code"]
    body = await read_object(request)
    adapter, config = body.get("adapter"), body.get("config", {})
    if not isinstance(adapter, str):
        raise BadDocument("must name the adapter", path="adapter", mend="http, simulated, or module:Class")
    if not isinstance(config, dict):
        raise BadDocument("must be an object", path="config")
    if code in (EVERYTHING, TASKS_SYSTEM):
        raise BadDocument("is a name that no system can have", path="code")
    limits = limits_of(body)
    await build_adapter(adapter, config).close()
    await catalogue.put_system(
        context.pool,
        tenant_of(request),
        code,
        adapter=adapter,
        config=config,
        limits=limits,
        now=context.now(),
        actor=user_of(request),
    )
    await context.broadcast("systems")
    return native_json({"code": code, "adapter": adapter} | _limits_shown(limits))


async def steer_system(request: web.Request) -> web.Response:
    """POST /v1/systems/{code}:hold|:release: let a system take no calls, or calls again.

    Holding needs a `reason`. What is about to start or to be tried again rests On Hold meanwhile, calls under way go
    on; when the system is released, held items go on at its `drainPerS`. Releasing lifts every hold, an open circuit
    breaker too.
    """
    context, tenant, code = context_of(request), tenant_of(request), request.match_info["code"]
    await _check_known(context, tenant, code)
    return await _steer(request, context, tenant, code)


async def _check_known(context: Context, tenant: str, code: str) -> None:
    known = {each["code"] for each in await catalogue.list_systems(context.pool, tenant)} | {TASKS_SYSTEM}
    if code not in known:
        raise NotFound(f"there is no system {code!r}", mend="set it up first, or name all systems")


async def steer_everything(request: web.Request) -> web.Response:
    """POST /v1/systems:hold|:release: pause every system, or end the pause and every other hold."""
    return await _steer(request, context_of(request), tenant_of(request), EVERYTHING)


async def _steer(request: web.Request, context: Context, tenant: str, code: str) -> web.Response:
    action, body, actor = request.match_info["action"], await read_object(request), user_of(request)
    if action == "hold":
        cause = HoldCause.PAUSE if code == EVERYTHING else HoldCause.OFFLINE
        await holds.hold(
            context.pool, tenant, code, cause, reason=reason_of(body), actor=actor, now=context.now()
        )
        is_changed = True
    else:
        reason = reason_of(body) if body.get("reason") is not None else ""
        is_changed = await holds.release(
            context.pool, tenant, code, reason=reason, actor=actor, now=context.now()
        )
    await context.broadcast("systems")
    return native_json({"code": code, "action": action, "changed": is_changed})


async def list_changes(request: web.Request) -> web.Response:
    """GET /v1/systems/{code}/changes: who changed, held and released the system, newest first."""
    context = context_of(request)
    tenant, code = tenant_of(request), request.match_info["code"]
    found = await holds.list_changes(context.pool, tenant, code, CHANGES_SHOWN)
    if not found and code != EVERYTHING:
        # Without any it may be a slip of the pen, which must not look like a system that nobody has touched.
        await _check_known(context, tenant, code)
    return native_json(
        [
            {
                "at": each["at"].isoformat(),
                "code": each["code"],
                "by": each["actor"],
                "kind": each["kind"],
                "change": each["body"],
            }
            for each in found
        ]
    )


def limits_of(body: Mapping[str, Any]) -> Limits:
    """The limits that a document asks for.

    Raises:
        BadDocument: one of them is no number, or out of bounds; its name is the path.
    """
    usual = Limits()
    breaker = body.get("breaker", {})
    if breaker is not None and not isinstance(breaker, Mapping):
        raise BadDocument("must be an object with failures and pauseS, or null for none", path="breaker")
    rate = body.get("ratePerS")
    return Limits(
        concurrency=int(_number(body, "concurrency", usual.concurrency, 1, CONCURRENCY_MAX, is_whole=True)),
        rate_per_s=None if rate is None else _number(body, "ratePerS", 0.0, RATE_MIN, RATE_MAX),
        breaker_failures=None
        if breaker is None
        else int(_number(breaker, "failures", usual.breaker_failures or 0, 1, FAILURES_MAX, "breaker.", is_whole=True)),
        breaker_pause_s=_number(breaker or {}, "pauseS", usual.breaker_pause_s, PAUSE_S_MIN, PAUSE_S_MAX, "breaker."),
        drain_per_s=_number(body, "drainPerS", usual.drain_per_s, RATE_MIN, RATE_MAX),
    )


def _number(
    body: Mapping[str, Any],
    name: str,
    usual: float,
    low: float,
    high: float,
    place: str = "",
    *,
    is_whole: bool = False,
) -> float:
    value = body.get(name, usual)
    kinds = int if is_whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value) or not low <= value <= high:
        kind = "a whole number" if is_whole else "a number"
        raise BadDocument(f"must be {kind} between {low:g} and {high:g}", path=f"{place}{name}")
    return float(value)


def _limits_shown(limits: Limits) -> dict[str, Any]:
    breaker = None
    if limits.breaker_failures is not None:
        breaker = {"failures": limits.breaker_failures, "pauseS": limits.breaker_pause_s}
    return {
        "concurrency": limits.concurrency,
        "ratePerS": limits.rate_per_s,
        "breaker": breaker,
        "drainPerS": limits.drain_per_s,
    }


def _shown(
    system: Mapping[str, Any], held: HeldSystems, rows: Sequence[HoldRow], waiting: int
) -> dict[str, Any]:
    config = dict(system["config"])
    if "headers" in config:
        # Headers carry credentials; whoever may see where a system is need not see how one gets in.
        config["headers"] = dict.fromkeys(config["headers"], "********")
    hold = held.of_system(system["code"])
    shown = {
        "code": system["code"],
        "adapter": system["adapter"],
        "config": config,
        "updatedAt": system["updatedAt"],
        "state": "offline" if hold is not None else "online",
        "holds": [hold_shown(row) for row in rows if row.hold.system in (system["code"], EVERYTHING)],
        "heldItems": waiting,
        "heldItemsAreMore": waiting == COUNTED_MAX,
    }
    return shown | _limits_shown(Limits.from_row(system))


def hold_shown(row: HoldRow) -> dict[str, Any]:
    """One hold for people; `isHeld` false: a circuit breaker that is open for the first time, or out of a pause."""
    return {
        "system": row.hold.system,
        "cause": row.hold.cause.value,
        "isHeld": row.hold.is_held,
        "reason": row.hold.reason,
        "by": row.actor,
        "since": row.since.isoformat(),
        "tryAt": row.probe_at.isoformat() if row.probe_at else None,
    }
