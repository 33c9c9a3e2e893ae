"""Who acts: the stored task counts, never the one that a request carries."""

from collections.abc import Collection
from dataclasses import dataclass

import orjson

from druid_core.errors import Conflict
from druid_core.java_task import JAVA_TASK_TYPES, SUB_TASK_TYPES
from druid_core.task import load_task
from overlord.db.pool import Connection
from overlord.lock.lockbox import LockRequester
from overlord.problems import Forbidden
from overlord.task.token import task_of_token

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
    return (await find_actors(tx, [task_id])).get(task_id)


async def find_actors(tx: Connection, task_ids: Collection[str]) -> dict[str, Actor]:
    """The stored tasks of these ids, finished or not, in one statement."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT ON (task.id) task.id, task.type, task.group_id, task.datasource, attempt.priority,
            CASE WHEN attempt.priority IS NULL OR task.type IS NULL OR task.group_id IS NULL THEN task.payload END
        FROM druid_tasks AS task LEFT JOIN nemeton_attempts AS attempt ON attempt.task_id = task.id
        WHERE task.id = ANY($1) ORDER BY task.id, attempt.attempt DESC
        """,
        task_ids,
    )
    return {row[0]: _actor(*row) for row in rows}


async def find_supervisor_id(tx: Connection, actor: Actor) -> str:
    """The task whose locks count for this one: of a sub-task its supervisor, else itself."""
    if actor.type not in SUB_TASK_TYPES:
        return actor.task_id
    payload: bytes | None = await tx.fetchval("SELECT payload FROM druid_tasks WHERE id = $1", actor.task_id)
    supervisor_id = None if payload is None else orjson.loads(payload).get("supervisorTaskId")
    return supervisor_id if isinstance(supervisor_id, str) else actor.task_id


async def check_token(tx: Connection, token: str, task_id: str) -> None:
    """Raises Forbidden unless the token is that of the task's own attempt that counts."""
    owner = await task_of_token(tx, token)
    if owner.task_id != task_id:
        raise Forbidden(f"The token of task [{owner.task_id}] cannot act for task [{task_id}]")


def _actor(
    task_id: str,
    task_type: str | None,
    group_id: str | None,
    data_source: str,
    priority: int | None,
    payload: bytes | None,
) -> Actor:
    if payload is not None or task_type is None or group_id is None or priority is None:
        # A row that Druid made, and no queue pass has looked at yet
        task = load_task(orjson.loads(payload or b"null"), java_types=JAVA_TASK_TYPES | SUB_TASK_TYPES)
        task_type, group_id, priority = task.type, task.group_id, task.priority
    return Actor(task_type, LockRequester(task_id, group_id, data_source, priority))
