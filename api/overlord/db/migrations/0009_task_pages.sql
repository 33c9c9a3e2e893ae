-- no transaction
-- The order of every list and page of tasks. Tasks that are submitted together share their millisecond, and a page should
-- not have to sort all of them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS nemeton_tasks_in_order ON druid_tasks (active, created_date, id);
