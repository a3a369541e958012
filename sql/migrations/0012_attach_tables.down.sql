-- Rows first, so that the triggers on the applications' tables go with them.
DELETE FROM retrieval.attached_tables;
DROP FUNCTION retrieval.detach_table(text, text);
DROP FUNCTION retrieval.attach_table(text, jsonb);
DROP TRIGGER drop_followers ON retrieval.attached_tables;
DROP FUNCTION retrieval.drop_followers();
DROP FUNCTION retrieval.vector_of(text);
ALTER TABLE retrieval.items DROP COLUMN attachment_id;
DROP TABLE retrieval.attached_problems;
DROP TABLE retrieval.attached_changes;
DROP TABLE retrieval.attached_tables;
