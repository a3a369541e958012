"""A version as it is served at one moment: segment, what died in it, delta. Never changed; the next one replaces it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf, sqrt
from operator import lt
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from retrieval.application.cache_ports import JoinedNames
from retrieval.domain.filters import check_filter
from retrieval.domain.model import ANONYMOUS, Metric, Viewer
from retrieval.domain.search import Diversity, IndexScope, Predicate, SearchParams, Source, Stage
from retrieval.domain.search import View as ItemView
from retrieval.faiss_cache.answers import Admitted, Rows
from retrieval.faiss_cache.bitmap import Bitmap
from retrieval.faiss_cache.budget import Residency
from retrieval.faiss_cache.plans import Effort, choose_effort
from retrieval.faiss_cache.quantized import decoded, padded, prefixes

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


class Part(NamedTuple):
    """What the segment or the delta found: `similarities` and `rows`, (n, count) each, rows from 0; the norms of all
    its rows; and the row of the view that its row 0 is.
    """

    similarities: NDArray[np.float32]
    rows: NDArray[np.int64]
    norms: NDArray[np.float32]
    first: int


def _is_plain(options: SearchOptions) -> bool:
    """Whether hits follow from the index alone: nothing to thin out, reorder or attach."""
    return (
        options.view is ItemView.ID_SCORE
        and options.params.source in {Source.AUTO, Source.FAISS}
        and options.score_threshold is None
        and options.diversity == Diversity()
    )


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
        if len(self.settled) < KEPT_ADMISSIONS:
            self.settled[id(options)] = options, settled
        return settled

    def scans(self, params: SearchParams) -> bool:
        """Whether an unfiltered search would compare every row of a segment that is long."""
        if self.segment is None or self.segment_rows < LONG_SCAN_ROWS:
            return False
        return choose_effort(self.segment.manifest, params, 1, self.segment_rows).exact

    def proposed(self, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Rows near one query, (1, dim) float32, by the coarse index and the delta alone, (n,)."""
        everything = self.admitted(Predicate(viewer=Viewer(unrestricted=True)), IndexScope.FULL)
        return self._proposed(query, count, everything, SearchParams())

    def admitted(self, predicate: Predicate, scope: IndexScope) -> Admitted:
        """The living rows that predicate and scope admit."""
        key = (predicate, scope)
        known = self.admissions.get(key)
        if known is None:
            known = self._admit(predicate, scope)
            if not predicate.excluded_item_ids and len(self.admissions) < KEPT_ADMISSIONS:
                self.admissions[key] = known
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
        norms = np.sqrt(np.vecdot(queries, queries), dtype=np.float64)[:, np.newaxis]
        found = self._found(queries, count, admitted, effort, params)
        rows, distances = self._merged([self._distances(part, norms) for part in found], len(queries), count)
        return Rows(rows, distances, admitted.count, effort.ef_search, stages, effort.reduced)

    def search_few(
        self, queries: NDArray[np.float32], count: int, settled: Settled, params: SearchParams
    ) -> tuple[list[int], list[float]]:
        """`search` in plain Python: rows and distances of one query after the other, fewer where there are no more.

        For a hundred hits that takes a fraction of what as many steps of NumPy do.
        """
        queries = padded(queries)
        metric = self.collection.metric
        parts = [
            (part.similarities.tolist(), part.rows.tolist(), part.norms[part.rows].tolist(), part.first)
            for part in self._found(queries, count, settled.admitted, settled.effort, params)
        ]
        all_rows: list[int] = []
        all_distances: list[float] = []
        for number, square in enumerate([float(np.dot(q, q)) for q in queries]):
            rows: list[int] = []
            distances: list[float] = []
            norm = sqrt(square)
            for similarities, found, norms, first in parts:
                away = _away(similarities[number], norms[number], norm, metric)
                if len(rows) == count and away[0] > distances[-1]:
                    continue  # nothing of the delta is near enough
                here = [row + first for row in found[number] if row >= 0]
                rows += here
                distances += away[: len(here)]
            if not all(map(lt, distances, distances[1:])):
                # Also those of one part may be out of order: dividing by the norms swaps neighbours.
                array = np.array(rows)
                keys = list(zip(distances, self.item_ids(array), self.chunk_indexes(array), strict=True))
                order = sorted(range(len(rows)), key=keys.__getitem__)
                rows, distances = [rows[n] for n in order], [distances[n] for n in order]
            all_rows += rows[:count]
            all_distances += distances[:count]
        return all_rows, all_distances

    def refine(
        self, query: NDArray[np.float32], stages: Sequence[Stage], admitted: Admitted, params: SearchParams
    ) -> Rows:
        """Nearest admitted rows to one query, (1, dim) float32, through the stages that the caller chose.

        The graph stands on a dimension of its own: it proposes twice as many rows as the first stage keeps, and not
        few, unless the first stage is on just that dimension.
        """
        first = stages[0]
        native = self.version.dimension if self.segment is None else self.segment.manifest.dimension
        wide = first.candidate_count
        if first.dimension != native or self.delta.rows:
            wide = max(2 * wide, WIDELY_PROPOSED)
        rows = self._proposed(query, wide, admitted, params)
        distances = np.zeros(len(rows))
        for stage in stages:
            distances = self._compared(query, rows, stage.dimension)
            order = np.argsort(distances, kind="stable")[: stage.candidate_count]
            rows, distances = rows[order], distances[order]
        rows, distances = rows[np.newaxis], distances[np.newaxis]
        self._untie(rows, distances)
        return Rows(rows, distances, admitted.count, wide, tuple(stages))

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

    def owner_ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Owner of each of `rows` (n,); empty where there is none."""
        return self._gather(rows, lambda columns: columns.owners_at)

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

    def _proposed(
        self, query: NDArray[np.float32], wide: int, admitted: Admitted, params: SearchParams
    ) -> NDArray[np.int64]:
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

    def _distances(self, part: Part, norms: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows of the view and distances as the domain defines them, infinite where there is no row.

        `norms`: (n, 1), of the queries.
        """
        similarities, rows, row_norms, first = part
        if self.collection.metric is Metric.COSINE:
            distances = similarities / (row_norms[rows] * norms)
            np.subtract(1.0, distances, out=distances)
            np.maximum(distances, 0.0, out=distances)
        elif self.collection.metric is Metric.L2:
            distances = np.sqrt(np.maximum(similarities, 0.0), dtype=np.float64)
        else:
            distances = -similarities.astype(np.float64)
        if (rows[:, -1] < 0).any():  # what is missing stands at the end
            missing = rows < 0
            distances[missing] = np.inf
            rows = np.where(missing, -1, rows + first)
        elif first:
            rows = rows + first
        return rows, distances

    def _merged(
        self, parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]], queries: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not parts:
            return np.full((queries, count), -1), np.full((queries, count), np.inf)
        rows, distances = parts[0]
        if len(parts) > 1 and rows.shape[1] == count and (parts[1][1][:, 0] > distances[:, -1]).all():
            parts = parts[:1]  # nothing of the delta is near enough
        if len(parts) > 1:
            rows = np.concatenate([r for r, _ in parts], axis=1)
            distances = np.concatenate([d for _, d in parts], axis=1)
        elif rows.shape[1] == count and (distances[:, 1:] > distances[:, :-1]).all():
            return rows, distances
        # Also one part may be out of order: dividing by the norms swaps neighbours.
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        numbers = np.arange(queries)[:, np.newaxis]
        rows, distances = rows[numbers, order], distances[numbers, order]
        if rows.shape[1] < count:
            room = ((0, 0), (0, count - rows.shape[1]))
            rows = np.pad(rows, room, constant_values=-1)
            distances = np.pad(distances, room, constant_values=np.inf)
        self._untie(rows, distances)
        return rows, distances

    def _untie(self, rows: NDArray[np.int64], distances: NDArray[np.float64]) -> None:
        """Order rows of equal distance by item id, then chunk."""
        tied = distances[:, 1:] == distances[:, :-1]
        if not tied.any():
            return
        tied &= np.isfinite(distances[:, 1:])
        for number in np.flatnonzero(tied.any(axis=1)).tolist():
            real = rows[number][rows[number] >= 0]
            keys = list(zip(distances[number], self.item_ids(real), self.chunk_indexes(real), strict=False))
            order = sorted(range(len(real)), key=keys.__getitem__)
            rows[number, : len(real)] = real[order]

    def _compared(self, query: NDArray[np.float32], rows: NDArray[np.int64], dimension: int) -> NDArray[np.float64]:
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


def _away(similarities: list[float], norms: list[float], norm: float, metric: Metric) -> list[float]:
    """Distances of the rows found for one query, as `View._distances` makes them."""
    if metric is Metric.COSINE:
        distances = [1.0 - s / (n * norm) for s, n in zip(similarities, norms, strict=True)]
        return distances if min(distances) >= 0.0 else [max(d, 0.0) for d in distances]
    if metric is Metric.L2:
        return [sqrt(max(s, 0.0)) for s in similarities]
    return [-s for s in similarities]
