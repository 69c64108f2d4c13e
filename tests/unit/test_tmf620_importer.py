"""A TMF620 catalogue becomes a release by its compile rule, and what it does not say or says wrongly is named."""

import copy
import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from adapters.importers.tmf620 import import_tmf620
from domain.catalogue import Action, Attribute, ItemType, Release, Retry, Scope
from domain.errors import BadRelease
from domain.publish import compile_release
from tests.support import own_mobile

BINDINGS: Final = yaml.safe_load((own_mobile.FOLDER / "bindings.yaml").read_text(encoding="utf-8"))
SPECIFICATIONS: Final = {"SIM CARD", "Mobile line", "Connectivity", "Time Bundle", "SMS Option", "Ring Back Tone"}


def catalogue() -> dict[str, Any]:
    document: dict[str, Any] = own_mobile.read("own-mobile-catalogue.json")
    return document


def specification(spec_id: str, name: str, *relies_on: str, **members: Any) -> dict[str, Any]:
    relations = [{"id": other, "relationshipType": "reliesOn"} for other in relies_on]
    return {"id": spec_id, "name": name, "productSpecificationRelationship": relations, "x-kind": "service", **members}


def small(*specifications: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"productSpecification": list(specifications or (specification("a", "A"),)), **members}


def imported(document: dict[str, Any], bindings: dict[str, Any] | None = None) -> Release:
    return import_tmf620(document, bindings, "1")[0]


def refused(document: Any, bindings: Any = None) -> list[str]:
    with pytest.raises(BadRelease) as caught:
        import_tmf620(document, bindings, "1")
    problems: list[str] = caught.value.facts["problems"]
    assert problems[0] == f"{caught.value.path}: {caught.value.reason}"
    return [problem.partition(": ")[0] for problem in problems]


@pytest.fixture
def own() -> Release:
    return imported(catalogue(), BINDINGS)


def test_each_specification_is_a_technical_product_known_by_its_id(own):
    technical = {each.code: each for each in own.products if each.kind == "technical"}

    assert technical.keys() == SPECIFICATIONS
    assert technical["SIM CARD"].external_id == "df32402e-ceb9-4467-aafd-fec0bbff3124"
    assert technical["SIM CARD"].attributes == (
        Attribute(name="IMSI", type="string"),
        Attribute(name="PUK", type="string", assetizable=False),
    )
    assert all(each.asset for each in technical.values())


def test_each_offering_is_a_commercial_product_without_asset_and_same_names_are_told_apart_by_id(own):
    commercial = {each.code: each for each in own.products if each.kind == "commercial"}

    assert commercial.keys() == {
        "offer:Mobile Package 1 (5fe032f0-fa01-42ec-afeb-920f74c2eae3)",
        "offer:Mobile Package 1 (cb07fd83-8f41-4cd2-97f5-5989f3ab2bd8)",
        "offer:Mobile line",
        "offer:Connectivity",
        "offer:Time Bundle",
        "offer:Sim Card",
        "offer:SMS Option",
        "offer:Ring Back Tone",
    }
    assert not any(each.asset for each in commercial.values())
    assert {each.external_id for each in commercial.values()} == {
        offering["id"] for offering in catalogue()["productOffering"]
    }


def test_each_specification_has_a_plan_to_deliver_and_one_to_remove(own):
    plans = {each.code: each for each in own.plans}
    actions = {each.plan: (each.product, each.actions) for each in own.scenarios}

    assert plans.keys() == {f"{verb} {name}" for verb in ("Deliver", "Remove") for name in SPECIFICATIONS}
    assert actions["Deliver SIM CARD"] == ("SIM CARD", (Action.ADD, Action.MODIFY))
    assert actions["Remove SIM CARD"] == ("SIM CARD", (Action.DELETE,))
    assert len(own.scenarios) == len(plans)
    for plan in plans.values():
        (item,) = plan.items
        assert (plan.scope, item.type) == (Scope.ITEM, ItemType.CALLOUT)
        assert item.name == plan.code
        assert item.code == item.operation == plan.code.partition(" ")[0].lower()


@pytest.mark.rule("F.18", "F.20")
def test_relies_on_orders_deliveries_and_reverses_removals(own):
    waits = set()
    for each in own.dependencies:
        assert each.scope is Scope.BUNDLE
        first, second = (each.item, each.other) if each.type == "dependsOn" else (each.other, each.item)
        waits.add((first.plan, second.plan))
    expected = {
        (f"Deliver {name}", f"Deliver {other}") if verb == "Deliver" else (f"Remove {other}", f"Remove {name}")
        for verb in ("Deliver", "Remove")
        for name, other in [
            ("Mobile line", "SIM CARD"),
            ("Connectivity", "SIM CARD"),
            ("Time Bundle", "Mobile line"),
            ("SMS Option", "Mobile line"),
            ("Ring Back Tone", "Mobile line"),
        ]
    }
    plans = own_mobile.read("own-mobile-expected-plans.json")

    assert waits == expected
    for name, plan in plans.items():
        assert name == "about" or {tuple(pair) for pair in plan["dependsOn"]} <= waits


def test_the_bindings_name_the_systems(own):
    systems = {plan.code: plan.items[0].system for plan in own.plans}

    assert [each.code for each in own.systems] == ["inventory", "activation", "billing"]
    assert systems["Deliver SIM CARD"] == systems["Remove SIM CARD"] == "inventory"
    assert systems["Deliver Mobile line"] == systems["Deliver Connectivity"] == "activation"
    assert (
        systems["Deliver Time Bundle"]
        == systems["Deliver SMS Option"]
        == systems["Deliver Ring Back Tone"]
        == "billing"
    )
    assert own.retries == (Retry(code="standard", attempts_max=3, delays_s=(5.0, 30.0)),)
    assert {plan.items[0].retry for plan in own.plans} == {"standard"}
    assert (own.code, own.version) == ("own-mobile", "1")


def test_without_bindings_a_system_is_called_after_the_kind():
    release = imported(catalogue())

    assert [each.code for each in release.systems] == ["stock-item", "service"]
    assert release.retries == ()
    assert {plan.items[0].retry for plan in release.plans} == {None}


def test_an_id_is_bound_before_a_name_and_a_name_before_a_kind():
    document = small(specification("a", "A"), specification("b", "B"), specification("c", "C"))
    bindings = {"systems": {"service": "one", "B": "two", "c": "three", "C": "four"}, "timeoutS": 5}
    release, findings = import_tmf620(document, bindings, "1")

    assert [plan.items[0].system for plan in release.plans[::2]] == ["one", "two", "three"]
    assert {plan.items[0].timeout_s for plan in release.plans} == {5.0}
    assert findings == ["bindings.systems: 'C' is no id, name or x-kind of a specification"]


def test_a_specification_without_binding_or_kind_is_a_finding():
    document = small(specification("a", "A"), {"id": "b", "name": "B"})
    release, findings = import_tmf620(document, {"systems": {"A": "one"}}, "1")

    assert [each.code for each in release.systems] == ["one", "fulfilment"]
    assert findings == ["productSpecification[1]: no binding for 'B', its system is 'fulfilment'"]


def test_the_release_can_be_published(own):
    compiled = compile_release(own)

    assert {item.ref for item in compiled.items} >= {"Deliver SIM CARD/deliver", "Remove Time Bundle/remove"}
    assert compiled.by_specification["c458d968-3718-4754-9408-7bd81526e7b2"] == "Mobile line"
    assert compiled.by_offering["c458d968-3718-4754-9408-7bd81526e7b2"] == "offer:Mobile line"


def test_the_release_survives_its_file_form(own):
    text = json.dumps(own.model_dump(mode="json", by_alias=True))

    assert Release.model_validate(json.loads(text)) == own


def test_circles_are_left_to_publishing():
    circle = imported(small(specification("a", "A", "b"), specification("b", "B", "a"), specification("c", "C", "c")))

    with pytest.raises(BadRelease):
        compile_release(circle)


def test_codes_do_not_depend_on_the_order_of_the_file():
    turned = catalogue()
    turned["productSpecification"].reverse()
    turned["productOffering"].reverse()

    assert {each.code: each.external_id for each in imported(turned).products} == {
        each.code: each.external_id for each in imported(catalogue()).products
    }


def test_names_that_codes_may_not_have_are_mended_and_stay_apart():
    release = imported(small(specification("1", "A@home"), specification("2", "A~home"), specification("3", "x" * 200)))

    assert [each.code for each in release.products] == ["A_home (1)", "A_home (2)", "x" * 120]
    assert [each.name for each in release.products][:2] == ["A@home", "A~home"]
    compile_release(release)


@pytest.mark.parametrize(
    ("given", "attribute"),
    [
        ({}, Attribute(name="a")),
        ({"valueType": "Integer"}, Attribute(name="a", type="integer")),
        ({"valueType": "boolean"}, Attribute(name="a", type="boolean")),
        ({"x-assetizable": False}, Attribute(name="a", assetizable=False)),
        ({"x-encrypted": True}, Attribute(name="a", encrypted=True)),
        ({"x-significant": False}, Attribute(name="a", significant=False)),
    ],
)
def test_our_own_members_of_a_characteristic_are_honoured(given, attribute):
    release = imported(small(specification("a", "A", productSpecCharacteristic=[{"name": "a", **given}])))

    assert release.products[0].attributes == (attribute,)


def test_what_is_not_used_is_a_finding():
    document = small(
        specification(
            "a",
            "A",
            "b",
            "b",
            resourceSpecification=[{"id": "r"}],
            productSpecCharacteristic=[{"name": "x", "valueType": "blob", "x-asset": False}],
        ),
        specification("b", "B", resourceSpecification=[{"id": "r"}], productSpecCharacteristic=[]),
        productOffering=[{"id": "o", "name": "O", "productSpecification": {"id": "z"}, "bundledProductOffering": []}],
        category=[{"id": "c"}],
        serviceSpecification=[],
    )
    document["productSpecification"][1]["productSpecificationRelationship"] = [
        {"id": "a", "relationshipType": "excludes"}
    ]
    release, findings = import_tmf620(document, None, "1")

    assert len(release.dependencies) == 2
    assert findings == [
        "productSpecification[0].productSpecCharacteristic[0].valueType: 'blob' is not known, values of any type are "
        "taken",
        "productSpecification[0].productSpecificationRelationship[1]: reliesOn 'B' stands there twice, once counts",
        "productOffering[0].productSpecification: 'z' is no specification of this catalogue",
        "category: category is not imported",
        "productSpecification[0].productSpecCharacteristic[0]: productSpecCharacteristic.x-asset is not imported",
        "productSpecification[1].productSpecificationRelationship[0]: relationshipType 'excludes' of specifications "
        "is not imported",
        "productSpecification[0]: productSpecification.resourceSpecification is not imported (2 times)",
        "productOffering[0]: productOffering.productSpecification is not imported",
    ]


def test_the_findings_of_the_example_name_services_and_bundles():
    _, findings = import_tmf620(catalogue(), BINDINGS, "1")

    assert findings == [
        "serviceSpecification: serviceSpecification is not imported",
        "productSpecification[1]: productSpecification.serviceSpecification is not imported (5 times)",
        "productOffering[0]: productOffering.bundledProductOffering is not imported (2 times)",
        "productOffering[2]: productOffering.productSpecification is not imported (6 times)",
    ]


CHARACTERISTIC: Final = "productSpecification[0].productSpecCharacteristic[0]"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (None, "$"),
        ([], "$"),
        ({}, "productSpecification"),
        ({"productSpecification": {}}, "productSpecification"),
        ({"productSpecification": ["a"]}, "productSpecification[0]"),
        (small({"name": "A"}), "productSpecification[0].id"),
        (small({"id": "a"}), "productSpecification[0].name"),
        (small({"id": 5, "name": "A"}), "productSpecification[0].id"),
        (small({"id": "a", "name": " "}), "productSpecification[0].name"),
        (small(specification("a", "A"), specification("a", "B")), "productSpecification[1].id"),
        (small(specification("a", "A"), specification("b", "A")), "productSpecification[1].name"),
        (small(specification("a", "A", "z")), "productSpecification[0].productSpecificationRelationship[0].id"),
        (
            small(specification("a", "A", productSpecificationRelationship={})),
            "productSpecification[0].productSpecificationRelationship",
        ),
        (
            small(specification("a", "A", productSpecificationRelationship=["b"])),
            "productSpecification[0].productSpecificationRelationship[0]",
        ),
        (
            small(specification("a", "A", productSpecificationRelationship=[{"id": "a"}])),
            "productSpecification[0].productSpecificationRelationship[0].relationshipType",
        ),
        (small(specification("a", "A", **{"x-kind": 5})), "productSpecification[0].x-kind"),
        (small(specification("a", "A", **{"x-kind": "--"})), "productSpecification[0].x-kind"),
        (
            small(specification("a", "A", productSpecCharacteristic={})),
            "productSpecification[0].productSpecCharacteristic",
        ),
        (small(specification("a", "A", productSpecCharacteristic=["x"])), CHARACTERISTIC),
        (small(specification("a", "A", productSpecCharacteristic=[{}])), f"{CHARACTERISTIC}.name"),
        (
            small(specification("a", "A", productSpecCharacteristic=[{"name": "x"}, {"name": "x"}])),
            "productSpecification[0].productSpecCharacteristic[1].name",
        ),
        (
            small(specification("a", "A", productSpecCharacteristic=[{"name": "x", "x-assetizable": "no"}])),
            f"{CHARACTERISTIC}.x-assetizable",
        ),
        (
            small(specification("a", "A", productSpecCharacteristic=[{"name": "x", "valueType": 5}])),
            f"{CHARACTERISTIC}.valueType",
        ),
        (small(productOffering={}), "productOffering"),
        (small(productOffering=[{"name": "O"}]), "productOffering[0].id"),
        (small(productOffering=[{"id": "o", "name": "O"}] * 2), "productOffering[1].id"),
        (
            small(productOffering=[{"id": "o", "name": "O", "productSpecification": "a"}]),
            "productOffering[0].productSpecification",
        ),
        (small(code="a@b"), "Release.code"),
    ],
)
def test_a_catalogue_of_another_shape_is_refused_naming_the_path(document, path):
    assert refused(document) == [path]


@pytest.mark.parametrize(
    ("bindings", "path"),
    [
        ([], "bindings"),
        ({"system": {}}, "bindings.system"),
        ({"systems": []}, "bindings.systems"),
        ({"systems": {"A": ""}}, "bindings.systems.A"),
        ({"systems": {"A": "a@b"}}, "bindings.systems.A"),
        ({"systems": {"A": 5}}, "bindings.systems.A"),
        ({"retry": "standard"}, "bindings.retry"),
        ({"retry": {"attemptsMax": 0}}, "bindings.retry.attemptsMax"),
        ({"retry": {"delays": [1]}}, "bindings.retry.delays"),
        ({"timeoutS": 0}, "bindings.timeoutS"),
        ({"timeoutS": True}, "bindings.timeoutS"),
        ({"timeoutS": float("nan")}, "bindings.timeoutS"),
    ],
)
def test_bindings_of_another_shape_are_refused_naming_the_path(bindings, path):
    assert refused(small(), bindings) == [path]


def test_every_problem_is_named():
    document = catalogue()
    document["productSpecification"][1]["productSpecificationRelationship"][0]["id"] = "nowhere"
    del document["productSpecification"][5]["name"]
    del document["productOffering"][0]["id"]

    assert refused(document, {"timeoutS": -1}) == [
        "bindings.timeoutS",
        "productSpecification[5].name",
        "productOffering[0].id",
        "productSpecification[1].productSpecificationRelationship[0].id",
    ]


def test_importing_does_not_change_the_document():
    document = catalogue()
    before = copy.deepcopy(document)
    import_tmf620(document, BINDINGS, "1")

    assert document == before


def test_the_example_has_a_notice():
    assert "Apache-2.0" in (Path(own_mobile.FOLDER) / "NOTICE.md").read_text(encoding="utf-8")
