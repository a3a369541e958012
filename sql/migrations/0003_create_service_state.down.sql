ALTER TABLE retrieval.change_log DROP COLUMN catalogue;
DROP TABLE retrieval.service_state;
