"""One cluster and one set of stand-ins for all acceptance tests; each test uses accounts of its own."""

from collections.abc import Iterator
from itertools import count

import pytest
import yaml

from tests.support import own_mobile
from tests.support.running import Running, running_cluster

VERSIONS = count(1)


@pytest.fixture(scope="package")
def running() -> Iterator[Running]:
    with running_cluster() as made:
        yield made


@pytest.fixture
def mobile(running: Running) -> Running:
    """The cluster with the own-mobile catalogue as the newest release, its systems being the stand-ins."""
    bindings = yaml.safe_load((own_mobile.FOLDER / "bindings.yaml").read_text())
    running.ok(
        "POST",
        "/v1/releases:import-tmf620",
        {
            "catalogue": own_mobile.read("own-mobile-catalogue.json"),
            "bindings": bindings,
            # New orders take the newest release: each test that wants this one publishes it anew.
            "version": f"acceptance {next(VERSIONS)}",
        },
    )
    for system in ("inventory", "activation", "billing"):
        running.ok(
            "PUT",
            f"/v1/systems/{system}",
            {"adapter": "http", "config": {"url": f"{running.standins}/{system}"}, "concurrency": 100},
        )
    return running
