"""What differs between two releases: found by name, down to the member, and what it means for items."""

from __future__ import annotations

import copy
import random
import re
from pathlib import Path
from typing import Any

import pytest

from domain.catalogue import Item, Release
from domain.release_diff import ABSENT, TOUCHES, ReleaseDiff, Touch, diff_releases
from tests.support.build import callout, depends, manual, plan_of, release_document, rule, scenario

BEFORE = release_document(
    products=[
        {"code": "line", "attributes": [{"name": "speed"}, {"name": "colour"}]},
        {"code": "router"},
    ],
    decompositions=[rule("line", "router", {"to": "model", "copy": "speed"}, {"to": "kind", "static": "R"})],
    plans=[
        plan_of(
            "deliver",
            callout("first", request={"speed": "attributes.speed"}, retry="slow"),
            callout("last"),
            manual("visit", form=[{"name": "note"}, {"name": "number", "type": "integer"}]),
        ),
        plan_of("swap", callout("swap")),
    ],
    dependencies=[depends("deliver/last", "deliver/first"), depends("deliver/visit", "deliver/last")],
    scenarios=[scenario("line", "deliver"), scenario("line", "swap", "modify")],
    retries=[{"code": "slow", "delaysS": [60]}],
)


def changed(**parts: Any) -> dict[str, Any]:
    return copy.deepcopy(BEFORE) | {"version": "2"} | parts


def diff(after: dict[str, Any], before: dict[str, Any] = BEFORE) -> ReleaseDiff:
    return diff_releases(Release.model_validate(before), Release.model_validate(after))


def shown(found: ReleaseDiff) -> list[Any]:
    return [
        (each.change, each.kind, each.name, *((field.path, field.before, field.after) for field in each.fields))
        for each in found.changes
    ]


def meant(found: ReleaseDiff) -> list[tuple[str, str, str]]:
    return [(each.touch.value, each.item, ", ".join(each.why)) for each in found.effects]


def test_a_release_does_not_differ_from_itself_in_another_order_of_its_parts() -> None:
    after = changed()
    draw = random.Random(7)
    for part in ("products", "plans", "dependencies", "scenarios", "systems"):
        draw.shuffle(after[part])
    for plan in after["plans"]:
        draw.shuffle(plan["items"])

    found = diff(after)

    assert (found.before, found.after) == ("test@1", "test@2")
    assert (found.changes, found.effects, found.lines) == ((), (), ())


def test_every_member_of_an_item_that_differs_is_named_with_both_values() -> None:
    after = changed()
    first, _, visit = after["plans"][0]["items"]
    first |= {"request": {"speed": "attributes.speed + 1", "id": "line.id"}, "timeoutS": 60, "system": "network"}
    visit["form"] = [{"name": "number", "type": "integer", "required": True}]

    found = diff(after)

    assert shown(found) == [
        (
            "changed",
            "item",
            "deliver/first",
            ("system", "sys", "network"),
            ("request.speed", "attributes.speed", "attributes.speed + 1"),
            ("request.id", ABSENT, "line.id"),
            ("timeoutS", 30.0, 60.0),
        ),
        (
            "changed",
            "item",
            "deliver/visit",
            ("form[note]", {"name": "note", "type": "string", "required": False}, ABSENT),
            ("form[number].required", False, True),
        ),
    ]
    [_, _, added, _] = found.changes[0].to_dict()["fields"]
    [removed, _] = found.changes[1].to_dict()["fields"]
    assert added == {"path": "request.id", "to": "line.id"}
    assert removed == {"path": "form[note]", "from": {"name": "note", "type": "string", "required": False}}
    assert meant(found) == [
        ("work", "deliver/first", "system, request.speed, request.id"),
        ("work", "deliver/visit", "form[note], form[number].required"),
        ("result", "deliver/first", "timeoutS"),
    ]


def test_what_comes_and_goes_is_shown_without_what_is_default() -> None:
    after = changed(queues=[{"code": "desk"}, {"code": "field"}])
    after["products"].pop()
    after["products"].append({"code": "modem", "kind": "both", "attributes": [{"name": "size"}]})
    after["decompositions"] = []

    found = diff(after)

    assert [(each.change, each.kind, each.name, each.value) for each in found.changes] == [
        ("added", "product", "modem", {"code": "modem", "kind": "both"}),
        ("removed", "product", "router", {"code": "router"}),
        ("added", "attribute", "modem/size", {"name": "size"}),
        (
            "removed",
            "decomposition",
            "line>router",
            {
                "name": "line>router",
                "source": "line",
                "target": "router",
                "map": [{"to": "model", "copy": "speed"}, {"to": "kind", "static": "R"}],
            },
        ),
        ("added", "queue", "field", {"code": "field"}),
    ]
    assert found.lines == ("modem", "router")
    assert found.effects == ()
    assert {name: found.to_dict()[name] for name in ("added", "removed", "changed")} == {
        "added": 3, "removed": 2, "changed": 0,
    }  # fmt: skip


def test_mappings_and_attributes_are_found_again_by_their_names() -> None:
    after = changed()
    after["products"][0]["attributes"] = [{"name": "colour", "significant": False}, {"name": "speed"}]
    after["decompositions"][0]["map"] = [{"to": "kind", "static": "S"}, {"to": "model", "copy": "speed"}]

    assert shown(diff(after)) == [
        ("changed", "attribute", "line/colour", ("significant", True, False)),
        ("changed", "decomposition", "line>router", ("map[kind].static", "R", "S")),
    ]
    assert diff(after).lines == ("line", "router")


def test_whoever_waits_otherwise_is_touched_before_it_begins() -> None:
    after = changed()
    after["dependencies"] = [
        depends("deliver/last", "deliver/first", "order"),
        depends("deliver/visit", "deliver/last", type="processedBefore"),
        depends("swap/swap", "deliver/first"),
    ]

    found = diff(after)

    assert [(each.change, each.name) for each in found.changes] == [
        ("changed", "deliver/last on deliver/first"),
        ("changed", "deliver/visit on deliver/last"),
        ("added", "swap/swap on deliver/first"),
    ]
    assert meant(found) == [
        # One turned round: visit waits no more, last waits now.
        ("start", "deliver/last", "dependency on deliver/first changed, dependency on deliver/visit changed"),
        ("start", "deliver/visit", "dependency on deliver/last changed"),
        ("start", "swap/swap", "dependency on deliver/first added"),
    ]


def test_a_plan_s_scope_and_a_retry_policy_touch_the_items_that_use_them() -> None:
    after = changed(retries=[{"code": "slow", "delaysS": [90]}])
    after["plans"][0] |= {"scope": "order"}
    after["plans"][0]["items"][2]["scope"] = "item"

    found = diff(after)

    assert meant(found) == [
        ("work", "deliver/first", "scope of plan deliver"),
        ("work", "deliver/last", "scope of plan deliver"),
        # Same as it was by its plan, but now by itself: what a reader sees is a change of the item.
        ("work", "deliver/visit", "scope"),
        ("result", "deliver/first", "retry policy slow"),
    ]


def test_items_come_and_go_with_their_plans_and_their_scenarios() -> None:
    after = changed()
    after["plans"][0]["items"].append(callout("more"))
    after["plans"].pop()
    after["scenarios"] = [scenario("line", "deliver", "add", "modify")]
    after["dependencies"].append(depends("deliver/more", "deliver/last"))

    found = diff(after)

    assert [(each.change, each.kind, each.name) for each in found.changes] == [
        ("changed", "scenario", "line -> deliver"),
        ("removed", "scenario", "line -> swap"),
        ("removed", "plan", "swap"),
        ("added", "item", "deliver/more"),
        ("removed", "item", "swap/swap"),
        ("added", "dependency", "deliver/more on deliver/last"),
    ]
    # An item that is new does not wait otherwise than before.
    assert meant(found) == [
        ("presence", "deliver/first", "scenario line -> deliver changed"),
        ("presence", "deliver/last", "scenario line -> deliver changed"),
        ("presence", "deliver/more", "added"),
        ("presence", "deliver/visit", "scenario line -> deliver changed"),
        ("presence", "swap/swap", "removed"),
    ]


def test_of_several_scenarios_for_one_line_those_that_are_equal_go_together() -> None:
    one, two, three = (scenario("line", "deliver", "add", when=f"attributes.speed == {n}") for n in (1, 2, 3))

    found = diff(changed(scenarios=[three, one]), changed(scenarios=[one, two]))

    assert shown(found) == [
        ("changed", "scenario", "line -> deliver", ("when", "attributes.speed == 2", "attributes.speed == 3"))
    ]


def test_a_name_alone_is_shown_and_touches_no_work() -> None:
    after = changed()
    after["plans"][0]["items"][1]["name"] = "The last one"
    after["products"][0]["name"] = "The line"

    found = diff(after)

    assert meant(found) == [("shown", "deliver/last", "name")]
    assert found.lines == ()


def test_a_form_schema_may_have_properties_of_any_name() -> None:
    before, after = changed(), changed()
    for document, names in ((before, ["map"]), (after, ["map", "skills"])):
        visit = document["plans"][0]["items"][2]
        del visit["form"]
        visit["formSchema"] = {"type": "object", "required": names, "examples": {"form": [1], "skills": names}}

    assert shown(diff(after, before)) == [
        (
            "changed",
            "item",
            "deliver/visit",
            ("formSchema.required", ["map"], ["map", "skills"]),
            ("formSchema.examples.skills", ["map"], ["map", "skills"]),
        )
    ]


def test_every_member_of_an_item_says_what_it_touches() -> None:
    members = {field.alias or name for name, field in Item.model_fields.items()} - {"code"}

    assert members == set(TOUCHES)


def test_the_catalogue_page_says_what_each_member_touches() -> None:
    page = (Path(__file__).parents[2] / "docs" / "CATALOGUE.md").read_text()
    table = page.partition("| touch |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", table, re.MULTILINE)

    assert [touch for touch, _ in rows] == list(Touch)
    assert {member: touch for touch, cell in rows for member in re.findall(r"`(\w+)`", cell)} == TOUCHES


def test_settings_of_the_release_itself_are_compared() -> None:
    assert shown(diff(changed(openOrder="refuse"))) == [
        ("changed", "release", "release", ("openOrder", "wait", "refuse"))
    ]


def mirrored(found: ReleaseDiff) -> set[Any]:
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    return {(turned[each.change], each.kind, each.name) for each in found.changes}


@pytest.mark.parametrize("seed", range(50))
def test_the_way_back_undoes_the_way_there(seed: int) -> None:
    draw = random.Random(seed)
    after = changed()
    for part in ("products", "decompositions", "plans", "dependencies", "scenarios", "systems"):
        if after[part] and draw.random() < 0.5:
            after[part].pop(draw.randrange(len(after[part])))
    for plan in after["plans"]:
        for each in plan["items"]:
            if draw.random() < 0.5:
                each[draw.choice(["name", "operation", "condition"])] = "true"

    there, back = diff(after), diff(BEFORE, after)

    assert mirrored(there) == {(each.change, each.kind, each.name) for each in back.changes}
    assert [each[:2] for each in meant(there)] == [each[:2] for each in meant(back)]
