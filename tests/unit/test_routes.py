"""Every route says what it is for and who may use it, and the published description is made from the same list."""

from __future__ import annotations

import re
from typing import Any

import pytest

from domain.errors import BadDocument
from gateway.app import VERSION, problem
from gateway.context import Role
from gateway.openapi import openapi_document
from gateway.routes import ROUTES, Route

NAMES = [f"{route.method} {route.path}" for route in ROUTES]


@pytest.mark.parametrize("route", ROUTES, ids=NAMES)
def test_every_route_declares_a_role_and_says_what_it_does(route: Route) -> None:
    assert isinstance(route.role, Role)
    assert route.summary
    assert (route.handler.__doc__ or "").startswith(route.method), "the docstring begins with the route it serves"


def test_a_route_cannot_be_made_without_a_role() -> None:
    arguments: dict[str, Any] = {"method": "GET", "path": "/x", "handler": ROUTES[0].handler}

    with pytest.raises(TypeError, match="role"):
        Route(**arguments)


def test_no_route_is_listed_twice() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_the_description_has_every_route_with_its_role_and_path_parameters() -> None:
    document = openapi_document(ROUTES, VERSION)

    described = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for route in ROUTES:
        path = re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", route.path)
        operation = described[route.method, path]
        assert operation["x-role"] == route.role.value
        assert [each["name"] for each in operation["parameters"]] == re.findall(r"\{(\w+)\}", path)
    assert len(described) == len(ROUTES)
    identifiers = [operation["operationId"] for operation in described.values()]
    assert len(set(identifiers)) == len(identifiers)


def test_problem_details_name_the_field_and_the_mend() -> None:

    shown = problem(BadDocument("must be a number", path="limit", mend="send 1 to 500"))

    assert shown["status"] == 400
    assert (shown["detail"], shown["path"], shown["mend"]) == ("must be a number", "limit", "send 1 to 500")
