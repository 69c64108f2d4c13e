"""What the simulator has found in changes of orders under way, each in its smallest form."""

from __future__ import annotations

from domain.states import OrderState
from tests.support.build import callout, line, order_of, plan_of, release_of, scenario
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
