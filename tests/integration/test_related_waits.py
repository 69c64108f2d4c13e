"""Waits for related orders on real tables and hosts: written, looked through, told, struck."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from actors.envelopes import Envelope
from actors.folding import PlanFolder
from actors.related import RelatedOrders
from domain.errors import MutualWait
from domain.ids import shard_for, shard_of
from domain.messages import OperateItem
from domain.orders import Order
from persistence import catalogue
from persistence.readstore import ReadStore
from persistence.rows import WaitRow
from persistence.waits import RelatedWaitRows, named_orders
from tests.support.build import depends, line, order_of, plan_of, release_document, scenario
from tests.support.hosts import SHARDS, Host
from tests.support.journals import AT, commit_of, count, fact, open_journal, order_row

StartsHost = Callable[..., Awaitable[Host]]


def wait_row(order_id: str, name: str, item: str = "await") -> WaitRow:
    return WaitRow("main", order_id, item, "web", name, "core/ring", ["site/on"], AT)


async def test_pages_show_how_far_each_order_has_come(databases: Any, pool: Any) -> None:
    journal = await open_journal(databases.dsn, "host-a", (0,), pool=pool)
    rows = [wait_row("o0-2", "core"), wait_row("o0-2", "gone", "await 2"), wait_row("o0-3", "late")]
    ended_at = AT + timedelta(hours=2)
    orders = [
        order_row("o0-1", external_id="core"),
        order_row("o0-2"),
        order_row("o0-3"),
        order_row("o0-4", external_id="gone", state="cancelled", ended_at=ended_at),
    ]
    await journal.commit(
        commit_of(
            fact(1, order_id="o0-1"),
            fact(2, order_id="o0-1"),
            fact(3, order_id="o0-3"),
            orders_new={each.order_id: each for each in orders},
            waits={(each.order_id, each.item): each for each in rows},
        )
    )
    waits = RelatedWaitRows(pool, "main")

    first = await waits.page(("", ""), 2)
    assert [(each.wait.key, each.wait.target, each.state, each.ended_at, each.head) for each in first] == [
        (("o0-2", "await"), "o0-1", "inProgress", None, 2),
        (("o0-2", "await 2"), "o0-4", "cancelled", ended_at, None),
    ]
    [second] = await waits.page(first[-1].wait.key, 2)
    assert (second.wait.key, second.wait.target, second.state, second.head) == (("o0-3", "await"), None, None, None)
    assert await waits.page(second.wait.key, 2) == []
    assert await RelatedWaitRows(pool, "other").page(("", ""), 2) == []

    before = first[0].progress
    await journal.commit(commit_of(fact(4, order_id="o0-1")))
    [again] = await waits.page(("", ""), 1)
    assert again.progress != before
    assert await named_orders(pool, "main", "web", ["core", "gone", "late", "o0-2"]) == {
        "core": ("o0-1", "inProgress"), "gone": ("o0-4", "cancelled"), "o0-2": ("o0-2", "inProgress"),
    }  # fmt: skip
    assert await named_orders(pool, "main", "web", []) == {}
    journal.abandon()


# On hosts.


RELEASE = release_document(
    code="related",
    products=["core", "site"],
    plans=[plan_of("core", "ring"), plan_of("site", "switch")],
    scenarios=[scenario("core", "core"), scenario("site", "site")],
    dependencies=[
        depends("site/switch", "core/ring", "relatedOrder"),
        depends("site/switch", "site/switch", "relatedOrder"),
    ],
)
AWAITS = ["await/relatedOrder@0:core/ring", "await/relatedOrder@0:site/switch"]


class TwoHosts:
    """Each has half of the shards; what waits is told by somebody who reads only the database."""

    def __init__(self, pool: Any, *hosts: Host) -> None:
        self.hosts = hosts
        store = ReadStore(pool)
        self.related = RelatedOrders(RelatedWaitRows(pool, "main"), store, PlanFolder(store), self)

    @classmethod
    async def start(cls, pool: Any, hosts: StartsHost) -> TwoHosts:
        await catalogue.publish_release(pool, "main", "related@1", RELEASE, AT)
        half = SHARDS // 2
        return cls(pool, await hosts("host-a", shards=range(half)), await hosts("host-b", shards=range(half, SHARDS)))

    def of(self, shard: int) -> Host:
        return self.hosts[shard // (SHARDS // 2)]

    async def submit(self, product: str, name: str, host: int, *related: str) -> Any:
        """An order of an account that this host has."""
        account = next(
            each for each in (f"{name} {n}" for n in range(99))
            if self.of(shard_for(f"main/{each}", SHARDS)) is self.hosts[host]
        )  # fmt: skip
        order: Order = order_of(line("1", product), external_id=name, account=account, related=related)
        [answer] = await self.hosts[host].submit(order)
        return answer

    async def ask(self, lane: str, shard: int, envelope: Envelope, *, timeout_s: float) -> Any:
        [answer] = await self.of(shard).ask(envelope)
        return answer

    async def look(self) -> None:
        await self.related.look()
        await self.related.settled()


async def test_a_plan_is_told_of_an_order_of_another_host_and_its_wait_is_struck(hosts: StartsHost, pool: Any) -> None:
    both = await TwoHosts.start(pool, hosts)
    site = await both.submit("site", "site", 0, "core")
    assert await count(pool, "related_wait") == 2
    core = await both.submit("core", "core", 1)
    assert shard_of(core.order_id) // 4 != shard_of(site.order_id) // 4
    await both.look()
    assert [each.name for each in both.hosts[0].dispatch.calls()] == []
    assert await count(pool, "related_wait") == 1, "a core has no switch"

    await both.hosts[1].finish()
    await both.look()
    assert await count(pool, "related_wait") == 0
    assert [each.name for each in both.hosts[0].dispatch.calls()] == ["switch"]
    await both.hosts[0].finish()
    rows = await pool.fetch("select state from product_order")
    assert {row["state"] for row in rows} == {"completed"}


async def test_a_plan_that_is_read_anew_waits_on_and_is_told(hosts: StartsHost, pool: Any) -> None:
    both = await TwoHosts.start(pool, hosts)
    site = await both.submit("site", "site", 0, "core")
    await both.submit("core", "core", 1)
    await both.hosts[1].finish()
    both.hosts[0].loop.memory.plans.clear()
    both.hosts[0].loop.memory.accounts.clear()
    await both.look()
    assert [each.order_id for each in both.hosts[0].dispatch.calls(name="switch")] == [site.order_id]


async def test_an_order_that_would_close_a_circle_over_hosts_is_refused_and_leaves_nothing(
    hosts: StartsHost, pool: Any
) -> None:
    both = await TwoHosts.start(pool, hosts)
    first = await both.submit("site", "first", 0, "second")
    second = await both.submit("site", "second", 1, "third")
    refused = await both.submit("site", "third", 0, "first")

    assert isinstance(refused, MutualWait)
    assert refused.facts["orders"] == [first.order_id, second.order_id]
    assert await count(pool, "product_order") == 2
    assert await count(pool, "related_wait") == 4
    other = await both.submit("site", "third", 1)
    assert other.state == "acknowledged"


async def test_of_two_that_are_taken_in_together_the_last_is_told_and_an_operator_ends_the_wait(
    hosts: StartsHost, pool: Any
) -> None:
    both = await TwoHosts.start(pool, hosts)
    orders = [
        order_of(line("1", "site"), external_id=name, account="acc-1", related=(other,))
        for name, other in (("a", "b"), ("b", "a"))
    ]
    host = both.of(shard_for("main/acc-1", SHARDS))
    first, second = await host.submit(*orders)
    for _ in range(2):
        await both.look()

    row = await pool.fetchrow("select order_id, item, error from fallout_item")
    assert (row["order_id"], row["item"]) == (second.order_id, AWAITS[1])
    assert row["error"].endswith(f": {second.order_id} -> {first.order_id} -> {second.order_id}")
    assert await count(pool, "related_wait") == 1
    await host.tell(second.order_id, OperateItem(AWAITS[1], "skip", "olga", "because", "m-1"), "person:olga", "m-1")
    await host.finish()
    await both.look()
    await host.finish()
    assert {row["state"] for row in await pool.fetch("select state from product_order")} == {"completed"}
