"""Releases on the command line: a diff that reads well, and what a command says has become of a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from domain.catalogue import Release
from domain.release_diff import KINDS, Touch, diff_releases
from orderplan.cli.main import app
from orderplan.cli.release import HEADINGS, TOUCHES, _change, _steered, rendered
from tests.support.build import callout, depends, manual, plan_of, release_document, rule, scenario

STAYS = "an order stays on its release unless it is moved."
NOBODY = "http://127.0.0.1:1"


def seen(found: dict[str, Any]) -> list[str]:
    screen = Console(width=200, no_color=True)
    with screen.capture() as capture:
        for part in rendered(found):
            screen.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


BEFORE = release_document(
    code="shop",
    products=["line", "router"],
    decompositions=[rule("line", "router", when='attributes.kind == "[b]"')],
    plans=[plan_of("deliver", callout("first", request={"speed": "attributes.speed"}), callout("last"))],
    scenarios=[scenario("line", "deliver")],
)
AFTER = BEFORE | {
    "version": "2",
    "decompositions": [rule("line", "router", when='attributes.kind in ["[b]", "' + "x" * 60 + '"]')],
    "plans": [
        plan_of(
            "deliver",
            callout("first", request={"speed": "attributes.speed", "id": "line.id"}, timeoutS=60.0),
            callout("last"),
            manual("visit", form=[{"name": "note"}], skipBranch=True),
        )
    ],
    "dependencies": [depends("deliver/last", "deliver/visit")],
    "queues": [{"code": "desk"}],
    "scenarios": [],
}


def diff(before: dict[str, Any], after: dict[str, Any], **members: Any) -> dict[str, Any]:
    return diff_releases(Release.model_validate(before), Release.model_validate(after)).to_dict() | members


def test_a_diff_is_read_from_top_to_bottom() -> None:
    assert seen(diff(BEFORE, AFTER, openOrders=12)) == [
        "shop@1 -> shop@2: 3 added, 1 removed, 2 changed",
        "",
        "decomposition rules",
        "  ~ line>router",
        "      when:",
        '        - attributes.kind == "[b]"',
        '        + attributes.kind in ["[b]", "' + "x" * 60 + '"]',
        "",
        "scenarios",
        "  - line -> deliver  actions add",
        "",
        "items",
        "  ~ deliver/first",
        '      request.id: absent -> "line.id"',
        "      timeoutS: 30 -> 60",
        "  + deliver/visit  type manualTask; skipBranch; queue desk; form (1)",
        "",
        "dependencies",
        "  + deliver/last on deliver/visit",
        "",
        "queues",
        "  + desk",
        "",
        "what it means for running orders",
        f"  12 open orders on shop@1; {STAYS} On shop@2 these items would differ:",
        "",
        "  there, or not there",
        "    deliver/first, deliver/last: scenario line -> deliver removed",
        "    deliver/visit: added",
        "",
        "  other work: what is done already was done in the old way",
        "    deliver/first: request.id",
        "",
        "  other treatment of failures and results, other people: until they have ended",
        "    deliver/first: timeoutS",
        "",
        "  other conditions to begin: until they have begun",
        "    deliver/last: dependency on deliver/visit added",
        "",
        "  lines that could come out otherwise: router",
    ]


def test_the_diff_on_the_catalogue_page_is_what_the_command_prints() -> None:
    before = BEFORE | {"dependencies": [depends("deliver/last", "deliver/first")]}
    first, last, visit = AFTER["plans"][0]["items"]
    plain = {name: value for name, value in visit.items() if name != "skipBranch"}
    after = AFTER | {
        "decompositions": BEFORE["decompositions"],
        "scenarios": BEFORE["scenarios"],
        "plans": [plan_of("deliver", first, last, plain)],
        "dependencies": [depends("deliver/last", "deliver/first", "order")],
        "queues": BEFORE["queues"],
    }

    page = (Path(__file__).parents[2] / "docs" / "CATALOGUE.md").read_text()

    assert "\n".join(f"    {line}".rstrip() for line in seen(diff(before, after, openOrders=12))) in page


def test_releases_that_say_the_same_are_one_line() -> None:
    assert seen(diff(BEFORE, BEFORE | {"version": "9"})) == ["shop@1 and shop@9 say the same"]


def test_a_diff_that_touches_no_item_says_so() -> None:
    shown = seen(diff(BEFORE, BEFORE | {"version": "2", "openOrder": "refuse"}, openOrders=1))

    assert shown[-1] == f"  1 open order on shop@1; {STAYS} On shop@2 no item would differ."


def test_every_kind_and_every_touch_has_its_words() -> None:
    assert set(HEADINGS) == set(KINDS)
    assert list(TOUCHES) == [touch.value for touch in Touch]


def test_two_files_are_compared_without_a_server(tmp_path: Path) -> None:
    for name, document in (("a.yaml", BEFORE), ("b.yaml", AFTER)):
        (tmp_path / name).write_text(yaml.safe_dump(document))
    arguments = ["release", "diff", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), "--url", NOBODY]

    result = CliRunner().invoke(app, arguments)
    as_json = CliRunner().invoke(app, [*arguments, "--json"])

    assert result.stdout.startswith("shop@1 -> shop@2: 3 added, 1 removed, 2 changed\n")
    assert yaml.safe_load(as_json.stdout) == diff(BEFORE, AFTER)


@pytest.mark.parametrize("command", [("retire", "shop@1"), ("unretire", "shop@1")])
def test_the_line_is_changed_for_a_reason(command: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["release", *command, "--url", NOBODY])

    assert result.exit_code == 2
    assert "--reason" in result.stderr


def test_a_command_says_what_has_become_of_the_release_and_what_new_orders_take() -> None:
    answer = {"id": "shop@2", "changed": True, "current": "shop@1"}

    assert _steered(answer, "is retired", "was before") == "release shop@2 is retired; new orders take shop@1"
    answer |= {"changed": False, "current": None}
    assert _steered(answer, "is retired", "was before") == "release shop@2 was before; new orders take none"


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, ""),
        ({"reason": "old"}, "old"),
        ({"reason": "wrong", "replacement": "shop@1"}, "wrong; replaced by shop@1"),
        ({"reason": "wrong", "replaces": "shop@2"}, "wrong; in place of shop@2"),
        ({"effectiveFrom": "2030-01-31T12:00:00+00:00"}, "from 2030-01-31T12:00:00+00:00"),
    ],
)
def test_a_change_is_a_reason_and_what_hangs_on_it(change: dict[str, Any], shown: str) -> None:
    assert _change(change) == shown
