-- name: begin_run
INSERT INTO retrieval.training_runs (collection_id, run_id, model_version, fingerprint)
SELECT collection_id, $2, $3, $4 FROM retrieval.collections WHERE collection_id = $1
ON CONFLICT DO NOTHING

-- name: get_run
-- Expects the primary key.
SELECT * FROM retrieval.training_runs WHERE collection_id = $1 AND run_id = $2

-- name: hold_users
-- Keeps the collection from being deleted, and the users from being erased, while their pairs are stored, which would
-- stay behind. The two-key form is a space of its own, beside that of writers of items.
SELECT pg_advisory_xact_lock_shared(2, hashtext(u.user_id))
FROM (SELECT FROM retrieval.collections WHERE collection_id = $1 FOR KEY SHARE) AS c, unnest($2::text[]) AS u (user_id)

-- name: hold_erased
-- Waits until nobody stores pairs of the user.
SELECT pg_advisory_xact_lock(2, hashtext($1))

-- name: insert_pairs
-- In the order of the key, so that runs that make the same pairs do not deadlock. A user without events was erased after
-- these had been read.
WITH stored AS (
    INSERT INTO retrieval.training_pairs (
        collection_id, model_version, run_id, user_id, item_id, interaction_at, label, event_type, value, dwell_ms,
        user_snapshot, item_snapshot, embedding_version, embedding
    )
    SELECT
        $1, $2, $3, p.user_id, p.item_id, p.interaction_at, p.label, p.event_type, p.value, p.dwell_ms,
        p.user_snapshot, p.item_snapshot, p.embedding_version, p.embedding
    FROM unnest(
        $4::text[], $5::text[], $6::timestamptz[], $7::boolean[], $8::text[], $9::double precision[], $10::bigint[],
        $11::jsonb[], $12::jsonb[], $13::integer[], $14::halfvec[]
    ) AS p (
        user_id, item_id, interaction_at, label, event_type, value, dwell_ms, user_snapshot, item_snapshot,
        embedding_version, embedding
    )
    WHERE EXISTS (SELECT FROM retrieval.events AS e WHERE e.collection_id = $1 AND e.user_id = p.user_id)
    ON CONFLICT DO NOTHING
    RETURNING label
)
SELECT count(*) FILTER (WHERE label) AS positives, count(*) FILTER (WHERE NOT label) AS negatives FROM stored

-- name: advance_run
-- A user is counted once, also where two calls work on the same run. $5 NULL: no user is done.
UPDATE retrieval.training_runs SET
    positives = positives + $3,
    negatives = negatives + $4,
    last_user_id = greatest(last_user_id, coalesce($5, '')),
    skipped = skipped + CASE WHEN $5 > last_user_id THEN $6 ELSE 0 END,
    users = users + CASE WHEN $5 > last_user_id THEN 1 ELSE 0 END,
    truncated = truncated + CASE WHEN $5 > last_user_id AND $7 THEN 1 ELSE 0 END,
    updated_at = now()
WHERE collection_id = $1 AND run_id = $2
RETURNING *

-- name: finish_run
UPDATE retrieval.training_runs SET complete = true, updated_at = now()
WHERE collection_id = $1 AND run_id = $2
RETURNING *

-- name: list_pairs
-- Expects training_pairs_by_model, read in order.
SELECT
    user_id, item_id, interaction_at, model_version, label, event_type, value, dwell_ms, user_snapshot, item_snapshot,
    embedding_version, embedding, run_id
FROM retrieval.training_pairs
WHERE collection_id = $1 AND model_version = $2{after}
    AND ($3::boolean IS NULL OR label = $3)
    AND ($4::timestamptz IS NULL OR interaction_at >= $4)
ORDER BY user_id, item_id, interaction_at
LIMIT $5

-- name: erase_user
-- Expects the primary key.
DELETE FROM retrieval.training_pairs WHERE collection_id = $1 AND user_id = $2

-- name: used_runs
SELECT DISTINCT m.collection_id, run_id
FROM retrieval.model_versions AS m, unnest(m.training_run_ids) AS run_id

-- name: prune_run
-- Expects training_pairs_by_run. A statement deletes no more than $4 pairs, so that none takes long.
DELETE FROM retrieval.training_pairs
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM retrieval.training_pairs
    WHERE collection_id = $1 AND run_id = $2 AND created_at < $3
    LIMIT $4
))
