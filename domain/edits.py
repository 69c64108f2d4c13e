"""What an operator may make of the payload of a callout that failed.

An edit is kept as a fact, so nothing of it may be a value that must not be seen. Where the payload holds a sealed or
encrypted value the operator sees asterisks, and the edit has the same asterisks there (the value stays) or leaves the
member out (the system gets none). Everything else at such a place is refused, and so is a new value under a name whose
values would have been hidden had they come with the order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from domain.errors import BadDocument, ExpressionFailed
from domain.items import ItemRun
from domain.payloads import next_payload
from domain.plan import Plan
from domain.sealing import ENCRYPTED, MASK, SEALED, is_encrypted, is_sealed

_MEND: Final = f'send "{MASK}" to keep the value as it is, or leave the member out'


def edited_payload(plan: Plan, item: ItemRun, given: Mapping[str, Any], *, is_patch: bool) -> dict[str, Any]:
    """The payload of the next attempts, with references where its values are out of sight.

    Args:
        plan: the item's plan.
        item: a callout.
        given: the whole payload; or, as a patch (RFC 7396), the members that change: null removes one.
        is_patch: which of the two it is.
    Raises:
        BadDocument: it would put a value in the clear that must not be seen; `path` names the member.
    """
    try:
        current = next_payload(plan, item)
    except ExpressionFailed:
        # Nothing could be sent, which may be what the edit mends; names still tell what has to stay hidden.
        current = {}
    at = "patch" if is_patch else "payload"
    wanted = merged(current, given) if is_patch else given
    checked: dict[str, Any] = _Rules(plan, item).checked(wanted, current, at)
    return checked


def merged(current: Any, patch: Any) -> Any:
    """A JSON merge patch laid over a document (RFC 7396); neither is changed. References count as single values."""
    if not isinstance(patch, Mapping):
        return patch
    if is_sealed(current) or is_encrypted(current) or not isinstance(current, dict):
        current = {}
    laid = dict(current)
    for name, value in patch.items():
        if value is None:
            laid.pop(name, None)
        else:
            laid[name] = merged(laid.get(name), value)
    return laid


class _Rules:
    """Which members of one item's payload hold, or would hold, what must not be seen."""

    def __init__(self, plan: Plan, item: ItemRun) -> None:
        products = [plan.release.products[line.product] for line in plan.lines_of(item)]
        declared = [each for product in products for each in product.attributes.values()]
        self._names = {each.name for each in declared if each.encrypted or not each.assetizable}
        # Undeclared attributes follow the release; a payload shows attributes as such in one place only.
        keeps_undeclared = plan.release.source.undeclared == "keep"
        self._attributes = None if keeps_undeclared else {each.name for each in declared}
        request = item.definition.request if item.definition is not None else None
        self._fields = {name for name, each in (request or {}).items() if self._reads_hidden(each.source)}

    def _reads_hidden(self, source: str) -> bool:
        return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", source) for name in self._names)

    def _is_hidden(self, name: str, parent: str, depth: int) -> bool:
        if name in self._names or (depth == 0 and name in self._fields):
            return True
        return parent == "attributes" and self._attributes is not None and name not in self._attributes

    def checked(self, wanted: Any, current: Any, path: str, parent: str = "", depth: int = 0) -> Any:
        """The wanted document with its references in place."""
        if is_sealed(current) or is_encrypted(current):
            if wanted in (MASK, current):
                return current
            raise BadDocument("holds a value that must not be seen; it cannot be edited", path=path, mend=_MEND)
        if isinstance(wanted, Mapping):
            if SEALED in wanted or ENCRYPTED in wanted:
                raise BadDocument("a reference to a hidden value cannot be made by an edit", path=path)
            known = current if isinstance(current, dict) else {}
            return {
                name: self._member(name, value, known.get(name), f"{path}.{name}", parent, depth)
                for name, value in wanted.items()
            }
        if isinstance(wanted, list):
            known_list = current if isinstance(current, list) else []
            return [
                self.checked(value, known_list[n] if n < len(known_list) else None, f"{path}[{n}]", parent, depth + 1)
                for n, value in enumerate(wanted)
            ]
        if wanted == MASK:
            raise BadDocument("stands for a hidden value, but the payload has none here", path=path)
        return wanted

    def _member(self, name: str, value: Any, current: Any, path: str, parent: str, depth: int) -> Any:
        is_kept = is_sealed(current) or is_encrypted(current)
        if not is_kept and value is not None and value != current and self._is_hidden(name, parent, depth):
            raise BadDocument(
                "is the name of a value that must not be seen; an edit would keep it in the clear",
                path=path,
                mend="leave it out; the value has to come with the order",
            )
        return self.checked(value, current, path, name, depth + 1)
