-- Learned projections of embedding versions; written once, together with the version.

-- Both arrays: float32, little-endian; weights row by row, `dimension` rows of `input_dimension`.
CREATE TABLE retrieval.projections (
    version_id bigint PRIMARY KEY REFERENCES retrieval.embedding_versions ON DELETE CASCADE,
    input_dimension integer NOT NULL CHECK (input_dimension BETWEEN 1 AND 4096),
    weights bytea NOT NULL,
    bias bytea
);
-- The arrays do not compress; their pages are read sooner when nobody tries.
ALTER TABLE retrieval.projections ALTER COLUMN weights SET STORAGE EXTERNAL;
