"""What may be registered at the hub, and how listeners are shown on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import BadDocument
from gateway.hub import CALLBACK_LENGTH_MAX, read_callback
from orderplan.cli.hub import standing


@pytest.mark.parametrize(
    "callback",
    ["http://channel.example/listener", "https://channel.example:8443/a?key=1", "http://127.0.0.1:9/", "http://[::1]/"],
)
def test_http_addresses_are_taken_as_they_are(callback: str) -> None:
    assert read_callback(callback) == callback


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        (None, "needed"),
        ("", "needed"),
        (7, "needed"),
        ("ftp://channel.example/", "no http"),
        ("file:///etc/passwd", "no http"),
        ("channel.example/listener", "no http"),
        ("http://", "no http"),
        ("http://channel.example:0/", "no http"),
        ("http://channel.example:99999/", "no http"),
        ("http://channel.example/a b", "no http"),
        ("http://channel.example/\n", "no http"),
        ("http://user:secret@channel.example/", "user or password"),
        ("http://channel.example/#part", "fragment"),
        ("http://channel.example/" + "a" * CALLBACK_LENGTH_MAX, "longer"),
    ],
)
def test_what_no_listener_can_have_is_refused(callback: Any, reason: str) -> None:
    with pytest.raises(BadDocument, match=reason) as refused:
        read_callback(callback)

    assert refused.value.path == "callback"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({}, "active"),
        ({"state": "suspended", "suspendedAt": "2030-01-31T12:00:00+00:00"}, "suspended 2030-01-31 12:00:00"),
        ({"pausedUntil": "2030-01-31T12:01:00+00:00", "failingSince": "2030-01-31T12:00:00+00:00"}, "down since"),
        ({"ordersFailing": 3}, "refuses events of 3 orders"),
    ],
)
def test_a_listener_is_described_in_a_few_words(found: dict[str, Any], text: str) -> None:
    shown = {"state": "active", "pausedUntil": None, "failingSince": None, "ordersFailing": 0} | found

    assert text in standing(shown)
