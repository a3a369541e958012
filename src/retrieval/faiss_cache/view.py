"""A version as it is served at one moment: segment, what died in it, delta. Never changed; the next one replaces it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from retrieval.application.bounded_cache import size_of
from retrieval.application.cache_ports import JoinedNames
from retrieval.application.candidate_ports import ItemFacts
from retrieval.domain.filters import check_filter
from retrieval.domain.model import ANONYMOUS, Metric, Viewer
from retrieval.domain.search import Diversity, IndexScope, Predicate, SearchParams, Source, Stage
from retrieval.domain.search import View as ItemView
from retrieval.faiss_cache.answers import Admitted, Rows
from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.budget import Residency
from retrieval.faiss_cache.parts import Part, merged, merged_few, untie
from retrieval.faiss_cache.plans import Effort, choose_effort
from retrieval.faiss_cache.quantized import decoded, padded, prefixes
from retrieval.faiss_cache.segment import KEPT_PREDICATE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from retrieval.application.cache_ports import Position
    from retrieval.domain.model import Collection, EmbeddingVersion
    from retrieval.domain.search import SearchOptions
    from retrieval.faiss_cache.columns import Columns
    from retrieval.faiss_cache.delta import DeltaView
    from retrieval.faiss_cache.segment import Segment

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

_ANYBODY = Viewer(unrestricted=True)

WIDELY_PROPOSED = 200
"""Rows that are proposed at least on one dimension for a stage on another."""
KEPT_ADMISSIONS = 64
AMPLE_TIME_US = 100_000.0
"""With so much time left nothing has to be cheaper than it is."""
LONG_SCAN_ROWS = 20_000
"""Comparing more rows than this takes milliseconds."""


class Settled(NamedTuple):
    """How a search with certain options goes in a view."""

    admitted: Admitted
    effort: Effort
    stages: tuple[Stage, ...]


def _is_plain(options: SearchOptions) -> bool:
    """Whether hits follow from the index alone: nothing to thin out, reorder or attach."""
    return (
        options.view is ItemView.ID_SCORE
        and options.params.source in {Source.AUTO, Source.FAISS}
        and options.score_threshold is None
        and options.diversity == Diversity()
        and options.boosts.empty
    )


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    """Keep a value in place of the oldest. Another thread may have taken that already."""
    if len(kept) >= KEPT_ADMISSIONS:
        kept.pop(next(iter(kept), key), None)
    kept[key] = value


@dataclass(slots=True)
class View:
    """Searches one embedding version. `living`: rows of the segment that are still there, None for all.

    `position`: what it reflects. `residency`: how much of the segment may be used. `admissions` and `settled` keep what
    was worked out for recent predicates and options, those by identity.
    """

    collection: Collection
    version: EmbeddingVersion
    segment: Segment | None
    living: Bitmap | None
    delta: DeltaView
    position: Position
    residency: Residency = Residency.FULL
    admissions: dict[tuple[Predicate, IndexScope], Admitted] = field(default_factory=dict)
    settled: dict[int, tuple[SearchOptions, Settled | None]] = field(default_factory=dict)

    @property
    def has_chunks(self) -> bool:
        """Whether an item may have several rows."""
        segment = self.segment is not None and self.segment.has_chunks
        return segment or bool(self.delta.columns.chunk_indexes.any())

    def but(self, **changes: Any) -> View:
        """The next view: this one with changes, and nothing kept of what was worked out for this one."""
        return replace(self, **changes, admissions={}, settled={})

    @property
    def segment_rows(self) -> int:
        """Rows of the segment, dead ones included."""
        return 0 if self.segment is None else self.segment.manifest.rows

    @property
    def dead_rows(self) -> int:
        """Rows of the segment that are no more."""
        return 0 if self.living is None else self.segment_rows - self.living.count

    @property
    def generation(self) -> int:
        """Generation of the segment, 0 where there is none."""
        return 0 if self.segment is None else self.segment.manifest.generation

    def settle(self, options: SearchOptions) -> Settled | None:
        """How to search with the options, where that needs nothing but this view and no time; else None.

        Raises: InvalidArgumentError for a filter that the collection gives no meaning.
        """
        known = self.settled.get(id(options))
        if known is not None and known[0] is options:
            return known[1]
        settled = None
        if self.residency is Residency.FULL and not self.has_chunks and _is_plain(options):
            check_filter(options.filter, self.collection)
            predicate = Predicate(options.filter, options.viewer or ANONYMOUS, options.exclude_item_ids)
            admitted = self.admitted(predicate, options.params.scope)
            if admitted.count >= options.limit and not self.scans(options.params):
                settled = Settled(admitted, *self._effort(options.limit, admitted, options.params))
        _keep(self.settled, id(options), (options, settled))
        return settled

    def scans(self, params: SearchParams) -> bool:
        """Whether an unfiltered search would compare every row of a segment that is long."""
        if self.segment is None or self.segment_rows < LONG_SCAN_ROWS:
            return False
        return choose_effort(self.segment.manifest, params, 1, self.segment_rows).exact

    def proposed(self, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows near one query, (1, dim) float32, by the coarse index and the delta alone, (n,)."""
        everything = self.admitted(Predicate(viewer=Viewer(unrestricted=True)), IndexScope.FULL)
        return self.proposed_among(query, count, everything, SearchParams())

    def admitted(self, predicate: Predicate, scope: IndexScope) -> Admitted:
        """The living rows that predicate and scope admit."""
        key = (predicate, scope)
        known = self.admissions.get(key)
        if known is None:
            known = self._admit(predicate, scope)
            if not predicate.excluded_item_ids and size_of(predicate, KEPT_PREDICATE_BYTES) is not None:
                _keep(self.admissions, key, known)
        return known

    def _admit(self, predicate: Predicate, scope: IndexScope) -> Admitted:
        excluded = predicate.excluded_item_ids
        recent = self.delta.admitted(predicate, scope, self.collection)
        bitmap = None
        if self.segment is not None:
            bitmap = self.segment.admitted(predicate, scope, self.collection)
            if self.living is not None:
                bitmap = self.living if bitmap is None else bitmap.both(self.living)
            if excluded:
                gone = self.segment.columns.item_ids.rows_of(excluded)
                if len(gone):
                    bitmap = (bitmap or Bitmap.full(self.segment_rows)).without(gone)
        count = self.segment_rows if bitmap is None else bitmap.count
        return Admitted(bitmap, count, recent, recent.count, not predicate.only_visibility)

    def search(
        self,
        queries: NDArray[np.float32],
        count: int,
        admitted: Admitted,
        params: SearchParams,
        time_us: float = inf,
    ) -> Rows:
        """Nearest admitted rows to each of `queries`, (n, dim) float32 in stored form, by the calibrated funnel.

        `time_us`: microseconds the caller has left; a plan that takes longer gives way to a cheaper one.
        """
        effort, stages = self._effort(count, admitted, params, time_us)
        queries = padded(queries)
        norms = np.sqrt(np.vecdot(queries, queries), dtype=np.float64)
        found = self._found(queries, count, admitted, effort, params)
        rows, distances = merged(found, norms, count, self.collection.metric, self._names)
        return Rows(rows, distances, admitted.count, effort.ef_search, stages, effort.reduced)

    def search_few(
        self, queries: NDArray[np.float32], count: int, settled: Settled, params: SearchParams
    ) -> tuple[list[int], list[float]]:
        """`search` where hits are few: rows and distances query after query, less where there are no more."""
        queries = padded(queries)
        norms = [sqrt(np.dot(query, query)) for query in queries]
        found = self._found(queries, count, settled.admitted, settled.effort, params)
        return merged_few(found, norms, count, self.collection.metric, self._names)

    def refine(
        self, query: NDArray[np.float32], stages: Sequence[Stage], admitted: Admitted, params: SearchParams
    ) -> Rows:
        """Nearest admitted rows to one query, (1, dim) float32, through the stages that the caller chose."""
        wide = self.width_of(stages[0])
        rows = self.proposed_among(query, wide, admitted, params)
        distances = np.zeros(len(rows))
        for stage in stages:
            distances = self.compared(query, rows, stage.dimension)
            order = np.argsort(distances, kind="stable")[: stage.candidate_count]
            rows, distances = rows[order], distances[order]
        rows, distances = rows[np.newaxis], distances[np.newaxis]
        untie(rows, distances, self._names)
        return Rows(rows, distances, admitted.count, wide, tuple(stages))

    def width_of(self, first: Stage) -> int:
        """Rows to be proposed for a first stage.

        The graph stands on a dimension of its own: it proposes twice as many rows as the first stage keeps, and not
        few, unless the first stage is on just that dimension.
        """
        native = self.version.dimension if self.segment is None else self.segment.manifest.dimension
        wide = first.candidate_count
        if first.dimension != native or self.delta.rows:
            wide = max(2 * wide, WIDELY_PROPOSED)
        return wide

    def item_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Item id of each of `rows` (n,)."""
        return self._gather(rows, lambda columns: columns.item_ids.ids_at)

    def encoded_item_ids(self, rows: list[int]) -> list[bytes]:
        """The item ids of `rows` in UTF-8."""
        base = self.segment_rows
        recent = self.delta.columns.item_ids
        if self.segment is None:
            return recent.encoded(rows)
        old = self.segment.columns.item_ids
        if max(rows) < base:
            return old.encoded(rows)
        return [(old.encoded((row,)) if row < base else recent.encoded((row - base,)))[0] for row in rows]

    def joined_item_ids(self, rows: NDArray[np.int64]) -> JoinedNames:
        """The item ids of `rows` (n,) in UTF-8."""
        if self.segment is not None and rows.max() < self.segment_rows:
            return self.segment.columns.item_ids.joined(rows)
        return JoinedNames.of(self.encoded_item_ids(rows.tolist()))

    def _names(self, rows: NDArray[np.int64]) -> list[tuple[str, int]]:
        """Item id and chunk index of each of `rows` (n,): the order of what is equally near."""
        return list(zip(self.item_ids(rows), self.chunk_indexes(rows), strict=True))

    def owner_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Owner of each of `rows` (n,); empty where there is none."""
        return self._gather(rows, lambda columns: columns.owners_at)

    def numbers(self, attribute: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) a built-in whole-number attribute of each of `rows` (n,); 0 where there is none."""
        return np.array(self._gather(rows, lambda columns: partial(columns.numbers_at, attribute)), dtype=np.int64)

    def chunk_indexes(self, rows: NDArray[np.int64]) -> list[int]:
        """Chunk index of each of `rows` (n,)."""
        return self._gather(rows, lambda columns: lambda r: columns.chunk_indexes[r].tolist())

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Vectors of `rows` (n,): (n, dim) float16."""
        return np.ascontiguousarray(self._codes(rows).view(np.float16)[:, : self.version.dimension])

    def rows_of(self, item_ids: Sequence[str], viewer: Viewer) -> NDArray[np.int64]:
        """Rows of those items that live and that the viewer may see."""
        admitted = self.admitted(Predicate(viewer=viewer), IndexScope.FULL)
        found = self.delta.columns.item_ids.rows_of(item_ids)
        rows = found[admitted.delta.holds(found)] + self.segment_rows
        if self.segment is None:
            return rows
        held = self.segment.columns.item_ids.rows_of(item_ids)
        if admitted.segment is not None:
            held = held[admitted.segment.holds(held)]
        return np.concatenate([held, rows])

    def living_rows_of(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of those items that live, whoever may see them."""
        return self.rows_of(item_ids, _ANYBODY)

    def facts(self, item_ids: Sequence[str], predicate: Predicate) -> tuple[set[str], dict[str, ItemFacts]]:
        """Which of the items live here, and facts of those of them that the predicate admits."""
        living = self.living_rows_of(item_ids)
        admitted = self.admitted(predicate, IndexScope.FULL)
        recent = living >= self.segment_rows
        keep = np.empty(len(living), bool)
        keep[recent] = admitted.delta.holds(living[recent] - self.segment_rows)
        keep[~recent] = True if admitted.segment is None else admitted.segment.holds(living[~recent])
        rows = living[keep]
        names = self.item_ids(living)
        facts = zip(
            self.owner_ids(rows),
            self.numbers("created_at", rows).tolist(),
            self.numbers("rating_count", rows).tolist(),
            strict=True,
        )
        kept = (name for name, is_kept in zip(names, keep.tolist(), strict=True) if is_kept)
        return set(names), {name: ItemFacts(*fact) for name, fact in zip(kept, facts, strict=True)}

    def _effort(
        self, count: int, admitted: Admitted, params: SearchParams, time_us: float = inf
    ) -> tuple[Effort, tuple[Stage, ...]]:
        ample = time_us > AMPLE_TIME_US
        known = admitted.efforts.get((params, count)) if ample else None
        if known is not None:
            return known
        effort = Effort(0, 0)
        stages: tuple[Stage, ...] = (Stage(self.version.dimension, count),)
        if self.segment is not None and admitted.segment_count:
            manifest = self.segment.manifest
            effort = choose_effort(manifest, params, count, admitted.segment_count, inf if ample else time_us)
            if not effort.exact and manifest.dimension < self.version.dimension:
                stages = Stage(manifest.dimension, max(effort.shortlist, count)), *stages
        if ample and len(admitted.efforts) < KEPT_ADMISSIONS:
            admitted.efforts[params, count] = effort, stages
        return effort, stages

    def proposed_among(
        self, query: NDArray[np.float32], wide: int, admitted: Admitted, params: SearchParams
    ) -> NDArray[np.int64]:
        """As `proposed`, among the rows that are admitted."""
        query = padded(query)
        parts = [np.zeros(0, np.int64)]
        if self.segment is not None and admitted.segment_count:
            parts.append(self.segment.propose(query, wide, admitted.segment, params.ef_search or 0))
        if admitted.delta_count:
            found = self.delta.delta.search(query, wide, admitted.delta, selective=admitted.selective)[1][0]
            parts.append(found[found >= 0] + self.segment_rows)
        return np.concatenate(parts)

    def _found(
        self, queries: NDArray[np.float32], count: int, admitted: Admitted, effort: Effort, params: SearchParams
    ) -> list[Part]:
        """What segment and delta find for padded queries, as far as they hold anything that is admitted."""
        parts = []
        if self.segment is not None and admitted.segment_count:
            found = self.segment.search(queries, count, admitted.segment, effort)
            parts.append(Part(*found, self.segment.norms, 0))
        if admitted.delta_count:
            found = self.delta.delta.search(
                queries,
                min(count, admitted.delta_count),
                admitted.delta,
                selective=admitted.selective,
                ef_search=params.ef_search or 0,
            )
            parts.append(Part(*found, self.delta.norms, self.segment_rows))
        return parts

    def compared(self, query: NDArray[np.float32], rows: NDArray[np.int64], dimension: int) -> NDArray[np.float64]:
        """Distances of `rows` on the first `dimension` components, (n,) float64."""
        metric = self.collection.metric
        found = prefixes(decoded(self._codes(rows)), dimension, metric)
        wanted = prefixes(query, dimension, metric)
        if metric is Metric.L2:
            return np.asarray(np.linalg.norm(found - wanted, axis=1), np.float64)
        products = (found @ wanted[0]).astype(np.float64)
        if metric is Metric.INNER_PRODUCT:
            return np.asarray(-products)
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted)
        cosine = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
        return np.asarray(1.0 - np.clip(cosine, -1.0, 1.0))

    def _codes(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self.segment is None:
            return self.delta.delta.codes(rows)
        recent = rows >= self.segment_rows
        if not recent.any():
            return self.segment.funnel.codes[rows]
        codes = np.empty((len(rows), self.segment.funnel.codes.shape[1]), np.uint8)
        codes[~recent] = self.segment.funnel.codes[rows[~recent]]
        codes[recent] = self.delta.delta.codes(rows[recent] - self.segment_rows)
        return codes

    def _gather(
        self, rows: NDArray[np.int64], read: Callable[[Columns], Callable[[NDArray[np.int64]], list[T]]]
    ) -> list[T]:
        """What `read` tells of each row, from the part of the view that holds it."""
        base = self.segment_rows
        if self.segment is None:
            return read(self.delta.columns)(rows)
        if max(rows.tolist(), default=0) < base:
            return read(self.segment.columns)(rows)
        recent = rows >= base
        old = iter(read(self.segment.columns)(rows[~recent]))
        new = iter(read(self.delta.columns)(rows[recent] - base))
        return [next(new) if late else next(old) for late in recent.tolist()]
