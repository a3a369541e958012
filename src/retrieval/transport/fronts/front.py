"""What a front is, and what all of them are given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from retrieval.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import grpc

    from retrieval.transport.calls import Calls
    from retrieval.transport.hot import HotMethods

    Handler = grpc.RpcMethodHandler[Any, Any]

KEEPALIVE_TIME_MS = 60_000
KEEPALIVE_TIMEOUT_MS = 20_000
# Dead peers are found within 80 s, idle connections included.

_EXEMPT = ("/grpc.health.", "/grpc.reflection.")


class Methods:
    """Gathers what is served. The generated `add_…_to_server` functions take it for a server."""

    def __init__(self) -> None:
        self._generic: list[grpc.GenericRpcHandler] = []
        self._registered: dict[str, dict[str, Handler]] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As a server's."""
        self._generic += handlers

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        """As a server's."""
        self._registered[service] = handlers

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have a grpcio server serve all of it."""
        server.add_generic_rpc_handlers(self._generic)
        for service, handlers in self._registered.items():
            server.add_registered_method_handlers(service, handlers)

    def unary(self) -> Mapping[str, Handler]:
        """The unary methods of the service itself, by full name."""
        return {
            name: handler
            for service, handlers in self._registered.items()
            for method, handler in handlers.items()
            if is_wrapped(name := f"/{service}/{method}") and handler.unary_unary is not None
        }


def is_wrapped(method: str) -> bool:
    """Whether `Calls` goes around a method: all but health and reflection, which always answer."""
    return not method.startswith(_EXEMPT)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a front serves, and within which limits."""

    methods: Methods
    calls: Calls
    hot: HotMethods
    max_message_bytes: int


@dataclass(frozen=True, slots=True)
class Address:
    """Where a front listens. `reuse_port`: the port is shared with other processes, which get a part of its calls.

    `certificate` and `key` are in PEM; empty: plain text.
    """

    host: str
    port: int
    reuse_port: bool = False
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def in_use(self) -> UnavailableError:
        """The error of a front that cannot listen here."""
        return UnavailableError(
            f"cannot listen on {self}: the port is taken, or the address is not of this machine",
            reason="ADDRESS_IN_USE",
        )


class Front(Protocol):
    """Takes calls from the network, once it is started."""

    name: str
    port: int

    async def start(self) -> None:
        """Accept calls from now on."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Let the calls under way finish for `grace_s` seconds, then cancel them and close every connection."""
        ...
