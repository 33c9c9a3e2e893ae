"""
The lockbox: locks asked for, held, given back, inside the caller's transaction. Druid: TaskLockbox

Nothing is kept in memory. What decides is in `conflict`; here one datasource's locks are held still for the rest of
the transaction, read, and the decision written. A transaction should touch the locks of one datasource only: two
that take several in different orders would wait for each other until Postgres ends one of them.
"""

from dataclasses import dataclass

from druid_core.errors import Conflict, InvalidInput
from druid_core.interval import Interval
from druid_core.lock import LockGranularity, LockType, TaskLock
from overlord.db.pool import Connection, after_commit
from overlord.lock import store
from overlord.lock.conflict import (
    Create,
    HeldLock,
    Join,
    LockRequest,
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
    tx: Connection, requester: LockRequester, lock_type: LockType, interval: Interval, now_ms: int
) -> TaskLock | None:
    """
    A lock now, or None. One that comes back `revoked` was lost to a task of higher priority.

    Asking again for what is held answers the same lock. Three statements at most. Raises InactiveTask, and
    InvalidInput for an empty interval. Druid: TaskLockbox.tryLock
    """
    grant = await consider(tx, requester, lock_type, interval, now_ms)
    return None if grant is None else await settle(tx, requester, grant)


async def consider(
    tx: Connection, requester: LockRequester, lock_type: LockType, interval: Interval, now_ms: int
) -> Grant | None:
    """What `acquire` would grant, nothing written yet. The datasource's locks stay still until the transaction ends."""
    if interval.is_empty:
        raise InvalidInput(f"interval empty: [{interval}]")
    await store.lock_data_source(tx, requester.data_source)
    known = await store.read(tx, requester.data_source, requester.task_id, interval, now_ms)
    if not known.is_active:
        raise InactiveTask(requester.task_id)
    held = store.held_locks(known.rows)
    request = LockRequest(requester.task_id, requester.group_id, lock_type, interval, requester.priority)
    match decide(request, held):
        case Refuse():
            return None
        case Join(theirs):
            lock, is_new_holder, lost = theirs.lock, requester.task_id not in theirs.holders, list[HeldLock]()
        case Create(revoke):
            earlier = [each.lock.version for each in held if each.lock.interval.overlaps(interval)]
            newest = [] if known.newest_version is None else [known.newest_version]
            lock = TaskLock(
                type=lock_type,
                group_id=requester.group_id,
                data_source=requester.data_source,
                interval=interval,
                version=next_version(lock_type, now_ms, earlier + newest),
                priority=requester.priority,
            )
            is_new_holder, lost = True, list(revoke)
    return Grant(
        lock,
        is_new_holder,
        revoke=_shares(known.rows, lost),
        release=_shares(known.rows, superseded_by(lock, requester.task_id, held), requester.task_id),
    )


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
    """The locks of a task, revoked ones included; none when it is not active. Druid: TaskLockbox.findLocksForTask"""
    return [row.lock for row in await store.of_task(tx, task_id) or []]


async def release(tx: Connection, task_id: str, interval: Interval) -> bool:
    """
    Give back the task's time chunk locks of exactly this interval; whether there was one. Twice is once.

    The interval is the lock's, which may be wider than what was asked for. Druid: TaskLockbox.unlock
    """
    rows = await store.of_task(tx, task_id) or []
    given_back = [
        row.id for row in rows if row.lock.interval == interval and row.granularity is LockGranularity.TIME_CHUNK
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


def _shares(rows: list[LockRow], locks: list[HeldLock], task_id: str | None = None) -> list[LockRow]:
    """The rows behind some locks: those of every holder, or of one task."""
    wanted = {(each.lock, each.granularity) for each in locks}
    return [
        row for row in rows if (row.lock, row.granularity) in wanted and (task_id is None or row.task_id == task_id)
    ]
