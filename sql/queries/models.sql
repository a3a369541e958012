-- name: lock_collection
-- Changes of a collection's models follow one another; no row means that the collection was deleted.
SELECT collection_id FROM retrieval.collections WHERE collection_id = $1 FOR UPDATE

-- name: missing_runs
-- Expects the primary key of training_runs.
SELECT wanted.run_id
FROM unnest($2::text[]) AS wanted (run_id)
WHERE NOT EXISTS (
    SELECT FROM retrieval.training_runs AS r WHERE r.collection_id = $1 AND r.run_id = wanted.run_id
)
ORDER BY wanted.run_id LIMIT 1

-- name: insert_model
INSERT INTO retrieval.model_versions (
    collection_id, model_type, version, metrics, parameters, artifact_uri, training_run_ids
) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (collection_id, model_type, version) DO NOTHING
RETURNING *

-- name: get_model
-- Expects the unique index on collection, type and version.
SELECT * FROM retrieval.model_versions WHERE collection_id = $1 AND model_type = $2 AND version = $3

-- name: active_model
-- Expects model_versions_one_active.
SELECT * FROM retrieval.model_versions WHERE collection_id = $1 AND model_type = $2 AND active

-- name: list_models
-- A collection has few models: they are sorted, since the index is not in the order of code points.
SELECT * FROM retrieval.model_versions
WHERE collection_id = $1
    AND ($2 = '' OR model_type = $2)
    AND (model_type COLLATE "C", version COLLATE "C") > ($3, $4)
ORDER BY model_type COLLATE "C", version COLLATE "C"
LIMIT $5

-- name: top_of_stack
-- Expects model_versions_one_active.
SELECT activation FROM retrieval.model_versions WHERE collection_id = $1 AND model_type = $2 AND active

-- name: forget_undone
-- What was rolled back from is no longer among what was active before.
UPDATE retrieval.model_versions SET activation = NULL
WHERE collection_id = $1 AND model_type = $2 AND activation > $3

-- name: deactivate_model
UPDATE retrieval.model_versions SET active = false WHERE collection_id = $1 AND model_type = $2 AND active

-- name: activate_model
UPDATE retrieval.model_versions SET active = true, activated_at = clock_timestamp(), activation = $4
WHERE collection_id = $1 AND model_type = $2 AND version = $3
RETURNING *

-- name: previous_model
SELECT previous.version, previous.activation
FROM retrieval.model_versions AS present
JOIN retrieval.model_versions AS previous
    ON previous.collection_id = $1 AND previous.model_type = $2 AND previous.activation < present.activation
WHERE present.collection_id = $1 AND present.model_type = $2 AND present.active
ORDER BY previous.activation DESC LIMIT 1
