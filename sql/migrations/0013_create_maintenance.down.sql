ALTER TABLE retrieval.index_builds DROP COLUMN lists_given;
ALTER TABLE retrieval.index_builds DROP COLUMN built_churn;
ALTER TABLE retrieval.index_builds DROP COLUMN built_rows;
DROP TABLE retrieval.maintenance_runs;
DROP TABLE retrieval.maintenance_jobs;
