"""The command line against a server that it started itself; first the README's way, with its files and commands."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from typer.testing import CliRunner

from orderplan import ApiError, Client
from orderplan.cli.main import app
from tests.support.folders import IN_MEMORY
from tests.support.running import until

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
MOBILE: Final = ROOT / "examples" / "own-mobile"
ANSWER_S: Final = 120


def readme_file(name: str) -> str:
    """The content that the README gives for a file."""
    found = re.search(rf"^\*\*`{re.escape(name)}`\*\*\n\n```\w+\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found.group(1)


def readme_commands() -> list[str]:
    """The README's commands after the server was started, in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.partition("### 4. Start it")[2], re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.endswith("orderplan up")]


class Shop:
    """A folder of a user's own with the README's files, and a server that serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("shop.yaml", "warehouse.py", "order.json"):
            (folder / name).write_text(readme_file(name))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder)}
        with (folder / "up.err").open("w") as errors:
            self.process = subprocess.Popen(
                ["orderplan", "up", "--port", "0", "--plan-hosts", "2", "--data", str(folder / "data"), "--json"],
                env=self.environment,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready, (folder / "up.err").read_text()
        self.url: str = json.loads(ready)["url"]
        self.environment["ORDERPLAN_URL"] = self.url
        self.client = Client(self.url, user="test")

    def shell(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line as a user would."""
        return subprocess.run(
            ["bash", "-c", line],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=False,
        )

    def command(self, *arguments: str, code: int = 0) -> Any:
        """The JSON object of a command that must end with this code; an error's own object if that is 2."""
        result = CliRunner().invoke(app, [*arguments, "--server", self.url, "--json"])
        assert result.exit_code == code, (result.output, result.exception)
        said = json.loads(result.stdout.splitlines()[-1])
        return said.get("error", said) if code else said

    def state(self, named: str) -> str:
        found: str = self.command("order", "show", named)["state"]
        return found

    def order(self, name: str, **changed: Any) -> str:
        """A file with the README's order under another name."""
        order = {**json.loads(readme_file("order.json")), "externalId": name, **changed}
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(order))
        return str(path)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    folder = Path(tempfile.mkdtemp(prefix="op-", dir=IN_MEMORY))
    folder.chmod(0o711)
    made = Shop(folder)
    try:
        yield made
        made.client.close()
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(ANSWER_S) == 0
    finally:
        made.process.kill()
        made.process.wait()
        assert made.process.stdout is not None
        made.process.stdout.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def tour(shop: Shop) -> list[tuple[str, str]]:
    """Every command of the README, run as written: (command, what it printed)."""
    told = []
    for line in readme_commands():
        [task_id] = [task["id"] for task in shop.client.list_tasks()] if "TASK" in line else [""]
        done = shop.shell(line.replace("TASK", task_id))
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        told.append((line, done.stdout))
        if line.startswith("orderplan order submit"):
            until(lambda: shop.state("first-order"), lambda state: state == "held")
        if line.startswith("orderplan order retry"):
            until(lambda: shop.client.list_tasks(queue="care"), bool)
    return told


def printed(tour: list[tuple[str, str]], start: str) -> str:
    return next(out for line, out in tour if line.startswith(start))


def test_the_readme_leads_to_an_own_order(shop, tour):
    assert shop.state("first-order") == "completed"
    assert len(list((shop.folder / "parcels").iterdir())) == 1
    assert "my-shop@1 is published: 2 products, 2 plans, 3 items" in printed(tour, "orderplan catalogue publish")
    assert "is acknowledged" in printed(tour, "orderplan order submit")
    assert "router/ship@2 is" in printed(tour, "orderplan order retry")
    assert re.search(r"broadband/welcome@1 +Welcome call +Ready +care", printed(tour, "orderplan order plan"))
    assert "order completed" in printed(tour, "orderplan order watch")
    assert re.search(r"Router +acc-1 +active +1 +model=R1, serial=SN-\w{8}", printed(tour, "orderplan inventory list"))


def test_what_the_readme_says_is_printed(shop, tour):
    """Lines of the README's sample output that hold nothing that differs from run to run."""
    said = "\n".join(out for _, out in tour)
    for line in (
        "watch it: orderplan order watch ",
        "system network is reached by simulated, 50 calls at once",
        "system warehouse is reached by warehouse:Warehouse, 50 calls at once",
        "  system network is not set up yet: orderplan system set network --adapter ...",
    ):
        assert line in README
        assert line in said


@pytest.mark.usefixtures("tour")
class TestTheShop:
    """With the README's catalogue published and its systems set up."""

    def test_the_same_file_again_is_the_same_order(self, shop):
        first = shop.command("order", "show", "first-order")
        again = shop.command("order", "submit", str(shop.folder / "order.json"))

        assert again["id"] == first["id"]

    def test_the_same_key_with_another_body_is_refused(self, shop):
        name = shop.order("changed", externalId="first-order", description="another one")
        error = shop.command("order", "submit", name, code=2)

        assert (error["code"], error["status"]) == ("clientKeyReused", 409)

    def test_queues_and_workers_are_administered_and_tasks_go_from_hand_to_hand(self, shop):
        shop.command("worker", "set", "ann", "--on-shift", "--skill", "calls=2@2090-01-31T00:00:00Z")
        assert shop.command("worker", "list")["workers"][0]["skills"][0]["level"] == 2
        error = shop.command("worker", "set", "ann", "--until", "soon", code=2)
        assert (error["status"], error["path"]) == (400, "onShiftUntil")
        shop.command("queue", "add-member", "care", "ann")
        assert shop.command("queue", "members", "care")["changes"][0]["kind"] == "memberAdded"
        assert shop.command("queue", "add-member", "nowhere", "ann", code=2)["status"] == 404
        shop.command("order", "submit", shop.order("handed"), "--key", "k-hand")
        until(lambda: shop.command("task", "list", "--queue", "care")["tasks"], bool)
        assert shop.command("task", "list", "--worker", "bob")["tasks"] == []
        assert shop.command("task", "next", "--worker", "bob")["task"] is None
        taken = shop.command("task", "next", "--worker", "ann", "--queue", "care")["task"]["id"]
        error = shop.command("task", "hand-over", taken, "--worker", "ann", "--to", "bob", code=2)
        assert (error["code"], error["status"]) == ("notQualified", 403)
        assert shop.command("queue", "list")["queues"][0]["held"] == 1
        assert shop.command("queue", "remove-member", "care", "ann")["isOpenToAll"] is True
        assert shop.command("task", "hand-over", taken, "--worker", "ann", "--to", "bob")["worker"] == "bob"
        noted = shop.command("task", "note", taken, "--worker", "bob", "--text", "called")
        assert [each["text"] for each in noted["notes"]] == ["called"]
        shop.command("task", "complete", taken, "--worker", "bob", "--data", '{"remark": "done"}')
        assert shop.command("order", "watch", "handed")["state"] == "completed"

    def test_an_order_is_watched_through_its_task_to_its_end(self, shop):
        order_id = shop.command("order", "submit", shop.order("watched"), "--key", "k-1")["id"]
        [task] = until(lambda: shop.command("task", "list", "--queue", "care")["tasks"], bool)
        assert task["orderId"] == order_id
        assert shop.command("task", "list", "--queue", "nobody")["tasks"] == []

        claimed = shop.command("task", "claim", task["id"], "--worker", "ann", "--lease", "60")
        assert claimed["worker"] == "ann"
        assert shop.command("task", "list", "--free")["tasks"] == []
        error = shop.command("task", "claim", task["id"], "--worker", "bob", code=2)
        assert (error["code"], error["worker"]) == ("taskTaken", "ann")

        shop.command("task", "release", task["id"], "--worker", "ann")
        shop.command("task", "claim", task["id"], "--worker", "bob")
        error = shop.command("task", "complete", task["id"], "--worker", "bob", code=2)
        assert error["path"] == "data.remark"
        data = shop.folder / "form.json"
        data.write_text('{"remark": "done"}')
        shop.command("task", "complete", task["id"], "--worker", "bob", "--data", f"@{data}")

        watched = CliRunner().invoke(app, ["order", "watch", order_id, "--url", shop.url])
        assert watched.exit_code == 0
        for line in ("Activate the line  Completed", "Welcome call  Running  by bob", "order completed"):
            assert line in watched.stdout
        assert shop.command("order", "watch", "watched")["state"] == "completed"

    def test_a_held_order_is_repaired_by_completing_and_skipping(self, shop):
        parcels = shop.folder / "parcels"
        parcels.rename(shop.folder / "gone")
        order_id = shop.command("order", "submit", shop.order("repaired"))["id"]
        until(lambda: shop.state("repaired"), lambda state: state == "held")
        shown = CliRunner().invoke(app, ["order", "show", "repaired", "--url", shop.url]).stdout
        assert f"orderplan order retry {order_id} 'router/ship@2'" in shown

        error = shop.command("order", "complete", "repaired", "router/ship@2", "--reason", " ", code=2)
        assert error["path"] == "reason"
        error = shop.command("order", "retry", "repaired", "router/none@2", "--reason", "x", code=2)
        assert error["code"] == "notFound"
        done = shop.command(
            *("order", "complete", "repaired", "router/ship@2", "--reason", "carried there"),
            *("--answer", '{"attributes": {"serial": "SN-0"}}'),
        )
        assert done["itemState"] == "Completed"
        skipped = shop.command("order", "skip", "repaired", "broadband/welcome@1", "--reason", "on holiday")
        (shop.folder / "gone").rename(parcels)

        assert skipped["state"] == "completed"
        assert shop.command("order", "watch", order_id)["items"] == {"Completed": 2, "Skipped": 1}
        assert shop.command("task", "list")["tasks"] == []
        error = shop.command("order", "retry", "repaired", "router/ship@2", "--reason", "x", code=2)
        assert error["code"] == "notPossibleNow"
        plan = shop.command("order", "plan", "repaired")
        router = next(line for line in plan["lines"] if line["product"] == "Router")
        assert router["attributes"]["serial"] == "SN-0"

    def test_the_audit_trail_names_who_and_why(self, shop):
        facts = shop.command("order", "facts", "first-order")["facts"]
        [retried] = [fact for fact in facts if fact["kind"] == "item.retried"]

        assert retried["actor"].startswith("person:")
        assert retried["payload"]["reason"] == "the folder is there now"

    def test_lists_are_pages(self, shop):
        page = shop.command("order", "list", "--state", "completed", "--limit", "1")

        assert len(page["orders"]) == 1
        assert page["total"] >= 1
        assert shop.command("order", "list", "--state", "pending")["orders"] == []

    def test_a_wait_that_is_too_short_says_where_the_order_stands(self, shop):
        shop.command("order", "submit", shop.order("waited"))
        error = shop.command("order", "watch", "waited", "--timeout", "0", code=2)
        [task] = until(lambda: shop.client.list_tasks(queue="care"), bool)
        shop.client.claim_task(task["id"], "ann")
        shop.client.complete_task(task["id"], "ann", {"remark": "x"})

        assert error["code"] == "waitedTooLong"
        assert shop.command("order", "submit", shop.order("waited"), "--wait")["state"] == "completed"

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"productOrderItem": []}, "badDocument"),
            ({"productOrderItem": [{"id": "1", "action": "fly"}]}, "badDocument"),
            (
                {"productOrderItem": [{"id": "1", "action": "add", "productOffering": {"id": "Boat"}}]},
                "unknownProduct",
            ),
            (
                {"productOrderItem": [{"id": "1", "action": "delete", "product": {"id": "nothing"}}]},
                "inventoryConflict",
            ),
        ],
    )
    def test_a_refused_order_is_a_line_with_its_path(self, shop, changed, code):
        error = shop.command("order", "submit", shop.order("refused", **changed), code=2)

        assert error["code"] == code
        assert error["path"].startswith("productOrderItem")

    def test_a_rejected_order_says_why(self, shop):
        product = {"productSpecification": {"id": "Router"}}
        shop.command("inventory", "import", str(self._installed(shop)))
        item = {"id": "1", "action": "delete", "product": {**product, "id": "installed-1"}}
        name = shop.order("rejected", productOrderItem=[item], billingAccount={"id": "acc-9"})
        error = shop.command("order", "submit", name, code=2)

        assert "no scenario" in error["reason"]
        assert shop.state(error["id"]) == "rejected"
        assert CliRunner().invoke(app, ["order", "plan", error["id"], "--url", shop.url]).exit_code == 0

    def _installed(self, shop: Shop) -> Path:
        path = shop.folder / "installed.yaml"
        path.write_text(
            "products:\n- id: installed-1\n  billingAccount: {id: acc-9}\n  productSpecification: {id: Router}\n"
        )
        return path

    def test_an_order_that_nobody_knows_is_named(self, shop):
        for command in ("show", "plan", "facts", "watch"):
            assert "there is no order" in shop.command("order", command, "nobody", code=2)["reason"]
        assert shop.command("order", "show", "o1-00000000000-0000000000", code=2)["code"] == "notFound"

    def test_a_system_that_cannot_be_built_is_refused(self, shop):
        error = shop.command("system", "set", "warehouse", "--adapter", "warehouse:Nothing", code=2)
        assert error["path"] == "adapter"

        systems = shop.command("system", "list")["systems"]
        assert {each["code"]: each["adapter"] for each in systems}["warehouse"] == "warehouse:Warehouse"

    def test_a_system_behind_http_is_set_by_its_url(self, shop):
        shop.command("system", "set", "billing", "--adapter", "http", "--url", "http://127.0.0.1:1/b")

        systems = shop.command("system", "list")["systems"]
        assert next(each for each in systems if each["code"] == "billing")["config"] == {"url": "http://127.0.0.1:1/b"}


def test_a_second_server_on_the_same_data_is_refused(shop):
    done = shop.shell("orderplan up --port 0 --data data")

    assert done.returncode == 2
    assert "is in use by process" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_refused_before_anything_starts(shop):
    port = shop.url.rpartition(":")[2]
    done = shop.shell(f"orderplan up --port {port} --data elsewhere")

    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert not (shop.folder / "elsewhere").exists()


def test_a_database_that_is_not_there_is_refused(shop):
    done = shop.shell("orderplan up --port 0 --data elsewhere --database-url postgresql://u:dontshow@127.0.0.1:1/x")

    assert done.returncode == 2
    assert "--database-url" in done.stderr
    assert "dontshow" not in done.stderr


@pytest.mark.usefixtures("tour")
def test_an_imported_catalogue_is_published_last(shop):
    """Last, because new orders then take it."""
    source, bindings = str(MOBILE / "own-mobile-catalogue.json"), str(MOBILE / "bindings.yaml")
    summary = shop.command("catalogue", "import", "tmf620", source, "--bindings", bindings, "--publish")

    assert summary["published"] is True
    assert set(summary["systemsMissing"]) == {"inventory", "activation"}
    assert shop.command("catalogue", "list")["releases"][0]["id"] == "own-mobile@1"
    changed = shop.folder / "changed.yaml"
    changed.write_text(readme_file("shop.yaml").replace("Welcome call", "Another call"))
    assert shop.command("catalogue", "publish", str(changed), code=2)["code"] == "notPossibleNow"
    assert shop.command("catalogue", "publish", str(shop.folder / "shop.yaml"))["published"] is False
    exported = shop.folder / "exported.yaml"
    assert shop.command("catalogue", "export", "own-mobile@1", "--output", str(exported))["file"] == str(exported)
    assert shop.command("catalogue", "publish", str(exported))["published"] is False
    assert shop.command("catalogue", "publish", str(exported), "--version", "2")["id"] == "own-mobile@2"
    first, second = (shop.command("catalogue", "export", f"own-mobile@{version}") for version in (1, 2))
    assert {**second, "version": "1"} == first
    assert yaml.safe_load(exported.read_text()) == first
    imported = shop.command("inventory", "import", str(MOBILE / "own-mobile-inventory.json"))
    assert imported == {"imported": 3, "accounts": 1}
    assert shop.command("inventory", "list", "--account", "231-mf4")["total"] == 3


def test_an_installed_base_is_loaded_line_by_line_and_compared(shop):
    """After the test above: the products are those of a catalogue that is published."""
    [listed] = shop.client.list_products(account="231-mf4", limit=1).items
    specification = listed["productSpecification"]

    def product(number: int, parent: int | None, imsi: str) -> dict[str, Any]:
        made: dict[str, Any] = {
            "id": f"base-{number}",
            "billingAccount": {"id": f"base-acc-{number // 3}"},
            "productSpecification": {"id": specification["id"]},
            "productCharacteristic": [{"name": "IMSI", "value": imsi}],
        }
        if parent is not None:
            made["productRelationship"] = [{"relationshipType": "isChild", "product": {"id": f"base-{parent}"}}]
        return made

    # Children first.
    products = [product(at, None if at % 3 == 2 else at - at % 3 + 2, str(at)) for at in range(300)]
    lines = shop.folder / "base.ndjson"
    lines.write_text("".join(json.dumps(each) + "\n" for each in products))
    first = shop.command("inventory", "import", str(lines))
    again = shop.command("inventory", "import", str(lines))
    assert first == {"products": 300, "results": {"imported": 300}, "refused": []}
    assert again == {"products": 300, "results": {"unchanged": 300}, "refused": []}

    foreign = [*products[2:], product(1, None, "other"), product(999, None, "x")]
    lines.write_text("".join(json.dumps(each) + "\n" for each in foreign))
    out = shop.folder / "differences.ndjson"
    compared = shop.command("inventory", "reconcile", str(lines), "--output", str(out), code=1)
    told = [json.loads(each) for each in out.read_text().splitlines()]
    extra = compared["results"].pop("extra")
    assert compared["results"] == {"same": 298, "missing": 1, "different": 1}
    # Whatever the tests before have installed is ours alone, too.
    assert extra == len([each for each in told if each["result"] == "extra"]) >= 4
    assert compared["fields"] == {"relations": 1, "attributes.IMSI": 1}
    assert {each["id"] for each in told if each["result"] == "extra"} >= {"base-0", "6788"}


def test_the_client_tells_a_refusal_apart(shop):
    with pytest.raises(ApiError) as refused:
        shop.client.order("o1-00000000000-0000000000")

    assert (refused.value.status, refused.value.code) == (404, "notFound")
