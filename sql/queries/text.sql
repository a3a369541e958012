-- Full text. Conditions on texts are tsqueries that postgres/text_conditions.py puts together of what `analyse` returns;
-- they and all values are parameters.

-- name: languages
-- A configuration that is not built in is named with its schema: the function that reads the name must not depend on
-- search_path. Names that would need quotes are left out.
SELECT CASE n.nspname WHEN 'pg_catalog' THEN c.cfgname::text ELSE n.nspname || '.' || c.cfgname END AS language
FROM pg_ts_config AS c
INNER JOIN pg_namespace AS n ON n.oid = c.cfgnamespace
WHERE n.nspname ~ '^[a-z_][a-z0-9_]*$' AND c.cfgname ~ '^[a-z_][a-z0-9_]*$'

-- name: analyse
-- What the language makes of each piece of a query: the condition that its words follow each other, and its lexemes. Both
-- are empty for a piece of stop words.
SELECT
    phraseto_tsquery($1::text::regconfig, p.piece)::text AS phrase,
    tsvector_to_array(to_tsvector($1::text::regconfig, p.piece)) AS lexemes
FROM unnest($2::text[]) WITH ORDINALITY AS p (piece, place)
ORDER BY p.place

-- name: extent
-- Items of a collection and the mean number of distinct words in a text, from the first so many rows. Expects the primary
-- key.
SELECT
    (SELECT count(*) FROM retrieval.items WHERE collection_id = $1) AS documents,
    (
        SELECT avg(length(s.text_search))::double precision
        FROM (SELECT text_search FROM retrieval.items WHERE collection_id = $1 LIMIT $2) AS s
    ) AS average_length

-- name: frequencies
-- How many texts have each lexeme, counted up to $3. Expects items_text_search once a lexeme; see `search` for
-- {collection}.
SELECT (
    SELECT count(*)
    FROM (
        SELECT FROM retrieval.items WHERE {collection} = $1 AND text_search @@ l.condition::tsquery LIMIT $3
    ) AS found
) AS frequency
FROM unnest($2::text[]) WITH ORDINALITY AS l (condition, place)
ORDER BY l.place

-- name: search
-- BM25 (domain/text_ranking.py), a `term` for each word. Expects items_text_search; the collection is checked on the rows
-- that it finds. {collection} is an expression without an index unless the collection is small: before the first ANALYZE the
-- planner takes a collection for a handful of rows, and would read all of it.
-- OFFSET 0 has each text's words unpacked and its length weighed once, not once a term; setweight changes nothing else.
SELECT item_id, owner_id, created_at, rating_count, {terms} AS score
FROM (
    SELECT
        item_id, owner_id, created_at, rating_count, setweight(text_search, 'D') AS words,
        {k1} * (1 - {b} + {b} * length(text_search) / $3::double precision) AS relative_length
    FROM retrieval.items
    WHERE {collection} = $1 AND text_search @@ $2::tsquery AND {predicate}
    OFFSET 0
) AS matching
ORDER BY score DESC, item_id
LIMIT $4::bigint

-- name: term
-- ts_rank of one lexeme that occurs n times is 0.1 / 1.64493406685 * (1 + 1/4 + ... + 1/n^2), 0.1 being the default weight
-- (calc_rank_or in PostgreSQL's tsrank.c). To pi^2 / 6 that sum lacks about 1 / (n + 0.5), which gives n, rounded, without
-- taking the words apart. tf / (tf + length) is written as 1 - length / (length + tf), which has tf once.
{weight}::double precision * ({k1} + 1) * (1 - relative_length / (
    relative_length + round(1 / (1.6449341 - 16.4493406685 * ts_rank(words, {condition}::tsquery)::double precision) - 0.5)
))

-- name: complying
-- Expects the primary key.
SELECT item_id
FROM retrieval.items
WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND text_search @@ $3::tsquery

-- name: snippets
-- Characters that stand for the markers are taken out of the text. Expects the primary key.
SELECT item_id, ts_headline($3::text::regconfig, translate(text, $6, '  '), $4::tsquery, $5) AS snippet
FROM retrieval.items
WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND {predicate}
