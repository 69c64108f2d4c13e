"""The stand-in systems: their checks, their memory of keys, their log, and the process around them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientConnectionError, ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from adapters.http import HttpAdapter
from adapters.interface import Outcome
from examples.standins.answers import digits_of
from examples.standins.app import StandIns, make_app
from examples.standins.ledger import CallLog
from tests.support.tasks import NOW, task_of

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "o1-1/Deliver SIM CARD/deliver@1/0/1"
Client = TestClient[web.Request, web.Application]


class Time:
    """A clock that stands, and a sleep that lasts until the test wakes it."""

    def __init__(self) -> None:
        self.now = NOW
        self.is_stopped = False
        self.waits_s: list[float] = []
        self._wake = asyncio.Event()
        self._slept = asyncio.Event()

    async def sleep(self, delay_s: float) -> None:
        self.waits_s.append(delay_s)
        self._slept.set()
        if self.is_stopped:
            await self._wake.wait()
        self.now += timedelta(seconds=delay_s)

    async def sleepers_reached(self, count: int) -> None:
        while len(self.waits_s) < count:
            self._slept.clear()
            await self._slept.wait()

    def wake_all(self) -> None:
        self._wake.set()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def standins(time: Time) -> StandIns:
    return StandIns(seed=7, clock=lambda: time.now, sleep=time.sleep)


@pytest.fixture
async def client(standins: StandIns) -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_app(standins))) as made:
        yield made


def line(**changes: Any) -> dict[str, Any]:
    product = {"id": "p1", "specification": "df32402e", "name": "SIM CARD"}
    return {"line": "SIM CARD@1", "action": "add", "product": product, "quantity": 1, "attributes": {}, **changes}


def payload(*lines: Any, **changes: Any) -> dict[str, Any]:
    return {"orderId": "o1-1", "item": "Deliver SIM CARD", "lines": list(lines or (line(),)), **changes}


async def post(
    client: Client, body: Any = None, path: str = "/inventory/deliver", key: str | None = KEY, **headers: str
) -> tuple[int, Any]:
    named = {"Idempotency-Key": key} if key is not None else {}
    response = await client.post(path, json=payload() if body is None else body, headers={**named, **headers})
    return response.status, await response.json()


async def behave(client: Client, **change: Any) -> None:
    assert (await client.post("/_behaviour", json=change)).status == 200


async def get(client: Client, path: str) -> Any:
    return await (await client.get(path)).json()


# What is delivered.


async def test_inventory_delivers_a_card_whose_numbers_only_seed_and_key_decide(client):
    status, answer = await post(client)

    assert status == 200
    assert answer["reference"] == "inventory-1"
    assert answer["attributes"]["PUK"] == digits_of(7, KEY, "SIM CARD@1", "PUK", 8)
    assert {name: len(value) for name, value in answer["attributes"].items()} == {"PUK": 8, "IMSI": 15, "ICCID": 19}


async def test_inventory_keeps_the_identity_that_a_card_has(client):
    _, answer = await post(client, payload(line(attributes={"IMSI": "310478356879098"})))

    assert answer["attributes"].keys() == {"PUK", "ICCID"}


@pytest.mark.parametrize("action", ["modify", "delete", "suspend", "resume", "move", "noChange"])
async def test_inventory_makes_no_new_numbers_for_a_card_that_is_there(client, action):
    status, answer = await post(client, payload(line(action=action, previous={})))

    assert (status, answer["attributes"]) == (200, {})


async def test_several_lines_have_attributes_of_their_own(client):
    _, answer = await post(client, payload(line(line="a"), line(line="b")))

    assert answer["lines"]["a"]["attributes"]["PUK"] != answer["lines"]["b"]["attributes"]["PUK"]
    assert answer["attributes"] == answer["lines"]["a"]["attributes"]


async def test_activation_confirms_the_number_and_billing_has_nothing_to_say(client):
    body = payload(line(attributes={"MSISDN": "4152797439"}))

    assert (await post(client, body, "/activation/deliver"))[1]["attributes"] == {"MSISDN": "4152797439"}
    assert (await post(client, body, "/billing/deliver"))[1] == {"attributes": {}, "reference": "billing-1"}


# What is refused.


def without(name: str) -> dict[str, Any]:
    return {each: value for each, value in line().items() if each != name}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], "$"),
        (payload(orderId=""), "orderId"),
        (payload(orderId="o1-2"), "orderId"),
        (payload(item=None), "item"),
        (payload(operation="remove"), "operation"),
        (payload(lines={}), "lines"),
        (payload(lines=[]), "lines"),
        (payload(line(), []), "lines[1]"),
        (payload(without("line")), "lines[0].line"),
        (payload(line(), line(action="create")), "lines[1].action"),
        (payload(line(action=["add"])), "lines[0].action"),
        (payload(without("product")), "lines[0].product"),
        (payload(line(product={"id": "p1"})), "lines[0].product.specification"),
        (payload(line(product={"id": "", "specification": "s"})), "lines[0].product.id"),
        (payload(line(product={"specification": "s"}, action="delete")), "lines[0].product.id"),
        (payload(line(product={"specification": "s"}, action="modify", previous={})), "lines[0].product.id"),
        (payload(line(action="modify")), "lines[0].previous"),
        (payload(without("attributes")), "lines[0].attributes"),
        (payload(line(attributes=[])), "lines[0].attributes"),
        (payload(line(quantity=-1)), "lines[0].quantity"),
        (payload(line(quantity="1")), "lines[0].quantity"),
        (payload(line(attributes={"IMSI": "12"})), "lines[0].attributes.IMSI"),
        (payload(line(attributes={"IMSI": 310478356879098})), "lines[0].attributes.IMSI"),
    ],
)
async def test_a_wrong_payload_is_refused_by_the_path_of_its_fault_and_leaves_no_key(client, body, path):
    status, answer = await post(client, body, **{"X-Order-Id": "o1-1"})

    assert (status, answer["path"]) == (422, path)
    assert answer["reason"]
    assert (await post(client, **{"X-Order-Id": "o1-1"}))[0] == 200


async def test_a_product_that_is_yet_to_be_made_needs_no_id(client):
    assert (await post(client, payload(line(product={"specification": "s"}))))[0] == 200


async def test_each_system_checks_what_it_reads_itself(client):
    body = payload(line(attributes={"MSISDN": "none", "IMSI": "none"}))

    assert (await post(client, body, "/activation/deliver"))[1]["path"] == "lines[0].attributes.MSISDN"
    assert (await post(client, body, "/billing/deliver"))[0] == 200


async def test_a_call_without_a_key_without_json_or_for_nobody_is_refused(client):
    headers = {"Idempotency-Key": KEY}

    assert (await post(client, key=None))[0] == 400
    assert (await client.post("/inventory/deliver", data=b"{", headers=headers)).status == 400
    assert (await post(client, path="/warehouse/deliver"))[0] == 404


# Keys.


async def test_the_same_key_again_gives_the_same_answer_and_is_a_repeat(client):
    first = await post(client)
    other_order = dict(reversed(payload().items()))

    assert await post(client, other_order) == first
    assert [call["repeat"] for call in await get(client, "/_calls")] == [False, True]
    assert {name: (await get(client, "/_stats"))[name] for name in ("calls", "keys", "repeats", "effects")} == {
        "calls": 2,
        "keys": 1,
        "repeats": 1,
        "effects": 1,
    }


async def test_a_repeat_while_the_first_call_is_open_waits_for_its_answer(client, time):
    time.is_stopped = True
    await behave(client, system="inventory", delayMs=200)
    calls = [asyncio.create_task(post(client)) for _ in range(3)]
    await time.sleepers_reached(1)
    while (await get(client, "/_stats"))["open"] < 3:
        pass
    time.wake_all()
    answers = await asyncio.gather(*calls)

    assert answers[0] == answers[1] == answers[2]
    assert time.waits_s == [0.2]
    assert (await get(client, "/_stats"))["effects"] == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [(payload(externalId="x"), "/inventory/deliver"), (payload(), "/inventory/remove")],
    ids=["body", "operation"],
)
async def test_the_same_key_for_something_else_is_a_conflict(client, body, path):
    await post(client)
    status, answer = await post(client, body, path)

    assert (status, answer["path"]) == (409, "Idempotency-Key")


async def test_each_system_has_keys_of_its_own(client):
    await post(client)

    assert (await post(client, path="/billing/deliver"))[1]["reference"] == "billing-1"
    assert (await get(client, "/_stats"))["repeats"] == 0


# Behaviour by order.


async def test_failures_by_order_are_counted_down_and_have_no_effect(client):
    await behave(client, system="inventory", failNext=2, status=500)

    assert [(await post(client))[0] for _ in range(3)] == [500, 500, 200]
    stats = await get(client, "/_stats")
    assert (stats["calls"], stats["keys"], stats["effects"], stats["repeats"]) == (3, 1, 1, 0)


async def test_a_system_that_is_offline_drops_the_connection_and_does_nothing(client):
    await behave(client, system="inventory", offline=True)
    with pytest.raises(ClientConnectionError):
        await post(client)
    await behave(client, system="inventory", offline=False)

    assert (await post(client))[0] == 200
    assert [call["status"] for call in await get(client, "/_calls")] == [0, 200]


async def test_a_delay_holds_each_call_and_the_most_open_at_once_are_counted(client, time):
    time.is_stopped = True
    await behave(client, delayMs=200)
    calls = [asyncio.create_task(post(client, key=f"k-{number}")) for number in range(3)]
    calls.append(asyncio.create_task(post(client, path="/billing/deliver")))
    await time.sleepers_reached(4)
    time.wake_all()
    await asyncio.gather(*calls)
    await post(client, key="k-9")

    stats = await get(client, "/_stats")
    assert (stats["open"], stats["openMax"]) == (0, 3)
    assert [stats["systems"][name]["openMax"] for name in ("inventory", "billing", "activation")] == [3, 1, 0]
    assert time.waits_s == [0.2] * 5


async def test_the_log_alone_shows_which_calls_were_open_together(client, time):
    await behave(client, delayMs=200)
    await post(client, key="k-1")
    await post(client, key="k-2")
    first, second = await get(client, "/_calls")

    assert datetime.fromisoformat(first["endedAt"]) - datetime.fromisoformat(first["startedAt"]) >= timedelta(
        seconds=0.2
    )
    assert first["endedAt"] < second["startedAt"]


@pytest.mark.parametrize(
    "change",
    [
        [],
        {"system": "warehouse"},
        {"delay": 5},
        {"delayMs": -1},
        {"delayMs": "5"},
        {"failNext": True},
        {"status": 200},
        {"offline": 1},
    ],
    ids=str,
)
async def test_a_wrong_behaviour_is_refused_and_changes_nothing(client, standins, change):
    before = dict(standins.behaviours)

    assert (await client.post("/_behaviour", json=change)).status == 400
    assert standins.behaviours == before


async def test_a_reset_forgets_calls_keys_and_behaviour(client):
    await post(client)
    await behave(client, failNext=5, offline=True)
    await client.post("/_reset")

    assert await get(client, "/_calls") == []
    assert (await post(client))[1]["reference"] == "inventory-1"
    assert (await get(client, "/_stats"))["repeats"] == 0


# The record.


async def test_a_call_is_recorded_with_all_that_was_said(client):
    await post(client, payload(), key="o1-1/Ger%C3%A4t/1", **{"X-Order-Id": "o1-1", "X-Item": "Deliver SIM CARD/x"})
    (call,) = await get(client, "/_calls")

    assert call.pop("startedAt") < call.pop("endedAt")
    assert call.pop("at").endswith("Z")
    assert call == {
        "system": "inventory",
        "operation": "deliver",
        "key": "o1-1/Gerät/1",
        "order": "o1-1",
        "item": "Deliver SIM CARD",
        "repeat": False,
        "status": 200,
        "payload": payload(),
    }


async def test_calls_are_listed_by_system_by_order_and_since_a_moment(client):
    await post(client, key="k-1")
    await post(client, payload(orderId="o1-2"), key="k-2")
    await post(client, path="/billing/deliver", key="k-3")
    everything = await get(client, "/_calls")

    def keys(calls: list[dict[str, Any]]) -> list[str]:
        return [call["key"] for call in calls]

    assert keys(await get(client, "/_calls?system=inventory")) == ["k-1", "k-2"]
    assert keys(await get(client, "/_calls?order=o1-1")) == ["k-1", "k-3"]
    assert keys(await get(client, f"/_calls?since={everything[0]['at']}")) == ["k-2", "k-3"]
    assert await get(client, f"/_calls?since={everything[-1]['at']}") == []
    assert (await client.get("/_calls?since=yesterday")).status == 400
    assert (await client.get("/_calls?since=2030-01-01T00:00:00")).status == 400


async def test_each_call_is_in_the_file_before_its_answer_and_a_reset_keeps_the_file(tmp_path):
    path = tmp_path / "calls.ndjson"
    log = CallLog(path)
    async with TestClient(TestServer(make_app(StandIns(log=log)))) as client:
        await post(client, key="k-1")
        written = [json.loads(text) for text in path.read_text().splitlines()]

        assert written == await get(client, "/_calls")

        await client.post("/_reset")
        await post(client, key="k-2")
        await post(client, key="k-2", body=[])
        written = [json.loads(text) for text in path.read_text().splitlines()]
    log.close()

    assert [(call["key"], call["status"]) for call in written] == [("k-1", 200), ("k-2", 200), ("k-2", 409)]


# Answers that come later.


class Receiver:
    """Takes callbacks, and answers them with the statuses it is given, then 200."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.statuses: list[int] = []
        app = web.Application()
        app.router.add_post("/callbacks/{token}", self._take)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/callbacks/t%2F1"))

    async def _take(self, request: web.Request) -> web.Response:
        assert request.match_info["token"] == "t/1"
        self.bodies.append(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.server.start_server()
    yield made
    await made.server.close()


Ask = Callable[[], Awaitable[tuple[int, Any]]]


@pytest.fixture
def visit(client: Client, receiver: Receiver) -> Ask:
    """Ask workforce for a visit, to be answered later."""
    return lambda: post(client, path="/workforce/async-visit", **{"X-Callback-Url": receiver.url})


async def test_an_asynchronous_operation_is_taken_and_answered_later(visit, standins, receiver, time):
    standins.behaviours["workforce"] = standins.behaviours["workforce"].__class__(delay_s=5)
    status, answer = await visit()
    await standins.callbacks.settle()

    assert (status, answer) == (202, {"reference": "workforce-1"})
    technician = "T" + digits_of(7, KEY, "SIM CARD@1", "technician", 3)
    assert receiver.bodies == [{"attributes": {"technician": technician}, "outcome": "completed"}]
    assert time.waits_s == [5]


async def test_other_operations_of_workforce_are_answered_at_once(client):
    status, answer = await post(client, path="/workforce/visit")

    assert (status, answer["attributes"].keys()) == (200, {"technician"})


async def test_an_asynchronous_operation_must_say_where_the_answer_goes(client):
    status, answer = await post(client, path="/workforce/async-visit")

    assert (status, answer["path"]) == (422, "X-Callback-Url")


async def test_a_callback_that_fails_is_tried_again_with_growing_pauses(visit, standins, receiver, time):
    receiver.statuses = [503, 429]
    await visit()
    await standins.callbacks.settle()

    assert len(receiver.bodies) == 3
    assert time.waits_s == [0.25, 0.5]
    assert standins.callbacks.stats() == {"open": 0, "delivered": 1, "lost": 0}


@pytest.mark.parametrize(("status", "tries"), [(503, 6), (404, 1)])
async def test_a_callback_is_given_up_after_a_bound_or_a_refusal(visit, standins, receiver, status, tries):
    receiver.statuses = [status] * 10
    await visit()
    await standins.callbacks.settle()

    assert len(receiver.bodies) == tries
    assert standins.callbacks.stats() == {"open": 0, "delivered": 0, "lost": 1}


async def test_a_repeat_sends_a_lost_callback_again_and_a_delivered_one_not(visit, standins, receiver):
    receiver.statuses = [404]
    for _ in range(3):
        await visit()
        await standins.callbacks.settle()

    assert len(receiver.bodies) == 2
    assert standins.callbacks.stats() == {"open": 0, "delivered": 1, "lost": 1}


async def test_callbacks_to_nobody_are_given_up(client, standins):
    await post(client, path="/workforce/async-visit", **{"X-Callback-Url": "no address"})
    await standins.callbacks.settle()

    assert standins.callbacks.stats() == {"open": 0, "delivered": 0, "lost": 1}


# With the HTTP adapter, and as a process.


@pytest.fixture
async def inventory(client: Client) -> AsyncIterator[HttpAdapter]:
    adapter = HttpAdapter({"url": str(client.make_url("/inventory"))}, clock=lambda: NOW)
    yield adapter
    await adapter.close()


async def test_the_http_adapter_and_the_systems_understand_each_other(client, inventory):
    task = task_of(KEY, payload=payload())
    first = await inventory.perform(task)
    again = await inventory.perform(task)
    wrong = await inventory.perform(task_of("k-2", payload=payload(lines=[])))
    await behave(client, failNext=1)
    failing = await inventory.perform(task_of("k-3", payload=payload()))
    await behave(client, offline=True)
    gone = await inventory.perform(task_of("k-4", payload=payload()))

    assert first.kind == "completed"
    assert first.answer["attributes"]["PUK"] == digits_of(7, KEY, "SIM CARD@1", "PUK", 8)
    assert again == first
    assert wrong == Outcome.failed("must be a list of at least one line", "422")
    assert failing == Outcome.retryable("inventory fails by order of /_behaviour", "503")
    assert (gone.kind, gone.error_code) == ("retryable", "connection")


async def test_the_process_says_where_it_listens_serves_and_ends_on_sigterm(tmp_path):
    path = tmp_path / "calls.ndjson"
    command = [sys.executable, "-m", "examples.standins", "--port", "0", "--log", str(path), "--seed", "7"]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        word, url = (await process.stdout.readline()).decode().split()
        async with ClientSession() as session:
            adapter = HttpAdapter({"url": f"{url}/inventory"})
            deadline_at = datetime.now(UTC) + timedelta(seconds=60)
            outcome = await adapter.perform(task_of(KEY, payload=payload(), deadline_at=deadline_at))
            async with session.get(f"{url}/_stats") as response:
                stats = await response.json()
            await adapter.close()
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert word == "ready"
    assert url.startswith("http://127.0.0.1:")
    assert outcome.answer["attributes"]["PUK"] == digits_of(7, KEY, "SIM CARD@1", "PUK", 8)
    assert stats["effects"] == 1
    assert (process.returncode, errors) == (0, b"")
    assert [json.loads(text)["key"] for text in path.read_text().splitlines()] == [KEY]


async def test_a_port_that_is_taken_is_said_plainly(client):
    command = [sys.executable, "-m", "examples.standins", "--port", str(client.port)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, errors = await process.communicate()

    assert process.returncode == 1
    assert errors.startswith(b"cannot start: ")
