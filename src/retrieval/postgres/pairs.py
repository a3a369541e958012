"""Training pairs and runs in Postgres; implements `PairStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.application.training_ports import RunProgress
from retrieval.domain.errors import FailedPreconditionError, NotFoundError
from retrieval.postgres.interactions import PostgresInteractions
from retrieval.postgres.pair_rows import pair_columns, read_pair
from retrieval.postgres.sql_files import fill, queries
from retrieval.postgres.statements import affected
from retrieval.postgres.times import to_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.application.training_ports import PairKey, PairQuery, PairRun, UserDone
    from retrieval.domain.model import Collection
    from retrieval.domain.training import TrainingPair

PRUNE_PAIRS = 10_000
"""Pairs a statement deletes."""


class PostgresPairs(PostgresInteractions):
    """Reads events, and stores pairs and runs."""

    async def begin(self, collection: Collection, run: PairRun) -> RunProgress:
        """See `PairStore`."""
        sql = queries("pairs")
        async with self._database.transaction() as connection:
            await connection.execute(
                sql["begin_run"], collection.collection_id, run.run_id, run.model_version, run.fingerprint
            )
            row = await connection.fetchrow(sql["get_run"], collection.collection_id, run.run_id)
        progress = _progress(row, collection)
        if (row["model_version"], row["fingerprint"]) != (run.model_version, run.fingerprint):
            raise FailedPreconditionError(
                f"training run {run.run_id!r} has other settings; repeat its request as it was, or leave run_id empty",
                reason="RUN_ID_REUSED",
            )
        return progress

    async def add(
        self, collection: Collection, run: PairRun, pairs: Sequence[TrainingPair], done: UserDone | None = None
    ) -> RunProgress:
        """See `PairStore`."""
        sql, collection_id = queries("pairs"), collection.collection_id
        async with self._database.transaction() as connection:
            stored = (0, 0)
            if pairs:
                await connection.execute(sql["hold_users"], collection_id, sorted({p.user_id for p in pairs}))
                stored = await connection.fetchrow(
                    sql["insert_pairs"], collection_id, run.model_version, run.run_id, *pair_columns(pairs)
                )
            row = await connection.fetchrow(
                sql["advance_run"],
                collection_id,
                run.run_id,
                *stored,
                None if done is None else done.user_id,
                0 if done is None else done.skipped,
                done is not None and done.truncated,
            )
            return _progress(row, collection)

    async def finish(self, collection: Collection, run: PairRun) -> RunProgress:
        """See `PairStore`."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(queries("pairs")["finish_run"], collection.collection_id, run.run_id)
        return _progress(row, collection)

    async def list_after(
        self, collection: Collection, query: PairQuery, after: PairKey | None, count: int
    ) -> list[TrainingPair]:
        """See `PairStore`."""
        since = None if query.since is None else to_moment(query.since)
        values: list[object] = [collection.collection_id, query.model_version, query.label, since, count]
        condition = ""
        if after is not None:
            user_id, item_id, interaction_at = after
            values += [user_id, item_id, to_moment(interaction_at)]
            condition = "\n    AND (user_id, item_id, interaction_at) > ($6, $7, $8)"
        async with self._database.connection() as connection:
            rows = await connection.fetch(fill(queries("pairs")["list_pairs"], after=condition), *values)
        return [read_pair(row, collection) for row in rows]

    async def erase_user(self, collection: Collection, user_id: str) -> int:
        """See `PairStore`."""
        sql = queries("pairs")
        async with self._database.transaction() as connection:
            await connection.execute(sql["hold_erased"], user_id)
            return affected(await connection.execute(sql["erase_user"], collection.collection_id, user_id))

    async def prune(self, before: int) -> int:
        """See `PairStore`."""
        return await self._prune(queries("pairs")["used_runs"], before)

    async def prune_all(self, before: int) -> int:
        """Delete pairs made before that moment, by whichever run; returns how many."""
        return await self._prune(queries("pruning")["runs"], before)

    async def _prune(self, runs: str, before: int) -> int:
        sql, pruned = queries("pairs")["prune_run"], 0
        async with self._database.connection() as connection:
            for collection_id, run_id in await connection.fetch(runs):
                while deleted := affected(
                    await connection.execute(sql, collection_id, run_id, to_moment(before), PRUNE_PAIRS)
                ):
                    pruned += deleted
        return pruned


def _progress(row: Any, collection: Collection) -> RunProgress:
    if row is None:
        raise NotFoundError(f"collection {collection.name!r} was deleted meanwhile", reason="COLLECTION_NOT_FOUND")
    return RunProgress(
        row["last_user_id"],
        row["complete"],
        row["positives"],
        row["negatives"],
        row["skipped"],
        row["users"],
        row["truncated"],
    )
