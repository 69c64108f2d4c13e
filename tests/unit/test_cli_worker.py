"""Skills as they are written on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from orderplan.cli.common import UserError
from orderplan.cli.worker import parse_skill


@pytest.mark.parametrize(
    ("text", "skill"),
    [
        ("fibre", {"skill": "fibre"}),
        ("fibre=2", {"skill": "fibre", "level": 2}),
        (
            "fibre=2@2027-01-31T00:00:00Z",
            {"skill": "fibre", "level": 2, "expiresAt": "2027-01-31T00:00:00Z"},
        ),
        ("fibre=@2027-01-31T00:00:00Z", {"skill": "fibre", "expiresAt": "2027-01-31T00:00:00Z"}),
    ],
)
def test_a_skill_has_a_name_a_level_and_an_expiry(text: str, skill: dict[str, Any]) -> None:
    assert parse_skill(text) == skill


def test_a_level_that_is_no_number_is_refused() -> None:
    with pytest.raises(UserError, match="'high' is no level"):
        parse_skill("fibre=high")
