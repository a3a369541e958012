-- name: log_catalogue_change
-- In the transaction of the change, as with writes of items: collections and versions are read anew by whoever hears.
WITH logged AS (
    INSERT INTO retrieval.change_log (collection_id, item_ids, catalogue) VALUES ($1, '{}', true)
    RETURNING transaction_id
)
SELECT pg_notify('retrieval_changes', '') FROM logged

-- name: identity
SELECT identity::text FROM retrieval.service_state

-- name: position
-- First statement of a look: it takes the snapshot that all others share. Expects change_log_by_transaction, backward.
SELECT
    pg_current_snapshot() AS snapshot,
    coalesce(
        (SELECT transaction_id FROM retrieval.change_log ORDER BY transaction_id DESC, position DESC LIMIT 1), '0'
    ) AS latest,
    log_begins
FROM retrieval.service_state

-- name: changes
-- What a look did not see that saw no row of transactions from $1 on, nor of $2, which were running. Expects change_log_by_transaction, twice.
SELECT collection_id, item_ids, catalogue FROM retrieval.change_log WHERE transaction_id >= $1
UNION ALL
SELECT collection_id, item_ids, catalogue FROM retrieval.change_log WHERE transaction_id = ANY($2::xid8[])

-- name: rows
-- Expects the primary key, read in order.
SELECT
    item_id, chunk_index, halfvec_send(embedding) AS embedding, owner_id, visibility, audience, status, rating_value,
    rating_count, tags, attributes, created_at
FROM retrieval.{partition}
WHERE version_id = {version_id}{items}
ORDER BY item_id, chunk_index
