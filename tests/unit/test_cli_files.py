"""Files that users write: what is wrong with one is said with its position, and nothing makes the command hang."""

import json
from pathlib import Path
from typing import Any

import pytest

from orderplan.cli import files
from orderplan.cli.common import UserError
from orderplan.cli.files import parse_object, read_document, read_object, write_document


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", '{"a": 1,}', "line 1, column"),
        ("a.json", '{"a": 1\n "b": 2}', "line 2, column 2"),
        ("a.json", '{"a": 1, "a": 2}', "'a' stands twice"),
        ("a.json", '{"a": NaN}', "NaN is no JSON number"),
        ("a.json", "[" * 100_000, "nested deeper"),
        ("a.json", b'{"a": "\xff"}', "not UTF-8 text (byte 7)"),
        ("a.yaml", "a: [1", "line 1, column"),
        ("a.yaml", "a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' stands twice"),
        ("a.yaml", "? [1, 2]\n: x\n", "a key must be a text"),
        ("a.yaml", "a: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("a.yaml", "a: &b [*c]\n", "undefined alias"),
        ("a.yaml", "a: \x07\n", "special characters are not allowed"),
        ("a.yaml", "- " * 5_000 + "1", "nested deeper"),
    ],
)
def test_what_is_malformed_is_said_with_its_place(tmp_path, name, content, said):
    with pytest.raises(UserError) as refused:
        read_document(written(tmp_path, name, content))

    assert said in refused.value.reason
    assert name in refused.value.reason
    assert refused.value.mend


def test_aliases_cannot_stand_for_more_than_there_is_room_for(tmp_path):
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    with pytest.raises(UserError, match="stands for more than"):
        read_document(written(tmp_path, "a.yaml", "\n".join(lines)))


@pytest.mark.parametrize(("name", "bound"), [("a.json", "BYTES_MAX"), ("a.yaml", "YAML_BYTES_MAX")])
def test_a_file_that_is_too_big_is_refused(tmp_path, monkeypatch, name, bound):
    monkeypatch.setattr(files, bound, 10)

    with pytest.raises(UserError, match="MiB"):
        read_document(written(tmp_path, name, '"' + "x" * 20 + '"'))


@pytest.mark.parametrize(
    ("name", "said"), [("missing.json", "there is no file"), (".", "is a folder"), ("a.json/b", "cannot be read")]
)
def test_what_is_no_file_is_refused(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "a.json", "{}")

    with pytest.raises(UserError, match=said):
        read_document(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2026-12-24", {"a": "2026-12-24"}),
        ("a: NO", {"a": "NO"}),
        ("a: on", {"a": "on"}),
        ("a: true\nb: false", {"a": True, "b": False}),
        ("1: x\nno: y", {"1": "x", "no": "y"}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
    ],
)
def test_yaml_is_read_in_the_way_of_json(tmp_path, text, value):
    assert read_document(written(tmp_path, "a.yaml", text)) == value


@pytest.mark.parametrize(("content", "said"), [("[]", "a list"), ("", "empty"), ("5", "a single value")])
def test_what_must_be_an_object_is_one(tmp_path, content, said):
    with pytest.raises(UserError, match=said):
        read_object(written(tmp_path, "a.yaml", content), "an order")


@pytest.mark.parametrize("text", ["{", "[1]", "5", '{"a": 1, "a": 2}'])
def test_an_option_that_is_no_object_is_refused_with_an_example(text):
    with pytest.raises(UserError) as refused:
        parse_object(text, "--data")

    assert "--data '{" in (refused.value.mend or "")


def test_an_option_may_name_a_file(tmp_path):
    name = written(tmp_path, "a.json", '{"a": 1}')

    assert parse_object(f"@{name}", "--data") == {"a": 1}


@pytest.mark.parametrize("name", ["out.yaml", "out.json"])
def test_what_is_written_reads_back(tmp_path, name):
    document: dict[str, Any] = {"version": "1", "when": "2026-12-24", "flag": True, "names": ["é", "no"]}
    write_document(tmp_path / name, document)

    assert read_document(str(tmp_path / name)) == document


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        write_document(tmp_path / "missing" / "out.json", {})


def test_json_is_known_by_its_first_sign(tmp_path):
    name = written(tmp_path, "order", json.dumps({"a": [1]}))

    assert read_document(name) == {"a": [1]}
