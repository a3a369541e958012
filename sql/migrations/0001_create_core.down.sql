DROP TABLE retrieval.change_log;
DROP TABLE retrieval.requests;
DROP TABLE retrieval.index_builds;
DROP TABLE retrieval.embeddings;
DROP TABLE retrieval.items;
DROP TABLE retrieval.embedding_versions;
DROP TABLE retrieval.collections;
