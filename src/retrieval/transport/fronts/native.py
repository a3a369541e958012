"""The front on pygrpc-native, whose HTTP/2 runs in Rust, outside the interpreter's lock.

A thread takes calls in batches. Hot methods answer theirs right there; what is left of a batch goes to the event loop
in one step and runs as tasks. Streams, health, reflection and unknown methods are for the grpcio server behind it, to
which the front passes them through a Unix socket. Nothing else imports pygrpc_native.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from pygrpc_native import EVENT_CANCEL, NativeGrpcFront

from retrieval.transport.calls import CALL_ID_KEY, TIMING_KEY, log_call, logs_success
from retrieval.transport.fronts.accept_log import ACCEPT_FILTER
from retrieval.transport.fronts.front import KEEPALIVE_TIME_MS, KEEPALIVE_TIMEOUT_MS
from retrieval.transport.fronts.grpcio import make_server
from retrieval.transport.fronts.socket_folder import SocketFolder
from retrieval.transport.hot import answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from retrieval.transport.calls import Metadata, UnaryCall
    from retrieval.transport.fronts.front import Address, Offer

    Event = tuple[int, int, int, bytes | None, Any, Any]
    """(kind, call id, method number, payload, client key, (metadata, peer, seconds remaining))."""

log = logging.getLogger(__name__)

BATCH = 64
"""Calls taken from the queue at once."""
IO_THREADS = 1
"""Threads of the HTTP/2 side: on a core shared with Python a second one takes a fifth of the calls a second away."""
FLUSH_S = 0.02
"""Time a connection gets to write out what it was given last."""

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
_TOO_LARGE = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


class NativeContext:
    """See `Context`; a call on this front."""

    __slots__ = ("_call_id", "_deadline", "_front", "_metadata", "trailing_metadata")

    def __init__(self, front: NativeGrpcFront, call_id: int, metadata: Metadata, remaining_s: float | None) -> None:
        self._front = front
        self._call_id = call_id
        self._metadata = metadata
        self._deadline = None if remaining_s is None else time.monotonic() + remaining_s
        self.trailing_metadata: Metadata = ()

    def invocation_metadata(self) -> Metadata:
        """See `Context`."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """See `Context`."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """See `Context`."""
        self.trailing_metadata = trailing_metadata

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """See `Context`."""
        self._front.fail(self._call_id, code.value[0], details, list(trailing_metadata))
        raise grpc.aio.AbortError(details)


class NativeFront:
    """See `Front`. Raises: UnavailableError (ADDRESS_IN_USE)."""

    name = "native"

    def __init__(self, offer: Offer, address: Address) -> None:
        logging.getLogger("pygrpc_native.server").addFilter(ACCEPT_FILTER)
        self._max_bytes = offer.max_message_bytes
        self._calls = offer.calls
        unary = offer.methods.unary()
        self._names = list(unary)
        self._usual: list[UnaryCall] = [offer.calls.unary(name, handler) for name, handler in unary.items()]
        self._hot = {number: offer.hot[name] for number, name in enumerate(self._names) if name in offer.hot}
        try:
            self._front = NativeGrpcFront(
                str(address),
                [(name, False) for name in self._names],
                io_threads=IO_THREADS,
                call_details=True,
                metrics=True,
                keepalive_time_ms=KEEPALIVE_TIME_MS,
                keepalive_timeout_ms=KEEPALIVE_TIMEOUT_MS,
                keepalive_permit_without_calls=True,
                reuse_port=address.reuse_port,
            )
        except OSError as error:
            raise address.in_use() from error
        self.port = self._front.bound_port
        self._behind = make_server(offer)
        # Not below a folder that others may enter: who reaches the socket reaches the service.
        self._folder = SocketFolder()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._receive, name="calls", daemon=True)

    async def start(self) -> None:
        """See `Front`."""
        path = str(self._folder.path / "grpcio.sock")
        self._behind.add_insecure_port(f"unix:{path}")
        await self._behind.start()
        self._front.set_fallback(path)
        self._front.start()
        self._thread.start()

    async def stop(self, grace_s: float) -> None:
        """See `Front`."""
        end = self._loop.time() + grace_s
        await self._calls.lull(grace_s)
        behind = asyncio.create_task(self._behind.stop(max(0.0, end - self._loop.time())))  # awaited: below
        # Not until the tasks are done: `close` drops what the connections have not written yet.
        while self._unfinished() and self._loop.time() < end:  # noqa: ASYNC110 - nothing tells the end
            await asyncio.sleep(FLUSH_S)
        # Callers that are told now and come again at once hear from the connection that it ends.
        self._calls.release()
        await asyncio.sleep(0)
        for call_id, task in list(self._tasks.items()):
            self._front.fail(call_id, _UNAVAILABLE, "the server is shutting down")
            task.cancel()
        await behind
        await asyncio.sleep(FLUSH_S)
        await asyncio.to_thread(self._close)

    def _unfinished(self) -> int:
        """Calls whose reply is not with the connection yet, those in the queue included, those that are held not."""
        methods = (self._front.metrics() or {"methods": {}})["methods"].values()
        begun: int = sum(m["started"] - sum(status["count"] for status in m["status"].values()) for m in methods)
        return begun - sum(self._calls.held[name] for name in self._names)

    def _close(self) -> None:
        self._front.close()
        self._thread.join()
        self._folder.remove()

    def _receive(self) -> None:
        """Until the front is closed; runs in the thread."""
        receive, hand_over, hot, calls = (
            self._front.recv_batch_details,
            self._loop.call_soon_threadsafe,
            self._hot,
            self._calls,
        )
        several = False
        while (events := receive(BATCH)) is not None:
            if several and len(events) < BATCH:
                # Calls come close together: those on their way are answered along, in one search.
                os.sched_yield()
                events += receive(BATCH - len(events), 0) or []
            several = len(events) > 1
            left: Sequence[Event] = events
            if hot and not calls.draining:
                try:
                    left = self._answer(events)
                except Exception:
                    # A call that was answered already is not answered twice: its id is gone.
                    log.exception("answering hot calls failed; they take the usual way")
            if left:
                try:
                    hand_over(self._begin, left)
                except RuntimeError:
                    # The loop was closed without `stop`.
                    self._front.close()

    def _answer(self, events: Sequence[Event]) -> list[Event]:
        """Have hot methods answer their calls; returns the events that are left."""
        started = time.perf_counter()
        hot, max_bytes = self._hot, self._max_bytes
        groups: dict[int, list[Event]] = {}
        left: list[Event] = []
        cancels: list[Event] = []
        for event in events:
            number = event[2]
            if event[0] == EVENT_CANCEL:
                cancels.append(event)
            elif number not in hot or len(event[3]) > max_bytes:  # type: ignore[arg-type]  # calls have a payload
                left.append(event)
            elif number in groups:
                groups[number].append(event)
            else:
                groups[number] = [event]
        for number, group in groups.items():
            left += self._answer_group(number, group, started)
        # Behind the calls, which they may be about.
        return left + cancels

    def _answer_group(self, number: int, group: list[Event], started: float) -> list[Event]:
        replies = answer(self._hot[number], [event[3] for event in group])  # type: ignore[misc]  # calls have a payload
        respond, identities, max_bytes = self._front.respond, self._calls.identities, self._max_bytes
        timing = (TIMING_KEY, str(int((time.perf_counter() - started) * 1e6)))
        left = []
        logged = logs_success()
        for event, reply in zip(group, replies, strict=True):
            if reply is None:
                left.append(event)
            elif len(reply) > max_bytes:
                self._refuse(event[1], "Sent", len(reply))
            else:
                identity = next(identities)
                respond(event[1], reply, None, [timing, (CALL_ID_KEY, identity)])
                if logged:
                    log_call(self._names[number], "OK", started, identity)
        return left

    def _begin(self, events: Sequence[Event]) -> None:
        """Run calls the usual way, and end those whose caller left or whose time is up; runs in the event loop."""
        for kind, call_id, number, payload, _, details in events:
            if kind == EVENT_CANCEL:
                if call_id in self._tasks:
                    self._tasks[call_id].cancel()
            elif len(payload) > self._max_bytes:  # type: ignore[arg-type]
                self._refuse(call_id, "Received", len(payload))  # type: ignore[arg-type]
            else:
                metadata, _, remaining_s = details
                context = NativeContext(self._front, call_id, metadata, remaining_s)
                call = self._run(call_id, self._usual[number], payload, context)
                task = self._loop.create_task(call)  # awaited: by `stop`, and by the caller
                self._tasks[call_id] = task
                task.add_done_callback(partial(self._forget, call_id))

    async def _run(self, call_id: int, usual: UnaryCall, payload: bytes | None, context: NativeContext) -> None:
        try:
            reply = await usual(payload, context)
        except grpc.aio.AbortError:
            return
        if len(reply) > self._max_bytes:
            self._refuse(call_id, "Sent", len(reply))
        else:
            self._front.respond(call_id, reply, None, list(context.trailing_metadata))

    def _forget(self, call_id: int, _task: asyncio.Task[None]) -> None:
        del self._tasks[call_id]

    def _refuse(self, call_id: int, what: str, size: int) -> None:
        """As grpcio does, in its words."""
        self._front.fail(call_id, _TOO_LARGE, f"SERVER: {what} message larger than max ({size} vs. {self._max_bytes})")
