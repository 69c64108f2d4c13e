"""docs/RULES.md and the tests that show its rules: neither says anything that the other does not."""

from __future__ import annotations

import re

import pytest

from docs.make_rules import TARGET, Mark, marks, marks_of, problems, render, rows

PAGE = TARGET.read_text(encoding="utf-8")
MARKS = marks()

SMALL = """
| id | rule | ours | shown by |
|---|---|---|---|
| B1.1 | It begins. | | |
| B1.2 | It ends. | It never ends. | |
"""


def shown(*rules: str, fault: str = "") -> list[Mark]:
    return [Mark(rule, "tests/unit/test_x.py", "test_it", fault) for rule in rules]


# The page as it is.


def test_every_rule_has_a_test_and_every_mark_a_rule() -> None:
    assert problems(PAGE, MARKS) == []


def test_the_last_column_is_written_from_the_marks() -> None:
    assert render(PAGE, MARKS) == PAGE, "run `python -m docs.make_rules`"


def test_the_page_numbers_the_rules_of_each_section_from_one_without_a_gap() -> None:
    found = list(rows(PAGE))
    counts = {"B1": 9, "B2": 33, "B3": 16, "C1": 18, "C2": 17, "C3": 12, "F": 23}

    assert found == [f"{section}.{number}" for section, count in counts.items() for number in range(1, count + 1)]


def test_every_rule_says_what_holds() -> None:
    for rule, (theirs, ours) in rows(PAGE).items():
        assert theirs, rule
        assert not re.match("Open|None", theirs) or ours, f"{rule} says neither what the references do nor what we do"


# What is wrong is told.


def test_a_page_whose_rules_are_all_shown_is_right() -> None:
    assert problems(SMALL, shown("B1.1", "B1.2")) == []


def test_a_rule_without_a_test_is_told() -> None:
    assert problems(SMALL, shown("B1.1")) == ["B1.2 has no test: It never ends."]


def test_a_mark_of_a_rule_that_the_page_does_not_have_is_told() -> None:
    assert problems(SMALL, shown("B1.1", "B1.2", "B1.3")) == [
        "tests/unit/test_x.py::test_it shows B1.3, which docs/RULES.md does not have"
    ]


def test_a_test_that_does_not_run_shows_nothing() -> None:
    assert problems(SMALL, [*shown("B1.1", fault="does not run by default"), *shown("B1.2")]) == [
        "tests/unit/test_x.py::test_it shows B1.1 and does not run by default",
        "B1.1 has no test: It begins.",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("| B1.1 | It begins anew. | | |", "rule B1.1 stands there twice"),
        ("| B1.3 | It begins. | |", "a row has id, rule, ours and shown by"),
        ("| B1.3 | It begins. | | | |", "a row has id, rule, ours and shown by"),
    ],
)
def test_a_row_that_could_be_misread_is_refused(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rows(f"{SMALL}\n{line}\n")


def test_the_last_column_names_the_tests_file_by_file() -> None:
    found = [*shown("B1.1"), *(Mark("B1.1", "tests/unit/test_y.py", f"test_{each}") for each in "ab")]
    page = render(SMALL, found)

    assert "| B1.1 | It begins. | | `tests/unit/test_x.py`: test_it; `tests/unit/test_y.py`: test_a, test_b |" in page
    assert "| B1.2 | It ends. | It never ends. |  |" in page
    assert render(page, found) == page


# How marks are read.


MODULE = '''
pytestmark = pytest.mark.rule("B1.1")

@pytest.mark.rule("B1.2", "B1.3")
@pytest.mark.parametrize("each", [1, pytest.param(2, marks=pytest.mark.rule("B1.4"))])
async def test_one(each): ...

class TestSome:
    @pytest.mark.rule("B1.5")
    def test_two(self): ...

@pytest.mark.rule("B1.6")
def helper(): ...

@pytest.mark.rule("B1.7")
@pytest.mark.skip
def test_three(): ...

@pytest.mark.rule("B1.8")
@pytest.mark.xfail(reason="later")
def test_four(): ...

@pytest.mark.rule(NAMED)
def test_five(): ...

@pytest.mark.rule()
def test_six(): ...

@pytest.mark.slow
@pytest.mark.rules("B1.9")
def test_seven(): ...
'''


def test_marks_are_read_from_functions_methods_and_cases_and_say_what_is_wrong_with_them() -> None:
    found = [(mark.rule, mark.test, mark.fault) for mark in marks_of(MODULE, "tests/unit/test_x.py")]

    assert found == [
        ("B1.2", "test_one", ""),
        ("B1.3", "test_one", ""),
        ("B1.4", "test_one", ""),
        ("B1.6", "helper", "is no test"),
        ("B1.7", "test_three", "does not run by default"),
        ("B1.8", "test_four", "does not run by default"),
        (None, "test_five", "names it other than by its text"),
        (None, "test_six", "names no rule"),
        ("B1.5", "test_two", ""),
        ("B1.1", "line 2", "is no test"),
    ]


def test_the_marks_of_this_folder_are_found() -> None:
    assert len({mark.path for mark in MARKS}) > 5
