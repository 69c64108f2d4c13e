"""What an operator sees of an explanation: the sentence first, then from cause to consequence."""

from typing import Any

from rich.console import Console

from orderplan.cli.explain import rendered


def seen(told: dict[str, Any]) -> list[str]:
    screen = Console(width=200, no_color=True)
    with screen.capture() as capture:
        for part in rendered({"reasons": [], "items": [], "more": 0} | told):
            screen.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


def item(key: str, state: str, *reasons: dict[str, Any], count: int = 0, behind: list[str] | None = None) -> Any:
    held_up = {"count": count, "isAtLeast": False, "items": behind or []}
    return {"item": key, "name": key, "state": state, "reasons": list(reasons), "holdsUp": held_up}


def reason(code: str, text: str, **facts: Any) -> dict[str, Any]:
    return {"code": code, "text": text, "facts": facts}


def test_what_stands_in_the_way_is_the_top_of_the_tree_and_what_waits_is_below_it() -> None:
    chain = [{"item": "p/a@1", "state": "Fatally Failed"}, {"item": "p/b@1", "state": "Pending"}]
    waits = reason("waitsForItem", "It waits for b.", chain=chain)
    shown = seen({"summary": "It waits for b.", "items": [item("p/c@1", "Pending", waits, count=3, behind=["p/d@1"])]})

    assert shown == [
        "It waits for b.",
        "",
        "p/a@1  Fatally Failed",
        "└── p/b@1  Pending",
        "    └── p/c@1  p/c@1  Pending",
        "        ├── It waits for b.  waitsForItem",
        "        └── holds up p/d@1 and 2 more",
    ]


def test_values_are_shown_as_they_were_and_as_they_are_now_if_they_have_changed() -> None:
    was, now = {"1": {"attributes.number": "absent"}}, {"1": {"attributes.number": "[red]079"}}
    told = reason("conditionFalse", "It did not hold.", values=was, valuesNow=now)
    shown = seen({"summary": "It did not hold.", "items": [item("p/a@1", "Skipped", told)]})

    assert shown[-1] == "    └── 1: attributes.number = absent; now attributes.number = [red]079"


def test_a_sentence_that_is_the_summary_is_not_said_again_for_the_order() -> None:
    shown = seen({"summary": "It ended.", "reasons": [reason("ended", "It ended."), reason("noWork", "No work.")]})

    assert shown == ["It ended.", "", "why", "└── No work.  noWork"]
