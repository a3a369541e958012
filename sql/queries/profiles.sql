-- name: save_artifact_part
INSERT INTO retrieval.model_artifacts (model_version_id, part, data) VALUES ($1, $2, $3)

-- name: delete_artifact
DELETE FROM retrieval.model_artifacts WHERE model_version_id = $1

-- name: load_artifact
-- Expects the primary key.
SELECT data FROM retrieval.model_artifacts WHERE model_version_id = $1 ORDER BY part

-- name: all_events
-- Expects the primary key, in order. Read through a cursor.
SELECT user_id, item_id, event_type, occurred_at, event_id, value, dwell_ms
FROM retrieval.events
WHERE collection_id = $1
ORDER BY user_id, occurred_at, item_id, event_id

-- name: latest_events
-- Expects the partitions in turn, newest first, each sorted: those that are not reached are not read. Read through a
-- cursor.
SELECT user_id, item_id, event_type, occurred_at, event_id, value, dwell_ms
FROM retrieval.events
WHERE collection_id = $1
ORDER BY occurred_at DESC, user_id, item_id, event_id
LIMIT $2

-- name: save_interests
-- Replaces all interests of the user, in one statement; two at once leave those of one of them, number by number.
-- Of a user without events none are kept: who was forgotten stays so. Expects the primary key of every partition.
WITH fresh AS (
    SELECT * FROM unnest($3::smallint[], $4::halfvec[], $5::real[], $6::text[]) AS f (interest, embedding, weight, medoid)
), gone AS (
    DELETE FROM retrieval.user_profiles
    WHERE version_id = $1 AND user_id = $2 AND interest >= (SELECT count(*) FROM fresh)
)
INSERT INTO retrieval.user_profiles (version_id, user_id, interest, embedding, weight, medoid_item_id, updated_at)
SELECT $1, $2, interest, embedding, weight, medoid, now() FROM fresh
WHERE EXISTS (
    SELECT FROM retrieval.events AS e
    WHERE e.user_id = $2 AND e.collection_id = (
        SELECT collection_id FROM retrieval.embedding_versions WHERE version_id = $1
    )
)
ON CONFLICT (version_id, user_id, interest) DO UPDATE SET
    embedding = excluded.embedding, weight = excluded.weight, medoid_item_id = excluded.medoid_item_id,
    updated_at = excluded.updated_at

-- name: stored_interests
-- Expects the primary key.
SELECT embedding, weight, medoid_item_id, updated_at
FROM retrieval.user_profiles
WHERE version_id = $1 AND user_id = $2
ORDER BY interest

-- name: set_user_vector
INSERT INTO retrieval.user_vectors (version_id, user_id, embedding) VALUES ($1, $2, $3)
ON CONFLICT (version_id, user_id) DO UPDATE SET embedding = excluded.embedding, updated_at = now()

-- name: remove_user_vector
DELETE FROM retrieval.user_vectors WHERE version_id = $1 AND user_id = $2

-- name: user_vector
-- Expects the primary key.
SELECT embedding FROM retrieval.user_vectors WHERE version_id = $1 AND user_id = $2

-- name: user_vector_set_at
-- Expects the primary key.
SELECT updated_at FROM retrieval.user_vectors WHERE version_id = $1 AND user_id = $2

-- name: facet_shares
-- Of a sample of listed items, so that it costs the same for any catalogue. A value counts once an item.
WITH sampled AS (
    SELECT tags, attributes FROM retrieval.items
    WHERE collection_id = $1 AND listed
    ORDER BY created_at DESC
    LIMIT $3
), named AS (
    SELECT 'tags' AS attribute, t.value
    FROM sampled CROSS JOIN LATERAL (SELECT DISTINCT value FROM unnest(tags) AS l (value)) AS t
    UNION ALL
    SELECT k.name, v.value
    FROM sampled
    CROSS JOIN unnest($2::text[]) AS k (name)
    CROSS JOIN LATERAL (
        SELECT DISTINCT value
        FROM jsonb_array_elements_text(
            CASE jsonb_typeof(attributes -> k.name)
                WHEN 'array' THEN attributes -> k.name
                WHEN 'string' THEN jsonb_build_array(attributes -> k.name)
                ELSE '[]'::jsonb
            END
        ) AS l (value)
    ) AS v
)
SELECT attribute, value, count(*)::double precision / greatest((SELECT count(*) FROM sampled), 1) AS share
FROM named
GROUP BY attribute, value
ORDER BY share DESC, attribute COLLATE "C", value COLLATE "C"
LIMIT 1000

-- name: erase_interests
-- Those that were being stored while the events went.
DELETE FROM retrieval.user_profiles
WHERE user_id = $2 AND version_id IN (
    SELECT version_id FROM retrieval.embedding_versions WHERE collection_id = $1
)

-- name: erase_user_vectors
DELETE FROM retrieval.user_vectors
WHERE user_id = $2 AND version_id IN (
    SELECT version_id FROM retrieval.embedding_versions WHERE collection_id = $1
)
