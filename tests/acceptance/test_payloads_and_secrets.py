"""What the fulfilment systems were really sent, and what must be found nowhere afterwards."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import asyncpg

from orderplan.stream import follow
from tests.support import own_mobile
from tests.support.running import TMF622, Running, until

GOLDEN = Path(__file__).parent / "golden"


def for_account(document: Any, account: str) -> Any:
    document["relatedParty"][0]["id"] = account
    document["externalId"] = f"{account}-{document['externalId']}"
    return document


def payloads(running: Running, order_id: str, ids: dict[str, str]) -> list[Any]:
    """The payloads an order's calls carried, by item, with ids that differ from run to run named instead."""
    names = {identity: f"<{name}>" for name, identity in ids.items()} | {order_id: "<order>"}
    text = json.dumps(sorted((call["payload"] for call in running.calls(order_id)), key=lambda each: each["item"]))
    for value, name in names.items():
        text = text.replace(value, name)
    found: list[Any] = json.loads(text)
    return found


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def test_add_modify_delete_and_no_change_send_exactly_the_golden_payloads(mobile: Running) -> None:
    account = "golden"
    added = mobile.submit(for_account(own_mobile.add_order(), account))
    assert mobile.ended(added)["state"] == "completed"
    ids = mobile.products(account)
    assert sorted(ids) == ["Connectivity", "Mobile line", "SIM CARD", "Time Bundle"]
    mixed = mobile.submit(for_account(own_mobile.mixed_order(ids), account))
    assert mobile.ended(mixed)["state"] == "completed"
    rest = mobile.products(account)
    twin = own_mobile.delete_order(ids)
    gone = {ids[name] for name in ids if name not in rest}
    removed_lines = {
        item["id"] for item in twin["productOrderItem"] if item.get("product", {}).get("id") in gone
    }
    twin["productOrderItem"] = [item for item in twin["productOrderItem"] if item["id"] not in removed_lines]
    for item in twin["productOrderItem"]:
        item["productOrderItemRelationship"] = [
            each for each in item.get("productOrderItemRelationship", []) if each["id"] not in removed_lines
        ]
    twin["externalId"] = "mobile-delete"
    deleted = mobile.submit(for_account(twin, account))
    assert mobile.ended(deleted)["state"] == "completed"

    assert payloads(mobile, added, ids) == golden("add")
    assert payloads(mobile, mixed, ids) == golden("modify")
    assert payloads(mobile, deleted, ids) == golden("delete")
    assert mobile.products(account) == {}
    touched = {line["product"]["name"] for each in payloads(mobile, mixed, ids) for line in each["lines"]}
    assert touched == {"Mobile line", "Time Bundle"}, "SIM CARD and Connectivity are noChange: nothing is sent"

HUB = "/tmf-api/productOrderingManagement/v4/hub"


def test_a_value_that_must_not_stay_is_found_nowhere_once_its_order_has_ended(mobile: Running) -> None:
    # Nobody listens there: the events stay in the outbox, where the dump finds them.
    mobile.ok("POST", HUB, {"callback": "http://127.0.0.1:9/events"})
    order_id = mobile.submit(for_account(own_mobile.add_order(), "secretive"))
    assert mobile.ended(order_id)["state"] == "completed"
    until(lambda: mobile.ok("GET", "/v1/hub-listeners")[0]["backlog"], lambda backlog: backlog > 3)
    until(lambda: asyncio.run(sealed_count(mobile, order_id)), lambda count: count == 0)
    puks = [puk_of(mobile, order_id)]

    assert all(len(puk) == 8 for puk in puks)
    for puk in puks:
        places = {
            "order database": asyncio.run(dump(mobile.dsn)),
            "key store": asyncio.run(dump(mobile.key_dsn)),
            "metrics": str(mobile.call("GET", "/metrics")[1]),
            "stream": streamed(mobile, order_id),
            "facts": str(mobile.ok("GET", f"/v1/orders/{order_id}/facts")),
            "order": str(mobile.ok("GET", f"{TMF622}/{order_id}")),
            "plan": str(mobile.ok("GET", f"/v1/orders/{order_id}/plan")),
            "logs": logs(mobile),
        }
        assert [name for name, text in places.items() if puk in text] == []
        # What was not written to the tables yet stands in the log of changes, which is among the files.
        assert files_with(mobile, puk) == []
        asyncio.run(settle_files(mobile))
        assert files_with(mobile, puk) == [], "after a vacuum and a checkpoint"
    facts = mobile.ok("GET", f"/v1/orders/{order_id}/facts")
    assert any("PUK" in str(fact["payload"]) for fact in facts), "the order did carry a PUK, out of sight"


def files_with(running: Running, text: str) -> list[str]:
    """The server's files that hold the text as it is."""
    files = [path for path in (running.data / "postgres").rglob("*") if path.is_file()]
    assert any("pg_wal" in path.parts for path in files)
    return [path.name for path in files if text.encode() in content(path)]


async def settle_files(running: Running) -> None:
    """Have the server clear what is dead out of its tables and write everything to its files."""
    password = json.loads((running.data / "postgres" / "server.json").read_text())["admin_password"]
    for dsn in (running.dsn, running.key_dsn):
        connection = await asyncpg.connect(dsn, user="orderplan_admin", password=password)
        try:
            for statement in ("vacuum", "checkpoint", "select pg_switch_wal()"):
                await connection.execute(statement)
        finally:
            await connection.close()


def content(path: Path) -> bytes:
    """What a file holds; nothing if the server has just removed it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def streamed(running: Running, order_id: str) -> str:
    """What the event stream says of an order, from its first fact to its end."""
    texts = []
    with closing(follow(running.url, last_event_id="0.0", filters={"order": order_id}, attempts_max=3)) as stream:
        for event in stream:
            texts.append(json.dumps(event.data))
            if event.data["kind"] == "order.ended":
                break
    assert len(texts) > 2
    return "\n".join(texts)


def puk_of(running: Running, order_id: str) -> str:
    """The PUK that the stand-in gave out for the order: asked again with the same key, it gives the same answer."""
    call = next(call for call in running.calls(order_id) if call["system"] == "inventory")
    request = Request(
        f"{running.standins}/inventory/{call['operation']}",
        data=json.dumps(call["payload"]).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": call["key"]},
        method="POST",
    )
    with urlopen(request, timeout=20) as answer:
        puk: str = json.loads(answer.read())["attributes"]["PUK"]
        return puk


async def sealed_count(running: Running, order_id: str) -> int:
    connection = await asyncpg.connect(running.dsn)
    keys = await asyncpg.connect(running.key_dsn)
    try:
        sealed = await connection.fetchval(
            "select count(*) from product_order where order_id = $1 and sealed", order_id
        )
        left = await keys.fetchval("select count(*) from order_key where order_id = $1 and key <> ''", order_id)
        return int(sealed) + int(left)
    finally:
        await connection.close()
        await keys.close()


async def dump(dsn: str) -> str:
    """Every row of every table as text."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
        texts: list[str] = []
        for table in tables:
            rows = await connection.fetch(f'select t::text as row from "{table["tablename"]}" as t')
            texts.extend(row["row"] for row in rows)
        return "\n".join(texts)
    finally:
        await connection.close()


def logs(running: Running) -> str:
    """What the cluster wrote to its logs: its own standard error, Ray's files, the server's log."""
    places = [running.data / "cluster.err", *sorted((running.data / "postgres").rglob("*.log"))]
    session = Path("/tmp/ray/session_latest/logs")
    if session.exists():
        places += [path for path in sorted(session.rglob("*")) if path.is_file()]
    return "\n".join(path.read_text(errors="replace") for path in places if path.exists())
