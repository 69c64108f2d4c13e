"""A sub-action such as renew travels from the channel to scenarios, technical lines and back."""

import pytest

from domain.errors import BadDocument, BadRelease
from gateway.tmf622 import parse_order, render_order
from tests.support.build import callout, line, order_of, plan_of, release_of, rule, scenario
from tests.support.engine import Engine

RENEW = {"productOrderItem": [{"id": "1", "action": "modify", "subAction": "renew", "product": {"id": "p-1"}}]}


def parsed(body):
    return parse_order(body, order_id="o-1", tenant="main", client_key=None)


def renewable(**members):
    return release_of(
        products=["Line", "Work"],
        decompositions=[rule("Line", "Work")],
        plans=[plan_of("amend", "call"), plan_of("renew", "call"), plan_of("work", callout("call"))],
        scenarios=[
            scenario("Line", "amend", "add", "modify", when='!(line.subAction == "renew")'),
            scenario("Line", "renew", "modify", subActions=["renew"]),
            scenario("Work", "work", "modify"),
        ],
        **members,
    )


def composed(plan):
    return {item.definition.plan for item in plan.items if item.definition}


def test_the_channel_gives_it_as_a_member_of_the_item_and_gets_it_back():
    order = parsed(RENEW)

    assert order.lines[0].sub_action == "renew"
    assert render_order(order.to_dict(), {})["productOrderItem"][0]["subAction"] == "renew"


def test_a_sub_action_that_is_no_text_is_refused_by_its_path():
    with pytest.raises(BadDocument) as caught:
        parsed({"productOrderItem": [{**RENEW["productOrderItem"][0], "subAction": 7}]})

    assert caught.value.path == "productOrderItem[0].subAction"


@pytest.mark.parametrize(
    ("sub_action", "plans"), [("renew", {"renew", "work"}), ("", {"amend"}), ("other", {"amend", "work"})]
)
def test_scenarios_tell_a_renewal_from_an_amendment_and_what_it_consists_of_is_renewed_too(sub_action, plans):
    engine = Engine(renewable())
    engine.finish(engine.accept(order_of(line("1", "Line"))))
    (asset_id,) = [each.asset_id for each in engine.account.assets.values() if each.product == "Line"]
    asked = line("2", "Line", "modify", product_id=asset_id)
    asked.sub_action = sub_action
    plan = engine.accept(order_of(asked))

    assert composed(plan) == plans
    assert {each.sub_action for each in plan.lines} == {sub_action}
    assert [each.sub_action for each in engine.replayed(plan).lines] == [each.sub_action for each in plan.lines]


def test_a_callout_is_told_the_sub_action():
    engine = Engine(renewable())
    engine.finish(engine.accept(order_of(line("1", "Line"))))
    (asset_id,) = [each.asset_id for each in engine.account.assets.values() if each.product == "Line"]
    asked = line("2", "Line", "modify", product_id=asset_id)
    asked.sub_action = "renew"
    plan = engine.accept(order_of(asked))

    assert engine.call(plan, "renew/call").payload["lines"][0]["subAction"] == "renew"


def test_a_rule_on_a_class_holds_for_its_products_and_those_of_the_classes_below():
    release = release_of(
        products=[{"code": "A", "class": "top"}, {"code": "B", "class": "below"}, "C", "Target"],
        classes=[{"code": "top"}, {"code": "below", "parent": "top"}, {"code": "empty"}],
        decompositions=[
            {"name": "r", "sourceClass": "top", "target": "Target"},
            {"name": "none", "sourceClass": "empty", "target": "Target"},
        ],
    )

    assert {code: len(each.rules) for code, each in release.products.items()} == {"A": 1, "B": 1, "C": 0, "Target": 0}
    assert release.products["Target"].rank == 1
    assert "decomposition none: no product is of class 'empty'" in release.findings


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"sourceClass": "nowhere"}, "decomposition r: class 'nowhere' is not in the release"),
        ({"sourceClass": "top", "source": "A"}, "decomposition r: give either source or sourceClass"),
        ({}, "decomposition r: give either source or sourceClass"),
        ({"sourceClass": "top", "target": "A"}, "decomposition r: 'A' decomposes into itself"),
    ],
)
def test_a_rule_is_about_a_product_or_a_class_of_the_release_and_never_about_its_target(given, problem):
    with pytest.raises(BadRelease) as caught:
        release_of(
            products=[{"code": "A", "class": "top"}, "Target"],
            classes=[{"code": "top"}],
            decompositions=[{"name": "r", "target": "Target", **given}],
        )

    assert problem in caught.value.facts["problems"]


def test_a_product_of_both_kinds_is_found_by_offering_and_by_specification():
    release = release_of(
        products=[{"code": "A", "kind": "both"}], plans=[plan_of("p", "call")], scenarios=[scenario("A", "p")]
    )
    by_offering = order_of(line("1", None, offering="A"))

    assert release.by_offering == release.by_specification == {"A": "A"}
    assert composed(Engine(release).accept(by_offering)) == composed(Engine(release).accept(order_of(line("1", "A"))))


def test_a_product_of_both_kinds_shares_its_id_with_no_other():
    with pytest.raises(BadRelease, match="have the same id 'A'"):
        release_of(products=[{"code": "A", "kind": "both"}, {"code": "B", "kind": "commercial", "externalId": "A"}])
