-- name: prepare
-- Several commands, run as one script before any migration.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS retrieval;
CREATE TABLE IF NOT EXISTS retrieval.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
SET search_path = retrieval, public, extensions;

-- name: applied
SELECT number, name, checksum, applied_at FROM retrieval.migrations ORDER BY number

-- name: record
INSERT INTO retrieval.migrations (number, name, checksum) VALUES ($1, $2, $3)

-- name: forget
DELETE FROM retrieval.migrations WHERE number = $1
