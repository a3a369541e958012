-- Work that comes round: when each job is due again, what its runs did, and how an index stood when it was built.

-- Whoever runs a job holds an advisory lock meanwhile, which goes with its connection; nothing here says that one runs.
CREATE TABLE retrieval.maintenance_jobs (
    name text COLLATE "C" PRIMARY KEY,
    next_run_at timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    last_success_at timestamptz
);

-- The latest hundred of each job. A run that is `running` while nobody holds the job's lock was interrupted.
CREATE TABLE retrieval.maintenance_runs (
    job text COLLATE "C" NOT NULL REFERENCES retrieval.maintenance_jobs ON DELETE CASCADE,
    run_id bigint GENERATED ALWAYS AS IDENTITY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    outcome text NOT NULL DEFAULT 'running'
    CHECK (outcome IN ('running', 'succeeded', 'failed', 'interrupted')),
    affected bigint NOT NULL DEFAULT 0,
    detail text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    PRIMARY KEY (job, run_id)
);

-- Rows when the index was built, and the updates and deletes that its table had counted by then. Of indexes that are
-- there already nobody knows: they count from now on.
ALTER TABLE retrieval.index_builds ADD COLUMN built_rows bigint;
ALTER TABLE retrieval.index_builds ADD COLUMN built_churn bigint NOT NULL DEFAULT 0;
-- Whether a caller asked for that many lists, rather than leaving it to the number of rows.
ALTER TABLE retrieval.index_builds ADD COLUMN lists_given boolean NOT NULL DEFAULT false;
