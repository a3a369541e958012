-- Pieces of the search statements. Identifiers in braces are filled in by postgres/search_sql.py from validated
-- numbers and names only; values are always parameters. {distance} is names.distance_expression.

-- name: coarse
-- First stage: nearest rows by one index. Which index answers is decided by the order expression alone:
--   {order} = embedding::halfvec(D)                   embeddings_v<id>_hnsw_<D>, or _popular with its predicate
--   {order} = subvector(embedding, 1, d)::halfvec(d)  embeddings_v<id>_hnsw_<d>, or _ivfflat where d is the full D
-- The LIMIT keeps the subquery apart from what surrounds it, and so the scan an index scan.
SELECT item_id, chunk_index{columns}
FROM retrieval.{partition}
WHERE {predicate}
ORDER BY {order} {operator} {vector}::halfvec({dim})
LIMIT {count}

-- name: refine
-- A later stage: the rows of the stage before, compared on a longer prefix. No index: there are few rows. Nested, not
-- WITH ... AS MATERIALIZED, which would copy every vector of the shortlist.
SELECT item_id, chunk_index{columns}
FROM ({before}) AS stage_{previous}
ORDER BY {distance}
LIMIT {count}

-- name: funnel
-- "+ 0" makes Postgres sort: it takes the scan for sorted, which a relaxed-order iterative scan is not.
SELECT item_id, chunk_index{columns}, distance
FROM ({stages}) AS nearest
ORDER BY distance + 0, item_id, chunk_index

-- name: exact
-- Every admitted row is compared. OFFSET 0 keeps the distance out of reach of the vector indexes and has it computed
-- once a row. Expects an attribute index where the predicate has one, a sequential scan otherwise.
SELECT item_id, chunk_index{columns}, distance
FROM (
    SELECT item_id, chunk_index{columns}, {distance} AS distance
    FROM retrieval.{partition}
    WHERE {predicate}
    OFFSET 0
) AS admitted
ORDER BY distance, item_id, chunk_index
LIMIT {count}

-- name: best_of_exact
-- Items by their best chunks, of the nearest rows; how many those were tells whether there may be more.
SELECT item_id, chunk_index{columns}, distance, scanned
FROM (
    SELECT DISTINCT ON (item_id) item_id, chunk_index{columns}, distance, count(*) OVER () AS scanned
    FROM ({nearest}) AS nearest
    ORDER BY item_id, distance, chunk_index
) AS best
ORDER BY distance, item_id
LIMIT {count}

-- name: best_of_index
-- The same where an index found the rows, and may have missed a better chunk of the same items: all chunks of those that
-- are returned are compared. They need no predicate, which is the same for all rows of an item. Expects the primary key;
-- OFFSET 0 as in exact.
SELECT found.item_id, best.chunk_index{columns}, best.distance, found.scanned
FROM (
    SELECT item_id, scanned
    FROM (
        SELECT DISTINCT ON (item_id) item_id, distance, count(*) OVER () AS scanned
        FROM ({nearest}) AS nearest
        ORDER BY item_id, distance
    ) AS items
    ORDER BY distance, item_id
    LIMIT {count}
) AS found
CROSS JOIN LATERAL (
    SELECT chunk_index{columns}, distance
    FROM (
        SELECT chunk_index{columns}, {distance} AS distance
        FROM retrieval.{partition}
        WHERE version_id = {version_id} AND item_id = found.item_id
        OFFSET 0
    ) AS own
    ORDER BY distance, chunk_index
    LIMIT 1
) AS best
ORDER BY best.distance, found.item_id

-- name: rank
-- Best chunk of each of the caller's items. Expects the primary key.
SELECT item_id, chunk_index{columns}, distance
FROM (
    SELECT DISTINCT ON (item_id) item_id, chunk_index{columns}, {distance} AS distance
    FROM retrieval.{partition}
    WHERE version_id = {version_id} AND item_id = ANY({item_ids}::text[]) AND {predicate}
    ORDER BY item_id, {distance}, chunk_index
) AS best
ORDER BY distance, item_id

-- name: vectors
-- Expects the primary key.
SELECT item_id, embedding
FROM retrieval.{partition}
WHERE version_id = {version_id} AND item_id = ANY({item_ids}::text[]) AND {predicate}
ORDER BY item_id, chunk_index

-- name: sample
-- Random rows; the share is chosen to read a little more than asked for.
SELECT embedding FROM retrieval.{partition} TABLESAMPLE BERNOULLI ({percent}) LIMIT {count}

-- name: selectivity
-- Share of the rows that a predicate admits, from a sample of pages: the same few milliseconds for any predicate and
-- any size, and no statistics needed.
SELECT count(*) FILTER (WHERE {predicate}) AS admitted, count(*) AS seen
FROM retrieval.{partition} TABLESAMPLE SYSTEM ({percent})

-- name: version_facts
-- Rows, and indexes that are ready. The statistics collector may lag by a second; reltuples until the next analyze.
-- pg_relation_size answers NULL where the table was dropped since the look at pg_class.
SELECT
    greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint AS row_estimate,
    coalesce(pg_relation_size(c.oid) / current_setting('block_size')::bigint, 0) AS pages,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object(
            'kind', b.kind, 'dimension', b.dimension, 'lists', b.lists, 'generation', b.generation))
        FROM retrieval.index_builds AS b
        INNER JOIN pg_class AS ic ON ic.relname = b.name AND ic.relnamespace = c.relnamespace
        INNER JOIN pg_index AS i ON i.indexrelid = ic.oid AND i.indisvalid
        WHERE b.version_id = $2 AND b.generation > 0
    ), '[]'::jsonb) AS indexes
FROM pg_class AS c
WHERE c.oid = to_regclass($1)
