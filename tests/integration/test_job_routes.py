"""Bulk jobs over HTTP, in front of a real host's loop: what is asked wrongly makes no job, pages tell the states."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from actors.config import ClusterConfig
from actors.folding import PlanFolder
from actors.jobs import Jobs
from domain.errors import OrderplanError
from gateway.app import make_app
from gateway.context import Context
from gateway.order_search import COLUMNS
from persistence import catalogue
from persistence.database import Pool, open_pool
from persistence.readstore import ReadStore
from persistence.vault import Vault
from tests.support.build import callout, line, order_of, plan_of, release_document, release_of, scenario
from tests.support.hosts import Host
from tests.support.journals import AT, count

RELEASE: dict[str, Any] = release_document(
    products=[{"code": "port", "attributes": [{"name": "pin", "assetizable": False}, {"name": "speed"}]}],
    plans=[plan_of("port", callout("install", request={"pin": "attributes.pin", "speed": "attributes.speed"}))],
    scenarios=[scenario("port", "port", "add")],
)


class Desk:
    """A gateway without Ray, and the jobs that it talks to."""

    def __init__(self, pool: Pool, host: Host, vault: Vault) -> None:
        self.pool = pool
        self.host = host
        self.jobs: Jobs | None = Jobs(pool, vault, self, "main", clock=host.clock, sleep=self._sleep)
        store = ReadStore(pool)
        context: Any = Context(
            config=ClusterConfig(dsn="", key_dsn=""), pool=pool, store=store, hosts=self,  # type: ignore[arg-type]  # one host, so no routing
            folder=PlanFolder(store), people=self._people, broadcast=_nobody, stats=_nothing,
        )  # fmt: skip
        self.client = TestClient(TestServer(make_app(context)))

    async def _sleep(self, seconds: float) -> None:
        self.host.advance(seconds)

    def _people(self) -> Any:
        return SimpleNamespace(ask_jobs=SimpleNamespace(remote=self._ask_jobs)) if self.jobs is not None else None

    async def _ask_jobs(self, method: str, *args: Any) -> Any:
        try:
            return await getattr(self.jobs, method)(*args)
        except OrderplanError as error:
            return error

    async def ask(self, lane: str, shard: int, envelope: Any, *, timeout_s: float) -> Any:
        [answer] = await self.host.ask(envelope)
        if isinstance(answer, OrderplanError):
            raise answer
        return answer

    async def failed(self, items: int, **attributes: str) -> list[list[str]]:
        """[order, item] of an order whose items have all failed for good."""
        await self.host.submit(order_of(*(line(str(each), "port", **attributes) for each in range(items))))
        for call in self.host.dispatch.calls():
            await self.host.report(call, "failed", error="no such port", error_code="NO_PORT")
        return [list(row) for row in await self.pool.fetch("select order_id, item from fallout_item order by item")]

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self.client.request(method, path, json=body, headers={"X-User": "olga", **headers}) as answer:
            return answer.status, await answer.json(content_type=None)


async def _nobody(_what: str) -> None:
    pass


async def _nothing() -> dict[str, Any]:
    return {}


@pytest.fixture
async def desk(databases: Any, pool: Pool) -> AsyncIterator[Desk]:
    await catalogue.publish_release(pool, "main", release_of(**RELEASE).release_id, RELEASE, AT)
    keys = await open_pool(databases.key_dsn, size_max=1)
    host = await Host.start(databases, pool)
    made = Desk(pool, host, Vault(keys, pool))
    await made.client.start_server()
    yield made
    await made.client.close()
    host.kill()
    keys.terminate()
    await asyncio.gather(host.running, return_exceptions=True)


WRONG: dict[str, tuple[str, Any, int, str | None]] = {
    "no reason": ("retry", {"filter": {}}, 400, "reason"),
    "no selection": ("retry", {"reason": "r"}, 400, "filter"),
    "two selections": ("retry", {"reason": "r", "filter": {}, "items": []}, 400, "filter"),
    "an unknown filter": ("retry", {"reason": "r", "filter": {"sistem": "x"}}, 400, "filter.sistem"),
    "a filter of no time": ("retry", {"reason": "r", "filter": {"failedAfter": "today"}}, 400, "filter.failedAfter"),
    "an item that is no pair": ("retry", {"reason": "r", "items": [["o0-1"]]}, 400, "items[0]"),
    "an order of nobody": ("retry", {"reason": "r", "items": [["o0-1", "x"]]}, 404, "items[0]"),
    "no items": ("retry", {"reason": "r", "items": []}, 409, None),
    "what nothing fits": ("retry", {"reason": "r", "filter": {"system": "away"}}, 409, None),
    "a rate of nothing": ("retry", {"reason": "r", "filter": {}, "rate": 0}, 400, "rate"),
    "a rate without bound": ("retry", {"reason": "r", "filter": {}, "rate": 1e9}, 400, "rate"),
    "a rate that is true": ("retry", {"reason": "r", "filter": {}, "rate": True}, 400, "rate"),
    "an answer to a retry": ("retry", {"reason": "r", "filter": {}, "answer": {}}, 400, "answer"),
    "an answer that is a list": ("complete", {"reason": "r", "filter": {}, "answer": []}, 400, "answer"),
    "an edit of nothing": ("edit", {"reason": "r", "filter": {}}, 400, "payload"),
}


async def test_what_is_asked_wrongly_names_the_field_and_makes_no_job(desk: Desk) -> None:
    await desk.failed(1)
    answers = {name: await desk.call("POST", f"/v1/fallout:{case[0]}", case[1]) for name, case in WRONG.items()}

    shown = {name: (status, answer.get("path")) for name, (status, answer) in answers.items()}
    assert shown == {name: (status, path) for name, (_, _, status, path) in WRONG.items()}
    assert all(answer.get("mend") for name, (status, answer) in answers.items() if status in (404, 409))
    assert await count(desk.pool, "job") == 0


async def test_a_job_is_made_once_and_tells_how_far_it_is_and_the_states_of_now(desk: Desk) -> None:
    items = await desk.failed(3)
    wanted = {"reason": "the ports are there", "items": [*items, items[0]], "rate": 50}
    first = await desk.call("POST", "/v1/fallout:retry", wanted, **{"Idempotency-Key": "k"})
    again = await desk.call("POST", "/v1/fallout:retry", wanted, **{"Idempotency-Key": "k"})
    assert (first[0], first[1]["total"], first[1]["progress"]) == (202, 3, 0.0)
    assert again == first
    assert desk.jobs is not None
    assert await desk.jobs.work()
    job_id = first[1]["id"]
    for call in desk.host.dispatch.calls()[:1]:
        await desk.host.report(call)

    _, job = await desk.call("GET", f"/v1/jobs/{job_id}")
    assert (job["state"], job["done"], job["open"], job["progress"]) == ("done", 3, 0, 1.0)
    assert (job["operator"], job["reason"]) == ("olga", "the ports are there")
    assert (await desk.call("GET", "/v1/jobs"))[1] == [job]
    _, page = await desk.call("GET", f"/v1/jobs/{job_id}/items?outcome=done&limit=2")
    _, rest = await desk.call("GET", f"/v1/jobs/{job_id}/items?outcome=done&after=2")
    assert [each["number"] for each in page + rest] == [1, 2, 3]
    assert {each["code"] for each in page + rest} == {"retried"}
    assert sorted(each["stateNow"] for each in page + rest) == ["Completed", "Running", "Running"]


async def test_a_job_tells_how_many_of_those_done_have_failed_again(desk: Desk) -> None:
    await desk.failed(3)
    _, job = await desk.call("POST", "/v1/fallout:retry", {"reason": "r", "filter": {"system": "sys"}})
    assert desk.jobs is not None
    assert await desk.jobs.work()
    before = (await desk.call("GET", f"/v1/jobs/{job['id']}"))[1]
    for call in desk.host.dispatch.calls()[:2]:
        await desk.host.report(call, "failed", error="no such port", error_code="NO_PORT")
    after = (await desk.call("GET", f"/v1/jobs/{job['id']}"))[1]

    assert [(each["done"], each["failedAgain"]) for each in (before, after)] == [(3, 0), (3, 2)]
    _, again = await desk.call("GET", f"/v1/jobs/{job['id']}/items?outcome=failedAgain")
    assert sorted(each["stateNow"] for each in again) == ["Fatally Failed", "Fatally Failed"]


async def test_a_job_over_orders_takes_what_the_search_found_and_tells_what_became_of_each(desk: Desk) -> None:
    for _ in range(3):
        await desk.host.submit(order_of(line("1", "port"), account="acme"))
        desk.host.advance(1)
    _, found = await desk.call("GET", "/v1/orders?search=customer:acme%20state:open")
    seen = [each["orderId"] for each in found["items"]]
    assert len(seen) == 3
    wanted = {"search": "customer:acme state:open", "from": seen[1]}  # the newest one has come since
    _, told = await desk.call("POST", "/v1/orders:hold?dryRun=true", wanted)
    assert (told["total"], told["states"]) == (2, {"inProgress": 2})
    status, job = await desk.call("POST", "/v1/orders:hold", wanted | {"reason": "an outage"})
    assert (status, job["total"], job["selection"]) == (202, 2, wanted)
    assert desk.jobs is not None
    assert await desk.jobs.work()
    _, outcomes = await desk.call("GET", f"/v1/jobs/{job['id']}/items")
    assert [(each["orderId"], each["outcome"], each["code"], each["stateNow"]) for each in outcomes] == [
        (seen[2], "done", "held", "held"), (seen[1], "done", "held", "held"),
    ]  # fmt: skip

    named = {"orders": seen, "reason": "it is over"}
    for action, members in (("resume", {}), ("prioritize", {"priority": "high"}), ("cancel", {})):
        _, job = await desk.call("POST", f"/v1/orders:{action}", named | members)
        assert await desk.jobs.work()
        _, told = await desk.call("GET", f"/v1/jobs/{job['id']}")
        assert (told["done"], told["refused"]) == (3, 0), action
    _, waiting = await desk.call("GET", f"/v1/jobs/{job['id']}/items")
    assert {(each["code"], each["reason"].partition(";")[0]) for each in waiting} == {
        ("asked", "waits for work under way")
    }
    await desk.host.finish()
    _, found = await desk.call("GET", "/v1/orders?search=acme%20priority:high%20state:cancelled")
    assert found["total"] == 3
    _, job = await desk.call("POST", "/v1/orders:hold", named)
    assert await desk.jobs.work()
    _, told = await desk.call("GET", f"/v1/jobs/{job['id']}")
    assert (told["done"], told["refused"]) == (0, 3)


async def test_all_that_was_found_is_written_as_csv_which_no_spreadsheet_takes_for_formulas(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.order_search.CSV_PAGE", 2)
    for number in range(5):
        await desk.host.submit(order_of(line("1", "port"), account="=acme", external_id=f"e-{number}"))
        desk.host.advance(1)
    async with desk.client.get("/v1/orders?format=csv&search=%3Dacme") as answer:
        names, *rows = csv.reader((await answer.text()).splitlines())

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert names == list(COLUMNS)
    assert [row[1] for row in rows] == [f"e-{number}" for number in (4, 3, 2, 1, 0)]
    assert {row[3] for row in rows} == {"'=acme"}


WRONG_ORDERS: dict[str, tuple[str, Any, int, str | None]] = {
    "no reason": ("hold", {"search": ""}, 400, "reason"),
    "no selection": ("hold", {"reason": "r"}, 400, "search"),
    "two selections": ("hold", {"reason": "r", "search": "", "orders": []}, 400, "search"),
    "a search that cannot be read": ("hold", {"reason": "r", "search": "colour:red"}, 400, "search"),
    "a search that is no text": ("hold", {"reason": "r", "search": 1}, 400, "search"),
    "a zone of nowhere": ("hold", {"reason": "r", "search": "", "zone": "Europe/../Zurich"}, 400, "zone"),
    "a place of nobody": ("hold", {"reason": "r", "search": "", "from": "o0-9"}, 404, "from"),
    "orders that are no list": ("hold", {"reason": "r", "orders": "o0-1"}, 400, "orders"),
    "an order of nobody": ("hold", {"reason": "r", "orders": ["o0-9"]}, 404, "orders[0]"),
    "no orders": ("hold", {"reason": "r", "orders": []}, 409, None),
    "no priority": ("prioritize", {"reason": "r", "search": ""}, 400, "priority"),
    "a priority for a hold": ("hold", {"reason": "r", "search": "", "priority": "high"}, 400, "priority"),
    "a rate of nothing": ("cancel", {"reason": "r", "search": "", "rate": 0}, 400, "rate"),
}


async def test_what_is_asked_wrongly_of_orders_names_the_field_and_makes_no_job(desk: Desk) -> None:
    answers = {name: await desk.call("POST", f"/v1/orders:{case[0]}", case[1]) for name, case in WRONG_ORDERS.items()}
    lists = [await desk.call("GET", f"/v1/orders?{each}") for each in ("offset=x", "offset=100000", "limit=0", "x=1")]

    shown = {name: (status, answer.get("path")) for name, (status, answer) in answers.items()}
    assert shown == {name: (status, path) for name, (_, _, status, path) in WRONG_ORDERS.items()}
    assert (await desk.call("GET", "/v1/orders?format=xml"))[1]["path"] == "format"
    assert [(status, answer["path"]) for status, answer in lists] == [
        (400, "offset"), (400, "offset"), (400, "limit"), (400, "x"),
    ]  # fmt: skip
    assert await count(desk.pool, "job") == 0


async def test_what_a_callout_would_say_next_is_shown_and_edited_without_its_hidden_values(desk: Desk) -> None:
    [(order_id, item)] = await desk.failed(1, pin="pin-4711", speed="100M")
    at = f"/v1/orders/{order_id}/items/{item}"
    shown = (await desk.call("GET", at))[1]
    assert shown["nextPayload"] == {"pin": "********", "speed": "100M"}
    refused = await desk.call("POST", f"{at}:edit", {"reason": "r", "payload": {"pin": "1234"}})
    assert (refused[0], refused[1]["path"]) == (400, "payload.pin")

    edited = {"reason": "too fast", "payload": shown["nextPayload"] | {"speed": "50M"}}
    status, answer = await desk.call("POST", f"{at}:edit", edited)
    assert (status, answer["itemState"]) == (200, "Running")
    assert (await desk.call("GET", at))[1]["nextPayload"] == edited["payload"]
    [call] = desk.host.dispatch.calls()
    assert (call.attempt, call.payload) == (2, {"pin": {"$sealed": "0/pin"}, "speed": "50M"})
    await desk.host.finish()
    ended = (await desk.call("GET", at))[1]
    assert "nextPayload" not in ended
    # What was sent is shown as it was at that moment, hidden values by none of them.
    first, second = ended["attempts"]
    assert (first["attempt"], first["outcome"], first["request"]) == (1, "failedForGood", shown["nextPayload"])
    assert (second["attempt"], second["outcome"], second["request"]) == (2, "completed", edited["payload"])
    assert first["error"]
    stored = await desk.pool.fetchval("select string_agg(payload::text, '') from fact")
    assert "pin-4711" not in stored


async def test_a_job_is_steered_where_that_has_a_meaning(desk: Desk) -> None:
    await desk.failed(1)
    _, job = await desk.call("POST", "/v1/fallout:skip", {"reason": "r", "filter": {"system": "sys"}})
    at = f"/v1/jobs/{job['id']}"
    steered = [await desk.call("POST", f"{at}:{each}") for each in ("pause", "resume", "stop", "resume")]

    assert [status for status, _ in steered] == [200, 200, 200, 409]
    assert [answer["state"] for _, answer in steered] == ["paused", "running", "stopped", "stopped"]
    assert (await desk.call("POST", "/v1/jobs/nothing:stop"))[0] == 404
    assert (await desk.call("GET", f"{at}/items?outcome=good"))[1]["path"] == "outcome"
    assert (await desk.call("GET", f"{at}/items?after=x"))[1]["path"] == "after"


async def test_a_job_cannot_be_made_while_nobody_is_there_to_run_it(desk: Desk) -> None:
    desk.jobs = None
    status, answer = await desk.call("POST", "/v1/fallout:retry", {"reason": "r", "filter": {}})

    assert (status, answer["type"]) == (503, "urn:orderplan:busy")
