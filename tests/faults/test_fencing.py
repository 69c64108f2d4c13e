"""A host that stands still loses its shards, and writes nothing when it wakes up."""

import os
import signal
from pathlib import Path

import pytest

from tests.faults.harness import Range, add_orders, is_ours, publish_own_mobile, say
from tests.support.running import Running
from tests.support.until import until

pytestmark = pytest.mark.faults

ORDERS = 24
WRITTEN = ("fact", "product_order", "asset", "shard")
LATE = "where to_jsonb(row) ->> 'kind' is distinct from 'item.noted'"
"""A result that was on its way to the stopped host comes to the next owner a few seconds later, who notes it: that is
the living one's fact, and changes nothing.
"""


@pytest.fixture(scope="module")
def running(shared: Running) -> Running:
    shared.behave(system="*", delayMs=100)
    publish_own_mobile(shared, version="fencing")
    return shared


def process_state(pid: int) -> str:
    """The state letter of a process (T: stopped), or nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


async def snapshot(target: Range) -> dict[str, str]:
    """Everything that a host writes, as one checksum a table; the routing table last."""
    found = {}
    for table in WRITTEN:
        rows = await target.rows(
            f"select count(*) || ' ' || coalesce(md5(string_agg(row::text, '' order by row::text)), '') as sum "
            f"from {table} as row {LATE}"
        )
        found[table] = rows[0]["sum"]
    return found


@pytest.mark.parametrize("point", ["idle", "checked", "copying", "committing"])
async def test_a_host_that_stands_still_is_replaced_and_writes_nothing_afterwards(running, point):
    target = Range(running, seed=1, orders=f"{point}-%")
    await until(lambda: _hosts(target, 2), 60)
    hosts = await _hosts(target, 2)
    incarnation, pid = sorted(hosts.items())[0]
    shards = await _owned(target, incarnation)
    assert len(shards) > 20
    assert is_ours(pid, "host")

    if point == "idle":
        os.kill(pid, signal.SIGSTOP)
    else:
        (running.data / "faults" / f"{incarnation}.{point}").touch()
    try:
        await target.client.send_all(add_orders(ORDERS, point))
        assert process_state(pid) in ("T", "")
        await until(lambda: _ended(target, ORDERS), 60)
        assert await _owned(target, incarnation) == set()
        state = await target.rows("select state from incarnation where incarnation_id = $1", incarnation)
        assert state[0]["state"] == "fenced"
        await until(lambda: _hosts(target, 2), 60)
        await until(lambda: _is_balanced(target), 60)
        after = await snapshot(target)
        was_stopped = process_state(pid) == "T"
    finally:
        if process_state(pid) == "T":
            os.kill(pid, signal.SIGCONT)

    await until(lambda: process_state(pid) in ("", "Z"), 30)
    assert await snapshot(target) == after
    assert target.client.refused == []
    say(f"{point}: process {pid} was {'stopped' if was_stopped else 'gone'} when its work was done elsewhere")


async def _hosts(target: Range, count: int) -> dict[str, int]:
    pids = await target.pids()
    hosts = {name.removeprefix("host-"): pid for name, pid in pids.items() if name.startswith("host-")}
    return hosts if len(hosts) >= count else {}


async def _owned(target: Range, incarnation: str) -> set[int]:
    rows = await target.rows("select shard from shard where incarnation_id = $1", incarnation)
    return {row["shard"] for row in rows}


async def _ended(target: Range, count: int) -> bool:
    return await target.ended() >= count


async def _is_balanced(target: Range) -> bool:
    rows = await target.rows("select incarnation_id, count(*) as shards from shard group by 1")
    return len(rows) == 2 and len({row["shards"] for row in rows}) == 1
