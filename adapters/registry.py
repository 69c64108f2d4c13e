"""Finds the adapter that a system's environment asks for: a stock one, a plug-in by name, or a class by its address."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from adapters.http import HttpAdapter
from adapters.interface import Adapter
from adapters.simulated import SimulatedAdapter
from domain.errors import BadDocument

GROUP: Final = "orderplan.adapters"
"""The entry-point group in which installed packages name their adapters."""
STOCK: Final[dict[str, Callable[[Mapping[str, Any]], Adapter]]] = {"http": HttpAdapter, "simulated": SimulatedAdapter}
_KIND: Final = "adapter"
"""The path of the name in errors; the configuration stands beside it, under `config`."""


def build_adapter(kind: str, config: Mapping[str, Any]) -> Adapter:
    """The adapter of that kind, built and ready; nothing is connected yet.

    Args:
        kind: `http`, `simulated`, a name from the entry points `orderplan.adapters`, or `module:Class`.
        config: given to the stock adapters whole, to every other class as keyword arguments (none when empty).
    Raises:
        BadDocument: there is no such adapter, it cannot be imported or built, or its configuration is wrong; the path
            is `adapter` or `config...`, and the mend says what to do.
    """
    if kind in STOCK:
        return STOCK[kind](config)
    return _checked(kind, _build(kind, _find(kind), config))


def adapter_kinds() -> tuple[str, ...]:
    """Every name that stands for an adapter here, stock ones first."""
    plugged = sorted({each.name for each in entry_points(group=GROUP)} - STOCK.keys())
    return (*STOCK, *plugged)


def _find(kind: str) -> Callable[..., Any]:
    if ":" in kind:
        return _imported(kind, kind)
    found = {each.value for each in entry_points(group=GROUP, name=kind)}
    if not found:
        raise BadDocument(
            f"there is no adapter {kind!r}",
            path=_KIND,
            mend=f"known are {', '.join(adapter_kinds())}; a class of one's own is named module:Class",
        )
    if len(found) > 1:
        raise BadDocument(
            f"several packages name an adapter {kind!r}: {', '.join(sorted(found))}",
            path=_KIND,
            mend="uninstall all but one, or name the class itself, as module:Class",
        )
    return _imported(kind, found.pop())


def _imported(kind: str, address: str) -> Callable[..., Any]:
    module_name, _, class_name = (part.strip() for part in address.partition(":"))
    if not class_name or not all(part.isidentifier() for part in f"{module_name}.{class_name}".split(".")):
        raise BadDocument(f"{kind!r} names no class", path=_KIND, mend="write it as package.module:Class")
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _broken(kind, module_name, error) from error
        raise BadDocument(
            f"there is no module {error.name!r} for adapter {kind!r}",
            path=_KIND,
            mend="install the package on every node, or put its folder on PYTHONPATH",
        ) from error
    except Exception as error:
        # Whatever a user's module does while it is imported is theirs to mend, and no other system's to suffer from.
        raise _broken(kind, module_name, error) from error
    for part in class_name.split("."):
        if not hasattr(found, part):
            mend = f"check the spelling; the class must stand in {module_name}"
            raise BadDocument(f"module {module_name!r} has no {class_name!r}", path=_KIND, mend=mend)
        found = getattr(found, part)
    if not isinstance(found, type):
        raise BadDocument(f"{kind!r} is no class but a {type(found).__name__}", path=_KIND, mend="name the class")
    for name in ("perform", "close"):
        # Before it is constructed: a constructor may do anything.
        if not callable(getattr(found, name, None)):
            raise BadDocument(
                f"adapter {kind!r} has no {name}", path=_KIND, mend=f"write `async def {name}({_SIGNATURES[name]}`"
            )
    made: Callable[..., Any] = found
    return made


def _build(kind: str, make: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    try:
        inspect.signature(make).bind(**config)
    except TypeError as error:
        raise BadDocument(
            f"adapter {kind!r} cannot be built from its config: {error}",
            path="config",
            mend=f"its members must be the arguments of {_call_form(make)}",
        ) from error
    except ValueError:
        # A class written in C may have no signature to look at.
        pass
    try:
        return make(**config)
    except BadDocument:
        raise
    except Exception as error:
        raise BadDocument(
            f"adapter {kind!r} cannot be built: {type(error).__name__}: {error}",
            path="config",
            mend="check the values that its constructor is given",
        ) from error


def _checked(kind: str, made: Any) -> Adapter:
    for name in ("perform", "close"):
        method = getattr(made, name, None)
        if not callable(method) or getattr(type(made), name, None) is Adapter.perform:
            reason, mend = f"adapter {kind!r} has no {name}", f"write `async def {name}({_SIGNATURES[name]}`"
        elif inspect.isfunction(getattr(method, "__func__", method)) and not inspect.iscoroutinefunction(method):
            reason, mend = f"{name} of adapter {kind!r} is not async", f"write `async def {name}({_SIGNATURES[name]}`"
        else:
            continue
        raise BadDocument(reason, path=_KIND, mend=mend)
    adapter: Adapter = made
    return adapter


_SIGNATURES: Final = {"perform": "self, task: Task) -> Outcome", "close": "self) -> None"}


def _broken(kind: str, module_name: str, error: Exception) -> BadDocument:
    return BadDocument(
        f"module {module_name!r} of adapter {kind!r} cannot be imported: {type(error).__name__}: {error}",
        path=_KIND,
        mend=f"mend what `python -c 'import {module_name}'` shows",
    )


def _call_form(make: Callable[..., Any]) -> str:
    name = getattr(make, "__name__", "the class")
    return f"{name}{inspect.signature(make)}"
