"""The delay predictor on a real journal: what it reads, when it scores, what it leaves behind."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from actors.delay_predictor import DelayPredictor
from actors.scoring import Scorer
from delay.critical_path import NAME, CriticalPath
from delay.durations import Durations
from delay.model import Prediction
from delay.what_if import Change
from domain.errors import BadDocument, NotPossibleNow
from domain.messages import ChangeOrder
from persistence import catalogue, scores
from persistence.readstore import ReadStore
from persistence.scores import Filter
from tests.support.build import callout as callout_of
from tests.support.build import depends, line, order_of, plan_of, release_document, release_of
from tests.support.build import scenario as scenario_of
from tests.support.hosts import Host
from tests.support.journals import AT, count

RELEASE: dict[str, Any] = release_document(
    products=["sim"],
    plans=[plan_of("deliver", *(callout_of(code, durationS=10, timeoutS=86_400) for code in ("reserve", "activate")))],
    dependencies=[depends("deliver/activate", "deliver/reserve")],
    scenarios=[scenario_of("sim", "deliver", "add", "modify", "delete")],
)


class CountingStore(ReadStore):
    """Counts how often facts of an order are read as a whole."""

    def __init__(self, pool: Any) -> None:
        super().__init__(pool)
        self.read: list[str] = []

    async def facts_of(self, order_ids):
        wanted = list(order_ids)
        self.read += wanted
        return await super().facts_of(wanted)


@pytest.fixture
async def host(databases, pool):
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    made = await Host.start(databases, pool)
    yield made
    made.kill()
    await asyncio.gather(made.running, return_exceptions=True)


@pytest.fixture
async def predictor_of(pool, host):
    async def make(own: Any = None) -> DelayPredictor:
        durations = Durations()
        scorer = Scorer(CriticalPath(durations), own, name="own", monotonic=lambda: 0.0)
        made = DelayPredictor(pool, CountingStore(pool), scorer, durations, "main", clock=host.clock)
        await made.start()
        await asyncio.sleep(0)
        return made

    return make


async def submit(host: Host, **members: Any) -> str:
    (answer,) = await host.submit(order_of(line("1", "sim"), **members))
    assert answer.state == "acknowledged"
    order_id: str = answer.order_id
    return order_id


async def later(host: Host, predictor: DelayPredictor, seconds: float) -> None:
    """Time passes, and the predictor makes a round."""
    host.clock.now += timedelta(seconds=seconds)
    await predictor.step()


async def test_risk_rises_while_an_item_overruns_and_falls_when_it_completes(host, pool, predictor_of):
    predictor = await predictor_of()
    due_at = (host.clock.now + timedelta(seconds=60)).isoformat()
    order_id = await submit(host, due_at=due_at)
    await predictor.step()
    for _ in range(9):
        await later(host, predictor, 5)
    await host.report(host.dispatch.calls(order_id)[0])
    await later(host, predictor, 1)
    history = await scores.read_history(pool, "main", order_id)
    risks = [each["risk"] for each in history]
    last = await scores.read_risk(pool, "main", order_id)
    assert last is not None

    assert risks[:-1] == sorted(risks[:-1])
    assert risks[0] < 0.2
    assert risks[-2] > 0.5
    assert risks[-1] < risks[-2] - 0.2
    assert (last["dueBasis"], last["dueAt"]) == ("promised", due_at)
    assert last["lowAt"] <= last["expectedAt"] <= last["highAt"]
    assert "activate is Running" in last["reasons"][0]["reason"]


async def test_a_score_keeps_both_due_dates_of_an_order_that_was_promised_anew(host, pool, predictor_of):
    predictor = await predictor_of()
    first, second = ((host.clock.now + timedelta(seconds=seconds)).isoformat() for seconds in (60, 600))
    order_id, other = await submit(host, due_at=first), await submit(host, due_at=first)
    await predictor.step()
    await host.tell(order_id, ChangeOrder("patch", "the customer moves", "m-1", patch={"dueAt": second}))
    # It is carried out when the call under way has ended.
    await host.report(host.dispatch.calls(order_id)[0])
    await later(host, predictor, 1)
    found = [await scores.read_risk(pool, "main", each) for each in (order_id, other)]

    assert [(each["dueAt"], each["currentDueAt"]) for each in found if each] == [(first, second), (first, first)]


async def test_many_facts_within_a_second_make_one_score_and_the_clock_makes_more(host, predictor_of):
    predictor = await predictor_of()
    order_id = await submit(host)
    await predictor.step()
    assert predictor.scored == 0, "it may be over within a second"
    await later(host, predictor, 1)
    assert predictor.scored == 1
    await host.report(host.dispatch.calls(order_id)[0])
    for _ in range(5):
        await later(host, predictor, 0.1)
    assert predictor.scored == 1
    await later(host, predictor, 0.5)
    assert predictor.scored == 2
    await later(host, predictor, 4.9)
    assert predictor.scored == 2
    await later(host, predictor, 0.1)
    assert predictor.scored == 3, "nothing has happened, but five seconds have gone"


async def test_a_plan_is_folded_once_and_then_kept_up_to_date_by_its_facts(host, predictor_of):
    predictor = await predictor_of()
    order_id = await submit(host)
    await predictor.step()
    await later(host, predictor, 1)
    await host.report(host.dispatch.calls(order_id)[0])
    await later(host, predictor, 1)
    (plan,) = (await predictor._plans.get([order_id])).values()

    assert predictor._store.read == [order_id]
    assert plan.open_items == 1
    assert predictor.scored == 2


async def test_what_was_folded_already_is_not_applied_again_when_the_feed_brings_it(host, predictor_of):
    predictor = await predictor_of()
    order_id = await submit(host)
    await host.report(host.dispatch.calls(order_id)[0])
    (plan,) = (await predictor._plans.get([order_id])).values()
    facts = plan.facts
    await later(host, predictor, 1)

    assert (plan.facts, predictor._store.read) == (facts, [order_id])
    assert predictor.facts == facts


async def test_an_order_that_has_ended_is_no_risk_any_more_and_keeps_its_last_score(host, pool, predictor_of):
    predictor = await predictor_of()
    order_id, other_id = await submit(host, account="acc-1"), await submit(host, account="acc-2")
    await predictor.step()
    await later(host, predictor, 1)
    before = [each["orderId"] for each in await scores.list_risks(pool, "main")]
    for _ in range(2):
        await host.report(host.dispatch.calls(order_id)[0])
    await later(host, predictor, 1)
    score = await scores.read_risk(pool, "main", order_id)
    assert score is not None

    assert set(before) == {order_id, other_id}
    assert [each["orderId"] for each in await scores.list_risks(pool, "main")] == [other_id]
    assert score["endedAt"] is not None
    assert predictor.stats()["open"] == 1
    assert predictor.stats()["observed"] == 2
    assert +predictor._load == {"deliver/reserve": 1}


async def test_a_new_predictor_takes_up_open_orders_learns_and_closes_what_it_missed(host, pool, predictor_of):
    first = await predictor_of()
    missed_id, open_id = await submit(host, account="acc-1"), await submit(host, account="acc-2")
    await first.step()
    await later(host, first, 1)
    for _ in range(2):
        host.clock.now += timedelta(seconds=30)
        await host.report(host.dispatch.calls(missed_id)[0])
    second = await predictor_of()
    await later(host, second, 1)
    missed = await scores.read_risk(pool, "main", missed_id)
    assert missed is not None

    assert missed["endedAt"] is not None
    assert second.stats()["observed"] == 2
    assert (second.stats()["open"], second.scored) == (1, 1)
    assert [each["orderId"] for each in await scores.list_risks(pool, "main")] == [open_id]


async def test_a_history_stays_bounded_with_its_first_and_last_points(host, pool, predictor_of):
    predictor = await predictor_of()
    order_id = await submit(host, due_at=(host.clock.now + timedelta(days=30)).isoformat())
    await predictor.step()
    first_at = (host.clock.now + timedelta(seconds=1)).isoformat()
    for _ in range(2):
        await later(host, predictor, 1)
    most = 0
    for _ in range(430):
        predictor._queue.changed(order_id, 0.0)
        await later(host, predictor, 61)
        most = max(most, await count(pool, "delay_history"))
    history = await scores.read_history(pool, "main", order_id)

    assert 100 < most <= scores.POINTS_MAX
    assert history[0]["scoredAt"] == first_at
    assert history[-1]["scoredAt"] == host.clock.now.isoformat()


class Own:
    """A model that answers as it is told."""

    is_running = True

    def __init__(self) -> None:
        self.p_late = 0.9

    async def ask(self, method: str, argument: Any, timeout_s: float) -> Any:
        return [Prediction(self.p_late, 1.0, 0.0, 2.0) for _ in argument] if method == "predict" else None

    async def close(self) -> None:
        pass


async def test_scores_name_the_model_that_made_them_and_a_lie_is_answered_by_the_built_in_one(host, pool, predictor_of):
    own = Own()
    predictor = await predictor_of(own)
    order_id = await submit(host)
    await predictor.step()
    await later(host, predictor, 1)
    told = await scores.read_risk(pool, "main", order_id)
    own.p_late = 7.0
    await later(host, predictor, 5)
    corrected = await scores.read_risk(pool, "main", order_id)
    assert told is not None
    assert corrected is not None

    assert (told["risk"], told["model"]) == (0.9, "own")
    assert corrected["model"] == NAME
    assert predictor.stats()["riskHigh"] + predictor.stats()["riskMedium"] + predictor.stats()["riskLow"] == 1
    assert (predictor.stats()["fallbacks"], predictor.stats()["refused"], predictor.stats()["modelErrors"]) == (1, 1, 1)


async def test_the_list_goes_on_where_the_page_before_ended(host, pool, predictor_of):
    predictor = await predictor_of()
    for number in range(5):
        due_at = host.clock.now + timedelta(seconds=10 * number)
        await submit(host, account=f"acc-{number}", due_at=due_at.isoformat())
    await predictor.step()
    await later(host, predictor, 1)
    whole = await scores.list_risks(pool, "main")
    for sort in scores.SORTS:
        paged: list[str] = []
        after = None
        while page := await scores.list_risks(pool, "main", sort=sort, after=after, limit=2):
            paged += [each["orderId"] for each in page]
            after = scores.Place(page[-1]["sortedBy"], page[-1]["orderId"])
        assert paged == [each["orderId"] for each in await scores.list_risks(pool, "main", sort=sort)]
        assert len(paged) == len(whole)

    assert [each["risk"] for each in whole] == sorted((each["risk"] for each in whole), reverse=True)
    due = [each["dueAt"] for each in await scores.list_risks(pool, "main", sort="due")]
    assert due == sorted(due)
    assert len(await scores.list_risks(pool, "main", Filter(account="acc-3"))) == 1
    least = whole[1]["risk"]
    assert all(each["risk"] >= least for each in await scores.list_risks(pool, "main", Filter(p_late_min=least)))


async def test_the_list_is_filtered_by_plan_and_by_the_step_and_system_that_orders_are_at(host, pool, predictor_of):
    predictor = await predictor_of()
    at_first, at_second = await submit(host, account="acc-1"), await submit(host, account="acc-2")
    await predictor.step()
    await host.report(host.dispatch.calls(at_second)[0])
    await later(host, predictor, 1)

    async def found(**chosen: Any) -> set[str]:
        return {each["orderId"] for each in await scores.list_risks(pool, "main", Filter(**chosen))}

    (shown, *_) = await scores.list_risks(pool, "main", Filter(step="deliver/activate"))
    assert await found(step="deliver/reserve") == {at_first}
    assert await found(step="deliver/activate") == {at_second}
    assert await found(plan="deliver") == {at_first, at_second}
    assert await found(plan="other") == set()
    assert await found(system=shown["systems"][0]) >= {at_second}
    assert await found(system="other") == set()
    assert (shown["plans"], shown["steps"]) == (["deliver"], ["deliver/activate"])


async def test_while_the_database_refuses_to_write_nothing_is_forgotten(host, pool, predictor_of, monkeypatch):
    predictor = await predictor_of()
    await submit(host)
    await predictor.step()

    async def away(*_args: Any) -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(scores, "put_scores", away)
        with pytest.raises(OSError, match="away"):
            await later(host, predictor, 1)
    assert predictor.scored == 0
    await later(host, predictor, 1)
    assert predictor.scored == 1


async def test_what_was_learnt_before_the_database_went_away_is_not_learnt_again(host, pool, predictor_of, monkeypatch):
    predictor = await predictor_of()
    await submit(host)
    await predictor.step()
    await later(host, predictor, 1)
    await host.finish()

    async def away(*_args: Any) -> None:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(scores, "end_scores", away)
        for _ in range(2):
            with pytest.raises(OSError, match="away"):
                await later(host, predictor, 1)
    await later(host, predictor, 1)

    assert predictor.stats()["observed"] == 2, "its two items"
    assert await pool.fetchval("select count(*) from delay_score where ended_at is not null") == 1


async def test_the_newest_history_is_that_of_orders_that_ended_last_not_of_those_that_came_last(host, pool):
    slow, quick, archived = [await submit(host, account=f"a-{number}") for number in range(3)]
    for order_id in (archived, quick, slow):
        for _ in range(2):
            await host.report(host.dispatch.calls(order_id)[0])
        host.clock.now += timedelta(seconds=5)
    await pool.execute("update product_order set archived = true where order_id = $1", archived)

    assert await scores.recently_completed(pool, "main", 1) == [slow]
    assert await scores.recently_completed(pool, "main", 9) == [slow, quick, archived]


async def test_a_schedule_follows_the_facts_of_its_order_and_is_there_when_the_order_has_ended(host, predictor_of):
    predictor = await predictor_of()
    order_id = await submit(host)
    await predictor.step()
    first = await predictor.schedule(order_id)
    assert await predictor.schedule(order_id) is first, "nothing has happened"
    await host.report(host.dispatch.calls(order_id)[0])
    await predictor.step()
    second = await predictor.schedule(order_id)
    await host.finish()
    await later(host, predictor, 1)
    ended = await predictor.schedule(order_id)

    assert [each["isCritical"] for each in first["items"]] == [True, True]
    assert ["slackS" in each for each in second["items"]] == [False, True], "the first item has ended"
    assert second["facts"] > first["facts"]
    assert [each["key"] for each in ended["items"]] == [each["key"] for each in first["items"]]
    assert (ended["expectedAt"], ended["why"]["code"]) == (None, "inTime")


async def test_what_if_is_asked_of_the_predictor_beside_its_work_and_changes_nothing(host, pool, predictor_of):
    predictor = await predictor_of()
    order_id = await submit(host)
    await predictor.step()
    await later(host, predictor, 1)
    before = await scores.read_risk(pool, "main", order_id)
    found = await predictor.what_if(order_id, [Change("priority", to="high")])
    listed = await predictor.what_if(order_id, [])

    assert found["changes"] == [{"variable": "priority", "to": "high"}]
    assert set(found["changed"]) == {"risk", "remainingS", "gain", "gainS"}
    assert listed["tried"] == 1
    assert listed["improvements"] == [], "no task of it waits for anybody"
    assert {each["step"] for each in listed["contributions"]} == {"deliver/reserve", "deliver/activate"}
    assert await scores.read_risk(pool, "main", order_id) == before
    with pytest.raises(BadDocument):
        await predictor.what_if(order_id, [Change("queue", "deliver/reserve@1", "other")])
    await host.report(host.dispatch.calls(order_id)[0])
    await host.report(host.dispatch.calls(order_id)[-1])
    await later(host, predictor, 1)
    with pytest.raises(NotPossibleNow):
        await predictor.what_if(order_id, [])


def fee(kind: str, amount: str, currency: str = "EUR", period: str | None = None) -> dict[str, Any]:
    found = {"kind": kind, "basis": "unit", "currency": currency, "net": amount}
    return found | ({"period": period} if period else {})


async def test_the_list_of_risks_is_sorted_and_filtered_by_value_at_stake(host, pool, predictor_of):
    predictor = await predictor_of()
    made: list[str] = []
    for monthly, once, currency in (("10.00", "99.00", "EUR"), ("30.00", "1.00", "EUR"), ("500.00", "500.00", "USD")):
        prices = [fee("recurring", monthly, currency, "month"), fee("oneTime", once, currency)]
        one = line("1", "sim")
        one.prices = prices
        order = order_of(one, account=f"acc-{len(made)}")
        (answer,) = await host.submit(order)
        made.append(answer.order_id)
    await predictor.step()
    await later(host, predictor, 1)
    small, large, dollars = made

    async def listed(sort: str, **bounds: Any) -> list[str]:
        chosen = Filter(currency="EUR", **bounds)
        return [each["orderId"] for each in await scores.list_risks(pool, "main", chosen, sort=sort)]

    assert (await listed("recurring")) == [large, small, dollars]
    assert (await listed("oneTime")) == [small, large, dollars]
    assert (await listed("recurring", recurring_min=20.0)) == [large]
    assert (await listed("recurring", one_time_min=50.0)) == [small]
    assert (await listed("recurring", recurring_min=1.0, period="year")) == []
    found = await scores.read_risk(pool, "main", large)
    assert found is not None
    assert {(each["kind"], each["currency"], each["period"], each["net"]) for each in found["value"]} == {
        ("recurring", "EUR", "month", "30.00"),
        ("oneTime", "EUR", None, "1.00"),
    }
