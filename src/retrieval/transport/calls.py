"""What happens around every call, whichever front takes it: deadline, load shedding, errors, timing, access log.

One wrapper does it all, and decodes requests and encodes replies itself: a handler is wrapped once per method, a
malformed message becomes a status like any other error, and the time measured is that of the whole handler.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.message import DecodeError

from retrieval.application.deadline import set_remaining_s
from retrieval.application.worker_threads import in_thread
from retrieval.domain.errors import DeadlineExceededError, InvalidArgumentError, OverloadedError, UnavailableError
from retrieval.transport.apart import apart, large_request
from retrieval.transport.lanes import LARGE_BYTES, stream_writes
from retrieval.transport.status import call_id, code_of, forget_frames, known, rich_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from typing import NoReturn

    import grpc

    from retrieval.transport.hot import LongMethods
    from retrieval.transport.lanes import Lane, Lanes

    Handler = grpc.RpcMethodHandler[Any, Any]
    Metadata = Sequence[tuple[str, str | bytes]]

log = logging.getLogger("retrieval.access")

TIMING_KEY = "server-timing-us"
"""Trailing metadata: microseconds spent in the handler, decoding and encoding included."""
CALL_ID_KEY = "call-id"
"""Trailing metadata: names the call in the log."""


HOLD_S = 0.25
"""A call that comes while draining is refused after this at the latest."""
QUIET_S = 0.05
"""Where so long no call came, each caller who waits for an answer before the next call is held."""
CLEAN_UP_S = 5.0
"""Time that calls which were cancelled get to clean up after themselves."""


class Context(Protocol):
    """The part of `grpc.aio.ServicerContext` that unary calls use, and that a front therefore provides."""

    def invocation_metadata(self) -> Metadata | None:
        """What the caller sent beside the message."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None: there is none."""
        ...

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """What goes out behind the reply."""
        ...

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """End the call with a status, and what runs with `grpc.aio.AbortError`."""
        ...


UnaryCall = Any
"""`async (raw: bytes, context: Context) -> bytes`; Any, as grpcio's own context is not known to be a `Context`."""


class Calls:
    """Wraps handlers, has each call keep to its lane, and refuses those that come too late."""

    def __init__(self, lanes: Lanes, default_deadline_s: float, long_methods: LongMethods | None = None) -> None:
        self._lanes = lanes
        self._long = long_methods or {}
        self._default_deadline_s = default_deadline_s
        self.identities: Iterator[str] = map(f"{secrets.token_hex(4)}-{{:x}}".format, count(1))
        self.draining = False
        self.held: Counter[str] = Counter()
        """Calls by method that came while draining and are not told yet."""
        self._came = 0
        self._released = asyncio.Event()
        self._under_way = 0
        self._last_over = asyncio.Event()

    async def lull(self, grace_s: float) -> None:
        """Wait until no call has come for `QUIET_S`; at most `HOLD_S`, and half of the time that the drain has.

        A caller who is held sends nothing more on the connection, so that none of its calls meets the end of it. Those
        who do not wait for answers go on sending, though, and the last of these calls may be cancelled.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + min(HOLD_S, grace_s / 2)
        came = -1
        while came != self._came and loop.time() < end:
            came = self._came
            await asyncio.sleep(min(QUIET_S, grace_s / 2))

    def release(self) -> None:
        """Tell those who are held, and who come from now on, that the server is shutting down."""
        self._released.set()

    async def ended(self) -> None:
        """Wait until every call has come to its end, those that were cancelled included, at most `CLEAN_UP_S`."""
        self.release()
        if self._under_way:
            self._last_over.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLEAN_UP_S):
                    await self._last_over.wait()

    def unary(self, method: str, handler: Handler) -> UnaryCall:
        """The handler of a unary method, from encoded request to encoded reply."""
        behaviour: Any = handler.unary_unary
        encode: Any = handler.response_serializer
        long = self._long.get(method)

        async def call(raw: bytes, context: Context) -> Any:
            lane = self._lanes.of(method, len(raw))

            async def run() -> Any:
                remaining_s = context.time_remaining()
                async with _within(self._default_deadline_s if remaining_s is None else remaining_s), lane.turn():
                    if long is not None and (reply := await in_thread(long, raw)) is not None:
                        return reply
                    large_request.set(len(raw) > LARGE_BYTES)
                    return encode(await behaviour(await apart(_decoded, handler, raw), context))

            try:
                return await self._around(method, context, lane, run)
            finally:
                # grpcio keeps the error of an aborted call, and with it this frame, until the collector comes round.
                raw = b""

        return call

    def stream(self, method: str, handler: Handler) -> Any:
        """The same for a bidirectional method, whose replies the front encodes."""
        behaviour: Any = handler.stream_stream

        async def call(raws: AsyncIterator[bytes], context: Context) -> None:
            async def requests() -> AsyncIterator[Any]:
                async for raw in raws:
                    large_request.set(len(raw) > LARGE_BYTES)
                    yield await apart(_decoded, handler, raw)

            async def run() -> None:
                stream_writes.set(self._lanes.writes)
                async with _within(context.time_remaining()):
                    await behaviour(requests(), context)

            await self._around(method, context, self._lanes.streams, run)

        return call

    def server_stream(self, method: str, handler: Handler) -> Any:
        """The same for a method with one request and a stream of replies."""
        behaviour: Any = handler.unary_stream

        async def call(raw: bytes, context: Context) -> None:
            async def run() -> None:
                async with _within(context.time_remaining()):
                    await behaviour(_decoded(handler, raw), context)

            await self._around(method, context, self._lanes.streams, run)

        return call

    async def _around(self, method: str, context: Context, lane: Lane, run: Callable[[], Awaitable[Any]]) -> Any:
        started = time.perf_counter()
        identity = next(self.identities)
        call_id.set(identity)
        outcome = "CANCELLED"
        self._under_way += 1
        try:
            if self.draining:
                await self._hold(method, context, lane)
            reply = await self._admitted(lane, run)
            context.set_trailing_metadata(trailers(started, identity))
            outcome = "OK"
        except Exception as error:
            status, outcome = _told(error)
            trailing = (*(status.trailing_metadata or ()), *trailers(started, identity))
            await context.abort(status.code, status.details, trailing)
        else:
            return reply
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._last_over.set()
            log_call(method, outcome, started, identity)

    async def _hold(self, method: str, context: Context, lane: Lane) -> NoReturn:
        """Refuse a call that comes while draining: at `release`, after `HOLD_S`, or at once where there is no room."""
        self._came += 1
        remaining_s = context.time_remaining()
        most_s = HOLD_S if remaining_s is None else min(HOLD_S, remaining_s / 2)
        with suppress(OverloadedError, TimeoutError):
            lane.enter()
            self.held[method] += 1
            try:
                async with asyncio.timeout(most_s):
                    await self._released.wait()
            finally:
                self.held[method] -= 1
                lane.leave()
        raise UnavailableError("the server is shutting down; call another one", reason="SHUTTING_DOWN")

    @staticmethod
    async def _admitted(lane: Lane, run: Callable[[], Awaitable[Any]]) -> Any:
        lane.enter()
        try:
            return await run()
        finally:
            lane.leave()


def _told(error: Exception) -> tuple[grpc.Status, str]:
    """What the caller is told, and what the log. The error lets go of the request, which its traceback would hold."""
    shown = known(error)
    told = rich_status(shown), f"{code_of(shown).name} reason={shown.reason}"
    forget_frames(error)
    return told


def trailers(started: float, identity: str) -> list[tuple[str, str | bytes]]:
    """What every reply ends with. `started`: on the clock of `time.perf_counter`."""
    return [(TIMING_KEY, str(int((time.perf_counter() - started) * 1e6))), (CALL_ID_KEY, identity)]


def logs_success() -> bool:
    """Whether `log_call` says anything of calls that went well: asked once per batch, as a call takes so little."""
    return log.isEnabledFor(logging.DEBUG)


def log_call(method: str, outcome: str, started: float, identity: str) -> None:
    """One line of the access log."""
    level = logging.DEBUG if outcome == "OK" else logging.INFO
    if log.isEnabledFor(level):
        took_us = (time.perf_counter() - started) * 1e6
        log.log(level, "method=%s code=%s us=%d call=%s", method, outcome, took_us, identity)


def _decoded(handler: Handler, raw: bytes) -> Any:
    decode: Any = handler.request_deserializer
    try:
        return decode(raw)
    except DecodeError as error:
        raise InvalidArgumentError(
            "the request is not a valid message of its type: broken encoding, or a string that is not UTF-8",
            reason="MALFORMED_MESSAGE",
        ) from error


@asynccontextmanager
async def _within(remaining_s: float | None) -> AsyncIterator[None]:
    """Cancel what runs inside when the time is up; None: no limit. A timeout of anybody else is passed on."""
    set_remaining_s(remaining_s)
    deadline = asyncio.timeout(remaining_s)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise DeadlineExceededError("the time the caller allowed ran out") from error
