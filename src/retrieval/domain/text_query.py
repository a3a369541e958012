"""What a caller types into a search field: words, "phrases", -exclusions and OR, as PostgreSQL's websearch has it."""

from __future__ import annotations

import re
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_LETTER = re.compile(r"[^\W_]")
_WORD = re.compile(r"""[^\s"][^\s"!&|():]*""")
_OR = re.compile(r"or(?![\w-]).\s*(?=\S)", re.IGNORECASE | re.DOTALL)
"""OR with something behind it: at the end of a text, as at its beginning, it is a word like any other."""


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

    The rules are those of `websearch_to_tsquery` (PostgreSQL documentation, "Parsing Queries", and its source): OR, in
    any case, binds weaker than what stands beside it; `-` before a word or a quote excludes it, also with spaces in
    between, and a second one takes that back (`wsl --shutdown`); a quote that is not closed goes to the end.
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
        if piece is None:
            close()
        elif minus:
            excluded.append(piece)
        else:
            (phrases if quoted else words).append(piece)
    close()
    return TextQuery(tuple(alternatives), match)


def _tokens(text: str) -> Iterator[tuple[bool, bool, str | None]]:
    """(whether excluded, whether quoted, piece) of what has a letter or a digit; a piece of None is an OR."""
    at, minus, operand = 0, False, True
    while at < len(text):
        letter = text[at]
        if operand and letter == "-":
            minus = not minus
            at += 1
        elif operand and letter == '"':
            end = text.find('"', at + 1)
            piece = text[at + 1 :] if end < 0 else text[at + 1 : end]
            at = len(text) if end < 0 else end + 1
            if _LETTER.search(piece):
                yield minus, True, piece.strip()
            minus = operand = False
        elif letter.isspace() or letter in "!&|()":
            at += 1
        elif operand:
            found = _WORD.match(text, at)
            piece = letter if found is None else found[0]
            at += len(piece)
            if _LETTER.search(piece):
                yield minus, False, piece
            minus = operand = False
        else:
            operand = True
            if (either := _OR.match(text, at)) is not None:
                yield False, False, None
                at = either.end()
