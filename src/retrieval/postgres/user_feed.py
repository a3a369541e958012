"""Whose events or edges changed, by NOTIFY; implements `UserFeed`.

A payload is `<collection id>:<base64 of 4-byte hashes>`, sent in the transaction of the change: who hears it reads what
was written. Postgres takes less than 8,000 bytes in one notification; more users make several.
"""

from __future__ import annotations

import base64
import binascii
import logging
from typing import TYPE_CHECKING

from retrieval.domain.engagement import user_hash
from retrieval.postgres.wakeups import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from retrieval.application.engagement_ports import OnUserChange
    from retrieval.application.task_supervisor import TaskSupervisor
    from retrieval.postgres.database import Database

CHANNEL = "retrieval_users"
HASHES_PER_PAYLOAD = 1400
"""7,468 bytes of base64, and room for the collection's id."""

log = logging.getLogger(__name__)


class PostgresUserFeed:
    """Tells subscribers; listens from the first subscription on."""

    def __init__(self, database: Database, tasks: TaskSupervisor) -> None:
        self._listener = Listener(database, tasks, CHANNEL, self._hear, self._miss)
        self._subscribers: dict[int, OnUserChange] = {}
        self._subscriptions = 0

    def subscribe(self, on_change: OnUserChange) -> Callable[[], None]:
        """See `UserFeed`."""
        self._subscriptions += 1
        number = self._subscriptions
        self._subscribers[number] = on_change
        self._listener.start()

        def unsubscribe() -> None:
            self._subscribers.pop(number, None)

        return unsubscribe

    def announce(self, collection_id: int | None, hashes: frozenset[int]) -> None:
        """Tell the subscribers of this process."""
        for on_change in list(self._subscribers.values()):
            try:
                on_change(collection_id, hashes)
            except Exception:
                log.exception("a subscriber of user changes failed")

    async def stop(self) -> None:
        """Stop listening."""
        await self._listener.stop()

    def _hear(self, payload: str) -> None:
        try:
            collection_id, hashes = read_payload(payload)
        except ValueError:
            log.warning("a notification of user changes is malformed; anybody's may have changed")
            self._miss()
            return
        self.announce(collection_id, hashes)

    def _miss(self) -> None:
        self.announce(None, frozenset())


def hashes_of(user_ids: Iterable[str]) -> frozenset[int]:
    """What stands for those users."""
    return frozenset(map(user_hash, user_ids))


def payloads(collection_id: int, hashes: Iterable[int]) -> list[str]:
    """The notifications that name those users."""
    ordered = sorted(hashes)
    return [
        f"{collection_id}:{base64.b64encode(_packed(ordered[start : start + HASHES_PER_PAYLOAD])).decode()}"
        for start in range(0, len(ordered), HASHES_PER_PAYLOAD)
    ]


def read_payload(payload: str) -> tuple[int, frozenset[int]]:
    """(collection id, hashes) of a notification. Raises: ValueError."""
    collection_id, _, encoded = payload.partition(":")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raw = b""
    if not raw or len(raw) % 4 or not (collection_id.isascii() and collection_id.isdigit()):
        raise ValueError(f"{payload!r} is no notification of user changes")
    return int(collection_id), frozenset(int.from_bytes(raw[n : n + 4], "little") for n in range(0, len(raw), 4))


def _packed(hashes: list[int]) -> bytes:
    return b"".join(h.to_bytes(4, "little") for h in hashes)
