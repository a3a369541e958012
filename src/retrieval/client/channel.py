"""Opens channels to the service."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from retrieval.client.reasons import error_reason
from retrieval.config import UsageError
from retrieval.domain.errors import RetrievalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def open_channel(target: str, ca: Path | None = None) -> grpc.aio.Channel:
    """A channel to `target`: by TLS where `ca` names the PEM file of whom to trust, else in plain text.

    Raises: UsageError for a file that is not one.
    """
    if ca is None:
        return grpc.aio.insecure_channel(target)
    try:
        # grpcio would not say what is wrong with it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
        trusted = ca.read_bytes()
    except OSError as error:
        raise UsageError(f"--ca {ca} must be a PEM file of certificates: {error.strerror or error}") from error
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(trusted))


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
            raise told(error, target, ca) from error


def told(error: grpc.aio.AioRpcError, target: str, ca: Path | None) -> RetrievalError:
    """The domain's error for one of a call to `target`."""
    gone = error.code() is grpc.StatusCode.UNAVAILABLE
    reason, message = error_reason(error)[0], f"{error.code().name}: {error.details()}"
    if gone and not reason:
        reason, message = "SERVICE_UNREACHABLE", f"{target} cannot be reached: {error.details()}"
        if ca is not None:
            message += (
                "; with --ca the service must speak TLS, by a certificate for this name that the file vouches for"
            )
        elif "refused" not in message:
            message += "; if the service speaks TLS, name whom to trust by --ca FILE"
    return (UnavailableError if gone else RetrievalError)(message, reason=reason or error.code().name)
