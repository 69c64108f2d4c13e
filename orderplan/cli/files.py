"""Files that users write, YAML or JSON: read with the position of what is wrong, and with bounds.

YAML is read in the JSON way, because that is what travels: dates stay texts, only `true` and `false` are booleans (a
country code NO stays a text), and a key that stands twice is refused instead of the last one winning.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import yaml

from orderplan.cli.common import UserError

BYTES_MAX: Final = 32 * 1024 * 1024
YAML_BYTES_MAX: Final = 4 * 1024 * 1024
"""YAML takes a hundred times as long to read as JSON."""
VALUES_MAX: Final = 2_000_000
DEPTH_MAX: Final = 64
FOLDER_FILES_MAX: Final = 100


def read_document(name: str, what: str = "a document") -> Any:
    """The content of a YAML or JSON file; `-` is standard input.

    Raises:
        UserError: it is missing, too big, no text, malformed (the position is in the reason) or nested too deep.
    """
    text = _text(name, what)
    is_json = name.endswith(".json") or text.lstrip()[:1] in ("{", "[")
    document = _read_json(name, text) if is_json else _read_yaml(name, text)
    _check_size(name, document)
    return document


def read_object(name: str, what: str = "a document") -> dict[str, Any]:
    """The content of a file that must be one object.

    Raises:
        UserError: as `read_document`, or it holds something else.
    """
    document = read_document(name, what)
    if not isinstance(document, dict):
        kind = "a list" if isinstance(document, list) else "empty" if document is None else "a single value"
        raise UserError(f"{name} is {kind}; {what} must be one object", mend="put one document into the file")
    return document


def read_folder(name: str, ending: str) -> dict[str, bytes]:
    """The files of a folder whose names end so, by name.

    Raises:
        UserError: there is no such folder, it has none or too many of them, or one is too big or cannot be read.
    """
    folder = Path(name)
    if not folder.is_dir():
        there_is = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{name} {there_is}", mend=f"name the folder that holds the {ending} files")
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ending and path.is_file())
        if not paths:
            raise UserError(f"{name} holds no {ending} file", mend="name the folder that holds them")
        if len(paths) > FOLDER_FILES_MAX:
            raise UserError(f"{name} holds more than {FOLDER_FILES_MAX} {ending} files", mend="use a folder of its own")
        for path in paths:
            if path.stat().st_size > BYTES_MAX:
                raise UserError(f"{path} is larger than {BYTES_MAX // 2**20} MiB", mend="split it")
        return {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}", mend="check path and permissions") from error


def document_text(document: Any, *, is_json: bool) -> str:
    """A document as text, YAML or JSON."""
    if is_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def parse_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object given on the command line; `@FILE` reads a file.

    Raises:
        UserError: it is none.
    """
    if text.startswith("@"):
        return read_object(text[1:], option)
    try:
        document = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{option} is not JSON: {error}", mend=f'write it as {option} \'{{"name": "value"}}\' or {option} @FILE'
        ) from error
    if not isinstance(document, dict):
        raise UserError(f"{option} must be a JSON object", mend=f'write it as {option} \'{{"name": "value"}}\'')
    return document


def write_document(path: Path, document: Any) -> None:
    """Write YAML, or JSON where the name says so.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, document_text(document, is_json=path.suffix == ".json"))


def write_text(path: Path, text: str) -> None:
    """Write a text.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", mend="name another file") from error


@contextlib.contextmanager
def opened_lines(name: str) -> Iterator[BinaryIO]:
    """A file to be read line by line, however long it is; `-` is standard input.

    Raises:
        UserError: it is missing or cannot be read.
    """
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - what fails while it is read is the caller's
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}", mend="check path and permissions") from error
    with file:
        yield file


@contextlib.contextmanager
def opened_for_errors(path: Path | None) -> Iterator[TextIO]:
    """A file to write to; without a path what is written goes nowhere.

    Raises:
        UserError: it cannot be written.
    """
    try:
        file = Path(os.devnull if path is None else path).open("w", encoding="utf-8")  # noqa: SIM115 - as above
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", mend="name another file") from error
    with file:
        yield file


def _text(name: str, what: str) -> str:
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(BYTES_MAX + 1)
        else:
            path = Path(name)
            if path.is_dir():
                raise UserError(f"{name} is a folder, not a file", mend=f"name the file that holds {what}")
            with path.open("rb") as file:
                raw = file.read(BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {name}", mend="check the path") from error
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}", mend="check path and permissions") from error
    if len(raw) > BYTES_MAX:
        raise UserError(f"{name} is larger than {BYTES_MAX // 2**20} MiB", mend="split it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start})", mend="save it as UTF-8") from error


def _read_json(name: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{name}, line {error.lineno}, column {error.colno}: {error.msg}", mend="mend the JSON there"
        ) from error
    except ValueError as error:
        raise UserError(f"{name}: {error}", mend="mend the JSON") from error
    except RecursionError as error:
        raise _too_deep(name) from error


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {key!r} stands twice in one object")
        made[key] = value
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _read_yaml(name: str, text: str) -> Any:
    if len(text) > YAML_BYTES_MAX:
        raise UserError(
            f"{name} is YAML of more than {YAML_BYTES_MAX // 2**20} MiB", mend="split it, or write it as JSON"
        )
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{name}{where}: {error.problem or error.context}", mend="mend the YAML there") from error
    except yaml.YAMLError as error:
        raise UserError(f"{name}: {' '.join(str(error).split())}", mend="mend the YAML") from error
    except RecursionError as error:
        raise _too_deep(name) from error


class _Loader(yaml.SafeLoader):
    """YAML with JSON's kinds of values."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are texts and stand there once."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
            if key in seen:
                problem = f"the key {key!r} stands twice in one mapping"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
            # 1: and yes: are keys like any other.
            key_node.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


_PLAIN: Final = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _PLAIN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _first, _word in (("t", "true"), ("f", "false")):
    _Loader.yaml_implicit_resolvers.setdefault(_first, []).append(("tag:yaml.org,2002:bool", re.compile(f"^{_word}$")))


def _check_size(name: str, document: Any) -> None:
    """Refuse what would not end: YAML's aliases let a small file stand for a huge document."""
    level = [document]
    values = 0
    for _ in range(DEPTH_MAX + 1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
            if values + len(below) > VALUES_MAX:
                raise UserError(f"{name} stands for more than {VALUES_MAX} values", mend="split it")
        if not below:
            return
        values += len(below)
        level = below
    raise _too_deep(name)


def _too_deep(name: str) -> UserError:
    return UserError(f"{name} is nested deeper than {DEPTH_MAX} levels", mend="make it flatter")
