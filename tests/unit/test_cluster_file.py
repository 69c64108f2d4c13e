"""cluster.yaml is a valid Ray cluster file, and keeps the promises of its comments."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

CLUSTER_FILE = Path(__file__).parents[2] / "cluster.yaml"
STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture
def cluster() -> Any:
    return yaml.safe_load(CLUSTER_FILE.read_text(encoding="utf-8"))


def start_command(cluster: Any, key: str) -> str:
    (command,) = [command for command in cluster[key] if "ray start" in command]
    return str(command)


def test_the_file_satisfies_rays_own_schema(cluster):
    validate_config(cluster)


def test_rays_launcher_keeps_every_listed_worker(cluster):
    prepared = prepare_config(cluster)

    validate_config(prepared)
    (node_type,) = prepared["available_node_types"].values()
    assert node_type["min_workers"] == node_type["max_workers"] == len(cluster["provider"]["worker_ips"])


def test_a_misspelt_key_is_refused(cluster):
    cluster["head_start_ray_command"] = []

    with pytest.raises(ValidationError, match="head_start_ray_command"):
        validate_config(cluster)


def test_no_host_name_is_a_real_one(cluster):
    hosts = [cluster["provider"]["head_ip"], *cluster["provider"]["worker_ips"]]

    assert all(host.endswith(".example.internal") for host in hosts)
    assert socket.gethostname() not in hosts


@pytest.mark.parametrize("key", STARTS)
def test_every_ray_command_asks_for_the_token(cluster, key):
    for command in cluster[key]:
        assert "RAY_AUTH_MODE=token" in command

    assert "~/.ray/auth_token" in cluster["file_mounts"]


@pytest.mark.parametrize("key", STARTS)
def test_ray_knows_every_option(cluster, key):
    known = {name for parameter in start.params for name in parameter.opts}

    assert set(re.findall(r"--[a-z-]+", start_command(cluster, key))) <= known


@pytest.mark.parametrize("key", STARTS)
def test_every_port_is_fixed_so_that_a_firewall_can_name_it(cluster, key):
    command = start_command(cluster, key)

    for option in (
        "node-manager-port=6380",
        "object-manager-port=6381",
        "runtime-env-agent-port=6382",
        "dashboard-agent-grpc-port=6383",
        "dashboard-agent-listen-port=6384",
        "metrics-export-port=6385",
        "min-worker-port=20000",
        "max-worker-port=20999",
    ):
        assert f"--{option}" in command
    assert "6379" in command


def test_the_head_joins_the_cluster_it_has_started_and_does_not_wait_for_it(cluster):
    last = cluster["head_start_ray_commands"][-1]

    assert "orderplan up --address auto" in last
    assert last.endswith("&")
