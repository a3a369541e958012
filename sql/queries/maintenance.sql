-- name: register
-- A new job waits a little, so that a service that has just started is left to its callers.
INSERT INTO retrieval.maintenance_jobs (name, next_run_at)
SELECT name, now() + least(interval_s, $3::double precision) * interval '1 second'
FROM unnest($1::text[], $2::double precision[]) AS j (name, interval_s)
ON CONFLICT DO NOTHING

-- name: due
-- Expects the primary key, or reads the table, which has a row a job.
SELECT name FROM retrieval.maintenance_jobs WHERE name = ANY($1::text[]) AND next_run_at <= now() ORDER BY next_run_at

-- name: claim
-- For the session, so that the claim of a process that is killed goes with its connection.
SELECT pg_try_advisory_lock(7, hashtext($1))

-- name: release
SELECT pg_advisory_unlock(7, hashtext($1))

-- name: begin_run
-- Once the claim is held, what runs still are `running` do not. No row: another process was faster, and the job is not
-- due any more. Should this run be cut off, the job is due again soon.
WITH begun AS (
    UPDATE retrieval.maintenance_jobs SET next_run_at = now() + least($2::double precision, $3) * interval '1 second'
    WHERE name = $1 AND (NOT $4 OR next_run_at <= now())
    RETURNING name
), cut_off AS (
    UPDATE retrieval.maintenance_runs SET outcome = 'interrupted'
    WHERE job = $1 AND outcome = 'running' AND EXISTS (SELECT FROM begun)
), forgotten AS (
    DELETE FROM retrieval.maintenance_runs
    WHERE job = $1 AND outcome <> 'running'
        AND run_id <= (
            SELECT run_id FROM retrieval.maintenance_runs WHERE job = $1 ORDER BY run_id DESC OFFSET $5 LIMIT 1
        )
)
INSERT INTO retrieval.maintenance_runs (job) SELECT name FROM begun
RETURNING run_id, started_at

-- name: finish_run
-- Next time an interval after this run began; sooner where it failed.
WITH finished AS (
    UPDATE retrieval.maintenance_runs
    SET finished_at = clock_timestamp(), outcome = $3, affected = $4, detail = $5, error = $6
    WHERE job = $1 AND run_id = $2
    RETURNING job, started_at, finished_at, outcome
), noted AS (
    UPDATE retrieval.maintenance_jobs AS j SET
        next_run_at = CASE f.outcome
            WHEN 'failed' THEN f.finished_at + least($7::double precision, $8) * interval '1 second'
            ELSE f.started_at + $7::double precision * interval '1 second'
        END,
        failures = CASE f.outcome WHEN 'failed' THEN j.failures + 1 ELSE 0 END,
        last_success_at = CASE f.outcome WHEN 'failed' THEN j.last_success_at ELSE f.finished_at END
    FROM finished AS f WHERE j.name = f.job
)
SELECT finished_at FROM finished

-- name: jobs
-- Expects the primary key of maintenance_runs, backward. Whoever holds the lock of `claim` runs the job.
SELECT
    j.name, j.next_run_at, j.failures, j.last_success_at, r.started_at, r.finished_at, r.outcome, r.affected, r.detail,
    r.error,
    EXISTS (
        SELECT FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
            AND l.classid = 7 AND l.objid = hashtext(j.name)::oid
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    ) AS running
FROM retrieval.maintenance_jobs AS j
LEFT JOIN LATERAL (
    SELECT * FROM retrieval.maintenance_runs WHERE job = j.name ORDER BY run_id DESC LIMIT 1
) AS r ON true
WHERE j.name = ANY($1::text[])
ORDER BY j.name

-- name: trends_lag
-- When a list was last made, and for how long the oldest one has waited that something was added to since. Events of an
-- archive are older than their collection, which is as long as they can have waited.
SELECT
    max(t.refreshed_at) AS refreshed_at,
    coalesce(extract(epoch FROM now() - min(
        CASE
            WHEN t.folded IS DISTINCT FROM e.folded
                THEN coalesce(t.refreshed_at, greatest(e.newest_event_at, c.created_at))
        END
    )), 0)::double precision AS lag_s
FROM retrieval.collection_engagement AS e
INNER JOIN retrieval.collections AS c ON c.collection_id = e.collection_id
LEFT JOIN retrieval.trending_items AS t ON t.collection_id = e.collection_id

-- name: pending_batches
SELECT count(*) FROM retrieval.event_batches
