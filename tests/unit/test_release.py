"""Publishing a release: what is refused by name, what is found odd, and what scenarios a product ends up with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from domain.catalogue import Release
from domain.errors import BadRelease
from domain.publish import compile_release
from domain.release import RetryPolicy
from tests.support.build import (
    assetize,
    callout,
    chain_of,
    depends,
    manual,
    milestone,
    plan_of,
    release_document,
    release_of,
    rule,
    scenario,
)

Document = dict[str, Any]


def sound() -> Document:
    """A release without fault that has one of everything."""
    return release_document(
        products=[{"code": "offer", "kind": "commercial", "class": "fixed"}, {"code": "access", "class": "line"}],
        classes=[{"code": "fixed"}, {"code": "line", "parent": "fixed"}],
        decompositions=[rule("offer", "access", {"to": "speed", "copy": "speed"})],
        plans=[
            plan_of("deliver", callout("call", retry="often", rollbackPlan="undo"), manual("visit"), assetize()),
            plan_of("undo", "back"),
        ],
        dependencies=[depends("deliver/visit", "deliver/call")],
        scenarios=[scenario("access", "deliver")],
        retries=[{"code": "often"}],
    )


def problems(document: Document) -> list[str]:
    with pytest.raises(BadRelease) as refused:
        compile_release(Release.model_validate(document))
    found: list[str] = refused.value.facts["problems"]
    return found


def test_a_sound_release_is_published_without_a_finding() -> None:
    release = compile_release(Release.model_validate(sound()))

    assert release.release_id == "test@1"
    assert release.findings == []


def test_an_empty_release_is_published() -> None:
    release = release_of()

    assert (release.products, release.items, release.findings) == ({}, [], [])


REFUSALS: list[tuple[str, Callable[[Document], object], str]] = [
    (
        "system of a callout",
        lambda doc: doc["plans"][0]["items"][0].update(system="nowhere"),
        "item deliver/call: system 'nowhere' is not in the release",
    ),
    (
        "callout without a system",
        lambda doc: doc["plans"][0]["items"][0].pop("system"),
        "item deliver/call: system None is not in the release",
    ),
    (
        "queue of a manual task",
        lambda doc: doc["plans"][0]["items"][1].update(queue="nowhere"),
        "item deliver/visit: queue 'nowhere' is not in the release",
    ),
    (
        "auto task",
        lambda doc: doc["plans"][0]["items"][2].update(task=None),
        "item deliver/assetize: an auto task needs task: assetize, backPropagate, noop, or a function of one's own",
    ),
    (
        "retry policy",
        lambda doc: doc["plans"][0]["items"][0].update(retry="never"),
        "item deliver/call: retry policy 'never' is not in the release",
    ),
    (
        "source of a rule",
        lambda doc: doc["decompositions"][0].update(source="nothing"),
        "decomposition offer>access: product 'nothing' is not in the release",
    ),
    (
        "target of a rule",
        lambda doc: doc["decompositions"][0].update(target="nothing"),
        "decomposition offer>access: product 'nothing' is not in the release",
    ),
    (
        "plan of a scenario",
        lambda doc: doc["scenarios"][0].update(plan="nothing"),
        "scenario 1 (access -> nothing): plan 'nothing' is not in the release",
    ),
    (
        "product of a scenario",
        lambda doc: doc["scenarios"][0].update(product="nothing"),
        "scenario 1 (nothing -> deliver): product 'nothing' is not in the release",
    ),
    (
        "class of a scenario",
        lambda doc: doc["scenarios"].append({"class": "nothing", "plan": "deliver", "actions": ["add"]}),
        "scenario 2 (nothing -> deliver): class 'nothing' is not in the release",
    ),
    (
        "scenario with product and class",
        lambda doc: doc["scenarios"][0].update({"class": "line"}),
        "scenario 1 (access -> deliver): give either product or class",
    ),
    (
        "scenario with neither",
        lambda doc: doc["scenarios"][0].pop("product"),
        "scenario 1 (None -> deliver): give either product or class",
    ),
    (
        "class of a product",
        lambda doc: doc["products"][0].update({"class": "nothing"}),
        "product offer: class 'nothing' is not in the release",
    ),
    (
        "parent of a class",
        lambda doc: doc["classes"][1].update(parent="nothing"),
        "class line: parent 'nothing' is not in the release",
    ),
    (
        "item of a dependency",
        lambda doc: doc["dependencies"].append(depends("deliver/nothing", "deliver/call")),
        "dependency deliver/nothing on deliver/call: item deliver/nothing is not in the release",
    ),
    (
        "other item of a dependency",
        lambda doc: doc["dependencies"].append(depends("deliver/call", "nothing/call")),
        "dependency deliver/call on nothing/call: item nothing/call is not in the release",
    ),
    (
        "item that depends on itself",
        lambda doc: doc["dependencies"].append(depends("deliver/call", "deliver/call")),
        "item deliver/call depends on itself",
    ),
    (
        "items in a circle",
        lambda doc: doc["dependencies"].append(depends("deliver/call", "deliver/visit")),
        "items wait for one another in a circle: deliver/call -> deliver/visit -> deliver/call",
    ),
    (
        "items in a circle by processedBefore",
        lambda doc: doc["dependencies"].append(depends("deliver/visit", "deliver/call", type="processedBefore")),
        "items wait for one another in a circle: deliver/call -> deliver/visit -> deliver/call",
    ),
    (
        "dependency by key between items without a key",
        lambda doc: doc["dependencies"][0].update(scope="key"),
        "dependency deliver/visit on deliver/call: scope key needs an item with a scopeKey at one end",
    ),
    (
        "product that decomposes into itself",
        lambda doc: doc["decompositions"][0].update(target="offer"),
        "decomposition offer>access: 'offer' decomposes into itself",
    ),
    (
        "decomposition in a circle",
        lambda doc: doc["decompositions"].append(rule("access", "offer")),
        "decomposition goes in a circle: offer -> access -> offer",
    ),
    (
        "classes in a circle",
        lambda doc: doc["classes"][0].update(parent="line"),
        "classes go in a circle: fixed -> line -> fixed",
    ),
    (
        "condition of a rule",
        lambda doc: doc["decompositions"][0].update(when="attributes.a >"),
        "decomposition offer>access: ",
    ),
    (
        "condition of a scenario",
        lambda doc: doc["scenarios"][0].update(when="nonsense == 1"),
        "scenario 1 (access -> deliver): ",
    ),
    (
        "condition of an item",
        lambda doc: doc["plans"][0]["items"][0].update(condition="answer.ok"),
        "item deliver/call condition: ",
    ),
    (
        "date of an item",
        lambda doc: doc["plans"][0]["items"][0].update(processAfter="order.("),
        "item deliver/call processAfter: ",
    ),
    (
        "request of an item",
        lambda doc: doc["plans"][0]["items"][0].update(request={"speed": "answer.speed"}),
        "item deliver/call request speed: ",
    ),
    (
        "response of an item",
        lambda doc: doc["plans"][0]["items"][0].update(response={"speed": "reply.speed"}),
        "item deliver/call response speed: ",
    ),
    (
        "empty request field",
        lambda doc: doc["plans"][0]["items"][0].update(request={"speed": " "}),
        "item deliver/call request speed: the expression is empty",
    ),
    (
        "condition for a dedicated actor",
        lambda doc: doc.update(dedicated="attributes.size > 3"),
        "dedicated: ",
    ),
    (
        "expression of a mapping",
        lambda doc: doc["decompositions"][0].update(map=[{"to": "speed", "expression": "attributes."}]),
        "decomposition offer>access, mapping to speed: ",
    ),
    (
        "empty expression of a mapping",
        lambda doc: doc["decompositions"][0].update(map=[{"to": "speed", "expression": ""}]),
        "decomposition offer>access, mapping to speed: the expression is empty",
    ),
    (
        "mapping without a kind",
        lambda doc: doc["decompositions"][0].update(map=[{"to": "speed"}]),
        "decomposition offer>access, mapping to speed: give exactly one of copy, static, list, expression, function",
    ),
    (
        "mapping of two kinds",
        lambda doc: doc["decompositions"][0].update(map=[{"to": "speed", "copy": "a", "static": 1}]),
        "decomposition offer>access, mapping to speed: give exactly one of copy, static, list, expression, function",
    ),
    (
        "mapping that copies nothing",
        lambda doc: doc["decompositions"][0].update(map=[{"to": "speed", "copy": None}]),
        "decomposition offer>access, mapping to speed: copy names no attribute",
    ),
    (
        "mapping that looks up nothing",
        lambda doc: doc["decompositions"][0].update(map=[{"to": "speed", "list": "", "table": {"a": 1}}]),
        "decomposition offer>access, mapping to speed: list names no attribute",
    ),
    (
        "product twice",
        lambda doc: doc["products"].append({"code": "access", "externalId": "other"}),
        "product 'access' is defined twice",
    ),
    (
        "two products with one id",
        lambda doc: doc["products"].append({"code": "other", "externalId": "access"}),
        "products 'access' and 'other' have the same id 'access'",
    ),
    ("plan twice", lambda doc: doc["plans"].append(plan_of("deliver")), "plan 'deliver' is defined twice"),
    (
        "item twice in a plan",
        lambda doc: doc["plans"][0]["items"].append(milestone("call")),
        "item of plan deliver 'call' is defined twice",
    ),
    (
        "rule twice",
        lambda doc: doc["decompositions"].append(rule("offer", "access")),
        "decomposition 'offer>access' is defined twice",
    ),
    ("class twice", lambda doc: doc["classes"].append({"code": "line"}), "class 'line' is defined twice"),
    (
        "retry policy twice",
        lambda doc: doc["retries"].append({"code": "often"}),
        "retry policy 'often' is defined twice",
    ),
    ("system twice", lambda doc: doc["systems"].append({"code": "sys"}), "system 'sys' is defined twice"),
    ("queue twice", lambda doc: doc["queues"].append({"code": "desk"}), "queue 'desk' is defined twice"),
    (
        "attribute twice",
        lambda doc: doc["products"][0].update(attributes=[{"name": "speed"}, {"name": "speed"}]),
        "attribute of product offer 'speed' is defined twice",
    ),
    (
        "form field twice",
        lambda doc: doc["plans"][0]["items"][1].update(form=[{"name": "serial"}, {"name": "serial"}]),
        "form field of item deliver/visit 'serial' is defined twice",
    ),
    (
        "product shared by a key that it does not name",
        lambda doc: doc["products"][1].update(scope="key"),
        "product access: scope key needs scopeKey",
    ),
    (
        "item shared by a key that it does not name",
        lambda doc: doc["plans"][0]["items"][0].update(scope="key"),
        "item deliver/call: scope key needs scopeKey, the attribute that names the instance",
    ),
]


@pytest.mark.parametrize(("mend", "problem"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_what_could_never_run_is_refused_by_name(mend: Callable[[Document], object], problem: str) -> None:
    document = sound()
    mend(document)

    assert [each for each in problems(document) if each == problem or (problem.endswith(": ") and problem in each)]


def test_every_reason_is_given_at_once() -> None:
    document = sound()
    document["plans"][0]["items"][0]["system"] = "nowhere"
    document["scenarios"][0]["plan"] = "nothing"

    assert problems(document) == [
        "item deliver/call: system 'nowhere' is not in the release",
        "scenario 1 (access -> nothing): plan 'nothing' is not in the release",
    ]


@pytest.mark.parametrize("delays", [[-1], [float("nan")], [float("inf")]])
def test_a_retry_delay_is_a_time_to_wait(delays: list[float]) -> None:
    document = sound() | {"retries": [{"code": "often", "delaysS": delays}]}

    with pytest.raises(ValidationError, match="delaysS"):
        Release.model_validate(document)


@pytest.mark.parametrize("code", ["a@b", "a~b", "a\nb", ""])
def test_a_code_may_not_hold_what_joins_keys(code: str) -> None:
    with pytest.raises(ValidationError):
        Release.model_validate(release_document(products=[code]))


FINDINGS: list[tuple[str, Callable[[Document], object], str]] = [
    (
        "dependency twice",
        lambda doc: doc["dependencies"].append(depends("deliver/visit", "deliver/call", "order")),
        "dependency of deliver/visit on deliver/call is given twice; the first counts",
    ),
    (
        "significant attribute that is not kept",
        lambda doc: doc["products"][1].update(attributes=[{"name": "a", "assetizable": False, "significant": True}]),
        "product access: attribute a is not kept, so it cannot be compared; it drives no modify",
    ),
    (
        "plan without a scenario",
        lambda doc: doc["plans"].append(plan_of("unused", "call")),
        "plan unused: no scenario composes it",
    ),
    (
        "explicit assets that nothing makes",
        lambda doc: (doc["products"][0].update(assetize="explicit"), doc["plans"][0]["items"].pop()),
        "product offer becomes an asset only through an assetize item, and no plan has one",
    ),
    (
        "rule from something that is no asset",
        lambda doc: doc["products"][0].update(asset=False),
        "decomposition offer>access: 'offer' is no asset, so a later order cannot find what it became",
    ),
    (
        "mapping to an attribute that is not kept",
        lambda doc: doc["products"][1].update(attributes=[{"name": "speed", "assetizable": False}]),
        "decomposition offer>access, mapping to speed: the attribute is not kept; fill it during orchestration",
    ),
]


@pytest.mark.parametrize(("change", "finding"), [case[1:] for case in FINDINGS], ids=[case[0] for case in FINDINGS])
def test_what_would_run_but_not_as_meant_is_a_finding(change: Callable[[Document], object], finding: str) -> None:
    document = sound()
    change(document)

    assert compile_release(Release.model_validate(document)).findings == [finding]


@pytest.mark.rule("C1.18")
def test_work_that_nothing_undoes_is_one_finding_for_all_of_it() -> None:
    document = sound()
    inner = [callout(code, leavesNothing=code == "ask") for code in ("ask", "b", "c", "d", "e", "f", "g")]
    document["plans"][0]["items"].append({"code": "more", "type": "subPlan", "subPlan": "inner"})
    document["plans"] += [plan_of("inner", *inner), plan_of("removal", callout("take"))]
    document["scenarios"].append(scenario("offer", "removal", "delete"))

    assert compile_release(Release.model_validate(document)).findings == [
        "a cancelled order leaves what these items have done outside: inner/b, inner/c, inner/d, inner/e, inner/f and "
        "1 more; give each a rollbackPlan, or say leavesNothing: true"
    ]


def test_an_attribute_that_is_not_kept_is_no_finding_unless_it_was_called_significant() -> None:
    document = sound()
    document["products"][1]["attributes"] = [{"name": "pin", "assetizable": False}]

    assert compile_release(Release.model_validate(document)).findings == []


def test_a_product_has_its_own_scenarios_and_those_of_every_class_above_it() -> None:
    release = release_of(
        products=[{"code": "fibre", "class": "access"}, {"code": "router", "class": "device"}, "plain"],
        classes=[
            {"code": "access", "parent": "line"},
            {"code": "line", "parent": "any"},
            {"code": "device"},
            {"code": "any"},
        ],
        plans=[plan_of(code, "call") for code in ("own", "of-access", "of-any", "of-device")],
        scenarios=[
            {"class": "any", "plan": "of-any", "actions": ["add", "delete"]},
            {"class": "device", "plan": "of-device", "actions": ["add"]},
            scenario("fibre", "own", "add", "modify"),
            {"class": "access", "plan": "of-access", "actions": ["add"]},
        ],
    )

    def plans(product: str, action: str) -> list[str]:
        return [each.plan for each in release.products[product].scenarios[action]]

    assert plans("fibre", "add") == ["of-any", "own", "of-access"]
    assert plans("fibre", "modify") == ["own"]
    assert plans("fibre", "delete") == ["of-any"]
    assert plans("router", "add") == ["of-device"]
    assert plans("plain", "add") == []


def test_sources_have_a_lower_rank_than_what_they_become() -> None:
    release = release_of(
        products=["d", "c", "b", "a"], decompositions=[rule("a", "b"), rule("b", "d"), rule("a", "d"), rule("b", "c")]
    )

    assert {code: product.rank for code, product in release.products.items()} == {"a": 0, "b": 1, "c": 2, "d": 2}


def test_a_chain_of_three_thousand_products_is_ranked() -> None:
    codes = [f"p{index}" for index in range(3000)]
    release = release_of(products=codes[::-1], decompositions=chain_of(codes))

    assert release.products["p2999"].rank == 2999


def test_channels_name_a_product_by_its_external_id_and_a_kind_has_ids_of_its_own() -> None:
    release = release_of(
        products=[{"code": "a", "kind": "commercial", "externalId": "7"}, {"code": "b", "externalId": "7"}]
    )

    assert release.by_offering == {"7": "a"}
    assert release.by_specification == {"7": "b"}


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RetryPolicy(3, (10.0, 60.0)), [10.0, 60.0, None]),
        (RetryPolicy(4, (5.0,)), [5.0, 5.0, 5.0, None]),
        (RetryPolicy(1, (5.0,)), [None]),
    ],
)
def test_the_last_delay_repeats_until_the_attempts_are_spent(policy: RetryPolicy, delays: list[float | None]) -> None:
    assert [policy.delay_s(made) for made in range(1, len(delays) + 1)] == delays


def test_an_item_without_a_retry_policy_is_tried_three_times() -> None:
    release = release_of(plans=[plan_of("deliver", "call")])

    assert release.items[0].retry.delay_s(2) is not None
    assert release.items[0].retry.delay_s(3) is None


def test_a_retry_policy_without_delays_retries_at_once() -> None:
    release = release_of(
        plans=[plan_of("deliver", callout("call", retry="now"))],
        retries=[{"code": "now", "attemptsMax": 2, "delaysS": []}],
    )

    assert release.items[0].retry.delay_s(1) == 0
