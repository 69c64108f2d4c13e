"""Which values an expression reads, for those who want to know why it came out as it did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from domain.expression_syntax import Access, Index, Literal, Name, Select, parse
from domain.expressions import ABSENT, read_path
from domain.sealing import MASK, is_encrypted, is_sealed

SHOWN_MAX = 200
"""Characters of a value that an explanation shows."""


def paths_of(source: str, variables: Collection[str]) -> list[tuple[str, ...]]:
    """Paths from the variables that the text reads, in the order of its first reading; without what macros bind.

    Raises:
        SyntaxRefused: it is no expression.
    """
    return list(dict.fromkeys(path for path in _paths(parse(source)) if path[0] in variables))


def _paths(node: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(node, Access) and isinstance(node.root, Name):
        path = [node.root.name]
        for step in node.steps:
            if isinstance(step, Select):
                path.append(step.field)
            elif isinstance(step, Index) and isinstance(step.key, Literal) and step.key.kind == "string":
                path.append(step.key.text[1:-1])
            else:
                break
        yield tuple(path)
        for step in node.steps:
            if not isinstance(step, Select):
                yield from _paths(step)
    elif isinstance(node, Name):
        yield (node.name,)
    elif isinstance(node, tuple | list):
        for each in node:
            yield from _paths(each)
    elif is_dataclass(node):
        for member in fields(node):
            yield from _paths(getattr(node, member.name))


def values_read(source: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """What the text reads of a context, by dotted path: the value, `absent`, or asterisks for what must not be seen."""
    return {".".join(path): shown(read_path(context, path)) for path in paths_of(source, context.keys())}


def shown(value: Any) -> Any:
    """A value as an explanation may show it."""
    if value is ABSENT:
        return "absent"
    if is_sealed(value) or is_encrypted(value):
        return MASK
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in value[:20]]
    return value[:SHOWN_MAX] if isinstance(value, str) else value
