"""Cuts a text into spans for embedding: short enough for a model, and where a reader would pause."""

from __future__ import annotations

import re
import unicodedata

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE = re.compile(
    "[.!?\u2026]+[\"'\u201d\u2019\u00bb)\\]]*\\s+|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019]*\\s*|\n\\s*"
)
"""Also the end of a line. The ideographic full stop and the full-width marks need no space after them."""
_WORD = re.compile(r"\s+")
_WORD_BEGINS = re.compile(r"(?<=\s)\S")
_JOINER = "\u200d"
LEAST_FILLED = 0.5
"""The end of a paragraph or sentence may leave so much of a span unused, no more: else spans are many and short."""


def split_text(text: str, max_chars: int, overlap: int) -> list[tuple[int, int]]:
    """Spans, half open in code points, that cover the text in order, each at most `max_chars` long.

    A span ends at the last end of a paragraph in its second half, else of a sentence there, else of a word, else where
    it is full; white space belongs to what stands before it. Each but the first begins up to `overlap` code points
    before the end of the one before it, where a word begins. A combining mark is not parted from its letter unless
    nothing else is left. A text that fits is one span, an empty one none.

    Raises: ValueError unless 0 <= overlap < max_chars.
    """
    if not 0 <= overlap < max_chars:
        raise ValueError(f"overlap is {overlap}, must be at least 0 and less than max_chars, {max_chars}")
    spans: list[tuple[int, int]] = []
    start = 0
    while len(text) - start > max_chars:
        # What is left behind the overlap must be more than nothing, or the next span would not get any further.
        end, paused = _end(text, start, start + overlap + 1, start + max_chars)
        spans.append((start, end))
        start = _next_start(text, end, overlap, paused=paused)
    if start < len(text):
        spans.append((start, len(text)))
    return spans


def _end(text: str, start: int, least: int, most: int) -> tuple[int, bool]:
    """Where a span ends, between `least` and `most`, and whether a reader pauses there."""
    half = max(least, start + int((most - start) * LEAST_FILLED))
    for pause, first in ((_PARAGRAPH, half), (_SENTENCE, half), (_WORD, least)):
        ends = [m.end() for m in pause.finditer(text, start, most) if m.end() >= first]
        if ends:
            return ends[-1], True
    end = most
    while end > least and _belongs_to_the_left(text, end):
        end -= 1
    return (most if _belongs_to_the_left(text, end) else end), False


def _next_start(text: str, end: int, overlap: int, *, paused: bool) -> int:
    """Where the span after one that ends at `end` begins."""
    if not overlap:
        return end
    begins = _WORD_BEGINS.search(text, end - overlap, end)
    if begins is not None:
        return begins.start()
    start = end if paused else end - overlap
    while start < end and _belongs_to_the_left(text, start):
        start += 1
    return start


def _belongs_to_the_left(text: str, position: int) -> bool:
    """Whether the character there is drawn as one with the one before it."""
    here = text[position]
    return unicodedata.category(here).startswith("M") or _JOINER in (here, text[position - 1])
