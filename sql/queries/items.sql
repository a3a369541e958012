-- name: write_together
-- Writers of a collection share this lock; one that collided with another takes it alone, so that it cannot collide
-- again. The two-key form is a space of its own. The row keeps the collection from being deleted meanwhile; none means
-- that it was.
SELECT pg_advisory_xact_lock_shared(1, collection_id::integer)
FROM retrieval.collections WHERE collection_id = $1
FOR KEY SHARE

-- name: write_alone
SELECT pg_advisory_xact_lock(1, collection_id::integer)
FROM retrieval.collections WHERE collection_id = $1
FOR KEY SHARE

-- name: claim_request
-- Waits for a concurrent request of the same id; no row means that it was applied before.
INSERT INTO retrieval.requests (collection_id, request_id, fingerprint, affected) VALUES ($1, $2, $3, 0)
ON CONFLICT DO NOTHING
RETURNING request_id

-- name: finish_request
UPDATE retrieval.requests SET affected = $3 WHERE collection_id = $1 AND request_id = $2

-- name: get_request
SELECT fingerprint, affected, transaction_id::text AS transaction_id
FROM retrieval.requests WHERE collection_id = $1 AND request_id = $2

-- name: remove_items
-- Makes room for new rows of the same ids; ids are sorted by the caller, so that writers do not deadlock.
DELETE FROM retrieval.items WHERE collection_id = $1 AND item_id = ANY($2::text[])
RETURNING item_id, created_at{text}

-- name: remove_embeddings
DELETE FROM retrieval.embeddings WHERE version_id = $1 AND item_id = ANY($2::text[])

-- name: remove_embeddings_everywhere
-- The versions are read here, not taken from a cache: another process may just have added one.
DELETE FROM retrieval.embeddings
WHERE version_id IN (SELECT version_id FROM retrieval.embedding_versions WHERE collection_id = $1)
    AND item_id = ANY($2::text[])

-- name: spread_columns
-- Filter and visibility columns of the same items in the other embedding versions, and in this one those of items that
-- kept their embeddings ($4).
UPDATE retrieval.embeddings AS e SET
    owner_id = i.owner_id, visibility = i.visibility, audience = i.audience, status = i.status,
    rating_value = i.rating_value, rating_count = i.rating_count, tags = i.tags, attributes = i.attributes,
    created_at = i.created_at
FROM retrieval.items AS i
WHERE e.version_id IN (
        SELECT version_id FROM retrieval.embedding_versions WHERE collection_id = $1
    )
    AND e.item_id = ANY($2::text[])
    AND (e.version_id <> $3 OR e.item_id = ANY($4::text[]))
    AND i.collection_id = $1 AND i.item_id = e.item_id

-- name: note_chunks
-- What searches and pages go by; only ever more.
UPDATE retrieval.embedding_versions SET max_chunks = greatest(max_chunks, $2), has_places = has_places OR $3
WHERE version_id = $1 AND (max_chunks < $2 OR $3 > has_places)

-- name: log_change
-- The service, not a trigger, writes the log and wakes the followers, in the transaction of the write.
WITH logged AS (
    INSERT INTO retrieval.change_log (collection_id, item_ids) VALUES ($1, $2::text[]) RETURNING transaction_id
)
SELECT transaction_id::text AS transaction_id, pg_notify('retrieval_changes', '') FROM logged

-- name: own_transaction
-- Of a transaction that does nothing else: whoever sees it sees all that was acknowledged before it began.
SELECT pg_current_xact_id()::text AS transaction_id

-- name: get_items
-- Expects the primary keys of both tables; LIMIT 1 keeps the planner from reading all counters.
SELECT
    i.item_id, i.owner_id, i.visibility, i.audience, i.status, i.rating_value, i.rating_count, i.tags, i.text,
    i.attributes, i.created_at, i.updated_at, coalesce(c.view_count, 0) AS view_count,
    coalesce(c.repost_count, 0) AS repost_count{payload}
FROM (
    SELECT * FROM retrieval.items
    WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND {predicate}
) AS i
LEFT JOIN LATERAL (
    SELECT view_count, repost_count FROM retrieval.item_counts
    WHERE collection_id = $1 AND item_id = i.item_id
    LIMIT 1
) AS c ON true

-- name: list_items
-- Expects the primary keys of both tables, that of items read in order; for the counters see get_items.
SELECT
    i.item_id, i.owner_id, i.visibility, i.audience, i.status, i.rating_value, i.rating_count, i.tags, i.text,
    i.attributes, i.created_at, i.updated_at, coalesce(c.view_count, 0) AS view_count,
    coalesce(c.repost_count, 0) AS repost_count{payload}
FROM (
    SELECT * FROM retrieval.items
    WHERE collection_id = $1 AND item_id > $2 AND {predicate}
    ORDER BY item_id
    LIMIT $3
) AS i
LEFT JOIN LATERAL (
    SELECT view_count, repost_count FROM retrieval.item_counts
    WHERE collection_id = $1 AND item_id = i.item_id
    LIMIT 1
) AS c ON true
ORDER BY i.item_id

-- name: get_placed_items
-- Expects the primary keys of all three tables; for the counters see get_items. Visibility is checked for both.
SELECT
    i.item_id, i.owner_id, i.visibility, i.audience, i.status, i.rating_value, i.rating_count, i.tags, i.text,
    i.attributes, i.created_at, i.updated_at, coalesce(c.view_count, 0) AS view_count,
    coalesce(c.repost_count, 0) AS repost_count, p.chunk_index, p.text_start, p.text_end, p.start_ms, p.end_ms,
    p.chunk_text
FROM (
    SELECT * FROM retrieval.items
    WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND {predicate}
) AS i
INNER JOIN unnest($2::text[], $3::smallint[]) AS asked (item_id, chunk_index) ON i.item_id = asked.item_id
LEFT JOIN LATERAL (
    SELECT view_count, repost_count FROM retrieval.item_counts
    WHERE collection_id = $1 AND item_id = i.item_id
    LIMIT 1
) AS c ON true
LEFT JOIN LATERAL (
    SELECT chunk_index, text_start, text_end, start_ms, end_ms, chunk_text FROM retrieval.{partition}
    WHERE version_id = {version_id} AND item_id = i.item_id AND chunk_index = asked.chunk_index AND {visible}
    LIMIT 1
) AS p ON true

-- name: get_chunks
-- Expects the primary key.
SELECT item_id, chunk_index, text_start, text_end, start_ms, end_ms, chunk_text, embedding
FROM retrieval.{partition}
WHERE version_id = {version_id} AND item_id = ANY($1::text[]) AND {predicate}
ORDER BY item_id, chunk_index

-- name: popular_items
-- Expects items_by_popularity.
SELECT item_id, rating_count
FROM retrieval.items
WHERE collection_id = $1 AND {predicate}
ORDER BY rating_count DESC, rating_value DESC NULLS LAST, item_id
LIMIT $2

-- name: admitted_items
-- Expects the primary key.
SELECT item_id, owner_id, created_at, rating_count
FROM retrieval.items
WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND {predicate}
