"""The feed of facts: every shard's in order, nothing twice, nothing left out."""

from persistence.feed import Feed
from tests.support.journals import commit_of, fact, open_journal


async def test_facts_come_shard_by_shard_in_order_and_from_where_one_left_off(databases, pool):
    journal = await open_journal(databases.dsn, "host-a", (0, 1), pool=pool)
    await journal.commit(commit_of(*(fact(offset, shard) for shard in (1, 0) for offset in (1, 2, 3))))

    first = await Feed(pool, "main").facts_after({0: 0, 1: 2, 2: 0}, 2)
    rest = await Feed(pool, "main").facts_after({0: 2, 1: 3, 2: 0}, 2)

    assert [(each.shard, each.offset) for each in first] == [(0, 1), (0, 2), (1, 3)]
    assert [(each.shard, each.offset) for each in rest] == [(0, 3)]
    heads = await Feed(pool, "main").heads()
    assert (heads[0], heads[1], heads[2]) == (3, 3, 0)
    await journal.close()


async def test_another_tenants_facts_are_not_shown(databases, pool):
    journal = await open_journal(databases.dsn, "host-a", (0,), pool=pool)
    await journal.commit(commit_of(fact(1), fact(2, tenant="other"), fact(3)))

    found = await Feed(pool, "main").facts_after({0: 0}, 10)

    news = await Feed(pool, "main").news_after({0: 0}, 10)

    assert [each.offset for each in found] == [1, 3]
    assert [(each.shard, each.offset, each.order_id, each.kind) for each in news] == [
        (each.shard, each.offset, each.order_id, each.kind) for each in found
    ]
    await journal.close()
