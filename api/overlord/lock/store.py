"""
Locks as rows of `druid_tasklocks`: one row a task that shares a lock, Druid's JSON as payload.

A row counts while its task is active; what a finished task left behind is nobody's lock. Rows are rewritten in
place and otherwise untouched, so that whatever Druid put into a payload stays there.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson

from druid_core.instant import format_instant
from druid_core.interval import Interval
from druid_core.lock import TaskLock, load_lock
from overlord.db.pool import Connection
from overlord.lock.conflict import INSTANT_PATTERN, HeldLock
from overlord.lock.overlap import bounds, overlaps

_READ = f"""
WITH task AS (SELECT active FROM druid_tasks WHERE id = $2)
SELECT lock.id, lock.task_id, lock.lock_payload, NULL AS version
FROM druid_tasks AS holder JOIN druid_tasklocks AS lock ON lock.task_id = holder.id
WHERE holder.datasource = $1 AND holder.active AND lock.lock_payload IS NOT NULL
UNION ALL
SELECT NULL, $2, NULL, (
    SELECT max(version COLLATE "C") FROM druid_segments
    WHERE datasource = $1 AND {overlaps("$4", "$3")} AND version COLLATE "C" >= $5
        AND version ~ '^{INSTANT_PATTERN}$'
) FROM task WHERE active
"""

_READ_FOR = """
SELECT lock.id, lock.task_id, lock.lock_payload
FROM druid_tasks AS holder JOIN druid_tasklocks AS lock ON lock.task_id = holder.id
WHERE holder.datasource = $1 AND holder.active AND lock.lock_payload IS NOT NULL
UNION ALL
SELECT NULL, id, NULL FROM druid_tasks WHERE id = ANY($2) AND active
"""

_NEWEST = f"""
SELECT since, until, max(version COLLATE "C")
FROM unnest($2::text[], $3::text[]) AS asked (since, until)
JOIN druid_segments ON datasource = $1 AND {overlaps("until", "since")} AND version COLLATE "C" >= $4
    AND version ~ '^{INSTANT_PATTERN}$'
GROUP BY since, until
"""


@dataclass(frozen=True, slots=True)
class LockRow:
    """One task's share in a lock."""

    id: int
    task_id: str
    payload: bytes
    lock: TaskLock


@dataclass(frozen=True, slots=True)
class DataSourceLocks:
    """What must be known of a datasource to decide on one request."""

    is_active: bool
    """Whether the task that asks is active."""
    rows: list[LockRow]
    newest_version: str | None
    """The highest version among overlapping segments that is not older than now; None when all are older."""


async def lock_data_source(tx: Connection, data_source: str) -> None:
    """Until the transaction ends no other changes a lock of this datasource. Druid: the giant lock of TaskLockbox"""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('nemeton lockbox ' || $1, 0))", data_source)


async def read(tx: Connection, data_source: str, task_id: str, interval: Interval, now_ms: int) -> DataSourceLocks:
    """All locks of a datasource, in one statement."""
    start, end = bounds(interval)
    rows = await tx.fetch(_READ, data_source, task_id, start, end, format_instant(now_ms))
    is_active, newest, locks = False, None, list[LockRow]()
    for row_id, holder, payload, version in rows:
        if payload is None:
            is_active, newest = True, version
        else:
            locks.append(_row(row_id, holder, payload))
    return DataSourceLocks(is_active, locks, newest)


async def read_for(tx: Connection, data_source: str, task_ids: Collection[str]) -> tuple[set[str], list[LockRow]]:
    """Which of some tasks are active, and all locks of a datasource, in one statement."""
    active, locks = set[str](), list[LockRow]()
    for row_id, task_id, payload in await tx.fetch(_READ_FOR, data_source, list(task_ids)):
        if payload is None:
            active.add(task_id)
        else:
            locks.append(_row(row_id, task_id, payload))
    return active, locks


async def newest_versions(
    tx: Connection, data_source: str, intervals: Collection[Interval], now_ms: int
) -> dict[Interval, str]:
    """The highest version among the segments that overlap each interval; left out where none is newer than now."""
    asked = {interval: bounds(interval) for interval in intervals}
    starts, ends = [start for start, _ in asked.values()], [end for _, end in asked.values()]
    rows = await tx.fetch(_NEWEST, data_source, starts, ends, format_instant(now_ms))
    newest: dict[tuple[str, str], str] = {(start, end): version for start, end, version in rows}
    return {interval: newest[texts] for interval, texts in asked.items() if texts in newest}


async def of_task(tx: Connection, task_id: str, *, keep_active: bool = False) -> list[LockRow] | None:
    """
    The locks of an active task, the revoked ones included; None when it is not active.

    With `keep_active` the task cannot be finished by another transaction before this one ends.
    """
    share = "FOR SHARE" if keep_active else ""
    rows = await tx.fetch(
        f"""
        WITH task AS (SELECT id FROM druid_tasks WHERE id = $1 AND active {share})
        SELECT lock.id, task.id AS task_id, lock.lock_payload
        FROM task LEFT JOIN druid_tasklocks AS lock ON lock.task_id = task.id ORDER BY lock.id
        """,
        task_id,
    )
    if not rows:
        return None
    return [_row(row_id, holder, payload) for row_id, holder, payload in rows if payload is not None]


async def of_data_sources(tx: Connection, data_sources: Iterable[str]) -> list[LockRow]:
    """The locks that active tasks hold in these datasources."""
    rows = await tx.fetch(
        """
        SELECT lock.id, lock.task_id, lock.lock_payload
        FROM druid_tasks AS holder JOIN druid_tasklocks AS lock ON lock.task_id = holder.id
        WHERE holder.datasource = ANY($1) AND holder.active AND lock.lock_payload IS NOT NULL
        ORDER BY lock.id
        """,
        list(data_sources),
    )
    return [_row(row_id, holder, payload) for row_id, holder, payload in rows]


async def insert(tx: Connection, task_id: str, lock: TaskLock) -> None:
    await insert_all(tx, [(task_id, lock)])


async def insert_all(tx: Connection, shares: Sequence[tuple[str, TaskLock]]) -> None:
    """Tasks and the locks that they share from now on, in one statement."""
    await tx.execute(
        "INSERT INTO druid_tasklocks (task_id, lock_payload) SELECT * FROM unnest($1::text[], $2::bytea[])",
        [task_id for task_id, _ in shares],
        [payload_of(lock) for _, lock in shares],
    )


async def revoke(tx: Connection, rows: Sequence[LockRow]) -> None:
    """Mark locks as revoked, for every task that shares them. Always in one order, so that nobody waits in a ring."""
    await tx.execute(
        """
        WITH lost AS (SELECT id FROM druid_tasklocks WHERE id = ANY($1) ORDER BY id FOR UPDATE)
        UPDATE druid_tasklocks AS lock SET lock_payload = rewritten.payload
        FROM lost, unnest($1::bigint[], $2::bytea[]) AS rewritten (id, payload)
        WHERE lock.id = lost.id AND rewritten.id = lost.id
        """,
        [row.id for row in rows],
        [orjson.dumps(orjson.loads(row.payload) | {"revoked": True}) for row in rows],
    )


async def delete(tx: Connection, row_ids: Sequence[int]) -> None:
    await tx.execute(
        """
        DELETE FROM druid_tasklocks
        WHERE id IN (SELECT id FROM druid_tasklocks WHERE id = ANY($1) ORDER BY id FOR UPDATE)
        """,
        row_ids,
    )


async def delete_all(tx: Connection, task_id: str) -> None:
    """
    Every lock row of a task and what others noted for its REPLACE locks, in one statement. Druid: TaskLockbox.remove

    For a task that is not active any more also what it allocated and did not publish, once no active task shares
    its allocator: with nobody left to publish it, it would only push partition numbers.
    """
    await tx.execute(
        """
        WITH locks AS (
            DELETE FROM druid_tasklocks
            WHERE id IN (SELECT id FROM druid_tasklocks WHERE task_id = $1 ORDER BY id FOR UPDATE)
        ),
        allocated AS (
            DELETE FROM druid_pendingsegments AS pending USING druid_tasks AS done
            WHERE done.id = $1 AND NOT done.active AND pending.datasource = done.datasource
                AND pending.task_allocator_id IN (done.id, done.group_id)
                AND NOT EXISTS (
                    SELECT 1 FROM druid_tasks AS other
                    WHERE other.datasource = done.datasource AND other.active AND other.id <> done.id
                        AND pending.task_allocator_id IN (other.id, other.group_id)
                )
        )
        DELETE FROM druid_upgradesegments WHERE task_id = $1
        """,
        task_id,
    )


def held_locks(rows: Iterable[LockRow]) -> list[HeldLock]:
    """Rows gathered into locks: equal locks of several tasks are one that they share."""
    holders: defaultdict[TaskLock, set[str]] = defaultdict(set)
    for row in rows:
        holders[row.lock].add(row.task_id)
    return [HeldLock(lock, frozenset(tasks)) for lock, tasks in holders.items()]


def payload_of(lock: TaskLock) -> bytes:
    """Druid's JSON of a lock, as it is stored."""
    return orjson.dumps(lock.to_stored())


def _row(row_id: int, task_id: str, payload: bytes) -> LockRow:
    return LockRow(row_id, task_id, payload, _lock(payload))


@lru_cache(maxsize=8192)
def _lock(payload: bytes) -> TaskLock:
    """The same bytes are the same lock: a busy datasource has a thousand, which are read with each request."""
    return load_lock(orjson.loads(payload))
