"""What a task needs: locks before it may run, and slots for its sub-tasks while it does. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from druid_core.any_task import FORCE_TIME_CHUNK_LOCK
from druid_core.interval import Interval
from druid_core.java_task import JavaTask
from druid_core.lock import LockType
from druid_core.spec.ingestion import IngestionMode
from druid_core.spec.input import InlineSource
from druid_core.spec.partitions import RangePartitionsSpec
from druid_core.spec.tuning import ParallelIndexTuningConfig
from druid_core.task import IndexParallelTask, IndexTask, KillTask, NoopTask, Task


@dataclass(frozen=True, slots=True)
class LockNeed:
    """Locks of one type over some intervals, all or none."""

    lock_type: LockType
    intervals: list[Interval]
    timeout_ms: int | None = None
    """How long it waits for them; None: as long as it takes."""

    def deadline_ms(self, now_ms: int) -> int | None:
        """When the wait that begins now is over; None: never."""
        return None if self.timeout_ms is None else now_ms + self.timeout_ms


def need_of(task: Task) -> LockNeed | None:
    """
    The locks without which `task` waits; None where it may run at once and asks for its locks itself.

    Batch intervals are widened to whole buckets of the segment granularity, and neighbours joined. A task that may do
    with segment locks (forceTimeChunkLock false, and it does not replace whole chunks) asks itself: a time chunk lock
    of its group would only be in its way.
    Druid: Task.isReady, AbstractBatchIndexTask.determineLockGranularityAndTryLock
    """
    match task:
        case NoopTask():
            return None
        case KillTask():
            return LockNeed(_replacing_type(task.context), [task.interval], task.lock_timeout_ms)
        case IndexTask() | IndexParallelTask():
            granularity_spec = task.spec.data_schema.granularity_spec
            locks_segments = task.context.get(FORCE_TIME_CHUNK_LOCK) is False and task.mode is not IngestionMode.REPLACE
            if not granularity_spec.intervals or locks_segments:
                return None
            appends = task.spec.io_config.append_to_existing
            lock_type = _appending_type(task.context) if appends else _replacing_type(task.context)
            intervals = granularity_spec.covered()
            return LockNeed(lock_type, intervals, task.lock_timeout_ms) if intervals else None
        case JavaTask():
            locks_segments = task.context.get(FORCE_TIME_CHUNK_LOCK) is False and not task.replaces_chunks
            if locks_segments or not task.intervals:
                return None
            lock_type = _appending_type(task.context) if task.appends else _replacing_type(task.context)
            return LockNeed(lock_type, task.intervals, task.lock_timeout_ms)


def may_split(task: Task) -> bool:
    """
    Whether `task` may hand in sub-tasks and wait for them, in a slot of its own. A peon may also do all of it itself.

    Druid: ParallelIndexSupervisorTask.isParallelMode
    """
    if isinstance(task, JavaTask):
        return task.may_split
    if not isinstance(task, IndexParallelTask):
        return False
    tuning = task.spec.tuning_config
    if not isinstance(tuning, ParallelIndexTuningConfig) or isinstance(task.spec.io_config.input_source, InlineSource):
        return False
    by_range = isinstance(tuning.given_or_default_partitions_spec, RangePartitionsSpec)
    return by_range or tuning.max_num_concurrent_sub_tasks > 1


def _appending_type(context: Mapping[str, object]) -> LockType:
    if context.get("useConcurrentLocks") is True:
        return LockType.APPEND
    named = _named_type(context)
    if named is not None:
        return named
    return LockType.SHARED if context.get("useSharedLock") is True else LockType.EXCLUSIVE


def _replacing_type(context: Mapping[str, object]) -> LockType:
    """SHARED and APPEND make no sense for a task that replaces: they become EXCLUSIVE, as in Druid."""
    if context.get("useConcurrentLocks") is True:
        return LockType.REPLACE
    named = _named_type(context)
    return LockType.EXCLUSIVE if named in (None, LockType.SHARED, LockType.APPEND) else named


def _named_type(context: Mapping[str, object]) -> LockType | None:
    named = context.get("taskLockType")
    return LockType(named) if isinstance(named, str) and named in LockType.__members__ else None
