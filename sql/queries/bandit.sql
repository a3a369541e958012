-- name: arms
-- Expects the primary key.
SELECT strategy, alpha, beta, updated_at
FROM retrieval.bandit_arms
WHERE collection_id = $1 AND context_hash = $2 AND strategy = ANY($3::text[])

-- name: log_decision
INSERT INTO retrieval.bandit_decisions (
    decision_id, collection_id, context_hash, strategy, propensity, user_id, decided_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: apply_reward
-- One statement, so one atomic step: whoever turns rewarded_at from null claims the decision, and the arm moves with
-- it. A second report waits for the first, finds the decision claimed, and moves nothing. Evidence fades as
-- `Arm.decayed` has it; the least() keeps power() from underflowing. Expects both primary keys.
WITH claimed AS (
    UPDATE retrieval.bandit_decisions
    SET reward = $3::double precision, rewarded_at = $4
    WHERE decision_id = $2 AND collection_id = $1 AND rewarded_at IS NULL
    RETURNING context_hash, strategy
), learned AS (
    INSERT INTO retrieval.bandit_arms AS arm (collection_id, context_hash, strategy, alpha, beta, updated_at)
    SELECT $1, context_hash, strategy, 1 + $3::double precision, 2 - $3::double precision, $4
    FROM claimed
    ON CONFLICT (collection_id, context_hash, strategy) DO UPDATE
    SET alpha = 1 + (arm.alpha - 1) * power(2, -least($6::double precision, greatest(0,
            extract(epoch FROM excluded.updated_at - arm.updated_at)::double precision / $5::double precision)))
            + $3::double precision,
        beta = 1 + (arm.beta - 1) * power(2, -least($6::double precision, greatest(0,
            extract(epoch FROM excluded.updated_at - arm.updated_at)::double precision / $5::double precision)))
            + 1 - $3::double precision,
        updated_at = greatest(arm.updated_at, excluded.updated_at)
)
SELECT strategy, true AS applied FROM claimed
UNION ALL
SELECT strategy, false
FROM retrieval.bandit_decisions
WHERE decision_id = $2 AND collection_id = $1 AND NOT EXISTS (SELECT FROM claimed)

-- name: prune
-- A bounded part at a time, so that no statement holds locks for long. Expects bandit_decisions_by_time.
DELETE FROM retrieval.bandit_decisions
WHERE decision_id IN (
    SELECT decision_id FROM retrieval.bandit_decisions
    WHERE decided_at < $1
    ORDER BY decided_at
    LIMIT $2
)

-- name: erase_user
-- Expects bandit_decisions_by_user.
DELETE FROM retrieval.bandit_decisions WHERE collection_id = $1 AND user_id = $2
