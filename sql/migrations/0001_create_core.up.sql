-- Collections, items, embeddings, change log. Item ids are the application's own strings and part of every unique key
-- of an item-sized table, so that the tables can be distributed by item id. There are no triggers and no foreign keys
-- on item-sized tables: the service keeps them together in one transaction, and bulk loads stay fast.

CREATE TABLE retrieval.collections (
    collection_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    metric text NOT NULL CHECK (metric IN ('cosine', 'inner_product', 'l2')),
    attributes jsonb NOT NULL DEFAULT '{}',
    visibility_mode text NOT NULL CHECK (visibility_mode IN ('public_by_default', 'private_by_default')),
    popular_min_rating_value double precision NOT NULL,
    popular_min_rating_count bigint NOT NULL,
    rating_scale_max double precision NOT NULL CHECK (rating_scale_max > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE retrieval.embedding_versions (
    version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id bigint NOT NULL REFERENCES retrieval.collections ON DELETE CASCADE,
    version integer NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL CHECK (dimension BETWEEN 1 AND 4000),
    resolutions integer[] NOT NULL DEFAULT '{}',
    state text NOT NULL CHECK (state IN ('building', 'active', 'retired')),
    max_chunks integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    UNIQUE (collection_id, version)
);
CREATE UNIQUE INDEX embedding_versions_one_active
ON retrieval.embedding_versions (collection_id) WHERE state = 'active';

CREATE TABLE retrieval.items (
    collection_id bigint NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    owner_id text NOT NULL DEFAULT '',
    visibility text NOT NULL CHECK (visibility IN ('public', 'groups', 'private')),
    audience text[] NOT NULL DEFAULT '{}',
    status text NOT NULL CHECK (status IN ('approved', 'pending', 'rejected', 'flagged')),
    listed boolean NOT NULL GENERATED ALWAYS AS (visibility = 'public' AND status = 'approved') STORED,
    rating_value double precision,
    rating_count bigint NOT NULL DEFAULT 0,
    tags text[] NOT NULL DEFAULT '{}',
    text text NOT NULL DEFAULT '',
    text_search tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('simple', text)) STORED,
    attributes jsonb NOT NULL DEFAULT '{}',
    payload jsonb,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (collection_id, item_id)
);
-- Serves the popular items that stand in for a missing history.
CREATE INDEX items_by_popularity
ON retrieval.items (collection_id, rating_count DESC, rating_value DESC NULLS LAST, item_id);
CREATE INDEX items_text_search ON retrieval.items USING gin (text_search);

-- One partition an embedding version, each with indexes of its own. What filters and visibility need stands beside the
-- vector, since a join inside a nearest-neighbour query loses the index. halfvec has no length here: partitions differ.
CREATE TABLE retrieval.embeddings (
    version_id bigint NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    chunk_index smallint NOT NULL,
    embedding halfvec NOT NULL,
    owner_id text NOT NULL,
    visibility text NOT NULL,
    audience text[] NOT NULL,
    status text NOT NULL,
    listed boolean NOT NULL GENERATED ALWAYS AS (visibility = 'public' AND status = 'approved') STORED,
    rating_value double precision,
    rating_count bigint NOT NULL,
    tags text[] NOT NULL,
    attributes jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (version_id, item_id, chunk_index)
) PARTITION BY LIST (version_id);

-- What has to be built, is being built and was built; survives a restart of the service.
CREATE TABLE retrieval.index_builds (
    name text PRIMARY KEY,
    version_id bigint NOT NULL REFERENCES retrieval.embedding_versions ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('hnsw', 'ivfflat', 'popular_hnsw', 'attribute')),
    dimension integer NOT NULL DEFAULT 0,
    attribute text NOT NULL DEFAULT '',
    m integer NOT NULL DEFAULT 0,
    ef_construction integer NOT NULL DEFAULT 0,
    lists integer NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('queued', 'building', 'ready', 'failed')),
    rebuild boolean NOT NULL DEFAULT false,
    generation bigint NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    build_ms bigint NOT NULL DEFAULT 0,
    queued_at timestamptz NOT NULL DEFAULT now()
);

-- Requests that carried a request_id, so that a retry changes nothing and gets the first answer.
CREATE TABLE retrieval.requests (
    collection_id bigint NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    affected integer NOT NULL,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, request_id)
);

-- What changed, a row a write. Followers read rows whose transaction_id is below the snapshot's xmin, ordered by
-- (transaction_id, position): the order of commits that no later commit can disturb.
CREATE TABLE retrieval.change_log (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    collection_id bigint NOT NULL,
    item_ids text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX change_log_by_transaction ON retrieval.change_log (transaction_id, position);
