"""Orders of both example catalogues compose what their CSV files say, and leave behind what they should."""

from typing import Final

import pytest

from domain.plan import Plan
from gateway.warnings import warnings_of
from tests.support.build import line, order_of
from tests.support.dro import CHARACTERISTICS, Reader, Shape, expected_plans, finish, release_of, shape_of
from tests.support.engine import Engine

READERS: Final = {name: Reader(name) for name in ("qb", "mfg")}
QB: Final = READERS["qb"]
MFG: Final = READERS["mfg"]
ALL: Final = [(name, product) for name, reader in READERS.items() for product in reader.worked("Add")]
QB_SOURCES: Final = QB.worked("Add")
QB_DECOMPOSED: Final = [product for product in QB_SOURCES if QB.targets(product)]
SHARED: Final = {product for product, row in QB.products.items() if row["DecompositionScope"] == "Account"}


def added(engine: Engine, product: str, line_id: str = "1", quantity: int = 1) -> Plan:
    return engine.accept(order_of(line(line_id, product, quantity=quantity, **CHARACTERISTICS)))


def asset_of(engine: Engine, product: str) -> str:
    (found,) = [each.asset_id for each in engine.account.assets.values() if each.product == product]
    return found


def changed(engine: Engine, product: str, action: str, quantity: int | None = None) -> Plan:
    return engine.accept(order_of(line("1", product, action, product_id=asset_of(engine, product), quantity=quantity)))


def installed(engine: Engine) -> set[str]:
    return {each.product for each in engine.account.assets.values()}


def actions_of(plan: Plan) -> dict[str, str]:
    return {each.product: each.action for each in plan.lines}


def words_of(source: str, action: str, derived: str) -> dict[str, str]:
    return {source: action, **dict.fromkeys(QB.targets(source), derived)}


def test_the_table_covers_the_expected_file_and_more():
    assert expected_plans().keys() < set(QB_SOURCES)
    assert len(QB_DECOMPOSED) > 15
    assert len(MFG.worked("Add")) == 4
    assert {"QB-DRO-BILL", "QB-DRO-PROJ"} <= SHARED


@pytest.mark.parametrize("product", expected_plans())
def test_an_add_order_composes_what_the_expected_file_says(product):
    expected = expected_plans()[product]
    plan = added(Engine(release_of("qb")), product)
    shape = shape_of(plan)
    kinds = {item.definition.name: item.definition.type.value for item in plan.items if item.definition}

    assert shape.lines == expected["lines"]
    assert [
        f"{name} ({kinds[name][0].upper()}{kinds[name][1:]}) x {count}" for name, count in sorted(shape.items.items())
    ] == expected["items"]
    assert sorted(map(list, shape.depends_on)) == expected["dependsOn"]
    assert sorted(map(list, shape.void)) == expected["void"]


@pytest.mark.parametrize(("catalogue", "product"), ALL)
def test_an_add_order_composes_what_the_rows_say_and_runs_to_its_end(catalogue, product):
    engine = Engine(release_of(catalogue))
    reader = READERS[catalogue]
    plan = added(engine, product)
    shape = shape_of(plan)
    finish(engine, plan)

    assert shape == reader.shape(product, dict.fromkeys(reader.products, "Add"))
    assert set(actions_of(plan).values()) == {"add"}
    assert plan.order_state == "completed"
    assert installed(engine) == {product, *reader.targets(product)}


@pytest.mark.parametrize("product", QB_SOURCES)
def test_a_changed_quantity_composes_a_modify_against_the_asset(product):
    engine = Engine(release_of("qb"))
    finish(engine, added(engine, product))
    before = asset_of(engine, product)
    plan = changed(engine, product, "modify", 3)
    words = {product: "Amend"} | {
        each: "No Change" if QB.keeps_quantity(each) else "Amend" for each in QB.targets(product)
    }
    shape = shape_of(plan)
    finish(engine, plan)

    assert actions_of(plan) == {
        each: {"Amend": "modify", "No Change": "noChange"}[word] for each, word in words.items()
    }
    assert shape == QB.shape(product, words)
    assert plan.order_state == "completed"
    assert asset_of(engine, product) == before
    assert {each.product: each.quantity for each in engine.account.assets.values()} == {
        each: 1 if word == "No Change" else 3 for each, word in words.items()
    }


@pytest.mark.parametrize("product", QB_SOURCES)
def test_a_renewal_without_a_change_renews_everything_that_it_consists_of(product):
    engine = Engine(release_of("qb"))
    finish(engine, added(engine, product))
    before = {asset_id: each.to_dict() for asset_id, each in engine.account.assets.items()}
    asked = line("1", product, "modify", product_id=asset_of(engine, product))
    asked.sub_action = "renew"
    plan = engine.accept(order_of(asked))
    shape = shape_of(plan)
    finish(engine, plan)

    assert {(each.action, each.sub_action) for each in plan.lines} == {("modify", "renew")}
    assert shape == QB.shape(product, words_of(product, "Renew", "Renew"))
    assert plan.order_state == "completed"
    assert {asset_id: each.to_dict() for asset_id, each in engine.account.assets.items()} == before


@pytest.mark.parametrize("product", QB_SOURCES)
def test_a_delete_of_the_last_source_disconnects_everything(product):
    engine = Engine(release_of("qb"))
    finish(engine, added(engine, product))
    plan = changed(engine, product, "delete")
    shape = shape_of(plan)
    finish(engine, plan)

    assert set(actions_of(plan).values()) == {"delete"}
    assert shape == QB.shape(product, words_of(product, "Cancel", "Cancel"))
    assert plan.order_state == "completed"
    assert installed(engine) == set()


@pytest.mark.parametrize("product", QB_DECOMPOSED)
def test_what_is_shared_over_the_account_stays_until_its_last_source_goes(product):
    other = next(each for each in QB_DECOMPOSED if each != product and set(QB.targets(each)) & SHARED)
    both = set(QB.targets(product)) & set(QB.targets(other)) & SHARED
    engine = Engine(release_of("qb"))
    for each in (product, other):
        plan = engine.accept(order_of(line("1", each, Group_Identifier=f"G-{each}", Ramp_Identifier=f"R-{each}")))
        finish(engine, plan)
    plan = changed(engine, product, "delete")
    finish(engine, plan)

    assert both
    assert installed(engine) == {other, *QB.targets(other)}
    assert {each for each, action in actions_of(plan).items() if action == "delete"} == {
        product,
        *QB.targets(product),
    } - both
    finish(engine, changed(engine, other, "delete"))
    assert installed(engine) == set()


@pytest.mark.parametrize("product", MFG.worked("Add"))
@pytest.mark.parametrize("action", ["modify", "delete"])
def test_an_action_without_a_scenario_is_nothing_to_fulfil(product, action):
    engine = Engine(release_of("mfg"))
    finish(engine, added(engine, product))
    before = installed(engine)
    plan = changed(engine, product, action, 2 if action == "modify" else None)

    assert not MFG.shape(product, dict.fromkeys(MFG.products, "Cancel")).items
    assert plan.order_state == "rejected"
    assert ["nothing to fulfil" in each["reason"] for each in plan.reasons] == [True]
    assert installed(engine) == before


def test_lines_of_one_group_share_their_work_and_those_of_another_have_their_own():
    engine = Engine(release_of("qb"))
    plan = engine.accept(
        order_of(
            line("1", "QB-DB", Group_Identifier="G1"),
            line("2", "QB-DB-TOKEN", Group_Identifier="G1"),
            line("3", "QB-DB", Group_Identifier="G2"),
            line("4", "QB-DB"),
        )
    )
    shape = shape_of(plan)

    assert shape.items["Activate Tokens"] == 3
    assert shape.items["Post Invoice"] == 1
    assert [each for each in shape.lines if "QBD" in each] == [
        f"QB-DRO-QBD [{where}] -> Usage Provisioning & Activation" for where in ("4", "G1", "G2")
    ]


def test_a_line_without_the_key_has_an_instance_of_its_own_and_the_order_says_so():
    plan = Engine(release_of("qb")).accept(order_of(line("1", "QB-DB"), line("2", "QB-DB", Group_Identifier="G1")))
    said = [each for each in warnings_of(plan) if "Group_Identifier" in each]

    assert [each.partition(" (")[0] for each in said] == [
        "line QB-DRO-QBD@1",
        "item Usage Provisioning & Activation/Activate Tokens: line QB-DRO-QBD@1",
    ]


def test_every_instance_of_a_step_waits_for_all_of_the_other_in_the_plan():
    plan = Engine(release_of("qb")).accept(
        order_of(
            line("1", "QB-API", Group_Identifier="G1"),
            line("2", "QB-MSG-STRT", Group_Identifier="G2"),
            line("3", "QB-API", Group_Identifier="G2"),
        )
    )
    shape = shape_of(plan)

    assert shape.items["Provision Licensing/Features"] == 3
    assert shape.depends_on["Initiate Billing", "Provision Licensing/Features"] == 3


def test_a_step_waits_for_the_start_that_its_line_asks_for():
    engine = Engine(release_of("qb"))
    later, past = "2026-03-05T09:00:00Z", "2026-01-05T09:00:00Z"
    plan = engine.accept(
        order_of(
            line("1", "QB-API", Group_Identifier="G1", requested_start_at=later),
            line("2", "QB-API", Group_Identifier="G2", requested_start_at=past),
            line("3", "QB-API", Group_Identifier="G3"),
        )
    )
    key = "Provisioning & Activation/Provision Licensing/Features@QB-DRO-AAPI@key:"
    states = {group: plan.by_key[f"{key}{group}"].state.value for group in ("G1", "G2", "G3")}

    assert states["G1"] == "Scheduled"
    assert states["G2"] == states["G3"] != "Scheduled"
    engine.fire(plan, f"{key}G1")
    finish(engine, plan)
    assert plan.order_state == "completed"


def test_the_reader_tells_a_missing_item_from_a_composed_one():
    shape = QB.shape("QB-API", dict.fromkeys(QB.products, "Add"))

    assert shape != Shape()
    assert shape.void == {
        ("Initiate Billing", "Start Project"),
        ("Provision Licensing/Features", "Stage New Tenant for Provisioning - Platform"),
    }
