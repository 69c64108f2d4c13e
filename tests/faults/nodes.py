"""A Ray cluster of three nodes on this machine, whose nodes can be taken away and added (`ray.cluster_utils`).

Run as a module it holds the nodes, since Ray wants the main thread of a process for them: commands come as lines
(`add`, `remove ID`), and after each it says what is there, as one line of JSON. It ends when its input ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.processes import Process, descendants, process
from tests.support.running import first_line, start_process

MEMORY_BYTES: Final = 100 * 1024 * 1024


@dataclass(frozen=True)
class Node:
    """A node of the cluster, and the processes that make it up (its actors are below them)."""

    node_id: str
    is_head: bool
    pids: tuple[int, ...]

    def processes(self) -> list[Process]:
        """Everything that runs on it."""
        below = [each for pid in self.pids for each in descendants(pid)]
        return [*(each for pid in self.pids if (each := process(pid)) is not None), *below]


class RayNodes:
    """A head and two workers. The methods block."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._holder: subprocess.Popen[str] | None = None
        self.address = ""
        """Where drivers join."""
        self.nodes: list[Node] = []

    @property
    def pid(self) -> int:
        """The process above all nodes."""
        assert self._holder is not None
        return self._holder.pid

    def start(self) -> None:
        """Start the head and two workers."""
        self._holder = start_process([sys.executable, "-m", "tests.faults.nodes"], self._errors)
        self._hear()
        self.ask("add")
        self.ask("add")

    def ask(self, command: str) -> None:
        """`add` a worker node, or `remove` (kill) the one named; returns when the head knows."""
        assert self._holder is not None
        assert self._holder.stdin is not None
        self._holder.stdin.write(command + "\n")
        self._holder.stdin.flush()
        self._hear()

    def _hear(self) -> None:
        assert self._holder is not None
        said = json.loads(first_line(self._holder))
        self.address = said["address"]
        self.nodes = [Node(each["id"], each["isHead"], tuple(each["pids"])) for each in said["nodes"]]

    def stop(self) -> None:
        """Let go of nodes that have been killed, and of their holder."""
        if self._holder is not None:
            holder, self._holder = self._holder, None
            holder.kill()
            holder.wait()
            for pipe in (holder.stdin, holder.stdout):
                assert pipe is not None
                pipe.close()


def _hold() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Only here: whoever commands the nodes needs no Ray.
    from ray._common.utils import reset_ray_address
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 2, "object_store_memory": MEMORY_BYTES, "include_dashboard": False}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    # Others on this machine would join it unasked.
    reset_ray_address()
    _say(cluster)
    for line in sys.stdin:
        command, _, node_id = line.strip().partition(" ")
        if command == "add":
            cluster.add_node(num_cpus=2, object_store_memory=MEMORY_BYTES)
        else:
            [node] = [each for each in cluster.worker_nodes if each.unique_id == node_id]
            cluster.remove_node(node, allow_graceful=False)
        _say(cluster)
    cluster.shutdown()


def _say(cluster: Any) -> None:
    nodes = [
        {
            "id": each.unique_id,
            "isHead": each is cluster.head_node,
            "pids": [started.pid for _, started in each.live_processes()],
        }
        for each in cluster.list_all_nodes()
    ]
    sys.stdout.write(json.dumps({"address": cluster.address, "nodes": nodes}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _hold()
