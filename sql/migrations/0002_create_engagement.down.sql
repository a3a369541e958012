DROP TABLE retrieval.training_pairs;
DROP TABLE retrieval.model_versions;
DROP TABLE retrieval.bandit_arms;
DROP TABLE retrieval.user_profiles;
DROP TABLE retrieval.relationships;
DROP TABLE retrieval.events;
