"""Diagrams and drafts: what designers save beside releases, shared by all of them, by name and version."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from aiohttp import web

from domain.differences import differences
from domain.errors import BadDocument, Conflict
from gateway.changes import version_of
from gateway.context import context_of, tenant_of, user_of
from gateway.orders import native_json, read_object
from persistence import designs
from persistence.designs import Design, DesignKind, StaleDesign

NAME_LENGTH_MAX: Final = 200
TEXT_LENGTH_MAX: Final = 2_000
LANES_MAX: Final = 500
DIFFERENCES_MAX: Final = 50

Body = dict[str, Any]


async def list_diagrams(request: web.Request) -> web.Response:
    """GET /v1/diagrams: all of them by name, each with its plan definitions in the order of the lanes."""
    return await _list(request, DesignKind.DIAGRAM)


async def get_diagram(request: web.Request) -> web.Response:
    """GET /v1/diagrams/{name}: a diagram; its version is the ETag."""
    return await _get(request, DesignKind.DIAGRAM)


async def put_diagram(request: web.Request) -> web.Response:
    """PUT /v1/diagrams/{name} with `{"catalogue": "dro", "plans": ["Platform", "Finance"], "description": "..."}`.

    Without If-Match (or `version`) a new one; with it a change of that version, which another `name` renames. 412 where
    somebody has changed it meanwhile: `differs` says what, as it is stored and as it was sent.
    """
    return await _put(request, DesignKind.DIAGRAM, read_diagram)


async def delete_diagram(request: web.Request) -> web.Response:
    """DELETE /v1/diagrams/{name} with If-Match: the version that is to go."""
    return await _delete(request, DesignKind.DIAGRAM)


async def list_drafts(request: web.Request) -> web.Response:
    """GET /v1/drafts: all of them by name, without their releases: `of` is the code, `base` what it was begun from."""
    return await _list(request, DesignKind.DRAFT)


async def get_draft(request: web.Request) -> web.Response:
    """GET /v1/drafts/{name}: a draft with its release, as it is, whether it could be published or not."""
    return await _get(request, DesignKind.DRAFT)


async def put_draft(request: web.Request) -> web.Response:
    """PUT /v1/drafts/{name} with `{"release": {...}, "base": "CODE@VERSION", "lanes": [...], "diagram": "..."}`.

    Versions as of diagrams. A draft is no release until it is published, and changes nothing for any order.
    """
    return await _put(request, DesignKind.DRAFT, read_draft)


async def delete_draft(request: web.Request) -> web.Response:
    """DELETE /v1/drafts/{name} with If-Match: the version that is to go."""
    return await _delete(request, DesignKind.DRAFT)


def read_diagram(body: Body) -> Body:
    """The stored form of a diagram.

    Raises:
        BadDocument: it is none; the path names the member.
    """
    _refuse_others(body, {"catalogue", "description", "plans"})
    plans = _texts(body.get("plans"), "plans")
    if not plans:
        raise BadDocument("must name a plan definition at least", path="plans", mend="name those that are to be lanes")
    diagram: Body = {"catalogue": _text(body.get("catalogue"), "catalogue"), "plans": plans}
    if body.get("description"):
        diagram["description"] = _text(body["description"], "description", TEXT_LENGTH_MAX)
    return diagram


def read_draft(body: Body) -> Body:
    """The stored form of a draft; its release may be unfinished.

    Raises:
        BadDocument: it is none; the path names the member.
    """
    _refuse_others(body, {"release", "base", "lanes", "diagram"})
    if not isinstance(body.get("release"), dict):
        raise BadDocument("must be the release as it is so far, an object", path="release")
    draft: Body = {"release": body["release"]}
    for name in ("base", "diagram"):
        if body.get(name) is not None:
            draft[name] = _text(body[name], name)
    if body.get("lanes") is not None:
        draft["lanes"] = _texts(body["lanes"], "lanes")
    return draft


def _refuse_others(body: Body, known: set[str]) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise BadDocument("is not known", path=unknown[0], mend=f"send {', '.join(sorted(known))}")


def _text(given: Any, path: str, most: int = NAME_LENGTH_MAX) -> str:
    if not isinstance(given, str) or not given.strip() or len(given) > most:
        raise BadDocument(f"must be a text of 1 to {most} characters", path=path)
    return given


def _texts(given: Any, path: str) -> list[str]:
    if not isinstance(given, list) or len(given) > LANES_MAX:
        raise BadDocument(f"must be a list of at most {LANES_MAX} codes of plan definitions", path=path)
    texts = [_text(each, f"{path}[{index}]") for index, each in enumerate(given)]
    twice = next((each for each in texts if texts.count(each) > 1), None)
    if twice is not None:
        raise BadDocument(f"names {twice!r} twice", path=path, mend="name each plan definition once")
    return texts


async def _list(request: web.Request, kind: DesignKind) -> web.Response:
    found = await designs.list_designs(context_of(request).pool, tenant_of(request), kind)
    return native_json([_shown(each) for each in found])


async def _get(request: web.Request, kind: DesignKind) -> web.Response:
    found = await designs.read_design(context_of(request).pool, tenant_of(request), kind, request.match_info["name"])
    return native_json(_shown(found), headers={"ETag": f'"{found.version}"'})


async def _put(request: web.Request, kind: DesignKind, read: Callable[[Body], Body]) -> web.Response:
    context, tenant, name = context_of(request), tenant_of(request), request.match_info["name"]
    body = await read_object(request)
    version = version_of(request, body.pop("version", None))
    new_name = _text(body.pop("name", name), "name")
    wanted = read(body)
    who: dict[str, Any] = {"actor": user_of(request), "now": context.now()}
    if version is None:
        _text(name, "name")
        made = await designs.create_design(context.pool, tenant, kind, name, wanted, **who)
        if made is None:
            raise Conflict(
                f"there is a {kind} {name!r} already", path="name", mend="choose another name, or send its version"
            )
        return native_json({"name": name, "version": made}, 201, {"ETag": f'"{made}"'})
    try:
        changed = await designs.change_design(
            context.pool, tenant, kind, name, wanted, version=version, new_name=new_name, **who
        )
    except StaleDesign as error:
        stored = error.stored
        if stored.body != wanted or new_name != name:
            found = list(islice(differences(stored.body, wanted), DIFFERENCES_MAX + 1))
            error.facts["differs"] = [each.to_dict() for each in found[:DIFFERENCES_MAX]]
            error.facts["more"] = len(found) > DIFFERENCES_MAX
            raise
        # Sent again because its answer was not heard: it is what is stored.
        changed = stored.version
    return native_json({"name": new_name, "version": changed}, 200, {"ETag": f'"{changed}"'})


async def _delete(request: web.Request, kind: DesignKind) -> web.Response:
    version = version_of(request, None)
    if version is None:
        raise BadDocument(
            "must be the version that is to go", path="header If-Match", mend="send the ETag that reading it gave"
        )
    await designs.delete_design(
        context_of(request).pool, tenant_of(request), kind, request.match_info["name"], version=version
    )
    return web.Response(status=204)


def _shown(design: Design) -> Body:
    return {
        "name": design.name,
        "version": design.version,
        "updatedAt": design.updated_at.isoformat(),
        "updatedBy": design.updated_by,
        **design.body,
    }
