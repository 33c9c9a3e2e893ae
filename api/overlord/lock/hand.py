"""
The locks of one datasource in hand, for many requests in one transaction that holds it still.

They are read once; what is granted counts at once and is written together. Each request is answered as
`lockbox.acquire` would answer it.
"""

from collections import defaultdict
from collections.abc import Collection

from druid_core.interval import Interval
from druid_core.lock import LockType, TaskLock
from overlord.db.pool import Connection
from overlord.lock import lockbox, store
from overlord.lock.conflict import LockRequest, Partition
from overlord.lock.lockbox import Grant, InactiveTask, LockRequester
from overlord.lock.store import LockRow

_UNWRITTEN = 0
"""The id of a row that has none yet."""


class LocksInHand:
    """For a transaction that `lock_data_source` was called in. Nothing is written before `write`, or a revocation."""

    def __init__(self, tx: Connection, data_source: str, now_ms: int) -> None:
        self._tx = tx
        self._data_source = data_source
        self._now_ms = now_ms
        self._active: set[str] = set()
        self._known: set[str] = set()
        self._rows: defaultdict[Interval, list[LockRow]] | None = None
        self._newest: dict[Interval, str | None] = {}
        self._unwritten: list[tuple[str, TaskLock]] = []

    async def look(self, task_ids: Collection[str], intervals: Collection[Interval]) -> None:
        """Read at once what requests of these tasks for these intervals will need. Without it each is read singly."""
        self._known |= set(task_ids)
        self._active, rows = await store.read_for(self._tx, self._data_source, self._known)
        self._rows = defaultdict(list)
        for row in rows:
            self._rows[row.lock.interval].append(row)
        await self._look_at_versions(intervals)

    async def consider(
        self, requester: LockRequester, lock_type: LockType, interval: Interval, partition: Partition | None = None
    ) -> Grant | None:
        """What would be granted. Raises what `lockbox.consider` raises."""
        if self._rows is None or requester.task_id not in self._known:
            await self.write()
            await self.look([requester.task_id], [])
        if requester.task_id not in self._active:
            raise InactiveTask(requester.task_id)
        if interval not in self._newest:
            await self._look_at_versions([interval])
        request = LockRequest(requester.task_id, requester.group_id, lock_type, interval, requester.priority, partition)
        grant = self._weigh(request)
        if grant is not None and any(row.id == _UNWRITTEN for row in (*grant.revoke, *grant.release)):
            # what is taken away must be there
            await self.write()
            await self.look([], [])
            grant = self._weigh(request)
        return grant

    async def settle(self, requester: LockRequester, grant: Grant) -> None:
        """Count what was considered last."""
        if grant.revoke or grant.release:
            await self.write()
            await lockbox.settle(self._tx, requester, grant)
            self._rows = None  # they are other rows now
        elif grant.is_new_holder:
            self._unwritten.append((requester.task_id, grant.lock))
            if self._rows is not None:
                self._rows[grant.lock.interval].append(LockRow(_UNWRITTEN, requester.task_id, b"", grant.lock))

    async def write(self) -> None:
        """Store what was granted."""
        if self._unwritten:
            await store.insert_all(self._tx, self._unwritten)
            self._unwritten = []

    async def _look_at_versions(self, intervals: Collection[Interval]) -> None:
        new = [interval for interval in intervals if interval not in self._newest]
        if new:
            found = await store.newest_versions(self._tx, self._data_source, new, self._now_ms)
            self._newest |= {interval: found.get(interval) for interval in new}

    def _weigh(self, request: LockRequest) -> Grant | None:
        rows = [
            row
            for interval, there in (self._rows or {}).items()
            if interval.overlaps(request.interval)
            for row in there
        ]
        newest = self._newest[request.interval]
        return lockbox.weigh(request, self._data_source, rows, [] if newest is None else [newest], self._now_ms)
