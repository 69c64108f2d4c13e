"""The OpenAPI document, made from the list of routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from gateway.routes import Route

DOCUMENT: Final = web.AppKey("openapi", dict[str, Any])
_PARAMETER: Final = re.compile(r"\{(\w+)(?::([^{}]*))?\}")


def openapi_document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document; every operation carries its role as `x-role`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PARAMETER.sub(lambda match: "{" + match.group(1) + "}", route.path)
        is_tmf = path.startswith("/tmf-api/")
        error = {"$ref": f"#/components/schemas/{'TmfError' if is_tmf else 'Problem'}"}
        error_type = "application/json" if is_tmf else "application/problem+json"
        operation: dict[str, Any] = {
            "operationId": route.handler.__name__ if hasattr(route.handler, "__name__") else path,
            "summary": route.summary,
            "x-role": route.role.value,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": _schema(pattern)}
                for name, pattern in _PARAMETER.findall(route.path)
            ],
            "responses": {
                str(route.success): {"description": "done"},
                "default": {"description": "refused", "content": {error_type: {"schema": error}}},
            },
        }
        if route.body:
            operation["requestBody"] = {"content": {route.body_type: {"schema": {"type": "object"}}}}
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Orderplan", "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {
                "TmfError": {
                    "type": "object",
                    "required": ["code", "reason"],
                    "properties": {
                        "code": {"type": "string"},
                        "reason": {"type": "string"},
                        "message": {"type": "string"},
                        "status": {"type": "string"},
                    },
                },
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "path": {"type": "string"},
                        "mend": {"type": "string"},
                    },
                },
            }
        },
    }


def _schema(pattern: str) -> dict[str, Any]:
    return {"type": "string", "enum": pattern.split("|")} if "|" in pattern else {"type": "string"}
