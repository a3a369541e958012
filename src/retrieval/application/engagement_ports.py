"""What the use cases need of what events add up to: edges, counters, what trends, and who changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from retrieval.domain.engagement import ItemCounts
    from retrieval.domain.model import Collection
    from retrieval.domain.owner_edges import OwnerEdge, OwnerEdges

    OnUserChange = Callable[[int | None, frozenset[int]], None]


class EdgeReceipt(NamedTuple):
    """Edges that were made and removed; those that were there, or were not, are not counted."""

    added: int
    removed: int


class NewItem(NamedTuple):
    """A listed item, for who looks for new ones. `created_at`: microseconds since the epoch."""

    item_id: str
    owner_id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ErasedRows:
    """What was removed of a user."""

    events: int = 0
    edges: int = 0
    profiles: int = 0
    other: int = 0

    def __add__(self, more: ErasedRows) -> ErasedRows:
        return ErasedRows(
            self.events + more.events,
            self.edges + more.edges,
            self.profiles + more.profiles,
            self.other + more.other,
        )


class ErasesUsers(Protocol):
    """A store that holds something of users."""

    async def erase_user(self, collection: Collection, user_id: str) -> ErasedRows:
        """Remove all that this store holds of the user in the collection, in one step."""
        ...


class EngagementStore(Protocol):
    """Edges, counters and what trends. Counters follow events within about a second."""

    async def edges(self, collection: Collection, user_id: str) -> OwnerEdges:
        """The user's edges: the newest 5,000 follows, 20,000 blocks and 20,000 mutes."""
        ...

    async def set_edges(
        self, collection: Collection, user_id: str, add: Sequence[OwnerEdge], remove: Sequence[OwnerEdge]
    ) -> EdgeReceipt:
        """Make edges and remove edges, all or none; none is in both."""
        ...

    async def counts(self, collection: Collection, item_ids: Sequence[str]) -> Mapping[str, ItemCounts]:
        """Counters of the items that have any."""
        ...

    async def newest(self, collection: Collection, owner_ids: Sequence[str] | None, count: int) -> list[NewItem]:
        """Up to `count` of the newest listed items of those owners, or of all (None); then by item id."""
        ...

    async def newest_event_at(self, collection: Collection) -> int | None:
        """When the latest event happened, in microseconds since the epoch; None where there is none."""
        ...

    async def trending(self, collection: Collection, window_s: int, count: int) -> list[tuple[str, float]]:
        """(item id, score) of what trends in a window of `trending.WINDOWS_S`, best first, as of the last refresh."""
        ...

    async def trending_refreshed_at(self, collection: Collection, window_s: int) -> int | None:
        """When that list was made, in microseconds since the epoch; None where it was not yet."""
        ...

    async def refresh_trending(self, collection: Collection) -> None:
        """Make the lists of all windows now, from every event acknowledged so far. Counters reflect these too then."""
        ...

    async def prune_events(self, before: int) -> int:
        """Drop months of events of all collections that lie before that time (microseconds since the epoch).

        A month that got an event recorded later stays. Engagement by hour as old goes too, counters stay. Returns how
        many months were dropped.
        """
        ...

    async def erase_user(self, collection: Collection, user_id: str) -> ErasedRows:
        """See `ErasesUsers`; events, edges, profiles and training pairs. Counters of items name nobody, and stay."""
        ...


class UserFeed(Protocol):
    """Tells whose events or edges changed."""

    def subscribe(self, on_change: OnUserChange) -> Callable[[], None]:
        """Call `on_change(collection_id, hashes)` after each change, with `engagement.user_hash` of the users.

        Changes of this process are told before the write returns, and may be told again; those of others soon after.
        `(None, frozenset())`: anybody's may have changed unheard. Returns what ends the subscription.
        """
        ...
