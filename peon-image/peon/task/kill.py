"""Delete unused segments for good: their rows, then their files. Druid: KillUnusedSegmentsTask"""

import logging
from collections.abc import Iterable
from math import ceil, inf

from druid_core.action import (
    LockList,
    LockTryAcquire,
    RetrieveUpgradedFromSegmentIds,
    RetrieveUpgradedToSegmentIds,
    SegmentListUnused,
    SegmentListUsed,
    SegmentNuke,
    SegmentVisibility,
)
from druid_core.errors import TaskFailure
from druid_core.lock import LockType
from druid_core.report import report_frame
from druid_core.segment import DataSegment
from druid_core.task import KillTask
from peon.toolbox import TaskOutcome, Toolbox

_log = logging.getLogger(__name__)

REPORT_KIND = "killUnusedSegments"


def run(task: KillTask, toolbox: Toolbox) -> TaskOutcome:
    """
    Delete the unused segments inside the task's interval, a batch at a time.

    Rows go before files: files without a row are waste, a row without files would be a loss. Killed twice is killed
    once. Raises TaskFailure where the interval is not locked, or no longer.
    """
    if toolbox.overlord.perform(LockTryAcquire(lock_type=_lock_type(task), interval=task.interval)) is None:
        raise TaskFailure(f"Failed to lock interval [{task.interval}] of datasource [{task.data_source}]")
    in_use = _used_locations(task, toolbox)
    most_batches = ceil(task.limit / task.batch_size) if task.limit is not None else inf
    killed = batches = 0
    left = task.limit if task.limit is not None else inf
    while batches < most_batches:
        toolbox.stop.check()
        unused = toolbox.overlord.perform(
            SegmentListUnused(
                data_source=task.data_source,
                interval=task.interval,
                versions=task.versions,
                limit=int(min(task.batch_size, left)),
                max_used_status_last_updated_time=task.max_used_status_last_updated_time,
            )
        )
        batches += 1
        if not unused:
            break
        killed += _kill_batch(task, toolbox, unused, in_use)
        left -= len(unused)
        _log.info("Batch [%d]: [%d] segments deleted from the metadata", batches, len(unused))
    _log.info("Killed [%d] segments of [%s] in [%d] batches", killed, task.data_source, batches)
    payload = {"numSegmentsKilled": killed, "numBatchesProcessed": batches}
    return TaskOutcome(report_frame(REPORT_KIND, task.id, payload))


def _kill_batch(task: KillTask, toolbox: Toolbox, unused: list[DataSegment], in_use: set[str]) -> int:
    """Delete one batch; how many segments lost their files."""
    locks = [lock for lock in toolbox.overlord.perform(LockList()) if not lock.revoked]
    for segment in unused:
        if not any(lock.interval.covers(segment.interval) for lock in locks):
            raise TaskFailure(f"Locks of task [{task.id}] do not cover segment [{segment.id}]; nothing more is deleted")
    ids = [segment.id for segment in unused]
    parents = toolbox.overlord.perform(RetrieveUpgradedFromSegmentIds(data_source=task.data_source, segment_ids=ids))
    toolbox.overlord.perform(SegmentNuke(segments=unused))
    needed_elsewhere = _parents_with_heirs(task, toolbox, {parents.get(own, own) for own in ids})
    killable = [
        segment
        for segment in unused
        if _location(segment) not in in_use and parents.get(segment.id, segment.id) not in needed_elsewhere
    ]
    for load_spec in {_location(segment): segment.load_spec for segment in killable}.values():
        if load_spec is not None:
            toolbox.deep_storage.delete(load_spec)
    return len(killable)


def _parents_with_heirs(task: KillTask, toolbox: Toolbox, parents: set[str]) -> set[str]:
    """Of these segments, those whose files serve other segments still, upgraded from them."""
    heirs = toolbox.overlord.perform(
        RetrieveUpgradedToSegmentIds(data_source=task.data_source, segment_ids=sorted(parents))
    )
    return {parent for parent in parents if heirs.get(parent)}


def _used_locations(task: KillTask, toolbox: Toolbox) -> set[str]:
    """Where used segments of the interval have their files; those are never deleted."""
    used: Iterable[DataSegment] = toolbox.overlord.perform(
        SegmentListUsed(
            data_source=task.data_source,
            intervals=[task.interval],
            visibility=SegmentVisibility.INCLUDING_OVERSHADOWED,
        )
    )
    return {_location(segment) for segment in used}


def _location(segment: DataSegment) -> str:
    """A load spec as something that can be compared."""
    return repr(sorted((segment.load_spec or {}).items(), key=lambda item: item[0]))


def _lock_type(task: KillTask) -> LockType:
    return LockType.REPLACE if task.context.get("useConcurrentLocks") is True else LockType.EXCLUSIVE
