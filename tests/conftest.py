"""`make test` runs the tests in two parts; its last line counts them together."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long it takes to draw an example is measured on the clock: a busy machine is no fault of a test.
settings.register_profile("orderplan", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("orderplan")

OUTCOMES = ("passed", "failed", "error", "skipped")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Add what this run has counted to the file that ORDERPLAN_TOTALS names, and write it out beside it."""
    named = os.environ.get("ORDERPLAN_TOTALS")
    # Workers report to the process that has started them, which counts for all.
    if not named or hasattr(config, "workerinput"):
        return
    numbers = Path(named)
    total = Counter(json.loads(numbers.read_text())) if numbers.exists() else Counter()
    total.update({outcome: len(terminalreporter.getreports(outcome)) for outcome in OUTCOMES})
    numbers.write_text(json.dumps(total))
    failed = total["failed"] + total["error"]
    numbers.with_suffix(".txt").write_text(
        f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped\n"
    )
