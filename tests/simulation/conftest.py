"""In a run of all tests the simulator runs beside the others, at the lowest priority: its clock is its own, so whatever
they do changes nothing of what it finds.
"""

from __future__ import annotations

import pytest

from tests.simulation import beside


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin as soon as it is known that its tests will come, and others before them."""
    names = {item.path.name for item in session.items}
    # Of several workers (`pytest -n`) each would begin it: whose turn it is runs it then.
    is_alone = not hasattr(session.config, "workerinput")
    if "test_simulation.py" in names and len(names) > 1 and is_alone and not session.config.option.collectonly:
        beside.begin()


def pytest_sessionfinish() -> None:
    """Nothing outlives the tests."""
    beside.end()
