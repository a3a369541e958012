-- Tables of applications that collections follow, and what is noted of their changes until it is applied.
CREATE TABLE retrieval.attached_tables (
    attachment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id bigint NOT NULL REFERENCES retrieval.collections (collection_id) ON DELETE CASCADE,
    relation text NOT NULL,
    binding jsonb NOT NULL,
    state text NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'backfilling', 'following', 'failed')),
    error text NOT NULL DEFAULT '',
    tried_at timestamptz,
    -- Keys up to this one were read; null at the beginning. Then items up to the other one were looked for in the table.
    backfilled_key text,
    swept_item_id text,
    sweeps boolean NOT NULL DEFAULT false,
    rows_done bigint NOT NULL DEFAULT 0,
    rows_total bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, relation)
);

-- Keys of rows that changed, by statement; null: it cannot be told which. Only added to and taken from: writers of the
-- application never wait for each other here, nor for the service.
CREATE TABLE retrieval.attached_changes (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attachment_id bigint NOT NULL,
    item_keys text [],
    noted_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Why a row became no item, or one without something. Part 0 is the row, part n the n-th vector column.
CREATE TABLE retrieval.attached_problems (
    attachment_id bigint NOT NULL REFERENCES retrieval.attached_tables (attachment_id) ON DELETE CASCADE,
    item_id text COLLATE "C" NOT NULL,
    part smallint NOT NULL,
    problem text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (attachment_id, item_id, part)
);

-- Which attachment an item comes from; null: it was written by a call.
ALTER TABLE retrieval.items ADD COLUMN attachment_id bigint;

-- Vectors that applications keep as JSON arrays; null for what is none.
CREATE FUNCTION retrieval.vector_of(body text) RETURNS vector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN body::vector;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;

-- Functions and triggers that note changes go with their attachment, however it goes.
CREATE FUNCTION retrieval.drop_followers() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    follower regprocedure;
BEGIN
    FOR follower IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'retrieval'::regnamespace AND proname ~ ('^follow_' || old.attachment_id || '_[0-9]+$')
    LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', follower);
    END LOOP;
    DELETE FROM retrieval.attached_changes WHERE attachment_id = old.attachment_id;
    RETURN old;
END
$$;
CREATE TRIGGER drop_followers BEFORE DELETE ON retrieval.attached_tables
FOR EACH ROW EXECUTE FUNCTION retrieval.drop_followers();

-- For those who have a connection and no stub: the service takes the request up within a second. `binding` is the message
-- TableBinding as JSON; state and error of the attachment tell what became of it.
CREATE FUNCTION retrieval.attach_table(collection text, binding jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO retrieval.attached_tables (collection_id, relation, binding)
    SELECT c.collection_id, coalesce(attach_table.binding ->> 'relation', ''), attach_table.binding
    FROM retrieval.collections AS c WHERE c.name = attach_table.collection
    RETURNING attachment_id INTO made;
    IF made IS NULL THEN
        RAISE 'there is no collection %', quote_literal(attach_table.collection) USING ERRCODE = 'no_data_found';
    END IF;
    RETURN made;
END
$$;
CREATE FUNCTION retrieval.detach_table(collection text, relation text) RETURNS boolean
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM retrieval.attached_tables AS a USING retrieval.collections AS c
        WHERE c.name = detach_table.collection AND a.collection_id = c.collection_id
            AND (a.relation = detach_table.relation OR to_regclass(a.relation) = to_regclass(detach_table.relation))
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM gone)
$$;
REVOKE ALL ON FUNCTION retrieval.attach_table(text, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION retrieval.detach_table(text, text) FROM PUBLIC;
