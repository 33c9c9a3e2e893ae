-- The metadata tables of Apache Druid 37, as its PostgreSQL connector makes them: unquoted names (folded to lower
-- case), payloads as BYTEA (UTF-8 JSON), dates as ISO texts. A database that Druid made is taken over as it is.

CREATE TABLE IF NOT EXISTS druid_tasks (
    id VARCHAR(255) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    datasource VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    status_payload BYTEA NOT NULL,
    active BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (id)
);
ALTER TABLE druid_tasks ADD COLUMN IF NOT EXISTS type VARCHAR(255);
ALTER TABLE druid_tasks ADD COLUMN IF NOT EXISTS group_id VARCHAR(255);
CREATE INDEX IF NOT EXISTS idx_druid_tasks_active_created_date ON druid_tasks (active, created_date);
CREATE INDEX IF NOT EXISTS idx_druid_tasks_datasource_active ON druid_tasks (datasource, active);

CREATE TABLE IF NOT EXISTS druid_tasklocks (
    id BIGSERIAL NOT NULL,
    task_id VARCHAR(255) DEFAULT NULL,
    lock_payload BYTEA,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_druid_tasklocks_task_id ON druid_tasklocks (task_id);

CREATE TABLE IF NOT EXISTS druid_segments (
    id VARCHAR(255) NOT NULL,
    datasource VARCHAR(255) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    start VARCHAR(255) NOT NULL,
    "end" VARCHAR(255) NOT NULL,
    partitioned BOOLEAN NOT NULL,
    version VARCHAR(255) NOT NULL,
    used BOOLEAN NOT NULL,
    payload BYTEA NOT NULL,
    used_status_last_updated VARCHAR(255) NOT NULL,
    PRIMARY KEY (id)
);
ALTER TABLE druid_segments ADD COLUMN IF NOT EXISTS indexing_state_fingerprint VARCHAR(255);
ALTER TABLE druid_segments ADD COLUMN IF NOT EXISTS upgraded_from_segment_id VARCHAR(255);
CREATE INDEX IF NOT EXISTS idx_druid_segments_used ON druid_segments (used);
CREATE INDEX IF NOT EXISTS idx_druid_segments_datasource_used_end_start
    ON druid_segments (datasource, used, "end", start);
CREATE INDEX IF NOT EXISTS idx_druid_segments_datasource_upgraded_from_segment_id
    ON druid_segments (datasource, upgraded_from_segment_id);

CREATE TABLE IF NOT EXISTS druid_pendingsegments (
    id VARCHAR(255) NOT NULL,
    datasource VARCHAR(255) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    start VARCHAR(255) NOT NULL,
    "end" VARCHAR(255) NOT NULL,
    sequence_name VARCHAR(255) NOT NULL,
    sequence_prev_id VARCHAR(255) NOT NULL,
    sequence_name_prev_id_sha1 VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (sequence_name_prev_id_sha1)
);
ALTER TABLE druid_pendingsegments ADD COLUMN IF NOT EXISTS upgraded_from_segment_id VARCHAR(255);
ALTER TABLE druid_pendingsegments ADD COLUMN IF NOT EXISTS task_allocator_id VARCHAR(255);
CREATE INDEX IF NOT EXISTS idx_druid_pendingsegments_datasource_end ON druid_pendingsegments (datasource, "end");
CREATE INDEX IF NOT EXISTS idx_druid_pendingsegments_datasource_sequence_name
    ON druid_pendingsegments (datasource, sequence_name);
CREATE INDEX IF NOT EXISTS idx_druid_pendingsegments_datasource_task_allocator_id
    ON druid_pendingsegments (datasource, task_allocator_id);

CREATE TABLE IF NOT EXISTS druid_upgradesegments (
    id BIGSERIAL NOT NULL,
    task_id VARCHAR(255) NOT NULL,
    segment_id VARCHAR(255) NOT NULL,
    lock_version VARCHAR(255) NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_druid_upgradesegments_task_id ON druid_upgradesegments (task_id);

-- `datasource` holds the id of a supervisor
CREATE TABLE IF NOT EXISTS druid_datasource (
    datasource VARCHAR(255) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    commit_metadata_payload BYTEA NOT NULL,
    commit_metadata_sha1 VARCHAR(255) NOT NULL,
    PRIMARY KEY (datasource)
);

CREATE TABLE IF NOT EXISTS druid_supervisors (
    id BIGSERIAL NOT NULL,
    spec_id VARCHAR(255) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_druid_supervisors_spec_id ON druid_supervisors (spec_id);

CREATE TABLE IF NOT EXISTS druid_config (
    name VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS druid_rules (
    id VARCHAR(255) NOT NULL,
    datasource VARCHAR(255) NOT NULL,
    version VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_druid_rules_datasource ON druid_rules (datasource);

CREATE TABLE IF NOT EXISTS druid_audit (
    id BIGSERIAL NOT NULL,
    audit_key VARCHAR(255) NOT NULL,
    type VARCHAR(255) NOT NULL,
    author VARCHAR(255) NOT NULL,
    comment VARCHAR(2048) NOT NULL,
    created_date VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS idx_druid_audit_key_time ON druid_audit (audit_key, created_date);
CREATE INDEX IF NOT EXISTS idx_druid_audit_type_time ON druid_audit (type, created_date);
CREATE INDEX IF NOT EXISTS idx_druid_audit_audit_time ON druid_audit (created_date);

CREATE TABLE IF NOT EXISTS druid_indexingstates (
    created_date VARCHAR(255) NOT NULL,
    datasource VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(255) NOT NULL,
    payload BYTEA NOT NULL,
    used BOOLEAN NOT NULL,
    pending BOOLEAN NOT NULL,
    used_status_last_updated VARCHAR(255) NOT NULL,
    PRIMARY KEY (fingerprint)
);
CREATE INDEX IF NOT EXISTS idx_druid_indexingstates_used
    ON druid_indexingstates (used, used_status_last_updated);
