"""Full text in memory, words as they stand; implements `TextIndex`."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from retrieval.application.hybrid_ports import TextAnswer
from retrieval.domain.model import DEFAULT_TEXT_LANGUAGE
from retrieval.domain.snippets import CONTROL, START, STOP, finish
from retrieval.domain.text_query import TextMatch
from retrieval.domain.text_ranking import MAX_RANKED_WORDS, inverse_frequency, word_score
from retrieval.domain.visibility import can_see
from retrieval.reference.admission import admitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.hybrid_ports import SnippetStyle, TextSearch
    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.text_query import Alternative, TextQuery
    from retrieval.reference.memory import Memory

_WORD = re.compile(r"[^\W_]+")


class ReferenceText:
    """Reads every text at every search."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def search(self, question: TextSearch) -> TextAnswer:
        """See `TextIndex`."""
        held = self._memory.held(question.collection)
        texts = {item_id: words_of(item.text) for item_id, item in held.items.items()}
        wanted = list(dict.fromkeys(x for piece in question.query.wanted for x in words_of(piece)))
        frequencies = Counter(x for text in texts.values() for x in set(text))
        ranking = sorted((x for x in wanted if frequencies[x]), key=lambda x: (frequencies[x], x))[:MAX_RANKED_WORDS]
        weights = {x: inverse_frequency(len(texts), frequencies[x]) for x in ranking}
        average = sum(len(set(text)) for text in texts.values()) / max(len(texts), 1)
        found = []
        for item in admitted(held.items.values(), question.predicate, question.collection, question.scope):
            text = texts[item.item_id]
            if matches_text(question.query, text):
                counts = Counter(text)
                parts = (
                    word_score(w, counts[x], len(counts), average) for x, w in sorted(weights.items()) if counts[x]
                )
                found.append((sum(parts), item))
        found.sort(key=lambda pair: (-pair[0], pair[1].item_id))
        page = found[: question.count]
        return TextAnswer(
            [item.item_id for _, item in page],
            [score for score, _ in page],
            [item.owner_id for _, item in page],
            np.array([item.created_at or 0 for _, item in page], dtype=np.int64),
            np.array([item.rating_count for _, item in page], dtype=np.int64),
            exhausted=len(page) < question.count,
            searchable=bool(wanted),
        )

    async def complying(self, collection: Collection, query: TextQuery, item_ids: Sequence[str]) -> set[str]:
        """See `TextIndex`."""
        if not query.binding:
            return set(item_ids)
        items = self._memory.held(collection).items
        return {i for i in item_ids if i in items and complies(query, words_of(items[i].text))}

    async def snippets(
        self, collection: Collection, query: TextQuery, item_ids: Sequence[str], viewer: Viewer, style: SnippetStyle
    ) -> dict[str, str]:
        """See `TextIndex`. One excerpt, from shortly before the first word that matches."""
        items = self._memory.held(collection).items
        wanted = {x for piece in query.wanted for x in words_of(piece)}
        seen = {i for i in item_ids if i in items and can_see(items[i], viewer)}
        excerpts = {i: _excerpt(items[i].text, wanted, style.max_words) for i in item_ids if i in seen}
        return {i: finish(e, style.start_marker, style.end_marker, raw=style.raw) for i, e in excerpts.items()}

    async def languages(self) -> frozenset[str]:
        """See `TextIndex`; there is one alone."""
        return frozenset({DEFAULT_TEXT_LANGUAGE})


def words_of(text: str) -> list[str]:
    """Words of a text in order, in lower case."""
    return _WORD.findall(text.lower())


def matches_text(query: TextQuery, text: Sequence[str]) -> bool:
    """Whether any alternative matches a text, given by its words."""
    return any(_complies(a, query.match, text) and _proposes(a, query.match, text) for a in query.alternatives)


def complies(query: TextQuery, text: Sequence[str]) -> bool:
    """Whether a text has all that it must and nothing that it must not."""
    return any(_complies(a, query.match, text) for a in query.alternatives)


def _complies(alternative: Alternative, match: TextMatch, text: Sequence[str]) -> bool:
    needed = (*alternative.phrases, *(alternative.words if match is TextMatch.ALL else ()))
    return all(_has(text, p) for p in needed) and not any(_has(text, e) for e in alternative.excluded)


def _proposes(alternative: Alternative, match: TextMatch, text: Sequence[str]) -> bool:
    if alternative.phrases or (alternative.words and match is TextMatch.ALL):
        return True
    present = set(text)
    return any(x in present for word in alternative.words for x in words_of(word))


def _has(text: Sequence[str], phrase: str) -> bool:
    """Whether the words of `phrase` follow each other in the text."""
    words = words_of(phrase)
    return any(list(text[n : n + len(words)]) == words for n in range(len(text) - len(words) + 1))


def _excerpt(text: str, wanted: set[str], max_words: int) -> str:
    """At most `max_words` words with START and STOP around those that are wanted."""
    pieces = CONTROL.sub(" ", text).split()
    first = next((n for n, piece in enumerate(pieces) if wanted.intersection(words_of(piece))), 0)
    start = max(0, min(first - max_words // 4, len(pieces) - max_words))

    def mark(found: re.Match[str]) -> str:
        return f"{START}{found[0]}{STOP}" if found[0].lower() in wanted else found[0]

    return " ".join(_WORD.sub(mark, piece) for piece in pieces[start : start + max_words])
