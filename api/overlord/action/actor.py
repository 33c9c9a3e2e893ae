"""Who acts: the stored task counts, never the one that a request carries."""

from dataclasses import dataclass

import orjson

from druid_core.errors import Conflict
from druid_core.task import load_task
from overlord.db.pool import Connection
from overlord.lock.lockbox import LockRequester

_GROUP_ALLOCATES = frozenset({"index", "index_parallel", "compact"})
_TASK_ALLOCATES = frozenset({"noop", "query_controller"})


class CannotAllocate(Conflict):
    """A task of a type that never appends asked for a segment."""


@dataclass(frozen=True, slots=True)
class Actor:
    """What an action must know of its task."""

    type: str
    requester: LockRequester

    @property
    def task_id(self) -> str:
        return self.requester.task_id

    @property
    def allocator_id(self) -> str:
        """
        Whose tasks share what is allocated. Druid: PendingSegmentAllocatingTask.getTaskAllocatorId

        Raises CannotAllocate for a type that does not allocate.
        """
        if self.type in _GROUP_ALLOCATES:
            return self.requester.group_id
        if self.type in _TASK_ALLOCATES:
            return self.task_id
        raise CannotAllocate(f"Task [{self.task_id}] of type [{self.type}] cannot allocate segments")


async def find_actor(tx: Connection, task_id: str) -> Actor | None:
    """The stored task of this id, finished or not; None when there is none."""
    row = await tx.fetchrow(
        """
        SELECT task.type, task.group_id, task.datasource, attempt.priority,
            CASE WHEN attempt.priority IS NULL OR task.type IS NULL OR task.group_id IS NULL THEN task.payload END
        FROM druid_tasks AS task LEFT JOIN nemeton_attempts AS attempt ON attempt.task_id = task.id
        WHERE task.id = $1 ORDER BY attempt.attempt DESC LIMIT 1
        """,
        task_id,
    )
    if row is None:
        return None
    task_type, group_id, data_source, priority, payload = row
    if payload is not None:
        # A row that Druid made, and no queue pass has looked at yet
        task = load_task(orjson.loads(payload))
        task_type, group_id, priority = task.type, task.group_id, task.priority
    return Actor(task_type, LockRequester(task_id, group_id, data_source, priority))
