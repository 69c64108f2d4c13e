"""On simulated load, putting an order at risk first in its queue lowers its wait and then its risk."""

from __future__ import annotations

import numpy as np

from bench.delay_expedite import HOURS, NEXT, compared, figure, page


def test_who_is_put_first_waits_less_and_is_at_less_risk_afterwards():
    found = compared(1)
    waited = [(each.alone_wait_h, each.first_wait_h) for each in found]

    assert len(found) >= 3
    assert all(each.alone[0] == each.first[0] for each in found), "what came before is the same"
    assert all(first <= alone + 1e-9 for alone, first in waited)
    assert np.mean([first for _, first in waited]) < 0.8 * np.mean([alone for alone, _ in waited])
    assert np.mean([each.first[NEXT] for each in found]) < np.mean([each.alone[NEXT] for each in found])
    assert all(each.estimate < each.alone[0] for each in found), "the model has said so before"
    assert "SIMULATED" in figure(found, "1")
    assert f"after {HOURS[NEXT]} h" in page(found, "1")
