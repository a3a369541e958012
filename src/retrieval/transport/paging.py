"""Page tokens: opaque to callers, and good only for the request they came from."""

from __future__ import annotations

import base64
import binascii
import hashlib

from retrieval.domain.errors import InvalidArgumentError
from retrieval.transport.validate import within

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000

_VERSION = b"\x01"
_DIGEST_BYTES = 8


def page_size(value: int) -> int:
    """Entries a page; 0 stands for 50."""
    return within(value, 1, MAX_PAGE_SIZE, "page_size") if value else DEFAULT_PAGE_SIZE


def write_token(last_id: str, *request: bytes) -> str:
    """The token of the page after `last_id`, empty where there is none. `request`: what must be the same next time."""
    if not last_id:
        return ""
    raw = _VERSION + _digest(request) + last_id.encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read_token(token: str, *request: bytes) -> str:
    """The id that a token's page comes after; empty for the first page.

    Raises: InvalidArgumentError (BAD_PAGE_TOKEN) for a token that is malformed or belongs to another request.
    """
    if not token:
        return ""
    head = len(_VERSION) + _DIGEST_BYTES
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        last_id = raw[head:].decode()
    except (binascii.Error, ValueError):
        raw, last_id = b"", ""
    if raw[:head] != _VERSION + _digest(request) or not last_id or "\x00" in last_id:
        raise InvalidArgumentError.of(
            "page_token", "is not a token that this request, with the same filter, returned", reason="BAD_PAGE_TOKEN"
        )
    return last_id


def _digest(parts: tuple[bytes, ...]) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
