-- What caches that follow the change log need: which database this is, from where on its log is complete, and which
-- rows of the log are about collections and versions rather than items. Followers ask for what their last snapshot did
-- not see; they do not wait for xmin, as the log's first description has it.

-- One row. A database restored from a backup or a dump needs a new identity: positions taken later mean nothing to it.
CREATE TABLE retrieval.service_state (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    identity uuid NOT NULL DEFAULT gen_random_uuid(),
    log_begins xid8 NOT NULL DEFAULT '0'
);
INSERT INTO retrieval.service_state DEFAULT VALUES;

ALTER TABLE retrieval.change_log ADD COLUMN catalogue boolean NOT NULL DEFAULT false;
