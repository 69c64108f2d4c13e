"""Health, metrics, the cluster's counters, the API's own description."""

from __future__ import annotations

from aiohttp import web

from gateway.context import context_of, tenant_of
from gateway.openapi import DOCUMENT
from gateway.orders import native_json
from persistence import incarnations, reads
from persistence.incarnations import Ownership


async def get_health(request: web.Request) -> web.Response:
    """GET /healthz: the gateway answers."""
    return native_json({"status": "ok"})


async def get_readiness(request: web.Request) -> web.Response:
    """GET /readyz: 200 when the database answers and every shard has a living owner, else 503 with what is missing.

    `durability` lists what could lose acknowledged orders; that is no reason to send nobody here.
    """
    context = context_of(request)
    table = await Ownership(context.pool).assignments()
    alive = {
        each.incarnation_id
        for each in await Ownership(context.pool).living()
        if each.silent_s < incarnations.SILENT_MAX_S
    }
    homeless = sum(each.incarnation_id not in alive for each in table)
    durability = {"durability": context.weaknesses()}
    if homeless or not table:
        return native_json({"status": "starting", "shardsWithoutOwner": homeless} | durability, 503)
    return native_json({"status": "ready", "shards": len(table), "hosts": len(context.hosts.hosts())} | durability)


async def get_metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus exposition."""
    context = context_of(request)
    orders = await reads.state_counts(context.pool, tenant_of(request))
    body = context.metrics.render(orders, await context.stats())
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def get_cluster(request: web.Request) -> web.Response:
    """GET /v1/cluster: counters of every actor."""
    context = context_of(request)
    orders = await reads.state_counts(context.pool, tenant_of(request))
    return native_json({"orders": orders, "actors": await context.stats(), "durability": context.weaknesses()})


async def get_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json: this API."""
    return native_json(request.app[DOCUMENT])
