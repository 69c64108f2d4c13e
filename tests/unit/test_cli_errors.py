"""How commands end: exit codes, one line for people, one object for programs; and what needs no server."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from domain.errors import BadRelease, OrderplanError
from orderplan.cli import up
from orderplan.cli.common import UserError, describe, moment, seconds
from orderplan.cli.main import app
from orderplan.cli.order import change_of
from orderplan.client import ApiError, WaitedTooLong

EXAMPLES = Path(__file__).parents[2] / "examples"
NOBODY = "http://127.0.0.1:1"
SHOP: dict[str, Any] = {
    "code": "shop",
    "version": "1",
    "products": [{"code": "A"}],
    "plans": [{"code": "P", "items": [{"code": "i", "type": "callout", "system": "s"}]}],
    "scenarios": [{"plan": "P", "product": "A", "actions": ["add"]}],
    "systems": [{"code": "s"}],
}


def run(*arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command."""
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(SHOP))
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("order", "show", "o1-00000000000-0000000000"),
        ("order", "list"),
        ("task", "list"),
        ("queue", "list"),
        ("worker", "list"),
        ("system", "list"),
        ("inventory", "list"),
        ("catalogue", "list"),
    ],
)
def test_a_server_that_is_not_there_is_one_line_and_code_2(arguments):
    code, out, err = run(*arguments, "--url", NOBODY)

    assert (code, out) == (2, "")
    assert err.startswith(f"orderplan: no orderplan answers at {NOBODY}")
    assert "orderplan up" in err
    assert err.count("\n") == 1


def test_a_failure_is_a_json_object_too():
    code, out, _ = run("order", "show", "x", "--url", NOBODY, "--json")

    assert code == 2
    assert json.loads(out.splitlines()[-1])["error"]["code"] == "unreachable"


def test_the_server_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ORDERPLAN_URL", "http://127.0.0.1:2")
    _, _, err = run("order", "list")

    assert "http://127.0.0.1:2" in err


@pytest.mark.parametrize("command", [("validate",), ("publish", "--url", NOBODY)])
def test_a_release_with_problems_lists_them_all_and_asks_no_server(shop, command):
    broken = {**SHOP, "systems": [], "scenarios": [{"plan": "Q", "product": "A", "actions": ["add"]}]}
    shop.write_text(yaml.safe_dump(broken))
    code, out, err = run("catalogue", command[0], str(shop), *command[1:])

    assert (code, out) == (2, "")
    assert "system 's' is not in the release" in err
    assert "plan 'Q' is not in the release" in err
    assert err.splitlines()[-1].startswith(f"orderplan: {shop} cannot be published: ")


def test_a_release_that_is_valid_is_counted(shop):
    code, out, _ = run("catalogue", "validate", str(shop), "--json")

    assert code == 0
    assert json.loads(out) == {
        "valid": True,
        "id": "shop@1",
        "products": 1,
        "plans": 1,
        "items": 1,
        "dependencies": 0,
        "scenarios": 1,
        "findings": [
            "a cancelled order leaves what these items have done outside: P/i; give each a rollbackPlan, or say "
            "leavesNothing: true"
        ],
    }


def test_a_release_may_come_from_standard_input():
    code, out, _ = run("catalogue", "validate", "-", stdin=json.dumps(SHOP))

    assert code == 0
    assert "release shop@1 is valid" in out


def test_an_imported_catalogue_is_a_file_that_validates(tmp_path):
    target = tmp_path / "mobile.yaml"
    source, bindings = (EXAMPLES / "own-mobile" / name for name in ("own-mobile-catalogue.json", "bindings.yaml"))
    code, out, _ = run(
        *("catalogue", "import", "tmf620", str(source), "--bindings", str(bindings), "--version", "7"),
        *("--out", str(target), "--json"),
    )
    summary = json.loads(out.splitlines()[-1])

    assert code == 0
    assert (summary["id"], summary["products"], summary["file"]) == ("own-mobile@7", 14, str(target))
    assert run("catalogue", "validate", str(target))[0] == 0


def test_the_schema_is_one_json_object():
    code, out, _ = run("catalogue", "schema", "--json")

    assert code == 0
    assert "products" in json.loads(out.splitlines()[-1])["properties"]


def test_an_address_of_a_system_belongs_to_the_http_adapter():
    code, _, err = run("system", "set", "billing", "--adapter", "simulated", "--url", "http://x", "--server", NOBODY)

    assert code == 2
    assert "--server" in err


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ApiError(404, "notFound", "no", "a", "look", {"x": 1}), ("notFound", "no", "a", "look")),
        (BadRelease("no", path="a", mend="look"), ("badRelease", "no", "a", "look")),
        (UserError("no", path="a", mend="look"), ("badInput", "no", "a", "look")),
        (OrderplanError("no"), ("internal", "no", None, None)),
        (ApiError(500, "internal", "no"), ("internal", "no", None, None)),
    ],
)
def test_every_refusal_is_described_alike(error, shown):
    found = describe(error)

    assert (found["code"], found["reason"], found.get("path"), found.get("mend")) == shown


def test_waiting_too_long_says_where_the_order_stands():
    assert describe(WaitedTooLong("o1", "held", 5))["state"] == "held"


def test_a_package_that_poses_as_ours_is_refused(tmp_path, monkeypatch):
    (tmp_path / "domain.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "domain")
    with pytest.raises(UserError, match="'domain' is not orderplan's"):
        up.check_own_packages()


def test_our_own_packages_pass():
    up.check_own_packages()


@pytest.mark.parametrize(("user", "place"), [(0, "/var/lib/orderplan"), (1000, "/home/ann/.local/share/orderplan")])
def test_data_lives_where_the_user_may_write(monkeypatch, user, place):
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setenv("HOME", "/home/ann")

    assert str(up.default_data()) == place


def fact(kind: str, item: str | None = None, **payload: Any) -> dict[str, Any]:
    return {"at": "2026-11-23T18:25:47.283999+00:00", "kind": kind, "item": item, "payload": payload}


@pytest.mark.parametrize(
    ("happened", "line"),
    [
        (fact("item.started", "p/i@1", attempt=1), "18:25:47  Do it  [cyan]Running[/]"),
        (fact("item.started", "p/i@1", attempt=2), "18:25:47  Do it  [cyan]Running[/]  attempt 2"),
        (fact("item.completed", "p/i@1"), "18:25:47  Do it  [green]Completed[/]"),
        (fact("item.completed", "p/j@1"), "18:25:47  p/j@1  [green]Completed[/]"),
        (
            fact("item.fatallyFailed", "p/i@1", error="no [way]"),
            "18:25:47  Do it  [red]Fatally Failed[/]  no \\[way]; needs a person",
        ),
        (fact("item.claimed", "p/i@1", worker="ann"), "18:25:47  Do it  [cyan]Running[/]  by ann"),
        (fact("item.annotated", "p/i@1", text="nobody [in]"), "18:25:47  Do it  note: nobody \\[in]"),
        (fact("order.accepted"), "18:25:47  order accepted"),
        (fact("order.waiting", behind=["o1"]), "18:25:47  waits for order o1"),
        (fact("order.ended", state="completed"), "18:25:47  order [green]completed[/]"),
        (fact("assets.changed", lines=[]), None),
        (fact("item.noted", "p/i@1"), None),
    ],
)
def test_a_fact_is_a_line_of_watch(happened, line):
    assert change_of(happened, {"p/i@1": "Do it"}) == line


def test_times_are_shown_in_utc_to_the_millisecond():
    assert moment("2026-11-23T18:25:47.283999+00:00") == "2026-11-23 18:25:47.283"
    assert moment("2026-11-23T18:25:47+00:00") == "2026-11-23 18:25:47"
    assert moment(None) == ""
    assert seconds("2026-11-23T18:25:47+00:00", "2026-11-23T18:25:48.500000+00:00") == 1.5
    assert seconds("2026-11-23T18:25:47+00:00", None) is None
