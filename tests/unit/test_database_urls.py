"""A database that cannot be used is named with a way to mend it, and without its password."""

import asyncio
import socket
from typing import Any

import pytest

from persistence import servers
from persistence.database import DatabaseUnreachable, migrate
from persistence.servers import servers_of


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_a_server_that_does_not_answer_is_no_traceback(closed_port, scheme):
    url = f"{scheme}://somebody:dontshow@127.0.0.1:{closed_port}/orders"

    with pytest.raises(DatabaseUnreachable, match="--database-url") as refused:
        await migrate(url, url)

    assert "dontshow" not in str(refused.value)


@pytest.mark.parametrize("url", ["", "orders", "mysql://somebody:dontshow@127.0.0.1/orders", "postgresql://:x:y/z",
                                 "postgresql://somebody:dontshow@one:5432,two:x/orders",
                                 "postgresql://somebody:dontshow@/orders?host=a,b&port=1,2,3"])  # fmt: skip
async def test_what_is_no_url_is_no_traceback(url):
    with pytest.raises(DatabaseUnreachable) as refused:
        await migrate(url, url)

    assert "dontshow" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "each_alone"),
    [
        ("postgresql://u:p@one:1/db?sslmode=require", ["postgresql://u:p@one:1/db?sslmode=require"]),
        ("postgresql://u:p@one:1,two/db?a=b", ["postgresql://u:p@one:1/db?a=b", "postgresql://u:p@two/db?a=b"]),
        ("postgres://u:p,q@[::1]:1,[::2]:2/db", ["postgres://u:p,q@[::1]:1/db", "postgres://u:p,q@[::2]:2/db"]),
        ("postgresql://one,two/db", ["postgresql://one/db", "postgresql://two/db"]),
        ("postgresql:///db?host=/run/postgresql", ["postgresql:///db?host=/run/postgresql"]),
        ("postgresql:///db?host=a,b", ["postgresql:///db?host=a", "postgresql:///db?host=b"]),
        (
            "postgresql://u:p@/db?host=/run/a,/run/b&port=1,2&sslmode=require",
            [
                "postgresql://u:p@/db?host=/run/a&port=1&sslmode=require",
                "postgresql://u:p@/db?host=/run/b&port=2&sslmode=require",
            ],
        ),
        ("postgresql:///db?port=5&host=a,b", ["postgresql:///db?port=5&host=a", "postgresql:///db?port=5&host=b"]),
    ],
)
def test_each_server_of_a_url_gets_a_url_of_its_own(url, each_alone):
    assert servers_of(url) == each_alone


async def test_a_process_that_knows_no_timeline_yet_gives_the_others_time(monkeypatch):
    class FakeConnection:
        is_terminated = False

        def terminate(self) -> None:
            self.is_terminated = True

        def is_closed(self) -> bool:
            return self.is_terminated

    # Any: only what `connect` uses of a connection is here.
    old: Any = FakeConnection()
    new: Any = FakeConnection()

    async def reach(dsn, options):
        if "new" not in dsn:
            return servers._Reached(old, 77, 1)
        for _ in range(50):
            await asyncio.sleep(0)
        return servers._Reached(new, 77, 2)

    monkeypatch.setattr(servers, "_reach", reach)
    monkeypatch.setattr(servers, "_newest", {})
    monkeypatch.setattr(servers, "ROUND_S", 0.0)

    assert await servers.connect("postgresql://old,new/db") is new
    assert old.is_terminated
