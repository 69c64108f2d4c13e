"""Delay models: registered, tried in shadow, promoted, rolled back; and the history that they learn from."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from actors.model_watch import compared, rolling
from delay.critical_path import NAME as BUILTIN
from delay.critical_path import VERSION as BUILTIN_VERSION
from delay.stock.artefact import Artefact
from delay.stock.rule import MARGIN, OUTCOMES_MIN
from domain.errors import BadDocument, NotFound, NotPossibleNow
from domain.facts import PLAN_COMPOSED
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.documents import read_instant
from gateway.orders import native_json, read_object
from persistence import models, ticks
from persistence.history import OrderPlace, orders_from

log = structlog.get_logger(__name__)

CHANGES_SHOWN: Final = 50
HISTORY_ORDERS_MAX: Final = 200
REASON_MAX: Final = 500
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LEFT_OUT: Final = ("bins", "schema")
"""Of the signature in lists: they are long, and stand in the artefact."""


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/delay-models: all models, newest first, who is champion (null: the built-in model), and what was done.

    `atWork` of a champion or shadow: what it has done since it came to score (`asked`, `unanswered`, `refused`,
    `errors`), `restingUntil` and `lastCause`; null while the predictor has not taken it up.
    """
    context, tenant = context_of(request), tenant_of(request)
    at_work = _at_work((await context.stats()).get("predictor", {}))
    found = [
        _shown(each) | {"atWork": at_work.get(each["name"]) if each["stage"] in ("champion", "shadow") else None}
        for each in await models.list_models(context.pool, tenant)
    ]
    champion = next((each["name"] for each in found if each["stage"] == "champion"), None)
    changes = await models.list_changes(context.pool, tenant, CHANGES_SHOWN)
    return native_json({"models": found, "champion": champion, "changes": changes})


async def get_model(request: web.Request) -> web.Response:
    """GET /v1/delay-models/{name}: one model, without its artefact."""
    return native_json(_shown(await _one(context_of(request), tenant_of(request), request.match_info["name"])))


async def get_artefact(request: web.Request) -> web.Response:
    """GET /v1/delay-models/{name}/artefact: the model itself, as it was registered."""
    context = context_of(request)
    return native_json(await models.read_document(context.pool, tenant_of(request), request.match_info["name"]))


async def register_model(request: web.Request) -> web.Response:
    """POST /v1/delay-models: take a model in, `{"name", "artefact"}`; nothing uses it yet.

    The same model under the same name again changes nothing. It is not run here.
    """
    context, tenant = context_of(request), tenant_of(request)
    body = await read_object(request)
    _only(body, ("name", "artefact"))
    name = body.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name == BUILTIN:
        mend = "use up to 64 letters, digits, points, hyphens and underscores"
        raise BadDocument("is no name for a model", path="name", mend=mend)
    artefact = await asyncio.to_thread(_read, body.get("artefact"))
    await models.register(
        context.pool,
        tenant,
        name,
        form=artefact.form,
        digest=artefact.digest,
        signature=dict(artefact.signature),
        document=artefact.text,
        at=context.now(),
        by=user_of(request),
    )
    log.info("delay model registered", model=name, digest=artefact.digest, user=user_of(request))
    return native_json(_shown(await _one(context, tenant, name)), 201)


async def steer_model(request: web.Request) -> web.Response:
    """POST /v1/delay-models/{name}:shadow|rest|promote|retire: change the stage of a model.

    `{"reason": text}`. For `promote` also `{"ifBetter": true}`: only if the rule says so, with `margin` (of the Brier
    score) and `outcomes` (orders that both models have been judged on); 409 with the figures if it does not.
    """
    context, tenant = context_of(request), tenant_of(request)
    name, action = request.match_info["name"], request.match_info["action"]
    body = await read_object(request)
    _only(body, ("reason", "ifBetter", "margin", "outcomes") if action == "promote" else ("reason",))
    figures = against = None
    reason = _reason(body)
    if_better = body.get("ifBetter", False)
    if not isinstance(if_better, bool):
        raise BadDocument("must be true or false", path="ifBetter")
    if if_better:
        known = await models.list_models(context.pool, tenant)
        against = models.HeldAgainst(next((each["name"] for each in known if each["stage"] == "champion"), None))
        champion = against.champion or BUILTIN
        await _one(context, tenant, name)
        found = await compared(
            context.pool,
            tenant,
            champion,
            name,
            margin=float(_number(body, "margin", MARGIN, 0.0, 1.0)),
            outcomes_min=int(_number(body, "outcomes", OUTCOMES_MIN, 1, 100_000)),
        )
        figures = found.to_dict() | {"champion": champion}
        if not found.is_better:
            raise NotPossibleNow(
                f"{name} is not better than {champion}: {found.reason}",
                mend="let it score in shadow for longer, or promote it without the rule",
                figures=figures,
            )
        reason = reason or f"better than {champion}: {found.reason}"
    await models.move(
        context.pool,
        tenant,
        name,
        action,
        at=context.now(),
        by=user_of(request),
        reason=reason,
        figures=figures,
        against=against,
    )
    log.info("delay model changed", model=name, action=action, user=user_of(request))
    return native_json(_shown(await _one(context, tenant, name)) | {"figures": figures})


async def rollback_models(request: web.Request) -> web.Response:
    """POST /v1/delay-models:rollback: put the champion before the present one back; `{"reason": text}`."""
    context, tenant = context_of(request), tenant_of(request)
    body = await read_object(request)
    _only(body, ("reason",))
    was, champion = await models.rollback(
        context.pool, tenant, at=context.now(), by=user_of(request), reason=_reason(body)
    )
    log.info("delay model rolled back", model=was, champion=champion, user=user_of(request))
    return native_json({"was": was, "champion": champion})


async def report_models(request: web.Request) -> web.Response:
    """GET /v1/delay-models:report: how champion, shadows and built-in model have done of late, and what has shifted."""
    context, tenant = context_of(request), tenant_of(request)
    active = await models.active(context.pool, tenant)
    champion = next((each.name for each in active if each.stage == "champion"), None)
    waiting = await ticks.waiting(context.pool, tenant)
    predictor = (await context.stats()).get("predictor", {})
    at_work = _at_work(predictor)
    # Named at the server's start, it answers while the registry has no champion.
    answering = predictor.get("champion")
    is_heard = champion is None or answering == champion
    known = {each["name"]: each for each in await models.list_models(context.pool, tenant)}
    found = []
    for name, stage in [*((each.name, each.stage) for each in active), (BUILTIN, "builtIn")]:
        against = None
        if stage == "shadow":
            against = (await compared(context.pool, tenant, champion or BUILTIN, name)).to_dict()
        signature = known[name]["signature"] if name in known else {}
        found.append(
            {
                "name": name,
                "version": known[name]["digest"] if name in known else BUILTIN_VERSION,
                "stage": stage,
                "simulated": signature.get("simulated"),
                "live": await rolling(context.pool, tenant, name),
                "waiting": waiting.get(name, 0),
                "trained": signature.get("metricsAtTicks"),
                "againstChampion": against,
                "atWork": at_work.pop(name, None),
            }
        )
    return native_json(
        {
            "at": context.now().isoformat(),
            "champion": champion,
            "answering": answering,
            "configured": next((each for each in at_work.values() if each["stage"] == "configured"), None),
            "models": found,
            "shift": predictor.get("shift", {}),
            # A champion of the last seconds, or one that cannot be used here, has not been asked yet.
            "fallbackShare": predictor.get("fallbackShare") if is_heard else None,
            "modelErrors": predictor.get("modelErrors"),
        }
    )


async def get_history(request: web.Request) -> web.Response:
    """GET /v1/delay-models:history?since=&cursor=&limit=: whole orders with all their facts, by when they came.

    `{"facts": [...], "templates": {...}, "releases": {...}, "orders": number, "until": instant, "next": cursor}`.
    Sealed values are not in facts.
    """
    context, tenant = context_of(request), tenant_of(request)
    query = request.query
    since = read_instant(query.get("since", "1970-01-02T00:00:00Z"))
    if since is None:
        raise BadDocument("must be an instant with a time zone (RFC 3339)", path="since")
    limit = int(_number({"limit": _digits(query.get("limit"))}, "limit", HISTORY_ORDERS_MAX, 1, HISTORY_ORDERS_MAX))
    now = context.now()
    page = await orders_from(context.pool, tenant, since, _place(query.get("cursor")), limit)
    stored = await context.store.facts_of([each.order_id for each in page])
    templates: dict[str, Any] = {}
    releases: dict[str, Any] = {}
    facts: list[dict[str, Any]] = []
    for order_id, found in stored.items():
        for fact in found:
            payload = fact.payload
            if (release_id := payload.get("release")) and isinstance(release_id, str):
                releases[release_id] = None
            if fact.kind == PLAN_COMPOSED:
                templates[payload["template"]] = payload["release"]
            facts.append(
                {
                    "order": order_id,
                    "shard": fact.shard,
                    "offset": fact.offset,
                    "kind": fact.kind,
                    "v": fact.v,
                    "at": fact.at.isoformat(),
                    "item": fact.item,
                    "payload": payload,
                    "actor": fact.actor,
                    "cause": fact.cause,
                }
            )
    for release_id in releases:
        body = await context.store.release_body(tenant, release_id)
        releases[release_id] = body
    return native_json(
        {
            "orders": len(page),
            "facts": facts,
            "templates": {
                template_id: {"release": release_id, "template": await context.store.template(tenant, template_id)}
                for template_id, release_id in templates.items()
            },
            "releases": releases,
            "until": now.isoformat(),
            "next": _cursor(page[-1]) if len(page) == limit else None,
        }
    )


def _at_work(predictor: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["model"]: each for each in predictor.get("atWork", ())}


async def _one(context: Context, tenant: str, name: str) -> dict[str, Any]:
    found = await models.list_models(context.pool, tenant, name)
    if not found:
        raise NotFound(f"there is no delay model {name!r}")
    return found[0]


def _shown(model: dict[str, Any]) -> dict[str, Any]:
    """A model with what makes up most of its signature left out; the hash of its features stays."""
    signature = {name: value for name, value in model["signature"].items() if name not in _LEFT_OUT}
    signature["featureHash"] = model["signature"].get("schema", {}).get("hash")
    return model | {"signature": signature}


def _read(document: Any) -> Artefact:
    try:
        return Artefact.read(document)
    except BadDocument as error:
        raise BadDocument(error.reason, path=f"artefact.{error.path}", mend=error.mend) from error


def _only(body: dict[str, Any], members: tuple[str, ...]) -> None:
    for member in body:
        if member not in members:
            raise BadDocument("has no meaning here", path=member[:100], mend=f"give {', '.join(members)}")


def _reason(body: dict[str, Any]) -> str:
    reason = body.get("reason", "")
    if not isinstance(reason, str) or len(reason) > REASON_MAX:
        raise BadDocument(f"must be a text of at most {REASON_MAX} characters", path="reason")
    return reason


def _number(body: dict[str, Any], name: str, usual: float, least: float, most: float) -> float:
    value = body.get(name)
    if value is None:
        return usual
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise BadDocument(f"must be a number from {least:g} to {most:g}", path=name)
    return value


def _digits(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() and text.isascii() else text


def _cursor(place: OrderPlace) -> str:
    raw = orjson.dumps([place.created_at.isoformat(), place.order_id])
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _place(cursor: str | None) -> OrderPlace | None:
    if cursor is None:
        return None
    try:
        match orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))):
            case [str(at), str(order_id)] if "\0" not in order_id and datetime.fromisoformat(at).tzinfo is not None:
                return OrderPlace(datetime.fromisoformat(at), order_id)
    except (ValueError, binascii.Error):
        pass
    raise BadDocument("is no cursor of this list", path="cursor", mend="take `next` of the page before as it is")
