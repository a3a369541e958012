"""A closed-loop load generator: a fixed number of requests in flight, spread over processes of their own."""

from __future__ import annotations

import asyncio
import ipaddress
import multiprocessing
import os
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np

from benchmarks.truth import recall
from benchmarks.wire import Call, Wire, closed_loop, open_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    Outcome = tuple["LoadResult", float, float]

WARM_UP_CALLS = 20
WARM_UP_S = 0.3
MAX_CALLS_A_SLOT = 50_000
READY_TIMEOUT_S = 120.0
READY = "ready"


class LoadError(Exception):
    """A request failed, or a reply is not one that a correct search can give."""


class Answer(NamedTuple):
    """What a reply said: the ids of its hits, best first, and who answered."""

    ids: list[int]
    source: str


class Target(Protocol):
    """Something to put under load. It travels to other processes, so it holds no connection itself."""

    query_count: int

    def connect(self) -> AbstractAsyncContextManager[Callable[[int], Awaitable[Any]]]:
        """A connection of its own for one caller, as the function that sends query number i and returns the reply."""
        ...

    def read(self, reply: Any) -> Answer:
        """The content of a reply; called after the clock has stopped."""
        ...


class WireTarget(Wire, Protocol):
    """A target that is spoken to in bytes, see `benchmarks.wire`: the one for servers that outrun a client."""

    def read(self, reply: Any) -> Answer:
        """See `Target`."""
        ...


def require_loopback(host: str) -> None:
    """Refuses to put load on another machine.

    Raises: ValueError unless `host` is a loopback address, `localhost`, or the folder of a Unix socket.
    """
    if host == "localhost" or host.startswith("/"):
        return
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"{host} is not a loopback address: the load generator only runs against this machine")


@dataclass
class LoadResult:
    """Every reply of a run. `latencies_ms[i]` belongs to query `queries[i]` and to `found[i]`."""

    in_flight: int
    span_s: float = 0.0
    latencies_ms: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    queries: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    found: list[list[int]] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)

    def add(self, other: LoadResult) -> None:
        """Appends a later run of the same target."""
        self.span_s += other.span_s
        self.latencies_ms = np.concatenate([self.latencies_ms, other.latencies_ms])
        self.queries = np.concatenate([self.queries, other.queries])
        self.found += other.found
        self.sources += other.sources

    @property
    def qps(self) -> float:
        """Replies a second."""
        return len(self.latencies_ms) / self.span_s

    def percentile(self, q: float) -> float:
        """Latency in milliseconds that `q` percent of the calls did not exceed."""
        return float(np.percentile(self.latencies_ms, q))

    def recall(self, answers: Sequence[frozenset[int]], k: int) -> float:
        """Mean recall@k over the replies."""
        return recall(self.found, [answers[query] for query in self.queries], k)

    def check(self, row_count: int, k: int, allowed: frozenset[int] | None = None) -> int:
        """Looks at the ids of every reply and counts the replies that hold fewer hits than exist.

        Raises: LoadError for a hit twice, a hit too many, an unknown id, or an id that the filter excludes.
        """
        expected = min(k, row_count if allowed is None else len(allowed))
        short = 0
        for query, ids in zip(self.queries, self.found, strict=True):
            unique = set(ids)
            outside = unique - allowed if allowed is not None else {i for i in unique if not 0 <= i < row_count}
            if len(unique) != len(ids) or len(ids) > k or outside:
                raise LoadError(f"reply to query {query} is wrong: hits {ids}, not allowed: {sorted(outside)}")
            short += len(ids) < expected
        return short


class LoadGenerator:
    """Worker processes that stay alive from one run to the next, so that their start is in no measurement.

    `core`: the one that they are pinned to.
    """

    def __init__(self, processes: int = 2, core: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")  # a forked gRPC client hangs
        self._workers = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, core), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process, pipe in self._workers:
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.terminate()

    def run(self, target: Target | WireTarget, in_flight: int, seconds: float, first_query: int = 0) -> LoadResult:
        """Keeps `in_flight` requests going for `seconds`. One request in flight takes one process.

        Raises: LoadError where a request fails.
        """
        workers = self._workers[:in_flight]
        for number, (_, pipe) in enumerate(workers):
            # Slots start apart, so that even a short run asks many different queries.
            slots = range(number, in_flight, len(workers))
            starts = [(first_query + slot * target.query_count // in_flight) % target.query_count for slot in slots]
            pipe.send((target, starts, in_flight, seconds))
        # Every message of a run is taken even where one is an error, so that the next run starts clean.
        states = [_receive(pipe) for _, pipe in workers]
        failed = [state for state in states if isinstance(state, LoadError)]
        for (_, pipe), state in zip(workers, states, strict=True):
            if state == READY:
                pipe.send(not failed)
        parts = [] if failed else [_receive(pipe) for _, pipe in workers]
        for error in (*failed, *(part for part in parts if isinstance(part, LoadError))):
            raise error
        result = LoadResult(in_flight)
        for part, _, _ in parts:
            result.add(part)
        result.span_s = max(end for *_, end in parts) - min(start for _, start, _ in parts)
        return result


def interleave(
    generator: LoadGenerator, targets: Sequence[Target | WireTarget], in_flight: int, seconds: float, rounds: int = 3
) -> list[LoadResult]:
    """Runs the targets in turns, so that whatever else the machine does falls on all of them alike.

    Each round goes on with other queries.
    """
    results = [LoadResult(in_flight) for _ in targets]
    for number in range(rounds):
        for target, result in zip(targets, results, strict=True):
            first_query = number * target.query_count // (rounds * in_flight)
            result.add(generator.run(target, in_flight, seconds / rounds, first_query))
    return results


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(READY_TIMEOUT_S):
        raise LoadError(f"a load process said nothing for {READY_TIMEOUT_S:.0f} s")
    return pipe.recv()


def _work(pipe: Connection, core: int | None) -> None:
    """The life of a worker process, until the pipe closes: take a job, say ready, be told to go, send the result."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            run = _run_wire_job if hasattr(job[0], "open") else _run_async_job
            outcome: object = run(pipe, *job)
        except (EOFError, KeyboardInterrupt):
            return
        except Exception as error:
            outcome = LoadError(f"{type(error).__name__}: {error}")
        if outcome is not None:
            pipe.send(outcome)


def _run_async_job(
    pipe: Connection, target: Target, starts: list[int], in_flight: int, seconds: float
) -> Outcome | None:
    return asyncio.run(_run_job(pipe, target, starts, in_flight, seconds))


def _run_wire_job(
    pipe: Connection, target: WireTarget, starts: list[int], in_flight: int, seconds: float
) -> Outcome | None:
    with ExitStack() as stack:
        connections = open_all(target, len(starts))
        for connection in connections:
            stack.enter_context(connection.socket)
        closed_loop(connections, starts, target.query_count, WARM_UP_S, WARM_UP_CALLS * len(starts))
        pipe.send(READY)
        if not pipe.recv():
            return None
        begin = time.perf_counter()
        limit = MAX_CALLS_A_SLOT * len(starts)
        calls = closed_loop(connections, starts, target.query_count, seconds, limit)
        end = time.perf_counter()
    return _outcome(target, calls, in_flight, begin, end)


async def _run_job(
    pipe: Connection, target: Target, starts: list[int], in_flight: int, seconds: float
) -> Outcome | None:
    async with AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(target.connect()) for _ in starts]
        await asyncio.gather(*(_warm_up(call, target.query_count) for call in calls))
        pipe.send(READY)
        if not pipe.recv():
            return None
        begin = time.perf_counter()
        stop = begin + seconds
        loops = (_loop(call, start, target.query_count, stop) for call, start in zip(calls, starts, strict=True))
        logs = await asyncio.gather(*loops)
        end = time.perf_counter()
    return _outcome(target, [call for log in logs for call in log], in_flight, begin, end)


def _outcome(target: Target | WireTarget, calls: list[Call], in_flight: int, begin: float, end: float) -> Outcome:
    answers = [target.read(call.reply) for call in calls]
    result = LoadResult(
        in_flight,
        end - begin,
        np.array([call.seconds * 1e3 for call in calls]),
        np.array([call.query for call in calls], np.int64),
        [answer.ids for answer in answers],
        Counter(answer.source for answer in answers),
    )
    return result, begin, end


async def _warm_up(call: Callable[[int], Awaitable[Any]], query_count: int) -> None:
    stop = time.perf_counter() + WARM_UP_S
    for query in range(min(WARM_UP_CALLS, query_count)):
        await call(query)
        if time.perf_counter() > stop:
            return


async def _loop(call: Callable[[int], Awaitable[Any]], query: int, query_count: int, stop: float) -> list[Call]:
    clock = time.perf_counter
    log: list[Call] = []
    begin = clock()
    while begin < stop and len(log) < MAX_CALLS_A_SLOT:
        reply = await call(query)
        log.append(Call(query, clock() - begin, reply))
        query = (query + 1) % query_count
        begin = clock()
    return log
