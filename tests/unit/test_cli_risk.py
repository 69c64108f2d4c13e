"""What `orderplan risk what-if` says where nothing helps."""

from __future__ import annotations

import pytest

from orderplan.cli.risk import _of_no_help


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        (0, "there is nothing that may be done"),
        (1, "the one thing that may be done would not help"),
        (2, "none of the 2 things that may be done would help"),
    ],
)
def test_what_would_not_help_is_told_by_its_number(tried, said):
    assert _of_no_help(tried) == said
