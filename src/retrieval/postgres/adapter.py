"""The Postgres adapter put together: database, stores and background builds."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from retrieval.application.maintenance_ports import MaintenanceJob
from retrieval.application.ports import Stores
from retrieval.application.task_supervisor import TaskSupervisor
from retrieval.domain.errors import UnavailableError
from retrieval.postgres.attach.attachments import PostgresAttachments
from retrieval.postgres.attach.follow import AttachmentFollower
from retrieval.postgres.bandits import PostgresBandits
from retrieval.postgres.changes import PostgresChanges
from retrieval.postgres.collections import PostgresCollections
from retrieval.postgres.database import Database
from retrieval.postgres.embedded import EmbeddedPostgres
from retrieval.postgres.embedding_backfill import BACKFILL_INTERVAL_S, Backfill
from retrieval.postgres.embedding_job_store import PostgresEmbeddingJobs
from retrieval.postgres.engagement import PostgresEngagement
from retrieval.postgres.events import PostgresEvents
from retrieval.postgres.facts import FactsCache
from retrieval.postgres.folding import FOLD_INTERVAL_S, EventFolder
from retrieval.postgres.index import PostgresIndex
from retrieval.postgres.index_health import IndexHealth
from retrieval.postgres.indexes import PostgresIndexBuilder
from retrieval.postgres.items import PostgresItems
from retrieval.postgres.maintenance import FOLDING, LOOK_S, TRENDS, PostgresMaintenance
from retrieval.postgres.migrate import Migrator
from retrieval.postgres.models import PostgresModels
from retrieval.postgres.pairs import PostgresPairs
from retrieval.postgres.profiles import PostgresProfiles
from retrieval.postgres.projections import PostgresProjections
from retrieval.postgres.pruning import Pruning
from retrieval.postgres.relationships import PostgresRelationships
from retrieval.postgres.retention import Retention
from retrieval.postgres.text_index import PostgresText
from retrieval.postgres.trending import TrendingLists
from retrieval.postgres.user_feed import PostgresUserFeed

if TYPE_CHECKING:
    from retrieval.application.cache_ports import ChangeFeed
    from retrieval.application.task_supervisor import BackgroundTask
    from retrieval.config import Settings


LOOK_AGAIN_S, SAY_AGAIN_S = 1.0, 10.0
"""Between two looks for a database that is away, and between two lines of the log about it."""

log = logging.getLogger(__name__)


class PostgresAdapter:
    """Opens and closes everything that concerns Postgres, the embedded server included."""

    def __init__(self, settings: Settings, tasks: TaskSupervisor | None = None) -> None:
        self._settings = settings
        self._tasks = tasks or TaskSupervisor()
        self._chores: list[BackgroundTask] = []
        self._embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir)
        self._database: Database | None = None
        self._builder: PostgresIndexBuilder | None = None
        self._changes: PostgresChanges | None = None
        self._user_feed: PostgresUserFeed | None = None
        self._embedding_jobs: PostgresEmbeddingJobs | None = None
        self.follower: AttachmentFollower | None = None
        """Follows attached tables, from `open` on."""

    async def url(self, *, create: bool = True) -> str:
        """URL of the database; starts the embedded server where there is no other.

        Without `create`, an embedded one has to be there. Raises: as `EmbeddedPostgres.start`.
        """
        return self._settings.database_url or (await self._embedded.start(create=create) if self._embedded else "")

    async def prepare(self, *, migrate: bool, create: bool = True, wait_s: float = 0.0) -> str:
        """URL of a database with the schema of this release: it is migrated, or refused where it is outdated.

        An embedded database is always migrated, as nobody else looks after it; without `create`, it is neither made nor
        migrated. One that is away is waited for up to `wait_s` seconds.

        Raises: FailedPreconditionError (SCHEMA_OUTDATED, DATABASE_TOO_OLD, NO_PGVECTOR, and those of
        `connect_errors.explained`), UnavailableError (DATABASE_UNREACHABLE).
        """
        url = await self.url(create=create)
        give_up_at, say_at = time.monotonic() + wait_s, 0.0
        while True:
            try:
                if migrate or (self._embedded is not None and create):
                    await Migrator(url).up()
                else:
                    await Migrator(url).require_current()
            except UnavailableError:
                left_s = give_up_at - time.monotonic()
                if left_s <= 0:
                    raise
                if time.monotonic() >= say_at:
                    log.warning("waiting for the database, for %.0f s more (RETRIEVAL_DATABASE_WAIT_S)", left_s)
                    say_at = time.monotonic() + SAY_AGAIN_S
                await asyncio.sleep(min(LOOK_AGAIN_S, left_s))
            else:
                return url

    async def open(self, *, migrate: bool, chores: bool = True, create: bool = True, wait_s: float = 0.0) -> Stores:
        """Prepare the database, connect and return the stores. `create`, `wait_s`: as for `prepare`.

        Raises: as `prepare`.

        Without `chores`, others add up events, make trends, queue texts to embed, follow attached tables and run the
        jobs that come round.
        """
        url = await self.prepare(migrate=migrate, create=create, wait_s=wait_s)
        self._database = Database(url, self._settings)
        await self._database.open()
        facts = FactsCache(self._database)
        collections = PostgresCollections(self._database, facts)
        self._builder = PostgresIndexBuilder(
            self._database, collections, facts.forget, self._settings.maintenance_work_mem_mb
        )
        self._builder.start(self._tasks)
        self._changes = PostgresChanges(self._database, self._tasks)
        self._user_feed = PostgresUserFeed(self._database, self._tasks)
        self._embedding_jobs = PostgresEmbeddingJobs(self._database, self._tasks, collections.forget)
        database, folder, trending = self._database, EventFolder(self._database), TrendingLists(self._database)
        retention = Retention(self._database, self._settings.event_retention_days)
        pairs, bandits = PostgresPairs(self._database), PostgresBandits(self._database)
        pruning = Pruning(self._database, self._settings, pairs, bandits, self._embedding_jobs)
        jobs = self._jobs(retention, pruning, IndexHealth(self._database, self._builder))
        maintenance = PostgresMaintenance(self._database, jobs, self._tasks, self._settings.trending_refresh_s)
        if chores:
            start = self._tasks.start
            self._chores = [
                start("queue-texts", Backfill(database).all, BACKFILL_INTERVAL_S),
                start(FOLDING, folder.fold, FOLD_INTERVAL_S),
                start(TRENDS, trending.refresh_stale, self._settings.trending_refresh_s),
                start("maintenance", maintenance.run_due, LOOK_S),
            ]
        profiles = PostgresProfiles(self._database, self._user_feed)
        projections = PostgresProjections(self._database)
        self.follower = AttachmentFollower(self._database, collections, projections)
        if chores:
            self.follower.start(self._tasks)
        return Stores(
            collections,
            PostgresItems(self._database, collections.forget),
            PostgresIndex(self._database, facts, self._settings.default_ef_search),
            PostgresEvents(self._database, self._user_feed),
            self._builder,
            PostgresEngagement(self._database, self._user_feed, folder, trending, retention),
            self._user_feed,
            PostgresModels(self._database),
            pairs,
            bandits,
            profiles,
            profiles,
            profiles,
            projections,
            PostgresText(self._database),
            PostgresRelationships(self._database),
            self._embedding_jobs,
            PostgresAttachments(self._database, self.follower),
            maintenance,
        )

    def _jobs(self, retention: Retention, pruning: Pruning, health: IndexHealth) -> list[MaintenanceJob]:
        """What comes round. A job of a new feature is one more line."""
        day_s, hour_s, care_s = 24 * 3600.0, 3600.0, self._settings.index_care_interval_s
        return [
            *([MaintenanceJob("index-care", care_s, health.care, "vacuums and rebuilds indexes")] if care_s else ()),
            MaintenanceJob("prune-events", day_s, retention.prune_expired, "drops months of events that are too old"),
            MaintenanceJob("prune-requests", day_s, pruning.requests, "forgets receipts of requests that are too old"),
            MaintenanceJob("prune-change-log", hour_s, pruning.changes, "shortens the change log that caches follow"),
            MaintenanceJob("prune-decisions", day_s, pruning.decisions, "forgets old decisions of the bandit"),
            MaintenanceJob(
                "prune-embedding-jobs", day_s, pruning.embedding_jobs, "forgets texts that could not be embedded"
            ),
            MaintenanceJob("prune-pairs", day_s, pruning.pairs, "deletes training pairs that were used or are too old"),
        ]

    @property
    def changes(self) -> ChangeFeed:
        """The change feed, from `open` on. Raises: UnavailableError before."""
        if self._changes is None:
            raise UnavailableError("the database is not open")
        return self._changes

    async def is_alive(self) -> bool:
        """Whether the database answers."""
        return self._database is not None and await self._database.is_alive()

    async def close(self) -> None:
        """Stop listening, building and chores, close connections, leave the embedded server."""
        for chore in self._chores:
            await chore.stop()
        if self._embedding_jobs is not None:
            await self._embedding_jobs.stop()
        if self.follower is not None:
            await self.follower.stop()
        if self._user_feed is not None:
            await self._user_feed.stop()
        if self._changes is not None:
            await self._changes.stop()
        if self._builder is not None:
            await self._builder.stop()
        if self._database is not None:
            await self._database.close()
        if self._embedded is not None:
            await self._embedded.stop()
