"""What the simulator has found in changes of orders under way, each in its smallest form."""

from __future__ import annotations

import pytest

from domain.errors import Conflict
from domain.states import OrderState
from tests.support.build import callout, line, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine


def test_a_product_that_a_cancelled_order_still_takes_back_is_let_go_when_that_is_done() -> None:
    engine = Engine(
        release_of(
            products=[{"code": "offer", "attributes": [{"name": "speed"}]}],
            plans=[plan_of("p", callout("one", rollbackPlan="back"), callout("two")), plan_of("back", "undo")],
            scenarios=[scenario("offer", "p", "add", "modify", "delete")],
        )
    )
    first = engine.accept(order_of(line("1", "offer", speed=1)))
    engine.finish(first)
    asset = first.lines[0].asset_id
    cancelled = engine.accept(order_of(line("1", "offer", "modify", product_id=asset, speed=2)))
    engine.answer(cancelled, engine.call(cancelled, "p/one"))
    engine.fail(cancelled, engine.call(cancelled, "p/two"), fatal=True)
    engine.change(cancelled, "cancel")
    later = engine.accept(order_of(line("1", "offer", "delete", product_id=asset)))
    assert later.order_state is OrderState.PENDING, "two orders are at work on one product"
    engine.finish(cancelled)
    assert cancelled.order_state is OrderState.CANCELLED
    engine.finish(later)
    assert later.order_state.value == "completed"


def test_an_order_is_amended_although_a_delivery_that_it_awaited_was_skipped() -> None:
    engine = Engine(
        release_of(
            products=["voice", {"code": "mailbox", "scope": "account"}],
            decompositions=[rule("voice", "mailbox")],
            plans=[plan_of("v", "port"), plan_of("m", "create")],
            scenarios=[scenario("voice", "v"), scenario("mailbox", "m")],
        )
    )
    first = engine.accept(order_of(line("1", "voice")))
    second = engine.accept(order_of(line("1", "voice")))
    engine.steer(second, "freeze")
    engine.change(first, "cancel")
    engine.finish(first)
    engine.steer(second, "thaw")
    [awaited] = [item.key for item in second.items if item.definition is None]
    engine.operate(second, awaited, "skip")
    engine.change(second, "amend", order=order_of(line("1", "voice"), line("2", "voice")))
    engine.finish(second)
    assert second.order_state is OrderState.COMPLETED


def test_an_amendment_does_not_make_what_a_later_order_of_the_account_is_about_to_make() -> None:
    engine = Engine(
        release_of(
            products=["voice", "visit", {"code": "mailbox", "scope": "account"}],
            decompositions=[rule("voice", "mailbox")],
            plans=[plan_of("v", "port"), plan_of("m", "create"), plan_of("w", "see")],
            scenarios=[scenario("voice", "v"), scenario("mailbox", "m"), scenario("visit", "w")],
        )
    )
    first = engine.accept(order_of(line("1", "visit")))
    second = engine.accept(order_of(line("1", "voice")))
    wanted = order_of(line("1", "visit"), line("2", "voice"))
    with pytest.raises(Conflict, match="mailbox"):
        engine.change(first, "amend", order=wanted)
    engine.finish(second)
    engine.change(first, "amend", order=wanted)
    engine.finish(first)
    assert [each.product for each in engine.account.assets.values()].count("mailbox") == 1
