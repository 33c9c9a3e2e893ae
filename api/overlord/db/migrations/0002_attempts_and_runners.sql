-- What this Overlord remembers beyond Druid's tables.

-- One run of a task by a runner, from its submission on. A task that is not finished has exactly one open attempt.
--   WAITING   its locks are not granted yet
--   PENDING   locks granted (or none needed); no slot yet
--   ASSIGNED  a runner's slot is taken; the runner has not said that it started it
--   STARTING  the runner is starting the peon
--   RUNNING   the peon's process or container has started
--   LOST      void: nobody waits for it any more, but its peon may still live
--   ENDED     the peon is gone, or never came to be
CREATE TABLE nemeton_attempts (
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    data_source TEXT NOT NULL,
    group_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING', 'LOST', 'ENDED')),
    lock_type TEXT,                         -- with lock_intervals: what must be held before the release
    lock_intervals TEXT,                    -- `start/end`, joined by commas
    submitted_ms BIGINT NOT NULL,
    released_ms BIGINT,
    runner_id TEXT,
    token_sha256 BYTEA,
    assigned_ms BIGINT,
    told_ms BIGINT,                         -- when the runner last got an order about it
    reported_ms BIGINT,                     -- when the runner last reported it
    started_ms BIGINT,
    ended_ms BIGINT,
    host TEXT,
    port INTEGER NOT NULL DEFAULT -1,
    tls_port INTEGER NOT NULL DEFAULT -1,
    k8s_pod_name TEXT,
    stop BOOLEAN NOT NULL DEFAULT FALSE,    -- the runner shall end the peon
    reason TEXT,                            -- how it ended, in words
    PRIMARY KEY (task_id, attempt)
);
CREATE UNIQUE INDEX nemeton_attempts_one_open ON nemeton_attempts (task_id)
    WHERE state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING');
CREATE INDEX nemeton_attempts_waiting ON nemeton_attempts (priority DESC, submitted_ms, task_id) WHERE state = 'WAITING';
CREATE INDEX nemeton_attempts_pending ON nemeton_attempts (priority DESC, submitted_ms, task_id) WHERE state = 'PENDING';
CREATE INDEX nemeton_attempts_of_runner ON nemeton_attempts (runner_id)
    WHERE state IN ('ASSIGNED', 'STARTING', 'RUNNING');
CREATE UNIQUE INDEX nemeton_attempts_token ON nemeton_attempts (token_sha256) WHERE token_sha256 IS NOT NULL;

CREATE TABLE nemeton_runners (
    runner_id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    capacity INTEGER NOT NULL,
    enabled BOOLEAN NOT NULL,               -- the runner's own word
    disabled_here BOOLEAN NOT NULL DEFAULT FALSE,   -- POST /druid/indexer/v1/worker/{host}/disable
    announcement JSONB NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    last_completed_ms BIGINT
);

-- What a task published: an answer to `which segments did this task write?` that Druid no longer gives.
CREATE TABLE nemeton_task_segments (
    task_id TEXT NOT NULL,
    segment_id TEXT NOT NULL,
    PRIMARY KEY (task_id, segment_id)
);

CREATE TABLE nemeton_secrets (
    name TEXT PRIMARY KEY,
    secret BYTEA NOT NULL
);
