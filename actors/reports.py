"""What the adapters tell plans of their calls, with nothing in it that must not stay."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import orjson

from adapters.interface import Outcome
from adapters.storable import storable
from domain.holds import HeldBack
from domain.messages import Report
from domain.sealing import ENCRYPTED, SEALED, is_encrypted, is_sealed
from domain.turn import Call

SECRET_LENGTH_MIN: Final = 3
CODE_LENGTH_MAX: Final = 100
"""Of an error's code: it stands in the reasons of holds, and so in facts of other orders."""
_SEALED_NAME: Final = orjson.dumps(SEALED)
_ENCRYPTED_NAME: Final = orjson.dumps(ENCRYPTED)
_AMBIGUOUS_STATUS: Final = frozenset({"500", "502", "504"})


def _is_heard(code: str) -> bool:
    """Whether the system itself said that it did not do the work: a status that leaves no doubt.

    After everything else nobody knows, and the next try repeats the same key.
    """
    return code.isdigit() and code not in _AMBIGUOUS_STATUS


def unknown_report(call: Call) -> Report:
    """The system is not set up: a person has to."""
    error = f"system {call.system!r} is not set up in this environment"
    return report_of(call, Outcome.failed(error, "unknownSystem"))


def held_report(call: Call, held: HeldBack) -> Report:
    """The call comes back unmade; whether an earlier life has made it nobody knows, so its key stays."""
    return Report(
        item=call.item,
        attempt=call.attempt,
        kind="held",
        error=storable(held.reason),
        error_code=held.cause.value,
        unheard=True,
    )


def report_of(call: Call, outcome: Outcome, secrets: Iterable[str] = ()) -> Report:
    """How a call went, without the secrets that a system may have quoted."""
    error, code = outcome.error, outcome.error_code
    # A system may quote what it was sent; what must not stay must not come back in a message. The longest first: one
    # secret may be part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        error, code = error.replace(secret, "********"), code.replace(secret, "********")
    return Report(
        item=call.item,
        attempt=call.attempt,
        kind=outcome.kind,
        answer=storable(dict(outcome.answer)) if outcome.answer else {},
        error=storable(error) if error else "",
        error_code=storable(code)[:CODE_LENGTH_MAX] if code else "",
        unheard=outcome.kind == "retryable" and not _is_heard(outcome.error_code),
        simulated=outcome.simulated,
    )


def needs_opening(document: Mapping[str, Any]) -> bool:
    """Whether anything in a document as it came over JSON is out of sight."""
    # Asked of every call, of documents that are nearly all plain: a look at their text takes a tenth of a walk.
    with suppress(orjson.JSONEncodeError):
        text = orjson.dumps(document)
        if _SEALED_NAME not in text and _ENCRYPTED_NAME not in text:
            return False
    parts: list[Any] = [document]
    for part in parts:
        values: Iterable[Any] = part
        if part.__class__ is dict:
            if SEALED in part or ENCRYPTED in part:
                return True
            values = part.values()
        parts.extend([each for each in values if each.__class__ is dict or each.__class__ is list])
    return False


def opened_secrets(before: Any, after: Any) -> set[str]:
    """The texts of values that were out of sight before, in the forms in which a message may quote them."""
    found: set[str] = set()
    if is_sealed(before) or is_encrypted(before):
        for text in _leaves(after):
            if len(text) >= SECRET_LENGTH_MIN:
                found.update((text, json.dumps(text)[1:-1], quote(text, safe="")))
    elif isinstance(before, dict):
        for key, value in before.items():
            found |= opened_secrets(value, after[key])
    elif isinstance(before, list):
        for value, opened in zip(before, after, strict=True):
            found |= opened_secrets(value, opened)
    return found


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
