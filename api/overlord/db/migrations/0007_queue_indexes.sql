-- no transaction
-- The columns of 0005 filled, and the indexes by which the queue goes through them. The table may hold the attempts of
-- years, so all of it happens while others write.

UPDATE nemeton_attempts AS attempt SET task_type = task.type
FROM druid_tasks AS task
WHERE task.id = attempt.task_id AND task_type = '' AND task.type IS NOT NULL
    AND state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING');

-- The line of one datasource; from one datasource to the next it is one step.
CREATE INDEX CONCURRENTLY IF NOT EXISTS nemeton_attempts_line
    ON nemeton_attempts (data_source, priority DESC, submitted_ms, task_id) WHERE state = 'PENDING';

-- Those that may be sub-tasks: a group of their own is what most tasks have.
CREATE INDEX CONCURRENTLY IF NOT EXISTS nemeton_attempts_of_group
    ON nemeton_attempts (group_id) WHERE state = 'PENDING' AND group_id <> task_id;

-- How many began lately.
CREATE INDEX CONCURRENTLY IF NOT EXISTS nemeton_attempts_assigned
    ON nemeton_attempts (data_source, assigned_ms) WHERE assigned_ms IS NOT NULL;

-- The line of a datasource takes its place.
DROP INDEX CONCURRENTLY IF EXISTS nemeton_attempts_pending;
