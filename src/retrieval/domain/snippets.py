"""What is done to an excerpt before it is shown."""

from __future__ import annotations

import html
import re

START, STOP = "\x01", "\x02"
"""Stand for the markers until the text is safe; a text's own control characters are taken out before."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def finish(excerpt: str, start_marker: str, end_marker: str, *, raw: bool) -> str:
    """An excerpt with START and STOP around what matched, as the caller wants it.

    Unless `raw`, what has a meaning in HTML is escaped in the text, not in the markers.
    """
    pieces = re.split(f"([{START}{STOP}])", excerpt)
    markers = {START: start_marker, STOP: end_marker}
    shown = (markers[piece] if piece in markers else _clean(piece, raw=raw) for piece in pieces)
    return "".join(shown).strip()


def _clean(piece: str, *, raw: bool) -> str:
    spaced = CONTROL.sub(" ", piece)
    return spaced if raw else html.escape(spaced)
