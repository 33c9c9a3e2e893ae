-- What attempts in pods need: who submitted, who may run, why an attempt ended, and when the next one may begin.
-- Only columns without a value to compute are added, so the tables stay readable and writable meanwhile.

ALTER TABLE nemeton_attempts
    ADD COLUMN submitter TEXT,              -- who submitted the task, where the submission said so
    ADD COLUMN runner_wish TEXT,            -- the only runner that may take it
    ADD COLUMN not_before_ms BIGINT,        -- PENDING: not assigned before this
    ADD COLUMN waiting_for TEXT,            -- STARTING: what its start waits for, in the runner's words
    ADD COLUMN cause TEXT,                  -- how it ended, as a code of its runner's
    ADD COLUMN context TEXT,                -- the task's context as JSON: the payload may be of many megabytes
    ADD COLUMN finished BOOLEAN NOT NULL DEFAULT FALSE;    -- its task is; the peon may still be on its way out

UPDATE nemeton_attempts SET finished = TRUE
FROM druid_tasks
WHERE druid_tasks.id = task_id AND NOT druid_tasks.active AND state IN ('ASSIGNED', 'STARTING', 'RUNNING');

-- The slots of each runner. For runners whose peons are pods Druid's dynamic configuration may say how many; it is
-- read as a text, because a row that somebody wrote by hand must not stop all assignment.
CREATE VIEW nemeton_slots AS
SELECT runner_id, host, last_seen_ms, announcement ->> 'kind' AS kind,
    CASE
        WHEN NOT enabled OR disabled_here THEN 0
        WHEN announcement ->> 'kind' = 'operator' AND runner.capacity > 0 THEN COALESCE(configured.capacity, runner.capacity)
        ELSE runner.capacity
    END AS capacity
FROM nemeton_runners AS runner LEFT JOIN (
    SELECT LEAST(
        substring(encode(payload, 'escape') FROM '"capacity"\s*:\s*([0-9]{1,10})')::bigint, 2147483647
    )::int AS capacity
    FROM druid_config WHERE name = 'k8s.taskrunner.config'
) AS configured ON TRUE;
