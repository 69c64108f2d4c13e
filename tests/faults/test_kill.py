"""Orders under fire: hosts, adapters, gateway, director and PostgreSQL are killed at drawn moments; nothing is lost.

The short form runs with all tests; the long one, 1,000 orders and ten kills, with `make faults`, which sets
ORDERPLAN_FAULTS=long. ORDERPLAN_SEED repeats a run.
"""

import os
import random

import pytest

from tests.faults.harness import VICTIMS, Range, add_orders, expected_edges, publish_own_mobile
from tests.support.replay_check import replay_differences

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("ORDERPLAN_SEED", "20260302"))
IS_LONG = os.environ.get("ORDERPLAN_FAULTS") == "long"


async def test_no_acknowledged_order_is_lost_or_doubled_under_fire(shared, capsys):
    draw = random.Random(SEED)
    victims = list(VICTIMS) if IS_LONG else ["host", *draw.sample(["adapters", "gateway", "director", "postgres"], 2)]
    draw.shuffle(victims)
    orders, open_min, delay_ms = (1_000, 500, 2_500) if IS_LONG else (100, 50, 1_000)

    shared.behave(system="*", delayMs=delay_ms)
    publish_own_mobile(shared, version="kill")
    with capsys.disabled():
        under_fire = Range(shared, SEED, orders="kill-%")
        await under_fire.under_fire(add_orders(orders), victims, open_min)
        found = await under_fire.findings(expected_edges())
        differences = await replay_differences(shared.dsn)

    assert found.wrong == []
    assert differences == []
    assert found.counts["orders completed"] == orders
    assert len(under_fire.shots) == len(victims)
    assert max(shot.open_calls for shot in under_fire.shots if shot.victim == "host") >= open_min
