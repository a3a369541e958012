DROP TABLE retrieval.projections;
