"""Which values may stay, and what stands in their place when they may not.

Every incoming document is classified against the release before anything of it is written. A value that must not stay
(not assetizable) is replaced by a reference `{"$sealed": name}`; the value itself goes to the vault under the order's
own key, which is destroyed when the order ends. An encrypted attribute is replaced by `{"$encrypted": ..., "mac":
...}`, whose keyed hash lets two values be compared without opening them. The vault does the cryptography; this module
only decides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from domain.release import CompiledRelease, ProductDef

SEALED = "$sealed"
ENCRYPTED = "$encrypted"
MASK = "********"
"""What is shown in the place of a value out of sight."""


class Protector(Protocol):
    """Takes values out of sight; implemented by persistence/vault.py."""

    def seal(self, order_id: str, name: str, value: Any) -> dict[str, Any]:
        """Keep the value under the order's key and give the reference to store in its place."""
        ...

    def encrypt(self, tenant: str, owner: str, value: Any) -> dict[str, Any]:
        """Give the ciphertext to store in the value's place; it can be destroyed with its owner's others."""
        ...

    def mac(self, tenant: str, value: Any) -> str:
        """Give the keyed hash that stands beside the value's ciphertext."""
        ...


def is_sealed(value: Any) -> bool:
    """Whether the value is a reference to a sealed one."""
    return isinstance(value, dict) and SEALED in value


def is_encrypted(value: Any) -> bool:
    """Whether the value is a ciphertext."""
    return isinstance(value, dict) and ENCRYPTED in value


def same_value(left: Any, right: Any) -> bool:
    """Equality that also holds for two ciphertexts of one value."""
    if is_encrypted(left) and is_encrypted(right):
        return bool(left.get("mac") == right.get("mac"))
    return bool(left == right)


def key_text(value: Any) -> str | None:
    """The value as the name of a scope instance: short, printable, without what joins the parts of keys.

    None where there is nothing to go by: an absent value, or one that was taken out of sight. A ciphertext goes by its
    keyed hash, so that equal values share an instance without being opened.
    """
    if value is None or is_sealed(value):
        return None
    if is_encrypted(value):
        value = value.get("mac")
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    if len(text) <= _KEY_TEXT_MAX and text.isprintable() and not _KEY_JOINTS & set(text):
        return text
    return "#" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


_KEY_TEXT_MAX = 60
_KEY_JOINTS = frozenset("@~")


def classify(
    release: CompiledRelease,
    product: ProductDef | None,
    attributes: Mapping[str, Any],
    protector: Protector,
    *,
    tenant: str,
    order_id: str,
    line_key: str,
    undeclared: str | None = None,
) -> dict[str, Any]:
    """The attributes as they may be stored: plain, sealed, encrypted, or left out.

    Attributes that the product does not declare follow `undeclared`, else the release's rule of that name.
    """
    stored: dict[str, Any] = {}
    for name, value in attributes.items():
        if is_sealed(value) or is_encrypted(value):
            stored[name] = value
            continue
        declared = product.attributes.get(name) if product else None
        if declared is None:
            rule = undeclared or release.source.undeclared
        else:
            rule = "keep" if declared.assetizable else "seal"
        if rule == "drop":
            continue
        if rule == "seal":
            stored[name] = protector.seal(order_id, f"{line_key}/{name}", value)
        elif declared is not None and declared.encrypted:
            stored[name] = protector.encrypt(tenant, order_id, value)
        else:
            stored[name] = value
    return stored
