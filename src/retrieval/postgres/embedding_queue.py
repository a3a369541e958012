"""The library pgqueuer on our tables: how it is told of them, and the names that jobs have there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.queries import Queries

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANNEL = "retrieval_jobs"
"""The library's trigger tells it of jobs that come or go. Channels are shared by all that use the database."""

# Everything is given: what is not, the library reads from PGQUEUER_… variables of the environment.
SETTINGS = DBSettings(
    prefix="",
    db_schema="retrieval",
    channel=CHANNEL,  # type: ignore[arg-type]
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    durability=Durability.durable,
    widen_id=True,
)
_ENVIRONMENT = QueryBuilderEnvironment(SETTINGS)
_QUEUE = QueryQueueBuilder(SETTINGS)
_SCHEDULER = QuerySchedulerBuilder(SETTINGS)


def queue_on(connection: Any) -> Queries:
    """The library's statements on a connection of ours, in the transaction that it is in."""
    return Queries(AsyncpgDriver(connection), _ENVIRONMENT, _QUEUE, _SCHEDULER)


def entrypoint(version_id: int) -> str:
    """What the library calls the jobs of a version."""
    return f"embed:{version_id}"


def keys(version_id: int, item_ids: Iterable[str]) -> list[str]:
    """The keys of the jobs of items: there is one job of a key at a time, but for dead ones."""
    return [f"{version_id}:{item_id}" for item_id in item_ids]
