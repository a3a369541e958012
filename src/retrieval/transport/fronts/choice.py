"""Which front serves, by the settings."""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.config import SettingsError
from retrieval.transport.fronts.front import Address
from retrieval.transport.fronts.grpcio import GrpcioFront

if TYPE_CHECKING:
    from retrieval.config import Settings
    from retrieval.transport.fronts.front import Front, Offer


def choose(settings: Settings) -> str:
    """`native` or `grpcio`. Raises: SettingsError when the settings ask for what a front cannot do."""
    installed = find_spec("pygrpc_native") is not None
    if settings.front == "auto":
        return "native" if installed and not settings.tls else "grpcio"
    if settings.front == "native" and not installed:
        raise SettingsError(
            "RETRIEVAL_FRONT=native needs pygrpc-native: pip install 'retrieval-service[native]', or leave it at auto"
        )
    if settings.front == "native" and settings.tls:
        raise SettingsError("RETRIEVAL_FRONT=native cannot serve TLS: use grpcio, or leave it at auto")
    return settings.front


def check_front(settings: Settings) -> None:
    """Raises: SettingsError when the settings ask for what a front cannot do, or for TLS with files that do not do."""
    choose(settings)
    if settings.tls:
        _read_pair(settings)


def open_front(settings: Settings, offer: Offer, *, reuse_port: bool) -> Front:
    """The front of the settings, listening but not started.

    Raises: SettingsError; UnavailableError (ADDRESS_IN_USE) when the address cannot be listened on.
    """
    name = choose(settings)
    certificate, key = _read_pair(settings) if settings.tls else (b"", b"")
    address = Address(settings.host, settings.port, reuse_port, certificate, key)
    if name == "grpcio":
        return GrpcioFront(offer, address)
    from retrieval.transport.fronts.native import NativeFront  # noqa: PLC0415  (optional extra)

    return NativeFront(offer, address)


def _read_pair(settings: Settings) -> tuple[bytes, bytes]:
    certificate, key = settings.tls_certificate, settings.tls_key
    try:
        # grpcio would not say what is wrong with them. An encrypted key must fail rather than ask the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
        return Path(certificate).read_bytes(), Path(key).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"RETRIEVAL_TLS_CERTIFICATE={certificate} and RETRIEVAL_TLS_KEY={key} must be the PEM files of a "
            f"certificate and of its key, without a password: {error}"
        ) from error
