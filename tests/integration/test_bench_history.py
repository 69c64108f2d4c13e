"""The long history of the bench is made of copies that no host takes for its own."""

from bench.large import copies
from tests.support.deliveries import kinds, sim


async def test_a_finished_order_is_copied_whole_and_the_host_goes_on_where_it_was(host, pool):
    [done] = await host.submit(sim())
    await host.finish()
    left_behind = {
        table: await pool.fetchval(f"select count(*) from {table}") for table in ("fact", "product_order", "asset")
    }
    heads = dict(host.loop.heads)

    for statement in copies(3):
        await pool.execute(statement, [done.order_id])

    for table, count in left_behind.items():
        assert await pool.fetchval(f"select count(*) from {table}") == 4 * count
    assert count > 0
    assert await kinds(pool, f"{done.order_id}~3") == await kinds(pool, done.order_id)
    assert await pool.fetchval('select max("offset") from fact') == max(heads.values())
    [next_one] = await host.submit(sim(account="acc-2"))
    await host.finish()
    assert (await kinds(pool, next_one.order_id))[-1] == "order.ended"
