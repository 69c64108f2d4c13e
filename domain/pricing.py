"""Prices of an order: what they come to, and how an amount is split so that the shares are the whole.

Pure arithmetic over `Decimal` and exact fractions; a float is refused wherever it would become an amount. Functions of
one's own (mapping kind `function`) may import this module.

A *price element* is one price of a channel's document as `OrderLine.prices` and `Order.prices` keep it, with amounts
as texts: `name`, `kind` (`oneTime`, `recurring`, `usage`, `allowance`, `other`), `basis` (`unit`: of one piece,
`total`: of the whole quantity), `currency`, `net` and `gross` (without and with tax), `taxRate` (per cent), `taxes` (a
list of `category`, `rate`, `amount`), `period`, `unit` (`amount`, `units`) and `alterations` (a list of `name`, `kind`
(`discount`, `surcharge`), `percentage` or `net` or `gross`, `priority`, `duration`, `period`).

A *charge* is what elements of one kind, currency and period come to: `kind`, `currency`, `period`, `subtotal` (net,
before alterations), `discount` (what they take off; below zero for a surcharge), `net`, `tax`, `gross`. Always
subtotal - discount = net, and net + tax = gross.

Rounding is half up (0.005 is 0.01), to the digits of the currency, once for each of: subtotal, each alteration, each
tax. Alterations are taken by priority, each of what the one before left, and never below zero. Tax is that of the net
amount. A split gives every share the part that it can have for certain and the last minor units to those that lost most
by it, the first of equals (largest remainder): the shares always sum to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, Final

ONE_TIME: Final = "oneTime"
RECURRING: Final = "recurring"
USAGE: Final = "usage"
ALLOWANCE: Final = "allowance"
OTHER: Final = "other"
SURCHARGE: Final = "surcharge"
DEPTH_MAX: Final = 16

_DIGITS: Final = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0,
    "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "CLF": 4, "UYW": 4,
}  # fmt: skip
"""ISO 4217: digits after the point of currencies that have another number of them than two."""
_AMOUNTS: Final = frozenset({"net", "gross", "taxRate", "rate", "amount", "percentage"})
_SUMMED: Final = ("subtotal", "discount", "net", "tax", "gross")


def digits_of(currency: str | None) -> int:
    """Digits after the point: 2 for EUR, 0 for JPY and KRW, 3 for KWD; 2 where the currency is not known."""
    return _DIGITS.get((currency or "").upper(), 2)


def rounded(amount: Decimal | Fraction | int, currency: str | None) -> Decimal:
    """The amount to the digits of its currency, half up: 0.005 EUR is 0.01, 0.5 JPY is 1, -0.005 EUR is -0.01.

    Raises:
        TypeError: it is a float.
    """
    return _in_units(_half_up(_exact(amount) * 10 ** digits_of(currency)), digits_of(currency))


def split(amount: Decimal | int, weights: Sequence[Decimal | int], currency: str | None) -> list[Decimal]:
    """Shares of an amount by weight, in order, that sum to it exactly; by largest remainder, the first of equals first.

    Shares have the digits of the currency, or those of the amount where it has more.

    Raises:
        TypeError: a float among the arguments.
        ValueError: no weight, one below zero, or none above it.
    """
    exact = [_exact(weight) for weight in weights]
    total = sum(exact, Fraction(0))
    if not exact or min(exact) < 0 or total == 0:
        raise ValueError("shares need weights of which none is below zero and one is above")
    whole = _exact(amount)
    exponent = Decimal(amount).as_tuple().exponent
    digits = max(digits_of(currency), -exponent if isinstance(exponent, int) else 0)
    units = abs(whole) * 10**digits
    parts = [units * weight / total for weight in exact]
    shares = [floor(part) for part in parts]
    left = int(units) - sum(shares)
    by_loss = sorted(range(len(parts)), key=lambda index: (shares[index] - parts[index], index))
    for index in by_loss[:left]:
        shares[index] += 1
    sign = -1 if whole < 0 else 1
    return [_in_units(sign * share, digits) for share in shares]


def split_charge(charge: Mapping[str, Any], weights: Sequence[Decimal | int]) -> list[dict[str, Any]]:
    """A charge as shares by weight: each amount of the shares sums to that of the charge, and each share adds up.

    Raises:
        TypeError, ValueError: as `split`.
    """
    currency = charge["currency"]
    columns = {name: split(charge[name], weights, currency) for name in ("subtotal", "discount", "tax")}
    shares = []
    for index in range(len(weights)):
        share = {name: column[index] for name, column in columns.items()}
        share["net"] = share["subtotal"] - share["discount"]
        share["gross"] = share["net"] + share["tax"]
        shares.append({**charge, **share})
    return shares


def charge_of(element: Mapping[str, Any], quantity: int) -> dict[str, Any] | None:
    """What one element comes to for so many pieces; None for usage and allowances, and where no amount is given.

    Where the channel tells the amount with tax and nothing alters it, that is kept; else tax follows from `taxes`,
    `taxRate`, or the two amounts, in this order.
    """
    if element["kind"] in (USAGE, ALLOWANCE):
        return None
    net, gross = _amount(element, "net"), _amount(element, "gross")
    currency = element.get("currency")
    pieces = quantity if element["basis"] == "unit" else 1
    alterations = element.get("alterations", ())
    if net is not None:
        subtotal = rounded(_exact(net) * pieces, currency)
        after = _altered(subtotal, alterations, pieces, currency)
        if gross is not None and not alterations:
            tax = rounded(_exact(gross) * pieces, currency) - after
        else:
            tax = _tax(element, after, net, gross, pieces)
    elif gross is not None:
        rate = _exact(_amount(element, "taxRate") or 0) / 100
        with_tax = rounded(_exact(gross) * pieces, currency)
        left = _altered(with_tax, alterations, pieces, currency)
        subtotal = rounded(_exact(with_tax) / (1 + rate), currency)
        after = rounded(_exact(left) / (1 + rate), currency)
        tax = left - after
    else:
        return None
    return {
        "kind": element["kind"],
        "currency": currency,
        "period": element.get("period"),
        "subtotal": subtotal,
        "discount": subtotal - after,
        "net": after,
        "tax": tax,
        "gross": after + tax,
    }


def _altered(amount: Decimal, alterations: Iterable[Mapping[str, Any]], pieces: int, currency: str | None) -> Decimal:
    """What is left of an amount after its alterations; those of a credit make it smaller, too."""
    left = abs(amount)
    for each in sorted(alterations, key=lambda one: one.get("priority", 0)):
        percentage = _amount(each, "percentage")
        given = _amount(each, "net")
        if given is None:
            given = _amount(each, "gross")
        if percentage is not None:
            change = rounded(_exact(left) * abs(_exact(percentage)) / 100, currency)
        else:
            change = rounded(abs(_exact(given or 0)) * pieces, currency)
        left = left + change if each["kind"] == SURCHARGE else max(left - change, rounded(0, currency))
    return -left if amount < 0 else left


def _tax(
    element: Mapping[str, Any], after: Decimal, net: Decimal, gross: Decimal | None, pieces: int
) -> Decimal:
    currency = element.get("currency")
    if taxes := element.get("taxes"):
        total = rounded(0, currency)
        for each in taxes:
            rate, amount = _amount(each, "rate"), _amount(each, "amount")
            if rate is not None:
                total += rounded(_exact(after) * _exact(rate) / 100, currency)
            elif amount is not None:
                total += rounded(_exact(amount) * pieces, currency)
        return total
    rate = _amount(element, "taxRate")
    if rate is not None:
        return rounded(_exact(after) * _exact(rate) / 100, currency)
    if gross is not None and net != 0:
        return rounded(_exact(after) * (_exact(gross) / _exact(net) - 1), currency)
    return rounded(0, currency)


class OrderPrices:
    """The prices of an order's lines, as conditions, mappings and functions read them.

    An offering's line is what channels price, the specification's line that it `sells` is what is delivered: a line
    without prices of its own has those of the line that sells it.
    """

    def __init__(self, lines: Iterable[Any], order_elements: Sequence[Mapping[str, Any]]) -> None:
        """`lines` are `OrderLine`s; `order_elements` the prices of the order as a whole."""
        self._elements: dict[str, Sequence[Mapping[str, Any]]] = {}
        self._quantity: dict[str, int | None] = {}
        self._holder: dict[str, str] = {}
        """Line -> the line whose prices it has."""
        for line in lines:
            if line.prices:
                self._elements[line.line_id] = line.prices
                self._quantity[line.line_id] = line.quantity
                for kind, other in line.relations:
                    if kind == "sells":
                        self._holder[other] = line.line_id
        for line in lines:
            for kind, other in line.relations:
                if kind == "isSold" and other in self._elements:
                    self._holder.setdefault(line.line_id, other)
        self._holder |= {line_id: line_id for line_id in self._elements}
        self._order = _document([(order_elements, 1)])
        self._known: dict[tuple[tuple[str, ...], int], dict[str, Any]] = {}
        self._total: list[dict[str, Any]] | None = None

    def of(self, line_ids: Iterable[str], quantity: int) -> dict[str, Any]:
        """The root `prices` of a line that comes from these order lines; amounts are Decimals, do not change it.

        Args:
            line_ids: of order lines.
            quantity: of the line, for a priced line of which the channel did not say how many.
        Returns:
            `elements`; `charges`; `oneTime` and `recurring` where one charge is all there is of the kind; `usage` and
            `allowances`, the elements of these kinds; `currency` where there is one only; and `order`, the same of the
            order's own prices. What there is nothing of is left out; `{}` without any price.
        """
        holders = tuple(sorted({self._holder[each] for each in line_ids if each in self._holder}))
        known = self._known.get((holders, quantity))
        if known is None:
            priced = [(self._elements[each], self._quantity[each] or quantity) for each in holders]
            known = _document(priced)
            if self._order:
                known["order"] = self._order
            self._known[holders, quantity] = known
        return known


    def total(self) -> list[dict[str, Any]]:
        """What the whole order comes to: `kind`, `currency`, `period`, `net` and `gross` of each charge, as texts.

        Where the order has a price of its own of a kind, it counts instead of those of its lines.
        """
        if self._total is None:
            priced = [(found, self._quantity[line_id] or 1) for line_id, found in self._elements.items()]
            own = self._order.get("charges", [])
            kinds = {each["kind"] for each in own}
            found = [*own, *(each for each in _document(priced).get("charges", []) if each["kind"] not in kinds)]
            names = ("kind", "currency", "period")
            self._total = [
                {**{name: each[name] for name in names}, "net": str(each["net"]), "gross": str(each["gross"])}
                for each in found
            ]
        return self._total


def _document(priced: Iterable[tuple[Sequence[Mapping[str, Any]], int]]) -> dict[str, Any]:
    elements: list[dict[str, Any]] = []
    charges: dict[tuple[str, str | None, str | None], dict[str, Any]] = {}
    for given, quantity in priced:
        totals = {each["kind"] for each in given if each["basis"] == "total"}
        for each in given:
            elements.append(with_decimals(each))
            # The total of a kind is what its prices for one piece come to: counted once.
            counts = each["basis"] == "total" or each["kind"] not in totals
            charge = charge_of(each, quantity) if counts else None
            if charge is not None:
                key = (charge["kind"], charge["currency"], charge["period"])
                charges[key] = _added(charges[key], charge) if key in charges else charge
    if not elements:
        return {}
    found: dict[str, Any] = {"elements": elements, "charges": list(charges.values())}
    for kind in (ONE_TIME, RECURRING):
        mine = [charge for charge in charges.values() if charge["kind"] == kind]
        if len(mine) == 1:
            found[kind] = mine[0]
    for name, kind in (("usage", USAGE), ("allowances", ALLOWANCE)):
        if of_kind := [each for each in elements if each["kind"] == kind]:
            found[name] = of_kind
    currencies = {each["currency"] for each in elements if "currency" in each}
    if len(currencies) == 1:
        found["currency"] = currencies.pop()
    return found


def _added(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    return {**left, **{name: left[name] + right[name] for name in _SUMMED}}


def with_decimals(element: Mapping[str, Any]) -> dict[str, Any]:
    """A price element with its amounts as Decimals instead of texts."""
    found: dict[str, Any] = {}
    for name, value in element.items():
        if name in ("alterations", "taxes"):
            found[name] = [with_decimals(each) for each in value]
        elif name == "unit":
            found[name] = with_decimals(value)
        else:
            found[name] = Decimal(value) if name in _AMOUNTS else value
    return found


def with_texts(value: Any) -> Any:
    """The value with each Decimal as a text (`5.00`), so that no reader rounds it; the same object without one."""
    match value:
        case Decimal():
            return f"{value:f}"
        case dict():
            found = {name: with_texts(each) for name, each in value.items()}
            return found if any(found[name] is not each for name, each in value.items()) else value
        case list() | tuple():
            each_found = [with_texts(each) for each in value]
            return each_found if any(a is not b for a, b in zip(each_found, value, strict=True)) else value
    return value


def checked_values(answer: Any) -> dict[str, Any]:
    """What a price function gave, as it is stored: amounts as texts.

    Raises:
        ValueError: no mapping of names to texts, whole numbers, Decimals, booleans, null, and lists and mappings of
            these; the text says where and what.
    """
    if not isinstance(answer, Mapping):
        raise ValueError(f"gave {_a(answer)}, not a mapping of attribute names to values")
    return {_name(name, ""): _checked(value, str(name), 0) for name, value in answer.items()}


def _checked(value: Any, path: str, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise ValueError(f"gave values nested deeper than {DEPTH_MAX} levels")
    match value:
        case None | bool() | str():
            return value
        case int():
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"gave a whole number of more than 64 bits as {path}")
            return value
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"gave a number that is not finite as {path}")
            return f"{value:f}"
        case float():
            raise ValueError(f"gave a float as {path}: amounts are Decimals")
        case Mapping():
            return {_name(name, path): _checked(each, f"{path}.{name}", depth + 1) for name, each in value.items()}
        case list() | tuple():
            return [_checked(each, f"{path}[{index}]", depth + 1) for index, each in enumerate(value)]
    raise ValueError(f"gave {_a(value)} as {path}")


def _name(name: Any, path: str) -> str:
    # Members that start with $ stand for sealed values.
    if not isinstance(name, str) or not name or name[:1] == "$":
        where = f" in {path}" if path else ""
        raise ValueError(f"gave a name that is no text, empty, or starts with ${where}")
    return name


def _a(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _amount(element: Mapping[str, Any], name: str) -> Decimal | None:
    value = element.get(name)
    return None if value is None else Decimal(value)


def _exact(number: Decimal | Fraction | int) -> Fraction:
    if isinstance(number, float):
        raise TypeError("a float is no amount: give a Decimal")
    return Fraction(number)


def _half_up(number: Fraction) -> int:
    sign = -1 if number < 0 else 1
    return sign * floor(abs(number) + Fraction(1, 2))


def _in_units(units: int, digits: int) -> Decimal:
    """So many minor units, exactly, whatever the precision of the context."""
    return Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -digits))
