"""The client against a server that does what it is told: refusals, repeats, broken connections, pages."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orderplan import ApiError, Client
from orderplan.client import WaitedTooLong

ORDER: dict[str, Any] = {"productOrderItem": []}


class Scripted(ThreadingHTTPServer):
    """Answers with what stands in `script`, in turn, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Any] = []
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, self.path, dict(self.headers.items()), body))
        step = self.server.script.pop(0)
        if step == "hang up":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, document, headers = (*step, {})[:3]
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(server: Scripted, pauses: list[float]) -> Iterator[Client]:
    with Client(server.url, user="ann", sleep=pauses.append) as made:
        yield made


def test_a_connection_is_kept_for_the_next_request(server, client):
    server.script = [(200, {"state": "held"})] * 3
    for _ in range(3):
        assert client.order("o1")["state"] == "held"

    assert server.connections == 1
    assert server.asked[0][2]["X-User"] == "ann"


def test_a_refusal_of_a_native_route_is_told_whole(server, client):
    problem = {
        "type": "urn:orderplan:taskTaken",
        "title": "TaskTaken",
        "status": 409,
        "detail": "bob holds it",
        "path": "task",
        "mend": "ask bob",
        "worker": "bob",
    }
    server.script = [(409, problem)]
    with pytest.raises(ApiError) as refused:
        client.claim_task("t1", "ann")

    error = refused.value
    assert (error.status, error.code, error.detail, error.path, error.mend, error.facts) == (
        409,
        "taskTaken",
        "bob holds it",
        "task",
        "ask bob",
        {"worker": "bob"},
    )
    assert str(error) == "task: bob holds it (ask bob)"


def test_diagrams_that_are_there_stay_and_those_with_other_lanes_are_named(server, client):
    lanes = {name: {"catalogue": "dro", "plans": plans} for name, plans in (("A/B", ["x"]), ("C", ["x"]), ("D", ["y"]))}
    listed = [{"name": "C", "version": 1} | lanes["C"], {"name": "D", "version": 4, "catalogue": "dro", "plans": ["z"]}]
    server.script = [(200, listed), (201, {"name": "A/B", "version": 1})]

    assert client.create_diagrams(lanes) == ["D"]
    assert [(method, path, body) for method, path, _, body in server.asked[1:]] == [
        ("PUT", "/v1/diagrams/A%2FB", lanes["A/B"])
    ]


@pytest.mark.parametrize(
    ("path", "mend", "message"),
    [
        ("productOrderItem[0].action", "use add", "productOrderItem[0].action: is wrong (use add)"),
        ("productOrderItem[0].action", None, "productOrderItem[0].action: is wrong"),
        (None, "use add", "is wrong (use add)"),
        (None, None, "is wrong"),
    ],
)
def test_a_refusal_of_a_tmf_route_is_taken_apart_again(server, client, path, mend, message):
    body: dict[str, Any] = {"code": "badDocument", "reason": "is wrong", "message": message, "status": "400"}
    if path:
        body["problems"] = [{"path": path, "reason": "is wrong"}]
    server.script = [(400, body)]
    with pytest.raises(ApiError) as refused:
        client.submit_order(ORDER)

    assert (refused.value.path, refused.value.mend, refused.value.detail) == (path, mend, "is wrong")
    assert str(refused.value) == message


@pytest.mark.parametrize("answer", [(404, b"<html>not ours</html>"), (200, b"<html>"), (500, []), (404, {"x": 1})])
def test_an_answer_of_another_server_is_known_as_foreign(server, client, answer):
    server.script = [answer]
    with pytest.raises(ApiError) as refused:
        client.order("o1")

    assert refused.value.code == "foreignAnswer"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_refused_before_it_is_sent(server, client, number):
    with pytest.raises(ApiError, match="finite") as refused:
        client.request("PUT", "/v1/systems/crm", {"ratePerS": number})

    assert refused.value.code == "notSendable"


def test_a_busy_server_is_asked_again_when_it_says(server, client, pauses):
    server.script = [
        (503, {"type": "urn:orderplan:busy", "detail": "later"}, {"Retry-After": "2"}),
        (503, {"type": "urn:orderplan:busy", "detail": "later"}, {"Retry-After": "3600"}),
        (201, {"id": "o1", "state": "acknowledged"}),
    ]

    assert client.submit_order(ORDER)["id"] == "o1"
    assert pauses == [2.0, 5.0]
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in server.asked}
    assert len(keys) == 1


def test_a_server_that_stays_busy_is_given_up(server, client, pauses):
    server.script = [(503, {"type": "urn:orderplan:busy", "detail": "later"})] * 4
    with pytest.raises(ApiError) as refused:
        client.order("o1")

    assert refused.value.code == "busy"
    assert len(pauses) == 3


def test_what_has_no_key_is_sent_once(server, client, pauses):
    server.script = [(503, {"type": "urn:orderplan:busy", "detail": "later"})]
    with pytest.raises(ApiError):
        client.complete_task("t1", "ann")

    assert len(server.asked) == 1
    assert pauses == []


def test_an_order_whose_connection_broke_is_sent_again_with_the_same_key(server, client):
    server.script = ["hang up", (201, {"id": "o1", "state": "acknowledged"})]

    assert client.submit_order(ORDER)["id"] == "o1"
    first, second = server.asked
    assert first[2]["Idempotency-Key"] == second[2]["Idempotency-Key"]


def test_a_bulk_job_whose_answer_was_lost_is_asked_for_again_under_the_same_key(server, client):
    server.script = ["hang up", (202, {"id": "j1"})]

    assert client.start_job("retry", "because", filter={})["id"] == "j1"
    first, second = server.asked
    assert first[2]["Idempotency-Key"] == second[2]["Idempotency-Key"]


def test_waiting_for_a_job_tells_how_far_it_is_and_ends_with_it(server, client):
    states = [{"id": "j1", "state": "running", "open": 2}, {"id": "j1", "state": "done", "open": 0}]
    server.script = [(200, each) for each in states]
    heard: list[int] = []

    assert client.wait_for_job("j1", heard=lambda job: heard.append(job["open"]))["state"] == "done"
    assert heard == [2]


def test_a_broken_connection_leaves_a_claim_unknown(server, client):
    server.script = ["hang up"]
    with pytest.raises(ApiError) as broken:
        client.claim_task("t1", "ann")

    assert broken.value.code == "interrupted"
    assert "unknown" in str(broken.value)


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(server, client):
    server.script = [(200, {"state": "held"}, {"Connection": "close"}), (200, {}), (200, {})]
    client.order("o1")
    client.claim_task("t1", "ann")

    assert server.connections == 2


def test_an_external_id_is_the_key_where_none_is_given(server, client):
    server.script = [(201, {"id": "o1"}), (201, {"id": "o1"})]
    client.submit_order({**ORDER, "externalId": "e1"})
    client.submit_order({**ORDER, "externalId": "e1"}, key="k1")

    assert "Idempotency-Key" not in server.asked[0][2]
    assert server.asked[1][2]["Idempotency-Key"] == "k1"


def test_parts_of_an_address_are_encoded(server, client):
    server.script = [(200, {"state": "inProgress"})]
    client.operate("o1", "Deliver SIM/deliver@10", "retry", "because")

    assert server.asked[0][1] == "/v1/orders/o1/items/Deliver%20SIM%2Fdeliver@10:retry"


def test_all_products_are_read_page_by_page(server, client):
    server.script = [
        (200, [{"id": "a"}, {"id": "b"}], {"X-Total-Count": "3"}),
        (200, [{"id": "c"}], {"X-Total-Count": "3"}),
    ]

    assert [each["id"] for each in client.all_products("acc 1")] == ["a", "b", "c"]
    assert server.asked[0][1].endswith("?offset=0&limit=500&billingAccount.id=acc+1")
    assert "offset=2" in server.asked[1][1]


def test_waiting_ends_with_the_order(server, client, pauses):
    server.script = [(200, {"state": "inProgress"}), (200, {"state": "held"}), (200, {"state": "completed"})]

    assert client.wait_for_order("o1")["state"] == "completed"
    assert len(pauses) == 2


def test_waiting_has_an_end_of_its_own(server):
    clock = iter([0.0, 1.0, 11.0])
    server.script = [(200, {"state": "inProgress"}), (200, {"state": "held"})]
    with (
        Client(server.url, sleep=lambda _: None, clock=lambda: next(clock)) as client,
        pytest.raises(WaitedTooLong, match="still held after 10 s"),
    ):
        client.wait_for_order("o1", timeout_s=10)


def test_a_server_that_is_not_there_is_said_with_what_to_do():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(ApiError) as refused:
            Client(f"http://127.0.0.1:{port}").order("o1")

    assert (refused.value.code, refused.value.status) == ("unreachable", 0)
    assert "orderplan up" in (refused.value.mend or "")


@pytest.mark.parametrize("url", ["", "http://", "ftp://somewhere", "http://host:99999", "host:port", "http://h/?q=1"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ApiError) as refused:
        Client(url)

    assert refused.value.code == "badUrl"


def clusters(*names: str, restarting: int | None = 0) -> tuple[int, dict[str, Any]]:
    director = {} if restarting is None else {"director": {"restarting": restarting}}
    return 200, {"actors": {name: {} for name in names} | director}


def test_a_restart_is_over_when_none_of_its_hosts_lives(server, client, pauses):
    server.script = [
        clusters("host-a", "host-b", restarting=2),
        clusters("host-b", "host-c", restarting=1),
        clusters("host-c", "host-d", restarting=None),
        clusters("host-c", "host-d"),
    ]

    client.wait_for_restart(["a", "b"])

    assert (len(pauses), server.script) == (3, [])


def test_a_director_that_was_started_again_has_not_replaced_what_it_has_forgotten(server):
    times = iter([0.0, 1.0, 60.0])
    server.script = [clusters("host-b", "host-c")] * 2
    client = Client(server.url, sleep=lambda _seconds: None, clock=lambda: next(times))
    with client, pytest.raises(WaitedTooLong, match="restart of b is still not replaced"):
        client.wait_for_restart(["a", "b"], timeout_s=60)
