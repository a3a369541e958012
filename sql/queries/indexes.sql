-- name: queue_build
-- A build that is under way or done is left alone unless a rebuild is asked for.
INSERT INTO retrieval.index_builds AS b (
    name, version_id, kind, dimension, attribute, m, ef_construction, lists, state, rebuild, lists_given
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, $10)
ON CONFLICT (name) DO UPDATE SET
    m = excluded.m, ef_construction = excluded.ef_construction, lists = excluded.lists, state = 'queued',
    rebuild = excluded.rebuild, lists_given = excluded.lists_given, error = '', queued_at = now()
WHERE b.state = 'failed' OR (excluded.rebuild AND b.state = 'ready')
RETURNING name

-- name: queue_rebuild
-- With the settings it has, but for the lists.
UPDATE retrieval.index_builds SET state = 'queued', rebuild = true, lists = $2, error = '', queued_at = now()
WHERE name = $1 AND state = 'ready'
RETURNING name

-- name: next_build
-- Oldest first; small indexes before large ones, so that filters are fast early.
SELECT b.name, b.version_id, b.kind, b.dimension, b.attribute, b.m, b.ef_construction, b.lists, b.rebuild
FROM retrieval.index_builds AS b
WHERE b.state IN ('queued', 'building')
ORDER BY b.queued_at, b.kind = 'attribute' DESC, b.dimension, b.name
LIMIT 1

-- name: is_wanted
-- Expects the primary key.
SELECT true FROM retrieval.index_builds WHERE name = $1

-- name: start_build
UPDATE retrieval.index_builds SET state = 'building', error = '' WHERE name = $1

-- name: finish_build
UPDATE retrieval.index_builds
SET
    state = 'ready', generation = generation + 1, build_ms = $2, rebuild = false, built_rows = $3,
    built_churn = coalesce((
        SELECT n_tup_del + n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = to_regclass($4)
    ), 0)
WHERE name = $1

-- name: fail_build
UPDATE retrieval.index_builds SET state = 'failed', error = $2 WHERE name = $1

-- name: forget_builds
DELETE FROM retrieval.index_builds WHERE version_id = $1 AND kind = $2 RETURNING name

-- name: is_valid
SELECT i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass($1)

-- name: drop_index
DROP INDEX CONCURRENTLY IF EXISTS retrieval.{index}

-- name: rename_index
ALTER INDEX retrieval.{index} RENAME TO {name}

-- name: create_hnsw
CREATE INDEX CONCURRENTLY {index} ON retrieval.{partition}
USING hnsw (({order}) {operator_class}) WITH (m = {m}, ef_construction = {ef_construction}){where}

-- name: create_ivfflat
CREATE INDEX CONCURRENTLY {index} ON retrieval.{partition}
USING ivfflat (({order}) {operator_class}) WITH (lists = {lists})

-- name: create_attribute
CREATE INDEX CONCURRENTLY {index} ON retrieval.{partition} USING {method} (({order}))

-- name: analyze
ANALYZE retrieval.{partition}

-- name: report
SELECT
    b.name, b.kind, b.dimension, b.state, b.generation, b.error, b.m, b.ef_construction, b.lists, b.build_ms,
    coalesce(b.built_rows, 0) AS built_rows, b.lists_given,
    coalesce(pg_relation_size(to_regclass('retrieval.' || quote_ident(b.name))), 0) AS size_bytes,
    coalesce(p.phase, '') AS phase,
    CASE WHEN p.tuples_total > 0 THEN p.tuples_done::double precision / p.tuples_total
        WHEN p.blocks_total > 0 THEN p.blocks_done::double precision / p.blocks_total
        ELSE 0 END AS done
FROM retrieval.index_builds AS b
LEFT JOIN pg_stat_progress_create_index AS p
    ON b.state = 'building' AND p.relid = to_regclass($2) AND p.datname = current_database()
WHERE b.version_id = $1
ORDER BY b.kind, b.dimension, b.name

-- name: table_size
-- The functions answer NULL where the table was dropped since the look at pg_class.
SELECT
    greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint AS row_count,
    coalesce(pg_table_size(c.oid), 0) AS table_bytes, coalesce(pg_stat_get_dead_tuples(c.oid), 0) AS dead_row_count
FROM pg_class AS c WHERE c.oid = to_regclass($1)

-- name: collection_of
SELECT c.name
FROM retrieval.collections AS c
INNER JOIN retrieval.embedding_versions AS v USING (collection_id)
WHERE v.version_id = $1

-- name: count_rows
-- Statistics lag behind a bulk load by a second, and the number of lists must not.
SELECT count(*) FROM retrieval.{partition}
