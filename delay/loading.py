"""Finds the delay model that a deployment asks for: by its address, `package.module:attribute`, or by the name that its
package gave it as an entry point of the group `orderplan.delay_models`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Final

from delay.model import DelayModel
from domain.errors import BadDocument

GROUP: Final = "orderplan.delay_models"
_PATH: Final = "delayModel"


def check_address(address: str) -> None:
    """Pass if the address has the right form and its module is to be found; the module is not run.

    Raises:
        BadDocument: it has not, or it is not.
    """
    module_name, _, attribute = _resolved(address).partition(":")
    if not attribute or not all(part.isidentifier() for part in f"{module_name}.{attribute}".split(".")):
        mend = f"write it as package.module:Class, or give the name of an entry point of the group {GROUP}"
        raise BadDocument(f"{address!r} names no delay model", path=_PATH, mend=mend)
    try:
        found = find_spec(module_name)
    except ImportError:
        found = None
    if found is None:
        raise BadDocument(
            f"there is no module {module_name!r} for the delay model",
            path=_PATH,
            mend="install the package on every node, or put its folder on PYTHONPATH",
        )


def _resolved(address: str) -> str:
    """The address; that of an entry point for a name without a colon."""
    if ":" in address:
        return address
    found = entry_points(group=GROUP, name=address) if address else ()
    return next((each.value for each in found), address)


def load_attribute(address: str) -> Any:
    """What the address names; its module is run.

    Raises:
        BadDocument: the address names nothing. Whatever the module's own code raises passes through.
    """
    check_address(address)
    module_name, _, attribute = _resolved(address).partition(":")
    found: Any = import_module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise BadDocument(f"module {module_name!r} has no {attribute!r}", path=_PATH, mend="check the spelling")
        found = getattr(found, part)
    return found


def load_model(address: str) -> DelayModel:
    """The model: what the address names, called without arguments if it is a class or a function.

    Raises:
        BadDocument: the address names none. Whatever the model's own code raises passes through.
    """
    found = load_attribute(address)
    model = found() if isinstance(found, type) or not isinstance(found, DelayModel) else found
    if not isinstance(model, DelayModel):
        raise BadDocument(
            f"{address!r} gives a {type(model).__name__}, which has no fit and predict",
            path=_PATH,
            mend="write `def fit(self, history)` and `def predict(self, snapshots)`",
        )
    return model
