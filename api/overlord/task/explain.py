"""
Why a task stands where it stands: which lock is in its way and who holds it, its place in line, what its start waits
for.

Nothing is kept for it: the rows that decide are read, and the policy of locks is asked again. A few statements, for one
task as for thousands.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from overlord.task.assign import RunnerLoad, bounds_of, loads, types_of
from overlord.task.line import SlotUse, Standing, slot_use, standings
from overlord.task.queue_config import QueueRules, read_rules

_TASKS = """
SELECT task.id, task.active, task.status_payload, attempt.*
FROM druid_tasks AS task LEFT JOIN LATERAL (
    SELECT attempt, state, data_source, task_type, group_id, priority, lock_type, lock_intervals, runner_id,
           runner_wish, not_before_ms, waiting_for, host, port, tls_port, k8s_pod_name, (
               SELECT reason FROM nemeton_attempts AS before
               WHERE before.task_id = task.id AND before.attempt = latest.attempt - 1
           ) AS reason_before
    FROM nemeton_attempts AS latest WHERE task_id = task.id ORDER BY attempt DESC LIMIT 1
) AS attempt ON TRUE
WHERE task.id = ANY($1)
"""

_WAITING_LINE = """
SELECT * FROM (
    SELECT task_id,
           row_number() OVER (PARTITION BY data_source ORDER BY priority DESC, submitted_ms, task_id)::int AS place
    FROM nemeton_attempts WHERE state = 'WAITING' AND data_source = ANY($2)
) AS line WHERE task_id = ANY($1)
"""
"""The order in which locks are given, where several become free."""

_WAITING_PLACE = """
SELECT mine.task_id, (
    SELECT count(*) FROM nemeton_attempts AS other
    WHERE state = 'WAITING' AND data_source = mine.data_source
        AND (-priority, submitted_ms, task_id) <= (-mine.priority, mine.submitted_ms, mine.task_id)
)::int AS place
FROM nemeton_attempts AS mine WHERE state = 'WAITING' AND task_id = ANY($1) AND data_source = ANY($2)
"""
"""The same for few tasks: counting who is before one is cheaper than putting all in order."""

_FEW = 10

_NEXT = Standing(1)
"""Of a task that came into the line after the line was looked at."""

_BREATH = 100
"""After so many tasks that wait for locks others get a turn: each is compared with all locks of its datasource."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else there is, beside the task."""

    now_ms: int
    runner_timeout_ms: int
    runners: Sequence[RunnerLoad]
    """Those that take work."""
    standings: Mapping[str, Standing]
    """In line for a slot."""
    held: Mapping[str, Sequence[HeldLock]]
    """By datasource."""
    waiting_places: Mapping[str, int] = field(default_factory=dict[str, int])
    """In line for locks, among the same datasource's."""
    rules: QueueRules = field(default_factory=QueueRules)
    use: SlotUse = field(default_factory=SlotUse)


async def explain_tasks(tx: Connection, replica: Replica, task_ids: Sequence[str]) -> list[Explanation]:
    """One explanation for each known id, in no order."""
    now_ms = replica.clock_ms()
    rows: list[Any] = await tx.fetch(_TASKS, list(dict.fromkeys(task_ids)))
    waiting = [row["id"] for row in rows if row["active"] and row["state"] == "WAITING"]
    pending = [row["id"] for row in rows if row["active"] and row["state"] == "PENDING"]
    sources = {row["data_source"] for row in rows if row["active"] and row["state"] == "WAITING"}
    held = defaultdict[str, list[locks.LockRow]](list)
    for lock in await locks.of_data_sources(tx, sources) if waiting else []:
        held[lock.lock.data_source].append(lock)
    line = _WAITING_PLACE if len(waiting) <= _FEW else _WAITING_LINE
    timeout_ms = replica.settings.runner_timeout_ms
    rules = await read_rules(tx) if pending else QueueRules()
    runners = await loads(tx, now_ms - timeout_ms) if pending else []
    around = Surroundings(
        now_ms,
        timeout_ms,
        runners,
        await standings(tx, rules, now_ms, types_of(runners), pending) if pending else {},
        {data_source: locks.held_locks(of_source) for data_source, of_source in held.items()},
        dict(await tx.fetch(line, waiting, list(sources)) if waiting else []),
        rules,
        await slot_use(tx) if pending else SlotUse(),
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
    place = around.waiting_places.get(row["id"], 1)
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
            return _explanation(
                row, status, RunnerStatusCode.WAITING, PendingReason.LOCK_HELD, message, place=place, lock=by
            )
    message = "Its locks are free, and are its own with the next look at the queue"
    return _explanation(row, status, RunnerStatusCode.WAITING, PendingReason.QUEUED, message, place=place)


def _pending(row: Mapping[str, Any], status: TaskStatus, around: Surroundings) -> Explanation:
    due_ms: int | None = row["not_before_ms"]
    if due_ms is not None and due_ms > around.now_ms:
        message = (
            f"Attempt {row['attempt'] - 1} ended: {row['reason_before'] or 'its runner gave no reason'}. "
            f"Attempt {row['attempt']} begins at {format_instant(due_ms)} at the earliest"
        )
        return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.BACKING_OFF, message)
    standing = around.standings.get(row["id"], _NEXT)
    held = _hold(row, around, standing)
    if held is None and (message := _no_runner(row, around)) is not None:
        place = standing.place if row["id"] in around.standings else None
        return _explanation(row, status, RunnerStatusCode.PENDING, PendingReason.NO_RUNNER, message, place=place)
    reason, message = held or _no_slot(row, standing, around)
    return _explanation(row, status, RunnerStatusCode.PENDING, reason, message, place=standing.place)


def _hold(row: Mapping[str, Any], around: Surroundings, standing: Standing) -> tuple[PendingReason, str] | None:
    """What holds the task up although there may be a slot; None: nothing does. The same rules as in assignment."""
    if standing.is_only_child:
        return None
    name, rules, use = row["data_source"], around.rules, around.use
    told, bounds = rules.of(name), bounds_of(rules, around.runners)
    place = f"Place {standing.place} among those of {name}"
    if not standing.is_child:
        if told.paused:
            return PendingReason.PAUSED, f"{place}: the datasource is paused"
        if told.stops(around.now_ms):
            return PendingReason.DELAYED, f"{place}: the datasource starts nothing before {told.not_before}"
        if standing.starts_left is not None and standing.starts_left <= 0:
            message = f"{place}: in the last minute it started the {told.starts_per_minute} that it may"
            return PendingReason.THROTTLED, message
    most = rules.most_of_source(name)
    if most is not None and standing.source_slots >= most:
        message = f"{place}: limit of datasource {name} reached: {standing.source_slots} of {most} slots"
        return PendingReason.LIMIT_REACHED, message
    kind, place = row["task_type"], f"Place {standing.place} in line for a slot"
    of_type = bounds.by_type.get(kind)
    if of_type is not None and use.by_type.get(kind, 0) >= of_type:
        message = f"{place}: limit of type {kind} reached: {use.by_type.get(kind, 0)} of {of_type} slots"
        return PendingReason.LIMIT_REACHED, message
    if not any(runner.runs(kind) for runner in around.runners):
        return None
    if rules.config.max_slots is not None and use.total >= rules.config.max_slots:
        message = f"{place}: limit of all tasks reached: {use.total} of {rules.config.max_slots} slots"
        return PendingReason.LIMIT_REACHED, message
    if not standing.is_child and bounds.keeps_the_rest(use.parents):
        parents = "a task" if use.parents == 1 else f"{use.parents} tasks"
        holds = "holds" if use.parents == 1 else "hold"
        message = (
            f"{place}: {parents} that may have sub-tasks {holds} {use.parents} of {bounds.slots} slots, "
            "and what is left is kept for these"
        )
        return PendingReason.KEPT_FOR_SUB_TASKS, message
    return None


def _no_runner(row: Mapping[str, Any], around: Surroundings) -> str | None:
    """That nobody may take it; None: somebody may."""
    wish, kind = row["runner_wish"], row["task_type"]
    within = f"in the last {around.runner_timeout_ms // 1000} s"
    runners = _wished(row, around)
    if any(runner.runs(kind) for runner in runners):
        return None
    if runners:
        return (
            f"No runner runs tasks of type {kind}"
            if wish is None
            else f"The runner {wish}, which alone may take it, runs no tasks of type {kind}"
        )
    if wish is None:
        return f"No runner that takes tasks was heard of {within}"
    return f"The runner {wish}, which alone may take it, takes no tasks, or was not heard of, {within}"


def _no_slot(row: Mapping[str, Any], standing: Standing, around: Surroundings) -> tuple[PendingReason, str]:
    wish, kind = row["runner_wish"], row["task_type"]
    wished = _wished(row, around)
    runners = [runner for runner in wished if runner.runs(kind)]
    slots, free = sum(runner.capacity for runner in runners), sum(runner.free for runner in runners)
    of = f" of the runner {wish}" if wish is not None else f" for type {kind}" if len(runners) < len(wished) else ""
    place = f"Place {standing.place} in line"
    if standing.place <= free:
        message = f"{place}: one of the {free} free slots{of} is its own with the next look at the queue"
    else:
        taken = f"the one slot{of} is taken" if slots == 1 else f"{slots - free} of the {slots} slots{of} are taken"
        message = f"{place} for a slot: {taken}"
    return PendingReason.NO_SLOT, message


def _wished(row: Mapping[str, Any], around: Surroundings) -> list[RunnerLoad]:
    """The runner that it is meant for, if that takes tasks; without a wish all that do."""
    return [runner for runner in around.runners if row["runner_wish"] in (None, runner.runner_id)]


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
