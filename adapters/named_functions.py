"""Functions of one's own that a release names: by entry point, or by `module:function`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any


def find_function(group: str, what: str, name: str) -> Callable[..., Any] | str:
    """The function of that name; a sentence that says why there is none.

    Args:
        group: of the entry points in which packages name theirs.
        what: is looked for, as the sentence calls it: `auto task`.
        name: of an entry point, or `module:function`.
    """
    address = name
    if ":" not in name:
        found = {each.value for each in entry_points(group=group, name=name)}
        if len(found) != 1:
            who = f"several packages name it ({', '.join(sorted(found))})" if found else "no installed package names it"
            return f"there is no {what} {name!r}: {who} in the entry points {group}"
        address = found.pop()
    module_name, _, function_name = address.partition(":")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        return f"{what} {name!r} cannot be imported: {type(error).__name__}: {error}"
    return function if callable(function) else f"{what} {name!r} is no function but a {type(function).__name__}"
