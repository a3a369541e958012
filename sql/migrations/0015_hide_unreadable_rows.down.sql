DROP INDEX retrieval.attached_problems_hiding;
ALTER TABLE retrieval.attached_problems DROP COLUMN hides;
