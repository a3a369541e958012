"""Consistency tokens: the number of writes so far, opaque to callers. Reads always reflect every write."""

from __future__ import annotations

import base64
import binascii
import re

from retrieval.domain.errors import InvalidArgumentError

_FORM = re.compile(rb"m1:(\d{1,20})")


def make_token(writes: int) -> str:
    """Token of the state after `writes` writes."""
    return base64.urlsafe_b64encode(f"m1:{writes}".encode()).decode().rstrip("=")


def check_token(token: str) -> None:
    """Refuse what is no token. Raises: InvalidArgumentError (BAD_CONSISTENCY_TOKEN)."""
    try:
        text = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        text = b""
    match = _FORM.fullmatch(text)
    # Base64 has several spellings of the same bytes; only the one that was given out counts.
    if match is None or make_token(int(match[1])) != token:
        raise InvalidArgumentError.of(
            "options.min_consistency_token", "is not a token of this service", reason="BAD_CONSISTENCY_TOKEN"
        )
