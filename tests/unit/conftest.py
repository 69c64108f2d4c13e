"""Unit tests run without a cluster: a test that needs one belongs in tests/integration."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.app import make_app
from gateway.metrics import Metrics


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a unit test started Ray")

    monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A gateway that has nothing behind it: it serves its own pages."""
    config = SimpleNamespace(body_bytes_max=1_000_000, tenant="main")
    context = SimpleNamespace(config=config, pool=None, metrics=Metrics(), is_draining=False)
    async with TestClient(TestServer(make_app(cast("Any", context)))) as made:
        yield made
