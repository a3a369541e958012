-- The queue of embedding jobs, beside what the library does itself (enqueue, dequeue, retry, end, hold, requeue). Statements
-- here are those it has none for: all keep to its tables and their meaning, but for `heartbeat`, which under a lease is the
-- time at which the lease ends, as leases are of different lengths. Jobs of a version have its entrypoint. Several of
-- them are always locked in the order of their keys, and after their items, as writers of items do: so nobody deadlocks.

-- name: text_versions
-- Versions that embed texts, read in the transaction of the write: another process may just have added one.
SELECT version_id FROM retrieval.embedding_versions WHERE collection_id = $1 AND embeds_text ORDER BY version_id

-- name: embedded_items
-- Expects the primary key.
SELECT DISTINCT item_id FROM retrieval.{partition} WHERE version_id = {version_id} AND item_id = ANY($1::text[])

-- name: end_jobs
-- The library ends jobs by id or by entrypoint alone. Expects pgqueuer_unique_dedupe_key and embedding_jobs_dead_by_key.
WITH live AS (
    SELECT id FROM retrieval.pgqueuer
    WHERE dedupe_key = ANY($1::text[]) AND status IN ('queued', 'picked')
    ORDER BY dedupe_key COLLATE "C"
    FOR UPDATE
), dead AS (
    SELECT id FROM retrieval.pgqueuer WHERE dedupe_key = ANY($1::text[]) AND status = 'failed' FOR UPDATE
)
DELETE FROM retrieval.pgqueuer WHERE id IN (SELECT id FROM live UNION ALL SELECT id FROM dead)

-- name: end_dead_jobs
-- A new text starts over; its job would stand beside the dead one. Expects embedding_jobs_dead_by_key.
DELETE FROM retrieval.pgqueuer WHERE dedupe_key = ANY($1::text[]) AND status = 'failed'

-- name: renew_jobs
-- What waits for a retry need not wait with a new text; enqueueing raises the priority of a known job, no more. Expects
-- pgqueuer_unique_dedupe_key.
UPDATE retrieval.pgqueuer SET execute_after = now(), attempts = 0, updated = now()
WHERE id IN (
    SELECT id FROM retrieval.pgqueuer
    WHERE dedupe_key = ANY($1::text[]) AND status = 'queued' AND attempts > 0
    ORDER BY dedupe_key COLLATE "C"
    FOR UPDATE
)

-- name: stale_jobs
-- Jobs whose lease ran out. Expects pgqueuer_picked_heartbeat_idx.
SELECT id FROM retrieval.pgqueuer WHERE entrypoint = $1 AND status = 'picked' AND heartbeat < now()

-- name: count_lost
-- A lease that ran out was an attempt. Whatever gives a job all its attempts back makes it lose no more than that.
UPDATE retrieval.pgqueuer SET
    attempts = attempts + 1,
    headers = jsonb_build_object(
        'lost_leases', least(coalesce((headers ->> 'lost_leases')::integer, 0), attempts) + 1
    )
WHERE id = ANY($1::bigint[])
RETURNING *

-- name: grant_lease
-- Follows the library's dequeue in the same transaction. The text's hash stands with the job: what is embedded is
-- applied only while the item has that text. The library writes no headers as JSON's null. Expects the primary keys.
UPDATE retrieval.pgqueuer AS j SET
    heartbeat = now() + make_interval(secs => $4::double precision),
    headers = coalesce(nullif(j.headers, 'null'), '{}')
        || jsonb_build_object('text_sha256', encode(sha256(convert_to(i.text, 'UTF8')), 'hex'))
FROM unnest($2::bigint[], $3::text[]) AS g (id, item_id)
INNER JOIN retrieval.items AS i ON i.collection_id = $1 AND i.item_id = g.item_id AND i.text <> ''
WHERE j.id = g.id
RETURNING j.id, i.text

-- name: drop_jobs
-- Jobs without a text to embed.
DELETE FROM retrieval.pgqueuer WHERE id = ANY($1::bigint[])

-- name: put_back
-- Jobs that were leased for nothing, as they were before.
UPDATE retrieval.pgqueuer SET status = 'queued', queue_manager_id = NULL, updated = now()
WHERE id = ANY($1::bigint[])

-- name: put_back_anew
-- Jobs whose text is another one by now: due at once, with all attempts before them.
UPDATE retrieval.pgqueuer
SET status = 'queued', queue_manager_id = NULL, execute_after = now(), attempts = 0, updated = now()
WHERE id = ANY($1::bigint[])

-- name: extend_lease
-- Whoever has a row locked is about to end or change the job. Expects pgqueuer_queue_manager_id_idx.
UPDATE retrieval.pgqueuer SET heartbeat = now() + make_interval(secs => $3::double precision)
WHERE id IN (
    SELECT id FROM retrieval.pgqueuer
    WHERE queue_manager_id = $1 AND entrypoint = $2 AND status = 'picked'
    FOR UPDATE SKIP LOCKED
)

-- name: count_leased
-- Expects pgqueuer_queue_manager_id_idx.
SELECT count(*) FROM retrieval.pgqueuer WHERE queue_manager_id = $1 AND entrypoint = $2 AND status = 'picked'

-- name: release_lease
-- Expects pgqueuer_queue_manager_id_idx.
UPDATE retrieval.pgqueuer SET status = 'queued', queue_manager_id = NULL, updated = now()
WHERE id IN (
    SELECT id FROM retrieval.pgqueuer
    WHERE queue_manager_id = $1 AND entrypoint = $2 AND status = 'picked'
    ORDER BY dedupe_key COLLATE "C"
    FOR UPDATE
)

-- name: leased_items
-- Items of jobs, to be locked before the jobs are. Expects the primary key.
SELECT convert_from(payload, 'UTF8') AS item_id FROM retrieval.pgqueuer
WHERE id = ANY($3::bigint[]) AND queue_manager_id = $1 AND entrypoint = $2 AND status = 'picked'

-- name: lock_items
-- Keeps writers of these items out until the end of the transaction. Expects the primary key.
SELECT
    item_id, owner_id, visibility, audience, status, rating_value, rating_count, tags, attributes, created_at,
    encode(sha256(convert_to(text, 'UTF8')), 'hex') AS text_sha256
FROM retrieval.items
WHERE collection_id = $1 AND item_id = ANY($2::text[])
ORDER BY item_id
FOR SHARE

-- name: lock_jobs
-- Expects the primary key.
SELECT * FROM retrieval.pgqueuer
WHERE id = ANY($3::bigint[]) AND queue_manager_id = $1 AND entrypoint = $2 AND status = 'picked'
ORDER BY dedupe_key COLLATE "C"
FOR UPDATE

-- name: present_items
-- A writer that was waited for put these in anew; that is seen by a statement that begins after it. Expects the primary
-- key.
SELECT item_id FROM retrieval.items WHERE collection_id = $1 AND item_id = ANY($2::text[])

-- name: due
-- Expects pgqueuer_ep_ea_idx and pgqueuer_picked_heartbeat_idx.
SELECT c.name, v.version
FROM retrieval.embedding_versions AS v
INNER JOIN retrieval.collections AS c ON c.collection_id = v.collection_id
WHERE v.embeds_text AND (
    EXISTS (
        SELECT FROM retrieval.pgqueuer
        WHERE entrypoint = 'embed:' || v.version_id AND status = 'queued' AND execute_after < now()
    )
    OR EXISTS (
        SELECT FROM retrieval.pgqueuer
        WHERE entrypoint = 'embed:' || v.version_id AND status = 'picked' AND heartbeat < now()
    )
)
ORDER BY v.version_id

-- name: waiting_backfills
-- Versions that have items to queue, but for those in $1.
SELECT version_id FROM retrieval.embedding_versions
WHERE backfill_after IS NOT NULL AND version_id <> ALL($1::bigint[])
ORDER BY version_id

-- name: claim_backfill
-- One process goes on with a version at a time.
SELECT collection_id, backfill_after FROM retrieval.embedding_versions
WHERE version_id = $1 AND backfill_after IS NOT NULL
FOR NO KEY UPDATE SKIP LOCKED

-- name: backfill_items
-- Locked as by `lock_items`. What a writer puts in anew meanwhile gets its job from the writer. Expects the primary key.
SELECT item_id, text <> '' AS has_text FROM retrieval.items
WHERE collection_id = $1 AND item_id > $2
ORDER BY item_id
LIMIT $3
FOR SHARE

-- name: move_backfill
UPDATE retrieval.embedding_versions SET backfill_after = $2 WHERE version_id = $1

-- name: count_jobs
-- Expects the indexes that begin with entrypoint.
SELECT
    count(*) FILTER (
        WHERE (status = 'queued' AND (attempts = 0 OR execute_after < now())) OR (status = 'picked' AND heartbeat < now())
    ) AS queued,
    count(*) FILTER (WHERE status = 'picked' AND heartbeat >= now()) AS leased,
    count(*) FILTER (WHERE status = 'queued' AND attempts > 0 AND execute_after >= now()) AS retrying,
    count(*) FILTER (WHERE status = 'failed') AS dead,
    coalesce(extract(epoch FROM now() - min(created) FILTER (WHERE status <> 'failed')), 0)::double precision AS oldest_age_s
FROM retrieval.pgqueuer
WHERE entrypoint = $1

-- name: count_texts
-- Reads the collection's items and the keys of the version: for reports and activations.
SELECT
    count(*) AS total,
    count(*) FILTER (WHERE e.embedded) AS embedded,
    count(*) FILTER (WHERE NOT e.embedded AND NOT EXISTS (
        SELECT FROM retrieval.pgqueuer
        WHERE dedupe_key = '{version_id}:' || i.item_id AND status = 'failed'
    )) AS outstanding
FROM retrieval.items AS i
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM retrieval.{partition} WHERE version_id = {version_id} AND item_id = i.item_id
    ) AS embedded
) AS e
WHERE i.collection_id = $1 AND i.text <> ''

-- name: list_dead
-- The library lists those of all entrypoints together, without the error. Expects embedding_jobs_dead_by_version and
-- pgqueuer_log_job_id_status.
SELECT
    j.id, convert_from(j.payload, 'UTF8') AS item_id, j.attempts + 1 AS attempts, j.updated,
    coalesce(l.error, '') AS error
FROM retrieval.pgqueuer AS j
LEFT JOIN LATERAL (
    SELECT traceback ->> 'exception_message' AS error FROM retrieval.pgqueuer_log
    WHERE job_id = j.id AND status = 'failed'
    ORDER BY created DESC
    LIMIT 1
) AS l ON true
WHERE j.entrypoint = $1 AND j.status = 'failed' AND j.id > $2
ORDER BY j.id
LIMIT $3

-- name: lock_dead
-- Those that the library may queue anew: it would queue one beside a live job of the same item. Expects
-- embedding_jobs_dead_by_version.
SELECT j.id FROM retrieval.pgqueuer AS j
WHERE j.entrypoint = $1 AND j.status = 'failed' AND ($2::bigint[] IS NULL OR j.id = ANY($2::bigint[]))
    AND NOT EXISTS (
        SELECT FROM retrieval.pgqueuer AS live
        WHERE live.dedupe_key = j.dedupe_key AND live.status IN ('queued', 'picked')
    )
ORDER BY j.id
LIMIT $3
FOR UPDATE

-- name: prune_log
-- Expects pgqueuer_log_created.
DELETE FROM retrieval.pgqueuer_log
WHERE id IN (SELECT id FROM retrieval.pgqueuer_log WHERE created < $1 ORDER BY created LIMIT $2)

-- name: prune_dead
-- Expects embedding_jobs_dead_by_version.
DELETE FROM retrieval.pgqueuer
WHERE id IN (
    SELECT id FROM retrieval.pgqueuer WHERE status = 'failed' AND updated < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
)
