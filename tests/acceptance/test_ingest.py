"""Very many orders over one connection: each line is answered once when it is stored, whatever the others are like."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from orderplan.cli.main import app
from orderplan.client import Client
from tests.support.build import callout, plan_of, release_document, scenario
from tests.support.running import Running

LINES = 6_000
"""Three times what a connection may have without an answer."""
PATH = "/v1/orders:ingest"


def release() -> dict[str, Any]:
    return release_document(
        code="bulk",
        products=["parcel"],
        plans=[plan_of("send", callout("send", system="depot"))],
        scenarios=[scenario("parcel", "send")],
    )


def order(name: str, **members: Any) -> dict[str, Any]:
    item = {"id": "1", "action": "add", "product": {"productSpecification": {"id": "parcel"}}}
    return {"externalId": name, "billingAccount": {"id": name}, "productOrderItem": [item]} | members


def line(name: str, **members: Any) -> bytes:
    return json.dumps(order(name, **members)).encode()


@pytest.fixture
def depot(running: Running) -> Running:
    running.ok("PUT", "/v1/systems/depot", {"adapter": "simulated", "config": {"seed": 1}, "concurrency": 1_000})
    running.ok("POST", "/v1/releases:publish", release())
    return running


def test_every_line_is_answered_once_and_others_are_served_meanwhile(depot: Running) -> None:
    between: list[str] = []
    is_over = threading.Event()

    def others() -> None:
        while not is_over.is_set():
            between.append(depot.submit(order(f"between-{len(between)}")))

    asking = threading.Thread(target=others)
    with Client(depot.url) as client:
        asking.start()
        try:
            answers = list(client.ingest_orders(line(f"bulk-{number}") for number in range(LINES)))
        finally:
            is_over.set()
            asking.join()

    assert sorted(each["line"] for each in answers) == list(range(1, LINES + 1))
    assert {each["state"] for each in answers} == {"acknowledged"}
    assert len({each["id"] for each in answers}) == LINES
    assert between
    for each in (answers[0]["id"], answers[-1]["id"], *between):
        assert depot.ended(each)["state"] == "completed"


def test_a_bad_line_is_refused_alone_with_what_is_wrong_and_repeats_are_the_same_orders(depot: Running) -> None:
    lines = [
        line("mixed-1"),
        b"{no json",
        b"",
        line("mixed-2", productOrderItem=[{"id": "1", "action": "paint"}]),
        line("mixed-3", releaseId="bulk@0"),
        line("mixed-1"),
        line("mixed-1", description="another one"),
        line("mixed-4"),
    ]
    with Client(depot.url) as client:
        answers = {each["line"]: each for each in client.ingest_orders(lines)}
        again = {each["line"]: each for each in client.ingest_orders([line("mixed-4"), line("mixed-1")])}

    assert sorted(answers) == [1, 2, 4, 5, 6, 7, 8]
    refused = {number: each["error"] for number, each in answers.items() if "error" in each}
    assert {number: (each["code"], each["status"]) for number, each in refused.items()} == {
        2: ("badDocument", 400),
        4: ("badDocument", 400),
        5: ("staleRelease", 409),
        7: ("clientKeyReused", 409),
    }
    assert refused[4]["path"] == "productOrderItem[0].action"
    assert answers[1]["id"] == answers[6]["id"] == again[2]["id"]
    assert answers[8]["id"] == again[1]["id"]


def test_a_connection_that_breaks_leaves_orders_that_are_the_same_when_sent_again(depot: Running) -> None:
    names = [f"cut-{number}" for number in range(300)]
    host = urlsplit(depot.url)
    with socket.create_connection((host.hostname or "", host.port or 0), timeout=30) as raw:
        body = b"".join(line(name) + b"\n" for name in names)
        head = f"POST {PATH} HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Length: {10 * len(body)}\r\n\r\n"
        raw.sendall(head.encode() + body)
        raw.recv(1)

    with Client(depot.url) as client:
        ids = {each["line"]: each["id"] for each in client.ingest_orders(line(name) for name in names)}
    assert len(set(ids.values())) == len(names)
    for order_id in ids.values():
        assert depot.ended(order_id)["state"] == "completed"


def test_lines_that_cannot_be_read_to_their_end_are_no_success(depot: Running) -> None:
    def broken() -> Iterator[bytes]:
        yield line("broken-1")
        raise OSError("the disk cannot be read")

    with Client(depot.url) as client:
        answers = client.ingest_orders(broken())
        assert next(answers)["line"] == 1
        with pytest.raises(OSError, match="the disk"):
            next(answers)


def test_a_line_without_a_name_is_another_order_each_time(depot: Running) -> None:
    nameless = {"billingAccount": {"id": "nameless"}, "productOrderItem": order("x")["productOrderItem"]}
    with Client(depot.url) as client:
        found = [each["id"] for _ in range(2) for each in client.ingest_orders([json.dumps(nameless).encode()] * 2)]

    assert len(set(found)) == 4


def test_the_command_counts_what_became_of_the_lines_and_keeps_the_refused_ones(depot: Running, tmp_path: Path) -> None:
    good, bad, errors = tmp_path / "good.ndjson", tmp_path / "bad.ndjson", tmp_path / "errors.ndjson"
    good.write_bytes(b"\n".join(line(f"command-{number}") for number in range(3)))
    bad.write_bytes(line("command-9") + b"\n[]\n")

    done = CliRunner().invoke(app, ["order", "ingest", str(good), "--url", depot.url])
    refused = CliRunner().invoke(app, ["order", "ingest", str(bad), "--url", depot.url, "--errors", str(errors)])

    assert (done.exit_code, done.stdout.strip()) == (0, "3 orders: 3 acknowledged")
    assert refused.exit_code == 2
    assert "1 of 2 lines are refused, the first is line 2" in refused.stderr
    assert json.loads(errors.read_text())["line"] == 2
