"""A Ray cluster of three nodes on this machine, whose nodes can be taken away and added (`ray.cluster_utils`)."""

from __future__ import annotations

import os
from typing import Any, Final

MEMORY_BYTES: Final = 100 * 1024 * 1024


class RayNodes:
    """A head and two workers. The methods block."""

    def __init__(self) -> None:
        self._cluster: Any = None

    def start(self) -> None:
        """Start the head and two workers."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        from ray.cluster_utils import Cluster  # only here: most kinds of fault need no Ray in this process

        node = {"num_cpus": 2, "object_store_memory": MEMORY_BYTES, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=node)
        self.add()
        self.add()

    @property
    def address(self) -> str:
        """Where drivers join."""
        address: str = self._cluster.address
        return address

    def pids(self) -> list[int]:
        """The processes that make up the nodes; actors are below them."""
        nodes = self._cluster.list_all_nodes() if self._cluster is not None else []
        return [pid for node in nodes for pid in self.pids_of(node)]

    @staticmethod
    def pids_of(node: Any) -> list[int]:
        """The processes of one node."""
        return [process.pid for _, process in node.live_processes()]

    def workers(self) -> list[Any]:
        """The nodes that are not the head."""
        return list(self._cluster.worker_nodes)

    def head(self) -> Any:
        """The head node."""
        return self._cluster.head_node

    def add(self) -> Any:
        """Add a worker node, and wait until the head knows it."""
        return self._cluster.add_node(num_cpus=2, object_store_memory=MEMORY_BYTES)

    def remove(self, node: Any) -> None:
        """Kill a worker node."""
        self._cluster.remove_node(node, allow_graceful=False)

    def stop(self) -> None:
        """End all nodes."""
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            cluster.shutdown()
