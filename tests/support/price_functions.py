"""Price functions as people write them: good ones, and all kinds of bad ones."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from domain.pricing import split_charge

_SHARES = {"bill-line": 0, "bill-service": 1}
"""Which of the two billing lines gets which share."""


def billing_share(prices: Mapping[str, Any], line: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """One of two shares of what a line is charged, in equal parts."""
    index = _SHARES[context["target"]]
    return {
        "recurring": split_charge(prices["recurring"], [1, 1])[index],
        "oneTime": split_charge(prices["oneTime"], [1, 1])[index],
        "currency": prices["currency"],
        "quantity": line["quantity"],
    }


def what_is_seen(prices: Mapping[str, Any], line: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """What a function is given, but for the prices."""
    return {"charge": {"line": line, "context": context}}


def flat(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """The same for everybody."""
    return {"charge": Decimal("1.50"), "unit": "EUR"}


def loops(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Never comes to an end."""
    while True:
        pass


def sleeps(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Waits for what never comes."""
    time.sleep(3600)
    return {}


def allocates(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Takes all memory there is."""
    held = []
    while True:
        held.append(bytearray(64 * 1024 * 1024))


def raises(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Quotes what it was given."""
    raise ValueError(f"no price for {line['attributes']}")


def floats(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Counts money in doubles."""
    return {"charge": {"net": 0.1 + 0.2}}


def ends_its_process(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Leaves without an answer."""
    os._exit(7)


def prints(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Writes to standard output, where answers go."""
    print("\x00" * 1000, flush=True)  # noqa: T201 -- what this is about
    return {"charge": Decimal("2.00")}


def talkative(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Gives more than anybody stores."""
    return {"charge": "x" * 1_000_000}


def gives_none(prices: Any, line: Any, context: Any) -> None:
    """Forgets to return."""


def hides(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Poses as a sealed value."""
    return {"charge": {"$sealed": "somebody else's"}}


async def waits(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Would wait for others."""
    return {}


def takes_too_little(prices: Any) -> dict[str, Any]:
    """Has other arguments."""
    return {}


def fails_for_two(prices: Any, line: Any, context: Any) -> dict[str, Any]:
    """Knows all lines but one."""
    if line["id"] == "2":
        raise ValueError(line["id"])
    return {"charge": Decimal(line["id"])}
