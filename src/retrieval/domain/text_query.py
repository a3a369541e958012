"""What a caller types into a search field: words, "phrases", -exclusions and OR, as PostgreSQL's websearch has it."""

from __future__ import annotations

import re
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r'(-?)"([^"]*)"|(\S+)')
_LETTER = re.compile(r"\w")


class TextMatch(Enum):
    """Which texts match words that stand outside of quotes."""

    ANY = "any"
    ALL = "all"


class Alternative(NamedTuple):
    """What stands between two ORs: `words` are wanted, every one of `phrases` needed, none of `excluded` allowed."""

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


class TextQuery(NamedTuple):
    """A text that was read. A text matches if it matches one of the alternatives."""

    alternatives: tuple[Alternative, ...]
    match: TextMatch = TextMatch.ANY

    @property
    def wanted(self) -> tuple[str, ...]:
        """Words and phrases that hits should have, in order."""
        return tuple(chain.from_iterable((*a.words, *a.phrases) for a in self.alternatives))

    @property
    def pieces(self) -> tuple[str, ...]:
        """All words and phrases, those to be excluded too, each once."""
        return tuple(dict.fromkeys(chain(self.wanted, *(a.excluded for a in self.alternatives))))

    @property
    def binding(self) -> bool:
        """Whether anything must or must not be in the text of a hit, whoever proposes it.

        An alternative without such a condition lets everything pass.
        """
        bound = (a.phrases or a.excluded or self.match is TextMatch.ALL for a in self.alternatives)
        return bool(self.alternatives) and all(bound)


NO_TEXT = TextQuery(())
"""Nothing is searched for."""


def parse_text(text: str, match: TextMatch = TextMatch.ANY) -> TextQuery:
    """Read a caller's text; nothing is ever refused.

    The rules are those of `websearch_to_tsquery` (PostgreSQL documentation, "Parsing Queries"): OR, in any case, binds
    weaker than what stands beside it; `-` before a word or a quote excludes it. A quote that is not closed is no quote.
    An alternative that only excludes proposes nothing: there is nothing to rank texts by.
    """
    alternatives: list[Alternative] = []
    words: list[str] = []
    phrases: list[str] = []
    excluded: list[str] = []

    def close() -> None:
        if words or phrases or excluded:
            alternatives.append(Alternative(tuple(words), tuple(phrases), tuple(excluded)))
        for each in (words, phrases, excluded):
            each.clear()

    for minus, quoted, piece in _tokens(text):
        if not quoted and not minus and piece.lower() == "or":
            close()
        elif minus:
            excluded.append(piece)
        else:
            (phrases if quoted else words).append(piece)
    close()
    return TextQuery(tuple(alternatives), match)


def _tokens(text: str) -> Iterator[tuple[bool, bool, str]]:
    """(whether excluded, whether quoted, piece) of what has a letter or a digit."""
    for found in _TOKEN.finditer(text):
        phrase: str | None = found[2]
        minus, piece = found[1], phrase or ""
        if phrase is None:
            word: str = found[3]
            minus, piece = ("-", word[1:]) if word.startswith("-") else ("", word)
        if _LETTER.search(piece):
            yield bool(minus), phrase is not None, piece.strip('"').strip()
