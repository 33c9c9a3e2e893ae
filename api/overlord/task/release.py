"""
WAITING to PENDING: a task is released when all the locks that it needs are granted. Druid: TaskQueue.manageTasks

One transaction a task: all its locks or none, since a transaction that cannot have one of them is undone.
"""

import asyncio

import orjson

from druid_core.any_task import LOCK_TIMEOUT
from druid_core.errors import Conflict, NemetonError, Unavailable
from druid_core.instant import parse_instant
from druid_core.lock import TaskLock
from druid_core.status import TaskStatus
from druid_core.task import load_task
from overlord import events
from overlord.db import hints
from overlord.db.pool import Connection, connection, transaction
from overlord.lock import lockbox
from overlord.lock import store as locks_store
from overlord.lock.conflict import HeldLock, LockRequest, blocker
from overlord.lock.lockbox import LockRequester
from overlord.replica import Replica
from overlord.task import store
from overlord.task.need import may_split, need_of
from overlord.task.waiting import Round, Waiting, candidates

BATCH_TASKS = 500
"""Releases a pass at most: those that are released want their slots, which come at the end of the pass."""

_BREATH = 100
"""After so many tasks that wait others get a turn: each is compared with all locks of its datasource."""


class LocksRefused(NemetonError):
    """Somebody holds what the task needs. Undoes the transaction that found out."""


class LockLost(Conflict):
    """
    The lock that a task would share with its group was taken from the group.

    Druid: AbstractBatchIndexTask.tryTimeChunkLock
    """

    def __init__(self, group_id: str, lock: TaskLock) -> None:
        super().__init__(
            f"Lock for interval [{lock.interval}] was revoked: "
            f"a task of higher priority took it from group [{group_id}]"
        )


async def release_ready(replica: Replica, looks: Round | None = None) -> int:
    """
    Release the waiting tasks whose locks are free, highest priority and oldest first, BATCH_TASKS at most; how many.

    Those that have waited for as long as their taskLockTimeout allows are failed. Each release hints at the queue, so
    whoever is left finds the next pass close behind. With `looks` one pass goes on where the one before ended.
    """
    now_ms = replica.clock_ms()
    async with connection(replica.pool) as held:
        waiting = await candidates(held, now_ms, looks or Round())
    held = await _held(replica, waiting)
    released = 0
    for number, each in enumerate(waiting):
        if number % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
        # what is refused for certain costs no transaction: a thousand tasks may wait for one lock
        locks = held[each.data_source]
        found = next((holder for request in each.requests if (holder := blocker(request, locks))), None)
        if found is not None:
            if each.deadline_ms is not None and each.deadline_ms <= now_ms:
                await _give_up(replica, each, found, now_ms)
            continue
        if not await _release(replica, each):
            continue
        locks += [_as_held(request, each.data_source) for request in each.requests]
        released += 1
        if released == BATCH_TASKS:
            break
    return released


async def adopt_strays(replica: Replica) -> int:
    """
    Give active tasks that have no attempt one: rows that Druid, or a person, put into `druid_tasks`.

    A row that does not parse is failed, so that it does not hang for ever.
    """
    async with connection(replica.pool) as held:
        rows = await held.fetch(
            """
            SELECT id, created_date, payload FROM druid_tasks AS task
            WHERE active AND NOT EXISTS (SELECT 1 FROM nemeton_attempts WHERE task_id = task.id)
            """
        )
    for row in rows:
        async with transaction(replica.pool) as tx:
            try:
                task = load_task(orjson.loads(row["payload"]), java_types=replica.settings.java_types)
            except (NemetonError, orjson.JSONDecodeError) as error:
                await store.finish(tx, TaskStatus.failure(row["id"], f"The stored task cannot be read: {error}"))
                continue
            need = need_of(task)
            await tx.execute(
                "UPDATE druid_tasks SET type = $2, group_id = $3 WHERE id = $1 AND (type IS NULL OR group_id IS NULL)",
                task.id,
                task.type,
                task.group_id,
            )
            await tx.execute(
                """
                INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, lock_type,
                                              lock_intervals, submitted_ms, released_ms, context,
                                              lock_deadline_ms, task_type, splits)
                VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING
                """,
                task.id,
                task.data_source,
                task.group_id,
                task.priority,
                "PENDING" if need is None else "WAITING",
                None if need is None else need.lock_type.value,
                None if need is None else ",".join(map(str, need.intervals)),
                parse_instant(row["created_date"]),
                replica.clock_ms() if need is None else None,
                orjson.dumps(task.context).decode(),
                None if need is None else need.deadline_ms(replica.clock_ms()),
                task.type,
                may_split(task),
            )
    return len(rows)


async def _held(replica: Replica, waiting: list[Waiting]) -> dict[str, list[HeldLock]]:
    """The locks of the datasources that somebody waits for."""
    data_sources = {each.data_source for each in waiting}
    held: dict[str, list[HeldLock]] = {data_source: [] for data_source in data_sources}
    if data_sources:
        async with connection(replica.pool) as tx:
            for lock in locks_store.held_locks(await locks_store.of_data_sources(tx, data_sources)):
                held.setdefault(lock.lock.data_source, []).append(lock)
    return held


def _as_held(request: LockRequest, data_source: str) -> HeldLock:
    """A lock that was just granted, near enough to see who must wait for it."""
    lock = TaskLock(
        type=request.type,
        group_id=request.group_id,
        data_source=data_source,
        interval=request.interval,
        version="",
        priority=request.priority,
    )
    return HeldLock(lock, frozenset({request.task_id}))


async def _release(replica: Replica, waiting: Waiting) -> bool:
    try:
        async with transaction(replica.pool) as tx:
            if not await _still_waits(tx, waiting):
                return True
            requester = LockRequester(waiting.task_id, waiting.group_id, waiting.data_source, waiting.priority)
            now_ms = replica.clock_ms()
            for interval in waiting.intervals:
                lock = await lockbox.acquire(tx, requester, waiting.lock_type, interval, now_ms)
                if lock is None:
                    raise LocksRefused(f"{waiting.lock_type} lock on {interval} of {waiting.data_source}")
                if lock.revoked:
                    raise LockLost(waiting.group_id, lock)
            await tx.execute(
                "UPDATE nemeton_attempts SET state = 'PENDING', released_ms = $3 WHERE task_id = $1 AND attempt = $2",
                waiting.task_id,
                waiting.attempt,
                now_ms,
            )
            await hints.send(tx, hints.QUEUE)
    except LocksRefused:
        return False
    except Unavailable:
        raise
    except NemetonError as error:
        events.warning("a task cannot be released", task_id=waiting.task_id, error=str(error))
        async with transaction(replica.pool) as tx:
            await store.finish(tx, TaskStatus.failure(waiting.task_id, str(error)))
    return True


async def _give_up(replica: Replica, waiting: Waiting, found: HeldLock, now_ms: int) -> None:
    """Fail a task that waited too long for the lock `found`. One that was stopped meanwhile stays as it is."""
    message = (
        f"No {waiting.lock_type} lock on {found.lock.data_source} after {now_ms - waiting.submitted_ms} ms, and its "
        f"context allows no longer wait ({LOCK_TIMEOUT}): task [{min(found.holders)}] of priority "
        f"{found.lock.priority or 0} holds the {found.lock.type} lock on {found.lock.interval}"
    )
    async with transaction(replica.pool) as tx:
        await store.finish(tx, TaskStatus.failure(waiting.task_id, message))


async def _still_waits(tx: Connection, waiting: Waiting) -> bool:
    return bool(
        await tx.fetchval(
            "SELECT true FROM nemeton_attempts WHERE task_id = $1 AND attempt = $2 AND state = 'WAITING' FOR UPDATE",
            waiting.task_id,
            waiting.attempt,
        )
    )
