-- What training needs: pairs that can be streamed in order, runs that can be resumed, and models that can be rolled back.

-- Counts of an item as of a moment; without the table, since a count reads nothing else. A
-- partitioned table takes no concurrent index: writers of events wait while it is built.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX events_by_item ON retrieval.events (collection_id, item_id, occurred_at) INCLUDE (event_type, value);

-- A run that makes pairs: users up to last_user_id are done, in the order of the primary key of events.
CREATE TABLE retrieval.training_runs (
    collection_id bigint NOT NULL REFERENCES retrieval.collections ON DELETE CASCADE,
    run_id text COLLATE "C" NOT NULL,
    model_version text NOT NULL,
    fingerprint bytea NOT NULL,
    last_user_id text COLLATE "C" NOT NULL DEFAULT '',
    complete boolean NOT NULL DEFAULT false,
    positives bigint NOT NULL DEFAULT 0,
    negatives bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    users bigint NOT NULL DEFAULT 0,
    truncated bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, run_id)
);

ALTER TABLE retrieval.training_pairs
ADD COLUMN run_id text NOT NULL DEFAULT '',
ADD COLUMN value double precision,
ADD COLUMN dwell_ms bigint,
ADD COLUMN embedding_version integer NOT NULL DEFAULT 0,
ADD COLUMN embedding halfvec;
-- Serves the stream of a model version's pairs; the primary key serves the erasure of a user. Nothing has written to
-- the table so far, so that nobody waits for its indexes.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX training_pairs_by_model
ON retrieval.training_pairs (collection_id, model_version, user_id, item_id, interaction_at);
-- Serves pruning, which goes from run to run.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX training_pairs_by_run ON retrieval.training_pairs (collection_id, run_id, created_at);

-- activation: place in the stack of versions that were active, per collection and type; a rollback goes one place down.
-- training_run_ids: the runs whose pairs the model was trained on.
ALTER TABLE retrieval.model_versions
ADD COLUMN parameters jsonb NOT NULL DEFAULT '{}',
ADD COLUMN artifact_uri text NOT NULL DEFAULT '',
ADD COLUMN training_run_ids text[] NOT NULL DEFAULT '{}',
ADD COLUMN activation integer,
ADD COLUMN activated_at timestamptz;
