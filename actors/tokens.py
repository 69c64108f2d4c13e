"""Callback tokens: the effect key, signed. No table: whoever holds a token may answer that one attempt, nothing
else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from domain.errors import NotFound

_TAG_BYTES = 16


def token_of(secret: bytes, key: str) -> str:
    """The token for an effect key."""
    body = key.encode()
    tag = hashlib.blake2b(body, key=secret[:64], digest_size=_TAG_BYTES).digest()
    return base64.urlsafe_b64encode(tag + body).decode().rstrip("=")


def key_of(secret: bytes, token: str) -> str:
    """The effect key that a token stands for.

    Raises:
        NotFound: the token was not made with this secret.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if hmac.compare_digest(tag, hashlib.blake2b(body, key=secret[:64], digest_size=_TAG_BYTES).digest()):
            return body.decode()
    except (binascii.Error, ValueError):
        pass
    raise NotFound("the callback token is not known")
