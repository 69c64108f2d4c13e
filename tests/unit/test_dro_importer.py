"""A DRO export becomes a release by fixed rules; what is wrong with it is named by file, line, column and mend."""

import codecs
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from adapters.importers.dro import Imported, import_dro
from domain.catalogue import Action, ItemType, Release, Retry, Scope
from domain.errors import BadRelease
from domain.publish import compile_release
from tests.support import dro
from tests.support.build import line, order_of
from tests.support.engine import Engine

FILES: Final[Mapping[str, str]] = {
    "FulfillmentStepDefinitionGroup": "Name\nLane\n",
    "FulfillmentStepDefinition": (
        "Name,StepDefinitionGroup.Name,StepType,Scope,CustomFulfillmentScope,AssignedTo.Name,"
        "IntegrationDefinitionName.DeveloperName,FlowDefinitionName,ExecuteOn,DelayOf,DelayUnit,IsSkipBranch,"
        "PointOfNoReturn,ResumeOnRule.Name\n"
        "Call,Lane,Callout,Plan,,,Net,,,,,false,,\n"
        "Look,Lane,ManualTask,LineItem,,ann,,,,,,false,,\n"
    ),
    "FulfillmentStepDependencyDef": (
        "DependencyScope,DependsOnStepDefinition.Name,FulfillmentStepDefinition.Name\nPlan,Call,Look\n"
    ),
    "ProductFulfillmentScenario": (
        "Action,FulfillmentStepDefnGroup.Name,Name,Product.StockKeepingUnit,ProductClassification.Name\n"
        "Add;Cancel,Lane,Tech work,T-1,\n"
    ),
    "ProductFulfillmentDecompRule": (
        "DestinationProduct.StockKeepingUnit,Name,Priority,SourceProduct.StockKeepingUnit,"
        "SourceProductClassification.Name\nT-1,S to T,,S-1,\n"
    ),
    "Product2": (
        "CustomDecompositionScope,DecompositionScope,FulfillmentQtyCalcMethod,Name,StockKeepingUnit\n"
        ",OrderLineItem,,Sold,S-1\n,Account,AlwaysOne,Technical,T-1\n"
    ),
    "IntegrationProviderDef": "DeveloperName\nNet\n",
    "User": "Name\nann\n",
}
JEOPARDY: Final = (
    "EstimatedDuration,EstimatedDurationUnit,FlowDefinition,IntegrationDefinition.DeveloperName,JeopardyThreshold,"
    "JeopardyThresholdUnit,Name,StepType\n"
)
FALLOUT: Final = (
    "ErrorCode,FlowDefinitionName,IntegrationDefinition.DeveloperName,Name,RetriesAllowed,RetryIntervals,RetryPolicy,"
    "StepType\n"
)
ENRICHMENT: Final = (
    "CalculationMethod,DecompositionRule.Name,DestinationApiName,SourceApiName,SourceType,ListMappingGroup.Name,"
    "RuleEnforcement\n"
)
TRANSFORM: Final = (
    "InputString,InputNumber,IsInputBoolean,OutputString,OutputNumber,IsOutputBoolean,ValueTransformGroup.Name\n"
)


def files(**changes: str | bytes | None) -> dict[str, str | bytes]:
    """The small export with some files changed, added, or (None) left out."""
    found = {**FILES, **changes}
    return {f"{name}.csv": content for name, content in found.items() if content is not None}


def swapped(table: str, old: str, new: str) -> dict[str, str | bytes]:
    """The small export with one text of one file replaced."""
    assert FILES[table].count(old) == 1, f"{old!r} stands {FILES[table].count(old)} times in {table}"
    return files(**{table: FILES[table].replace(old, new)})


def step(row: str) -> dict[str, str | bytes]:
    """The small export with one more step."""
    return files(FulfillmentStepDefinition=FILES["FulfillmentStepDefinition"] + row + "\n")


def canvas(rows: str, **changes: str) -> dict[str, str | bytes]:
    """The small export with a workspace `Canvas` of these lanes."""
    header = "FulfillmentStepDefinitionGroup.Name,FulfillmentWorkspace.Name,ShowOrder\n"
    workspace = "Name,Description\nCanvas,All of it\n"
    return files(FulfillmentWorkspace=workspace, FulfillmentWorkspaceItem=header + rows, **changes)


def taken(given: Mapping[str, str | bytes], **bindings: Any) -> Imported:
    """Imported, and seen to publish."""
    found = import_dro(given, bindings, "1")
    compile_release(found.release)
    return found


def item(release: Release, name: str) -> Any:
    (found,) = [each for plan in release.plans for each in plan.items if each.code == name]
    return found


def noted(found: Imported, pattern: str) -> bool:
    return any(re.search(pattern, each) for each in found.findings)


def refused(given: Mapping[str, Any], **bindings: Any) -> BadRelease:
    with pytest.raises(BadRelease) as caught:
        import_dro(given, bindings, "1")
    return caught.value


# What becomes of what.


def test_the_small_export_becomes_a_release_that_publishes_without_a_finding():
    found = taken(files())
    (rule,) = found.release.decompositions
    (scenario,) = found.release.scenarios
    (dependency,) = found.release.dependencies

    assert {each.code: (each.kind, each.scope, each.quantity) for each in found.release.products} == {
        "S-1": ("both", Scope.ITEM, "sum"),
        "T-1": ("both", Scope.ACCOUNT, "one"),
    }
    assert (rule.source, rule.source_class, rule.target) == ("S-1", None, "T-1")
    assert (scenario.product, scenario.actions) == ("T-1", (Action.ADD, Action.DELETE))
    assert (str(dependency.item), str(dependency.other), dependency.scope) == ("Lane/Look", "Lane/Call", Scope.GLOBAL)
    assert (item(found.release, "Call").type, item(found.release, "Call").scope) == (ItemType.CALLOUT, Scope.GLOBAL)
    assert item(found.release, "Call").system == "Net"
    assert (item(found.release, "Look").queue, item(found.release, "Look").scope) == ("Lane", Scope.ITEM)
    assert found.environment == {"queues": [{"code": "Lane", "members": ["ann"]}]}
    assert [each for each in found.findings if "across the directions" not in each] == []


def test_the_workspace_of_a_real_export_is_a_diagram_with_its_four_lanes_in_order():
    generator = next(each for each in dro.imported("mfg").diagrams if each.name == "FESBA Generator Fulfillment")

    assert generator.plans == (
        "Order Configuration Verification", "Production and Assembly", "Logistics and Transportation",
        "On-Site Installation and Commissioning",
    )  # fmt: skip


@pytest.mark.parametrize("catalogue", ["qb", "mfg"])
def test_both_example_catalogues_publish_with_and_without_bindings(catalogue):
    for bindings in (dro.bindings_of(catalogue), None):
        found = import_dro(dro.files_of(catalogue), bindings, "1")
        assert compile_release(found.release).release_id == f"{found.release.code}@1"


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ("Add;Amend;Renew;No Change;Cancel", [("add modify delete noChange", "", ())]),
        ("add; no change", [("add noChange", "", ())]),
        ("Amend", [("modify", '!(line.subAction == "renew")', ())]),
        ("Add;Renew", [("add", "", ()), ("modify", "", ("renew",))]),
    ],
)
def test_actions_of_a_scenario_are_actions_and_the_sub_action_renew(actions, said):
    release = taken(swapped("ProductFulfillmentScenario", "Add;Cancel", actions)).release

    assert [(" ".join(each.actions), each.when, each.sub_actions) for each in release.scenarios] == said


def test_custom_scopes_are_named_by_a_characteristic_that_rules_hand_down():
    given = files(
        Product2=FILES["Product2"].replace(",Account,AlwaysOne", "Group,Custom,Aggregate"),
        FulfillmentStepDefinition=FILES["FulfillmentStepDefinition"].replace("LineItem,,", "Custom,Ramp,"),
    )
    release = taken(given).release
    (technical,) = [each for each in release.products if each.code == "T-1"]

    assert (technical.scope, technical.scope_key, technical.quantity) == (Scope.KEY, "Group", "sum")
    assert (item(release, "Look").scope, item(release, "Look").scope_key) == (Scope.KEY, "Ramp")
    assert {(each.to, each.copy_from) for each in release.decompositions[0].map} == {
        ("Group", "Group"),
        ("Ramp", "Ramp"),
    }
    assert {each.name: each.significant for each in technical.attributes} == {"Ramp": False}


def test_a_custom_scope_counts_only_when_the_scope_is_custom():
    found = taken(swapped("Product2", ",Account,", "Ramp,Account,"))

    assert [each.scope_key for each in found.release.products] == [None, None]
    assert noted(found, r"^Product2.csv line 3, column CustomDecompositionScope: 'Ramp' does not count")


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        (swapped("Product2", ",Account,", ",Custom,"), "column CustomDecompositionScope: is empty, so 'T-1' is one"),
        (swapped("FulfillmentStepDefinition", "LineItem", "Custom"), "column CustomFulfillmentScope: is empty"),
    ],
)
def test_a_custom_scope_without_a_key_is_one_instance_per_line_and_a_finding(given, pattern):
    found = taken(given)

    assert noted(found, pattern)
    assert {item(found.release, "Look").scope} | {each.scope for each in found.release.products} <= {
        Scope.ITEM,
        Scope.ACCOUNT,
    }


def test_a_rule_and_a_scenario_of_a_class_hold_for_the_products_that_product_class_names():
    release = taken(
        files(
            ProductClass="StockKeepingUnit,ProductClassification.Name\nS-1,Sold things\n",
            ProductFulfillmentDecompRule=FILES["ProductFulfillmentDecompRule"].replace("S-1,", ",Sold things"),
            ProductFulfillmentScenario=FILES["ProductFulfillmentScenario"] + "Add,Lane,By class,,Sold things\n",
        )
    ).release
    compiled = compile_release(release)

    assert [each.target for each in compiled.products["S-1"].rules] == ["T-1"]
    assert [each.plan for each in compiled.products["S-1"].scenarios["add"]] == ["Lane"]


@pytest.mark.parametrize(
    ("rule", "retry"),
    [
        (",,,1,3,,Immediate,Callout", Retry(code="fallout 1", attempts_max=4, delays_s=(0.0,))),
        (",,,1,2,10,Monotonous,Callout", Retry(code="fallout 1", attempts_max=3, delays_s=(600.0,))),
        (',,,1,,"10,60,1440",Staggered,', Retry(code="fallout 1", attempts_max=4, delays_s=(600.0, 3600.0, 86400.0))),
        (",,,1,,,Immediate,Callout", Retry(code="fallout 1", attempts_max=3, delays_s=(0.0,))),
    ],
)
def test_fallout_rules_are_retry_policies_with_intervals_in_minutes(rule, retry):
    release = taken(files(FulfillmentFalloutRule=FALLOUT + rule + "\n")).release

    assert release.retries == (retry,)
    assert item(release, "Call").retry == "fallout 1"


def test_the_most_specific_rule_counts_and_of_equals_the_lowest_name_with_a_finding():
    found = taken(
        files(
            FulfillmentFalloutRule=FALLOUT + ",,,1,9,,Immediate,Callout\n,,Net,3,2,,Immediate,Callout\n"
            ",,Net,2,1,,Immediate,Callout\n,,Net,4,1,,Immediate,Callout\nE1,,Net,0,7,,Immediate,Callout\n",
            FulfillmentStepJeopardyRule=JEOPARDY + "2,Hours,,,30,Minutes,2,Callout\n1,Days,,,2,Hours,1,Callout\n",
        )
    )
    call = item(found.release, "Call")

    assert (call.retry, call.duration_s, call.safety_interval_s) == ("fallout 2", 86400.0, 7200.0)
    assert [each.code for each in found.release.retries] == ["fallout 2"]
    assert noted(found, "^FulfillmentFalloutRule.csv line 3: rule '3' is as specific as '2'")
    assert noted(found, "^FulfillmentStepJeopardyRule.csv line 2: rule '2' is as specific as '1'")
    assert noted(found, "line 6, column ErrorCode: retries by error code are not imported")


def test_a_manual_task_that_names_an_integration_or_a_flow_stays_manual_with_a_finding():
    found = taken(step("Both,Lane,ManualTask,Plan,,ann,Net,Flow,,,,false,,"))

    assert item(found.release, "Both").type is ItemType.MANUAL_TASK
    assert noted(
        found, "line 4, column IntegrationDefinitionName.DeveloperName: 'Both' names 'Net', but stays a manual"
    )
    assert noted(found, "line 4, column FlowDefinitionName: 'Both' names flow 'Flow', but stays a manual task")


def test_flows_are_auto_tasks_or_calls_as_bindings_say_and_else_a_system_of_their_name():
    given = step("Auto,Lane,AutoTask,Plan,,,,My_Flow,,,,false,,")
    unbound = taken(given)
    stock = item(taken(given, flows={"My_Flow": "assetize"}).release, "Auto")
    called = item(taken(given, flows={"My_Flow": {"system": "s", "operation": "o"}}).release, "Auto")

    assert (item(unbound.release, "Auto").type, item(unbound.release, "Auto").system) == (ItemType.CALLOUT, "My_Flow")
    assert noted(unbound, "line 4, column FlowDefinitionName: flow 'My_Flow' is not in the export")
    assert (stock.type, stock.task) == (ItemType.AUTO_TASK, "assetize")
    assert (called.type, called.system, called.operation) == (ItemType.CALLOUT, "s", "o")


def test_a_placeholder_user_is_a_finding_until_bindings_say_who_it_is():
    given = swapped("FulfillmentStepDefinition", ",ann,", ",__SOMEBODY__,")
    named = taken(given, users={"__SOMEBODY__": "bob"})

    assert noted(taken(given), "column AssignedTo.Name: '__SOMEBODY__' is a placeholder")
    assert not noted(named, "placeholder")
    assert named.environment == {"queues": [{"code": "Lane", "members": ["bob"]}]}


def test_users_of_one_group_get_a_queue_each_and_a_named_queue_is_used_as_it_is():
    given = step("Other,Lane,ManualTask,Plan,,ben,,,,,,false,,\nThird,Lane,ManualTask,Plan,,Desk,,,,,,false,,")
    found = taken({**given, "Group.csv": "Name\nDesk\n"})

    assert {name: item(found.release, name).queue for name in ("Look", "Other", "Third")} == {
        "Look": "Lane: ann",
        "Other": "Lane: ben",
        "Third": "Desk",
    }
    assert noted(found, "'ben' is neither in User.csv nor in Group.csv")


def test_a_pause_waits_for_what_bindings_say_or_for_an_operator():
    given = step("Wait,Lane,Pause,Plan,,ann,,,,,,false,,")
    pause = item(taken(given, events={"Wait": "attributes.signed == true"}).release, "Wait")
    bare = taken(given)

    assert (pause.type, pause.event) == (ItemType.PUSH_EVENT, "attributes.signed == true")
    assert (item(bare.release, "Wait").type, item(bare.release, "Wait").event) == (ItemType.PUSH_EVENT, "")
    assert noted(bare, "'Wait' is a Pause, so nobody is assigned")


def test_a_start_date_and_a_delay_become_process_after():
    release = taken(
        step(
            "Later,Lane,Milestone,Plan,,,,,SourceLineStartDate,20,Days,false,,\n"
            "Then,Lane,Milestone,Plan,,,,,SourceLineStartDate,,,true,true,"
        )
    ).release

    assert item(release, "Later").process_after == 'timestamp(line.requestedStartAt) + duration("1728000s")'
    assert item(release, "Then").process_after == "line.requestedStartAt"
    assert (item(release, "Then").skip_branch, item(release, "Then").point_of_no_return) == (True, True)


@pytest.mark.rule("F.22")
@pytest.mark.parametrize(
    ("event", "state"),
    [
        ('attributes.signed == "no"', "Running"),
        ('attributes.signed != "no"', "Running"),
        ("!has(attributes.signed)", "Completed"),
    ],
)
def test_what_an_import_reads_of_an_absent_value_is_false_and_has_asks(event, state):
    given = step(
        "Wait,Lane,Pause,LineItem,,,,,,,,false,,\nLater,Lane,Milestone,LineItem,,,,,SourceLineStartDate,20,Days,false,,"
    )
    engine = Engine(compile_release(taken(given, events={"Wait": event}).release))
    plan = engine.accept(order_of(line("1", "T-1")))

    assert plan.by_key["Lane/Wait@1"].state == state
    # A date that the order does not say is no date to wait for.
    assert plan.by_key["Lane/Later@1"].state == "Completed"


def test_mappings_copy_look_up_and_read_fields_of_the_line():
    found = taken(
        files(
            ProductDecompEnrichmentRule=ENRICHMENT
            + "Ad-verbatim,S to T,speed,Speed,Attribute,,InitialFulfillmentRequest\n"
            + "Static-Lookup,S to T,profile,Speed,Attribute,Profiles,\n"
            + "Ad-verbatim,S to T,amount,Quantity,Field,,\n"
            + "Expression-Set,S to T,price,Price,Attribute,,\n",
            ValTfrmGrp="Name\nProfiles\n",
            ValTfrm=TRANSFORM + "1G,,false,fast,,,Profiles\n,30.0,false,,7,,Profiles\nslow,,false,,,true,Profiles\n",
        )
    )
    maps = {each.to: each for each in found.release.decompositions[0].map}

    assert maps["speed"].copy_from == "Speed"
    assert (maps["profile"].list_of, maps["profile"].table) == ("Speed", {"1G": "fast", "30": 7, "slow": True})
    assert maps["amount"].expression == "line.quantity"
    assert "price" not in maps
    assert noted(found, "the expression set is not in the export, so 'price' stays unset")
    assert noted(found, "applied on every order")


# What is read although it looks different.


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text + "\n\n,\n" if "," in text else text + "\n",
        lambda text: re.sub(r"(?<=,)(?=[,\n])", "#N/A", text),
        lambda text: text.replace("StepType", " steptype "),
    ],
    ids=["bom", "utf-16", "bom in text", "crlf", "cr", "semicolons", "tabs", "empty rows", "#N/A", "case and blanks"],
)
def test_what_can_be_told_for_certain_is_read_as_it_is_meant(dress):
    given = {f"{name}.csv": dress(text) for name, text in FILES.items() if "," in text}
    for name in ("FulfillmentStepDefinitionGroup", "IntegrationProviderDef", "User"):
        given[f"{name}.csv"] = FILES[name]
    if isinstance(given["Product2.csv"], str) and ";" in given["Product2.csv"]:
        text = given["ProductFulfillmentScenario.csv"].replace("Add;Cancel", '"Add;Cancel"')
        given["ProductFulfillmentScenario.csv"] = text
    if isinstance(given["Product2.csv"], str) and given["Product2.csv"].endswith("\n,\n"):
        given = {
            name: text.replace("\n,\n", "\n" + "," * text.split("\n")[0].count(",") + "\n")
            for name, text in given.items()
        }

    assert taken(given).release == taken(files()).release


def test_a_line_end_inside_quotes_belongs_to_the_cell_and_lines_are_still_counted_right():
    text = FILES["Product2"].replace("Sold", '"Sold\r\nby us"') + ",Nowhere,,Third,X-1\n"
    error = refused(files(Product2=text))
    (sold, _) = taken(files(Product2=FILES["Product2"].replace("Sold", '"Sold\nby ""us"""'))).release.products

    assert sold.name == 'Sold by "us"'
    assert error.path == "Product2.csv line 5, column DecompositionScope"


# What is refused, and how.


@pytest.mark.parametrize("table", ["Product2", "FulfillmentStepDefinition", "FulfillmentStepDependencyDef"])
def test_a_missing_file_is_named(table):
    error = refused(files(**{table: None}))

    assert (error.path, error.reason) == (f"{table}.csv", "is missing")
    assert "export it too" in (error.mend or "")


COLUMNS: Final = [
    (table, column) for table, text in FILES.items() if "," in text for column in text.partition("\n")[0].split(",")
]


@pytest.mark.parametrize(
    ("table", "column"), [each for each in COLUMNS if each != ("ProductFulfillmentScenario", "Name")]
)
def test_a_missing_column_is_named_with_its_file(table, column):
    header, _, rows = FILES[table].partition("\n")
    columns = ["x" if each == column else each for each in header.split(",")]
    error = refused(files(**{table: f"{','.join(columns)}\n{rows}"}))

    assert f"{table}.csv line 1, column {column}: is missing" in error.facts["problems"][0]
    assert "export the file with this column" in (error.mend or "")


@pytest.mark.parametrize(
    ("given", "path", "reason", "mend"),
    [
        (
            swapped("ProductFulfillmentScenario", ",T-1,", ",T-9,"),
            "ProductFulfillmentScenario.csv line 2, column Product.StockKeepingUnit",
            "Product2.csv has no 'T-9'",
            "add it to Product2.csv",
        ),
        (
            swapped("ProductFulfillmentScenario", "Cancel,Lane", "Cancel,lane"),
            "ProductFulfillmentScenario.csv line 2, column FulfillmentStepDefnGroup.Name",
            "has no 'lane'",
            "write 'Lane'",
        ),
        (
            swapped("FulfillmentStepDependencyDef", ",Call,", ",Cull,"),
            "FulfillmentStepDependencyDef.csv line 2, column DependsOnStepDefinition.Name",
            "FulfillmentStepDefinition.csv has no 'Cull'",
            "correct the name",
        ),
        (
            swapped("FulfillmentStepDefinition", ",Net,", ",Nat,"),
            "FulfillmentStepDefinition.csv line 2, column IntegrationDefinitionName.DeveloperName",
            "IntegrationProviderDef.csv has no 'Nat'",
            "add it to",
        ),
        (
            swapped("ProductFulfillmentDecompRule", ",S-1,", ",,Services"),
            "ProductFulfillmentDecompRule.csv line 2, column SourceProductClassification.Name",
            "ProductClass.csv is missing",
            "add ProductClass.csv with the columns",
        ),
        (
            swapped("FulfillmentStepDefinition", "Callout", "Robot"),
            "FulfillmentStepDefinition.csv line 2, column StepType",
            "'Robot' is not known",
            "use one of Milestone, Callout",
        ),
        (
            swapped("FulfillmentStepDefinition", "LineItem", "Galaxy"),
            "FulfillmentStepDefinition.csv line 3, column Scope",
            "'Galaxy' is not known",
            "use one of Plan",
        ),
        (
            swapped("ProductFulfillmentScenario", "Add;Cancel", "Add;Fly"),
            "ProductFulfillmentScenario.csv line 2, column Action",
            "'Fly' is not known",
            "use Add, Amend, Renew",
        ),
        (
            swapped("Product2", ",Technical,T-1", ",Technical,S-1"),
            "Product2.csv line 3, column StockKeepingUnit",
            "'S-1' is already the product of line 2",
            "leave one of the two rows",
        ),
        (
            swapped("Product2", ",Sold,S-1", ",Sold,S-1,more"),
            "Product2.csv line 2",
            "has 6 cells, the header has 5",
            "double quotes",
        ),
        (swapped("Product2", ",Sold,", ',"Sold,'), "Product2.csv line 2", "cannot be read", "double quote"),
        (files(Product2="hello\nthere\n"), "Product2.csv line 1", "is no header", "name them in the first line"),
        (files(Product2=""), "Product2.csv line 1", "is no header", "name them in the first line"),
        (files(Product2=b"Name\xff\xfe\n"), "Product2.csv line 1", "is not UTF-8 text", "save the file as UTF-8"),
        (files(Product2="a\0b"), "Product2.csv line 1", "NUL", "export it again"),
        (
            swapped("Product2", ",Technical,T-1", ",Technical,T@1"),
            "Product2.csv line 3, column StockKeepingUnit",
            "cannot be a name",
            "rename it",
        ),
        (
            files(FulfillmentFalloutRule=FALLOUT + ",,,1,3,soon,Monotonous,Callout\n"),
            "FulfillmentFalloutRule.csv line 2, column RetryIntervals",
            "'soon' is no number of minutes",
            "write 10",
        ),
        (
            files(FulfillmentStepJeopardyRule=JEOPARDY + "1,Moons,,,1,Hours,1,Callout\n"),
            "FulfillmentStepJeopardyRule.csv line 2, column EstimatedDurationUnit",
            "'Moons' is not known",
            "use one of Seconds",
        ),
        (
            files(ProductDecompEnrichmentRule=ENRICHMENT + "Ad-verbatim,No rule,a,b,Attribute,,\n"),
            "ProductDecompEnrichmentRule.csv",
            "ProductFulfillmentDecompRule.csv has no rule 'No rule'",
            "correct",
        ),
        (
            step("Call,Lane,Milestone,Plan,,,,,,,,false,,"),
            "FulfillmentStepDefinition.csv line 4, column Name",
            "already",
            "own name",
        ),
        (
            {**files(), "product2.CSV": FILES["Product2"]},
            "product2.CSV",
            "is the same table as Product2.csv",
            "leave one",
        ),
    ],
)
def test_what_is_not_certain_is_refused_with_place_and_mend(given, path, reason, mend):
    error = refused(given)

    assert error.path == path
    assert reason in error.reason
    assert mend in (error.mend or "")
    assert error.facts["problems"][0].startswith(f"{path}: ")


def test_all_problems_are_named_at_once():
    given = swapped("FulfillmentStepDefinition", "Callout", "Robot")
    given["ProductFulfillmentScenario.csv"] = FILES["ProductFulfillmentScenario"].replace(",T-1,", ",T-9,")
    error = refused(given)

    assert {each.partition(" ")[0] for each in error.facts["problems"]} == {
        "FulfillmentStepDefinition.csv",
        "ProductFulfillmentScenario.csv",
        "FulfillmentStepDependencyDef.csv",
    }
    assert "and 2 more" in error.reason


@pytest.mark.parametrize(
    ("bindings", "path"),
    [
        ({"sytems": {}}, "bindings.sytems"),
        ({"timeoutS": 0}, "bindings.timeoutS"),
        ({"systems": {"Net": "a@b"}}, "bindings.systems.Net"),
    ],
)
def test_bindings_of_another_form_are_refused_by_path(bindings, path):
    error = refused(files(), **bindings)

    assert error.path == path
    assert "docs/IMPORT_DRO.md" in (error.mend or "")


# What is probably not as meant.


@pytest.mark.parametrize(
    ("given", "pattern"),
    [
        (swapped("ProductFulfillmentScenario", "Add;Cancel", ""), "has no action, so it can never match"),
        (swapped("ProductFulfillmentScenario", ",T-1,", ",,"), "about no product and no class, so it can never match"),
        (files(FulfillmentStepDefinitionGroup="Name\nLane\nEmpty\n"), "step group 'Empty' has no step"),
        (
            files(ProductFulfillmentScenario=FILES["ProductFulfillmentScenario"] + "Cancel;Add,Lane,Again,T-1,\n"),
            "line 3: scenario 'Again' says the same as line 2",
        ),
        (files(Product2=FILES["Product2"] + ",Account,AlwaysOne,Technical,T-1\n"), "product 'T-1' stands there twice"),
        (files(Product2=FILES["Product2"] + ",,,Nameless,\n"), "'Nameless' has none, so nothing can name it"),
        (files(Product2=FILES["Product2"] + ",,,Idle,I-1\n"), "no scenario and no rule is about 'I-1'"),
        (files(), "in the order of what is added, across the directions: 'Look' waits for 'Call'"),
        (files(FulfillmentWorkspace="Name\nCanvas\n"), "workspace 'Canvas' has no step group; left out"),
        (files(FulfillmentWorkspace="Name\nCanvas\nCanvas\n"), "workspace 'Canvas' stands there twice; once counts"),
        (canvas("Lane,Canvas,1\nLane,Canvas,2\n"), "'Lane' stands in workspace 'Canvas' already; once counts"),
        (canvas("Lane,,1\n"), "is of no workspace or no step group; left out"),
        (
            files(
                ProductClass="StockKeepingUnit,ProductClassification.Name\n",
                ProductFulfillmentDecompRule=FILES["ProductFulfillmentDecompRule"] + "T-1,By class,,,Ghosts\n",
            ),
            "no product is of class 'Ghosts', so this never matches",
        ),
        (step("Wait,Lane,Pause,Plan,,,,,,,,false,,"), "the pause 'Wait' has no resume rule; an operator completes it"),
        (step("Wait,Lane,Pause,Plan,,,,,,,,false,,Rule 7"), "rule 'Rule 7' is not in the export, so an operator"),
    ],
)
def test_what_is_probably_not_meant_is_a_finding(given, pattern):
    assert noted(taken(given), re.escape(pattern))


def test_workspaces_are_diagrams_with_their_step_groups_in_the_order_that_they_are_shown_in():
    groups = FILES["FulfillmentStepDefinitionGroup"] + "First\nLast\n"
    found = taken(canvas("Last,Canvas,\nLane,Canvas,12\nFirst,Canvas,2\n", FulfillmentStepDefinitionGroup=groups))

    assert [each.to_dict("house") for each in found.diagrams] == [
        {"catalogue": "house", "plans": ["First", "Lane", "Last"], "description": "All of it"}
    ]
    assert found.diagrams[0].name == "Canvas"


def test_lanes_that_no_other_file_knows_are_refused_with_their_place():
    error = refused(canvas("Lane,Canvs,1\nNowhere,Canvas,first\n"))

    assert error.facts["problems"] == [
        "FulfillmentWorkspaceItem.csv line 2, column FulfillmentWorkspace.Name: FulfillmentWorkspace.csv has no "
        "'Canvs' (add it to FulfillmentWorkspace.csv, or correct the name)",
        "FulfillmentWorkspaceItem.csv line 3, column FulfillmentStepDefinitionGroup.Name: "
        "FulfillmentStepDefinitionGroup.csv has no 'Nowhere' (add it to FulfillmentStepDefinitionGroup.csv, or correct "
        "the name)",
        "FulfillmentWorkspaceItem.csv line 3, column ShowOrder: 'first' is no number from 0 to 1e+06 (write a plain "
        "number)",
    ]


def test_bindings_that_name_nothing_are_findings():
    found = taken(files(), systems={"Nat": "n"}, flows={"F": "noop"}, users={"u": "v"}, events={"Call": "true"})

    assert [each.partition(":")[0] for each in found.findings if each.startswith("bindings")] == [
        "bindings.systems",
        "bindings.flows",
        "bindings.users",
        "bindings.events",
    ]
