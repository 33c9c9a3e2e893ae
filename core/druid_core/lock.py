"""Task locks, as they travel and as they are stored."""

from enum import StrEnum

from druid_core.interval import Interval
from druid_core.wire import WireModel


class LockType(StrEnum):
    """Druid: TaskLockType"""

    EXCLUSIVE = "EXCLUSIVE"  # shared with nobody outside the group
    SHARED = "SHARED"  # beside other SHARED ones
    REPLACE = "REPLACE"  # beside APPEND ones that it contains
    APPEND = "APPEND"  # beside other APPEND ones, and one REPLACE that contains it


class LockGranularity(StrEnum):
    """Druid: LockGranularity"""

    TIME_CHUNK = "timeChunk"
    SEGMENT = "segment"


class TaskLock(WireModel):
    """A time-chunk lock held by the tasks of one group. Druid: TimeChunkLock"""

    type: LockType = LockType.EXCLUSIVE
    group_id: str
    data_source: str
    interval: Interval
    version: str
    priority: int | None = None
    revoked: bool = False
