"""Whoever waits for related orders is told how they stand: in any order of arrival, until it has heard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from actors.envelopes import Envelope, ToPlan
from actors.related import LOOKS_UNTIL_AGAIN, PAGE_MAX, RelatedOrders
from domain.errors import Busy, NotFound, PlanUnreadable
from domain.messages import RelatedTold
from domain.plan import Plan
from domain.related import RelatedWaits, Wait, open_waits
from domain.release import CompiledRelease
from domain.states import ItemState
from persistence.waits import OpenWait
from tests.support.build import depends, line, order_of, plan_of, release_of, scenario
from tests.support.engine import START, Engine


def release(*dependencies: tuple[str, str]) -> CompiledRelease:
    return release_of(
        products=["core", "site"],
        plans=[plan_of("core", "ring"), plan_of("site", "build", "switch")],
        scenarios=[scenario("core", "core"), scenario("site", "site")],
        dependencies=[
            depends("site/switch", "site/build"),
            depends("site/switch", "core/ring", "relatedOrder"),
            *(depends(item, other, "relatedOrder") for item, other in dependencies),
        ],
    )


class World:
    """Orders of nobody's account, the table of waits, and the way to the plans."""

    def __init__(self, made: CompiledRelease | None = None) -> None:
        self.engine = Engine(made or release())
        self.plans = self.engine.plans
        self.opened: dict[tuple[str, str], Any] = {}
        self.heard: list[RelatedTold] = []
        self.read: list[str] = []
        self.unreadable: set[str] = set()
        self.is_deaf = False
        self.related = RelatedOrders(self, self, self, self)  # type: ignore[arg-type]

    def accept(self, product: str, name: str, *related: str) -> Plan:
        """An order with an external id."""
        return self.engine.accept(order_of(line(name, product), external_id=name, related=related, account=None))

    def answer(self, plan: Plan, item: str) -> None:
        self.engine.answer(plan, self.engine.call(plan, item))

    # The table of waits.

    def _rows(self) -> list[Wait]:
        rows = []
        for plan in self.plans.values():
            for each in open_waits(plan, START):
                opened_at = self.opened.setdefault(each.key, len(self.opened))
                rows.append(each._replace(target=self._named(each.name), opened_at=opened_at))
        return sorted(rows)

    def _named(self, name: str) -> str | None:
        found = (each.order_id for each in self.plans.values() if name in (each.order_id, each.order.external_id))
        return next(found, None)

    async def page(self, after: tuple[str, str], limit: int) -> list[OpenWait]:
        found = []
        for each in self._rows():
            plan = self.plans.get(each.target or "")
            state = plan.order_state.value if plan else None
            found.append(OpenWait(each, state, plan.ended_at if plan else None, plan.facts if plan else None))
        return [each for each in found if each.wait.key > after][:limit]

    async def leading_from(self, channel: str, names: Sequence[str]) -> RelatedWaits:
        targets = {name: target for name in names if (target := self._named(name)) is not None}
        reached, waits = list(targets.values()), []
        for order_id in reached:
            for each in self._rows():
                if each.order_id == order_id:
                    waits.append(each)
                    if each.target is not None and each.target not in reached:
                        reached.append(each.target)
        return RelatedWaits(targets, waits)

    # Facts, and the way to the plans.

    async def facts_of(self, order_ids: Iterable[str]) -> dict[str, Any]:
        return {order_id: order_id for order_id in order_ids}

    async def fold(self, order_id: Any) -> Plan:
        self.read.append(order_id)
        if order_id in self.unreadable:
            raise PlanUnreadable("it is damaged")
        return self.plans[order_id]

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any:
        assert isinstance(envelope, ToPlan)
        assert isinstance(envelope.message, RelatedTold)
        if self.is_deaf:
            raise Busy("nobody is there")
        plan = self.plans.get(envelope.order_id)
        if plan is None:
            raise NotFound("there is no such order")
        self.heard.append(envelope.message)
        self.engine.tell(plan, envelope.message)

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.related.look()
            await self.related.settled()

    def states(self, plan: Plan) -> dict[str, str]:
        return {item.key.split("@")[0]: item.state.value for item in plan.items}


@pytest.mark.parametrize("is_core_first", [True, False])
async def test_an_order_goes_on_when_the_related_one_has_done_its_part_whichever_came_first(is_core_first: bool):
    world = World()
    made = {}
    for name in ("core", "site") if is_core_first else ("site", "core"):
        made[name] = world.accept(name, name, *(["core"] if name == "site" else []))
        await world.look()
    site, core = made["site"], made["core"]
    world.answer(site, "site/build")
    await world.look()
    assert world.states(site)["site/switch"] == "Pending"

    world.answer(core, "core/ring")
    await world.look(2)
    assert world.states(site)["site/switch"] == "Running"
    assert [each.outcome for each in world.heard] == ["done"]
    await world.look(2 * LOOKS_UNTIL_AGAIN)
    assert world.related.told == 1


async def test_an_order_may_be_named_by_its_id():
    world = World()
    core = world.accept("core", "core")
    site = world.accept("site", "site", core.order_id)
    world.answer(core, "core/ring")
    await world.look()
    assert world.states(site)["await/relatedOrder"] == "Completed"


async def test_a_related_order_without_such_an_item_is_not_waited_for():
    world = World()
    other = world.accept("site", "other")
    site = world.accept("site", "site", "other")
    await world.look()
    assert world.states(site)["await/relatedOrder"] == "Completed"
    assert [(each.outcome, each.order) for each in world.heard] == [("void", other.order_id)]


async def test_a_related_order_that_was_cancelled_is_decided_about_by_a_person():
    world = World()
    core = world.accept("core", "core")
    site = world.accept("site", "site", "core")
    engine = world.engine
    engine.fail(core, engine.call(core, "core/ring"))
    engine.change(core, "cancel")
    await world.look()
    assert world.states(site)["await/relatedOrder"] == "Fatally Failed"


async def test_who_was_not_heard_is_told_again_after_a_while_and_not_at_each_look():
    world = World()
    core = world.accept("core", "core")
    site = world.accept("site", "site", "core")
    world.answer(core, "core/ring")
    world.is_deaf = True
    await world.look(LOOKS_UNTIL_AGAIN)
    assert world.read == [core.order_id]
    world.is_deaf = False
    await world.look(2)
    assert world.states(site)["await/relatedOrder"] == "Completed"


async def test_whoever_looks_after_one_that_has_died_tells_what_it_had_not():
    world = World()
    core = world.accept("core", "core")
    site = world.accept("site", "site", "core")
    await world.look()
    world.answer(core, "core/ring")
    world.related = RelatedOrders(world, world, world, world)  # type: ignore[arg-type]
    await world.look()
    assert world.states(site)["await/relatedOrder"] == "Completed"


async def test_an_order_is_read_again_only_when_it_has_new_facts():
    world = World()
    world.accept("site", "site", "core")
    await world.look(3)
    assert world.read == [], "it has not come yet"
    core = world.accept("core", "core")
    await world.look(3)
    assert world.read == [core.order_id]
    world.engine.steer(core, "prioritize", "high")
    await world.look(3)
    assert world.read == [core.order_id] * 2


async def test_an_order_that_cannot_be_read_keeps_no_other_waiting():
    world = World()
    damaged, core = world.accept("core", "damaged"), world.accept("core", "core")
    first = world.accept("site", "first", "damaged")
    second = world.accept("site", "second", "core")
    world.unreadable = {damaged.order_id}
    world.answer(core, "core/ring")
    await world.look()
    assert world.states(first)["await/relatedOrder"] == "Pending"
    assert world.states(second)["await/relatedOrder"] == "Completed"


async def test_all_pages_are_gone_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.related.PAGE_MAX", 2)
    assert PAGE_MAX > 2
    world = World()
    core = world.accept("core", "core")
    made = [world.accept("site", f"site-{number}", "core") for number in range(7)]
    await world.look(4)
    world.answer(core, "core/ring")
    await world.look(4)
    assert {world.states(each)["await/relatedOrder"] for each in made} == {"Completed"}


@pytest.mark.parametrize("count", [2, 3, 5])
async def test_of_orders_that_were_accepted_in_a_circle_the_last_one_is_told_who_waits_for_whom(count: int):
    world = World(release(("site/switch", "site/switch")))
    made = [world.accept("site", f"s{number}", f"s{(number + 1) % count}") for number in range(count)]
    # Rows are written when an order is taken in.
    world._rows()
    await world.look(3)

    failed = [each for each in made if "Fatally Failed" in world.states(each).values()]
    assert failed == [made[-1]]
    [item] = [each for each in made[-1].items if each.state is ItemState.FATALLY_FAILED]
    assert item.error_code == "mutualWait"
    ids = [each.order_id for each in made]
    assert item.error.endswith(": " + " -> ".join([ids[-1], *ids]))


async def test_an_order_that_waits_for_one_that_waits_for_its_end_is_told_so():
    world = World(
        release_of(
            products=["core"],
            plans=[plan_of("core", "ring")],
            scenarios=[scenario("core", "core", "add", "modify")],
            dependencies=[depends("core/ring", "core/ring", "relatedOrder")],
        )
    )
    world.engine.finish(world.engine.accept(order_of(line("1", "core"))))
    changes = [line(line_id, "core", "modify", quantity=2) for line_id in ("2", "3")]
    first = world.engine.accept(order_of(changes[0], external_id="first", related=("second",)))
    second = world.engine.accept(order_of(changes[1], external_id="second"))
    assert second.behind == [first.order_id]
    await world.look(2)

    [item] = [each for each in first.items if each.state is ItemState.FATALLY_FAILED]
    circle = " -> ".join([first.order_id, second.order_id, first.order_id])
    assert item.error == f"orders wait for one another in a circle: {circle}"


async def test_orders_whose_waits_do_not_hold_each_other_up_are_in_no_circle():
    world = World(release(("core/ring", "site/build")))
    core = world.accept("core", "core", "site")
    site = world.accept("site", "site", "core")
    await world.look(2)
    world.answer(site, "site/build")
    await world.look(2)
    world.answer(core, "core/ring")
    await world.look(2)
    world.answer(site, "site/switch")
    assert core.ended_at is not None
    assert site.ended_at is not None
