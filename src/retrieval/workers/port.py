"""The port that workers share."""

from __future__ import annotations

import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.transport.fronts.front import Address


@contextmanager
def reserved(address: Address) -> Iterator[int]:
    """The port of `address`, or a free one for 0: from now to the end of the block only sharers can listen on it.

    Raises: UnavailableError (ADDRESS_IN_USE).
    """
    try:
        holder = _hold(address)
    except OSError as error:
        raise address.in_use() from error
    with closing(holder):
        port: int = holder.getsockname()[1]
        yield port


def _hold(address: Address) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    with closing(socket.socket(family, kind, protocol)) as alone:
        # Bound without sharing first: to join the port of another server would succeed and mix the two up.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(where)
        where = alone.getsockname()
    # Never listened on, so that no connection is lost in it.
    holder = socket.socket(family, kind, protocol)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(where)
    except OSError:
        holder.close()
        raise
    return holder
