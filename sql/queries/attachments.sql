-- name: relation
SELECT
    c.oid, n.nspname AS schema, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, c.relkind::text AS kind,
    has_table_privilege(c.oid, 'SELECT') AS readable, has_table_privilege(c.oid, 'TRIGGER') AS may_trigger,
    row_security_active(c.oid) AS secured
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)

-- name: columns
SELECT
    a.attname AS plain, quote_ident(a.attname) AS name, t.typname AS kind,
    CASE WHEN t.typcategory = 'A' THEN e.typname ELSE '' END AS element
FROM pg_attribute AS a
INNER JOIN pg_type AS d ON d.oid = a.atttypid
INNER JOIN pg_type AS t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END
LEFT JOIN pg_type AS e ON e.oid = t.typelem
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: unique_columns
SELECT quote_ident(a.attname) AS name
FROM pg_index AS i
INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indnkeyatts = 1
    AND i.indpred IS NULL AND i.indexprs IS NULL

-- name: wait_briefly
SET LOCAL lock_timeout = '{timeout_ms}ms'

-- name: followers
SELECT
    p.oid::regprocedure::text AS function, obj_description(p.oid, 'pg_proc') AS digest,
    (SELECT count(*) FROM pg_trigger AS t WHERE t.tgfoid = p.oid AND t.tgenabled IN ('O', 'A')) AS triggers
FROM pg_proc AS p
WHERE p.pronamespace = 'retrieval'::regnamespace AND p.proname ~ ('^follow_' || $1::bigint || '_[0-9]+$')

-- name: drop_follower
DROP FUNCTION {function} CASCADE

-- name: put_follower
-- Runs as the service's role, whatever the application's role may do: so everything in it is named with its schema, which
-- costs nothing, while a search path of its own would take a tenth of the time. Cancelling is no failure: it is passed on.
CREATE FUNCTION retrieval.follow_{attachment_id}_{number}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $follower$
BEGIN
    IF tg_op OPERATOR(pg_catalog.=) 'INSERT' THEN
        INSERT INTO retrieval.attached_changes (attachment_id, item_keys)
        SELECT {attachment_id}, pg_catalog.array_agg(n.{key}::pg_catalog.text) FROM new_rows AS n
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0;
    ELSIF tg_op OPERATOR(pg_catalog.=) 'DELETE' THEN
        INSERT INTO retrieval.attached_changes (attachment_id, item_keys)
        SELECT {attachment_id}, pg_catalog.array_agg(o.{key}::pg_catalog.text) FROM old_rows AS o
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0;
    ELSIF tg_op OPERATOR(pg_catalog.=) 'UPDATE' THEN
        -- Of a row whose compared columns stay as they are, there is an equal one before and after.
        INSERT INTO retrieval.attached_changes (attachment_id, item_keys)
        SELECT {attachment_id}, pg_catalog.array_agg(c.retrieval_item_key)
        FROM (
            (SELECT o.{key}::pg_catalog.text AS retrieval_item_key, {old} FROM old_rows AS o
            EXCEPT ALL SELECT n.{key}::pg_catalog.text, {new} FROM new_rows AS n)
            UNION ALL
            (SELECT n.{key}::pg_catalog.text AS retrieval_item_key, {new} FROM new_rows AS n
            EXCEPT ALL SELECT o.{key}::pg_catalog.text, {old} FROM old_rows AS o)
        ) AS c
        HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0;
    ELSE
        INSERT INTO retrieval.attached_changes (attachment_id, item_keys) VALUES ({attachment_id}, NULL);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        INSERT INTO retrieval.attached_changes (attachment_id, item_keys) VALUES ({attachment_id}, NULL);
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'retrieval does not know of a change of %: %', tg_table_name, sqlerrm;
    END;
    RETURN NULL;
END
$follower$;
COMMENT ON FUNCTION retrieval.follow_{attachment_id}_{number}() IS '{digest}';
CREATE TRIGGER retrieval_follow_{attachment_id}_{number}_insert AFTER INSERT ON {table}
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION retrieval.follow_{attachment_id}_{number}();
CREATE TRIGGER retrieval_follow_{attachment_id}_{number}_update AFTER UPDATE ON {table}
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION retrieval.follow_{attachment_id}_{number}();
CREATE TRIGGER retrieval_follow_{attachment_id}_{number}_delete AFTER DELETE ON {table}
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION retrieval.follow_{attachment_id}_{number}();
CREATE TRIGGER retrieval_follow_{attachment_id}_{number}_truncate AFTER TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION retrieval.follow_{attachment_id}_{number}();

-- name: upsert_rows
-- Items of the rows with keys $1: what is new or differs is written. An id that another attachment or a call wrote changes
-- hands. Expects the primary keys of the relation and of items; LIMIT 1 keeps the planner from reading all items.
WITH source AS MATERIALIZED (
    SELECT
        r.*, o.item_id IS NULL AS is_new, o.text AS old_text,
        coalesce(r.given_at, o.created_at, now()) AS created_at,
        (
            o.owner_id, o.visibility, o.audience, o.status, o.rating_value, o.rating_count, o.tags, o.attributes,
            o.created_at
        ) IS DISTINCT FROM (
            r.owner_id, r.visibility, r.audience, r.status, r.rating_value, r.rating_count, r.tags, r.attributes,
            coalesce(r.given_at, o.created_at)
        ) AS spreads,
        (o.text, o.payload, o.attachment_id) IS DISTINCT FROM (r.text, r.payload, {attachment_id}) AS differs
    FROM (
        SELECT {fields}, {valid} AS valid, {problem} AS problem
        FROM {relation} AS s
        WHERE s.{key} = ANY($1::text[]::{key_type}[])
    ) AS r
    LEFT JOIN LATERAL (
        SELECT * FROM retrieval.items WHERE collection_id = $2 AND item_id = r.item_id LIMIT 1
    ) AS o ON true
),
written AS (
    INSERT INTO retrieval.items AS i (
        collection_id, item_id, owner_id, visibility, audience, status, rating_value, rating_count, tags, text,
        text_language, attributes, payload, created_at, updated_at, attachment_id
    )
    SELECT
        $2, item_id, owner_id, visibility, audience, status, rating_value, rating_count, tags, text, $3, attributes,
        payload, created_at, now(), {attachment_id}
    FROM source
    WHERE valid AND (is_new OR spreads OR differs)
    ON CONFLICT (collection_id, item_id) DO UPDATE SET
        owner_id = excluded.owner_id, visibility = excluded.visibility, audience = excluded.audience,
        status = excluded.status, rating_value = excluded.rating_value, rating_count = excluded.rating_count,
        tags = excluded.tags, text = excluded.text, attributes = excluded.attributes, payload = excluded.payload,
        created_at = excluded.created_at, updated_at = excluded.updated_at, attachment_id = excluded.attachment_id
),
cleared AS (
    DELETE FROM retrieval.attached_problems
    WHERE attachment_id = {attachment_id} AND part = 0
        AND item_id IN (SELECT left(k, 256) FROM unnest($1::text[]) AS keys (k))
        AND item_id NOT IN (SELECT left(source.item_id, 256) FROM source WHERE source.problem IS NOT NULL)
),
noted AS (
    INSERT INTO retrieval.attached_problems (attachment_id, item_id, part, problem)
    SELECT DISTINCT ON (left(item_id, 256)) {attachment_id}, left(item_id, 256), 0, problem
    FROM source WHERE problem IS NOT NULL
    ON CONFLICT (attachment_id, item_id, part)
    DO UPDATE SET problem = excluded.problem, noted_at = now(), hides = excluded.hides
)
SELECT
    array_agg(item_id) AS found,
    array_agg(item_id) FILTER (WHERE is_new OR spreads OR differs) AS changed,
    array_agg(item_id) FILTER (WHERE spreads AND NOT is_new) AS spread,
    array_agg(item_id) FILTER (WHERE is_new AND text <> '') AS worded,
    array_agg(item_id) FILTER (WHERE NOT is_new AND old_text <> text AND text <> '') AS reworded,
    array_agg(item_id) FILTER (WHERE NOT is_new AND old_text <> text AND text = '') AS wordless
FROM source
WHERE valid

-- name: remove_rows
-- Items of rows that are gone, if they still come from this attachment.
DELETE FROM retrieval.items
WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND attachment_id = $3
RETURNING item_id

-- name: forget_gone
-- What was wrong with vectors of rows that are no items; why they are none stays.
DELETE FROM retrieval.attached_problems WHERE attachment_id = $1 AND item_id = ANY($2::text[]) AND part > 0

-- name: note_hidden
-- Problems that hide items; the keys that had none of this kind.
WITH noted AS (
    INSERT INTO retrieval.attached_problems AS p (attachment_id, item_id, part, problem, hides)
    SELECT DISTINCT ON (left(key, 256)) $1, left(key, 256), 0, $3, true FROM unnest($2::text[]) AS keys (key)
    ON CONFLICT (attachment_id, item_id, part)
    DO UPDATE SET problem = excluded.problem, noted_at = now(), hides = true
    RETURNING item_id, (xmax = 0) AS fresh
)
SELECT item_id FROM noted WHERE fresh

-- name: hide_items
-- Items of an attachment whose rows cannot be read are shown to nobody, nor is what they said: not even to their owner,
-- who may have changed. Their vectors and relationships stay for when the rows can be read again. Returns which were
-- shown to somebody.
UPDATE retrieval.items SET
    owner_id = '', visibility = 'private', audience = '{}', status = 'rejected', tags = '{}', text = '',
    payload = NULL, updated_at = now()
WHERE collection_id = $1 AND item_id = ANY($2::text[]) AND attachment_id = $3
    AND (owner_id, visibility, audience, status, tags, text)
        IS DISTINCT FROM ('', 'private', '{}'::text[], 'rejected', '{}'::text[], '')
RETURNING item_id

-- name: unreadable
-- Rows to try again. Expects attached_problems_hiding.
SELECT item_id FROM retrieval.attached_problems
WHERE attachment_id = $1 AND hides AND noted_at < now() - make_interval(secs => $2::double precision)
ORDER BY noted_at
LIMIT $3

-- name: labels
SELECT label FROM {each} AS labels (label) WHERE label IS NOT NULL

-- name: components_fit
-- Whether all components are finite single-precision numbers: NaN is greater than any number.
SELECT bool_and(abs(x) <= 3.4e38) FROM unnest({vector}::double precision[]) AS x

-- name: vector_rows
-- Expects an index on the key.
SELECT
    s.{key}::text AS item_id, {chunk} AS chunk_index, {vector} AS vector, CASE {checks} END AS problem, {place}
FROM {relation} AS s
WHERE s.{key} = ANY($1::text[]::{key_type}[]) AND {column} IS NOT NULL AND {counts}

-- name: stored_vectors
SELECT
    item_id, chunk_index::smallint AS chunk_index,
    CASE WHEN problem IS NULL THEN {stored}::halfvec({dim}) END AS embedding, problem, chunk_text, start_ms, end_ms
FROM (
    SELECT
        item_id, chunk_index, vector, chunk_text, start_ms, end_ms,
        CASE
            WHEN problem IS NOT NULL THEN problem
            WHEN vector_dims(vector) <> {dim}
                THEN 'of ' || vector_dims(vector) || ' components, the version takes {dim}'
            WHEN {refused} THEN '{why}'
        END AS problem
    FROM ({rows}) AS r
) AS c

-- name: upsert_vectors
-- Embeddings of the rows with keys $1, or of those in the other parameters. Chunks that the rows have no more are removed.
-- Where {first}, what the application has is the beginning only: items that have an embedding keep it.
WITH incoming AS MATERIALIZED ({incoming}),
written AS (
    INSERT INTO retrieval.{partition} AS e (
        version_id, item_id, chunk_index, embedding, owner_id, visibility, audience, status, rating_value, rating_count,
        tags, attributes, created_at, chunk_text, start_ms, end_ms
    )
    SELECT
        {version_id}, i.item_id, n.chunk_index, n.embedding, i.owner_id, i.visibility, i.audience, i.status,
        i.rating_value, i.rating_count, i.tags, i.attributes, i.created_at, n.chunk_text, n.start_ms, n.end_ms
    FROM incoming AS n
    CROSS JOIN LATERAL (
        SELECT * FROM retrieval.items WHERE collection_id = $2 AND item_id = n.item_id LIMIT 1
    ) AS i
    WHERE n.problem IS NULL
        AND NOT ({first} AND n.item_id IN (
            SELECT item_id FROM retrieval.{partition} WHERE version_id = {version_id} AND item_id = ANY($1::text[])
        ))
    ON CONFLICT (version_id, item_id, chunk_index) DO UPDATE SET
        embedding = excluded.embedding, chunk_text = excluded.chunk_text, start_ms = excluded.start_ms,
        end_ms = excluded.end_ms
    WHERE NOT {first} AND (e.embedding, e.chunk_text, e.start_ms, e.end_ms)
        IS DISTINCT FROM (excluded.embedding, excluded.chunk_text, excluded.start_ms, excluded.end_ms)
    RETURNING e.item_id
),
dropped AS (
    DELETE FROM retrieval.{partition} AS e
    WHERE NOT {first} AND e.version_id = {version_id} AND e.item_id = ANY($1::text[])
        AND NOT EXISTS (
            SELECT FROM incoming AS n
            WHERE n.item_id = e.item_id AND n.chunk_index = e.chunk_index AND n.problem IS NULL
        )
    RETURNING e.item_id
),
cleared AS (
    DELETE FROM retrieval.attached_problems
    WHERE attachment_id = {attachment_id} AND item_id = ANY($1::text[]) AND part = {part}
        AND NOT EXISTS (
            SELECT FROM incoming WHERE incoming.item_id = attached_problems.item_id AND problem IS NOT NULL
        )
),
noted AS (
    INSERT INTO retrieval.attached_problems (attachment_id, item_id, part, problem)
    SELECT {attachment_id}, n.item_id, {part}, '{field}: ' || min(n.problem)
    FROM incoming AS n
    INNER JOIN retrieval.items AS i ON i.collection_id = $2 AND i.item_id = n.item_id
    WHERE n.problem IS NOT NULL
    GROUP BY n.item_id
    ON CONFLICT (attachment_id, item_id, part) DO UPDATE SET problem = excluded.problem, noted_at = now()
)
SELECT
    (SELECT array_agg(DISTINCT item_id) FROM (SELECT item_id FROM written UNION ALL SELECT item_id FROM dropped) AS c)
        AS changed,
    coalesce((
        SELECT max(c.chunks) FROM (SELECT count(*) AS chunks FROM incoming WHERE problem IS NULL GROUP BY item_id) AS c
    ), 1) AS chunks,
    EXISTS (SELECT FROM incoming WHERE problem IS NULL AND (chunk_text IS NOT NULL OR start_ms IS NOT NULL)) AS places

-- name: next_keys
-- Expects an index on the key, as a primary key has.
SELECT s.{key}::text AS item_key FROM {relation} AS s
WHERE $1::text IS NULL OR s.{key} > $1::text::{key_type}
ORDER BY s.{key}
LIMIT $2

-- name: next_swept
-- Items of this attachment, in order. Expects the primary key.
SELECT item_id FROM retrieval.items
WHERE collection_id = $1 AND item_id > $2 AND attachment_id = $3
ORDER BY item_id
LIMIT $4

-- name: existing_keys
SELECT s.{key}::text AS item_key FROM {relation} AS s WHERE s.{key} = ANY($1::text[]::{key_type}[])

-- name: count_rows
SELECT count(*) FROM {relation}

-- name: estimate_rows
SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass($1)

-- name: insert_attachment
INSERT INTO retrieval.attached_tables (collection_id, relation, binding, state)
VALUES ($1, $2, $3::jsonb, 'backfilling')
ON CONFLICT (collection_id, relation) DO NOTHING
RETURNING attachment_id

-- name: settle_attachment
-- A request by SQL, once it is understood.
UPDATE retrieval.attached_tables SET relation = $2, binding = $3::jsonb, state = 'backfilling', error = ''
WHERE attachment_id = $1

-- name: fail_attachment
UPDATE retrieval.attached_tables SET state = 'failed', error = $2, tried_at = now() WHERE attachment_id = $1

-- name: start_over
-- Reads the whole table again, and then looks for items that it has no more.
UPDATE retrieval.attached_tables SET
    state = 'backfilling', error = '', backfilled_key = NULL, swept_item_id = NULL, sweeps = true, rows_done = 0,
    rows_total = 0
WHERE attachment_id = $1

-- name: count_attachment
UPDATE retrieval.attached_tables SET rows_total = $2 WHERE attachment_id = $1

-- name: backfilled
UPDATE retrieval.attached_tables SET backfilled_key = $2, rows_done = rows_done + $3 WHERE attachment_id = $1

-- name: sweep
UPDATE retrieval.attached_tables SET swept_item_id = $2 WHERE attachment_id = $1

-- name: swept
UPDATE retrieval.attached_tables SET state = 'following', sweeps = false, rows_total = rows_done
WHERE attachment_id = $1

-- name: due_attachments
-- Those with something to do. One that failed, and rows that cannot be read, are tried again after $1 seconds; what
-- changes while an attachment is failed is hidden at once.
SELECT attachment_id FROM retrieval.attached_tables AS a
WHERE state IN ('requested', 'backfilling')
    OR (state = 'failed' AND tried_at < now() - make_interval(secs => $1::double precision))
    OR (
        state IN ('following', 'failed')
        AND EXISTS (SELECT FROM retrieval.attached_changes AS c WHERE c.attachment_id = a.attachment_id)
    )
    OR (
        state = 'following'
        AND EXISTS (
            SELECT FROM retrieval.attached_problems AS p
            WHERE p.attachment_id = a.attachment_id AND p.hides
                AND p.noted_at < now() - make_interval(secs => $1::double precision)
        )
    )
ORDER BY attachment_id

-- name: known_attachments
SELECT attachment_id FROM retrieval.attached_tables WHERE state <> 'requested' ORDER BY attachment_id

-- name: claim_attachment
-- One process works on an attachment at a time: what was read first must not be written last.
SELECT
    a.*, c.name AS collection_name, a.tried_at < now() - make_interval(secs => $2::double precision) AS retry_is_due
FROM retrieval.attached_tables AS a
INNER JOIN retrieval.collections AS c ON c.collection_id = a.collection_id
WHERE a.attachment_id = $1
FOR UPDATE OF a SKIP LOCKED

-- name: find_attachment
SELECT attachment_id FROM retrieval.attached_tables
WHERE collection_id = $1 AND (relation = $2 OR to_regclass(relation) = to_regclass($2))

-- name: list_attachments
SELECT
    a.*, w.waiting, w.lag_s, p.problem_count,
    (SELECT jsonb_agg(q) FROM (
        SELECT item_id, problem, (extract(epoch FROM noted_at) * 1000000)::bigint AS noted_at
        FROM retrieval.attached_problems WHERE attachment_id = a.attachment_id
        ORDER BY noted_at DESC, item_id, part
        LIMIT 10
    ) AS q) AS problems
FROM retrieval.attached_tables AS a
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(coalesce(cardinality(item_keys), 1)), 0)::bigint AS waiting,
        coalesce(extract(epoch FROM now() - min(noted_at)), 0)::double precision AS lag_s
    FROM retrieval.attached_changes WHERE attachment_id = a.attachment_id
) AS w
CROSS JOIN LATERAL (
    SELECT count(*) AS problem_count FROM retrieval.attached_problems WHERE attachment_id = a.attachment_id
) AS p
WHERE a.collection_id = $1
ORDER BY a.relation

-- name: take_changes
-- In order, a few thousand keys at a time or those of one statement; whoever has the attachment takes them alone.
DELETE FROM retrieval.attached_changes
WHERE change_id IN (
    SELECT change_id FROM (
        SELECT change_id, sum(coalesce(cardinality(item_keys), 1)) OVER (ORDER BY change_id) AS keys, row_number() OVER (ORDER BY change_id) AS number
        FROM (
            SELECT change_id, item_keys FROM retrieval.attached_changes
            WHERE attachment_id = $1 ORDER BY change_id LIMIT $2
        ) AS c
    ) AS d
    WHERE keys <= $2 OR number = 1
)
RETURNING item_keys

-- name: delete_attachment
DELETE FROM retrieval.attached_tables WHERE attachment_id = $1
