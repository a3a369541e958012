-- name: migration
-- No row: there is no schema of ours.
SELECT number FROM retrieval.migrations ORDER BY number DESC LIMIT 1

-- name: vector_schema
SELECT n.nspname FROM pg_extension AS e INNER JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'

-- name: export_snapshot
SELECT pg_export_snapshot()

-- name: tables
-- All that hold rows, but for the change log: positions in it mean nothing to another database.
SELECT c.relname
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'retrieval' AND c.relkind = 'r' AND c.relname <> 'change_log'
ORDER BY c.relname

-- name: count_rows
SELECT count(*) FROM retrieval.{table}

-- name: count_items_of
SELECT count(*) FROM retrieval.items
WHERE collection_id = (SELECT collection_id FROM retrieval.collections WHERE name = '{collection}')

-- name: count_by_collection
-- Items, embeddings of all versions, and events.
SELECT
    c.name,
    (SELECT count(*) FROM retrieval.items AS i WHERE i.collection_id = c.collection_id) AS items,
    (
        SELECT count(*) FROM retrieval.embeddings AS e
        WHERE e.version_id IN (
            SELECT v.version_id FROM retrieval.embedding_versions AS v WHERE v.collection_id = c.collection_id
        )
    ) AS embeddings,
    (SELECT count(*) FROM retrieval.events AS e WHERE e.collection_id = c.collection_id) AS events
FROM retrieval.collections AS c
ORDER BY c.name

-- name: has_collections
SELECT EXISTS (SELECT FROM retrieval.collections)

-- name: users_of_database
-- Processes of the service, but for those that back up.
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'retrieval%' AND application_name <> 'retrieval-backup'

-- name: begin_restore
-- Sent ahead of the dump, all in one transaction, which a client that is gone ends. Whoever still reads has half a minute.
-- The lock is that of migrations: none runs meanwhile, nor another restore.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL client_connection_check_interval = '1s';
SET LOCAL maintenance_work_mem = '{memory_mb}MB';
SET LOCAL lock_timeout = '30s';
SELECT pg_advisory_xact_lock({lock});
DO $guard$
DECLARE
    taken boolean := false;
BEGIN
    IF NOT {replace} AND to_regclass('retrieval.collections') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM retrieval.collections)' INTO taken;
    END IF;
    IF taken THEN
        RAISE EXCEPTION 'there are collections' USING ERRCODE = 'RB002';
    END IF;
END
$guard$;
CREATE SCHEMA IF NOT EXISTS {vector_schema};
CREATE EXTENSION IF NOT EXISTS vector SCHEMA {vector_schema};
DROP SCHEMA IF EXISTS retrieval CASCADE;

-- name: make_reader
-- As migration 0010 does: a role belongs to all databases of a server.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'retrieval_reader') THEN
        CREATE ROLE retrieval_reader NOLOGIN;
    END IF;
    IF NOT pg_has_role(current_user, 'retrieval_reader', 'MEMBER') THEN
        EXECUTE format('GRANT retrieval_reader TO %I', current_user);
    END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
    NULL;
END
$$

-- name: check_count
DO $check$
BEGIN
    IF ({counted}) IS DISTINCT FROM {count} THEN
        RAISE EXCEPTION 'rows are missing' USING ERRCODE = 'RB001';
    END IF;
END
$check$;

-- name: finish_restore
-- The database is another one from now on: caches of the one that was backed up, or of what was here, are not its own.
-- Transactions are numbered by the server, so numbers of the other one are replaced by one that everybody sees.
UPDATE retrieval.service_state SET identity = gen_random_uuid(), log_begins = pg_current_xact_id();
UPDATE retrieval.requests SET transaction_id = pg_current_xact_id();
COMMIT;

-- name: forget_statistics
-- Indexes are new, and the statistics count from zero.
UPDATE retrieval.index_builds SET built_churn = 0

-- name: analyze
ANALYZE retrieval.{table}
