"""A customer's data is erased from a running cluster, which goes on, also with other hosts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
from typer.testing import CliRunner

from orderplan.cli.main import app
from orderplan.client import Client
from tests.acceptance.test_encrypted_values import lines, order
from tests.acceptance.test_payloads_and_secrets import dump
from tests.support.running import TMF622, TMF637, Running, until

__all__ = ["lines"]
ACCOUNT, NUMBER = "forgetful", "marker-079-555-00-20"


def command(running: Running, *arguments: str) -> tuple[int, Any]:
    """Exit code and what `orderplan account` says."""
    result = CliRunner().invoke(app, ["account", *arguments, "--url", running.url, "--user", "paula", "--json"])
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


async def forget_marks(running: Running) -> None:
    connection = await asyncpg.connect(running.dsn)
    await connection.execute("delete from archive_mark")
    await connection.close()


def test_an_account_is_erased_and_begins_anew_also_with_other_hosts(lines: Running) -> None:
    order_id = lines.submit(order(ACCOUNT, NUMBER))
    lines.ended(order_id)
    lines.ended(lines.submit(order("remembered", "079-555-00-21")))
    erase = ("erase", ACCOUNT, "--reason", "she asked for it", "--products")
    assert command(lines, *erase, "--roles", "agent")[0] != 0
    # The notifier, which has nobody to tell, follows every five seconds.
    code, done = until(lambda: command(lines, *erase, "--roles", "privacy"), lambda answer: answer[0] == 0)

    assert (code, done["state"], done["orderIds"], done["wentTo"]["systems"]) == (0, "done", [order_id], ["switch"])
    for path in (f"/v1/orders/{order_id}", f"{TMF622}/{order_id}", f"/v1/accounts/{ACCOUNT}"):
        assert lines.call("GET", path)[0] == 404
    assert lines.ok("GET", f"{TMF637}?billingAccount.id={ACCOUNT}") == []
    with Client(lines.url, user="kim") as client:
        assert client.find_products("number", NUMBER) == []
        assert len(client.find_products("number", "079-555-00-21")) == 1
        assert [each["state"] for each in client.list_erasures(account=ACCOUNT)] == ["done", "refused"]
        text = asyncio.run(dump(lines.dsn))
        assert not any(each in row for row in text.splitlines() for each in (NUMBER, order_id) if done["id"] not in row)

        lines.ended(lines.submit(order(ACCOUNT, NUMBER)))
        client.wait_for_restart(client.restart_hosts())
        lines.ended(lines.submit(order(ACCOUNT, NUMBER) | {"externalId": "another"}))
        products = until(
            lambda: lines.ok("GET", f"{TMF637}?billingAccount.id={ACCOUNT}"), lambda found: len(found) == 2
        )
        assert client.reveal_value(products[0]["id"], "number", "to see", roles="privacy")["value"] == NUMBER
    # Other tests of this cluster read the stream from its beginning.
    asyncio.run(forget_marks(lines))
