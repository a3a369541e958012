DROP TABLE retrieval.pgqueuer, retrieval.pgqueuer_log, retrieval.pgqueuer_schedules, retrieval.pgqueuer_statistics;
DROP FUNCTION retrieval.fn_pgqueuer_changed();
DROP TYPE retrieval.pgqueuer_status;
ALTER TABLE retrieval.embedding_versions DROP COLUMN embeds_text, DROP COLUMN backfill_after;
