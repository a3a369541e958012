-- The role stays: it belongs to all databases of the server.
DO $$
DECLARE
    leaf regclass;
BEGIN
    FOR leaf IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'retrieval.embeddings'::regclass LOOP
        EXECUTE format('DROP POLICY visible ON %s', leaf);
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', leaf);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'retrieval_reader') THEN
        REVOKE ALL ON ALL TABLES IN SCHEMA retrieval FROM retrieval_reader;
        REVOKE ALL ON SCHEMA retrieval FROM retrieval_reader;
    END IF;
END
$$;
DROP POLICY visible ON retrieval.embeddings;
ALTER TABLE retrieval.embeddings DISABLE ROW LEVEL SECURITY;
DROP POLICY visible ON retrieval.items;
ALTER TABLE retrieval.items DISABLE ROW LEVEL SECURITY;

DROP INDEX retrieval.relationships_incoming;
DROP INDEX retrieval.relationships_outgoing;
ALTER TABLE retrieval.relationships DROP COLUMN strength;
ALTER TABLE retrieval.relationships DROP CONSTRAINT relationships_confidence_check;
ALTER TABLE retrieval.relationships DROP CONSTRAINT relationships_weight_check;
ALTER TABLE retrieval.relationships
ALTER COLUMN confidence TYPE real,
ALTER COLUMN weight TYPE real,
ALTER COLUMN kind TYPE text COLLATE "default";
