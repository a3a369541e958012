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
-- What the language makes of each piece of a query: the condition that its words follow each other, the one that all are
-- there, and its lexemes. All are empty for a piece of stop words.
SELECT
    phraseto_tsquery($1::text::regconfig, p.piece)::text AS phrase,
    plainto_tsquery($1::text::regconfig, p.piece)::text AS words,
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
-- How many texts have each lexeme, counted up to $3. Expects items_text_search once a lexeme.
SELECT (
    SELECT count(*)
    FROM (
        SELECT FROM retrieval.items WHERE collection_id = $1 AND text_search @@ l.condition::tsquery LIMIT $3
    ) AS found
) AS frequency
FROM unnest($2::text[]) WITH ORDINALITY AS l (condition, place)
ORDER BY l.place

-- name: search
-- BM25 (domain/text_ranking.py). ts_rank of one lexeme with the default weight 0.1 is 0.1 / 1.64493406685 * (1 + 1/4 + ... +
-- 1/n^2) for n occurrences (calc_rank_or in PostgreSQL's tsrank.c); the sum lacks about 1 / (n + 0.5) to pi^2 / 6, which
-- gives n, rounded, without taking the tsvector apart. Expects items_text_search; the collection is checked on the rows.
WITH terms AS MATERIALIZED (
    SELECT t.condition::tsquery AS condition, t.weight
    FROM unnest($3::text[], $4::double precision[]) AS t (condition, weight)
)
SELECT item_id, owner_id, created_at, rating_count, score
FROM (
    SELECT
        i.item_id, i.owner_id, i.created_at, i.rating_count,
        (
            SELECT coalesce(sum(t.weight * n.times * ({k1} + 1) / (n.times + r.relative_length)), 0)
            FROM terms AS t
            CROSS JOIN LATERAL (SELECT ts_rank(i.text_search, t.condition)::double precision * 16.4493406685 AS sum) AS s
            CROSS JOIN LATERAL (SELECT round(1 / (1.6449341 - s.sum) - 0.5) AS times) AS n
            WHERE s.sum > 0
        ) AS score
    FROM retrieval.items AS i
    CROSS JOIN LATERAL (
        SELECT {k1} * (1 - {b} + {b} * length(i.text_search) / $5::double precision) AS relative_length
    ) AS r
    WHERE i.collection_id = $1 AND i.text_search @@ $2::text::tsquery AND {predicate}
) AS matching
ORDER BY score DESC, item_id
LIMIT $6::bigint

-- name: complying
-- Expects the primary key.
SELECT item_id
FROM retrieval.items
WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND text_search @@ $3::text::tsquery

-- name: snippets
-- Characters that stand for the markers are taken out of the text; of a long text only the beginning is read. Expects the
-- primary key.
SELECT item_id, ts_headline($3::text::regconfig, translate(left(text, $6), $7, '  '), $4::text::tsquery, $5) AS snippet
FROM retrieval.items
WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND {predicate}
