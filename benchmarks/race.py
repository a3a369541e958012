"""The FAISS cache among its peers: every engine tuned to the same recall, on the same core, in turns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchmarks.load import LoadError, LoadResult
from benchmarks.peers.own import batch_answers
from benchmarks.peers.peer import Tuned, tune
from benchmarks.rows import CDF_PERCENTS, Row, figures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from benchmarks.bare_faiss import BareFaiss
    from benchmarks.datasets import Dataset
    from benchmarks.load import LoadGenerator, Target, WireTarget
    from benchmarks.peers.own import OwnPeer
    from benchmarks.peers.peer import Peer

WANTED = (0.95, 0.99)
IN_FLIGHT = (1, 8, 64)
BATCH = 64
BATCHES_IN_FLIGHT = 2
"""One on its way while the other is worked on: the core is never idle."""
CURVE_IN_FLIGHT = 8
CURVE_ENOUGH = 0.998
ROUNDS = 3


@dataclass(frozen=True)
class Entry:
    """An engine with its data set, tuned to `wanted`. `peer` None: an empty RPC, which finds nothing."""

    engine: str
    front: str
    dataset: Dataset
    target: Target | WireTarget
    wanted: float
    effort: float = 0.0
    peer: Peer | None = None


@dataclass
class Race:
    """The measurements of one data set; `run()` does them all. `companions` take part in what is tuned to the last of
    `wanted`, whatever they are tuned to themselves."""

    dataset: Dataset
    peers: Sequence[Peer]
    echoes: Sequence[Entry]
    generator: LoadGenerator
    bare: BareFaiss
    segment: Path
    console: Console
    seconds: float
    k: int
    wanted: Sequence[float] = WANTED
    companions: Sequence[Entry] = ()
    rows: list[Row] = field(default_factory=list)
    running: Sequence[Peer] = ()
    """Those that were tuned without an error."""

    def run(self) -> list[Row]:
        """Tuned engines at every load, the batches, and the curves."""
        for wanted in self.wanted:
            tuned = [(peer, found) for peer in self.peers if (found := self._tuned(peer, wanted))]
            echoes = [replace(echo, wanted=wanted) for echo in self.echoes]
            for in_flight in IN_FLIGHT:
                # A target is made anew each time: for some engines that is what sets the effort.
                entries = [self.entry(peer, found.effort, wanted) for peer, found in tuned]
                last = self.companions if wanted == self.wanted[-1] else ()
                self.rows += self._in_turns([*entries, *echoes, *last], in_flight, self.seconds)
            own = next((peer, found) for peer, found in tuned if peer.name == "retrieval")
            self.rows += self._batches(own[0], own[1].effort, wanted)  # type: ignore[arg-type]
            self.running = [peer for peer, _ in tuned]
        for peer in self.running:
            self.rows += self._curve(peer)
        return self.rows

    def entry(self, peer: Peer, effort: float, wanted: float) -> Entry:
        """The engine on this data set at an effort."""
        return Entry(peer.name, peer.front, self.dataset, peer.target(effort), wanted, effort, peer)

    def _tuned(self, peer: Peer, wanted: float) -> Tuned | None:
        """None, and a line that says why, for an engine that fails."""
        try:
            found = tune(peer, self.dataset, self.k, wanted)
        except Exception as error:  # whatever its library raises: the others go on
            self.console.print(f"[yellow]left out[/] {peer.name}: {error!r}", highlight=False, soft_wrap=True)
            return None
        self.console.print(
            f"{peer.name} ({peer.front}): effort {found.effort:g} for recall {wanted}, found {found.recall:.4f}",
            highlight=False,
        )
        return found

    def _in_turns(self, entries: Sequence[Entry], in_flight: int, seconds: float) -> list[Row]:
        """Rounds in which everybody has a turn; who fails is left out, visibly."""
        results = {number: LoadResult(in_flight) for number in range(len(entries))}
        for turn in range(ROUNDS):
            for number, result in list(results.items()):
                target = entries[number].target
                first = turn * target.query_count // (ROUNDS * in_flight)
                try:
                    result.add(self.generator.run(target, in_flight, seconds / ROUNDS, first))
                except LoadError as error:
                    self.console.print(f"[yellow]left out[/] {entries[number].engine} at {in_flight}: {error}")
                    del results[number]
        return [self._row(entries[number], result) for number, result in results.items()]

    def _batches(self, own: OwnPeer, effort: float, wanted: float) -> list[Row]:
        """BatchSearch beside bare FAISS, in turns: by one and by as many queries a call."""
        target = own.batched(effort, BATCH)
        exact = batch_answers(self.dataset.answers(self.k), BATCH)
        service, one, many = LoadResult(BATCHES_IN_FLIGHT), LoadResult(1), LoadResult(1)
        for turn in range(ROUNDS):
            first = turn * target.query_count // (ROUNDS * BATCHES_IN_FLIGHT)
            seconds = self.seconds / ROUNDS
            service.add(self.generator.run(target, BATCHES_IN_FLIGHT, seconds, first))
            for result, size in ((one, 1), (many, BATCH)):
                result.add(self.bare.run(self.segment, effort, self.dataset.queries, size, seconds, self.k))
        found = figures(service, service.recall(exact, BATCH * self.k)) | {"qps": service.qps * BATCH}
        rows = [Row(own.name, "batch", own.front, **self._about(), **found, wanted_recall=wanted, batch=BATCH)]
        for result, size in ((one, 1), (many, BATCH)):
            measured = figures(result, result.recall(self.dataset.answers(self.k), self.k))
            rows.append(Row("bare FAISS", "", "none", **self._about(), **measured, wanted_recall=wanted, batch=size))
        return rows

    def _curve(self, peer: Peer) -> list[Row]:
        """Effort by effort, until recall is as good as complete or does not grow."""
        rows: list[Row] = []
        for effort in peer.efforts:
            found = self._in_turns([self.entry(peer, effort, 0.0)], CURVE_IN_FLIGHT, self.seconds / 2)
            rows += found
            if not found or (found[0].recall or 0.0) >= CURVE_ENOUGH or _flat(rows):
                break
        return rows

    def _row(self, entry: Entry, result: LoadResult) -> Row:
        peer, dataset = entry.peer, entry.dataset
        found = {"memory_bytes": peer.memory_bytes(), "build_s": peer.build_s} if peer else {}
        recall = result.recall(dataset.answers(self.k), self.k) if peer else None
        return Row(
            entry.engine,
            "faiss" if entry.engine == "retrieval" else "",
            entry.front,
            **{**self._about(), "dataset": dataset.name, "n": dataset.rows, "dim": dataset.dim},
            **figures(result, recall),
            effort=entry.effort,
            short=result.check(dataset.rows, self.k),
            wanted_recall=entry.wanted or None,
            cdf_ms=tuple(result.percentile(percent) for percent in CDF_PERCENTS),
            **found,
        )

    def _about(self) -> dict[str, str | int]:
        return {"dataset": self.dataset.name, "n": self.dataset.rows, "dim": self.dataset.dim, "k": self.k}


def _flat(rows: Sequence[Row]) -> bool:
    """Whether doubling the effort over the last three rows has bought nothing."""
    return len(rows) > 3 and (rows[-1].recall or 0.0) - (rows[-4].recall or 0.0) < 0.0005
