"""Spans of a text: they cover it, keep to their bounds, and end where a reader pauses."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.domain.chunking import split_text

TEXTS = st.text(alphabet=st.sampled_from(list("ab.!?\n\r\t  \u0301\u200d\u3002é😀👩")), max_size=400)
BOUNDS = st.integers(1, 60).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most - 1)))


@given(text=TEXTS, bounds=BOUNDS)
def test_spans_cover_the_text_within_their_bounds(text: str, bounds: tuple[int, int]) -> None:
    max_chars, overlap = bounds
    spans = split_text(text, max_chars, overlap)
    assert spans == split_text(text, max_chars, overlap)
    assert all(0 < end - start <= max_chars for start, end in spans)
    assert [start for start, _ in spans[:1]] == ([0] if text else [])
    assert [end for _, end in spans[-1:]] == ([len(text)] if text else [])
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start <= end < next_end, "each span begins where the one before it left nothing out"
        assert end - next_start <= overlap


@given(text=TEXTS, spare=st.integers(0, 5))
def test_a_text_that_fits_is_one_span(text: str, spare: int) -> None:
    assert split_text(text, len(text) + spare + 1, 0) == ([(0, len(text))] if text else [])


@given(text=TEXTS, bounds=BOUNDS)
def test_without_overlap_a_span_split_again_is_itself(text: str, bounds: tuple[int, int]) -> None:
    for start, end in split_text(text, bounds[0], 0):
        assert split_text(text[start:end], bounds[0], 0) == [(0, end - start)]


@given(words=st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=80), overlap=st.integers(0, 20))
def test_words_that_fit_stay_whole(words: list[str], overlap: int) -> None:
    text = " ".join(words)
    for start, end in split_text(text, overlap + 11, overlap):
        assert start == 0 or text[start - 1] == " "
        assert end == len(text) or text[end - 1] == " "


@pytest.mark.parametrize(
    ("text", "max_chars", "overlap", "pieces"),
    [
        ("One two. Three four.\n\nFive six. Seven", 30, 0, ["One two. Three four.\n\n", "Five six. Seven"]),
        ("One two three. Four five six", 20, 0, ["One two three. ", "Four five six"]),
        ("One. Two three four five", 20, 0, ["One. Two three four ", "five"]),
        ("First line\nsecond line", 16, 0, ["First line\n", "second line"]),
        ("He said \u201cno.\u201d Then he left", 20, 0, ["He said \u201cno.\u201d ", "Then he left"]),
        (
            "\u4eca\u65e5\u306f\u3002\u660e\u65e5\u306f\u96e8",
            6,
            0,
            ["\u4eca\u65e5\u306f\u3002", "\u660e\u65e5\u306f\u96e8"],
        ),
        ("alpha beta gamma delta", 12, 6, ["alpha beta ", "beta gamma ", "gamma delta"]),
        ("abcdefghij", 4, 2, ["abcd", "cdef", "efgh", "ghij"]),
        ("aaae\u0301bbb", 4, 0, ["aaa", "e\u0301bb", "b"]),
        ("", 4, 2, []),
    ],
    ids=["paragraph", "sentence", "too short", "line", "quoted", "full-width", "overlap", "no pause", "mark", "empty"],
)
def test_where_texts_are_cut(text: str, max_chars: int, overlap: int, pieces: list[str]) -> None:
    assert [text[start:end] for start, end in split_text(text, max_chars, overlap)] == pieces


@pytest.mark.parametrize(("max_chars", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_bounds_that_make_no_sense_are_refused(max_chars: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap is"):
        split_text("text", max_chars, overlap)
