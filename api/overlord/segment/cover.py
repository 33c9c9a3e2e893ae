"""Whether the locks of a task allow it to write or delete segments. Pure. Druid: TaskLocks.checkLockCoversSegments"""

from collections.abc import Iterable, Sequence
from enum import Enum

from druid_core.errors import Conflict
from druid_core.interval import Interval
from druid_core.lock import SegmentLock, TaskLock
from druid_core.segment import DataSegment


class Cover(Enum):
    """How the locks of a task lie over its segments."""

    FULL = "full"  # an active lock of a sufficient version over each
    REVOKED = "revoked"  # over some there is only a lock that was lost to a higher priority
    MISSING = "missing"  # over some there is none, or only one that is older than the segment


class NotCovered(Conflict):
    """A task wants to write where it holds no lock."""

    def __init__(self, task_id: str, segments: Sequence[DataSegment], locks: Sequence[TaskLock]) -> None:
        self.task_id = task_id
        ids = ", ".join(segment.id for segment in segments[:10]) + (", …" if len(segments) > 10 else "")
        held = ", ".join(f"{lock.type} {lock.interval} {lock.version}" for lock in locks)
        super().__init__(f"Segments [{ids}] are not covered by locks [{held}] for task [{task_id}]")


def cover_of(segments: Iterable[DataSegment], locks: Sequence[TaskLock]) -> Cover:
    """
    The worst that is true of any of the segments; MISSING is worse than REVOKED.

    What a lock covers, it says itself.
    """
    # the number matters to segment locks alone; without them there are far fewer places than segments
    numbered = any(isinstance(lock, SegmentLock) for lock in locks)
    places = {
        (segment.interval, segment.version, segment.shard_spec.partition_num if numbered else 0) for segment in segments
    }
    worst = Cover.FULL
    for interval, version, partition in places:
        match _cover(interval, version, partition, locks):
            case Cover.MISSING:
                return Cover.MISSING
            case Cover.REVOKED:
                worst = Cover.REVOKED
            case Cover.FULL:
                pass
    return worst


def _cover(interval: Interval, version: str, partition: int, locks: Sequence[TaskLock]) -> Cover:
    covering = [lock for lock in locks if lock.covers(interval, version, partition)]
    if not covering:
        return Cover.MISSING
    return Cover.REVOKED if all(lock.revoked for lock in covering) else Cover.FULL
