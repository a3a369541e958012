"""Bidirectional writes: batch after batch, each acknowledged once it is durable."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval.transport.lanes import stream_writes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import grpc

    Context = grpc.aio.ServicerContext[Any, Any]

Request = TypeVar("Request")
Batch = TypeVar("Batch")

READ_AHEAD = 2
"""Batches of a stream that are decoded and checked while an earlier one is being written."""


async def acknowledge(
    requests: AsyncIterator[Request],
    prepare: Callable[[Request], Awaitable[Batch]],
    write: Callable[[int, Batch], Awaitable[Any]],
    context: Context,
) -> None:
    """`prepare` each request, then `write` what it became, with its 0-based number, and send the reply that this gives.

    One batch is written at a time, in turns with other writes, while the next ones are prepared. An error ends the
    stream, after the acknowledgements of the batches before it.
    """
    ahead: asyncio.Queue[Batch | Exception | None] = asyncio.Queue(READ_AHEAD)
    lane = stream_writes.get()
    turn = nullcontext if lane is None else lane.turn
    reading = asyncio.create_task(_read_ahead(requests, prepare, ahead))  # awaited: below
    try:
        number = 0
        while (batch := await ahead.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            async with turn():
                reply = await write(number, batch)
            await context.write(reply)
            number += 1
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read_ahead(
    requests: AsyncIterator[Request],
    prepare: Callable[[Request], Awaitable[Batch]],
    ahead: asyncio.Queue[Batch | Exception | None],
) -> None:
    """Put prepared batches into the queue, then None; or the first error, after which nothing is read."""
    try:
        async for request in requests:
            await ahead.put(await prepare(request))
        await ahead.put(None)
    except Exception as error:
        await ahead.put(error)
