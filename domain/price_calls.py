"""Functions of one's own that give values when an order is decomposed: what they are asked, and what they said.

The domain calls nobody. It names the calls that it needs (`FunctionsWanted`), whoever hosts the plan has them made
outside its loop, and decides the order again with the answers. A call is known by its function and its arguments, so
an order that is decided again against another inventory asks again where that makes a difference. What was said goes
into the composition fact with the lines: a replay never asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.errors import OrderplanError
from domain.lines import Line, line_context
from domain.sealing import is_encrypted, is_sealed


@dataclass(frozen=True, slots=True)
class PriceCall:
    """One call: `prices`, `line` and `context` are the function's arguments, `key` names the call."""

    function: str
    prices: Mapping[str, Any]
    line: Mapping[str, Any]
    context: Mapping[str, Any]
    key: str = field(init=False)

    def __post_init__(self) -> None:
        text = json.dumps([self.function, self.prices, self.line, self.context], sort_keys=True, default=str)
        object.__setattr__(self, "key", hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


@dataclass(frozen=True, slots=True)
class PriceAnswer:
    """What a function gave: attribute values (amounts as texts), or a sentence that says why there are none."""

    values: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""


Answers = Mapping[str, PriceAnswer]
"""By the key of the call."""
NO_ANSWERS: Answers = {}


class FunctionsWanted(Exception):
    """The order can be decided when these calls have been made. Nothing was changed."""

    def __init__(self, calls: tuple[PriceCall, ...]) -> None:
        super().__init__(f"{len(calls)} price functions have to be called first")
        self.calls = calls


class PriceFunctionFailed(OrderplanError):
    """A price function gave no values that can be used."""

    status = 422
    code = "priceFunctionFailed"


class PriceCalls:
    """The calls of one order on its way down the rules: what is known already, and what is wanted."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._made: dict[tuple[str, str, str], PriceCall] = {}
        self._wanted: dict[str, PriceCall] = {}

    def value(self, function: str, to: str, rule: str, target: str, line: Line, context: Mapping[str, Any]) -> Any:
        """What the function says of attribute `to`; None where it says nothing of it, or has yet to be called.

        Raises:
            PriceFunctionFailed: it failed; the order cannot be priced.
        """
        made = (function, rule, line.key)
        call = self._made.get(made) or self._made.setdefault(made, _call(function, rule, target, line, context))
        answer = self._answers.get(call.key)
        if answer is None:
            self._wanted[call.key] = call
            return None
        if answer.failure:
            raise PriceFunctionFailed(
                f"price function {function!r} {answer.failure}",
                path=f"decomposition {rule}, mapping to {to}",
                mend="mend the function, publish it with a release and send the order again",
                function=function,
                line=line.key,
            )
        return answer.values.get(to)

    def raise_if_wanted(self) -> None:
        """Stop here if there is anything to be asked first.

        Raises:
            FunctionsWanted: with all calls of this rank, so that they are made together.
        """
        if self._wanted:
            raise FunctionsWanted(tuple(self._wanted.values()))


def _call(function: str, rule: str, target: str, line: Line, context: Mapping[str, Any]) -> PriceCall:
    """The call for one source line of a rule. Values out of sight are left out; so is the order's id, which an order
    that is decided again does not keep.
    """
    reading = line_context(context, line)
    order = {name: value for name, value in reading["order"].items() if name != "id"}
    shown = {
        **reading["line"],
        "attributes": _in_sight(line.attributes),
        "previous": _in_sight(line.previous),
        "place": line.place,
    }
    told = {"order": order, "account": reading["account"], "rule": rule, "target": target}
    return PriceCall(function, reading["prices"], shown, told)


def _in_sight(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if not is_sealed(value) and not is_encrypted(value)}
