"""A cluster on Ray of its own stays apart from whatever else runs on the machine."""

import random
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from orderplan.cluster import FREE_PORTS, Cluster, ClusterError, Options, free_port

LOGS = {"session_dir": "session"}
SET = ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")


def inits(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Ray is started or joined with, from now on; nothing is."""
    given: dict[str, Any] = {}

    def init(**options: Any) -> SimpleNamespace:
        given.update(options)
        return SimpleNamespace(address_info=LOGS)

    monkeypatch.setattr(ray, "init", init)
    return given


def test_a_cluster_without_an_address_starts_ray_anew_whatever_cluster_the_machine_has(tmp_path, monkeypatch):
    """Without a word about it Ray would join the cluster that RAY_ADDRESS, or the last `ray start`, names."""
    started = inits(monkeypatch)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", *SET):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    Cluster(Options(data=tmp_path))._start_ray()

    assert started["address"] == "local"


def test_a_cluster_with_an_address_joins_it(tmp_path, monkeypatch):
    joined = inits(monkeypatch)
    for name in SET:
        monkeypatch.setenv(name, "")
    Cluster(Options(data=tmp_path, address="head:6379"))._start_ray()

    assert joined["address"] == "head:6379"


def test_a_port_that_nobody_named_lies_below_those_of_outgoing_connections():
    """One of theirs was taken while the cluster started, and its gateway could not serve."""
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert FREE_PORTS[1] <= lowest_outgoing
    assert FREE_PORTS[0] <= free_port() < FREE_PORTS[1]


def test_a_port_that_is_taken_is_not_drawn(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = taken.getsockname()[1]
        free = free_port()

        class Drawn(random.SystemRandom):
            def sample(self, *_args, **_kwargs):
                return [busy, free]

        monkeypatch.setattr(random, "SystemRandom", Drawn)
        assert free_port() == free
        monkeypatch.setattr(Drawn, "sample", lambda *_: [busy])
        with pytest.raises(ClusterError, match="no free port"):
            free_port()
