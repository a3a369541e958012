"""Opens channels to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from pathlib import Path


def open_channel(target: str, ca: Path | None = None) -> grpc.aio.Channel:
    """A channel to `target`: by TLS where `ca` names the PEM file of whom to trust, else in plain text."""
    if ca is None:
        return grpc.aio.insecure_channel(target)
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca.read_bytes()))
