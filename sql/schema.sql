-- The schema after all migrations; `make schema` writes this file and a test compares it. Do not edit.

CREATE SCHEMA retrieval;

CREATE TYPE retrieval.pgqueuer_status AS ENUM (
    'queued',
    'picked',
    'successful',
    'exception',
    'canceled',
    'deleted',
    'failed'
);

CREATE FUNCTION retrieval.attach_table(collection text, binding jsonb) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO retrieval.attached_tables (collection_id, relation, binding)
    SELECT c.collection_id, coalesce(attach_table.binding ->> 'relation', ''), attach_table.binding
    FROM retrieval.collections AS c WHERE c.name = attach_table.collection
    RETURNING attachment_id INTO made;
    IF made IS NULL THEN
        RAISE 'there is no collection %', quote_literal(attach_table.collection) USING ERRCODE = 'no_data_found';
    END IF;
    RETURN made;
END
$$;

CREATE FUNCTION retrieval.detach_table(collection text, relation text) RETURNS boolean
    LANGUAGE sql
    AS $$
    WITH gone AS (
        DELETE FROM retrieval.attached_tables AS a USING retrieval.collections AS c
        WHERE c.name = detach_table.collection AND a.collection_id = c.collection_id
            AND (a.relation = detach_table.relation OR to_regclass(a.relation) = to_regclass(detach_table.relation))
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM gone)
$$;

CREATE FUNCTION retrieval.drop_followers() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$
DECLARE
    follower regprocedure;
BEGIN
    FOR follower IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'retrieval'::regnamespace AND proname ~ ('^follow_' || old.attachment_id || '_[0-9]+$')
    LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', follower);
    END LOOP;
    DELETE FROM retrieval.attached_changes WHERE attachment_id = old.attachment_id;
    RETURN old;
END
$_$;

CREATE FUNCTION retrieval.fn_pgqueuer_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    to_emit BOOLEAN := false;  -- Flag to decide whether to emit a notification
BEGIN
    -- Check operation type and set the emit flag accordingly
    IF TG_OP = 'UPDATE' AND OLD IS DISTINCT FROM NEW THEN
        to_emit := true;
    ELSIF TG_OP = 'DELETE' THEN
        to_emit := true;
    ELSIF TG_OP = 'INSERT' THEN
        to_emit := true;
    ELSIF TG_OP = 'TRUNCATE' THEN
        to_emit := true;
    END IF;

    -- Perform notification if the emit flag is set
    IF to_emit THEN
        PERFORM pg_notify(
            'retrieval_jobs',
            json_build_object(
                'channel', 'retrieval_jobs',
                'operation', lower(TG_OP),
                'sent_at', NOW(),
                'table', TG_TABLE_NAME,
                'type', 'table_changed_event'
            )::text
        );
    END IF;

    -- Return appropriate value based on the operation
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' THEN
        RETURN OLD;
    ELSE
        RETURN NULL; -- For TRUNCATE and other non-row-specific contexts
    END IF;

END;
$$;

CREATE FUNCTION retrieval.text_vector(language text, body text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
BEGIN
    RETURN pg_catalog.to_tsvector(language::pg_catalog.regconfig, body);
END;
$$;

CREATE FUNCTION retrieval.vector_of(body text) RETURNS public.vector
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
BEGIN
    RETURN body::vector;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;

CREATE TABLE retrieval.attached_changes (
    change_id bigint NOT NULL,
    attachment_id bigint NOT NULL,
    item_keys text[],
    noted_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000');

ALTER TABLE retrieval.attached_changes ALTER COLUMN change_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.attached_changes_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.attached_problems (
    attachment_id bigint NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    part smallint NOT NULL,
    problem text NOT NULL,
    noted_at timestamp with time zone DEFAULT now() NOT NULL,
    hides boolean DEFAULT false NOT NULL
);

CREATE TABLE retrieval.attached_tables (
    attachment_id bigint NOT NULL,
    collection_id bigint NOT NULL,
    relation text NOT NULL,
    binding jsonb NOT NULL,
    state text DEFAULT 'requested'::text NOT NULL,
    error text DEFAULT ''::text NOT NULL,
    tried_at timestamp with time zone,
    backfilled_key text,
    swept_item_id text,
    sweeps boolean DEFAULT false NOT NULL,
    rows_done bigint DEFAULT 0 NOT NULL,
    rows_total bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT attached_tables_state_check CHECK ((state = ANY (ARRAY['requested'::text, 'backfilling'::text, 'following'::text, 'failed'::text])))
);

ALTER TABLE retrieval.attached_tables ALTER COLUMN attachment_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.attached_tables_attachment_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.bandit_arms (
    collection_id bigint NOT NULL,
    context_hash text NOT NULL COLLATE pg_catalog."C",
    strategy text NOT NULL COLLATE pg_catalog."C",
    alpha double precision DEFAULT 1 NOT NULL,
    beta double precision DEFAULT 1 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT bandit_arms_alpha_check CHECK ((alpha > (0)::double precision)),
    CONSTRAINT bandit_arms_beta_check CHECK ((beta > (0)::double precision))
);

CREATE TABLE retrieval.bandit_decisions (
    decision_id uuid NOT NULL,
    collection_id bigint NOT NULL,
    context_hash text NOT NULL COLLATE pg_catalog."C",
    strategy text NOT NULL COLLATE pg_catalog."C",
    propensity double precision NOT NULL,
    user_id text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    decided_at timestamp with time zone NOT NULL,
    reward double precision,
    rewarded_at timestamp with time zone,
    CONSTRAINT bandit_decisions_check CHECK (((reward IS NULL) = (rewarded_at IS NULL))),
    CONSTRAINT bandit_decisions_propensity_check CHECK (((propensity >= (0)::double precision) AND (propensity <= (1)::double precision))),
    CONSTRAINT bandit_decisions_reward_check CHECK (((reward >= (0)::double precision) AND (reward <= (1)::double precision)))
);

CREATE TABLE retrieval.change_log (
    "position" bigint NOT NULL,
    transaction_id xid8 DEFAULT pg_current_xact_id() NOT NULL,
    collection_id bigint NOT NULL,
    item_ids text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    catalogue boolean DEFAULT false NOT NULL
);

ALTER TABLE retrieval.change_log ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.change_log_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.collection_engagement (
    collection_id bigint NOT NULL,
    newest_event_at timestamp with time zone NOT NULL,
    folded bigint DEFAULT 1 NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE retrieval.collections (
    collection_id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    metric text NOT NULL,
    attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
    visibility_mode text NOT NULL,
    popular_min_rating_value double precision NOT NULL,
    popular_min_rating_count bigint NOT NULL,
    rating_scale_max double precision NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    event_types jsonb DEFAULT '{}'::jsonb NOT NULL,
    text_language text DEFAULT 'simple'::text NOT NULL,
    CONSTRAINT collections_metric_check CHECK ((metric = ANY (ARRAY['cosine'::text, 'inner_product'::text, 'l2'::text]))),
    CONSTRAINT collections_rating_scale_max_check CHECK ((rating_scale_max > (0)::double precision)),
    CONSTRAINT collections_visibility_mode_check CHECK ((visibility_mode = ANY (ARRAY['public_by_default'::text, 'private_by_default'::text])))
);

ALTER TABLE retrieval.collections ALTER COLUMN collection_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.collections_collection_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.embedding_versions (
    version_id bigint NOT NULL,
    collection_id bigint NOT NULL,
    version integer NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL,
    resolutions integer[] DEFAULT '{}'::integer[] NOT NULL,
    state text NOT NULL,
    max_chunks integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    activated_at timestamp with time zone,
    embeds_text boolean DEFAULT false NOT NULL,
    backfill_after text COLLATE pg_catalog."C",
    has_places boolean DEFAULT false NOT NULL,
    chunk_characters integer DEFAULT 0 NOT NULL,
    CONSTRAINT embedding_versions_dimension_check CHECK (((dimension >= 1) AND (dimension <= 4000))),
    CONSTRAINT embedding_versions_state_check CHECK ((state = ANY (ARRAY['building'::text, 'active'::text, 'retired'::text])))
);

ALTER TABLE retrieval.embedding_versions ALTER COLUMN version_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.embedding_versions_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.embeddings (
    version_id bigint NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    chunk_index smallint NOT NULL,
    embedding public.halfvec NOT NULL,
    owner_id text NOT NULL,
    visibility text NOT NULL,
    audience text[] NOT NULL,
    status text NOT NULL,
    listed boolean GENERATED ALWAYS AS (((visibility = 'public'::text) AND (status = 'approved'::text))) STORED NOT NULL,
    rating_value double precision,
    rating_count bigint NOT NULL,
    tags text[] NOT NULL,
    attributes jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    text_start integer,
    text_end integer,
    start_ms bigint,
    end_ms bigint,
    chunk_text text
)
PARTITION BY LIST (version_id);
ALTER TABLE ONLY retrieval.embeddings ALTER COLUMN embedding SET STORAGE MAIN;

CREATE TABLE retrieval.event_batches (
    "position" bigint NOT NULL,
    collection_id bigint NOT NULL,
    item_ids text[] NOT NULL,
    hours timestamp with time zone[] NOT NULL,
    views integer[] NOT NULL,
    reposts integer[] NOT NULL,
    engagement double precision[] NOT NULL,
    newest_event_at timestamp with time zone NOT NULL
);

ALTER TABLE retrieval.event_batches ALTER COLUMN "position" ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.event_batches_position_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.events (
    collection_id bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    occurred_at timestamp with time zone NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    event_id text NOT NULL COLLATE pg_catalog."C",
    event_type text NOT NULL,
    value double precision,
    dwell_ms bigint,
    "position" integer,
    predicted_score double precision,
    algorithm text DEFAULT ''::text NOT NULL,
    device text DEFAULT ''::text NOT NULL,
    context jsonb,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL
)
PARTITION BY RANGE (occurred_at);

CREATE TABLE retrieval.index_builds (
    name text NOT NULL,
    version_id bigint NOT NULL,
    kind text NOT NULL,
    dimension integer DEFAULT 0 NOT NULL,
    attribute text DEFAULT ''::text NOT NULL,
    m integer DEFAULT 0 NOT NULL,
    ef_construction integer DEFAULT 0 NOT NULL,
    lists integer DEFAULT 0 NOT NULL,
    state text NOT NULL,
    rebuild boolean DEFAULT false NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    error text DEFAULT ''::text NOT NULL,
    build_ms bigint DEFAULT 0 NOT NULL,
    queued_at timestamp with time zone DEFAULT now() NOT NULL,
    built_rows bigint,
    built_churn bigint DEFAULT 0 NOT NULL,
    lists_given boolean DEFAULT false NOT NULL,
    CONSTRAINT index_builds_kind_check CHECK ((kind = ANY (ARRAY['hnsw'::text, 'ivfflat'::text, 'popular_hnsw'::text, 'attribute'::text]))),
    CONSTRAINT index_builds_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'building'::text, 'ready'::text, 'failed'::text])))
);

CREATE TABLE retrieval.item_counts (
    collection_id bigint NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    view_count bigint NOT NULL,
    repost_count bigint NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE retrieval.item_engagement (
    collection_id bigint NOT NULL,
    hour timestamp with time zone NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    views bigint NOT NULL,
    reposts bigint NOT NULL,
    engagement double precision NOT NULL
)
WITH (fillfactor='70');

CREATE TABLE retrieval.items (
    collection_id bigint NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    owner_id text DEFAULT ''::text NOT NULL,
    visibility text NOT NULL,
    audience text[] DEFAULT '{}'::text[] NOT NULL,
    status text NOT NULL,
    listed boolean GENERATED ALWAYS AS (((visibility = 'public'::text) AND (status = 'approved'::text))) STORED NOT NULL,
    rating_value double precision,
    rating_count bigint DEFAULT 0 NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    text text DEFAULT ''::text NOT NULL,
    attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
    payload jsonb,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    text_language text DEFAULT 'simple'::text NOT NULL,
    text_search tsvector GENERATED ALWAYS AS (retrieval.text_vector(text_language, text)) STORED NOT NULL,
    attachment_id bigint,
    CONSTRAINT items_status_check CHECK ((status = ANY (ARRAY['approved'::text, 'pending'::text, 'rejected'::text, 'flagged'::text]))),
    CONSTRAINT items_visibility_check CHECK ((visibility = ANY (ARRAY['public'::text, 'groups'::text, 'private'::text])))
);

CREATE TABLE retrieval.maintenance_jobs (
    name text NOT NULL COLLATE pg_catalog."C",
    next_run_at timestamp with time zone NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    last_success_at timestamp with time zone
);

CREATE TABLE retrieval.maintenance_runs (
    job text NOT NULL COLLATE pg_catalog."C",
    run_id bigint NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    outcome text DEFAULT 'running'::text NOT NULL,
    affected bigint DEFAULT 0 NOT NULL,
    detail text DEFAULT ''::text NOT NULL,
    error text DEFAULT ''::text NOT NULL,
    CONSTRAINT maintenance_runs_outcome_check CHECK ((outcome = ANY (ARRAY['running'::text, 'succeeded'::text, 'failed'::text, 'interrupted'::text])))
);

ALTER TABLE retrieval.maintenance_runs ALTER COLUMN run_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.maintenance_runs_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.migrations (
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE retrieval.model_artifacts (
    model_version_id bigint NOT NULL,
    part integer NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE ONLY retrieval.model_artifacts ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE retrieval.model_versions (
    model_version_id bigint NOT NULL,
    collection_id bigint NOT NULL,
    model_type text NOT NULL,
    version text NOT NULL,
    metrics jsonb DEFAULT '{}'::jsonb NOT NULL,
    active boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    parameters jsonb DEFAULT '{}'::jsonb NOT NULL,
    artifact_uri text DEFAULT ''::text NOT NULL,
    training_run_ids text[] DEFAULT '{}'::text[] NOT NULL,
    activation integer,
    activated_at timestamp with time zone
);

ALTER TABLE retrieval.model_versions ALTER COLUMN model_version_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME retrieval.model_versions_model_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.owner_edges (
    collection_id bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    owner_id text NOT NULL COLLATE pg_catalog."C",
    since timestamp with time zone NOT NULL,
    CONSTRAINT owner_edges_kind_check CHECK ((kind = ANY (ARRAY['follow'::text, 'block'::text, 'mute'::text])))
);

CREATE TABLE retrieval.pgqueuer (
    id bigint NOT NULL,
    priority integer NOT NULL,
    queue_manager_id uuid,
    created timestamp with time zone DEFAULT now() NOT NULL,
    updated timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat timestamp with time zone DEFAULT now() NOT NULL,
    execute_after timestamp with time zone DEFAULT now() NOT NULL,
    status retrieval.pgqueuer_status NOT NULL,
    entrypoint text NOT NULL,
    dedupe_key text,
    payload bytea,
    headers jsonb,
    attempts integer DEFAULT 0 NOT NULL,
    slot bigint
);

CREATE SEQUENCE retrieval.pgqueuer_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE retrieval.pgqueuer_id_seq OWNED BY retrieval.pgqueuer.id;

CREATE TABLE retrieval.pgqueuer_log (
    id bigint NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    job_id bigint NOT NULL,
    status retrieval.pgqueuer_status NOT NULL,
    priority integer NOT NULL,
    entrypoint text NOT NULL,
    traceback jsonb,
    aggregated boolean DEFAULT false
);

ALTER TABLE retrieval.pgqueuer_log ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME retrieval.pgqueuer_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE retrieval.pgqueuer_schedules (
    id bigint NOT NULL,
    expression text NOT NULL,
    entrypoint text NOT NULL,
    heartbeat timestamp with time zone DEFAULT now() NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    updated timestamp with time zone DEFAULT now() NOT NULL,
    next_run timestamp with time zone DEFAULT now() NOT NULL,
    last_run timestamp with time zone,
    status retrieval.pgqueuer_status DEFAULT 'queued'::retrieval.pgqueuer_status
);

CREATE SEQUENCE retrieval.pgqueuer_schedules_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE retrieval.pgqueuer_schedules_id_seq OWNED BY retrieval.pgqueuer_schedules.id;

CREATE TABLE retrieval.pgqueuer_statistics (
    id bigint NOT NULL,
    created timestamp with time zone DEFAULT date_trunc('sec'::text, now()) NOT NULL,
    count bigint NOT NULL,
    priority integer NOT NULL,
    status retrieval.pgqueuer_status NOT NULL,
    entrypoint text NOT NULL
);

CREATE SEQUENCE retrieval.pgqueuer_statistics_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER SEQUENCE retrieval.pgqueuer_statistics_id_seq OWNED BY retrieval.pgqueuer_statistics.id;

CREATE TABLE retrieval.projections (
    version_id bigint NOT NULL,
    input_dimension integer NOT NULL,
    weights bytea NOT NULL,
    bias bytea,
    CONSTRAINT projections_input_dimension_check CHECK (((input_dimension >= 1) AND (input_dimension <= 4096)))
);
ALTER TABLE ONLY retrieval.projections ALTER COLUMN weights SET STORAGE EXTERNAL;

CREATE TABLE retrieval.relationships (
    collection_id bigint NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    related_item_id text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    weight double precision DEFAULT 1 NOT NULL,
    confidence double precision DEFAULT 1 NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    strength double precision GENERATED ALWAYS AS ((weight * confidence)) STORED NOT NULL,
    CONSTRAINT relationships_check CHECK ((item_id <> related_item_id))
);

CREATE TABLE retrieval.requests (
    collection_id bigint NOT NULL,
    request_id text NOT NULL COLLATE pg_catalog."C",
    fingerprint bytea NOT NULL,
    affected integer NOT NULL,
    transaction_id xid8 DEFAULT pg_current_xact_id() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE retrieval.service_state (
    one_row boolean DEFAULT true NOT NULL,
    identity uuid DEFAULT gen_random_uuid() NOT NULL,
    log_begins xid8 DEFAULT '0'::xid8 NOT NULL,
    CONSTRAINT service_state_one_row_check CHECK (one_row)
);

CREATE TABLE retrieval.training_pairs (
    collection_id bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    item_id text NOT NULL COLLATE pg_catalog."C",
    interaction_at timestamp with time zone NOT NULL,
    model_version text DEFAULT ''::text NOT NULL,
    label boolean NOT NULL,
    event_type text DEFAULT ''::text NOT NULL,
    user_snapshot jsonb DEFAULT '{}'::jsonb NOT NULL,
    item_snapshot jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    run_id text DEFAULT ''::text NOT NULL,
    value double precision,
    dwell_ms bigint,
    embedding_version integer DEFAULT 0 NOT NULL,
    embedding public.halfvec
);

CREATE TABLE retrieval.training_runs (
    collection_id bigint NOT NULL,
    run_id text NOT NULL COLLATE pg_catalog."C",
    model_version text NOT NULL,
    fingerprint bytea NOT NULL,
    last_user_id text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    complete boolean DEFAULT false NOT NULL,
    positives bigint DEFAULT 0 NOT NULL,
    negatives bigint DEFAULT 0 NOT NULL,
    skipped bigint DEFAULT 0 NOT NULL,
    users bigint DEFAULT 0 NOT NULL,
    truncated bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE retrieval.trending_items (
    collection_id bigint NOT NULL,
    window_s integer NOT NULL,
    item_ids text[] NOT NULL,
    scores double precision[] NOT NULL,
    folded bigint NOT NULL,
    refreshed_at timestamp with time zone NOT NULL
);

CREATE TABLE retrieval.user_profiles (
    version_id bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    interest smallint NOT NULL,
    embedding public.halfvec NOT NULL,
    weight real NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    medoid_item_id text DEFAULT ''::text NOT NULL
);

CREATE TABLE retrieval.user_vectors (
    version_id bigint NOT NULL,
    user_id text NOT NULL COLLATE pg_catalog."C",
    embedding public.halfvec NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY retrieval.pgqueuer ALTER COLUMN id SET DEFAULT nextval('retrieval.pgqueuer_id_seq'::regclass);

ALTER TABLE ONLY retrieval.pgqueuer_schedules ALTER COLUMN id SET DEFAULT nextval('retrieval.pgqueuer_schedules_id_seq'::regclass);

ALTER TABLE ONLY retrieval.pgqueuer_statistics ALTER COLUMN id SET DEFAULT nextval('retrieval.pgqueuer_statistics_id_seq'::regclass);

ALTER TABLE ONLY retrieval.attached_changes
    ADD CONSTRAINT attached_changes_pkey PRIMARY KEY (change_id);

ALTER TABLE ONLY retrieval.attached_problems
    ADD CONSTRAINT attached_problems_pkey PRIMARY KEY (attachment_id, item_id, part);

ALTER TABLE ONLY retrieval.attached_tables
    ADD CONSTRAINT attached_tables_collection_id_relation_key UNIQUE (collection_id, relation);

ALTER TABLE ONLY retrieval.attached_tables
    ADD CONSTRAINT attached_tables_pkey PRIMARY KEY (attachment_id);

ALTER TABLE ONLY retrieval.bandit_arms
    ADD CONSTRAINT bandit_arms_pkey PRIMARY KEY (collection_id, context_hash, strategy);

ALTER TABLE ONLY retrieval.bandit_decisions
    ADD CONSTRAINT bandit_decisions_pkey PRIMARY KEY (decision_id);

ALTER TABLE ONLY retrieval.change_log
    ADD CONSTRAINT change_log_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY retrieval.collection_engagement
    ADD CONSTRAINT collection_engagement_pkey PRIMARY KEY (collection_id);

ALTER TABLE ONLY retrieval.collections
    ADD CONSTRAINT collections_name_key UNIQUE (name);

ALTER TABLE ONLY retrieval.collections
    ADD CONSTRAINT collections_pkey PRIMARY KEY (collection_id);

ALTER TABLE ONLY retrieval.embedding_versions
    ADD CONSTRAINT embedding_versions_collection_id_version_key UNIQUE (collection_id, version);

ALTER TABLE ONLY retrieval.embedding_versions
    ADD CONSTRAINT embedding_versions_pkey PRIMARY KEY (version_id);

ALTER TABLE ONLY retrieval.embeddings
    ADD CONSTRAINT embeddings_pkey PRIMARY KEY (version_id, item_id, chunk_index);

ALTER TABLE ONLY retrieval.event_batches
    ADD CONSTRAINT event_batches_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY retrieval.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (collection_id, user_id, occurred_at, item_id, event_id);

ALTER TABLE ONLY retrieval.index_builds
    ADD CONSTRAINT index_builds_pkey PRIMARY KEY (name);

ALTER TABLE ONLY retrieval.item_counts
    ADD CONSTRAINT item_counts_pkey PRIMARY KEY (collection_id, item_id);

ALTER TABLE ONLY retrieval.item_engagement
    ADD CONSTRAINT item_engagement_pkey PRIMARY KEY (collection_id, hour, item_id);

ALTER TABLE ONLY retrieval.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (collection_id, item_id);

ALTER TABLE ONLY retrieval.maintenance_jobs
    ADD CONSTRAINT maintenance_jobs_pkey PRIMARY KEY (name);

ALTER TABLE ONLY retrieval.maintenance_runs
    ADD CONSTRAINT maintenance_runs_pkey PRIMARY KEY (job, run_id);

ALTER TABLE ONLY retrieval.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (number);

ALTER TABLE ONLY retrieval.model_artifacts
    ADD CONSTRAINT model_artifacts_pkey PRIMARY KEY (model_version_id, part);

ALTER TABLE ONLY retrieval.model_versions
    ADD CONSTRAINT model_versions_collection_id_model_type_version_key UNIQUE (collection_id, model_type, version);

ALTER TABLE ONLY retrieval.model_versions
    ADD CONSTRAINT model_versions_pkey PRIMARY KEY (model_version_id);

ALTER TABLE ONLY retrieval.owner_edges
    ADD CONSTRAINT owner_edges_pkey PRIMARY KEY (collection_id, user_id, kind, owner_id);

ALTER TABLE ONLY retrieval.pgqueuer_log
    ADD CONSTRAINT pgqueuer_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY retrieval.pgqueuer
    ADD CONSTRAINT pgqueuer_pkey PRIMARY KEY (id);

ALTER TABLE ONLY retrieval.pgqueuer_schedules
    ADD CONSTRAINT pgqueuer_schedules_expression_entrypoint_key UNIQUE (expression, entrypoint);

ALTER TABLE ONLY retrieval.pgqueuer_schedules
    ADD CONSTRAINT pgqueuer_schedules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY retrieval.pgqueuer_statistics
    ADD CONSTRAINT pgqueuer_statistics_pkey PRIMARY KEY (id);

ALTER TABLE ONLY retrieval.projections
    ADD CONSTRAINT projections_pkey PRIMARY KEY (version_id);

ALTER TABLE retrieval.relationships
    ADD CONSTRAINT relationships_confidence_check CHECK (((confidence >= (0)::double precision) AND (confidence <= (1)::double precision))) NOT VALID;

ALTER TABLE ONLY retrieval.relationships
    ADD CONSTRAINT relationships_pkey PRIMARY KEY (collection_id, item_id, kind, related_item_id);

ALTER TABLE retrieval.relationships
    ADD CONSTRAINT relationships_weight_check CHECK (((weight > (0)::double precision) AND (weight <= (1)::double precision))) NOT VALID;

ALTER TABLE ONLY retrieval.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (collection_id, request_id);

ALTER TABLE ONLY retrieval.service_state
    ADD CONSTRAINT service_state_pkey PRIMARY KEY (one_row);

ALTER TABLE ONLY retrieval.training_pairs
    ADD CONSTRAINT training_pairs_pkey PRIMARY KEY (collection_id, user_id, item_id, interaction_at, model_version);

ALTER TABLE ONLY retrieval.training_runs
    ADD CONSTRAINT training_runs_pkey PRIMARY KEY (collection_id, run_id);

ALTER TABLE ONLY retrieval.trending_items
    ADD CONSTRAINT trending_items_pkey PRIMARY KEY (collection_id, window_s);

ALTER TABLE ONLY retrieval.user_profiles
    ADD CONSTRAINT user_profiles_pkey PRIMARY KEY (version_id, user_id, interest);

ALTER TABLE ONLY retrieval.user_vectors
    ADD CONSTRAINT user_vectors_pkey PRIMARY KEY (version_id, user_id);

CREATE INDEX attached_problems_hiding ON retrieval.attached_problems USING btree (attachment_id, noted_at) WHERE hides;

CREATE INDEX bandit_decisions_by_time ON retrieval.bandit_decisions USING btree (decided_at);

CREATE INDEX bandit_decisions_by_user ON retrieval.bandit_decisions USING btree (collection_id, user_id);

CREATE INDEX change_log_by_transaction ON retrieval.change_log USING btree (transaction_id, "position");

CREATE INDEX embedding_jobs_dead_by_key ON retrieval.pgqueuer USING btree (dedupe_key) WHERE (status = 'failed'::retrieval.pgqueuer_status);

CREATE INDEX embedding_jobs_dead_by_version ON retrieval.pgqueuer USING btree (entrypoint, id) WHERE (status = 'failed'::retrieval.pgqueuer_status);

CREATE UNIQUE INDEX embedding_versions_one_active ON retrieval.embedding_versions USING btree (collection_id) WHERE (state = 'active'::text);

CREATE INDEX events_by_item ON ONLY retrieval.events USING btree (collection_id, item_id, occurred_at) INCLUDE (event_type, value);

CREATE INDEX items_by_owner ON retrieval.items USING btree (collection_id, owner_id, created_at DESC, item_id) WHERE listed;

CREATE INDEX items_by_popularity ON retrieval.items USING btree (collection_id, rating_count DESC, rating_value DESC NULLS LAST, item_id);

CREATE INDEX items_by_time ON retrieval.items USING btree (collection_id, created_at DESC, item_id) WHERE listed;

CREATE INDEX items_text_search ON retrieval.items USING gin (text_search) WITH (gin_pending_list_limit='512');

CREATE UNIQUE INDEX model_versions_one_active ON retrieval.model_versions USING btree (collection_id, model_type) WHERE active;

CREATE INDEX pgqueuer_ep_ea_idx ON retrieval.pgqueuer USING btree (entrypoint, execute_after) WHERE (status = 'queued'::retrieval.pgqueuer_status);

CREATE INDEX pgqueuer_ep_prio_id_idx ON retrieval.pgqueuer USING btree (entrypoint, priority DESC, id) WHERE (status = 'queued'::retrieval.pgqueuer_status);

CREATE INDEX pgqueuer_log_created ON retrieval.pgqueuer_log USING btree (created);

CREATE INDEX pgqueuer_log_job_id_status ON retrieval.pgqueuer_log USING btree (job_id, created DESC);

CREATE INDEX pgqueuer_log_not_aggregated ON retrieval.pgqueuer_log USING btree ((1)) WHERE (NOT aggregated);

CREATE INDEX pgqueuer_log_status ON retrieval.pgqueuer_log USING btree (status);

CREATE INDEX pgqueuer_picked_heartbeat_idx ON retrieval.pgqueuer USING btree (heartbeat) WHERE (status = 'picked'::retrieval.pgqueuer_status);

CREATE UNIQUE INDEX pgqueuer_picked_slot_idx ON retrieval.pgqueuer USING btree (entrypoint, slot) WHERE ((status = 'picked'::retrieval.pgqueuer_status) AND (slot IS NOT NULL));

CREATE INDEX pgqueuer_priority_id_id1_idx ON retrieval.pgqueuer USING btree (priority, id DESC) INCLUDE (id) WHERE (status = 'queued'::retrieval.pgqueuer_status);

CREATE INDEX pgqueuer_queue_manager_id_idx ON retrieval.pgqueuer USING btree (queue_manager_id) WHERE (queue_manager_id IS NOT NULL);

CREATE UNIQUE INDEX pgqueuer_statistics_unique_count ON retrieval.pgqueuer_statistics USING btree (priority, date_trunc('sec'::text, timezone('UTC'::text, created)), status, entrypoint);

CREATE UNIQUE INDEX pgqueuer_unique_dedupe_key ON retrieval.pgqueuer USING btree (dedupe_key) WHERE ((status = ANY (ARRAY['queued'::retrieval.pgqueuer_status, 'picked'::retrieval.pgqueuer_status])) AND (dedupe_key IS NOT NULL));

CREATE INDEX pgqueuer_updated_id_id1_idx ON retrieval.pgqueuer USING btree (updated, id DESC) INCLUDE (id) WHERE (status = 'picked'::retrieval.pgqueuer_status);

CREATE INDEX relationships_incoming ON retrieval.relationships USING btree (collection_id, related_item_id, strength DESC, item_id, kind) INCLUDE (confidence);

CREATE INDEX relationships_outgoing ON retrieval.relationships USING btree (collection_id, item_id, strength DESC, related_item_id, kind) INCLUDE (confidence);

CREATE INDEX training_pairs_by_model ON retrieval.training_pairs USING btree (collection_id, model_version, user_id, item_id, interaction_at);

CREATE INDEX training_pairs_by_run ON retrieval.training_pairs USING btree (collection_id, run_id, created_at);

CREATE TRIGGER drop_followers BEFORE DELETE ON retrieval.attached_tables FOR EACH ROW EXECUTE FUNCTION retrieval.drop_followers();

CREATE TRIGGER tg_pgqueuer_changed AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON retrieval.pgqueuer FOR EACH STATEMENT EXECUTE FUNCTION retrieval.fn_pgqueuer_changed();

ALTER TABLE ONLY retrieval.attached_problems
    ADD CONSTRAINT attached_problems_attachment_id_fkey FOREIGN KEY (attachment_id) REFERENCES retrieval.attached_tables(attachment_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.attached_tables
    ADD CONSTRAINT attached_tables_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.bandit_arms
    ADD CONSTRAINT bandit_arms_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.bandit_decisions
    ADD CONSTRAINT bandit_decisions_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.collection_engagement
    ADD CONSTRAINT collection_engagement_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.embedding_versions
    ADD CONSTRAINT embedding_versions_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.index_builds
    ADD CONSTRAINT index_builds_version_id_fkey FOREIGN KEY (version_id) REFERENCES retrieval.embedding_versions(version_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.maintenance_runs
    ADD CONSTRAINT maintenance_runs_job_fkey FOREIGN KEY (job) REFERENCES retrieval.maintenance_jobs(name) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.model_artifacts
    ADD CONSTRAINT model_artifacts_model_version_id_fkey FOREIGN KEY (model_version_id) REFERENCES retrieval.model_versions(model_version_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.model_versions
    ADD CONSTRAINT model_versions_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.projections
    ADD CONSTRAINT projections_version_id_fkey FOREIGN KEY (version_id) REFERENCES retrieval.embedding_versions(version_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.training_runs
    ADD CONSTRAINT training_runs_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.trending_items
    ADD CONSTRAINT trending_items_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES retrieval.collections(collection_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.user_profiles
    ADD CONSTRAINT user_profiles_version_id_fkey FOREIGN KEY (version_id) REFERENCES retrieval.embedding_versions(version_id) ON DELETE CASCADE;

ALTER TABLE ONLY retrieval.user_vectors
    ADD CONSTRAINT user_vectors_version_id_fkey FOREIGN KEY (version_id) REFERENCES retrieval.embedding_versions(version_id) ON DELETE CASCADE;

ALTER TABLE retrieval.embeddings ENABLE ROW LEVEL SECURITY;

ALTER TABLE retrieval.items ENABLE ROW LEVEL SECURITY;

CREATE POLICY visible ON retrieval.embeddings FOR SELECT USING ((listed OR ((owner_id <> ''::text) AND (owner_id = ( SELECT current_setting('retrieval.viewer_id'::text, true) AS current_setting))) OR ((visibility = 'groups'::text) AND (status = 'approved'::text) AND (audience && ( SELECT (NULLIF(current_setting('retrieval.group_ids'::text, true), ''::text))::text[] AS "nullif")))));

CREATE POLICY visible ON retrieval.items FOR SELECT USING ((listed OR ((owner_id <> ''::text) AND (owner_id = ( SELECT current_setting('retrieval.viewer_id'::text, true) AS current_setting))) OR ((visibility = 'groups'::text) AND (status = 'approved'::text) AND (audience && ( SELECT (NULLIF(current_setting('retrieval.group_ids'::text, true), ''::text))::text[] AS "nullif")))));
