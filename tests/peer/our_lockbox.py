"""
Our side of an episode of `lock_steps`, twice: the real actions on a real Postgres, and the policy alone over rows in
memory, for the long runs. Each step is answered as Druid's side answers it (`Locks.java`).
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Protocol

from druid_core.action import (
    LockAcquire,
    LockRelease,
    LockTryAcquire,
    SegmentLockAcquire,
    SegmentLockTryAcquire,
)
from druid_core.errors import NemetonError
from druid_core.instant import format_instant
from druid_core.interval import Interval
from druid_core.lock import LockGranularity, LockResult, LockType, SegmentLock, TaskLock
from druid_core.status import TaskStatus
from overlord.action.actor import Actor
from overlord.action.lock_listing import intervals_shown, locks_shown, parse_filters
from overlord.action.parse import parse_action
from overlord.action.perform import perform
from overlord.db.pool import Connection
from overlord.lock import lockbox, store
from overlord.lock.conflict import LockRequest, Partition
from overlord.lock.lockbox import InactiveTask, LockRequester
from overlord.lock.store import LockRow
from overlord.task import store as tasks
from tests.peer.lock_steps import Step

Said = dict[str, Any]
LocksByTask = dict[str, list[str]]


class OurLockbox(Protocol):
    """An empty lockbox that takes steps."""

    async def take(self, step: Step) -> Said:
        """`{"result": …}`; nothing where the step has no answer. Raises NemetonError where it is refused."""
        ...

    async def attempt(self, step: Step) -> Said:
        """`take`, and all is as before."""
        ...

    async def rows(self) -> Sequence[LockRow]:
        """All locks of active tasks."""
        ...


class StoredLockbox:
    """The actions of peons, performed in a transaction."""

    def __init__(self, tx: Connection) -> None:
        self._tx = tx
        self._requesters: dict[str, LockRequester] = {}

    async def take(self, step: Step) -> Said:
        """See `OurLockbox`."""
        tx, task_id = self._tx, step.get("task", "")
        match step["do"]:
            case "start":
                await self._start(_requester(step), step["now"])
            case "finish":
                await tasks.finish(tx, TaskStatus.success(task_id))
            case "unlockAll":
                await lockbox.release_all(tx, task_id)
            case "publish":
                frozen = await lockbox.freeze(tx, self._requesters[task_id].data_source, task_id)
                return _publish(frozen, step)
            case "lockedIntervals" | "activeLocks":
                return _listing(await self.rows(), step)
            case _:
                asked = parse_action({"task": {"id": task_id}, "action": step["action"]})
                actor = Actor("noop", self._requesters[task_id])
                return {"result": await perform(tx, actor, asked.action, step["now"])}
        return {}

    async def attempt(self, step: Step) -> Said:
        """See `OurLockbox`."""
        savepoint = self._tx.transaction()
        await savepoint.start()
        try:
            return await self.take(step)
        finally:
            await savepoint.rollback()

    async def rows(self) -> Sequence[LockRow]:
        """See `OurLockbox`."""
        return await store.of_data_sources(self._tx, {each.data_source for each in self._requesters.values()})

    async def _start(self, requester: LockRequester, now_ms: int) -> None:
        self._requesters[requester.task_id] = requester
        await self._tx.execute(
            """
            INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
            VALUES ($1, $2, $3, '{}', '{}', TRUE, 'noop', $4)
            """,
            requester.task_id,
            format_instant(now_ms),
            requester.data_source,
            requester.group_id,
        )


class RememberedLockbox:
    """The policy of `overlord.lock` over rows that a list holds."""

    def __init__(self) -> None:
        self._active: dict[str, LockRequester] = {}
        self._rows: list[LockRow] = []
        self._ids = count(1)

    async def take(self, step: Step) -> Said:
        """See `OurLockbox`."""
        task_id = step.get("task", "")
        match step["do"]:
            case "start":
                self._active[task_id] = _requester(step)
            case "finish" | "unlockAll":
                self._rows = [row for row in self._rows if row.task_id != task_id]
                if step["do"] == "finish":
                    self._active.pop(task_id, None)
            case "publish":
                return _publish(self._of(task_id), step)
            case "lockedIntervals" | "activeLocks":
                return _listing(self._rows, step)
            case _:
                return {"result": self._perform(task_id, step)}
        return {}

    async def attempt(self, step: Step) -> Said:
        """See `OurLockbox`."""
        before = self._rows
        try:
            return await self.take(step)
        finally:
            self._rows = before

    async def rows(self) -> Sequence[LockRow]:
        """See `OurLockbox`."""
        return self._rows

    def _of(self, task_id: str) -> list[TaskLock]:
        return [row.lock for row in self._rows if row.task_id == task_id]

    def _perform(self, task_id: str, step: Step) -> Any:
        match parse_action({"task": {"id": task_id}, "action": step["action"]}).action:
            case LockTryAcquire(lock_type=kind, interval=interval) | LockAcquire(lock_type=kind, interval=interval):
                lock = self._acquire(task_id, kind or LockType.EXCLUSIVE, interval, step["now"])
                return None if lock is None else lock.to_wire()
            case SegmentLockAcquire(lock_type=kind, interval=interval, version=version, partition_id=number):
                lock = self._acquire(task_id, kind, interval, step["now"], Partition(version, number))
                return LockResult.of(lock).to_wire()
            case SegmentLockTryAcquire(lock_type=kind, interval=interval, version=version, partition_ids=numbers):
                partitions = [Partition(version, number) for number in sorted(numbers)]
                locks = [self._acquire(task_id, kind, interval, step["now"], each) for each in partitions]
                return [LockResult.of(lock).to_wire() for lock in locks]
            case LockRelease(interval=interval):
                self._rows = [
                    row
                    for row in self._rows
                    if row.task_id != task_id
                    or row.lock.interval != interval
                    or row.lock.granularity is not LockGranularity.TIME_CHUNK
                ]
                return None
            case _:
                return [lock.to_wire() for lock in sorted(self._of(task_id), key=lambda lock: lock.interval)]

    def _acquire(
        self, task_id: str, kind: LockType, interval: Interval, now_ms: int, partition: Partition | None = None
    ) -> TaskLock | None:
        if task_id not in self._active:
            raise InactiveTask(task_id)
        own = self._active[task_id]
        here = [row for row in self._rows if row.lock.data_source == own.data_source]
        request = LockRequest(task_id, own.group_id, kind, interval, own.priority, partition)
        grant = lockbox.weigh(request, own.data_source, here, [], now_ms)
        if grant is None:
            return None
        revoked, released = ({row.id for row in rows} for rows in (grant.revoke, grant.release))
        self._rows = [
            LockRow(row.id, row.task_id, b"", row.lock.model_copy(update={"revoked": True}))
            if row.id in revoked
            else row
            for row in self._rows
            if row.id not in released
        ]
        if grant.is_new_holder:
            self._rows = [*self._rows, LockRow(next(self._ids), task_id, b"", grant.lock)]
        return grant.lock


async def answer(take: Callable[[Step], Awaitable[Said]], step: Step) -> Said:
    """What a lockbox says when it takes the step so, a refusal as `{"error": …}`."""
    try:
        return await take(step)
    except NemetonError as error:
        return {"error": str(error)}


async def locks_of(ours: OurLockbox) -> LocksByTask:
    """By task, every lock as a text, in order. Tasks without any are left out."""
    found: LocksByTask = {}
    for row in await ours.rows():
        found.setdefault(row.task_id, []).append(_text(row.lock))
    return {task_id: sorted(locks) for task_id, locks in found.items()}


def _requester(step: Step) -> LockRequester:
    return LockRequester(step["task"], step["group"], step["dataSource"], step["priority"])


def _listing(rows: Sequence[LockRow], step: Step) -> Said:
    filters = parse_filters([step["filter"]])
    show = intervals_shown if step["do"] == "lockedIntervals" else locks_shown
    return {"result": show(rows, filters)}


def _publish(locks: list[TaskLock], step: Step) -> Said:
    """What a task may do on the interval with these locks, and how many of them are over it."""
    covering = [lock for lock in locks if lock.interval.covers(Interval.parse(step["interval"]))]
    if not covering:
        return {}
    return {"result": "revoked" if all(lock.revoked for lock in covering) else "valid", "locks": len(covering)}


def _text(lock: TaskLock) -> str:
    is_segment = isinstance(lock, SegmentLock)
    partition = f" {lock.partition_id}" if is_segment else ""
    granularity, revoked = "SEGMENT" if is_segment else "TIME_CHUNK", " revoked" if lock.revoked else ""
    return (
        f"{granularity} {lock.type} {lock.group_id} {lock.interval} {lock.version} {lock.priority}{partition}{revoked}"
    )
