"""
Tasks as rows: found, finished once, stopped.

A final status never changes: every change is conditional on `active`. What a finished task gave up (locks, its place
in the queue) goes in the same transaction.
"""

from dataclasses import dataclass

import orjson

from druid_core.runner import OPERATOR
from druid_core.status import StatusCode, TaskLocation, TaskStatus
from druid_core.task import Task, load_task
from overlord import events
from overlord.db import hints
from overlord.db.pool import Connection, after_commit
from overlord.lock import lockbox
from overlord.metrics import meters

OPEN_STATES = ("WAITING", "PENDING", "ASSIGNED", "STARTING", "RUNNING")
"""States of the one attempt that counts; its task is active, or its peon is still on its way out."""

SHUTDOWN_MESSAGE = "Shutdown request from user"


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A row of `druid_tasks`."""

    id: str
    data_source: str
    created: str
    payload: bytes
    status_payload: bytes
    active: bool

    def task(self) -> Task:
        return load_task(orjson.loads(self.payload))

    def status(self) -> TaskStatus:
        return TaskStatus.model_validate(orjson.loads(self.status_payload))


async def get(tx: Connection, task_id: str) -> StoredTask | None:
    """The task of this id, finished ones included."""
    row = await tx.fetchrow(
        "SELECT id, datasource, created_date, payload, status_payload, active FROM druid_tasks WHERE id = $1", task_id
    )
    return None if row is None else StoredTask(*row.values())


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """The beginning of a payload, and how long the whole is."""

    start: bytes
    size: int


async def payload(tx: Connection, task_id: str, start_bytes: int) -> StoredPayload | None:
    """The first `start_bytes` of a task's payload, which mostly is the whole."""
    row = await tx.fetchrow(
        "SELECT substring(payload FOR $2), octet_length(payload) FROM druid_tasks WHERE id = $1", task_id, start_bytes
    )
    return None if row is None else StoredPayload(*row.values())


async def payload_piece(tx: Connection, task_id: str, start: int, length: int) -> bytes:
    """`length` bytes of a payload from `start` on; fewer at its end."""
    piece: bytes | None = await tx.fetchval(
        "SELECT substring(payload FROM $2 FOR $3) FROM druid_tasks WHERE id = $1", task_id, start + 1, length
    )
    return piece or b""


async def exists(tx: Connection, task_id: str) -> bool:
    return bool(await tx.fetchval("SELECT true FROM druid_tasks WHERE id = $1", task_id))


async def is_active(tx: Connection, task_id: str) -> bool:
    return bool(await tx.fetchval("SELECT active FROM druid_tasks WHERE id = $1", task_id))


async def runner_wish(tx: Connection, task_id: str) -> str | None:
    """The only runner that may take the task; its sub-tasks need the peons that it needs."""
    wish: str | None = await tx.fetchval(
        "SELECT runner_wish FROM nemeton_attempts WHERE task_id = $1 ORDER BY attempt DESC LIMIT 1", task_id
    )
    return wish


async def finish(tx: Connection, status: TaskStatus) -> bool:
    """
    Give an active task its final status and release its locks; whether it was active.

    An attempt that never reached a runner ends here; one that did stays until its runner reports the end of its peon.
    The location of the peon is kept with the status. Calling twice is calling once. Druid: TaskQueue.notifyStatus
    """
    attempt = await tx.fetchrow(
        """
        WITH task AS (SELECT id, type, datasource FROM druid_tasks WHERE id = $1 AND active FOR UPDATE),
        attempt AS (
            UPDATE nemeton_attempts SET
                finished = TRUE,
                told_ms = CASE WHEN told_ms IS NULL THEN NULL ELSE 0 END,
                state = CASE WHEN state IN ('WAITING', 'PENDING') THEN 'ENDED' ELSE state END,
                ended_ms = CASE WHEN state IN ('WAITING', 'PENDING')
                    THEN (extract(epoch FROM now()) * 1000)::bigint ELSE ended_ms END
            FROM task
            WHERE task_id = task.id AND state IN ('WAITING', 'PENDING', 'ASSIGNED', 'STARTING', 'RUNNING')
            RETURNING host, port, tls_port, k8s_pod_name, runner_id
        )
        SELECT attempt.*, runner.kind, task.type, task.datasource
        FROM task LEFT JOIN attempt ON true LEFT JOIN LATERAL (
            SELECT announcement ->> 'kind' AS kind FROM nemeton_runners WHERE runner_id = attempt.runner_id
        ) AS runner ON true
        """,
        status.id,
    )
    if attempt is None:
        return False
    host, port, tls_port, k8s_pod_name, runner_id, kind, task_type, data_source = attempt
    if not status.location.is_known and host is not None:
        location = TaskLocation(host=host, port=port, tls_port=tls_port, k8s_pod_name=k8s_pod_name)
        status = status.model_copy(update={"location": location})
    await tx.execute(
        "UPDATE druid_tasks SET active = FALSE, status_payload = $2 WHERE id = $1 AND active",
        status.id,
        orjson.dumps(status.to_wire()),
    )
    await lockbox.release_all(tx, status.id)
    after_commit(lambda: _tell_finished(status, data_source, task_type or ""))
    # an operator shows the outcome where people look for it; a MiddleManager has nobody to tell
    await hints.send(tx, hints.QUEUE, *([hints.of_runner(runner_id)] if kind == OPERATOR else []))
    return True


def _tell_finished(status: TaskStatus, data_source: str, task_type: str) -> None:
    meters.task_finished(data_source, task_type, status.status is StatusCode.SUCCESS, status.duration)
    events.info(
        "a task finished",
        task_id=status.id,
        data_source=data_source,
        type=task_type,
        status=status.status.value,
        duration_ms=status.duration,
    )


async def set_location(tx: Connection, task_id: str, location: TaskLocation) -> bool:
    """Where the peon of an active task serves its chat endpoints; whether there is such a peon."""
    tag = await tx.execute(
        """
        UPDATE nemeton_attempts SET host = $2, port = $3, tls_port = $4, k8s_pod_name = COALESCE($5, k8s_pod_name)
        WHERE task_id = $1 AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
        """,
        task_id,
        location.host,
        location.port,
        location.tls_port,
        location.k8s_pod_name,
    )
    return tag != "UPDATE 0"


async def stop(tx: Connection, task_id: str) -> None:
    """Order the runner of a task to end its peon. One that was never told of the attempt is not told now."""
    runners = await tx.fetch(
        """
        UPDATE nemeton_attempts SET
            stop = TRUE,
            told_ms = CASE WHEN state = 'ASSIGNED' AND told_ms IS NULL THEN NULL ELSE 0 END,
            state = CASE WHEN state = 'ASSIGNED' AND told_ms IS NULL THEN 'ENDED' ELSE state END
        WHERE task_id = $1 AND state IN ('ASSIGNED', 'STARTING', 'RUNNING')
        RETURNING runner_id
        """,
        task_id,
    )
    await hints.send(tx, *(hints.of_runner(row["runner_id"]) for row in runners))


async def shut_down(tx: Connection, task_id: str, message: str = SHUTDOWN_MESSAGE) -> bool:
    """
    End a task at once: FAILED with `message`, locks freed, its runner told; whether it was active.

    The peon dies later, and what it says then is not heard. Druid: TaskQueue.shutdown
    """
    ended = await finish(tx, TaskStatus(id=task_id, status=StatusCode.FAILED, error_msg=message))
    if ended:
        await stop(tx, task_id)
    return ended


async def active_ids(tx: Connection, data_source: str) -> list[str]:
    """The active tasks of a datasource, oldest first."""
    rows = await tx.fetch(
        "SELECT id FROM druid_tasks WHERE datasource = $1 AND active ORDER BY created_date, id", data_source
    )
    return [row["id"] for row in rows]
