"""What happens around every call: deadline, load shedding, errors, timing, access log.

One interceptor does it all, and decodes requests and encodes replies itself: a handler is wrapped once per method, a
malformed message becomes a status like any other error, and the time measured is that of the whole handler.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from retrieval.application.deadline import set_remaining_s
from retrieval.domain.errors import DeadlineExceededError, InvalidArgumentError, OverloadedError, UnavailableError
from retrieval.transport.status import call_id, code_of, known, rich_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]

log = logging.getLogger("retrieval.access")

TIMING_KEY = "server-timing-us"
"""Trailing metadata: microseconds spent in the handler, decoding and encoding included."""
CALL_ID_KEY = "call-id"
"""Trailing metadata: names the call in the log."""
RETRY_AFTER_S = 0.1
"""A shed call is told to come back after this: several times the length of a usual call."""

_EXEMPT = ("/grpc.health.", "/grpc.reflection.")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of every service but health and reflection."""

    def __init__(self, max_in_flight: int, default_deadline_s: float) -> None:
        self._max_in_flight = max_in_flight
        self._default_deadline_s = default_deadline_s
        self._in_flight = 0
        self._wrapped: dict[str, Handler] = {}
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)
        self.draining = False

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The wrapped handler of the method, made at its first call."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith(_EXEMPT):
                return handler
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Handler) -> Handler:
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, handler))
        if handler.stream_stream is not None:
            stream = self._stream(method, handler)
            return grpc.stream_stream_rpc_method_handler(stream, response_serializer=handler.response_serializer)
        raise TypeError(f"{method}: only unary and bidirectional methods are served")

    def _unary(self, method: str, handler: Handler) -> Any:
        behaviour: Any = handler.unary_unary
        encode: Any = handler.response_serializer

        async def call(raw: bytes, context: Context) -> Any:
            async def run() -> Any:
                remaining_s = context.time_remaining()
                async with _within(self._default_deadline_s if remaining_s is None else remaining_s):
                    return encode(await behaviour(_decoded(handler, raw), context))

            return await self._around(method, context, run)

        return call

    def _stream(self, method: str, handler: Handler) -> Any:
        behaviour: Any = handler.stream_stream

        async def call(raws: AsyncIterator[bytes], context: Context) -> None:
            async def requests() -> AsyncIterator[Any]:
                async for raw in raws:
                    yield _decoded(handler, raw)

            async def run() -> None:
                async with _within(context.time_remaining()):
                    await behaviour(requests(), context)

            await self._around(method, context, run)

        return call

    async def _around(self, method: str, context: Context, run: Callable[[], Awaitable[Any]]) -> Any:
        started = time.perf_counter()
        identity = f"{self._prefix}-{next(self._numbers):x}"
        call_id.set(identity)
        outcome = "CANCELLED"
        self._in_flight += 1
        try:
            self._admit()
            reply = await run()
            context.set_trailing_metadata(_trailers(started, identity))
            outcome = "OK"
        except Exception as error:
            shown = known(error)
            outcome = f"{code_of(shown).name} reason={shown.reason}"
            status = rich_status(shown)
            trailers = (*(status.trailing_metadata or ()), *_trailers(started, identity))
            await context.abort(status.code, status.details, trailers)
        else:
            return reply
        finally:
            self._in_flight -= 1
            level = logging.DEBUG if outcome == "OK" else logging.INFO
            if log.isEnabledFor(level):
                took_us = (time.perf_counter() - started) * 1e6
                log.log(level, "method=%s code=%s us=%d call=%s", method, outcome, took_us, identity)

    def _admit(self) -> None:
        if self.draining:
            raise UnavailableError("the server is shutting down; call another one", reason="SHUTTING_DOWN")
        if self._in_flight > self._max_in_flight:
            raise OverloadedError(
                f"more than {self._max_in_flight} calls are in flight; try again shortly", retry_after_s=RETRY_AFTER_S
            )


def _decoded(handler: Handler, raw: bytes) -> Any:
    decode: Any = handler.request_deserializer
    try:
        return decode(raw)
    except DecodeError as error:
        raise InvalidArgumentError(
            "the request is not a valid message of its type: broken encoding, or a string that is not UTF-8",
            reason="MALFORMED_MESSAGE",
        ) from error


def _trailers(started: float, identity: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (TIMING_KEY, str(int((time.perf_counter() - started) * 1e6))), (CALL_ID_KEY, identity)


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
