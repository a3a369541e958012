"""Measures one loaded data set: every source and both baselines, interleaved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.asyncpg_baseline import AsyncpgTarget, baseline_statement
from benchmarks.load import LoadError, LoadGenerator, LoadResult, Target, interleave
from benchmarks.rows import Row, figures
from benchmarks.searches import GrpcTarget, Search, ServerTime, effort_of, found_by, probe
from benchmarks.truth import recall
from retrieval.domain.search import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmarks.datasets import Dataset

EFFORTS = {"hnsw": (40, 100, 200, 400), "ivfflat": (2, 5, 10, 20, 40), "exact": (0,)}
"""ef_search and nprobe along the curve of recall against speed."""

FILTERS = (100, 10, 1)
"""`bucket` below these, of 1000: 10 %, 1 % and 0.1 % of the rows."""

EQUAL_RECALL_EFFORTS = (10, 20, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1000)

SAME_RECALL = 0.001
"""Recalls this close count as equal: one hit in a hundred queries."""


@dataclass(frozen=True)
class Place:
    """Where the engines are, for one data set."""

    service: str
    echo: str
    database_url: str
    collection: str
    version_id: int


@dataclass
class Measurement:
    """Everything measured on one data set. `paired` rows ran in turns with each other: compare latencies there."""

    rows: list[Row] = field(default_factory=list)
    paired: dict[str, Row] = field(default_factory=dict)
    funnel: tuple[Row, Row] | None = None
    server_time: ServerTime | None = None


@dataclass
class Bench:
    """The measurements of one data set; `measure()` does them all."""

    dataset: Dataset
    place: Place
    generator: LoadGenerator
    console: Console
    sources: Sequence[str]
    in_flight: Sequence[int]
    seconds: float
    k: int

    def measure(self) -> Measurement:
        """Baselines and defaults, the curves, the filters, and the funnel where there are resolutions."""
        found = Measurement()
        if "hnsw" in self.sources:
            found.server_time = probe(self._service(Search("hnsw")))
        for in_flight in self.in_flight:
            if "hnsw" in self.sources:
                paired = self._pair(in_flight)
                found.rows += paired
                if in_flight == min(self.in_flight):
                    found.paired = {row.engine: row for row in paired}
            for source in self.sources:
                found.rows += self._curve(source, in_flight)
            for below in FILTERS:
                found.rows += self._try([Search("auto", bucket_below=below)], in_flight)
        if self.dataset.resolutions and "hnsw" in self.sources:
            found.funnel = self._funnel(found)
        return found

    def _pair(self, in_flight: int) -> list[Row]:
        """The service at its defaults beside the same SQL through asyncpg and an empty RPC."""
        search = Search("hnsw")
        effort = self._effort(search)
        service = self._service(search)
        targets = [service, self._asyncpg("hnsw", effort), GrpcTarget(self.place.echo, service.requests)]
        results = interleave(self.generator, targets, in_flight, self.seconds)
        service_row = self._row("retrieval", search, results[0], effort, default=True)
        asyncpg_row = self._row("asyncpg", search, results[1], effort, default=True)
        echo = figures(results[2], None) | {"answered_by": ""}
        return [service_row, asyncpg_row, Row("echo", "", "grpc.aio", **self._about(), **echo)]

    def _curve(self, source: str, in_flight: int) -> list[Row]:
        rows = []
        lists = max(self.dataset.rows // 1000, 1)  # the service's default, see BuildIndexRequest.lists
        for effort in EFFORTS[source]:
            if source == "ivfflat" and effort > lists:
                break
            search = Search(source, effort)
            targets: list[Target] = [self._service(search), self._asyncpg(source, effort)]
            try:
                results = interleave(self.generator, targets, in_flight, self.seconds)
            except LoadError as error:
                self.console.print(
                    f"[yellow]left out[/] {self.dataset.name} {source} {effort}: {error}", soft_wrap=True
                )
                break
            for engine, result in zip(("retrieval", "asyncpg"), results, strict=True):
                rows.append(self._row(engine, search, result, effort))
        return rows

    def _try(self, searches: Sequence[Search], in_flight: int) -> list[Row]:
        """A row for each search of the service; they run in turns."""
        targets = [self._service(search) for search in searches]
        results = interleave(self.generator, targets, in_flight, self.seconds)
        efforts = [self._effort(search) for search in searches]
        return [self._row("retrieval", s, r, e) for s, r, e in zip(searches, results, efforts, strict=True)]

    def _funnel(self, found: Measurement) -> tuple[Row, Row]:
        """The default stages, and the full dimension at the lowest ef_search that recalls as much; run in turns."""
        funnel = Search("hnsw", funnel=True)
        wanted = self._recall(funnel)
        recalls: dict[int, float] = {}
        for effort in EQUAL_RECALL_EFFORTS:
            recalls[effort] = self._recall(Search("hnsw", effort))
            if recalls[effort] >= wanted - SAME_RECALL:
                break
        # Where the graph cannot recall as much, not its slowest setting is judged but the first that does its best.
        enough = min(wanted, max(recalls.values())) - SAME_RECALL
        full = Search("hnsw", next(effort for effort, reached in recalls.items() if reached >= enough))
        pairs = {in_flight: self._try([funnel, full], in_flight) for in_flight in self.in_flight}
        for rows in pairs.values():
            found.rows += rows
        first, second = pairs[min(pairs)]
        return first, second

    def _recall(self, search: Search) -> float:
        """Recall over every query once: to choose by, where the few replies of a timed run are too coarse."""
        return recall(found_by(self._service(search)), self.dataset.answers(self.k), self.k)

    def _service(self, search: Search) -> GrpcTarget:
        return GrpcTarget(self.place.service, search.requests(self.dataset, self.place.collection, self.k))

    def _asyncpg(self, source: str, effort: int) -> AsyncpgTarget:
        baseline = baseline_statement(self.dataset, self.place.version_id, Source(source), effort, self.k)
        return AsyncpgTarget(self.place.database_url, baseline, source)

    def _effort(self, search: Search) -> int:
        """What the service makes of the search's effort."""
        return effort_of(self._service(search))

    def _about(self) -> dict[str, str | int]:
        return {"dataset": self.dataset.name, "n": self.dataset.rows, "dim": self.dataset.dim, "k": self.k}

    def _row(self, engine: str, search: Search, result: LoadResult, effort: int, *, default: bool = False) -> Row:
        below = search.bucket_below
        allowed = None if below is None else frozenset(self.dataset.allowed(below).tolist())
        short = result.check(self.dataset.rows, self.k, allowed)
        measured = result.recall(self.dataset.answers(self.k, below), self.k)
        return Row(
            engine,
            "funnel" if search.funnel else search.source,
            "asyncpg" if engine == "asyncpg" else "grpc.aio",
            **self._about(),
            **figures(result, measured),
            effort=effort,
            bucket_below=below,
            short=short,
            default=default,
        )
