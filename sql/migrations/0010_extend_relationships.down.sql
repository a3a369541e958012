DROP INDEX retrieval.relationships_incoming;
DROP INDEX retrieval.relationships_outgoing;
ALTER TABLE retrieval.relationships DROP COLUMN strength;
ALTER TABLE retrieval.relationships DROP CONSTRAINT relationships_confidence_check;
ALTER TABLE retrieval.relationships DROP CONSTRAINT relationships_weight_check;
ALTER TABLE retrieval.relationships
ALTER COLUMN confidence TYPE real,
ALTER COLUMN weight TYPE real,
ALTER COLUMN kind TYPE text COLLATE "default";
