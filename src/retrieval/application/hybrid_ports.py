"""What a hybrid search needs beside a vector index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import DEFAULT_TEXT_LANGUAGE
from retrieval.domain.search import IndexScope, Predicate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.text_query import TextQuery

EVERYTHING_LISTED = Predicate()


@dataclass(frozen=True, slots=True)
class TextSearch:
    """A question to a text index: at most `count` items whose texts match and that the predicate admits."""

    collection: Collection
    query: TextQuery
    count: int
    predicate: Predicate = EVERYTHING_LISTED
    scope: IndexScope = IndexScope.FULL


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """Items, best first by BM25 (`domain.text_ranking`), equal ones by id.

    Parallel to `item_ids`: `scores`; `owner_ids`; `created_at`, (n,) int64 microseconds; `rating_counts`, (n,) int64.
    `exhausted`: no further item matches. `searchable`: whether the text has any word that the collection's language
    searches for.
    """

    item_ids: list[str]
    scores: list[float]
    owner_ids: list[str]
    created_at: NDArray[np.int64]
    rating_counts: NDArray[np.int64]
    exhausted: bool
    searchable: bool


@dataclass(frozen=True, slots=True)
class SnippetStyle:
    """How excerpts look: words and fragments at most, markers around what matched, and whether the text stays as is."""

    max_words: int = 35
    max_fragments: int = 1
    start_marker: str = "<b>"
    end_marker: str = "</b>"
    raw: bool = False


class TextIndex(Protocol):
    """Full text of items, in the language of their collection."""

    async def search(self, question: TextSearch) -> TextAnswer:
        """Items that match, best first."""
        ...

    async def complying(self, collection: Collection, query: TextQuery, item_ids: Sequence[str]) -> set[str]:
        """Those of the items whose texts have all that must be in them, and nothing that must not."""
        ...

    async def snippets(
        self, collection: Collection, query: TextQuery, item_ids: Sequence[str], viewer: Viewer, style: SnippetStyle
    ) -> dict[str, str]:
        """Excerpts of texts around what matches, or from their beginning, of those items that `viewer` may see.

        See `domain.snippets.finish`.
        """
        ...

    async def languages(self) -> frozenset[str]:
        """Languages that a collection may have, by the name that is stored."""
        ...


async def check_language(index: TextIndex, language: str, field: str) -> None:
    """Refuse a text language that the store does not have. Raises: InvalidArgumentError (UNKNOWN_TEXT_LANGUAGE)."""
    if language == DEFAULT_TEXT_LANGUAGE:
        return
    known = await index.languages()
    if language not in known:
        raise InvalidArgumentError.of(
            field, f"{language[:64]!r} is none of {', '.join(sorted(known))}", reason="UNKNOWN_TEXT_LANGUAGE"
        )
