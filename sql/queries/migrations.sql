-- name: has_extension
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')

-- name: has_schema
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'retrieval')

-- name: has_migrations
SELECT EXISTS (
    SELECT FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'retrieval' AND c.relname = 'migrations'
)

-- name: create_extension
CREATE EXTENSION IF NOT EXISTS vector

-- name: create_schema
CREATE SCHEMA retrieval

-- name: create_migrations
CREATE TABLE retrieval.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: applied
SELECT number, name, checksum, applied_at FROM retrieval.migrations ORDER BY number

-- name: record
INSERT INTO retrieval.migrations (number, name, checksum) VALUES ($1, $2, $3)

-- name: forget
DELETE FROM retrieval.migrations WHERE number = $1
