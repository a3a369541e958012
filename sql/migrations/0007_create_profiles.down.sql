DROP TABLE retrieval.user_vectors;
ALTER TABLE retrieval.user_profiles DROP COLUMN medoid_item_id;
DROP TABLE retrieval.model_artifacts;
