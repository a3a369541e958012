"""Connections: pools, version checks, session settings, and the translation of database errors."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
from pgvector.asyncpg import register_vector

from retrieval.domain.errors import ConflictError, FailedPreconditionError, UnavailableError
from retrieval.postgres.connect_errors import connect
from retrieval.postgres.search_connections import SearchConnection, SearchConnections
from retrieval.postgres.store_errors import meaning, translated
from retrieval.postgres.wall import NOBODY_ELSE, READER, raise_wall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from retrieval.config import Settings
    from retrieval.domain.model import Viewer
    from retrieval.postgres.search_connections import Profile

T = TypeVar("T")

MIN_POSTGRES = 15
MIN_PGVECTOR = (0, 8, 4)
"""Earlier versions can corrupt an HNSW index while vacuuming (pgvector CHANGELOG, 0.8.2 to 0.8.4)."""

FOLLOW_CONNECTIONS = 2
"""One to read a whole version with, which takes its time, and one to keep up with changes meanwhile."""

CONFLICT_ATTEMPTS = 8
CONFLICT_PAUSE_S = 0.02
"""A transaction that lost to another one is tried again, after a random pause that doubles: 2.5 s on average in all."""


class Database:
    """Three pools: for search statements, whose sessions keep their settings, for followers, and for the rest."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._search: SearchConnections | None = None
        self._follow: SearchConnections | None = None
        self._write: Any = None
        self._walled = False
        self._pulse: Any = None

    async def open(self) -> None:
        """Check the server and open the pools. Raises: FailedPreconditionError (DATABASE_TOO_OLD, NO_PGVECTOR)."""
        async with translated():
            connection = await connect(self._url)
            try:
                await check_versions(connection)
                self._walled = await raise_wall(connection)
            finally:
                await connection.close()
            common = {"application_name": "retrieval", "search_path": "retrieval, public, extensions", "jit": "off"}
            # A backend notices within a second that its client is gone and gives up the statement.
            common |= {"client_connection_check_interval": "1000", "timezone": "UTC"}
            timeout_ms = str(int(self._settings.statement_timeout_s * 1000))

            async def connect_follower() -> Any:
                # Order and look-ups are those of an index, whatever the statistics of a log that grows say.
                planning = {"enable_seqscan": "off", "enable_bitmapscan": "off"}
                return await asyncpg.connect(self._url, timeout=10, server_settings=common | planning)

            async def connect_search() -> SearchConnection:
                made: SearchConnection = await asyncpg.connect(
                    self._url,
                    timeout=10,
                    connection_class=SearchConnection,
                    server_settings=common | {"statement_timeout": timeout_ms},
                )
                try:
                    await _prepare(made)
                except BaseException:
                    # Cancelled halfway: nobody else knows of this connection.
                    made.terminate()
                    raise
                return made

            self._search = SearchConnections(connect_search, self._settings.search_connections)
            self._follow = SearchConnections(connect_follower, FOLLOW_CONNECTIONS)
            self._write = await asyncpg.create_pool(
                self._url,
                timeout=10,
                min_size=0,
                max_size=self._settings.write_connections,
                init=_prepare,
                server_settings=common,
            )

    async def close(self) -> None:
        """Close the pools; writes under way get five seconds."""
        if self._pulse is not None:
            self._pulse.terminate()
        for connections in (self._search, self._follow):
            if connections is not None:
                await connections.close()
        if self._write is not None:
            try:
                await asyncio.wait_for(self._write.close(), 5)
            except TimeoutError:
                self._write.terminate()

    def walls(self, viewer: Viewer) -> bool:
        """Whether what is searched for `viewer` is to be walled: who may see everything needs no wall."""
        return self._walled and not viewer.unrestricted

    @asynccontextmanager
    async def searching(self, profile: Profile | None, *, walled: bool = False) -> AsyncIterator[Any]:
        """A connection with the search settings of `profile`; `walled`: it sees what `Parameters` of the same say.

        No profile takes the settings as they are: for look-ups by key, whose plan is the same under any, so that they
        do not cost the next search the round trip of setting its own again.
        """
        if self._search is None:
            raise UnavailableError("the database is not open")
        async with translated(), self._search.acquire() as connection:
            await connection.use(profile, READER if walled else NOBODY_ELSE)
            yield connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection outside of any transaction."""
        async with translated(), self._write.acquire() as connection:
            try:
                yield connection
            except asyncpg.ReadOnlySQLTransactionError:
                # This server became a standby. The next connection may find the primary.
                connection.terminate()
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection in a transaction; committed, thus durable, when the block ends."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def retried(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What `work` makes of a connection in a transaction; done again where another transaction got in between.

        Raises: ConflictError (WRITE_CONFLICT) when that does not end.
        """
        pause_s = CONFLICT_PAUSE_S
        for attempt in range(1, CONFLICT_ATTEMPTS + 1):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except ConflictError:
                if attempt == CONFLICT_ATTEMPTS:
                    raise
            # Random, so that those that met do not meet again.
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311
            pause_s *= 2
        raise AssertionError

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Any]:
        """A connection for a look at the whole: without statement timeout, and reading by index alone."""
        if self._follow is None:
            raise UnavailableError("the database is not open")
        async with translated(), self._follow.acquire() as connection:
            try:
                yield connection
            finally:
                # Cut off before its transaction could end.
                if connection.is_in_transaction():
                    connection.terminate()

    @asynccontextmanager
    async def dedicated(self, application_name: str) -> AsyncIterator[Any]:
        """A connection of its own, for work that takes long, such as building an index."""
        async with translated():
            connection = await asyncpg.connect(
                self._url, timeout=10, server_settings={"application_name": application_name, "jit": "off"}
            )
            try:
                yield connection
            finally:
                # Not close(): it would wait for a statement that is being cancelled.
                connection.terminate()

    async def is_alive(self) -> bool:
        """Whether the server answers within two seconds, over a connection of its own: a busy pool is no outage."""
        try:
            async with asyncio.timeout(2):
                if self._pulse is None or self._pulse.is_closed():
                    self._pulse = await asyncpg.connect(
                        self._url, server_settings={"application_name": "retrieval-health"}
                    )
                return bool(await self._pulse.fetchval("SELECT true"))
        except Exception as error:
            if self._pulse is not None:
                self._pulse.terminate()
            if meaning(error) is None:
                raise
            return False


async def _prepare(connection: Any) -> None:
    schema = await connection.fetchval(
        "SELECT n.nspname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typname = 'halfvec'"
    )
    await register_vector(connection, schema=schema)


async def check_versions(connection: Any) -> None:
    """Refuse a server that is too old. Raises: FailedPreconditionError (DATABASE_TOO_OLD, NO_PGVECTOR)."""
    version = connection.get_server_version()
    if version.major < MIN_POSTGRES:
        raise FailedPreconditionError(
            f"PostgreSQL {MIN_POSTGRES} or newer is needed, the server is {version.major}.{version.minor}",
            reason="DATABASE_TOO_OLD",
        )
    found = await connection.fetchval(
        "SELECT coalesce((SELECT extversion FROM pg_extension WHERE extname = 'vector'),"
        " (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'))"
    )
    needed = ".".join(map(str, MIN_PGVECTOR))
    if found is None:
        raise FailedPreconditionError(
            f"the pgvector extension is not installed on the server; version {needed} or newer is needed",
            reason="NO_PGVECTOR",
        )
    if tuple(int(part) for part in found.split(".")[:3]) < MIN_PGVECTOR:
        raise FailedPreconditionError(
            f"pgvector {needed} or newer is needed (earlier ones can corrupt HNSW indexes), the server has {found}; "
            "install it and run ALTER EXTENSION vector UPDATE",
            reason="DATABASE_TOO_OLD",
        )
