"""Prices of a TMF622 order on their way in: what is kept of `itemPrice`, `itemTotalPrice` and `orderTotalPrice`.

Each `OrderPrice` becomes a price element (`domain/pricing.py`); the document itself is kept beside it unchanged. A
price of one piece (`itemPrice`) and that of the whole quantity (`itemTotalPrice`) are told apart by `basis`. Amounts
are numbers or texts; a number that JSON could not carry exactly has to come as a text. `taxRate` and `percentage` are
per cent. A price alteration takes off, whatever its sign, unless its `priceType` says surcharge.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from domain.pricing import ALLOWANCE, ONE_TIME, OTHER, RECURRING, SURCHARGE, USAGE
from gateway.documents import Problems, kind_of, shown

ITEM_PRICES: Final = {"itemPrice": "unit", "itemTotalPrice": "total"}
ORDER_PRICES: Final = {"orderTotalPrice": "total"}
PRICES_MAX: Final = 200
_TEXT_MAX: Final = 255
_EXACT_DIGITS: Final = 15
"""Digits that a JSON number surely keeps on its way through a double."""
_AMOUNT: Final = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?")
_KINDS: Final = {
    **dict.fromkeys(("recurring", "recurringcharge", "rc", "mrc"), RECURRING),
    **dict.fromkeys(("onetime", "onetimecharge", "nonrecurring", "nonrecurringcharge", "nrc", "oc", "otc"), ONE_TIME),
    **dict.fromkeys(("usage", "usagecharge", "uc"), USAGE),
    "allowance": ALLOWANCE,
}
_SURCHARGES: Final = frozenset({"surcharge", "penalty", "markup"})


def read_prices(holder: dict[str, Any], members: dict[str, str], path: str, problems: Problems) -> list[dict[str, Any]]:
    """The price elements of an order or an item, in the order of the document.

    Args:
        holder: the order or the item.
        members: where prices stand in it, and the basis of each.
        path: of the holder; empty for the order itself.
        problems: takes what is wrong.
    """
    found: list[dict[str, Any]] = []
    for member, basis in members.items():
        prices = holder.get(member)
        if prices is None:
            continue
        where = f"{path}.{member}" if path else member
        if not isinstance(prices, list):
            _wrong(problems, where, "a list of prices", prices)
            continue
        if len(prices) > PRICES_MAX:
            problems.add(where, f"has more than {PRICES_MAX} prices")
            continue
        for index, price in enumerate(prices):
            if isinstance(price, dict):
                found.append(_element(price, basis, f"{where}[{index}]", problems))
            else:
                _wrong(problems, f"{where}[{index}]", "an object", price)
    return found


def _element(price: dict[str, Any], basis: str, path: str, problems: Problems) -> dict[str, Any]:
    price_type = _text(price, "priceType", path, problems)
    kind = _KINDS.get(_plain(price_type), OTHER)
    element: dict[str, Any] = {"kind": kind, "basis": basis}
    if kind == OTHER and price_type:
        element["priceType"] = price_type
    _describe(element, price, path, problems)
    element |= _amounts(price.get("price"), f"{path}.price", problems)
    taxes = [*_members(price, "taxes", path, problems), *_members(price, "tax", path, problems)]
    inside = price.get("price")
    if isinstance(inside, dict):
        for name in ("taxes", "tax"):
            taxes += _members(inside, name, f"{path}.price", problems)
    if taxes:
        element["taxes"] = [_tax(tax, where, problems) for tax, where in taxes]
    alterations = _members(price, "priceAlteration", path, problems)
    if alterations:
        element["alterations"] = [_alteration(each, where, problems) for each, where in alterations]
    return element


def _alteration(alteration: dict[str, Any], path: str, problems: Problems) -> dict[str, Any]:
    price_type = _plain(_text(alteration, "priceType", path, problems))
    found: dict[str, Any] = {"kind": SURCHARGE if price_type in _SURCHARGES else "discount"}
    _describe(found, alteration, path, problems)
    for member, name in (("priority", "priority"), ("applicationDuration", "duration")):
        value = alteration.get(member)
        if value.__class__ is int:
            found[name] = value
        elif value is not None:
            _wrong(problems, f"{path}.{member}", "a whole number", value)
    return found | _amounts(alteration.get("price"), f"{path}.price", problems)


def _tax(tax: dict[str, Any], path: str, problems: Problems) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if category := _text(tax, "taxCategory", path, problems):
        found["category"] = category
    if (rate := _number(tax.get("taxRate"), f"{path}.taxRate", problems)) is not None:
        found["rate"] = rate
    _, amount = _money(tax.get("taxAmount"), f"{path}.taxAmount", problems)
    if amount is not None:
        found["amount"] = amount
    return found


def _describe(element: dict[str, Any], price: dict[str, Any], path: str, problems: Problems) -> None:
    """Take over what prices and alterations have in common: name, period and unit."""
    for member, name in (("name", "name"), ("recurringChargePeriod", "period")):
        if text := _text(price, member, path, problems):
            element[name] = text
    unit = price.get("unitOfMeasure")
    if isinstance(unit, str) and 0 < len(unit) <= _TEXT_MAX:
        element["unit"] = {"units": unit}
    elif isinstance(unit, dict):
        found: dict[str, Any] = {}
        if (amount := _number(unit.get("amount"), f"{path}.unitOfMeasure.amount", problems)) is not None:
            found["amount"] = amount
        if units := _text(unit, "units", f"{path}.unitOfMeasure", problems):
            found["units"] = units
        element["unit"] = found
    elif unit is not None:
        _wrong(problems, f"{path}.unitOfMeasure", "a text or an object with amount and units", unit)


def _amounts(price: Any, path: str, problems: Problems) -> dict[str, Any]:
    if price is None:
        return {}
    if not isinstance(price, dict):
        _wrong(problems, path, "an object with dutyFreeAmount and taxIncludedAmount", price)
        return {}
    found: dict[str, Any] = {}
    for member, name in (("dutyFreeAmount", "net"), ("taxIncludedAmount", "gross")):
        currency, amount = _money(price.get(member), f"{path}.{member}", problems)
        if amount is not None:
            found[name] = amount
        if currency is not None and found.setdefault("currency", currency) != currency:
            problems.add(f"{path}.{member}.unit", f"must be {shown(found['currency'])}, as the amount beside it")
    for member in ("taxRate", "percentage"):
        if (number := _number(price.get(member), f"{path}.{member}", problems)) is not None:
            found[member] = number
            if member == "taxRate" and number.startswith("-"):
                problems.add(f"{path}.{member}", "must not be below zero")
    return found


def _money(money: Any, path: str, problems: Problems) -> tuple[str | None, str | None]:
    """(currency, amount) of `{"unit": "EUR", "value": 5}`."""
    if money is None:
        return None, None
    if not isinstance(money, dict):
        _wrong(problems, path, 'an object such as {"unit": "EUR", "value": 5}', money)
        return None, None
    return _text(money, "unit", path, problems) or None, _number(money.get("value"), f"{path}.value", problems)


def _number(value: Any, path: str, problems: Problems) -> str | None:
    """A number as the text that was sent, without an exponent."""
    if value is None:
        return None
    text = value
    if value.__class__ is int:
        text = str(value)
    elif value.__class__ is float:
        # The shortest text that gives this double is what was sent, as long as a double can hold it.
        exact = Decimal(repr(value)).normalize()
        if len(exact.as_tuple().digits) > _EXACT_DIGITS:
            problems.add(path, f"has more than {_EXACT_DIGITS} digits: send it as a text, so that none is lost")
            return None
        text = f"{exact:f}"
    if not isinstance(text, str) or _AMOUNT.fullmatch(text) is None:
        problems.add(path, "must be a number of at most 12 digits before and 9 after the point, or a text of one")
        return None
    return text


def _members(holder: dict[str, Any], member: str, path: str, problems: Problems) -> list[tuple[dict[str, Any], str]]:
    """The objects of a list, each with its path."""
    listed = holder.get(member)
    if listed is None:
        return []
    if not isinstance(listed, list) or len(listed) > PRICES_MAX:
        _wrong(problems, f"{path}.{member}", f"a list of at most {PRICES_MAX} objects", listed)
        return []
    found = []
    for index, each in enumerate(listed):
        where = f"{path}.{member}[{index}]"
        if isinstance(each, dict):
            found.append((each, where))
        else:
            _wrong(problems, where, "an object", each)
    return found


def _text(holder: dict[str, Any], member: str, path: str, problems: Problems) -> str:
    value = holder.get(member)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _TEXT_MAX:
        _wrong(problems, f"{path}.{member}", f"a text of at most {_TEXT_MAX} characters", value)
        return ""
    return value


def _plain(price_type: str) -> str:
    return "".join(letter for letter in price_type.lower() if letter.isalpha())


def _wrong(problems: Problems, path: str, wanted: str, value: Any) -> None:
    problems.add(path, f"must be {wanted}, not {kind_of(value)}")
