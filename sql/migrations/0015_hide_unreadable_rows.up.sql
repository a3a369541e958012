-- Problems of rows that cannot be read: their items are hidden, and the rows are tried again.
ALTER TABLE retrieval.attached_problems ADD COLUMN hides boolean NOT NULL DEFAULT false;

-- Which rows are to be tried again is asked twice a second. The table holds problems alone: it is small.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX attached_problems_hiding ON retrieval.attached_problems (attachment_id, noted_at) WHERE hides;
