-- name: insert_collection
INSERT INTO retrieval.collections (
    name, metric, attributes, visibility_mode, popular_min_rating_value, popular_min_rating_count, rating_scale_max,
    event_types, text_language
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (name) DO NOTHING
RETURNING collection_id

-- name: insert_version
-- The first version of a collection is active, and no item waits for it.
INSERT INTO retrieval.embedding_versions (
    collection_id, version, model, dimension, resolutions, state, activated_at, embeds_text, backfill_after,
    chunk_characters
)
SELECT
    $1, coalesce(max(version), 0) + 1, $2, $3, $4::integer[], $5,
    CASE WHEN $5 = 'active' THEN now() END,
    $6, CASE WHEN $6 AND $5 <> 'active' THEN '' END, $7
FROM retrieval.embedding_versions WHERE collection_id = $1
RETURNING version_id, version

-- name: insert_projection
INSERT INTO retrieval.projections (version_id, input_dimension, weights, bias) VALUES ($1, $2, $3, $4)

-- name: projection
-- Expects the primary key.
SELECT input_dimension, weights, bias FROM retrieval.projections WHERE version_id = $1

-- name: create_partition
-- Rows stay in one piece up to a page: a vector moved out of line costs five times as much to compare.
CREATE TABLE retrieval.{partition} PARTITION OF retrieval.embeddings (
    CONSTRAINT {partition}_dimension CHECK (vector_dims(embedding) = {dim})
) FOR VALUES IN ({version_id}) WITH (toast_tuple_target = 8160)

-- name: guard_partition
-- As migration 0010 does with those that it finds; the role may be missing.
ALTER TABLE retrieval.{partition} ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON retrieval.{partition} FOR SELECT USING (
    listed
    OR (owner_id <> '' AND owner_id = (SELECT current_setting('retrieval.viewer_id', true)))
    OR (
        visibility = 'groups' AND status = 'approved'
        AND audience && (SELECT nullif(current_setting('retrieval.group_ids', true), '')::text [])
    )
);
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'retrieval_reader') THEN
        GRANT SELECT ON retrieval.{partition} TO retrieval_reader;
    END IF;
END
$$

-- name: drop_impatiently
-- While it waits for readers of a partition, dropping it locks the table above and with it every writer out.
SET LOCAL lock_timeout = '500ms'

-- name: drop_partition
DROP TABLE IF EXISTS retrieval.{partition}

-- name: lock_collection
SELECT collection_id FROM retrieval.collections WHERE name = $1 FOR UPDATE

-- name: get_collections
-- Expects the unique index on name, and the primary key of projections; the arrays there are not read.
SELECT
    c.collection_id, c.name, c.metric, c.attributes, c.visibility_mode, c.popular_min_rating_value,
    c.popular_min_rating_count, c.rating_scale_max, c.event_types, c.text_language,
    c.created_at,
    (
        SELECT jsonb_agg(jsonb_build_object(
            'version_id', v.version_id, 'version', v.version, 'model', v.model, 'dimension', v.dimension,
            'resolutions', v.resolutions, 'state', v.state, 'max_chunks', v.max_chunks, 'has_places', v.has_places,
            'created_at', (extract(epoch FROM v.created_at) * 1000000)::bigint,
            'activated_at', (extract(epoch FROM v.activated_at) * 1000000)::bigint,
            'input_dimension', coalesce(p.input_dimension, 0), 'embeds_text', v.embeds_text,
            'chunk_characters', v.chunk_characters
        ) ORDER BY v.version)
        FROM retrieval.embedding_versions AS v
        LEFT JOIN retrieval.projections AS p ON p.version_id = v.version_id
        WHERE v.collection_id = c.collection_id
    ) AS versions
FROM retrieval.collections AS c
WHERE c.name > $1 AND ($2::text IS NULL OR c.name = $2)
ORDER BY c.name
LIMIT $3

-- name: update_collection
UPDATE retrieval.collections SET
    attributes = attributes || $2::jsonb,
    popular_min_rating_value = coalesce($3, popular_min_rating_value),
    popular_min_rating_count = coalesce($4, popular_min_rating_count),
    rating_scale_max = coalesce($5, rating_scale_max),
    event_types = event_types || $6::jsonb
WHERE collection_id = $1

-- name: delete_collection
DELETE FROM retrieval.collections WHERE collection_id = $1

-- name: delete_collection_items
DELETE FROM retrieval.items WHERE collection_id = $1

-- name: delete_collection_events
DELETE FROM retrieval.events WHERE collection_id = $1

-- name: delete_collection_edges
DELETE FROM retrieval.owner_edges WHERE collection_id = $1

-- name: delete_collection_batches
DELETE FROM retrieval.event_batches WHERE collection_id = $1

-- name: delete_collection_engagement
DELETE FROM retrieval.item_engagement WHERE collection_id = $1

-- name: delete_collection_counts
DELETE FROM retrieval.item_counts WHERE collection_id = $1

-- name: delete_collection_requests
DELETE FROM retrieval.requests WHERE collection_id = $1

-- name: delete_collection_pairs
DELETE FROM retrieval.training_pairs WHERE collection_id = $1

-- name: delete_collection_relationships
DELETE FROM retrieval.relationships WHERE collection_id = $1

-- name: delete_collection_changes
DELETE FROM retrieval.change_log WHERE collection_id = $1

-- name: retire_active_version
UPDATE retrieval.embedding_versions SET state = 'retired' WHERE collection_id = $1 AND state = 'active'

-- name: activate_version
UPDATE retrieval.embedding_versions SET state = 'active', activated_at = now()
WHERE collection_id = $1 AND version = $2

-- name: previous_version
SELECT version FROM retrieval.embedding_versions
WHERE collection_id = $1 AND state = 'retired' AND activated_at IS NOT NULL
ORDER BY activated_at DESC LIMIT 1

-- name: has_rows
SELECT EXISTS (SELECT FROM retrieval.{partition})
