"""
Publishing: segments become visible, all or none, while the locks that allow it cannot be taken away.

Druid: SegmentTransactionalInsertAction, IndexerSQLMetadataStorageCoordinator.commitSegmentsAndMetadata
"""

from collections.abc import Sequence

from druid_core.action import SegmentPublishResult
from druid_core.errors import InvalidInput
from druid_core.segment import DataSegment
from druid_core.timeline import visible
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.lock.lockbox import LockRequester
from overlord.segment import commit_metadata, store
from overlord.segment.commit_metadata import MetadataChange
from overlord.segment.cover import Cover, NotCovered, cover_of

REVOKED_MESSAGE = "Invalid task locks. Maybe they are revoked by a higher priority task."


async def publish(
    tx: Connection,
    publisher: LockRequester,
    segments: Sequence[DataSegment],
    now_ms: int,
    metadata: MetadataChange | None = None,
) -> SegmentPublishResult:
    """
    Publish segments of one datasource, and move the supervisor's metadata on where given, in the caller's transaction.

    The answer holds what is new: a replay of what the task published before succeeds with nothing, whatever became
    of its locks. Older segments are left as they are; overshadowing is for readers to see. A refusal that carries
    `retryable` may be tried again. Raises NotCovered, InactiveTask, or InvalidInput for segments of another datasource.
    """
    _check_data_source(publisher, segments)
    if not segments and metadata is None:
        raise InvalidInput("No segments to publish, and no metadata to commit")
    locks = await lockbox.freeze(tx, publisher.data_source, publisher.task_id)
    cover = cover_of(segments, locks)
    if metadata is not None or cover is not Cover.FULL:
        ids = [segment.id for segment in segments]
        if await store.published_by(tx, publisher.task_id, ids):
            return SegmentPublishResult(success=True)
    match cover:
        case Cover.REVOKED:
            return SegmentPublishResult(success=False, error_msg=REVOKED_MESSAGE)
        case Cover.MISSING:
            raise NotCovered(publisher.task_id, segments, locks)
        case Cover.FULL:
            pass
    if metadata is not None:
        refused = await commit_metadata.commit(tx, metadata, now_ms)
        if refused is not None:
            return SegmentPublishResult(success=False, retryable=refused.retryable, error_msg=refused.reason)
    if not segments:
        return SegmentPublishResult(success=True)
    # Within one batch a newer version may lie over an older one; only against the batch, never against the table
    seen = {segment.id for segment in visible(segments, incomplete_ok=True)}
    new = await store.insert(tx, publisher.task_id, segments, seen, now_ms)
    return SegmentPublishResult(segments=[segment for segment in segments if segment.id in new], success=True)


async def nuke(tx: Connection, killer: LockRequester, segments: Sequence[DataSegment]) -> None:
    """
    Delete the rows of unused segments that the task's locks cover. Twice is once.

    Raises NotCovered, InactiveTask, or InvalidInput for segments of another datasource. Druid: SegmentNukeAction
    """
    _check_data_source(killer, segments)
    locks = await lockbox.freeze(tx, killer.data_source, killer.task_id)
    if cover_of(segments, locks) is not Cover.FULL:
        raise NotCovered(killer.task_id, segments, locks)
    await store.delete_unused(tx, killer.data_source, [segment.id for segment in segments])


def _check_data_source(requester: LockRequester, segments: Sequence[DataSegment]) -> None:
    others = {segment.data_source for segment in segments} - {requester.data_source}
    if others:
        raise InvalidInput(
            f"Task [{requester.task_id}] of datasource [{requester.data_source}] cannot change segments of "
            f"[{', '.join(sorted(others))}]"
        )
