"""The file form of a release: what is refused is named by its path, and what is written reads back."""

from typing import Any

import pytest

from domain.errors import BadRelease
from domain.publish import compile_release
from domain.release_file import read_release, release_document

SMALL: dict[str, Any] = {
    "code": "small",
    "version": "1",
    "products": [{"code": "A", "externalId": "a"}],
    "plans": [{"code": "P", "items": [{"code": "i", "type": "milestone"}]}],
    "scenarios": [{"plan": "P", "product": "A", "actions": ["add"]}],
}


def test_what_is_written_reads_back():
    release = read_release(SMALL)

    assert read_release(release_document(release)) == release
    assert release_document(release) == {"format": "orderplan.release/1", **SMALL}


@pytest.mark.parametrize(
    ("document", "path", "reason"),
    [
        ([], "$", "must be an object"),
        ({**SMALL, "products": None}, "products", "tuple"),
        ({"code": "small", "products": []}, "version", "is missing"),
        ({**SMALL, "colour": "red"}, "colour", "is unknown"),
        ({**SMALL, "products": [{"code": "A"}, {"code": ""}]}, "products[1].code", "at least 1"),
        ({**SMALL, "plans": [{"code": "P", "items": [{"code": "i"}]}]}, "plans[0].items[0].type", "is missing"),
    ],
)
def test_a_wrong_form_is_named_by_its_path(document, path, reason):
    with pytest.raises(BadRelease) as refused:
        read_release(document)

    assert refused.value.path == path
    assert reason in refused.value.reason
    assert refused.value.facts["problems"][0].startswith(f"{path}: ")


def test_all_problems_are_listed_at_once():
    with pytest.raises(BadRelease, match="and 2 more") as refused:
        read_release({"products": "none"})

    assert len(refused.value.facts["problems"]) == 3


def test_a_static_null_is_written_although_null_is_the_default():
    rule = {"name": "r", "source": "A", "target": "B", "map": [{"to": "x", "static": None}]}
    release = read_release({**SMALL, "products": [*SMALL["products"], {"code": "B"}], "decompositions": [rule]})

    compile_release(read_release(release_document(release)))
