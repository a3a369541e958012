-- name: create_month
CREATE TABLE IF NOT EXISTS retrieval.{partition} PARTITION OF retrieval.events
FOR VALUES FROM ('{start}') TO ('{end}')

-- name: insert_events
INSERT INTO retrieval.events (
    collection_id, user_id, occurred_at, item_id, event_id, event_type, value, dwell_ms, position, predicted_score,
    algorithm, device, context
)
SELECT $1, e.user_id, e.occurred_at, e.item_id, e.event_id, e.event_type, e.value, e.dwell_ms, e.position,
    e.predicted_score, e.algorithm, e.device, e.context
FROM unnest(
    $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::double precision[], $8::bigint[],
    $9::integer[], $10::double precision[], $11::text[], $12::text[], $13::jsonb[]
) AS e (
    user_id, occurred_at, item_id, event_id, event_type, value, dwell_ms, position, predicted_score, algorithm,
    device, context
)
ON CONFLICT DO NOTHING

-- name: history
-- Expects the primary key, read backwards.
SELECT user_id, item_id, event_type, occurred_at, event_id, value, dwell_ms
FROM retrieval.events
WHERE collection_id = $1 AND user_id = $2
ORDER BY occurred_at DESC, item_id DESC, event_id DESC
LIMIT $3

-- name: seen
-- Expects the primary key.
SELECT item_id
FROM retrieval.events
WHERE collection_id = $1 AND user_id = $2
GROUP BY item_id
ORDER BY max(occurred_at) DESC, item_id DESC
LIMIT $3

-- name: owners_of
-- Expects the primary key of items.
SELECT DISTINCT owner_id FROM retrieval.items WHERE collection_id = $1 AND item_id = ANY($2::text[])

-- name: own_transaction
SELECT pg_current_xact_id()::text AS transaction_id
