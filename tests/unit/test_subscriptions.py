"""What a listener may ask for, and what it then hears."""

from __future__ import annotations

import pytest

from domain.errors import BadDocument
from domain.events import ATTRIBUTE_CHANGED, STATE_CHANGED
from domain.orders import Order
from domain.subscriptions import QUERY_LENGTH_MAX, read_subscription
from tests.support.build import line, order_of

ORDER: Order = order_of(line("1", "sim"), account="acc-1", channel="web", external_id="ext-1")


@pytest.mark.parametrize(
    ("query", "is_wanted"),
    [
        ("", True),
        ("?eventType=ProductOrderStateChangeEvent", True),
        ("eventType=ProductOrderCreateEvent", False),
        ("eventType=ProductOrderCreateEvent,ProductOrderStateChangeEvent", True),
        ("eventType=ProductOrderCreateEvent&eventType=ProductOrderStateChangeEvent", True),
        ("state=completed", True),
        ("event.productOrder.state=cancelled,completed", True),
        ("state=held", False),
        ("eventType=ProductOrderStateChangeEvent&state=held", False),
        ("externalId=ext-1&channel=web&billingAccount.id=acc-1", True),
        ("event.productOrder.externalId=ext-2", False),
        ("event.productOrder.billingAccount.id=acc-2", False),
        ("channel=shop", False),
        ("fields=state", True),
    ],
)
def test_a_listener_hears_what_its_query_lets_through(query: str, is_wanted: bool) -> None:
    assert read_subscription(query).wants(STATE_CHANGED, "completed", ORDER) is is_wanted


def test_values_may_hold_what_a_url_escapes() -> None:
    order = order_of(line("1", "sim"), external_id="a&b=c")

    assert read_subscription("externalId=a%26b%3Dc").wants(ATTRIBUTE_CHANGED, "held", order)


def test_fields_narrow_the_payload_and_filter_nothing() -> None:
    read = read_subscription("fields=state,externalId&fields=productOrderItem.state")

    assert read.fields == "state,externalId,productOrderItem.state"
    assert read.wanted == {}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("color=red", "color"),
        ("event.productOrder.priority=1", "priority"),
        ("eventType=OrderEatenEvent", "OrderEatenEvent"),
        ("state=done", "done"),
        ("state=", "state"),
        ("state=held,,completed", "state"),
        ("nonsense", "no filter"),
        ("externalId=" + "x" * QUERY_LENGTH_MAX, "longer"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(BadDocument, match=named) as refused:
        read_subscription(query)

    assert refused.value.path == "query"
