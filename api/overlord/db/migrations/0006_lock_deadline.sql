-- When a task stops waiting for its locks, where its context says so (taskLockTimeout). A column without a value to
-- compute: the table stays readable and writable meanwhile, and who does not know it leaves it empty.

ALTER TABLE nemeton_attempts ADD COLUMN lock_deadline_ms BIGINT;
