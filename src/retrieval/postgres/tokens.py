"""Consistency tokens: the id of the writing transaction, opaque to callers.

Reads from the primary see every committed transaction, so Postgres itself satisfies any token at once; a cache that
follows the change log compares the id with its position.
"""

from __future__ import annotations

import base64
import binascii
import re

from retrieval.domain.errors import InvalidArgumentError

_FORM = re.compile(rb"r1:(\d{1,20})")


def make_token(transaction_id: str) -> str:
    """Token of a transaction id (xid8 as text)."""
    return base64.urlsafe_b64encode(f"r1:{transaction_id}".encode()).decode().rstrip("=")


def read_token(token: str) -> int:
    """Transaction id of a token. Raises: InvalidArgumentError (BAD_CONSISTENCY_TOKEN)."""
    try:
        text = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        text = b""
    match = _FORM.fullmatch(text)
    # Base64 has several spellings of the same bytes; only the one that was given out counts.
    if match is None or make_token(match[1].decode()) != token:
        raise InvalidArgumentError.of(
            "options.min_consistency_token", "is not a token of this service", reason="BAD_CONSISTENCY_TOKEN"
        )
    return int(match[1])
