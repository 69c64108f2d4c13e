"""Who scores: the registry's champion while it behaves, shadows beside it; what they said is joined with outcomes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from actors.delay_predictor import HOUSEKEEPING_S, DelayPredictor
from actors.model_desk import POLL_S
from actors.model_process import ModelFailed
from actors.scoring import Scorer
from delay.critical_path import NAME as BUILTIN
from delay.critical_path import CriticalPath
from delay.durations import Durations
from delay.features import NAMES, Schema
from delay.model import Prediction
from delay.stock.artefact import Artefact
from delay.stock.running import Runner
from delay.stock.watch import bins_of
from persistence import models, scores, ticks
from persistence.readstore import ReadStore
from persistence.ticks import TickRow
from tests.support.build import line, order_of
from tests.support.journals import AT, count


class Watch:
    """Seconds that only grow when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class InProcess:
    """Runs a document here; what stands in its body as `does` goes wrong."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._does = document["body"].get("does")
        self._says = document["body"].get("says")
        self._document = document
        self.is_running = False

    async def ask(self, method: str, argument: Any, timeout_s: float) -> Any:
        self.is_running = True
        if method == "fit":
            return None
        if self._does == "sleep":
            raise ModelFailed(f"predict took longer than {timeout_s:g} s")
        if self._does == "lie":
            return [Prediction(7.0, 1.0, 0.0, 2.0) for _ in argument.builtin]
        if self._says is not None:
            return [Prediction(self._says, 60.0, 30.0, 90.0) for _ in argument.categories]
        return Runner(self._document).predict(argument)

    async def close(self) -> None:
        self.is_running = False


@pytest.fixture
async def watch() -> Watch:
    return Watch()


@pytest.fixture
async def predictor(pool, host, watch):
    durations = Durations()
    scorer = Scorer(CriticalPath(durations), monotonic=watch)
    made = DelayPredictor(
        pool, ReadStore(pool), scorer, durations, "main",
        clock=host.clock, monotonic=watch, make_process=InProcess,
    )  # fmt: skip
    await made.start()
    return made


async def registered(pool, name: str, action: str, **body: Any) -> None:
    rows = np.zeros((10, len(NAMES)))
    signature = {"schema": Schema({}).to_dict(), "simulated": True, "bins": bins_of(rows, np.zeros(10))}
    made = Artefact("planned", signature, body)
    await models.register(
        pool, "main", name, form=made.form, digest=made.digest, signature=signature, document=made.text, at=AT, by="ada"
    )
    await models.move(pool, "main", name, action, at=AT, by="ada")


async def later(host, predictor, watch, seconds: float) -> None:
    host.clock.now += timedelta(seconds=seconds)
    watch.now += seconds
    await predictor.step()
    await asyncio.sleep(0)


async def submitted(host, due_in_s: float = 100.0) -> str:
    due_at = (host.clock.now + timedelta(seconds=due_in_s)).isoformat()
    (answer,) = await host.submit(order_of(line("1", "sim"), due_at=due_at))
    order_id: str = answer.order_id
    return order_id


async def model_of(pool, order_id: str) -> tuple[str, float]:
    found = await scores.read_risk(pool, "main", order_id)
    assert found is not None
    return found["model"], found["risk"]


async def test_the_champion_of_the_registry_scores_and_a_change_is_seen_in_time(host, pool, predictor, watch):
    order_id = await submitted(host)
    await later(host, predictor, watch, 1)
    await later(host, predictor, watch, 1)
    assert (await model_of(pool, order_id))[0] == BUILTIN
    await registered(pool, "first", "promote", says=0.25)
    await later(host, predictor, watch, POLL_S)
    await later(host, predictor, watch, POLL_S)
    assert await model_of(pool, order_id) == ("first", 0.25)
    await registered(pool, "second", "promote", says=0.75)
    await later(host, predictor, watch, POLL_S)
    await later(host, predictor, watch, POLL_S)
    assert await model_of(pool, order_id) == ("second", 0.75)
    await models.rollback(pool, "main", at=AT, by="ada", reason="")
    await later(host, predictor, watch, POLL_S)
    await later(host, predictor, watch, POLL_S)

    assert await model_of(pool, order_id) == ("first", 0.25)


@pytest.mark.parametrize("does", ["sleep", "lie"])
async def test_a_champion_that_fails_leaves_the_work_to_the_built_in_model_and_is_counted(
    host, pool, predictor, watch, does
):
    await registered(pool, "bad", "promote", does=does)
    watch.now += POLL_S
    order_id = await submitted(host)
    await predictor.step()
    await later(host, predictor, watch, 1)
    await later(host, predictor, watch, POLL_S)
    counters = predictor.stats()

    assert (await model_of(pool, order_id))[0] == BUILTIN
    assert counters["modelErrors"] >= 1
    assert counters["fallbackShare"] == 1.0


async def test_a_model_of_another_release_is_left_out_and_counted(host, pool, predictor, watch):
    await registered(pool, "old", "promote")
    await pool.execute("update delay_model set document = '{\"format\": \"other\"}'")
    watch.now += POLL_S
    order_id = await submitted(host)
    await predictor.step()
    await later(host, predictor, watch, 1)

    assert (await model_of(pool, order_id))[0] == BUILTIN
    assert predictor.stats()["modelsUnusable"] == 1
    (old,) = predictor.stats()["atWork"]
    assert (old["model"], old["stage"], old["asked"], old["since"]) == ("old", "champion", 0, None)
    assert old["lastCause"].startswith("it cannot be used here: ")


async def test_shadows_score_the_same_snapshots_unseen_and_their_scores_meet_the_outcomes(
    host, pool, predictor, watch
):
    await registered(pool, "champion", "promote", says=0.25)
    await registered(pool, "shadow", "shadow", says=0.75)
    await registered(pool, "stuck", "shadow", does="sleep")
    watch.now += POLL_S
    order_id = await submitted(host)
    await predictor.step()
    for _ in range(9):
        await later(host, predictor, watch, 6)
    await predictor.desk.idle()
    assert await model_of(pool, order_id) == ("champion", 0.25)
    assert set(await ticks.waiting(pool, "main")) == {BUILTIN, "champion", "shadow"}
    await host.finish()
    await later(host, predictor, watch, 1)
    pairs = await ticks.pairs(pool, "main", "champion", "shadow", 100)
    told = {row["tick"] for row in await pool.fetch("select tick from delay_tick where model = 'shadow'")}

    assert await ticks.waiting(pool, "main") == {}
    assert set(pairs.late) == {False}
    assert (set(pairs.champion), set(pairs.challenger)) == ({0.25}, {0.75})
    assert told == {0, 25, 50}
    errors = predictor.stats()["shadowErrors"]
    at_work = {each["model"]: each for each in predictor.stats()["atWork"]}
    assert {name: each["stage"] for name, each in at_work.items()} == {
        "champion": "champion", "shadow": "shadow", "stuck": "shadow"
    }  # fmt: skip
    assert (at_work["champion"]["unanswered"], at_work["shadow"]["unanswered"]) == (0, 0)
    assert at_work["stuck"]["errors"] == errors >= 1
    assert at_work["stuck"]["unanswered"] == at_work["stuck"]["asked"] == at_work["shadow"]["asked"] > 0
    assert at_work["stuck"]["lastCause"] == "predict took longer than 5 s"
    await later(host, predictor, watch, HOUSEKEEPING_S)
    figures = {each["model"]: each for each in predictor.stats()["models"]}
    assert figures["champion"]["outcomes"] == 1
    assert figures["champion"]["brier"] == pytest.approx(0.0625)
    assert figures["shadow"]["brier"] == pytest.approx(0.5625)
    assert {"champion", "shadow", "stuck", BUILTIN} == set(figures)
    await models.move(pool, "main", "stuck", "rest", at=AT, by="ada")
    await later(host, predictor, watch, POLL_S)
    assert {each["model"] for each in predictor.stats()["atWork"]} == {"champion", "shadow"}
    assert predictor.stats()["shadowErrors"] >= errors, "a counter does not fall when stages change"


async def test_an_order_past_its_due_date_is_kept_at_no_tick(host, pool, predictor, watch):
    await submitted(host, due_in_s=-5)
    await predictor.step()
    await later(host, predictor, watch, 1)

    assert predictor.scored == 1
    assert await count(pool, "delay_tick") == 0


async def said_of(pool, order_id: str) -> Any:
    return await pool.fetchval("select late from delay_tick where order_id = $1", order_id)


async def test_orders_that_ended_in_time_unheard_are_not_taken_for_late_however_many_they_are(host, pool):
    made = sorted([await submitted(host) for _ in range(2)])
    await host.finish()
    due_at = host.clock.now + timedelta(seconds=10)
    await ticks.put_ticks(pool, "main", [TickRow(each, 0, BUILTIN, host.clock.now, 0.5, due_at) for each in made])
    host.clock.now += timedelta(seconds=20)
    await ticks.join_missed(pool, "main", host.clock.now, 1)
    first = [await said_of(pool, each) for each in made]
    await ticks.join_missed(pool, "main", host.clock.now, 1)

    assert sorted(first, key=str) == [False, None]
    assert [await said_of(pool, each) for each in made] == [False, False]


async def test_an_order_that_was_late_and_then_cancelled_unheard_leaves_no_rows(host, pool):
    order_id, other = [await submitted(host, due_in_s=5) for _ in range(2)]
    rows = [TickRow(each, 0, BUILTIN, host.clock.now, 0.5, host.clock.now) for each in (order_id, other)]
    await ticks.put_ticks(pool, "main", rows)
    host.clock.now += timedelta(seconds=20)
    await ticks.join_missed(pool, "main", host.clock.now, 10)
    assert await said_of(pool, order_id) is True
    await host.finish()
    await pool.execute("update product_order set state = 'cancelled' where order_id = $1", order_id)
    await ticks.drop_void_ticks(pool, "main")

    assert await said_of(pool, order_id) is None
    assert await said_of(pool, other) is True
