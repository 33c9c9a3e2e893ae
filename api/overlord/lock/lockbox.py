"""
The lockbox: locks asked for, held, given back, inside the caller's transaction. Druid: TaskLockbox

Nothing is kept in memory. What decides is in `conflict`; here one datasource's locks are held still for the rest of
the transaction, read, and the decision written. A transaction should touch the locks of one datasource only: two
that take several in different orders would wait for each other until Postgres ends one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from druid_core.errors import Conflict, InvalidInput
from druid_core.interval import Interval
from druid_core.lock import LockGranularity, LockType, SegmentLock, TaskLock
from overlord.db.pool import Connection, after_commit
from overlord.lock import store
from overlord.lock.conflict import (
    Create,
    HeldLock,
    Join,
    LockRequest,
    Mismatch,
    Partition,
    Refuse,
    decide,
    next_version,
    superseded_by,
)
from overlord.lock.store import LockRow
from overlord.metrics import meters


class InactiveTask(Conflict):
    """A task that is unknown or finished asked for a lock."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"Unable to grant lock to inactive Task [{task_id}]")


class OtherPriority(Conflict):
    """A task asked for the lock of its group, which was given at another priority."""

    def __init__(self, task_id: str, priority: int, lock: TaskLock) -> None:
        self.task_id = task_id
        super().__init__(
            f"priority[{priority}] of task[{task_id}] is different from the existing lockPosse's "
            f"priority[{lock.priority}]: tasks of group [{lock.group_id}] share its lock on [{lock.interval}] "
            "and must have one priority"
        )


@dataclass(frozen=True, slots=True)
class LockRequester:
    """What the lockbox must know of a task."""

    task_id: str
    group_id: str
    data_source: str
    priority: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A lock that would be granted; nothing is written yet."""

    lock: TaskLock
    is_new_holder: bool
    revoke: list[LockRow]
    """Shares of tasks of lower priority that are in the way."""
    release: list[LockRow]
    """The task's own shares that the lock makes needless."""


async def acquire(
    tx: Connection,
    requester: LockRequester,
    lock_type: LockType,
    interval: Interval,
    now_ms: int,
    partition: Partition | None = None,
) -> TaskLock | None:
    """
    A lock now, or None. One that comes back `revoked` was lost to a task of higher priority.

    With `partition` it is a segment lock. Asking again for what is held answers the same lock. Three statements at
    most. Raises InactiveTask, OtherPriority, and InvalidInput for an empty interval. Druid: TaskLockbox.tryLock
    """
    grant = await consider(tx, requester, lock_type, interval, now_ms, partition)
    return None if grant is None else await settle(tx, requester, grant)


async def consider(
    tx: Connection,
    requester: LockRequester,
    lock_type: LockType,
    interval: Interval,
    now_ms: int,
    partition: Partition | None = None,
) -> Grant | None:
    """What `acquire` would grant, nothing written yet. The datasource's locks stay still until the transaction ends."""
    await store.lock_data_source(tx, requester.data_source)
    known = await store.read(tx, requester.data_source, requester.task_id, interval, now_ms)
    if not known.is_active:
        raise InactiveTask(requester.task_id)
    request = LockRequest(requester.task_id, requester.group_id, lock_type, interval, requester.priority, partition)
    newest = [] if known.newest_version is None else [known.newest_version]
    return weigh(request, requester.data_source, known.rows, newest, now_ms)


def weigh(
    request: LockRequest, data_source: str, rows: list[LockRow], versions: Sequence[str], now_ms: int
) -> Grant | None:
    """
    What an active task would be granted, given all lock rows of its datasource. Pure.

    `versions` are those of the segments there that may be newer than now. Raises what `acquire` raises.
    """
    if request.interval.is_empty:
        raise InvalidInput(f"interval empty: [{request.interval}]")
    rows = [row for row in rows if row.lock.interval.overlaps(request.interval)]
    held = store.held_locks(rows)
    match decide(request, held):
        case Refuse():
            return None
        case Mismatch(theirs):
            raise OtherPriority(request.task_id, request.priority, theirs.lock)
        case Join(theirs):
            lock, is_new_holder, lost = theirs.lock, request.task_id not in theirs.holders, ()
        case Create(revoke):
            version = next_version(request.type, now_ms, [*(each.lock.version for each in held), *versions])
            lock, is_new_holder, lost = _lock_of(request, data_source, version), True, revoke
    needless = superseded_by(lock, request.task_id, held) if is_new_holder else []
    return Grant(lock, is_new_holder, revoke=_shares(rows, lost), release=_shares(rows, needless, request.task_id))


async def settle(tx: Connection, requester: LockRequester, grant: Grant) -> TaskLock:
    """Write what `consider` found in this same transaction."""
    if grant.revoke:
        await store.revoke(tx, grant.revoke)
        after_commit(lambda: meters.locks_revoked(len(grant.revoke)))
    if grant.release:
        await store.delete(tx, [row.id for row in grant.release])
    if grant.is_new_holder:
        await store.insert(tx, requester.task_id, grant.lock)
    return grant.lock


async def freeze(tx: Connection, data_source: str, task_id: str) -> list[TaskLock]:
    """
    The locks of an active task, which nobody revokes and which stay its own until the transaction ends.

    For what must not be interrupted: publishing, allocating, deleting. Raises InactiveTask.
    Druid: TaskLockbox.doInCriticalSection
    """
    await store.lock_data_source(tx, data_source)
    rows = await store.of_task(tx, task_id, keep_active=True)
    if rows is None:
        raise InactiveTask(task_id)
    return [row.lock for row in rows]


async def held(tx: Connection, task_id: str) -> list[TaskLock]:
    """
    The locks of a task by interval, revoked ones included; none when it is not active.

    Druid: TaskLockbox.findLocksForTask
    """
    return sorted((row.lock for row in await store.of_task(tx, task_id) or []), key=lambda lock: lock.interval)


async def release(tx: Connection, task_id: str, interval: Interval) -> bool:
    """
    Give back the task's time chunk locks of exactly this interval; whether there was one. Twice is once.

    The interval is the lock's, which may be wider than what was asked for. Druid: TaskLockbox.unlock
    """
    rows = await store.of_task(tx, task_id) or []
    given_back = [
        row.id for row in rows if row.lock.interval == interval and row.lock.granularity is LockGranularity.TIME_CHUNK
    ]
    if given_back:
        await store.delete(tx, given_back)
    return bool(given_back)


async def release_all(tx: Connection, task_id: str) -> None:
    """
    Give back all locks of a task, in one statement. Twice is once. Waits for no other task's locks.

    In the transaction that finishes a task it comes after the status, and then also drops what was only allocated.
    """
    await store.delete_all(tx, task_id)


def _lock_of(request: LockRequest, data_source: str, version: str) -> TaskLock:
    """The lock that is asked for; `version` is a time chunk's, a segment has its own already."""
    if request.partition is None:
        return TaskLock(
            type=request.type,
            group_id=request.group_id,
            data_source=data_source,
            interval=request.interval,
            version=version,
            priority=request.priority,
        )
    return SegmentLock(
        type=request.type,
        group_id=request.group_id,
        data_source=data_source,
        interval=request.interval,
        version=request.partition.version,
        priority=request.priority,
        partition_id=request.partition.id,
    )


def _shares(rows: list[LockRow], locks: Sequence[HeldLock], task_id: str | None = None) -> list[LockRow]:
    """The rows behind some locks: those of every holder, or of one task."""
    if not locks:
        return []
    wanted = frozenset(each.lock for each in locks)
    return [row for row in rows if row.lock in wanted and (task_id is None or row.task_id == task_id)]
