-- name: tables
-- The tables of vectors as the statistics have them: rows that live and that are dead, and how many were ever deleted, or
-- updated so that the indexes got another entry.
SELECT
    v.version_id, 'embeddings_v' || v.version_id AS partition,
    CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup ELSE greatest(c.reltuples, 0)::bigint END AS live,
    s.n_dead_tup AS dead, s.n_tup_del + s.n_tup_upd - s.n_tup_hot_upd AS churn
FROM retrieval.embedding_versions AS v
INNER JOIN pg_class AS c ON c.oid = to_regclass('retrieval.embeddings_v' || v.version_id)
INNER JOIN pg_stat_user_tables AS s ON s.relid = c.oid
ORDER BY v.version_id

-- name: note_builds
-- Indexes of an earlier release do not say how their table stood when they were built: they count from now on.
UPDATE retrieval.index_builds SET built_rows = $2, built_churn = $3
WHERE version_id = $1 AND state = 'ready' AND built_rows IS NULL

-- name: built
-- Indexes on vectors that were not built within the last day.
SELECT name, kind, lists, lists_given, built_rows, built_churn
FROM retrieval.index_builds
WHERE version_id = $1 AND kind <> 'attribute' AND state = 'ready' AND built_rows IS NOT NULL
    AND queued_at < now() - make_interval(secs => $2::double precision)
ORDER BY name

-- name: vacuum
VACUUM (ANALYZE) retrieval.{partition}

-- name: leftovers
-- What builds of ours that failed or were cut off left behind. Not what somebody is building right now.
SELECT i.relname
FROM pg_index AS x
INNER JOIN pg_class AS i ON i.oid = x.indexrelid
INNER JOIN pg_inherits AS h ON h.inhrelid = x.indrelid
WHERE h.inhparent = 'retrieval.embeddings'::regclass
    AND NOT x.indisvalid
    AND i.relname ~ '^embeddings_v[0-9]+_.+_(new|ccnew|ccold)[0-9]*$'
    AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = x.indexrelid)
ORDER BY i.relname
