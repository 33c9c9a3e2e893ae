"""
Old logs, reports and task rows deleted, where that is wanted. Druid: TaskLogAutoCleaner, TaskStorage

Every replica has the loop; a look happens under an advisory lock, so that one replica at a time deletes.
"""

import asyncio
import contextlib
import random

from druid_core.errors import StorageError, Unavailable
from druid_core.instant import format_instant
from druid_core.storage.task_logs import TaskLogs
from overlord import events
from overlord.db.pool import connection, transaction
from overlord.replica import Replica

_LOCK_KEY = 0x6E656D_6C6F6773
"""One cleaning at a time in all replicas."""

BATCH_TASKS = 1000
"""Rows a transaction: nobody waits long for what it locks."""

_INITIAL_DELAY_MS = (60_000, 300_000)

_DELETE = """
WITH old AS (
    SELECT id FROM druid_tasks AS task
    WHERE NOT active AND created_date < $1 AND NOT EXISTS (
        SELECT 1 FROM nemeton_attempts WHERE task_id = task.id AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
    )
    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
),
attempts AS (DELETE FROM nemeton_attempts USING old WHERE task_id = old.id),
segments AS (DELETE FROM nemeton_task_segments USING old WHERE task_id = old.id)
DELETE FROM druid_tasks AS task USING old WHERE task.id = old.id
"""
"""Finished tasks with all that is known of them. One whose peon is on its way out stays until the next time."""


class Retention:
    """The loop of one replica; it does nothing where `logs_kill_enabled` is off."""

    def __init__(self, replica: Replica, logs: TaskLogs | None) -> None:
        self._replica = replica
        self._logs = logs
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._replica.settings.logs_kill_enabled:
            self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def clean(self) -> tuple[int, int]:
        """
        Delete what is too old; how many objects and how many tasks. None of either where another replica is at it.

        Raises Unavailable and StorageError.
        """
        async with connection(self._replica.pool) as held:
            if not await held.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
                return 0, 0
            try:
                before_ms = self._replica.clock_ms() - (self._replica.settings.logs_kill_duration_to_retain_ms or 0)
                objects = 0 if self._logs is None else await asyncio.to_thread(self._logs.kill_older_than, before_ms)
                return objects, await self._delete_tasks(before_ms)
            finally:
                await held.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)

    async def _delete_tasks(self, before_ms: int) -> int:
        deleted = 0
        while True:
            async with transaction(self._replica.pool) as tx:
                tag = await tx.execute(_DELETE, format_instant(before_ms), BATCH_TASKS)
            rows = int(tag.rpartition(" ")[2])
            deleted += rows
            if rows < BATCH_TASKS:
                return deleted

    async def _run(self) -> None:
        settings = self._replica.settings
        delay_ms = settings.logs_kill_initial_delay_ms
        await asyncio.sleep((random.randint(*_INITIAL_DELAY_MS) if delay_ms is None else delay_ms) / 1000)
        while True:
            try:
                objects, tasks = await self.clean()
                if objects or tasks:
                    events.info("old logs and tasks were deleted", objects=objects, tasks=tasks)
            except (StorageError, Unavailable) as error:
                events.warning("old logs and tasks could not be deleted", error=str(error))
            await asyncio.sleep(settings.logs_kill_delay_ms / 1000)
