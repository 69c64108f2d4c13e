"""A campaign over HTTP: loaded by a client, submitted by the server at its rate, steered and looked at like any job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderplan.cli.main import app
from orderplan.client import ApiError, Client
from tests.acceptance.test_ingest import line, release
from tests.support.running import Running


@pytest.fixture
def depot(running: Running) -> Running:
    running.ok("PUT", "/v1/systems/depot", {"adapter": "simulated", "config": {"seed": 1}, "concurrency": 1_000})
    # A version of its own: published again after others, the one of the ingest tests would not be the newest.
    running.ok("POST", "/v1/releases:publish", release() | {"version": "campaigns"})
    return running


def test_a_campaign_submits_its_orders_and_lists_what_was_refused(depot: Running) -> None:
    with Client(depot.url) as client:
        campaign = client.create_campaign("parcels for all", "spring", rate=500)
        lines = [line(f"campaign-{number}") for number in range(300)]
        lines[100] = line("campaign-bad", productOrderItem=[])
        assert client.load_campaign(campaign["id"], lines) == 300
        client.start_campaign(campaign["id"])
        job = client.wait_for_job(campaign["id"], timeout_s=60)
        [refused] = client.job_items(campaign["id"], outcome="refused")
        [first, last] = [client.job_items(campaign["id"], after=after, limit=1)[0] for after in (0, 299)]

    assert (job["state"], job["total"], job["done"], job["refused"]) == ("done", 300, 299, 1)
    assert job["selection"] == {"campaign": "parcels for all"}
    assert (refused["number"], refused["code"]) == (101, "badDocument")
    assert "productOrderItem" in refused["reason"]
    for each in (first, last):
        assert depot.ended(each["orderId"])["state"] == "completed"


def test_orders_without_a_name_are_the_same_however_often_their_campaign_is_worked_on(depot: Running) -> None:
    nameless = json.loads(line("x"))
    del nameless["externalId"]
    with Client(depot.url) as client:
        campaign = client.create_campaign("nameless", "spring", rate=500)
        client.load_campaign(campaign["id"], [json.dumps(nameless).encode()] * 3)
        client.start_campaign(campaign["id"])
        client.wait_for_job(campaign["id"], timeout_s=60)
        made = [each["orderId"] for each in client.job_items(campaign["id"])]

    assert len(set(made)) == 3


def test_a_campaign_is_paused_goes_on_and_is_stopped(depot: Running) -> None:
    with Client(depot.url) as client:
        campaign = client.create_campaign("slow", "spring", rate=1)
        client.load_campaign(campaign["id"], [line(f"slow-{number}") for number in range(500)])
        client.start_campaign(campaign["id"])
        states = [client.steer_job(campaign["id"], action)["state"] for action in ("pause", "resume", "stop")]
        with pytest.raises(ApiError) as raised:
            client.load_campaign(campaign["id"], [line("late")], after=500)

    assert states == ["paused", "running", "stopped"]
    assert raised.value.status == 409


@pytest.mark.parametrize(
    ("body", "path"),
    [({"reason": "r"}, "name"), ({"name": "n", "reason": "r", "rate": 0}, "rate"), ({"name": "n"}, "reason"),
     ({"name": "n", "reason": "r", "pace": 1}, "pace")],
)  # fmt: skip
def test_what_makes_no_campaign_names_the_field(depot: Running, body: dict[str, object], path: str) -> None:
    status, answer = depot.call("POST", "/v1/campaigns", body)

    assert (status, answer["path"]) == (400, path)


def test_the_command_loads_and_starts_a_campaign(depot: Running, tmp_path: Path) -> None:
    file = tmp_path / "orders.ndjson"
    file.write_bytes(b"\n".join(line(f"command-campaign-{number}") for number in range(3)) + b"\n\n")

    made = CliRunner().invoke(
        app, ["campaign", "create", str(file), "--name", "by hand", "--rate", "100", "--url", depot.url, "--json"]
    )

    assert made.exit_code == 0, made.output
    job = json.loads(made.stdout.splitlines()[-1])
    assert (job["state"], job["total"]) == ("running", 3)
    with Client(depot.url) as client:
        assert client.wait_for_job(job["id"], timeout_s=60)["done"] == 3
    shown = CliRunner().invoke(app, ["job", "show", job["id"], "--url", depot.url])
    assert "by hand" in shown.stdout
