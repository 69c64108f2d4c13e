"""The hub of a running cluster: a channel hears each change in order, through an outage and kills of the notifier."""

from __future__ import annotations

import os
import signal
import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import loads
from typing import Any

import pytest
from typer.testing import CliRunner

from orderplan.cli.main import app
from orderplan.client import ApiError, Client
from tests.acceptance.test_releases import order, release
from tests.support.running import Running, until

ORDERS = 150
BEFORE_THE_KILL = 50
HUB = "/tmf-api/productOrderingManagement/v4/hub"


class Channel:
    """A listener as a server of its own: takes events, or is away."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_away = False
        self.refused = 0
        self.heard: dict[str, list[tuple[str, str, dict[str, str]]]] = defaultdict(list)
        """By order: (event id, state of the order, states of its items), each where it came first."""
        self.seen: set[str] = set()
        self.delays_s: list[float] = []
        self.is_timed = False

    def take(self, event: dict[str, Any]) -> int:
        with self.lock:
            if self.is_away:
                self.refused += 1
                return 503
            if event["eventId"] not in self.seen:
                self.seen.add(event["eventId"])
                document = event["event"]["productOrder"]
                items = {each["id"]: each["state"] for each in document["productOrderItem"]}
                self.heard[document["id"]].append((event["eventId"], document["state"], items))
                if self.is_timed:
                    at = datetime.fromisoformat(event["eventTime"])
                    self.delays_s.append((datetime.now(UTC) - at).total_seconds())
            return 204

    def count(self) -> int:
        with self.lock:
            return len(self.seen)


@contextmanager
def listening(channel: Channel) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.send_response(channel.take(loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/listener"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def registered(client: Client, callback: str) -> Iterator[dict[str, Any]]:
    listener = client.register_listener(callback)
    try:
        yield listener
    finally:
        client.unregister_listener(listener["id"])


def notifier(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = running.ok("GET", "/v1/cluster")["actors"].get("notifier", {})
    return found


def test_a_listener_hears_all_in_order_through_an_outage_and_kills_of_the_notifier(running: Running) -> None:
    running.ok("PUT", "/v1/systems/activation", {"adapter": "simulated", "config": {"delayS": 0.05}})
    running.ok("POST", "/v1/releases:publish", release("events"))
    channel = Channel()
    with Client(running.url) as client, listening(channel) as callback, registered(client, callback) as listener:
        channel.is_timed = True
        first = running.submit(order(30_999))
        running.ended(first)
        until(lambda: states(channel, first), lambda heard: heard[-1:] == ["completed"])
        channel.is_timed = False
        pid = notifier(running)["pid"]
        with ThreadPoolExecutor(4) as pool:
            sent = [pool.submit(running.submit, order(30_000 + number)) for number in range(ORDERS)]
            until(channel.count, lambda count: count >= BEFORE_THE_KILL)
            os.kill(pid, signal.SIGKILL)
            channel.is_away = True
            pid = restarted(running, pid)
            until(lambda: channel.refused, lambda refused: refused > 0)
            os.kill(pid, signal.SIGKILL)
            ids = [each.result() for each in sent]
        for each in ids:
            running.ended(each)
        channel.is_away = False
        down = by_id(client, listener["id"])
        client.resume_listener(listener["id"])
        until(
            lambda: notifier(running),
            lambda found: found.get("epoch", 0) > 2 and found.get("lag") == 0,
        )
        until(lambda: by_id(client, listener["id"])["backlog"], lambda backlog: backlog == 0)

    assert down["state"] == "active"
    for each in (first, *ids):
        told = channel.heard[each]
        offsets = [[int(part) for part in name.split("-")[1:]] for name, _, _ in told]
        assert offsets == sorted(offsets)
        assert wanted(running, each) == [(state, items["1"]) for _, state, items in told], each
    assert statistics.median(channel.delays_s) < 1.0, channel.delays_s


def restarted(running: Running, pid: int) -> int:
    """The process of the notifier that Ray has started in the place of this one."""
    found: int = until(lambda: notifier(running).get("pid"), lambda found: found not in (None, pid))
    return found


def by_id(client: Client, listener_id: str) -> dict[str, Any]:
    [found] = [each for each in client.list_listeners() if each["id"] == listener_id]
    return found


def states(channel: Channel, order_id: str) -> list[str]:
    with channel.lock:
        return [state for _, state, _ in channel.heard[order_id]]


def wanted(running: Running, order_id: str) -> list[tuple[str, str]]:
    """(order, item) after each change, from the facts: this release has one item of the order and calls in sequence."""
    facts = running.ok("GET", f"/v1/orders/{order_id}/facts")
    calls = {fact["item"] for fact in facts if fact["kind"] == "item.started"}
    done: set[str] = set()
    told: list[tuple[str, str]] = []
    for fact in facts:
        if fact["kind"] == "order.accepted":
            told.append(("acknowledged", "acknowledged"))
        elif fact["kind"] == "plan.composed":
            # Two events of one fact or of two, as the calls begin: the order first, then its item.
            told.append(("inProgress", "acknowledged"))
        elif fact["kind"] == "item.started" and told[-1] != ("inProgress", "inProgress"):
            told.append(("inProgress", "inProgress"))
        elif fact["kind"] == "item.completed":
            done.add(fact["item"])
            if done >= calls:
                told.append(("inProgress", "completed"))
        elif fact["kind"] == "order.ended":
            told.append(("completed", "completed"))
    return told


def test_wrong_registrations_are_refused_with_their_place_and_nothing_is_kept(running: Running) -> None:
    for body, named in (
        ({}, "callback"),
        ({"callback": "ftp://channel.example/"}, "callback"),
        ({"callback": "http://a:b@channel.example/"}, "callback"),
        ({"callback": "http://channel.example/", "query": "color=red"}, "color"),
        ({"callback": "http://channel.example/", "query": "eventType=Eaten"}, "Eaten"),
        ({"callback": "http://channel.example/", "query": "externalId=a\u0000"}, "query"),
        ({"callback": "http://channel.example/", "colour": 1}, "colour"),
    ):
        status, answer = running.call("POST", HUB, body)
        assert (status, named in str(answer)) == (400, True), (body, answer)
    assert running.ok("GET", HUB) == []
    assert running.call("DELETE", f"{HUB}/h-none")[0] == 404
    with Client(running.url) as client, pytest.raises(ApiError, match="h-none"):
        client.resume_listener("h-none")


def test_a_registration_has_the_form_of_tmf622(running: Running) -> None:
    body = {"callback": "http://127.0.0.1:9/", "query": "eventType=ProductOrderStateChangeEvent"}
    status, listener = running.call("POST", HUB, body)
    assert status == 201
    assert listener == {"id": listener["id"], **body}
    assert running.ok("GET", f"{HUB}/{listener['id']}") == listener
    assert running.ok("GET", HUB) == [listener]
    assert running.ok("POST", HUB, body) == listener

    assert running.call("DELETE", f"{HUB}/{listener['id']}")[0] == 204
    assert running.call("GET", f"{HUB}/{listener['id']}")[0] == 404


def test_the_command_line_registers_lists_resumes_and_deletes(running: Running) -> None:
    def hub(*words: str) -> Any:
        done = CliRunner().invoke(app, ["hub", *words, "--url", running.url, "--json"])
        return done.exit_code, loads(done.stdout.splitlines()[-1])

    _, listener = hub("register", "http://127.0.0.1:9/cli", "--query", "state=completed")
    _, listed = hub("list")
    _, resumed = hub("resume", listener["id"])
    shown = CliRunner().invoke(app, ["hub", "list", "--url", running.url])
    _, deleted = hub("delete", listener["id"])
    code, refused = hub("delete", listener["id"])

    assert [each["id"] for each in listed["listeners"]] == [resumed["id"]] == [listener["id"]]
    assert "state=completed" in shown.stdout
    assert deleted == {"deleted": listener["id"]}
    assert (code, refused["error"]["code"]) == (2, "notFound")
