"""The registry of delay models: stages, one champion, a history that is only added to; and the ground of judgement."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from domain.errors import NotFound, NotPossibleNow
from persistence import models, ticks
from persistence.ticks import TickRow
from tests.support.journals import AT


async def registered(pool, *names: str) -> None:
    for name in names:
        await models.register(
            pool,
            "main",
            name,
            form="planned",
            digest=f"digest of {name}",
            signature={"simulated": True},
            document=f'{{"of": "{name}"}}',
            at=AT,
            by="ada",
        )


async def stages(pool) -> dict[str, str]:
    return {each["name"]: each["stage"] for each in await models.list_models(pool, "main")}


async def moved(pool, name: str, action: str) -> None:
    await models.move(pool, "main", name, action, at=AT, by="ada")


async def rolled_back(pool) -> tuple[str, str | None]:
    return await models.rollback(pool, "main", at=AT, by="ada", reason="it was worse")


async def test_a_model_is_registered_once_and_its_name_is_its_own(pool):
    await registered(pool, "first", "first")
    with pytest.raises(NotPossibleNow, match="another model is registered"):
        await models.register(
            pool, "main", "first", form="planned", digest="other", signature={}, document="{}", at=AT, by="bob"
        )

    assert await stages(pool) == {"first": "registered"}
    assert [each["action"] for each in await models.list_changes(pool, "main", 10)] == ["register"]
    assert await models.read_document(pool, "main", "first") == {"of": "first"}
    with pytest.raises(NotFound):
        await models.read_document(pool, "other", "first")


async def test_promoting_retires_the_champion_and_rolling_back_leads_back_step_by_step(pool):
    await registered(pool, "a", "b", "c")
    for name in "abc":
        await moved(pool, name, "promote")
    assert await stages(pool) == {"a": "retired", "b": "retired", "c": "champion"}

    assert await rolled_back(pool) == ("c", "b")
    assert await rolled_back(pool) == ("b", "a")
    assert await rolled_back(pool) == ("a", None)
    with pytest.raises(NotPossibleNow, match="nothing to roll back"):
        await rolled_back(pool)
    assert await stages(pool) == {"a": "retired", "b": "retired", "c": "retired"}
    changes = await models.list_changes(pool, "main", 20)
    assert [(each["action"], each["name"], each["former"]) for each in reversed(changes)][3:] == [
        ("promote", "a", None),
        ("promote", "b", "a"),
        ("promote", "c", "b"),
        ("rollback", "b", "c"),
        ("rollback", "a", "b"),
        ("rollback", "a", "a"),
    ]


async def test_a_model_that_was_held_against_the_champion_before_is_not_promoted_over_the_next_one(pool):
    await registered(pool, "a", "b")
    held_against = models.HeldAgainst(None)
    await models.move(pool, "main", "a", "promote", at=AT, by="ada", against=held_against)
    with pytest.raises(NotPossibleNow, match="a has become champion meanwhile"):
        await models.move(pool, "main", "b", "promote", at=AT, by="bob", against=held_against)

    assert await stages(pool) == {"a": "champion", "b": "registered"}
    await models.move(pool, "main", "b", "promote", at=AT, by="bob", against=models.HeldAgainst("a"))
    assert await stages(pool) == {"a": "retired", "b": "champion"}


async def test_only_so_many_score_in_shadow_and_a_stage_that_does_not_allow_it_changes_nothing(pool):
    await registered(pool, *"abcd")
    for name in "abc":
        await moved(pool, name, "shadow")
    with pytest.raises(NotPossibleNow, match="3 models score in shadow"):
        await moved(pool, "d", "shadow")
    with pytest.raises(NotPossibleNow, match="the model is registered"):
        await moved(pool, "d", "rest")
    with pytest.raises(NotFound):
        await moved(pool, "e", "promote")
    await moved(pool, "a", "rest")
    await moved(pool, "b", "promote")

    assert await stages(pool) == {"a": "registered", "b": "champion", "c": "shadow", "d": "registered"}
    assert [each.name for each in await models.active(pool, "main")] == ["b", "c"]


async def test_promotions_at_the_same_time_leave_one_champion(pool):
    await registered(pool, *"abcdef")
    await asyncio.gather(*(moved(pool, name, "promote") for name in "abcdef"))

    assert sorted((await stages(pool)).values()) == ["champion", *["retired"] * 5]


async def order(pool, order_id: str, state: str, ended_after_s: float | None) -> None:
    await pool.execute(
        "insert into product_order (order_id, tenant, shard, channel, priority, state, created_at, ended_at, active, "
        "fallout, sealed, items) values ($1, 'main', 0, 'web', 'normal', $2, $3, $4, false, 0, false, 1)",
        order_id,
        state,
        AT,
        AT + timedelta(seconds=ended_after_s) if ended_after_s is not None else None,
    )


def said(order_id: str, model: str, p_late: float, tick: int = 25) -> TickRow:
    return TickRow(order_id, tick, model, AT + timedelta(seconds=tick), p_late, AT + timedelta(seconds=100))


async def test_outcomes_are_joined_when_orders_end_or_their_due_date_is_over(pool):
    await order(pool, "o0-quick", "completed", 60)
    await order(pool, "o0-slow", "completed", 160)
    await order(pool, "o0-open", "inProgress", None)
    await order(pool, "o0-void", "cancelled", 50)
    rows = [
        said(order_id, model, p_late)
        for order_id in ("o0-quick", "o0-slow", "o0-open", "o0-void")
        for model, p_late in (("champion", 0.5), ("challenger", 0.9))
    ]
    await ticks.put_ticks(pool, "main", rows)
    await ticks.put_ticks(pool, "main", [said("o0-quick", "champion", 0.1), said("o0-quick", "champion", 0.6, 50)])
    await ticks.join_ended(pool, "main", ["o0-quick"])
    assert await ticks.waiting(pool, "main") == {"champion": 3, "challenger": 3}
    await ticks.join_missed(pool, "main", AT + timedelta(seconds=90), 100)
    assert await ticks.waiting(pool, "main") == {"champion": 1, "challenger": 1}, "the open one is not due yet"
    await ticks.join_missed(pool, "main", AT + timedelta(seconds=101), 100)
    found = await ticks.judged(pool, "main", "champion", 100)
    pairs = await ticks.pairs(pool, "main", "champion", "challenger", 100)

    assert dict(zip(found.order_ids, found.late, strict=True)) == {
        "o0-quick": False,
        "o0-slow": True,
        "o0-open": True,
    }
    assert sorted(found.lag_s) == [10, 35, 75, 75]
    assert 0.1 not in found.p_late, "what was said first at a tick stays"
    assert sorted(pairs.order_ids) == ["o0-open", "o0-quick", "o0-slow"]
    assert (set(pairs.champion), set(pairs.challenger)) == ({0.5}, {0.9})
    await ticks.drop_old_ticks(pool, "main", AT + timedelta(days=1), 100)
    assert (await ticks.judged(pool, "main", "champion", 100)).late == []
