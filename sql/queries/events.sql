-- name: create_month
CREATE TABLE IF NOT EXISTS retrieval.{partition} PARTITION OF retrieval.events
FOR VALUES FROM ('{start}') TO ('{end}')

-- name: record_events
-- One statement, thus one transaction and one round trip: the events, the sums of those that are new, the wake-up, and
-- in the place before the last SELECT, where there are any, the edges of record_edges. $3: microseconds since the
-- epoch; $14: weight by type; $15: top of the rating scale; $16: payloads of the wake-up; $17: the least rating that is
-- told from 0, as Postgres ends what divides anything too small.
WITH stored AS (
    INSERT INTO retrieval.events (
        collection_id, user_id, occurred_at, item_id, event_id, event_type, value, dwell_ms, position, predicted_score,
        algorithm, device, context
    )
    SELECT
        $1::bigint, e.user_id, timestamptz 'epoch' + e.occurred_us * interval '1 microsecond', e.item_id, e.event_id,
        e.event_type, e.value, e.dwell_ms, e.position, e.predicted_score, e.algorithm, e.device, e.context
    FROM unnest(
        $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::double precision[], $8::bigint[],
        $9::integer[], $10::double precision[], $11::text[], $12::text[], $13::jsonb[]
    ) AS e (
        user_id, occurred_us, item_id, event_id, event_type, value, dwell_ms, position, predicted_score, algorithm,
        device, context
    )
    ON CONFLICT DO NOTHING
    RETURNING user_id, occurred_at, item_id, event_type, value, dwell_ms
), sums AS (
    -- The weight is domain.engagement.fresh_weight; a test holds the two together.
    SELECT
        item_id, date_trunc('hour', occurred_at, 'UTC') AS hour,
        count(*) FILTER (WHERE event_type = 'view') AS views,
        count(*) FILTER (WHERE event_type = 'repost') AS reposts,
        sum(greatest(0, ($14::jsonb ->> event_type)::double precision * CASE
            WHEN event_type = 'rating' AND value IS NOT NULL
                THEN greatest(-1, least(1, 2 * greatest(value, $17::double precision) / $15::double precision - 1))
            WHEN event_type = 'dwell' AND dwell_ms IS NOT NULL
                THEN least(2, ln(1 + dwell_ms / 1000::double precision) / ln(31::double precision))
            ELSE 1
        END)) AS engagement,
        max(occurred_at) AS newest
    FROM stored
    GROUP BY 1, 2
), batch AS (
    INSERT INTO retrieval.event_batches (
        collection_id, item_ids, hours, views, reposts, engagement, newest_event_at
    )
    SELECT $1::bigint, array_agg(item_id), array_agg(hour), array_agg(views), array_agg(reposts), array_agg(engagement),
        max(newest)
    FROM sums
    HAVING count(*) > 0
){edges}
SELECT
    (SELECT count(*) FROM stored) AS recorded,
    pg_current_xact_id()::text AS transaction_id,
    (
        SELECT count(pg_notify('retrieval_users', payload)) FROM unnest($16::text[]) AS payload
        WHERE EXISTS (SELECT FROM stored)
    ) AS woken

-- name: record_edges
-- A part of record_events where a batch has such events. Expects the primary key of items. Sorted, so that writers of
-- the same edges do not deadlock.
, edges AS (
    INSERT INTO retrieval.owner_edges AS known (collection_id, user_id, kind, owner_id, since)
    SELECT $1::bigint, s.user_id, k.kind, i.owner_id, max(s.occurred_at)
    FROM stored AS s
    INNER JOIN (
        VALUES ('follow_author', 'follow'), ('block_author', 'block'), ('mute_author', 'mute')
    ) AS k (event_type, kind) ON k.event_type = s.event_type
    INNER JOIN retrieval.items AS i ON i.collection_id = $1 AND i.item_id = s.item_id
    WHERE i.owner_id <> ''
    GROUP BY s.user_id, k.kind, i.owner_id
    ORDER BY s.user_id, k.kind, i.owner_id
    ON CONFLICT (collection_id, user_id, kind, owner_id)
    DO UPDATE SET since = greatest(known.since, excluded.since)
)

-- name: history
-- Expects the primary key, read backwards.
SELECT user_id, item_id, event_type, occurred_at, event_id, value, dwell_ms
FROM retrieval.events
WHERE collection_id = $1 AND user_id = $2
ORDER BY occurred_at DESC, item_id DESC, event_id DESC
LIMIT $3

-- name: seen
-- Expects the primary key. Repelled: a type in $4, all of negative weight, or a rating on the wrong side of the middle;
-- $5: top of the rating scale, $6: weight of ratings, $7: the least rating that is told from 0.
SELECT
    item_id,
    bool_or(
        event_type = ANY($4::text[])
        OR (
            event_type = 'rating'
            AND (2 * greatest(value, $7::double precision) / $5::double precision - 1) * $6::double precision < 0
        )
    ) AS repelled
FROM retrieval.events
WHERE collection_id = $1 AND user_id = $2
GROUP BY item_id
ORDER BY max(occurred_at) DESC, item_id DESC
LIMIT $3

-- name: owners_of
-- Expects the primary key of items.
SELECT DISTINCT owner_id FROM retrieval.items WHERE collection_id = $1 AND item_id = ANY($2::text[])
