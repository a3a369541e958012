"""The Postgres adapter put together: database, stores and background builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.application.maintenance_ports import MaintenanceJob
from retrieval.application.ports import Stores
from retrieval.domain.errors import UnavailableError
from retrieval.postgres.attach.attachments import PostgresAttachments
from retrieval.postgres.attach.follow import AttachmentFollower
from retrieval.postgres.bandits import PostgresBandits
from retrieval.postgres.changes import PostgresChanges
from retrieval.postgres.chores import Chores
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
from retrieval.postgres.migrate import Migrator, require_current_schema
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
    from retrieval.config import Settings


class PostgresAdapter:
    """Opens and closes everything that concerns Postgres, the embedded server included."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._embedded = None if settings.database_url else EmbeddedPostgres(settings.data_dir)
        self._database: Database | None = None
        self._builder: PostgresIndexBuilder | None = None
        self._changes: PostgresChanges | None = None
        self._user_feed: PostgresUserFeed | None = None
        self._embedding_jobs: PostgresEmbeddingJobs | None = None
        self.follower: AttachmentFollower | None = None
        """Follows attached tables, from `open` on."""
        self._chores = Chores()

    async def url(self) -> str:
        """URL of the database; starts the embedded server where there is no other."""
        return self._settings.database_url or (await self._embedded.start() if self._embedded else "")

    async def prepare(self, *, migrate: bool) -> str:
        """URL of a database with the schema of this release: it is migrated, or refused where it is outdated.

        The embedded database is always migrated: nobody else looks after it.

        Raises: FailedPreconditionError (SCHEMA_OUTDATED, DATABASE_TOO_OLD, NO_PGVECTOR), UnavailableError.
        """
        url = await self.url()
        if migrate or self._embedded is not None:
            await Migrator(url).up()
        else:
            await require_current_schema(url)
        return url

    async def open(self, *, migrate: bool, chores: bool = True) -> Stores:
        """Prepare the database, connect and return the stores. Raises: as `prepare`.

        Without `chores`, others add up events, make trends, queue texts to embed, follow attached tables and run the
        jobs that come round.
        """
        url = await self.prepare(migrate=migrate)
        self._database = Database(url, self._settings)
        await self._database.open()
        facts = FactsCache(self._database)
        collections = PostgresCollections(self._database, facts)
        self._builder = PostgresIndexBuilder(
            self._database, collections, facts.forget, self._settings.maintenance_work_mem_mb
        )
        self._builder.start()
        self._changes = PostgresChanges(self._database)
        self._user_feed = PostgresUserFeed(self._database)
        self._embedding_jobs = PostgresEmbeddingJobs(self._database, collections.forget)
        database, folder, trending = self._database, EventFolder(self._database), TrendingLists(self._database)
        retention = Retention(self._database, self._settings.event_retention_days)
        pairs, bandits = PostgresPairs(self._database), PostgresBandits(self._database)
        pruning = Pruning(self._database, self._settings, pairs, bandits, self._embedding_jobs)
        jobs = self._jobs(retention, pruning, IndexHealth(self._database, self._builder))
        maintenance = PostgresMaintenance(self._database, jobs, self._chores, self._settings.trending_refresh_s)
        if chores:
            self._chores.start("queueing texts", Backfill(database).all, BACKFILL_INTERVAL_S)
            self._chores.start(FOLDING, folder.fold, FOLD_INTERVAL_S)
            self._chores.start(TRENDS, trending.refresh_stale, self._settings.trending_refresh_s)
            self._chores.start("maintenance", maintenance.run_due, LOOK_S)
        profiles = PostgresProfiles(self._database, self._user_feed)
        projections = PostgresProjections(self._database)
        self.follower = AttachmentFollower(self._database, collections, projections)
        if chores:
            self.follower.start()
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
        await self._chores.stop()
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
