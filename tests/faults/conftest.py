"""One cluster for all tests of faults that leave it well; the others start one of their own.

A test tells its own orders from those of others by their external ids, publishes its release and says how the stand-ins
behave.
"""

from collections.abc import Iterator

import pytest

from tests.support.running import Running, running_cluster


@pytest.fixture(scope="package")
def shared() -> Iterator[Running]:
    with running_cluster(2, faults=True) as made:
        yield made
