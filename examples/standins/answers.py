"""What the systems deliver: numbers drawn from (seed, key, line) by a hash, so that every run gives the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

ASYNC_PREFIX = "async-"
"""Operations of workforce that start so are answered 202, and by a callback later."""


def digits_of(seed: int, key: str, line: str, name: str, length: int) -> str:
    """So many decimal digits that only these four decide."""
    text = "\x1f".join((str(seed), key, line, name))
    number = int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=16).digest())
    return f"{number % 10**length:0{length}}"


def answer_of(system: str, seed: int, key: str, payload: Mapping[str, Any], reference: str) -> dict[str, Any]:
    """The document for a payload without fault: `attributes` of the first line; of each, under `lines`, if several."""
    delivered = {line["line"]: _delivered(system, seed, key, line) for line in payload["lines"]}
    answer: dict[str, Any] = {"attributes": next(iter(delivered.values())), "reference": reference}
    if len(delivered) > 1:
        answer["lines"] = {line: {"attributes": attributes} for line, attributes in delivered.items()}
    return answer


def _delivered(system: str, seed: int, key: str, line: Mapping[str, Any]) -> dict[str, str]:
    wanted = line["attributes"]
    match system:
        case "inventory" if line["action"] == "add":
            card = {"PUK": digits_of(seed, key, line["line"], "PUK", 8)}
            if not wanted.get("IMSI"):
                # 001-01 is the network that belongs to nobody.
                card["IMSI"] = "00101" + digits_of(seed, key, line["line"], "IMSI", 10)
            if not wanted.get("ICCID"):
                card["ICCID"] = _with_check_digit("8900" + digits_of(seed, key, line["line"], "ICCID", 14))
            return card
        case "activation" if wanted.get("MSISDN") and line["action"] != "delete":
            return {"MSISDN": wanted["MSISDN"]}
        case "workforce":
            return {"technician": "T" + digits_of(seed, key, line["line"], "technician", 3)}
        case _:
            return {}


def _with_check_digit(number: str) -> str:
    """The number with its last digit after Luhn (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{number}{-total % 10}"
