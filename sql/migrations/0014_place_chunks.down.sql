ALTER TABLE retrieval.embeddings ALTER COLUMN embedding SET STORAGE EXTERNAL;
ALTER TABLE retrieval.embedding_versions DROP COLUMN chunk_characters, DROP COLUMN has_places;
ALTER TABLE retrieval.embeddings
DROP COLUMN chunk_text,
DROP COLUMN end_ms,
DROP COLUMN start_ms,
DROP COLUMN text_end,
DROP COLUMN text_start;
