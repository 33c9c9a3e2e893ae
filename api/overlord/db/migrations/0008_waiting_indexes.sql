-- no transaction
-- How the queue goes through tasks that wait for locks: a hundred thousand may wait for one.

-- Tasks that ask for the same stand together, the oldest first; from one wish to the next it is one step. What is asked
-- for may be a long text, of which an index holds a digest.
CREATE INDEX CONCURRENTLY IF NOT EXISTS nemeton_attempts_wish ON nemeton_attempts (
    data_source, lock_type, hashtextextended(lock_intervals, 0), COALESCE(NULLIF(group_id, task_id), ''), priority,
    submitted_ms, task_id
) WHERE state = 'WAITING';

-- Those that do not wait for ever.
CREATE INDEX CONCURRENTLY IF NOT EXISTS nemeton_attempts_lock_deadline
    ON nemeton_attempts (lock_deadline_ms) WHERE state = 'WAITING' AND lock_deadline_ms IS NOT NULL;
