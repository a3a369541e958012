"""Whom a user follows, and whose items a user does not want to see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class EdgeKind(Enum):
    """What an edge from a user to an owner of items means."""

    FOLLOW = "follow"
    BLOCK = "block"
    MUTE = "mute"


class OwnerEdge(NamedTuple):
    """An edge of some user."""

    owner_id: str
    kind: EdgeKind


EDGE_EVENTS: Mapping[str, EdgeKind] = {
    "follow_author": EdgeKind.FOLLOW,
    "block_author": EdgeKind.BLOCK,
    "mute_author": EdgeKind.MUTE,
}
"""Event types that make an edge to the owner of their item."""

MAX_FOLLOWED = 5000
"""Newest follows that are read: what a page of their items costs grows with them."""
MAX_TURNED_DOWN = 20_000
"""Newest blocks, and mutes, that are read: as many as a search may leave out items."""


@dataclass(frozen=True, slots=True)
class OwnerEdges:
    """A user's edges. `followed`: newest first."""

    followed: tuple[str, ...] = ()
    blocked: frozenset[str] = frozenset()
    muted: frozenset[str] = frozenset()
