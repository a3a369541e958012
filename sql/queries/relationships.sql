-- name: hold_collection
-- The row keeps the collection from being deleted meanwhile; none means that it was.
SELECT collection_id FROM retrieval.collections WHERE collection_id = $1 FOR KEY SHARE

-- name: put_relationships
-- Rows come sorted by their key, so that writers do not deadlock. Expects the primary key.
INSERT INTO retrieval.relationships (collection_id, item_id, related_item_id, kind, weight, confidence, note)
SELECT $1, n.item_id, n.related_item_id, n.kind, n.weight, n.confidence, n.note
FROM unnest($2::text[], $3::text[], $4::text[], $5::double precision[], $6::double precision[], $7::text[])
    AS n (item_id, related_item_id, kind, weight, confidence, note)
ON CONFLICT (collection_id, item_id, kind, related_item_id) DO UPDATE SET
    weight = excluded.weight, confidence = excluded.confidence, note = excluded.note

-- name: lock_relationships
-- Takes the rows that are to go in the order of their key, as writers do. Expects the primary key.
SELECT r.item_id
FROM unnest($2::text[], $3::text[], $4::text[]) AS n (item_id, related_item_id, kind)
INNER JOIN retrieval.relationships AS r
    ON r.collection_id = $1 AND r.item_id = n.item_id AND r.related_item_id = n.related_item_id AND r.kind = n.kind
ORDER BY r.item_id, r.kind, r.related_item_id
FOR UPDATE OF r

-- name: delete_relationships
-- Expects the primary key.
DELETE FROM retrieval.relationships AS r
USING unnest($2::text[], $3::text[], $4::text[]) AS n (item_id, related_item_id, kind)
WHERE r.collection_id = $1 AND r.item_id = n.item_id AND r.related_item_id = n.related_item_id AND r.kind = n.kind

-- name: forget_items
-- Relationships of items that are gone, from both ends. Expects the primary key or relationships_outgoing for one end and
-- relationships_incoming for the other.
DELETE FROM retrieval.relationships
WHERE collection_id = $1 AND (item_id = ANY($2::text[]) OR related_item_id = ANY($2::text[]))

-- name: read_notes
-- Expects the primary key.
SELECT r.item_id, r.related_item_id, r.kind, r.note
FROM unnest($2::text[], $3::text[], $4::text[]) AS n (item_id, related_item_id, kind)
INNER JOIN retrieval.relationships AS r
    ON r.collection_id = $1 AND r.item_id = n.item_id AND r.related_item_id = n.related_item_id AND r.kind = n.kind
WHERE r.note <> ''

-- name: any_relationship
-- Expects the primary key.
SELECT EXISTS (SELECT FROM retrieval.relationships WHERE collection_id = $1)

-- name: neighbours
-- What single relationships lead to, strongest first, from every item its strongest ones. Kinds: $3 are read from
-- item_id, $4 from related_item_id. Expects relationships_outgoing, relationships_incoming and the primary key of items.
SELECT e.other, max(e.strength) AS strength
FROM unnest($2::text[]) AS s (item_id)
CROSS JOIN LATERAL (
    (
        SELECT r.related_item_id AS other, r.strength
        FROM retrieval.relationships AS r
        CROSS JOIN LATERAL (
            SELECT FROM retrieval.items
            WHERE collection_id = $1 AND item_id = r.related_item_id AND {visible}
            LIMIT 1
        ) AS i
        WHERE r.collection_id = $1 AND r.item_id = s.item_id AND r.kind = ANY($3::text[])
            AND r.strength > 1e-31
        ORDER BY r.strength DESC, r.related_item_id, r.kind
        LIMIT $5
    )
    UNION ALL
    (
        SELECT r.item_id, r.strength
        FROM retrieval.relationships AS r
        CROSS JOIN LATERAL (
            SELECT FROM retrieval.items
            WHERE collection_id = $1 AND item_id = r.item_id AND {visible}
            LIMIT 1
        ) AS i
        WHERE r.collection_id = $1 AND r.related_item_id = s.item_id AND r.kind = ANY($4::text[])
            AND r.strength > 1e-31
        ORDER BY r.strength DESC, r.item_id, r.kind
        LIMIT $5
    )
) AS e
GROUP BY e.other
ORDER BY strength DESC, e.other
LIMIT $6

-- name: walk
-- The strongest path to every item that is reached within $5 steps; see domain/relationships.py, which says why one path
-- an item and step is enough. LIMIT 1 looks items up one by one, in the order of the relationships: the first ones that
-- may be seen end the scan. What an earlier release stored below the least strength, see domain/relationships.py, leads
-- nowhere, as its products would be too small. Expects relationships_outgoing, relationships_incoming and the primary key of items.
WITH RECURSIVE walk AS (
    SELECT
        $2::text COLLATE "C" AS item_id, 0 AS depth, 1::double precision AS strength,
        ARRAY[$2::text COLLATE "C"] AS path, ARRAY[]::text[] COLLATE "C" AS kinds, 1::bigint AS place
    UNION ALL
    SELECT f.item_id, f.depth, f.strength, f.path, f.kinds, f.place
    FROM (
        SELECT
            b.item_id, b.depth, b.strength, b.path, b.kinds,
            row_number() OVER (ORDER BY b.strength DESC, b.path, b.kinds) AS place
        FROM (
            SELECT DISTINCT ON (e.other)
                e.other AS item_id, w.depth + 1 AS depth, w.strength * e.strength AS strength,
                w.path || e.other AS path, w.kinds || e.kind AS kinds
            FROM walk AS w
            CROSS JOIN LATERAL (
                (
                    SELECT r.related_item_id AS other, r.strength, r.kind
                    FROM retrieval.relationships AS r
                    CROSS JOIN LATERAL (
                        SELECT FROM retrieval.items
                        WHERE collection_id = $1 AND item_id = r.related_item_id AND {visible}
                        LIMIT 1
                    ) AS i
                    WHERE r.collection_id = $1 AND r.item_id = w.item_id AND r.kind = ANY($3::text[])
                        AND r.strength > 1e-31 AND r.confidence >= $6 AND r.related_item_id <> ALL (w.path)
                    ORDER BY r.strength DESC, r.related_item_id, r.kind
                    LIMIT CASE w.depth WHEN 0 THEN $7::integer ELSE $8::integer END
                )
                UNION ALL
                (
                    SELECT r.item_id, r.strength, r.kind
                    FROM retrieval.relationships AS r
                    CROSS JOIN LATERAL (
                        SELECT FROM retrieval.items
                        WHERE collection_id = $1 AND item_id = r.item_id AND {visible}
                        LIMIT 1
                    ) AS i
                    WHERE r.collection_id = $1 AND r.related_item_id = w.item_id AND r.kind = ANY($4::text[])
                        AND r.strength > 1e-31 AND r.confidence >= $6 AND r.item_id <> ALL (w.path)
                    ORDER BY r.strength DESC, r.item_id, r.kind
                    LIMIT CASE w.depth WHEN 0 THEN $7::integer ELSE $8::integer END
                )
            ) AS e
            WHERE w.depth < $5::integer AND w.place <= $14::integer
            ORDER BY e.other, strength DESC, path, kinds
        ) AS b
        ORDER BY b.strength DESC, b.path, b.kinds
        LIMIT $9
    ) AS f
)
SELECT b.item_id, b.depth, b.strength, b.path, b.kinds
FROM (
    SELECT DISTINCT ON (item_id) item_id, depth, strength, path, kinds
    FROM walk
    WHERE depth > 0
    ORDER BY item_id, strength DESC, depth, path, kinds
) AS b
CROSS JOIN LATERAL (
    SELECT FROM retrieval.items
    WHERE collection_id = $1 AND item_id = b.item_id AND {predicate}
    LIMIT 1
) AS i
WHERE b.strength < $10 OR (b.strength = $10 AND (b.depth, b.item_id) > ($11::integer, $12::text))
ORDER BY b.strength DESC, b.depth, b.item_id
LIMIT $13
