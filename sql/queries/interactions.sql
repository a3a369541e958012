-- name: users_after
-- Expects the primary key of events in every partition of the window, merged.
SELECT DISTINCT user_id
FROM retrieval.events
WHERE collection_id = $1 AND user_id > $2 AND occurred_at >= $3 AND occurred_at < $4
ORDER BY user_id
LIMIT $5

-- name: window
-- Expects the primary key, one partition after the other.
SELECT user_id, item_id, event_type, occurred_at, event_id, value, dwell_ms
FROM retrieval.events
WHERE collection_id = $1 AND user_id = $2 AND occurred_at >= $3 AND occurred_at < $4
ORDER BY occurred_at, item_id, event_id
LIMIT $5

-- name: before
-- Expects the primary key, read backwards.
SELECT user_id, item_id, event_type, occurred_at, event_id, value, dwell_ms
FROM retrieval.events
WHERE collection_id = $1 AND user_id = $2 AND occurred_at < $3 AND event_type <> $5
ORDER BY occurred_at DESC, item_id DESC, event_id DESC
LIMIT $4

-- name: engaged_before
-- Expects the primary key.
SELECT DISTINCT item_id
FROM retrieval.events
WHERE collection_id = $1 AND user_id = $2 AND occurred_at < $4 AND item_id = ANY($3::text[])
    AND (event_type = ANY($5::text[]) OR event_type = 'rating' AND coalesce(value > $6, true))

-- name: counts
-- Expects events_by_item, read backwards, one partition after the other; no more than $4 of its rows.
SELECT
    count(*) FILTER (
        WHERE e.event_type = ANY($5::text[]) OR e.event_type = 'rating' AND coalesce(e.value > $6, true)
    ) AS positives,
    count(*) FILTER (WHERE e.event_type = ANY($7::text[])) AS views,
    count(e.value) FILTER (WHERE e.event_type = 'rating') AS ratings,
    avg(e.value) FILTER (WHERE e.event_type = 'rating') AS rating_mean
FROM unnest($2::text[], $3::timestamptz[]) WITH ORDINALITY AS asked (item_id, moment, place)
LEFT JOIN LATERAL (
    SELECT event_type, value
    FROM retrieval.events
    WHERE collection_id = $1 AND item_id = asked.item_id AND occurred_at < asked.moment
    ORDER BY occurred_at DESC
    LIMIT $4
) AS e ON true
GROUP BY asked.place
ORDER BY asked.place
