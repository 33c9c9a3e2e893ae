"""Whether the locks of a task allow it to write or delete segments. Pure. Druid: TaskLocks.checkLockCoversSegments"""

from collections.abc import Iterable, Sequence
from enum import Enum

from druid_core.errors import Conflict
from druid_core.interval import Interval
from druid_core.lock import LockType, TaskLock
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

    A lock covers a segment when it contains its interval and is not older than its version. An APPEND lock is older
    than everything and covers all versions.
    """
    places = {(segment.interval, segment.version) for segment in segments}
    worst = Cover.FULL
    for interval, version in places:
        match _cover(interval, version, locks):
            case Cover.MISSING:
                return Cover.MISSING
            case Cover.REVOKED:
                worst = Cover.REVOKED
            case Cover.FULL:
                pass
    return worst


def _cover(interval: Interval, version: str, locks: Sequence[TaskLock]) -> Cover:
    covering = [
        lock
        for lock in locks
        if lock.interval.covers(interval) and (lock.type is LockType.APPEND or lock.version >= version)
    ]
    if not covering:
        return Cover.MISSING
    return Cover.REVOKED if all(lock.revoked for lock in covering) else Cover.FULL
