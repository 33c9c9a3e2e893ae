"""
Why a task stands where it stands: which lock is in its way and who holds it, its place in line, what its start waits
for.

Nothing is kept for it: the rows that decide are read, and the policy of locks is asked again. A few statements, for one
task as for thousands.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from druid_core.instant import format_instant
from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.runner import Explanation, HeldBy, PendingReason
from druid_core.status import RunnerStatusCode, TaskLocation, TaskStatus
from overlord.db.pool import Connection
from overlord.lock import store as locks
from overlord.lock.conflict import HeldLock, LockRequest, blocker
from overlord.replica import Replica
from overlord.task.assign import RunnerLoad, loads

_TASKS = """
SELECT task.id, task.active, task.status_payload, attempt.*
FROM druid_tasks AS task LEFT JOIN LATERAL (
    SELECT attempt, state, data_source, group_id, priority, lock_type, lock_intervals, runner_id, runner_wish,
           not_before_ms, waiting_for, host, port, tls_port, k8s_pod_name, (
               SELECT reason FROM nemeton_attempts AS before
               WHERE before.task_id = task.id AND before.attempt = latest.attempt - 1
           ) AS reason_before
    FROM nemeton_attempts AS latest WHERE task_id = task.id ORDER BY attempt DESC LIMIT 1
) AS attempt ON TRUE
WHERE task.id = ANY($1)
"""

_LINE = """
WITH line AS (
    SELECT task_id, runner_wish, row_number() OVER everybody AS place,
           row_number() OVER (PARTITION BY runner_wish ORDER BY priority DESC, submitted_ms, task_id) AS among_equals,
           count(*) FILTER (WHERE runner_wish IS NULL) OVER everybody AS before_without_wish
    FROM nemeton_attempts WHERE state = 'PENDING' AND (not_before_ms IS NULL OR not_before_ms <= $2)
    WINDOW everybody AS (ORDER BY priority DESC, submitted_ms, task_id)
)
SELECT task_id, CASE WHEN runner_wish IS NULL THEN place ELSE among_equals + before_without_wish END::int AS place
FROM line WHERE task_id = ANY($1)
"""
"""
The order in which slots are handed out. Before a task that wishes for a runner are those that may take that runner's
slots: who wishes for the same one, and who has no wish.
"""

_BREATH = 100
"""After so many tasks that wait for locks others get a turn: each is compared with all locks of its datasource."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else there is, beside the task."""

    now_ms: int
    runner_timeout_ms: int
    runners: Sequence[RunnerLoad]
    """Those that take work."""
    places: Mapping[str, int]
    """In line for a slot."""
    held: Mapping[str, Sequence[HeldLock]]
    """By datasource."""


async def explain_tasks(tx: Connection, replica: Replica, task_ids: Sequence[str]) -> list[Explanation]:
    """One explanation for each known id, in no order."""
    now_ms = replica.clock_ms()
    rows: list[Any] = await tx.fetch(_TASKS, list(dict.fromkeys(task_ids)))
    waiting = {row["data_source"] for row in rows if row["active"] and row["state"] == "WAITING"}
    pending = [row["id"] for row in rows if row["active"] and row["state"] == "PENDING"]
    held = defaultdict[str, list[locks.LockRow]](list)
    for lock in await locks.of_data_sources(tx, waiting) if waiting else []:
        held[lock.lock.data_source].append(lock)
    timeout_ms = replica.settings.runner_timeout_ms
    around = Surroundings(
        now_ms,
        timeout_ms,
        await loads(tx, now_ms - timeout_ms) if pending else [],
        {row["task_id"]: row["place"] for row in (await tx.fetch(_LINE, pending, now_ms) if pending else [])},
        {data_source: locks.held_locks(of_source) for data_source, of_source in held.items()},
    )
    explained: list[Explanation] = []
    for number, row in enumerate(rows):
        explained.append(explain(row, around))
        if waiting and number % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
    return explained


def explain(row: Mapping[str, Any], around: Surroundings) -> Explanation:
    """The explanation of one task, given its row and its latest attempt's. Pure."""
    status = TaskStatus.model_validate(orjson.loads(row["status_payload"]))
    if not row["active"]:
        message = f"The task ended as {status.status}" + (f": {status.error_msg}" if status.error_msg else "")
        return _explanation(row, status, RunnerStatusCode.NONE, PendingReason.ENDED, message)
    match row["state"]:
        case "WAITING":
            return _waiting(row, status, around)
        case "PENDING":
            return _pending(row, status, around)
        case "ASSIGNED" if row["waiting_for"]:
            return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.STARTING, row["waiting_for"])
        case "ASSIGNED":
            message = f"A slot of the runner {row['runner_id']} is its own; the runner has not said that it starts it"
            return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.ASSIGNED, message)
        case "STARTING":
            message = row["waiting_for"] or f"The runner {row['runner_id']} is starting its peon"
            return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.STARTING, message)
        case "RUNNING":
            location = _location(row)
            where = "" if not location.is_known else f" at {location.host}:{max(location.port, location.tls_port)}"
            pod = "" if location.k8s_pod_name is None else f" in pod {location.k8s_pod_name}"
            running = status.model_copy(update={"location": location})
            return _explanation(
                row, running, RunnerStatusCode.RUNNING, PendingReason.RUNNING, f"Its peon runs{pod}{where}"
            )
        case _:
            message = "It was stored by another program, and is taken into the queue within seconds"
            return _explanation(row, status, RunnerStatusCode.WAITING, PendingReason.QUEUED, message)


def _waiting(row: Mapping[str, Any], status: TaskStatus, around: Surroundings) -> Explanation:
    held = around.held.get(row["data_source"], [])
    for text in row["lock_intervals"].split(","):
        request = LockRequest(
            row["id"], row["group_id"], LockType(row["lock_type"]), Interval.parse(text), row["priority"]
        )
        found = blocker(request, held)
        if found is not None:
            lock = found.lock
            by = HeldBy(
                interval=lock.interval,
                lock_type=lock.type,
                holder_task_id=min(found.holders),
                holder_group_id=lock.group_id,
                holder_priority=lock.priority or 0,
            )
            message = (
                f"Task [{by.holder_task_id}] of priority {by.holder_priority} holds the {lock.type} lock on "
                f"{lock.interval} of {lock.data_source}; this task needs {_a(request.type)} lock on "
                f"{request.interval} and has priority {request.priority}"
            )
            return _explanation(row, status, RunnerStatusCode.WAITING, PendingReason.LOCK_HELD, message, lock=by)
    message = "Its locks are free, and are its own with the next look at the queue"
    return _explanation(row, status, RunnerStatusCode.WAITING, PendingReason.QUEUED, message)


def _pending(row: Mapping[str, Any], status: TaskStatus, around: Surroundings) -> Explanation:
    due_ms: int | None = row["not_before_ms"]
    if due_ms is not None and due_ms > around.now_ms:
        message = (
            f"Attempt {row['attempt'] - 1} ended: {row['reason_before'] or 'its runner gave no reason'}. "
            f"Attempt {row['attempt']} begins at {format_instant(due_ms)} at the earliest"
        )
        return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.BACKING_OFF, message)
    wish: str | None = row["runner_wish"]
    runners = [runner for runner in around.runners if wish is None or runner.runner_id == wish]
    if not runners:
        who = "No runner that takes tasks" if wish is None else f"The runner {wish}, which alone may take it,"
        is_heard = "was heard of" if wish is None else "takes no tasks, or was not heard of,"
        message = f"{who} {is_heard} in the last {around.runner_timeout_ms // 1000} s"
        return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.NO_RUNNER, message)
    slots, free = sum(runner.capacity for runner in runners), sum(runner.free for runner in runners)
    place = around.places.get(row["id"], 1)
    of = "" if wish is None else f" of the runner {wish}"
    if place <= free:
        message = f"Place {place} in line: one of the {free} free slots{of} is its own with the next look at the queue"
    else:
        taken = f"the one slot{of} is taken" if slots == 1 else f"{slots - free} of the {slots} slots{of} are taken"
        message = f"Place {place} in line for a slot: {taken}"
    return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.NO_SLOT, message, place=place)


def _explanation(
    row: Mapping[str, Any],
    status: TaskStatus,
    code: RunnerStatusCode,
    reason: PendingReason,
    message: str,
    *,
    place: int | None = None,
    lock: HeldBy | None = None,
) -> Explanation:
    return Explanation(
        task_id=row["id"],
        status=status,
        runner_status_code=code,
        reason=reason,
        message=message,
        place=place,
        lock=lock,
        attempt=row["attempt"] or 0,
    )


def _location(row: Mapping[str, Any]) -> TaskLocation:
    if row["host"] is None:
        return TaskLocation()
    return TaskLocation(host=row["host"], port=row["port"], tls_port=row["tls_port"], k8s_pod_name=row["k8s_pod_name"])


def _a(lock_type: LockType) -> str:
    return f"an {lock_type}" if lock_type in (LockType.EXCLUSIVE, LockType.APPEND) else f"a {lock_type}"
