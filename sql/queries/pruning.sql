-- name: requests
-- Walks the primary key, a bounded part at a time: behind ($1, $2), $4 rows, of which those before $3 go.
WITH seen AS (
    SELECT collection_id, request_id, created_at FROM retrieval.requests
    WHERE (collection_id, request_id) > ($1, $2)
    ORDER BY collection_id, request_id
    LIMIT $4
), gone AS (
    DELETE FROM retrieval.requests AS r
    USING seen AS s
    WHERE r.collection_id = s.collection_id AND r.request_id = s.request_id AND s.created_at < $3
    RETURNING r.request_id
)
SELECT last.collection_id, last.request_id, (SELECT count(*) FROM gone) AS gone
FROM (SELECT collection_id, request_id FROM seen ORDER BY collection_id DESC, request_id DESC LIMIT 1) AS last

-- name: log_bound
-- The transaction up to which the change log may go: all before it had ended and wrote before $1, and the newest $2 rows
-- stay whatever their age, so that a cache of a service that seldom writes need not be built anew after a rest. Expects
-- change_log_by_transaction, walked over what may go.
SELECT least(
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    (
        SELECT transaction_id::text::bigint FROM retrieval.change_log
        WHERE created_at >= $1 ORDER BY transaction_id, position LIMIT 1
    ),
    CASE WHEN $2::bigint > 0 THEN coalesce((
        SELECT transaction_id::text::bigint FROM retrieval.change_log
        ORDER BY transaction_id DESC, position DESC OFFSET greatest($2 - 1, 0) LIMIT 1
    ), 0) END
)

-- name: log_rows
-- The oldest $2 rows before transaction $1, and with them, in one step, from where on the log is complete: a follower
-- that is further behind starts over. Expects change_log_by_transaction.
WITH doomed AS (
    SELECT transaction_id, position FROM retrieval.change_log
    WHERE transaction_id < $1::text::xid8
    ORDER BY transaction_id, position
    LIMIT $2
), gone AS (
    DELETE FROM retrieval.change_log AS c USING doomed AS d WHERE c.position = d.position
    RETURNING c.transaction_id::text::bigint AS transaction_id
), noted AS (
    UPDATE retrieval.service_state
    SET log_begins = greatest(log_begins::text::bigint, (SELECT max(transaction_id) + 1 FROM gone))::text::xid8
    WHERE EXISTS (SELECT FROM gone)
)
SELECT count(*) FROM gone

-- name: runs
-- Runs that may have pairs; those of no run were made by an early release.
SELECT collection_id, run_id FROM retrieval.training_runs
UNION ALL
SELECT collection_id, '' FROM retrieval.collections

-- name: spent_runs
-- Expects training_pairs_by_run. A run that a model was trained on stays: it says what the model is made of.
DELETE FROM retrieval.training_runs
WHERE (collection_id, run_id) IN (
    SELECT r.collection_id, r.run_id FROM retrieval.training_runs AS r
    WHERE r.updated_at < $1
        AND NOT EXISTS (
            SELECT FROM retrieval.training_pairs AS p
            WHERE p.collection_id = r.collection_id AND p.run_id = r.run_id
        )
        AND NOT EXISTS (
            SELECT FROM retrieval.model_versions AS m
            WHERE m.collection_id = r.collection_id AND r.run_id = ANY(m.training_run_ids)
        )
    LIMIT $2
)
