"""The bars of the race: ratios within one run, every engine on the same core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.bars import STATED_ROWS, Bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rows import Row

SHORT, LONG = "synthetic-512", "synthetic-2048"
FAST, DEFAULT = "native", "grpcio"


def judge_race(rows: Sequence[Row]) -> list[Bar]:
    """The bars that the rows can speak for; they bind at `STATED_ROWS` rows."""
    table = _Table(rows)
    bars = [*_short(table), *_echo(table), *_long(table), *_batch(table)]
    binds = all(row.n >= STATED_ROWS for row in rows)
    return [bar._replace(binds=binds) for bar in bars]


class _Table:
    """Rows by what they are."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def find(
        self, engine: str, front: str, dataset: str, wanted: float | None, in_flight: int, **more: object
    ) -> Row | None:
        """The last row of that kind: a companion of a later race is compared there."""
        more = {"batch": 1, "source": "faiss" if engine == "retrieval" else ""} | more
        key = (engine, front, dataset, wanted, in_flight)
        found = [
            r
            for r in self._rows
            if (r.engine, r.front, r.dataset, r.wanted_recall, r.in_flight) == key
            and all(getattr(r, name) == value for name, value in more.items())
        ]
        return found[-1] if found else None

    def first(self, engine: str, front: str, dataset: str, wanted: float | None, in_flight: int) -> Row | None:
        """The first row of that kind: the one that ran beside its peers."""
        return _Table(self._rows[::-1]).find(engine, front, dataset, wanted, in_flight)


def _short(table: _Table) -> list[Bar]:
    bars = []
    for in_flight, least in ((8, 1.5), (64, 2.0)):
        own = table.first("retrieval", FAST, SHORT, 0.95, in_flight)
        peer = table.first("RediSearch", "RESP", SHORT, 0.95, in_flight)
        if own and peer:
            bars.append(_faster(f"512-d, {in_flight} in flight: QPS >= {least} x RediSearch", own, peer, least, 0.95))
    own, peer = (table.first(e, f, SHORT, 0.95, 1) for e, f in (("retrieval", FAST), ("RediSearch", "RESP")))
    if own and peer:
        evidence = f"{own.p50_ms:.3f} against {peer.p50_ms:.3f} ms at recall {own.recall:.3f} and {peer.recall:.3f}"
        bars.append(Bar("512-d, 1 in flight: p50 <= RediSearch", own.p50_ms <= peer.p50_ms, evidence))
    return bars


def _echo(table: _Table) -> list[Bar]:
    bars = []
    for in_flight in (8, 64):
        own = table.first("retrieval", DEFAULT, SHORT, 0.95, in_flight)
        echo = table.first("echo", DEFAULT, SHORT, 0.95, in_flight)
        if own and echo:
            bars.append(_faster(f"512-d on grpcio, {in_flight} in flight: QPS >= 0.75 x echo", own, echo, 0.75, 0.95))
    for front in (FAST, DEFAULT):
        own = table.first("retrieval", front, SHORT, 0.95, 1)
        echo = table.first("echo", front, SHORT, 0.95, 1)
        if own and echo:
            limit = echo.p50_ms + 0.15
            evidence = f"{own.p50_ms:.3f} against {echo.p50_ms:.3f} + 0.15 ms"
            bars.append(Bar(f"1 in flight on {front}: p50 <= echo + 0.15 ms", own.p50_ms <= limit, evidence))
            evidence = f"{own.p99_ms:.3f} ms = {own.p99_ms / own.p50_ms:.1f} x {own.p50_ms:.3f} ms"
            bars.append(Bar(f"1 in flight on {front}: p99 <= 3 x p50", own.p99_ms <= 3 * own.p50_ms, evidence))
    return bars


def _long(table: _Table) -> list[Bar]:
    own = table.find("retrieval", FAST, LONG, 0.99, 8)
    if own is None:
        return []
    others = (
        ("our own on 512-d", table.find("retrieval", FAST, SHORT, 0.95, 8), 0.85),
        ("RediSearch", table.find("RediSearch", "RESP", LONG, 0.99, 8), 3.0),
        ("bare pgvector", table.find("pgvector", "asyncpg", LONG, 0.99, 8), 3.0),
    )
    return [
        _faster(f"2048-d, 8 in flight: QPS >= {least} x {name}", own, other, least, 0.99)
        for name, other, least in others
        if other
    ]


def _batch(table: _Table) -> list[Bar]:
    bars = []
    for dataset, wanted in ((SHORT, 0.95), (LONG, 0.99)):
        own = table.find("retrieval", FAST, dataset, wanted, 2, source="batch", batch=64)
        bare = table.find("bare FAISS", "none", dataset, wanted, 1, batch=64)
        if own and bare:
            bars.append(_faster(f"{dataset}, BatchSearch of 64: >= 0.7 x bare FAISS", own, bare, 0.7, wanted))
    return bars


def _faster(promise: str, own: Row, other: Row, least: float, recall: float) -> Bar:
    ratio = own.qps / other.qps
    beside = "" if other.recall is None else f", {other.recall:.4f}"
    evidence = f"{ratio:.2f} x ({own.qps:,.0f} against {other.qps:,.0f}; recall {own.recall:.4f}{beside})"
    return Bar(promise, ratio >= least and (own.recall or 0.0) >= recall, evidence)
