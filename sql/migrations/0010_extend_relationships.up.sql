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
