"""
The time chunks that a task writes to: their locks, and the identities of the segments in them.

An overwriting task locks its chunks and counts partitions itself; an appending one has every segment allocated.
Druid: AbstractBatchIndexTask, SegmentAllocator
"""

from dataclasses import dataclass, field

from druid_core.action import LockTryAcquire, SegmentAllocate
from druid_core.errors import TaskFailure
from druid_core.granularity import Granularity
from druid_core.interval import Interval, condense
from druid_core.lock import LockType, TaskLock
from druid_core.partial_shard_spec import NumberedPartialShardSpec
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.shard_spec import NumberedShardSpec
from druid_core.task import IndexParallelTask, IndexTask
from peon.toolbox import Toolbox

DEFAULT_LOCK_TIMEOUT_MS = 300_000
"""Druid: Tasks.DEFAULT_LOCK_TIMEOUT_MILLIS"""

_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 2.0


@dataclass
class TimeChunks:
    """What the task holds. `acquire` may be called again; locks that are held are not asked for twice."""

    task: IndexTask | IndexParallelTask
    toolbox: Toolbox
    segment_granularity: Granularity
    query_granularity: Granularity
    _locks: list[TaskLock] = field(default_factory=list[TaskLock])
    _partitions: dict[Interval, int] = field(default_factory=dict[Interval, int])
    _previous_id: str | None = None

    @property
    def appends(self) -> bool:
        return self.task.spec.io_config.append_to_existing

    def acquire(self, buckets: list[Interval]) -> None:
        """
        Lock time chunks, adjacent ones as one.

        Waits for locks of others up to the context's taskLockTimeout, in milliseconds. Raises TaskFailure when they
        are not granted by then, or were revoked.
        """
        missing = [bucket for bucket in buckets if not any(lock.interval.covers(bucket) for lock in self._locks)]
        for interval in condense(missing):
            self._locks.append(self._acquired(interval))

    def holds(self, bucket: Interval) -> bool:
        """Whether segments of the bucket can be identified now."""
        return self.appends or any(lock.interval.covers(bucket) for lock in self._locks)

    def next_segment(self, bucket: Interval) -> SegmentIdWithShardSpec:
        """
        The identity of the bucket's next segment.

        The core partition count is not known before the last one; it is filled in when all are. Raises TaskFailure
        when the Overlord allocates none that fits.
        """
        if self.appends:
            return self._allocated(bucket)
        version = self.version_of(bucket)
        number = self._partitions.get(bucket, 0)
        self._partitions[bucket] = number + 1
        return SegmentIdWithShardSpec(
            data_source=self.task.data_source,
            interval=bucket,
            version=version,
            shard_spec=NumberedShardSpec(partition_num=number, partitions=0),
        )

    @property
    def lock_type(self) -> LockType:
        """What the task asks for, and by which it publishes."""
        context = self.task.context
        if context.get("useConcurrentLocks") is True:
            return LockType.APPEND if self.appends else LockType.REPLACE
        if "taskLockType" in context:
            asked = LockType(context["taskLockType"])
        else:
            asked = LockType.SHARED if context.get("useSharedLock") is True else LockType.EXCLUSIVE
        shares = asked in (LockType.SHARED, LockType.APPEND)
        return LockType.EXCLUSIVE if shares and not self.appends else asked

    def version_of(self, bucket: Interval) -> str:
        """The version of the lock that covers the bucket."""
        return next(lock.version for lock in self._locks if lock.interval.covers(bucket))

    def core_partitions(self, bucket: Interval) -> int:
        """How many partitions the bucket got."""
        return self._partitions[bucket]

    def _acquired(self, interval: Interval) -> TaskLock:
        timeout_ms = DEFAULT_LOCK_TIMEOUT_MS if self.task.lock_timeout_ms is None else self.task.lock_timeout_ms
        deadline_ms = self.toolbox.clock() + timeout_ms
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            lock = self.toolbox.overlord.perform(LockTryAcquire(lock_type=self.lock_type, interval=interval))
            if lock is not None and lock.revoked:
                raise TaskFailure(f"Lock for interval [{interval}] was revoked by a task of higher priority")
            if lock is not None:
                return lock
            if self.toolbox.clock() >= deadline_ms:
                raise TaskFailure(
                    f"Failed to get a lock for interval [{interval}] of datasource [{self.task.data_source}] within "
                    f"[{timeout_ms}] ms (context key taskLockTimeout): another task holds it"
                )
            self.toolbox.stop.wait(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)

    def _allocated(self, bucket: Interval) -> SegmentIdWithShardSpec:
        allocated = self.toolbox.overlord.perform(
            SegmentAllocate(
                data_source=self.task.data_source,
                timestamp=bucket.start,
                query_granularity=self.query_granularity.to_wire(),
                preferred_segment_granularity=self.segment_granularity.to_wire(),
                sequence_name=self.task.id,
                previous_segment_id=self._previous_id,
                skip_segment_lineage_check=False,
                shard_spec_factory=NumberedPartialShardSpec(),
                lock_granularity="TIME_CHUNK",
                task_lock_type=self.lock_type,
            )
        )
        if allocated is None:
            raise TaskFailure(f"Cannot allocate a segment for interval [{bucket}]: another task holds its lock")
        if not allocated.interval.covers(bucket):
            raise TaskFailure(
                f"Cannot append to [{bucket}]: existing segments there have the finer interval [{allocated.interval}]; "
                "use their segmentGranularity"
            )
        self._previous_id = allocated.id
        return allocated
