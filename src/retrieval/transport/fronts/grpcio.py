"""The front on grpcio: a `grpc.aio` server, which can do all of gRPC, TLS included."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc

from retrieval.transport.calls import log_call, trailers
from retrieval.transport.fronts.front import KEEPALIVE_TIME_MS, KEEPALIVE_TIMEOUT_MS, is_wrapped
from retrieval.transport.hot import HotMethod, answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from retrieval.transport.calls import UnaryCall
    from retrieval.transport.fronts.front import Address, Offer

    Handler = grpc.RpcMethodHandler[Any, Any]


FAREWELL_S = 0.05
"""Time a connection gets to say that it ends, before its callers are told so."""


class GrpcioFront:
    """See `Front`. Raises: UnavailableError (ADDRESS_IN_USE)."""

    name = "grpcio"

    def __init__(self, offer: Offer, address: Address) -> None:
        self._server = make_server(offer, reuse_port=address.reuse_port)
        self._calls = offer.calls
        try:
            if address.certificate:
                credentials = grpc.ssl_server_credentials([(address.key, address.certificate)])
                self.port = self._server.add_secure_port(str(address), credentials)
            else:
                self.port = self._server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise address.in_use() from error

    async def start(self) -> None:
        """See `Front`."""
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """See `Front`."""
        # From now on grpcio cancels the calls that it has not handed over yet, and those that come before a client has
        # read that the connection ends (GOAWAY). So callers are held until none sends anything, and told behind that.
        end = asyncio.get_running_loop().time() + grace_s
        await self._calls.lull(grace_s)
        left_s = max(0.0, end - asyncio.get_running_loop().time())
        stopping = asyncio.create_task(self._server.stop(left_s))  # awaited: below
        await asyncio.sleep(min(FAREWELL_S, left_s / 2))
        self._calls.release()
        await stopping


def make_server(offer: Offer, *, reuse_port: bool = False) -> grpc.aio.Server:
    """A grpcio server of all methods, without a port."""
    options = [
        ("grpc.max_receive_message_length", offer.max_message_bytes),
        ("grpc.max_send_message_length", offer.max_message_bytes),
        # Two servers on one port would share its calls by chance; unless that is meant, the second one is to fail.
        ("grpc.so_reuseport", int(reuse_port)),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients may ping idle connections every 10 s, as proxies make them do.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    server = grpc.aio.server(interceptors=(CallInterceptor(offer),), options=options)
    offer.methods.add_to(server)
    return server


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Puts `Calls` around the handlers of every service but health and reflection, and hot methods before it."""

    def __init__(self, offer: Offer) -> None:
        self._calls = offer.calls
        self._hot = offer.hot
        self._wrapped: dict[str, Handler] = {}

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
            if handler is None or not is_wrapped(method):
                return handler
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Handler) -> Handler:
        if handler.unary_unary is not None:
            usual = self._calls.unary(method, handler)
            hot = self._hot.get(method)
            return grpc.unary_unary_rpc_method_handler(usual if hot is None else self._hot_first(method, hot, usual))
        if handler.stream_stream is not None:
            stream = self._calls.stream(method, handler)
            return grpc.stream_stream_rpc_method_handler(stream, response_serializer=handler.response_serializer)
        if handler.unary_stream is not None:
            replies = self._calls.server_stream(method, handler)
            return grpc.unary_stream_rpc_method_handler(replies, response_serializer=handler.response_serializer)
        raise TypeError(f"{method}: methods that only the client streams are not served")

    def _hot_first(self, method: str, hot: HotMethod, usual: UnaryCall) -> UnaryCall:
        calls = self._calls

        async def call(raw: bytes, context: Any) -> Any:
            if not calls.draining:
                started = time.perf_counter()
                reply = answer(hot, (raw,))[0]
                if reply is not None:
                    identity = next(calls.identities)
                    context.set_trailing_metadata(trailers(started, identity))
                    log_call(method, "OK", started, identity)
                    return reply
            try:
                return await usual(raw, context)
            finally:
                raw = b""  # see `Calls.unary`

        return call
