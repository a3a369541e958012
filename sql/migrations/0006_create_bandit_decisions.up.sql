-- What the bandit decided, so that a reward that comes in later finds the arm that earned it, and so that logged
-- propensities can weigh outcomes.
CREATE TABLE retrieval.bandit_decisions (
    decision_id uuid PRIMARY KEY,
    collection_id bigint NOT NULL REFERENCES retrieval.collections ON DELETE CASCADE,
    context_hash text COLLATE "C" NOT NULL,
    strategy text COLLATE "C" NOT NULL,
    propensity double precision NOT NULL CHECK (propensity BETWEEN 0 AND 1),
    user_id text COLLATE "C" NOT NULL DEFAULT '',
    decided_at timestamptz NOT NULL,
    reward double precision CHECK (reward BETWEEN 0 AND 1),
    rewarded_at timestamptz,
    CHECK ((reward IS NULL) = (rewarded_at IS NULL))
);
-- Serves pruning.
CREATE INDEX bandit_decisions_by_time ON retrieval.bandit_decisions (decided_at);
-- Serves the erasure of a user and, by its leading column, the deletion of a collection.
CREATE INDEX bandit_decisions_by_user ON retrieval.bandit_decisions (collection_id, user_id);
