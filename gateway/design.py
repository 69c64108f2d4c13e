"""Checking, importing and publishing releases, and the installed base."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

import orjson
import yaml
from aiohttp import web

from actors.envelopes import ImportAssets
from adapters.importers.dro import Imported, import_dro
from adapters.importers.tmf620 import import_tmf620
from adapters.price_process import check_functions
from domain.catalogue import Release
from domain.errors import BadDocument, NotFound, NotPossibleNow, OrderplanError
from domain.ids import account_shard
from domain.inventory import Asset
from domain.publish import compile_release
from domain.release import CompiledRelease
from domain.release_file import read_release, release_document
from gateway.context import Context, context_of, tenant_of, user_of
from gateway.keys import ask_keys
from gateway.orders import ANSWER_TIMEOUT_S, is_dry_run, native_json, read_object, tmf_json
from gateway.queries import text_of
from gateway.releases import moment_of
from gateway.tmf637 import parse_products
from gateway.views import product_view
from persistence import catalogue, reads
from persistence.designs import DesignKind, create_design, read_design

ASSETS_PER_MESSAGE = 200
OFFSET_MAX = 1_000_000_000
YAML_LENGTH_MAX = 1 << 20
Made = TypeVar("Made")


async def validate_release(request: web.Request) -> web.Response:
    """POST /v1/releases:validate: what publishing would say; nothing is stored."""
    body = await read_object(request)
    compiled = await _off_the_loop(context_of(request), lambda: compile_release(read_release(body)))
    await check_functions(compiled.source)
    return native_json(_checked(compiled))


async def publish_release(request: web.Request) -> web.Response:
    """POST /v1/releases:publish: check and store; new orders take it from then on, or from `?effectiveFrom=` on."""
    context, moment = context_of(request), moment_of(request)
    body = await read_object(request)

    def checked() -> tuple[Release, CompiledRelease]:
        release = read_release(body)
        return release, compile_release(release)

    release, compiled = await _off_the_loop(context, checked)
    return native_json(await _publish(request, release, compiled, moment), 201)


async def read_release_file(request: web.Request) -> web.Response:
    """POST /v1/releases:read with `{"text": "..."}`: what a release file in YAML (or JSON) says; it is not checked."""
    body = await read_object(request)
    text = body.get("text")
    if not isinstance(text, str):
        raise BadDocument("must be the text of the file", path="text")
    document = await _off_the_loop(context_of(request), lambda: _from_yaml(text, "text"))
    if not isinstance(document, dict):
        raise BadDocument("is no release: it is not an object", path="text", mend="see docs/CATALOGUE.md for the form")
    return native_json({"release": document})


async def import_tmf620_catalogue(request: web.Request) -> web.Response:
    """POST /v1/releases:import-tmf620 with `{"catalogue": {...}, "bindings": {...}, "version": "1"}`: publish it.

    `bindings` may be YAML, as a text. With dryRun=true 200 with `release`, and nothing is stored.
    """
    context, moment = context_of(request), moment_of(request)
    body = await read_object(request)
    document = body.get("catalogue")
    if not isinstance(document, dict):
        raise BadDocument("must be the catalogue document, an object", path="catalogue")
    version = str(body.get("version", "1"))

    def imported() -> tuple[Release, CompiledRelease, list[str]]:
        release, findings = import_tmf620(document, _bindings(body), version)
        return release, compile_release(release), findings

    release, compiled, findings = await _off_the_loop(context, imported)
    if is_dry_run(request):
        answer = _checked(compiled) | {"dryRun": True, "release": release_document(release)}
    else:
        answer = await _publish(request, release, compiled, moment)
    answer["findings"] = [*findings, *answer["findings"]]
    return native_json(answer, 200 if is_dry_run(request) else 201)


async def import_dro_catalogue(request: web.Request) -> web.Response:
    """POST /v1/releases:import-dro with `{"files": {"Product2.csv": "..."}, "bindings": {...}, "version": "1"}`:
    publish it, and save its workspaces as diagrams; `environment` of the answer says who is to work in which queue.

    `bindings` may be YAML, as a text. With dryRun=true 200 with `release` and `diagrams`, and nothing is stored.
    """
    context, moment = context_of(request), moment_of(request)
    body = await read_object(request)
    files = body.get("files")
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise BadDocument("must be an object: file name -> its text", path="files")
    version, code = str(body.get("version", "1")), str(body.get("code", "dro"))

    def imported() -> tuple[Imported, CompiledRelease]:
        found = import_dro(files, _bindings(body), version, code)
        return found, compile_release(found.release)

    found, compiled = await _off_the_loop(context, imported)
    diagrams = [(each.name, each.to_dict(found.release.code)) for each in found.diagrams]
    shown = [{"name": name, **diagram} for name, diagram in diagrams]
    if is_dry_run(request):
        answer = _checked(compiled) | {"dryRun": True, "release": release_document(found.release)}
    else:
        answer = await _publish(request, found.release, compiled, moment)
        found.findings.extend([each async for each in _save_diagrams(request, diagrams)])
    answer["findings"] = [*found.findings, *answer["findings"]]
    answer |= {"environment": found.environment, "diagrams": shown}
    return native_json(answer, 200 if is_dry_run(request) else 201)


def _bindings(body: dict[str, Any]) -> Any:
    given = body.get("bindings")
    return _from_yaml(given, "bindings") if isinstance(given, str) else given


class _Loader(yaml.SafeLoader):
    """YAML without merge keys: they are written out as they are read, and a short text of them may be without end."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse them before they are."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("merge keys (<<) are not read: write the members out")
        super().flatten_mapping(node)


def _from_yaml(text: str, path: str) -> Any:
    """What a YAML text says, in JSON's kinds of values.

    Raises:
        BadDocument: it is none.
    """
    if len(text) > YAML_LENGTH_MAX:
        raise BadDocument(f"is YAML of more than {YAML_LENGTH_MAX} characters", path=path, mend="send it as JSON")
    try:
        read = yaml.load(text, _Loader)
        if _length(read, {}) > YAML_LENGTH_MAX * 8:
            raise ValueError("written out, its aliases are too long")
        # By way of JSON: a date of YAML is none of its values.
        return orjson.loads(orjson.dumps(read))
    except (yaml.YAMLError, TypeError, RecursionError, ValueError) as error:
        raise BadDocument(f"is no YAML: {' '.join(str(error).split())[:300]}", path=path) from error


def _length(value: Any, known: dict[int, int]) -> int:
    """How long a value is about, written out: a short text of aliases may stand for one without end.

    Args:
        value: read from YAML, where one object may stand in many places.
        known: the length of objects that were measured, by identity; 0 of those that are being measured.
    """
    if not isinstance(value, dict | list):
        return len(str(value)) + 1
    length = known.get(id(value))
    if length == 0:
        raise ValueError("a value holds itself")
    if length is None:
        known[id(value)] = 0
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        length = known[id(value)] = 2 + sum(_length(each, known) for each in parts)
    return length


async def _save_diagrams(request: web.Request, diagrams: Iterable[tuple[str, dict[str, Any]]]) -> AsyncIterator[str]:
    """Save what is new; a finding for each that people have made something else of, which stays as it is."""
    context, tenant, kind = context_of(request), tenant_of(request), DesignKind.DIAGRAM
    who: dict[str, Any] = {"actor": user_of(request), "now": context.now()}
    for name, diagram in diagrams:
        try:
            if await create_design(context.pool, tenant, kind, name, diagram, **who) is None:
                stored = await read_design(context.pool, tenant, kind, name)
                if stored.body != diagram:
                    yield f"diagram {name!r} is there already, with other lanes: it is left as it is"
        except (NotPossibleNow, NotFound) as error:
            # The release is out already: its diagrams refuse nothing.
            yield f"diagram {name!r} is not saved: {error}"


async def _off_the_loop(context: Context, work: Callable[[], Made]) -> Made:
    """What `work` gives, done in a thread: a large catalogue takes seconds, in which other requests are answered.

    One at a time: threads share one interpreter, so more of them would only take more of it from the other requests.
    """
    async with context.compiling:
        return await asyncio.to_thread(work)


def _checked(compiled: CompiledRelease) -> dict[str, Any]:
    source = compiled.source
    return {
        "id": compiled.release_id,
        "products": len(source.products),
        "plans": len(source.plans),
        "items": len(compiled.items),
        "dependencies": len(source.dependencies),
        "scenarios": len(source.scenarios),
        "findings": compiled.findings,
    }


async def _publish(
    request: web.Request, release: Release, compiled: CompiledRelease, effective_from: datetime | None
) -> dict[str, Any]:
    context = context_of(request)
    await check_functions(release)
    is_new = await catalogue.publish_release(
        context.pool,
        tenant_of(request),
        compiled.release_id,
        release_document(release),
        context.now(),
        effective_from=effective_from,
        actor=user_of(request),
    )
    await context.broadcast("releases")
    moment = effective_from.isoformat() if effective_from is not None else None
    return _checked(compiled) | {"published": is_new, "effectiveFrom": moment}


async def import_inventory(request: web.Request) -> web.Response:
    """POST /v1/inventory:import with `{"products": [TMF637 product, ...]}`: load a few installed products, parents
    before their children. Very many go to /v1/inventory:ingest.
    """
    context = context_of(request)
    body = await read_object(request)
    tenant = tenant_of(request)
    release_id = await context.folder.refresh_releases(tenant, context.now())
    if release_id is None:
        raise NotPossibleNow("no catalogue release is published, so products have no specification to belong to")
    release = await context.folder.release(tenant, release_id)
    accounts = parse_products(body.get("products"), release)
    imported = 0
    for account, assets in accounts.items():
        for start in range(0, len(assets), ASSETS_PER_MESSAGE):
            part = assets[start : start + ASSETS_PER_MESSAGE]
            answer = await _import(context, tenant, account, release_id, part, user_of(request))
            for result in answer["results"]:
                if isinstance(result, OrderplanError):
                    raise result
            imported += answer["imported"]
    return native_json({"imported": imported, "accounts": len(accounts)}, 201)


async def _import(
    context: Context, tenant: str, account: str, release_id: str, assets: list[Asset], user: str
) -> dict[str, Any]:
    shard = account_shard(tenant, account, context.hosts.shards)
    envelope = ImportAssets(
        shard=shard,
        tenant=tenant,
        account=account,
        release_id=release_id,
        assets=[asset.to_dict() for asset in assets],
        actor=f"person:{user}",
        cause=uuid.uuid4().hex,
    )
    answer: dict[str, Any] = await context.hosts.ask(
        "receive_orders", shard, envelope, timeout_s=ANSWER_TIMEOUT_S
    )
    return answer


async def list_products(request: web.Request) -> web.Response:
    """GET productInventory/v4/product?billingAccount.id=&offset=&limit=: what is installed (TMF637).

    With `productCharacteristic.name` and `productCharacteristic.value` those that have this value, of products whose
    attribute the release declares searchable; how many there are is not counted then.
    """
    context = context_of(request)
    account = request.query.get("billingAccount.id") or request.query.get("relatedParty.id")
    try:
        offset, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "50"))
    except ValueError:
        raise BadDocument("must be a number", path="offset, limit") from None
    if not 0 <= offset <= OFFSET_MAX or not 1 <= limit <= 1000:
        raise BadDocument(
            f"offset must be between 0 and {OFFSET_MAX}, limit between 1 and 1000", path="offset, limit"
        )
    text_of(account, "billingAccount.id")
    if "productCharacteristic.name" in request.query:
        return await _find_products(request, account, offset, limit)
    bodies, total = await reads.assets_of(
        context.pool, tenant_of(request), account=account, offset=offset, limit=limit
    )
    names = await _specifications(context, tenant_of(request))
    shown = [product_view(body, names.get(body["product"])) for body in bodies]
    return tmf_json(shown, 200, {"X-Total-Count": str(total), "X-Result-Count": str(len(shown))})


async def _find_products(request: web.Request, account: str | None, offset: int, limit: int) -> web.Response:
    context, tenant = context_of(request), tenant_of(request)
    name, text = (request.query.get(f"productCharacteristic.{each}", "") for each in ("name", "value"))
    if not text or "\0" in text:
        raise BadDocument("needs a value", path="productCharacteristic.value")
    await context.folder.refresh_releases(tenant, context.now())
    release = context.folder.current_release(tenant, context.now())
    declaring = {
        code: declared
        for code, product in (release.products.items() if release is not None else ())
        if (declared := product.attributes.get(name)) is not None and declared.searchable
    }
    if not declaring:
        raise BadDocument(
            f"products cannot be found by {name!r}",
            path="productCharacteristic.name",
            mend="declare the attribute searchable in the release",
        )
    meant = _meant(text)
    if any(each.encrypted for each in declaring.values()):
        meant += [{"mac": mac} for mac in await ask_keys(request, "macs", tenant, meant)]
    bodies = await reads.assets_with(
        context.pool, tenant, name, meant, products=list(declaring), account=account, offset=offset, limit=limit
    )
    names = await _specifications(context, tenant)
    shown = [product_view(body, names.get(body["product"])) for body in bodies]
    return tmf_json(shown, 200, {"X-Result-Count": str(len(shown))})


def _meant(text: str) -> list[Any]:
    """What a value in a query may stand for: the text itself, or the number or truth value that it writes."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [text]
    return [text, value] if isinstance(value, bool | int | float) else [text]


async def get_product(request: web.Request) -> web.Response:
    """GET productInventory/v4/product/{id}."""
    context = context_of(request)
    body = await reads.asset(context.pool, tenant_of(request), request.match_info["asset_id"])
    names = await _specifications(context, tenant_of(request))
    return tmf_json(product_view(body, names.get(body["product"])))


async def _specifications(context: Context, tenant: str) -> dict[str, str]:
    """How channels name each product of the release that new orders take."""
    release_id = await context.folder.refresh_releases(tenant, context.now())
    if release_id is None:
        return {}
    release = await context.folder.release(tenant, release_id)
    return {code: product.source.external_id or code for code, product in release.products.items()}
