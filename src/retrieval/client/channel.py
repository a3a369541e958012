"""Opens channels to the service."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from retrieval.client.reasons import error_reason
from retrieval.domain.errors import RetrievalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def open_channel(target: str, ca: Path | None = None) -> grpc.aio.Channel:
    """A channel to `target`: by TLS where `ca` names the PEM file of whom to trust, else in plain text."""
    if ca is None:
        return grpc.aio.insecure_channel(target)
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca.read_bytes()))


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Metadata that carry a token; none where there is none."""
    return (("authorization", f"Bearer {token}"),) if token else ()


@asynccontextmanager
async def calling(target: str, ca: Path | None = None) -> AsyncIterator[grpc.aio.Channel]:
    """A channel for the calls of a command, whose errors are those of the domain. `ca`: see `open_channel`.

    Raises: RetrievalError with the service's reason when it refuses; UnavailableError (SERVICE_UNREACHABLE) when it is
    not there or goes away.
    """
    async with open_channel(target, ca) as channel:
        try:
            yield channel
        except grpc.aio.AioRpcError as error:
            gone = error.code() is grpc.StatusCode.UNAVAILABLE
            reason, message = error_reason(error)[0], f"{error.code().name}: {error.details()}"
            if gone and not reason:
                reason, message = "SERVICE_UNREACHABLE", f"{target} cannot be reached: {error.details()}"
            raise (UnavailableError if gone else RetrievalError)(message, reason=reason or error.code().name) from error
