-- What events add up to: whom users follow and turn down, how often items are seen, what trends. No write of events
-- updates a row that another one updates too: each leaves one row of sums in event_batches, and one job at a time adds
-- those up.

-- Weights and half-lives that differ from the service's own: {"type": {"weight": 1.5, "half_life_days": 30}}.
ALTER TABLE retrieval.collections ADD COLUMN event_types jsonb NOT NULL DEFAULT '{}';

CREATE TABLE retrieval.owner_edges (
    collection_id bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('follow', 'block', 'mute')),
    owner_id text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (collection_id, user_id, kind, owner_id)
);

-- The sums of one write of events, by item and hour: parallel arrays. A row lives until it is added to the tables
-- below, about a second. It names no user.
CREATE TABLE retrieval.event_batches (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id bigint NOT NULL,
    item_ids text[] NOT NULL,
    hours timestamptz[] NOT NULL,
    views integer[] NOT NULL,
    reposts integer[] NOT NULL,
    engagement double precision[] NOT NULL,
    newest_event_at timestamptz NOT NULL
);

-- Room on each page, so that adding to a row touches no index.
CREATE TABLE retrieval.item_engagement (
    collection_id bigint NOT NULL,
    hour timestamptz NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    views bigint NOT NULL,
    reposts bigint NOT NULL,
    engagement double precision NOT NULL,
    PRIMARY KEY (collection_id, hour, item_id)
) WITH (fillfactor = 70);

CREATE TABLE retrieval.item_counts (
    collection_id bigint NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    view_count bigint NOT NULL,
    repost_count bigint NOT NULL,
    PRIMARY KEY (collection_id, item_id)
) WITH (fillfactor = 70);

-- `folded` counts the rounds that added something: a list of what trends is made anew only when it has moved on.
CREATE TABLE retrieval.collection_engagement (
    collection_id bigint PRIMARY KEY REFERENCES retrieval.collections ON DELETE CASCADE,
    newest_event_at timestamptz NOT NULL,
    folded bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 70);

-- One row a list, replaced whole: best first, parallel arrays.
CREATE TABLE retrieval.trending_items (
    collection_id bigint NOT NULL REFERENCES retrieval.collections ON DELETE CASCADE,
    window_s integer NOT NULL,
    item_ids text[] NOT NULL,
    scores double precision[] NOT NULL,
    folded bigint NOT NULL,
    refreshed_at timestamptz NOT NULL,
    PRIMARY KEY (collection_id, window_s)
);

-- Newest listed items, of all owners and of some. Building them holds up writes of items, for as long as it takes.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX items_by_time ON retrieval.items (collection_id, created_at DESC, item_id) WHERE listed;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX items_by_owner ON retrieval.items (collection_id, owner_id, created_at DESC, item_id) WHERE listed;

-- Events stored so far count too, with the weights of this release.
INSERT INTO retrieval.item_engagement (collection_id, hour, item_id, views, reposts, engagement)
SELECT
    e.collection_id, date_trunc('hour', e.occurred_at, 'UTC'), e.item_id,
    count(*) FILTER (WHERE e.event_type = 'view'),
    count(*) FILTER (WHERE e.event_type = 'repost'),
    sum(greatest(0, coalesce(t.weight, 0) * CASE
        WHEN e.event_type = 'rating' AND e.value IS NOT NULL
            THEN greatest(-1, least(1, 2 * e.value / c.rating_scale_max - 1))
        WHEN e.event_type = 'dwell' AND e.dwell_ms IS NOT NULL THEN least(2, ln(1 + e.dwell_ms / 1000.0) / ln(31.0))
        ELSE 1
    END))
FROM retrieval.events AS e
INNER JOIN retrieval.collections AS c ON c.collection_id = e.collection_id
LEFT JOIN (
    VALUES ('like', 1.0), ('reply', 1.2), ('repost', 1.5), ('view', 0.1), ('click', 0.3), ('share', 1.5),
    ('profile_click', 0.4), ('dwell', 0.3), ('preview_finished', 0.3), ('play', 0.4), ('complete', 1.0), ('save', 1.5),
    ('quote', 1.5), ('follow_author', 1.0), ('rating', 1.5), ('favorite', 1.5), ('search', 0.2),
    ('purchase_intent', 1.2), ('purchase', 2.0)
) AS t (event_type, weight) ON t.event_type = e.event_type
GROUP BY 1, 2, 3;

INSERT INTO retrieval.item_counts (collection_id, item_id, view_count, repost_count)
SELECT collection_id, item_id, sum(views), sum(reposts) FROM retrieval.item_engagement
GROUP BY collection_id, item_id
HAVING sum(views) + sum(reposts) > 0;

INSERT INTO retrieval.collection_engagement (collection_id, newest_event_at)
SELECT e.collection_id, max(e.occurred_at)
FROM retrieval.events AS e
INNER JOIN retrieval.collections AS c ON c.collection_id = e.collection_id
GROUP BY e.collection_id;

INSERT INTO retrieval.owner_edges (collection_id, user_id, kind, owner_id, since)
SELECT e.collection_id, e.user_id, k.kind, i.owner_id, max(e.occurred_at)
FROM retrieval.events AS e
INNER JOIN (
    VALUES ('follow_author', 'follow'), ('block_author', 'block'), ('mute_author', 'mute')
) AS k (event_type, kind) ON k.event_type = e.event_type
INNER JOIN retrieval.items AS i ON i.collection_id = e.collection_id AND i.item_id = e.item_id
WHERE i.owner_id <> ''
GROUP BY 1, 2, 3, 4;
