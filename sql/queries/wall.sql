-- name: raise_wall
-- Lets the role of searches read what they read, where it does not yet: tables that were made before the role was.
-- Starting processes wait for each other; a statement of several parts is one transaction.
SELECT pg_advisory_xact_lock(3, 0);
DO $$
DECLARE
    readable regclass;
BEGIN
    IF NOT has_schema_privilege('retrieval_reader', 'retrieval', 'USAGE') THEN
        GRANT USAGE ON SCHEMA retrieval TO retrieval_reader;
    END IF;
    FOR readable IN
        SELECT to_regclass('retrieval.' || name)
        FROM unnest(ARRAY['items', 'item_counts', 'relationships', 'embeddings']) AS t (name)
        UNION ALL
        SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass('retrieval.embeddings')
    LOOP
        IF NOT has_table_privilege('retrieval_reader', readable, 'SELECT') THEN
            EXECUTE format('GRANT SELECT ON %s TO retrieval_reader', readable);
        END IF;
    END LOOP;
END
$$

-- name: may_take_role
-- No row where there is no such role.
SELECT pg_has_role(session_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'retrieval_reader'

-- name: look_through
-- Fails where the role cannot read what searches read, vectors and their operators included.
SELECT
    (SELECT count(*) FROM (SELECT FROM retrieval.items LIMIT 1) AS i),
    (SELECT min(embedding <=> embedding) FROM (SELECT embedding FROM retrieval.embeddings LIMIT 1) AS e)
