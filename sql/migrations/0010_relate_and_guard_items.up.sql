-- Relationships that are read strongest first, from both ends. No release has written to the table so far.

-- Weights as they were sent; kinds in an order that does not depend on the database's locale.
ALTER TABLE retrieval.relationships
-- squawk-ignore changing-column-type
ALTER COLUMN kind TYPE text COLLATE "C",
-- squawk-ignore changing-column-type
ALTER COLUMN weight TYPE double precision,
-- squawk-ignore changing-column-type
ALTER COLUMN confidence TYPE double precision;

-- A path is never stronger than its parts: that is what keeps the search for the strongest one short.
ALTER TABLE retrieval.relationships
ADD CONSTRAINT relationships_weight_check CHECK (weight > 0 AND weight <= 1) NOT VALID;
ALTER TABLE retrieval.relationships
ADD CONSTRAINT relationships_confidence_check CHECK (confidence >= 0 AND confidence <= 1) NOT VALID;

ALTER TABLE retrieval.relationships
-- squawk-ignore adding-field-with-default
ADD COLUMN strength double precision NOT NULL GENERATED ALWAYS AS (weight * confidence) STORED;

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX relationships_outgoing
ON retrieval.relationships (collection_id, item_id, strength DESC, related_item_id, kind) INCLUDE (confidence);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX relationships_incoming
ON retrieval.relationships (collection_id, related_item_id, strength DESC, item_id, kind) INCLUDE (confidence);

-- The second wall: whoever is not the owner of the tables sees of items and embeddings what domain/visibility.can_see
-- admits for the viewer that the statement names by its settings, whatever else it says; without settings, what everybody
-- may see. Searches take the role retrieval_reader. The owner, who writes and maintains, is not concerned. Settings are
-- read by subqueries: once a statement, not once a row.
ALTER TABLE retrieval.items ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON retrieval.items FOR SELECT USING (
    listed
    OR (owner_id <> '' AND owner_id = (SELECT current_setting('retrieval.viewer_id', true)))
    OR (
        visibility = 'groups' AND status = 'approved'
        AND audience && (SELECT nullif(current_setting('retrieval.group_ids', true), '')::text [])
    )
);
ALTER TABLE retrieval.embeddings ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON retrieval.embeddings FOR SELECT USING (
    listed
    OR (owner_id <> '' AND owner_id = (SELECT current_setting('retrieval.viewer_id', true)))
    OR (
        visibility = 'groups' AND status = 'approved'
        AND audience && (SELECT nullif(current_setting('retrieval.group_ids', true), '')::text [])
    )
);

-- Searches name the partitions, to which the policy of the table above does not apply.
DO $$
DECLARE
    leaf regclass;
BEGIN
    FOR leaf IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'retrieval.embeddings'::regclass LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', leaf);
        EXECUTE format(
            $policy$
            CREATE POLICY visible ON %s FOR SELECT USING (
                listed
                OR (owner_id <> '' AND owner_id = (SELECT current_setting('retrieval.viewer_id', true)))
                OR (
                    visibility = 'groups' AND status = 'approved'
                    AND audience && (SELECT nullif(current_setting('retrieval.group_ids', true), '')::text [])
                )
            )
            $policy$, leaf
        );
    END LOOP;
END
$$;

-- A role belongs to all databases of a server: another one may have it already, or be making it right now. Where this
-- role may not be made, an administrator makes it; the service says so when it starts.
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
$$;
