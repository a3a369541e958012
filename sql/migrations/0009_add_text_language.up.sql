-- A text language for each collection. It never changes, and stands beside every text: a generated column sees its own
-- row alone.

ALTER TABLE retrieval.collections ADD COLUMN text_language text NOT NULL DEFAULT 'simple';

-- The language is a name, not a regconfig: pg_upgrade refuses tables with a column of that type. Declared immutable as
-- to_tsvector(regconfig, text) is; the name is looked up as it is stored, with its schema where it is not built in. plpgsql,
-- since an SQL function that cannot be inlined takes longer to start, once a row.
CREATE FUNCTION retrieval.text_vector(language text, body text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN pg_catalog.to_tsvector(language::pg_catalog.regconfig, body);
END;
$$;

ALTER TABLE retrieval.items ADD COLUMN text_language text NOT NULL DEFAULT 'simple';
-- An expression cannot be changed in place before PostgreSQL 17. The table is written anew; whoever reads or writes items
-- waits meanwhile, and no release reads this column before the next statements have run.
-- squawk-ignore ban-drop-column
ALTER TABLE retrieval.items DROP COLUMN text_search;
ALTER TABLE retrieval.items ADD COLUMN text_search tsvector NOT NULL
-- squawk-ignore adding-field-with-default
GENERATED ALWAYS AS (retrieval.text_vector(text_language, text)) STORED;
-- Every search reads what writers left on the index's pending list: 4 MB, the default, took 15 ms; 512 kB take 2 ms, and
-- make writing some tenth slower.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX items_text_search ON retrieval.items USING gin (text_search) WITH (gin_pending_list_limit = 512);
