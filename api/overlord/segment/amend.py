"""
What a task may do to segments that are published already: delete rows, mark them unused, say anew where they lie, note
them for an upgrade. Each waits until the task's locks cannot be taken from it.
"""

from collections.abc import Sequence

from druid_core.errors import Conflict, InvalidInput
from druid_core.interval import Interval
from druid_core.segment import DataSegment
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.lock.lockbox import LockRequester
from overlord.segment import mark, store, upgrade
from overlord.segment.cover import Cover, NotCovered, cover_of
from overlord.segment.publish import check_data_source


class LocksRevoked(Conflict):
    """A lock that the task needs was taken by one of higher priority."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"Some locks for task[{task_id}] are already revoked")


async def nuke(tx: Connection, killer: LockRequester, segments: Sequence[DataSegment]) -> None:
    """
    Delete the rows of unused segments that the task's locks cover. Twice is once.

    Raises NotCovered, LocksRevoked, InactiveTask, or InvalidInput for segments of another datasource.
    Druid: SegmentNukeAction
    """
    await _require_cover(tx, killer, segments)
    await store.delete_unused(tx, killer.data_source, [segment.id for segment in segments])


async def update_payloads(tx: Connection, mover: LockRequester, segments: Sequence[DataSegment]) -> None:
    """
    Rewrite what is said of segments that the task's locks cover: where they lie now.

    Raises NotCovered, LocksRevoked, InactiveTask, or InvalidInput for segments of another datasource or none at all.
    Druid: SegmentMetadataUpdateAction
    """
    if not segments:
        raise InvalidInput("No segment to commit")
    await _require_cover(tx, mover, segments)
    await store.update_payloads(tx, segments)


async def mark_unused(tx: Connection, marker: LockRequester, data_source: str, interval: Interval, now_ms: int) -> int:
    """
    Mark what lies wholly inside `interval` as unused; how many there were.

    Needs no lock, as in Druid. Raises InactiveTask, or InvalidInput for another datasource.
    Druid: MarkSegmentsAsUnusedAction
    """
    if data_source != marker.data_source:
        raise InvalidInput(
            f"Task [{marker.task_id}] of datasource [{marker.data_source}] cannot change segments of [{data_source}]"
        )
    await lockbox.freeze(tx, marker.data_source, marker.task_id)
    return await mark.mark_unused(tx, data_source, interval, None, now_ms)


async def mark_to_upgrade(tx: Connection, marker: LockRequester, segments: Sequence[DataSegment]) -> int:
    """
    Note segments for the holder of the REPLACE lock over them, who carries them into its new version; how many.

    Raises InvalidInput where one is covered by none, or is of another datasource; InactiveTask.
    Druid: MarkSegmentToUpgradeAction
    """
    check_data_source(marker, segments)
    distinct = list({segment.id: segment for segment in segments}.values())
    if not distinct:
        raise InvalidInput("No segment to commit")
    await lockbox.freeze(tx, marker.data_source, marker.task_id)
    covered = await upgrade.note(tx, marker.data_source, distinct)
    if len(covered) < len(distinct):
        raise InvalidInput(
            f"Segments to upgrade must be covered by a REPLACE lock. Only [{len(covered)}] out of [{len(distinct)}] "
            "segments are covered."
        )
    return len(distinct)


async def _require_cover(tx: Connection, requester: LockRequester, segments: Sequence[DataSegment]) -> None:
    check_data_source(requester, segments)
    locks = await lockbox.freeze(tx, requester.data_source, requester.task_id)
    match cover_of(segments, locks):
        case Cover.FULL:
            pass
        case Cover.REVOKED:
            raise LocksRevoked(requester.task_id)
        case Cover.MISSING:
            raise NotCovered(requester.task_id, segments, locks)
