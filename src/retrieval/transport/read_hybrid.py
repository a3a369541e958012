"""Hybrid searches of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.hybrid import TEXT_WEIGHT, VECTOR_WEIGHT, Hybrid
from retrieval.application.hybrid_ports import SnippetStyle
from retrieval.application.limits import MAX_LIMIT
from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.hybrid import Fusion, HybridMode
from retrieval.domain.text_query import TextMatch, TextQuery, parse_text
from retrieval.transport import enums
from retrieval.transport.read_search import MAX_WEIGHT, read_collection_name, read_options
from retrieval.transport.read_vectors import read_vector
from retrieval.transport.validate import optional_within, require, text

if TYPE_CHECKING:
    from retrieval.transport.caller import Caller
    from retrieval.v1 import retrieval_service_pb2 as pb

MAX_TEXT_BYTES = 16_384
MAX_WORDS = 1024
MAX_MARKER_BYTES = 64
SNIPPET_WORDS = (5, 200)
SNIPPET_FRAGMENTS = (1, 5)

_PLAIN = SnippetStyle()


def read_hybrid(message: pb.SearchHybridRequest, caller: Caller) -> Hybrid:
    """A request of SearchHybrid."""
    mode = enums.read(enums.HYBRID_MODE, message.mode, "mode", HybridMode.HYBRID)
    match = enums.read(enums.TEXT_MATCH, message.match, "match", TextMatch.ANY)
    vector = read_vector(message.vector, "vector") if message.HasField("vector") else None
    require(vector is None or mode is not HybridMode.TEXT, "vector", "must be absent where the mode is TEXT")
    needs_text = mode is not HybridMode.VECTOR or vector is None
    words = _words(text(message.text, "text", MAX_TEXT_BYTES, required=needs_text), match, required=needs_text)
    text_weight = _weight(message, "text_weight", TEXT_WEIGHT)
    vector_weight = _weight(message, "vector_weight", VECTOR_WEIGHT)
    if mode is HybridMode.HYBRID:
        require(text_weight or vector_weight, "text_weight", "and vector_weight are both 0; one must be above")
    else:
        text_weight = vector_weight = 1.0
    return Hybrid(
        read_collection_name(message.collection),
        words,
        vector,
        mode,
        enums.read(enums.HYBRID_FUSION, message.fusion, "fusion", Fusion.SCORES),
        text_weight,
        vector_weight,
        optional_within(message.text_candidates, 1, MAX_LIMIT, "text_candidates"),
        optional_within(message.vector_candidates, 1, MAX_LIMIT, "vector_candidates"),
        _snippets(message.snippets) if message.HasField("snippets") else None,
        read_options(message.options, caller),
    )


def _words(value: str, match: TextMatch, *, required: bool) -> TextQuery:
    query = parse_text(value, match)
    count = sum(len(piece.split()) for piece in query.pieces)
    require(count <= MAX_WORDS, "text", f"has {count} words, at most {MAX_WORDS}", "TOO_MANY_WORDS")
    if required and not query.wanted:
        require(not query.pieces, "text", "only excludes; add a word or a phrase to look for", "ONLY_EXCLUSIONS")
        raise InvalidArgumentError.of("text", "has no letter and no digit to search for", reason="NO_WORDS")
    return query


def _weight(message: pb.SearchHybridRequest, field: str, default: float) -> float:
    if not message.HasField(field):
        return default
    weight = float(getattr(message, field))
    require(0.0 <= weight <= MAX_WEIGHT, field, f"must be between 0 and {MAX_WEIGHT:g}")
    return weight


def _snippets(message: pb.SnippetOptions) -> SnippetStyle:
    start, end = _PLAIN.start_marker, _PLAIN.end_marker
    if message.HasField("start_marker"):
        start = text(message.start_marker, "snippets.start_marker", MAX_MARKER_BYTES)
    if message.HasField("end_marker"):
        end = text(message.end_marker, "snippets.end_marker", MAX_MARKER_BYTES)
    return SnippetStyle(
        optional_within(message.max_words, *SNIPPET_WORDS, "snippets.max_words") or _PLAIN.max_words,
        optional_within(message.max_fragments, *SNIPPET_FRAGMENTS, "snippets.max_fragments") or _PLAIN.max_fragments,
        start,
        end,
        message.raw,
    )
