-- What the queue decides by, beside priority and age. Constant defaults: no row is rewritten, and whoever does not know
-- the columns leaves them as they are. The indexes hold open attempts alone; building them reads the table once.

ALTER TABLE nemeton_attempts
    ADD COLUMN task_type TEXT NOT NULL DEFAULT '',          -- limits are set by type; empty: nobody said
    ADD COLUMN splits BOOLEAN NOT NULL DEFAULT FALSE;       -- it may have sub-tasks, which need slots of their own

UPDATE nemeton_attempts AS attempt SET task_type = COALESCE(task.type, '')
FROM druid_tasks AS task
WHERE task.id = attempt.task_id AND state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING');

-- The line of one datasource; from one datasource to the next it is one step.
CREATE INDEX nemeton_attempts_line ON nemeton_attempts (data_source, priority DESC, submitted_ms, task_id)
    WHERE state = 'PENDING';
-- Those that may be sub-tasks: a group of their own is what most tasks have.
CREATE INDEX nemeton_attempts_of_group ON nemeton_attempts (group_id)
    WHERE state = 'PENDING' AND group_id <> task_id;
-- How many began lately.
CREATE INDEX nemeton_attempts_assigned ON nemeton_attempts (data_source, assigned_ms) WHERE assigned_ms IS NOT NULL;
-- The line of a datasource takes its place.
DROP INDEX nemeton_attempts_pending;
