ALTER TABLE retrieval.items DROP COLUMN text_search, DROP COLUMN text_language;
DROP FUNCTION retrieval.text_vector(text, text);
ALTER TABLE retrieval.items ADD COLUMN text_search tsvector NOT NULL
GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED;
CREATE INDEX items_text_search ON retrieval.items USING gin (text_search);
ALTER TABLE retrieval.collections DROP COLUMN text_language;
