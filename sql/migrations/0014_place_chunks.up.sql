-- Where in its item a chunk is. Read with the items of a page, never by searches, which read the rows by thousands: the
-- vector stays in the row, and what makes a row longer than a page, such as a long text, goes out of line before it.
ALTER TABLE retrieval.embeddings
ADD COLUMN text_start integer,
ADD COLUMN text_end integer,
ADD COLUMN start_ms bigint,
ADD COLUMN end_ms bigint,
ADD COLUMN chunk_text text;
-- Pages of items whose chunks have no places are read without looking for them.
ALTER TABLE retrieval.embedding_versions ADD COLUMN has_places boolean NOT NULL DEFAULT false;
-- Longer texts are embedded in parts; 0: whole.
ALTER TABLE retrieval.embedding_versions ADD COLUMN chunk_characters integer NOT NULL DEFAULT 0;
ALTER TABLE retrieval.embeddings ALTER COLUMN embedding SET STORAGE MAIN;
