"""Whose events or edges changed, told at once; implements `UserFeed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.domain.engagement import user_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from retrieval.application.engagement_ports import OnUserChange


class ReferenceUserFeed:
    """Tells subscribers; nobody else writes, and nothing is missed."""

    def __init__(self) -> None:
        self._subscribers: dict[int, OnUserChange] = {}
        self._subscriptions = 0

    def subscribe(self, on_change: OnUserChange) -> Callable[[], None]:
        """See `UserFeed`."""
        self._subscriptions += 1
        number = self._subscriptions
        self._subscribers[number] = on_change

        def unsubscribe() -> None:
            self._subscribers.pop(number, None)

        return unsubscribe

    def announce(self, collection_id: int, user_ids: Iterable[str]) -> None:
        """Tell everybody who subscribed."""
        hashes = frozenset(map(user_hash, user_ids))
        for on_change in list(self._subscribers.values()):
            on_change(collection_id, hashes)
