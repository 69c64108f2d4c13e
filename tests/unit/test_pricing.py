"""Prices: what they come to, how they are split, and how they reach conditions, mappings and payloads."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.importers.tmf620 import import_tmf620
from adapters.price_process import check_functions
from domain.errors import BadDocument, BadRelease
from domain.orders import Order
from domain.payloads import payload_of
from domain.pricing import charge_of, checked_values, rounded, split, split_charge, with_texts
from domain.provenance import provenance_of
from domain.publish import compile_release
from gateway.tmf622 import parse_order, render_order
from tests.support import own_mobile
from tests.support.build import line, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine

D = Decimal
FUNCTIONS = "tests.support.price_functions"


def element(**members: Any) -> dict[str, Any]:
    return {"kind": "recurring", "basis": "unit", "currency": "EUR", "period": "month"} | members


# The acceptance case: recurring 30.00, one-time 5.00, 10 % off, 20 % tax, three pieces, two billing lines.


def sold(currency: str = "EUR", recurring: Any = "30.00", once: Any = "5.00") -> dict[str, Any]:
    """A TMF622 order of three pieces, priced by the piece."""

    def price(kind: str, amount: Any) -> dict[str, Any]:
        off = {"name": "welcome", "priceType": "discount", "price": {"percentage": 10}}
        money = {"unit": currency, "value": amount}
        priced = {"dutyFreeAmount": money, "taxRate": 20}
        return {"name": kind, "priceType": kind, "price": priced, "priceAlteration": [off]}

    prices = [price("recurring", recurring) | {"recurringChargePeriod": "month"}, price("oneTime", once)]
    item = {"id": "1", "action": "add", "quantity": 3, "productOffering": {"id": "offer"}, "itemPrice": prices}
    return {"billingAccount": {"id": "acc-1"}, "productOrderItem": [item]}


def parsed(document: Any) -> Order:
    return parse_order(document, order_id="", tenant="main", client_key=None)


def billed() -> Engine:
    """Two billing lines, each with a share of the price that a function of one's own computes."""
    share = [{"to": name, "function": f"{FUNCTIONS}:billing_share"} for name in ("recurring", "oneTime", "currency")]
    release = release_of(
        products=[{"code": "offer", "kind": "commercial"}, "bill-line", "bill-service"],
        decompositions=[rule("offer", target, *share) for target in ("bill-line", "bill-service")],
        plans=[plan_of("bill", "charge")],
        scenarios=[scenario("bill-line", "bill"), scenario("bill-service", "bill")],
    )
    return Engine(release)


def amounts(charge: Any) -> tuple[str, ...]:
    return tuple(str(charge[name]) for name in ("subtotal", "discount", "net", "tax", "gross"))


@pytest.mark.parametrize(
    ("currency", "recurring", "once", "shares"),
    [
        (
            "EUR",
            "30.00",
            "5.00",
            {
                "recurring": [("45.00", "4.50", "40.50", "8.10", "48.60")] * 2,
                "oneTime": [("7.50", "0.75", "6.75", "1.35", "8.10")] * 2,
            },
        ),
        (
            # 3 x 1115 = 3345; 334.5 off is 335; tax 602; an odd yen goes to the first line.
            "JPY",
            1115,
            501,
            {
                "recurring": [("1673", "168", "1505", "301", "1806"), ("1672", "167", "1505", "301", "1806")],
                "oneTime": [("752", "75", "677", "136", "813"), ("751", "75", "676", "135", "811")],
            },
        ),
    ],
)
def test_a_price_is_split_over_two_billing_lines_to_the_cent(
    currency: str, recurring: Any, once: Any, shares: dict[str, Any]
) -> None:
    engine = billed()
    plan = engine.accept(parsed(sold(currency, recurring, once)))
    lines = [each for each in plan.lines if each.sources]
    priced = plan.order.priced()
    assert priced is not None

    assert len(lines) == 2
    for kind, wanted in shares.items():
        got = [amounts(each.attributes[kind]) for each in lines]
        assert got == wanted
        whole = priced.of(["1"], 3)[kind]
        assert [sum(map(D, column)) for column in zip(*got, strict=True)] == [D(each) for each in amounts(whole)]
    assert {each.attributes["currency"] for each in lines} == {currency}


def test_a_replay_never_calls_the_function_again() -> None:
    engine = billed()
    plan = engine.accept(parsed(sold()))
    asked = len(engine.priced)
    (composed,) = [each.payload for each in engine.facts[plan.order_id] if each.kind == "plan.composed"]
    assert composed is not None
    stored = composed["lines"][1]["attributes"]["recurring"]
    again = engine.replayed(plan)

    assert asked == 1
    assert len(engine.priced) == 1
    assert stored["gross"] == "48.60"
    assert again.lines[1].attributes == plan.lines[1].attributes


def test_explain_names_the_function_without_calling_it() -> None:
    engine = billed()
    plan = engine.accept(parsed(sold()))
    (origin, *_) = provenance_of(plan, plan, engine.facts[plan.order_id], plan.lines[1].key, "currency")

    assert origin.facts["function"] == f"{FUNCTIONS}:billing_share"
    assert origin.value == "EUR"
    assert len(engine.priced) == 1


def test_calls_of_one_rank_are_asked_for_together_and_one_function_is_called_once_a_line() -> None:
    engine = billed()
    engine.accept(parsed(sold()))

    assert [len(calls) for calls in engine.priced] == [2]


def test_a_function_below_a_function_sees_what_the_first_one_gave() -> None:
    seen = {"to": "charge", "function": f"{FUNCTIONS}:what_is_seen"}
    release = release_of(
        products=[{"code": "offer", "kind": "commercial"}, "middle", {"code": "end"}],
        decompositions=[
            rule("offer", "middle", {"to": "charge", "function": f"{FUNCTIONS}:flat"}),
            rule("middle", "end", seen),
        ],
        plans=[plan_of("bill", "charge")],
        scenarios=[scenario("end", "bill")],
    )
    engine = Engine(release)
    plan = engine.accept(parsed(sold()))
    given = plan.lines[-1].attributes["charge"]

    assert [len(calls) for calls in engine.priced] == [1, 1]
    assert given["line"]["attributes"] == {"charge": "1.50"}
    assert given["context"]["target"] == "end"
    # It is another one each time the order is decided.
    assert "id" not in given["context"]["order"]


def test_a_function_never_sees_what_must_not_stay() -> None:
    attributes = [{"name": "PUK", "assetizable": False}, {"name": "PIN", "encrypted": True}, {"name": "speed"}]
    release = release_of(
        products=[{"code": "offer", "kind": "commercial", "attributes": attributes}, "t"],
        decompositions=[rule("offer", "t", {"to": "charge", "function": f"{FUNCTIONS}:what_is_seen"})],
        plans=[plan_of("bill", "charge")],
        scenarios=[scenario("t", "bill")],
    )
    document = sold()
    values = {"PUK": "12345678", "PIN": "4711", "speed": "1G"}
    document["productOrderItem"][0]["product"] = {
        "productCharacteristic": [{"name": name, "value": value} for name, value in values.items()]
    }
    plan = Engine(release).accept(parsed(document))

    assert plan.lines[-1].attributes["charge"]["line"]["attributes"] == {"speed": "1G"}


def test_a_function_that_fails_rejects_the_order_and_says_where() -> None:
    release = release_of(
        products=[{"code": "offer", "kind": "commercial"}, "t"],
        decompositions=[rule("offer", "t", {"to": "charge", "function": f"{FUNCTIONS}:raises"})],
        plans=[plan_of("bill", "charge")],
        scenarios=[scenario("t", "bill")],
    )
    plan = Engine(release).accept(parsed(sold()))
    (reason,) = plan.reasons

    assert plan.order_state == "rejected"
    assert reason["code"] == "priceFunctionFailed"
    assert reason["path"] == "decomposition offer>t, mapping to charge"
    assert reason["function"] == f"{FUNCTIONS}:raises"


# What elements come to.


@pytest.mark.parametrize(
    ("given", "quantity", "wanted"),
    [
        # Net and a rate.
        (element(net="30.00", taxRate="20"), 3, ("90.00", "0.00", "90.00", "18.00", "108.00")),
        # The amount with tax is the channel's own word, as long as nothing alters it.
        (element(net="0.99", gross="1.18", taxRate="20"), 2, ("1.98", "0.00", "1.98", "0.38", "2.36")),
        # Two amounts give the rate.
        (
            element(net="10.00", gross="11.90", alterations=[{"kind": "discount", "percentage": "50"}]),
            1,
            ("10.00", "5.00", "5.00", "0.95", "5.95"),
        ),
        # With tax only.
        (element(gross="1.19", taxRate="19"), 1, ("1.00", "0.00", "1.00", "0.19", "1.19")),
        # A total is not taken times the quantity.
        (element(basis="total", net="30.00"), 3, ("30.00", "0.00", "30.00", "0.00", "30.00")),
        # By priority, each of what is left.
        (
            element(
                net="100.00",
                alterations=[
                    {"kind": "discount", "net": "10.00", "priority": 2},
                    {"kind": "discount", "percentage": "10", "priority": 1},
                    {"kind": "surcharge", "percentage": "5", "priority": 3},
                ],
            ),
            1,
            ("100.00", "16.00", "84.00", "0.00", "84.00"),
        ),
        # Never below zero, whatever the sign that the channel gives a discount.
        (element(net="3.00", alterations=[{"kind": "discount", "net": "-5.00"}]), 1, ("3.00", "3.00", *["0.00"] * 3)),
        # A credit, and what makes it smaller.
        (
            element(net="-10.00", taxRate="20", alterations=[{"kind": "discount", "percentage": "10"}]),
            1,
            ("-10.00", "-1.00", "-9.00", "-1.80", "-10.80"),
        ),
        # Several taxes, each rounded by itself.
        (
            element(net="0.50", taxes=[{"rate": "5"}, {"rate": "9.975"}, {"amount": "0.10"}]),
            1,
            ("0.50", "0.00", "0.50", "0.18", "0.68"),
        ),
        (element(currency="KRW", net="33000", taxRate="10"), 1, ("33000", "0", "33000", "3300", "36300")),
        (element(currency="KWD", net="1.2345", taxRate="5"), 1, ("1.235", "0.000", "1.235", "0.062", "1.297")),
    ],
)
def test_an_element_comes_to_this(given: dict[str, Any], quantity: int, wanted: tuple[str, ...]) -> None:
    charge = charge_of(given, quantity)

    assert charge is not None
    assert amounts(charge) == wanted


@pytest.mark.parametrize("kind", ["usage", "allowance"])
def test_what_is_used_later_comes_to_nothing_yet(kind: str) -> None:
    assert charge_of(element(kind=kind, net="0.05"), 3) is None


# Splitting.

CURRENCIES = st.sampled_from(["EUR", "USD", "JPY", "KRW", "KWD", "CLF", "XYZ"])
AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=9)
WEIGHTS = st.lists(
    st.one_of(st.integers(0, 10**9), st.decimals(min_value=0, max_value=1000, places=4)), min_size=1, max_size=40
).filter(any)


@given(amount=AMOUNTS, weights=WEIGHTS, currency=CURRENCIES)
def test_shares_always_sum_to_the_whole(amount: Decimal, weights: list[Any], currency: str) -> None:
    for whole in (amount, rounded(amount, currency)):
        shares = split(whole, weights, currency)

        assert sum(shares) == whole
        assert len(shares) == len(weights)
        assert all(share == 0 for share, weight in zip(shares, weights, strict=True) if weight == 0)
        # Nobody is off by a whole minor unit.
        unit = D(1).scaleb(min(int(share.as_tuple().exponent) for share in shares))
        exact = [D(weight) * whole / sum(map(D, weights)) for weight in weights]
        assert all(abs(share - part) < unit for share, part in zip(shares, exact, strict=True))


@given(amount=AMOUNTS, weights=WEIGHTS, currency=CURRENCIES, off=st.integers(0, 100), tax=st.integers(0, 30))
def test_shares_of_a_charge_sum_in_every_column_and_each_adds_up(
    amount: Decimal, weights: list[Any], currency: str, off: int, tax: int
) -> None:
    reduced = [{"kind": "discount", "percentage": str(off)}]
    given = element(currency=currency, net=str(rounded(amount, currency)), taxRate=str(tax), alterations=reduced)
    charge = charge_of(given, 1)
    assert charge is not None
    shares = split_charge(charge, weights)

    for name in ("subtotal", "discount", "net", "tax", "gross"):
        assert sum(share[name] for share in shares) == charge[name]
    for share in (charge, *shares):
        assert share["subtotal"] - share["discount"] == share["net"]
        assert share["net"] + share["tax"] == share["gross"]


def test_the_minor_units_that_are_left_go_to_those_that_lost_most_and_then_to_the_first() -> None:
    assert split(D("1.00"), [1, 1, 1], "EUR") == [D("0.34"), D("0.33"), D("0.33")]
    assert split(D("0.05"), [30, 31, 39], "EUR") == [D("0.01"), D("0.02"), D("0.02")]
    assert split(D(100), [1, 1, 1], "JPY") == [D(34), D(33), D(33)]
    assert split(D("-1.00"), [1, 1, 1], "EUR") == [D("-0.34"), D("-0.33"), D("-0.33")]


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]])
def test_weights_that_give_no_shares_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(D(1), weights, "EUR")


def test_a_float_is_no_amount() -> None:
    with pytest.raises(TypeError, match="float"):
        split(0.1, [1], "EUR")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float"):
        rounded(0.1, "EUR")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "gave nothing"),
        ([1], "a list"),
        ({"a": {"b": [0.5]}}, r"a float as a\.b\[0\]"),
        ({"a": D("NaN")}, "not finite"),
        ({"a": 2**70}, "64 bits"),
        ({"a": {1}}, "a set as a"),
        ({"a": {"$sealed": "x"}}, r"starts with \$"),
        ({3: "x"}, "no text"),
    ],
)
def test_values_that_cannot_be_kept_are_refused_by_place(answer: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked_values(answer)


def test_amounts_are_kept_as_texts_and_nothing_else_is_touched() -> None:
    plain = {"a": [1, {"b": "x"}]}

    assert checked_values({"a": D("5.00"), "b": (1, True, None)}) == {"a": "5.00", "b": [1, True, None]}
    assert with_texts({"a": [D("1E+2")]}) == {"a": ["100"]}
    assert with_texts(plain) is plain


# Conditions, mappings and payloads.


def test_prices_reach_conditions_and_mappings() -> None:
    release = release_of(
        products=[{"code": "offer", "kind": "commercial"}, "cheap", "dear"],
        decompositions=[
            rule("offer", "cheap", when="prices.recurring.gross < 50.0"),
            rule(
                "offer",
                "dear",
                {"to": "MRC", "expression": "prices.recurring.net"},
                {"to": "NRC", "expression": "prices.oneTime"},
                {"to": "currency", "expression": "prices.currency"},
                {"to": "usage", "expression": "prices.usage[0].net"},
                {"to": "off", "expression": "prices.elements[0].alterations[0].percentage"},
                {"to": "whole", "expression": "prices.order.oneTime.gross"},
                when="prices.recurring.gross >= 50.0",
            ),
        ],
        plans=[plan_of("bill", "charge")],
        scenarios=[scenario("dear", "bill", when='prices.currency == "EUR"'), scenario("cheap", "bill")],
    )
    document = sold()
    money = {"dutyFreeAmount": {"unit": "EUR", "value": 0.00345}}
    document["productOrderItem"][0]["itemPrice"].append({"priceType": "usage", "price": money})
    whole = {"taxIncludedAmount": {"unit": "EUR", "value": "97.2"}}
    document["orderTotalPrice"] = [{"priceType": "one time", "price": whole}]
    plan = Engine(release).accept(parsed(document))
    derived = plan.lines[-1]

    assert [each.product for each in plan.lines] == ["offer", "dear"]
    assert derived.attributes["MRC"] == "81.00"
    assert derived.attributes["NRC"]["gross"] == "16.20"
    assert derived.attributes["currency"] == "EUR"
    assert derived.attributes["usage"] == "0.00345"
    assert derived.attributes["off"] == "10"
    assert derived.attributes["whole"] == "97.20"


def test_an_order_without_prices_has_none_in_conditions() -> None:
    release = release_of(
        products=["x", "t"],
        decompositions=[rule("x", "t", when="!has(prices.recurring)")],
        plans=[plan_of("p", "do")],
        scenarios=[scenario("t", "p")],
    )

    assert [each.product for each in Engine(release).accept(order_of(line("1", "x"))).lines] == ["x", "t"]


def test_charges_of_two_currencies_are_never_added() -> None:
    prices = [element(net="1.00"), element(net="2.00", currency="USD"), element(net="0.50")]
    order = order_of(line("1", "x", prices=prices))
    priced = order.priced()
    assert priced is not None
    found = priced.of(["1"], 1)

    assert [(each["currency"], each["net"]) for each in found["charges"]] == [("EUR", D("1.50")), ("USD", D("2.00"))]
    assert "recurring" not in found
    assert "currency" not in found


def test_a_total_counts_instead_of_the_prices_that_make_it() -> None:
    prices = [element(net="10.00"), element(basis="total", net="28.00")]
    priced = order_of(line("1", "x", prices=prices, quantity=3)).priced()
    assert priced is not None

    assert priced.of(["1"], 1)["recurring"]["net"] == D("28.00")


def test_the_five_euros_of_own_mobile_reach_the_payload_for_billing() -> None:
    """The price stands at the offering's item; what is delivered and billed is the item that it sells."""
    release, _ = import_tmf620(own_mobile.read("own-mobile-catalogue.json"), own_mobile.bindings(), "1")
    engine = Engine(compile_release(release), "231-mf4")
    plan = engine.accept(parsed(own_mobile.add_order()))
    (item,) = [each for each in plan.items if each.definition is not None and each.definition.system == "billing"]
    (billed_line,) = payload_of(plan, item)["lines"]
    (charge,) = billed_line["prices"]["charges"]

    assert billed_line["product"]["name"] == "Time Bundle"
    assert billed_line["prices"]["elements"][0]["name"] == "POP_5Euro"
    assert (charge["kind"], charge["currency"], charge["net"], charge["gross"]) == ("oneTime", "EUR", "5.00", "5.00")


# The way in.


def test_prices_are_given_back_as_they_were_sent() -> None:
    document = sold()
    order = Order.from_dict(parsed(document).to_dict())
    order.order_id = "o1-1"

    assert render_order(order.to_dict(), {})["productOrderItem"][0]["itemPrice"] == (
        document["productOrderItem"][0]["itemPrice"]
    )
    assert order.lines[0].prices[0]["net"] == "30.00"


@pytest.mark.parametrize(
    ("member", "value", "path"),
    [
        ("itemPrice", {}, "itemPrice"),
        ("itemPrice", [3], "itemPrice[0]"),
        ("itemPrice", [{"price": 5}], "itemPrice[0].price"),
        ("itemPrice", [{"price": {"dutyFreeAmount": 5}}], "itemPrice[0].price.dutyFreeAmount"),
        (
            "itemTotalPrice",
            [{"price": {"taxIncludedAmount": {"unit": "EUR", "value": "five"}}}],
            "itemTotalPrice[0].price.taxIncludedAmount.value",
        ),
        (
            "itemPrice",
            [{"price": {"dutyFreeAmount": {"unit": "EUR", "value": 0.12345678901234567}}}],
            "itemPrice[0].price.dutyFreeAmount.value",
        ),
        (
            "itemPrice",
            [{"price": {"dutyFreeAmount": {"unit": "EUR", "value": True}}}],
            "itemPrice[0].price.dutyFreeAmount.value",
        ),
        (
            "itemPrice",
            [{"price": {"dutyFreeAmount": {"unit": "EUR"}, "taxIncludedAmount": {"unit": "USD"}}}],
            "itemPrice[0].price.taxIncludedAmount.unit",
        ),
        ("itemPrice", [{"price": {"taxRate": -1}}], "itemPrice[0].price.taxRate"),
        ("itemPrice", [{"priceType": 7}], "itemPrice[0].priceType"),
        ("itemPrice", [{"priceAlteration": [7]}], "itemPrice[0].priceAlteration[0]"),
        ("itemPrice", [{"tax": [{"taxRate": "x"}]}], "itemPrice[0].tax[0].taxRate"),
    ],
)
def test_a_price_that_cannot_be_read_is_refused_with_its_path(member: str, value: Any, path: str) -> None:
    document = sold()
    document["productOrderItem"][0][member] = value
    with pytest.raises(BadDocument) as refused:
        parsed(document)

    assert refused.value.path == f"productOrderItem[0].{path}"


@pytest.mark.parametrize(
    ("value", "kept"), [(0.1, "0.1"), (5, "5"), (5.0, "5"), ("5.00", "5.00"), (1e-7, "0.0000001"), (0.99, "0.99")]
)
def test_an_amount_is_kept_digit_by_digit(value: Any, kept: str) -> None:
    order = parsed(sold(recurring=value))

    assert order.lines[0].prices[0]["net"] == kept


# The release.


def priced_release(function: str) -> Any:
    return release_of(
        products=["x", "t"],
        decompositions=[rule("x", "t", {"to": "charge", "function": function})],
        plans=[plan_of("p", "do")],
        scenarios=[scenario("t", "p")],
    ).source


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (f"{FUNCTIONS}:not_there", "has no attribute"),
        ("not_a_module_of_ours:f", "ModuleNotFoundError"),
        ("nobodys", "no installed package names it"),
        (f"{FUNCTIONS}:waits", "is async"),
        (f"{FUNCTIONS}:takes_too_little", "does not take"),
        (f"{FUNCTIONS}:_SHARES", "is no function"),
    ],
)
async def test_a_release_with_a_function_that_cannot_be_called_is_refused_by_field(function: str, why: str) -> None:
    with pytest.raises(BadRelease, match=why) as refused:
        await check_functions(priced_release(function))

    assert refused.value.path == "decompositions[0].map[0].function"


async def test_a_release_with_a_function_that_is_there_passes() -> None:
    await check_functions(priced_release(f"{FUNCTIONS}:flat"))


def test_a_mapping_is_one_kind_only() -> None:
    with pytest.raises(BadRelease, match="exactly one of"):
        release_of(
            products=["x", "t"],
            decompositions=[rule("x", "t", {"to": "a", "function": "f", "copy": "b"})],
            plans=[plan_of("p", "do")],
            scenarios=[scenario("t", "p")],
        )
