-- What users did, and what is learned from it.

-- Partitioned by month (the service adds partitions as events arrive). The primary key is an event's identity and,
-- by its leading columns, the index of a user's history.
CREATE TABLE retrieval.events (
    collection_id bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_type text NOT NULL,
    value double precision,
    dwell_ms bigint,
    position integer,
    predicted_score double precision,
    algorithm text NOT NULL DEFAULT '',
    device text NOT NULL DEFAULT '',
    context jsonb,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, user_id, occurred_at, item_id, event_id)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE retrieval.relationships (
    collection_id bigint NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    related_item_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    weight real NOT NULL DEFAULT 1,
    confidence real NOT NULL DEFAULT 1,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, item_id, kind, related_item_id),
    CHECK (item_id <> related_item_id)
);

CREATE TABLE retrieval.user_profiles (
    version_id bigint NOT NULL REFERENCES retrieval.embedding_versions ON DELETE CASCADE,
    user_id text COLLATE "C" NOT NULL,
    interest smallint NOT NULL,
    embedding halfvec NOT NULL,
    weight real NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (version_id, user_id, interest)
);

CREATE TABLE retrieval.bandit_arms (
    collection_id bigint NOT NULL REFERENCES retrieval.collections ON DELETE CASCADE,
    context_hash text COLLATE "C" NOT NULL,
    strategy text COLLATE "C" NOT NULL,
    alpha double precision NOT NULL DEFAULT 1 CHECK (alpha > 0),
    beta double precision NOT NULL DEFAULT 1 CHECK (beta > 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, context_hash, strategy)
);

CREATE TABLE retrieval.model_versions (
    model_version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id bigint NOT NULL REFERENCES retrieval.collections ON DELETE CASCADE,
    model_type text NOT NULL,
    version text NOT NULL,
    metrics jsonb NOT NULL DEFAULT '{}',
    active boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, model_type, version)
);
CREATE UNIQUE INDEX model_versions_one_active
ON retrieval.model_versions (collection_id, model_type) WHERE active;

CREATE TABLE retrieval.training_pairs (
    collection_id bigint NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    item_id text COLLATE "C" NOT NULL,
    interaction_at timestamptz NOT NULL,
    model_version text NOT NULL DEFAULT '',
    label boolean NOT NULL,
    event_type text NOT NULL DEFAULT '',
    user_snapshot jsonb NOT NULL DEFAULT '{}',
    item_snapshot jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, user_id, item_id, interaction_at, model_version)
);
