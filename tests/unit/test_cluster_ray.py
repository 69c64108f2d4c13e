"""A cluster on Ray of its own stays apart from whatever else runs on the machine."""

import ray

from orderplan.cluster import Cluster, Options

SET = ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")


def test_a_cluster_without_an_address_starts_ray_anew_whatever_cluster_the_machine_has(tmp_path, monkeypatch):
    """Without a word about it Ray would join the cluster that RAY_ADDRESS, or the last `ray start`, names."""
    started: dict[str, object] = {}
    monkeypatch.setattr(ray, "init", started.update)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", *SET):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    Cluster(Options(data=tmp_path))._start_ray()

    assert started["address"] == "local"


def test_a_cluster_with_an_address_joins_it(tmp_path, monkeypatch):
    joined: dict[str, object] = {}
    monkeypatch.setattr(ray, "init", joined.update)
    for name in SET:
        monkeypatch.setenv(name, "")
    Cluster(Options(data=tmp_path, address="head:6379"))._start_ray()

    assert joined["address"] == "head:6379"
