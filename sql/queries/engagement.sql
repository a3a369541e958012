-- name: try_alone
-- One replica at a time; the lock goes with the transaction.
SELECT pg_try_advisory_xact_lock($1)

-- name: alone
SELECT pg_advisory_xact_lock($1)

-- name: fold
-- Takes the oldest rows of event_batches and adds them up, in one transaction: each counts exactly once, whatever ends
-- in between. Those of collections that are gone are dropped. Rows are written in the order of their keys. Expects the
-- primary keys. $2: of these collections alone, null for all; $3: none of these.
WITH taken AS (
    DELETE FROM retrieval.event_batches
    WHERE position IN (
        SELECT position FROM retrieval.event_batches
        WHERE ($2::bigint[] IS NULL OR collection_id = ANY($2::bigint[])) AND collection_id <> ALL($3::bigint[])
        ORDER BY position LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING collection_id, item_ids, hours, views, reposts, engagement, newest_event_at
), alive AS (
    SELECT collection_id FROM retrieval.collections
    WHERE collection_id IN (SELECT collection_id FROM taken)
    FOR KEY SHARE
), sums AS (
    SELECT
        collection_id, s.hour, s.item_id, sum(s.views) AS views, sum(s.reposts) AS reposts,
        sum(s.engagement) AS engagement
    FROM taken
    INNER JOIN alive USING (collection_id)
    CROSS JOIN LATERAL unnest(item_ids, hours, views, reposts, engagement)
        AS s (item_id, hour, views, reposts, engagement)
    GROUP BY collection_id, s.hour, s.item_id
), by_hour AS (
    INSERT INTO retrieval.item_engagement AS known (collection_id, hour, item_id, views, reposts, engagement)
    SELECT collection_id, hour, item_id, views, reposts, engagement FROM sums
    WHERE views > 0 OR reposts > 0 OR engagement > 0
    ORDER BY collection_id, hour, item_id
    ON CONFLICT (collection_id, hour, item_id) DO UPDATE SET
        views = known.views + excluded.views, reposts = known.reposts + excluded.reposts,
        engagement = known.engagement + excluded.engagement
), by_item AS (
    INSERT INTO retrieval.item_counts AS known (collection_id, item_id, view_count, repost_count)
    SELECT collection_id, item_id, sum(views), sum(reposts) FROM sums
    WHERE views > 0 OR reposts > 0
    GROUP BY collection_id, item_id
    ORDER BY collection_id, item_id
    ON CONFLICT (collection_id, item_id) DO UPDATE SET
        view_count = known.view_count + excluded.view_count,
        repost_count = known.repost_count + excluded.repost_count
), by_collection AS (
    INSERT INTO retrieval.collection_engagement AS known (collection_id, newest_event_at)
    SELECT collection_id, max(newest_event_at) FROM taken INNER JOIN alive USING (collection_id)
    GROUP BY collection_id
    ORDER BY collection_id
    ON CONFLICT (collection_id) DO UPDATE SET
        newest_event_at = greatest(known.newest_event_at, excluded.newest_event_at), folded = known.folded + 1
)
SELECT count(*) FROM taken

-- name: pending
SELECT count(*) FROM retrieval.event_batches

-- name: pending_collections
-- Those that batches wait of, but for those in $1.
SELECT DISTINCT collection_id FROM retrieval.event_batches
WHERE collection_id <> ALL($1::bigint[])
ORDER BY collection_id

-- name: counts
-- Expects the primary key.
SELECT item_id, view_count, repost_count
FROM retrieval.item_counts WHERE collection_id = $1 AND item_id = ANY($2::text[])

-- name: newest_event_at
-- What is not added up yet counts too.
SELECT greatest(
    (SELECT newest_event_at FROM retrieval.collection_engagement WHERE collection_id = $1),
    (SELECT max(newest_event_at) FROM retrieval.event_batches WHERE collection_id = $1)
)

-- name: stale_trending
-- Lists of what trends that something was added to since: (collection, window).
SELECT e.collection_id, w.window_s
FROM retrieval.collection_engagement AS e
CROSS JOIN unnest($1::integer[]) AS w (window_s)
LEFT JOIN retrieval.trending_items AS t ON t.collection_id = e.collection_id AND t.window_s = w.window_s
WHERE t.folded IS DISTINCT FROM e.folded
ORDER BY e.collection_id, w.window_s

-- name: refresh_trending
-- Expects the primary key of item_engagement, a range of it. `now` is the newest event's time where the clock is later:
-- what was imported has a trend too. Hours that the window cuts count whole. $5: what engagement must be above, so that
-- no product is too small for Postgres.
INSERT INTO retrieval.trending_items (collection_id, window_s, item_ids, scores, folded, refreshed_at)
SELECT
    e.collection_id, $2::integer, coalesce(array_agg(best.item_id ORDER BY best.score DESC, best.item_id), '{}'),
    coalesce(array_agg(best.score ORDER BY best.score DESC, best.item_id), '{}'), e.folded, clock_timestamp()
FROM retrieval.collection_engagement AS e
LEFT JOIN LATERAL (
    SELECT
        g.item_id,
        sum(g.engagement * power(
            2, -extract(epoch FROM least($4::timestamptz, e.newest_event_at) - g.hour)::double precision
            / ($2::integer / 3.0)
        )) AS score
    FROM retrieval.item_engagement AS g
    WHERE g.collection_id = e.collection_id
        AND g.hour <= least($4::timestamptz, e.newest_event_at)
        AND g.hour > least($4::timestamptz, e.newest_event_at) - make_interval(secs => $2::integer + 3600)
        AND g.engagement > $5::double precision
    GROUP BY g.item_id
    ORDER BY score DESC, g.item_id
    LIMIT $3
) AS best ON true
WHERE e.collection_id = $1
GROUP BY e.collection_id, e.folded
ON CONFLICT (collection_id, window_s) DO UPDATE SET
    item_ids = excluded.item_ids, scores = excluded.scores, folded = excluded.folded,
    refreshed_at = excluded.refreshed_at

-- name: trending
-- Expects the primary key.
SELECT item_ids[:$3::integer] AS item_ids, scores[:$3::integer] AS scores, refreshed_at
FROM retrieval.trending_items WHERE collection_id = $1 AND window_s = $2

-- name: edges
-- The newest of each kind. Expects the primary key.
SELECT k.kind, e.owner_id
FROM unnest($3::text[], $4::integer[]) AS k (kind, most)
CROSS JOIN LATERAL (
    SELECT owner_id, since FROM retrieval.owner_edges
    WHERE collection_id = $1 AND user_id = $2 AND kind = k.kind
    ORDER BY since DESC, owner_id
    LIMIT k.most
) AS e
ORDER BY k.kind, e.since DESC, e.owner_id

-- name: add_edges
-- An edge that is there keeps its time.
INSERT INTO retrieval.owner_edges (collection_id, user_id, kind, owner_id, since)
SELECT $1, $2, e.kind, e.owner_id, now()
FROM unnest($3::text[], $4::text[]) AS e (kind, owner_id)
ORDER BY e.kind, e.owner_id
ON CONFLICT DO NOTHING

-- name: remove_edges
-- Expects the primary key.
DELETE FROM retrieval.owner_edges AS known
USING (
    SELECT held.ctid FROM retrieval.owner_edges AS held
    INNER JOIN unnest($3::text[], $4::text[]) AS e (kind, owner_id)
        ON held.kind = e.kind AND held.owner_id = e.owner_id
    WHERE held.collection_id = $1 AND held.user_id = $2
    ORDER BY held.kind, held.owner_id
    FOR UPDATE OF held
) AS locked
WHERE known.ctid = locked.ctid

-- name: wake
SELECT pg_notify('retrieval_users', payload) FROM unnest($1::text[]) AS payload

-- name: newest_items
-- Expects items_by_time.
SELECT item_id, owner_id, created_at
FROM retrieval.items
WHERE collection_id = $1 AND listed
ORDER BY created_at DESC, item_id
LIMIT $2

-- name: newest_items_of
-- Expects items_by_owner, once an owner.
SELECT i.item_id, i.owner_id, i.created_at
FROM unnest($3::text[]) AS o (owner_id)
CROSS JOIN LATERAL (
    SELECT item_id, owner_id, created_at FROM retrieval.items
    WHERE collection_id = $1 AND owner_id = o.owner_id AND listed
    ORDER BY created_at DESC, item_id
    LIMIT $2
) AS i
ORDER BY i.created_at DESC, i.item_id
LIMIT $2

-- name: erase_events
-- Expects the primary key of every partition.
DELETE FROM retrieval.events WHERE collection_id = $1 AND user_id = $2

-- name: erase_edges
DELETE FROM retrieval.owner_edges WHERE collection_id = $1 AND user_id = $2

-- name: erase_profiles
DELETE FROM retrieval.user_profiles
WHERE user_id = $2
    AND version_id IN (SELECT version_id FROM retrieval.embedding_versions WHERE collection_id = $1)

-- name: erase_pairs
DELETE FROM retrieval.training_pairs WHERE collection_id = $1 AND user_id = $2

-- name: event_months
-- Partitions of events by name, with the end of each.
SELECT
    c.relname AS partition,
    substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS ends
FROM pg_inherits AS h
INNER JOIN pg_class AS c ON c.oid = h.inhrelid
WHERE h.inhparent = 'retrieval.events'::regclass
ORDER BY ends

-- name: lock_month
-- Keeps writers of that month out while it is looked through, and lets everybody read.
LOCK TABLE retrieval.{partition} IN SHARE MODE

-- name: wait_briefly
-- Whoever waits for such a lock holds up everybody who comes after.
SET LOCAL lock_timeout = '500ms'

-- name: recorded_since
-- Whether the month got an event later than that: one of an archive that was loaded lately, say.
SELECT EXISTS (SELECT FROM retrieval.{partition} WHERE recorded_at >= $1)

-- name: drop_month
DROP TABLE retrieval.{partition}

-- name: prune_engagement
-- At most $3 rows, as old against the newest event as $1 is against the clock. Expects the primary keys, a range of that
-- of item_engagement for each collection.
DELETE FROM retrieval.item_engagement
WHERE ctid = ANY(ARRAY(
    SELECT g.ctid
    FROM retrieval.collection_engagement AS e
    CROSS JOIN LATERAL (
        SELECT ctid FROM retrieval.item_engagement
        WHERE collection_id = e.collection_id
            AND hour < $1::timestamptz - greatest($2::timestamptz - e.newest_event_at, interval '0')
        LIMIT $3
    ) AS g
    ORDER BY e.collection_id
    LIMIT $3
))
