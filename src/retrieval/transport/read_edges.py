"""Edges of users to owners, in requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.limits import MAX_BATCH_ITEMS
from retrieval.domain.owner_edges import OwnerEdge
from retrieval.transport import enums
from retrieval.transport.caller import MAX_USER_ID_BYTES
from retrieval.transport.validate import require, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.v1 import feedback_service_pb2 as pb


def read_edge_changes(request: pb.UpdateOwnerEdgesRequest) -> tuple[list[OwnerEdge], list[OwnerEdge]]:
    """Edges to make and edges to remove; each is named once."""
    total = len(request.add) + len(request.remove)
    require(1 <= total <= MAX_BATCH_ITEMS, "add", f"and remove together need 1 to {MAX_BATCH_ITEMS} edges, not {total}")
    named: set[OwnerEdge] = set()
    return _read(request.add, "add", named), _read(request.remove, "remove", named)


def _read(messages: Sequence[pb.OwnerEdge], field: str, named: set[OwnerEdge]) -> list[OwnerEdge]:
    edges = []
    for number, message in enumerate(messages):
        where = f"{field}[{number}]"
        edge = OwnerEdge(
            text(message.owner_id, f"{where}.owner_id", MAX_USER_ID_BYTES, required=True),
            enums.read(enums.EDGE_KIND, message.kind, f"{where}.kind"),
        )
        require(edge not in named, where, "is named twice")
        named.add(edge)
        edges.append(edge)
    return edges
