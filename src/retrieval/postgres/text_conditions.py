"""Conditions on texts, as the text of a tsquery, put together of what the server makes of a query's pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from retrieval.domain.text_query import TextMatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from retrieval.domain.text_query import Alternative, TextQuery


class Analysed(NamedTuple):
    """A word or phrase in the collection's language; see `analyse` in sql/queries/text.sql."""

    phrase: str
    lexemes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextConditions:
    """A query in the collection's language. Conditions are empty where nothing is left of it, e.g. but stop words."""

    query: TextQuery
    pieces: Mapping[str, Analysed]

    @property
    def lexemes(self) -> tuple[str, ...]:
        """What texts are ranked by, each once."""
        return tuple(dict.fromkeys(x for piece in self.query.wanted for x in self.pieces[piece].lexemes))

    def matching(self, proposing: Sequence[str] | None = None) -> str:
        """What texts have to satisfy. Where any word will do, only those of `proposing` are looked for, if given."""
        only = None if proposing is None else frozenset(proposing)
        return _any(self._alternative(a, only) for a in self.query.alternatives)

    def binding(self) -> str:
        """What a hit has to satisfy whoever proposes it; empty where an alternative lets everything pass."""
        bound = [_all(self._bound(a)) for a in self.query.alternatives]
        return _any(bound) if all(bound) else ""

    def highlighted(self) -> str:
        """What is marked in an excerpt."""
        return _any(quoted(lexeme) for lexeme in self.lexemes)

    def _alternative(self, alternative: Alternative, only: frozenset[str] | None) -> str:
        bound = self._bound(alternative)
        if any(self.pieces[p].phrase for p in alternative.phrases) or self.query.match is TextMatch.ALL:
            return _all(bound) if self._wants(alternative) else ""
        wanted = [x for word in alternative.words for x in self.pieces[word].lexemes if only is None or x in only]
        return _all([_any(map(quoted, dict.fromkeys(wanted))), *bound]) if wanted else ""

    def _bound(self, alternative: Alternative) -> list[str]:
        conditions = [self.pieces[p].phrase for p in alternative.phrases]
        if self.query.match is TextMatch.ALL:
            conditions += [self.pieces[w].phrase for w in alternative.words]
        conditions += [f"!({self.pieces[e].phrase})" for e in alternative.excluded if self.pieces[e].phrase]
        return conditions

    def _wants(self, alternative: Alternative) -> bool:
        return any(self.pieces[p].lexemes for p in (*alternative.words, *alternative.phrases))


def quoted(lexeme: str) -> str:
    """A lexeme as a tsquery."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def _all(conditions: Iterable[str]) -> str:
    return " & ".join(f"({c})" for c in conditions if c)


def _any(conditions: Iterable[str]) -> str:
    return " | ".join(f"({c})" for c in conditions if c)
