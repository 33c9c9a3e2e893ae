"""
WAITING to PENDING: a task is released when all the locks that it needs are granted. Druid: TaskQueue.manageTasks

One transaction a task: all its locks or none, since a transaction that cannot have one of them is undone.
"""

from dataclasses import dataclass

import asyncpg
import orjson

from druid_core.errors import NemetonError, Unavailable
from druid_core.instant import parse_instant
from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.status import TaskStatus
from druid_core.task import load_task
from overlord import events
from overlord.db import hints
from overlord.db.pool import Connection, connection, transaction
from overlord.lock import lockbox
from overlord.lock.lockbox import LockRequester
from overlord.replica import Replica
from overlord.task import store
from overlord.task.need import need_of


class LocksRefused(NemetonError):
    """Somebody holds what the task needs. Undoes the transaction that found out."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row of `nemeton_attempts` in state WAITING."""

    task_id: str
    attempt: int
    data_source: str
    group_id: str
    priority: int
    lock_type: LockType
    intervals: list[Interval]


async def release_ready(replica: Replica) -> int:
    """Release every waiting task whose locks are free, highest priority and oldest first; how many there were."""
    async with connection(replica.pool) as held:
        rows = await held.fetch(
            """
            SELECT task_id, attempt, data_source, group_id, priority, lock_type, lock_intervals FROM nemeton_attempts
            WHERE state = 'WAITING' ORDER BY priority DESC, submitted_ms, task_id
            """
        )
    released = 0
    refused: list[_Waiting] = []
    for row in rows:
        waiting = _waiting(row)
        if any(_asks_for_the_same(waiting, other) for other in refused):
            continue
        if await _release(replica, waiting):
            released += 1
        else:
            refused.append(waiting)
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
                task = load_task(orjson.loads(row["payload"]))
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
                                              lock_intervals, submitted_ms, released_ms, context)
                VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING
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
            )
    return len(rows)


def _asks_for_the_same(waiting: _Waiting, refused: _Waiting) -> bool:
    """Whether `waiting` would only be refused as `refused` was: a queue behind one lock asks once."""
    return (
        waiting.data_source == refused.data_source
        and waiting.group_id == refused.group_id
        and waiting.priority <= refused.priority
        and waiting.lock_type is refused.lock_type
        and waiting.intervals == refused.intervals
    )


def _waiting(row: asyncpg.Record) -> _Waiting:
    intervals = [Interval.parse(text) for text in row["lock_intervals"].split(",")]
    return _Waiting(
        row["task_id"],
        row["attempt"],
        row["data_source"],
        row["group_id"],
        row["priority"],
        LockType(row["lock_type"]),
        intervals,
    )


async def _release(replica: Replica, waiting: _Waiting) -> bool:
    try:
        async with transaction(replica.pool) as tx:
            if not await _still_waits(tx, waiting):
                return True
            requester = LockRequester(waiting.task_id, waiting.group_id, waiting.data_source, waiting.priority)
            now_ms = replica.clock_ms()
            for interval in waiting.intervals:
                if await lockbox.acquire(tx, requester, waiting.lock_type, interval, now_ms) is None:
                    raise LocksRefused(f"{waiting.lock_type} lock on {interval} of {waiting.data_source}")
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


async def _still_waits(tx: Connection, waiting: _Waiting) -> bool:
    return bool(
        await tx.fetchval(
            "SELECT true FROM nemeton_attempts WHERE task_id = $1 AND attempt = $2 AND state = 'WAITING' FOR UPDATE",
            waiting.task_id,
            waiting.attempt,
        )
    )
