"""Task locks, as they travel and as they are stored."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, cast

from pydantic import BeforeValidator

from druid_core.interval import Interval
from druid_core.wire import WireModel


class LockType(StrEnum):
    """Druid: TaskLockType"""

    EXCLUSIVE = "EXCLUSIVE"  # shared with nobody outside the group
    SHARED = "SHARED"  # beside other SHARED ones
    REPLACE = "REPLACE"  # beside APPEND ones that it contains
    APPEND = "APPEND"  # beside other APPEND ones, and one REPLACE that contains it


class LockGranularity(StrEnum):
    """What one lock is about. Druid: LockGranularity"""

    TIME_CHUNK = "timeChunk"  # all that is in its interval
    SEGMENT = "segment"  # one partition of its interval


class TaskLock(WireModel):
    """A time-chunk lock held by the tasks of one group. Druid: TimeChunkLock"""

    granularity: ClassVar[LockGranularity] = LockGranularity.TIME_CHUNK

    type: LockType = LockType.EXCLUSIVE
    group_id: str
    data_source: str
    interval: Interval
    version: str
    priority: int | None = None
    revoked: bool = False

    def covers(self, interval: Interval, version: str, partition: int) -> bool:
        """
        Whether its holder may write the segment of this interval, version and number, if it is not revoked.

        It must not be older than the segment. An APPEND lock is older than everything, and covers all versions.
        Druid: TaskLocks.isLockCoversSegments
        """
        return self.interval.covers(interval) and (self.type is LockType.APPEND or self.version >= version)

    @property
    def is_shared(self) -> bool:
        """Whether the tasks of the group that ask for it hold one lock together, and not one each."""
        return True

    def to_stored(self) -> dict[str, Any]:
        """The JSON object as `druid_tasklocks` keeps it and `activeLocks` shows it."""
        return {"granularity": self.granularity.value} | self.to_wire()


class SegmentLock(TaskLock):
    """A lock on one partition of an interval, held by the tasks of one group. Druid: SegmentLock"""

    granularity: ClassVar[LockGranularity] = LockGranularity.SEGMENT

    partition_id: int

    @property
    def is_shared(self) -> bool:
        """Only exclusive ones are. Druid: TaskLockPosse.reusableFor"""
        return self.type is LockType.EXCLUSIVE

    def to_wire(self) -> dict[str, Any]:
        """The JSON object as Druid writes it, the partition beside its version."""
        wire = super().to_wire()
        last = {name: wire.pop(name) for name in ("priority", "revoked", "partitionId")}
        return wire | {"partitionId": last.pop("partitionId")} | last

    def covers(self, interval: Interval, version: str, partition: int) -> bool:
        """The same, for its own partition alone, and without an exception for APPEND."""
        return partition == self.partition_id and self.interval.covers(interval) and self.version >= version


def _loaded(raw: object) -> object:
    return load_lock(cast("dict[str, Any]", raw)) if isinstance(raw, dict) else raw


def load_lock(raw: dict[str, Any]) -> TaskLock:
    """
    A lock of either granularity from its JSON, stored or answered.

    Answers leave the granularity out; then a segment lock shows by its partition. Druid: TaskLock
    """
    granularity = raw.get("granularity")
    is_segment = "partitionId" in raw if granularity is None else granularity == LockGranularity.SEGMENT
    return (SegmentLock if is_segment else TaskLock).model_validate(raw)


class LockResult(WireModel):
    """The answer to a request for a segment lock: none, one, or one that was lost. Druid: LockResult"""

    task_lock: Annotated[TaskLock | None, BeforeValidator(_loaded)] = None
    revoked: bool = False

    @classmethod
    def of(cls, lock: TaskLock | None) -> "LockResult":
        """The answer for what the lockbox gave."""
        return cls(task_lock=lock, revoked=lock is not None and lock.revoked)

    def to_wire(self) -> dict[str, Any]:
        """Here, unlike in other answers, a lock says its granularity."""
        lock = None if self.task_lock is None else self.task_lock.to_stored()
        return {"taskLock": lock, "newSegmentId": None, "revoked": self.revoked}
