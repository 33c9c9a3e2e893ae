-- What the queue decides by, beside priority and age. Constant defaults: no row is rewritten, and whoever does not know
-- the columns leaves them as they are. 0007 fills them and builds their indexes.

ALTER TABLE nemeton_attempts
    ADD COLUMN task_type TEXT NOT NULL DEFAULT '',          -- limits are set by type; empty: nobody said
    ADD COLUMN splits BOOLEAN NOT NULL DEFAULT FALSE;       -- it may have sub-tasks, which need slots of their own
