-- What candidates keep: trained models as bytes, interests with their medoids, vectors that stand for users.

-- Parts of a model's bytes, in order. Rows are replaced in one transaction; whoever loads reads them in one statement.
CREATE TABLE retrieval.model_artifacts (
    model_version_id bigint NOT NULL REFERENCES retrieval.model_versions ON DELETE CASCADE,
    part integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (model_version_id, part)
);
-- The arrays do not compress; their pages are read sooner when nobody tries.
ALTER TABLE retrieval.model_artifacts ALTER COLUMN data SET STORAGE EXTERNAL;

-- The item nearest to the middle of an interest. Nothing has written to the table so far.
ALTER TABLE retrieval.user_profiles ADD COLUMN medoid_item_id text NOT NULL DEFAULT '';

-- Vectors of users that the application computes, e.g. by the user's tower of a two-tower model.
CREATE TABLE retrieval.user_vectors (
    version_id bigint NOT NULL REFERENCES retrieval.embedding_versions ON DELETE CASCADE,
    user_id text COLLATE "C" NOT NULL,
    embedding halfvec NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (version_id, user_id)
);
