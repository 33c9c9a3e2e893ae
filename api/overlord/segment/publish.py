"""
Publishing: segments become visible, all or none, while the locks that allow it cannot be taken away.

Three ways to publish share what is here: `publish` beside or over what is there, `append` beside a replacement that may
run, `replace` over what is there and with what was appended meanwhile.
Druid: SegmentTransactionalInsertAction, IndexerSQLMetadataStorageCoordinator.commitSegmentsAndMetadata
"""

from collections.abc import Sequence
from dataclasses import dataclass

from druid_core.action import SegmentPublishResult
from druid_core.errors import InvalidInput
from druid_core.lock import TaskLock
from druid_core.segment import DataSegment
from druid_core.timeline import visible
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.lock.lockbox import LockRequester
from overlord.segment import commit_metadata, store
from overlord.segment.commit_metadata import MetadataChange
from overlord.segment.cover import Cover, NotCovered, cover_of

REVOKED_MESSAGE = "Invalid task locks. Maybe they are revoked by a higher priority task."


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a task may publish: its locks, which nobody takes from it before the transaction ends."""

    locks: list[TaskLock]
    answer: SegmentPublishResult | None = None
    """Set where nothing is to be done any more: the locks are lost, or all was published before."""


async def admit(
    tx: Connection,
    publisher: LockRequester,
    segments: Sequence[DataSegment],
    overwritten: Sequence[DataSegment] = (),
    *,
    moves_metadata: bool = False,
) -> Admission:
    """
    Hold the datasource still, and look whether the task's locks cover what it writes and what that overwrites.

    A replay of what the task published before succeeds with nothing, whatever became of its locks.
    Raises NotCovered, InactiveTask, or InvalidInput for segments of another datasource or of a size that nothing has.
    """
    written = [*segments, *overwritten]
    check_data_source(publisher, written)
    if (odd := next((segment for segment in segments if segment.size < 0), None)) is not None:
        raise InvalidInput(f"Segment [{odd.id}] has size [{odd.size}]: bytes, 0 or more, are expected")
    locks = await lockbox.freeze(tx, publisher.data_source, publisher.task_id)
    cover = cover_of(written, locks)
    may_be_a_replay = moves_metadata or cover is not Cover.FULL
    if may_be_a_replay and await store.published_by(tx, publisher.task_id, [segment.id for segment in segments]):
        return Admission(locks, SegmentPublishResult(success=True))
    match cover:
        case Cover.REVOKED:
            return Admission(locks, SegmentPublishResult(success=False, error_msg=REVOKED_MESSAGE))
        case Cover.MISSING:
            raise NotCovered(publisher.task_id, written, locks)
        case Cover.FULL:
            return Admission(locks)


async def publish(
    tx: Connection,
    publisher: LockRequester,
    segments: Sequence[DataSegment],
    now_ms: int,
    metadata: MetadataChange | None = None,
    overwritten: Sequence[DataSegment] = (),
) -> SegmentPublishResult:
    """
    Publish segments of one datasource, and move the supervisor's metadata on where given, in the caller's transaction.

    The answer holds what is new. Older segments are left as they are; overshadowing is for readers to see. A refusal
    that carries `retryable` may be tried again. Raises what `admit` raises.
    """
    if not segments and metadata is None:
        raise InvalidInput("No segments to publish, and no metadata to commit")
    admission = await admit(tx, publisher, segments, overwritten, moves_metadata=metadata is not None)
    if admission.answer is not None:
        return admission.answer
    refused = await move_metadata(tx, metadata, now_ms)
    if refused is not None:
        return refused
    if not segments:
        return SegmentPublishResult(success=True)
    # Within one batch a newer version may lie over an older one; only against the batch, never against the table
    seen = {segment.id for segment in visible(segments, incomplete_ok=True)}
    new = await store.insert(tx, publisher.task_id, segments, seen, now_ms)
    return SegmentPublishResult(segments=[segment for segment in segments if segment.id in new], success=True)


async def move_metadata(tx: Connection, metadata: MetadataChange | None, now_ms: int) -> SegmentPublishResult | None:
    """Move the supervisor's metadata on, where given; the answer where they cannot be."""
    refused = None if metadata is None else await commit_metadata.commit(tx, metadata, now_ms)
    if refused is None:
        return None
    return SegmentPublishResult(success=False, retryable=refused.retryable, error_msg=refused.reason)


def check_data_source(requester: LockRequester, segments: Sequence[DataSegment]) -> None:
    """Raises InvalidInput for segments that are not of the task's own datasource."""
    others = {segment.data_source for segment in segments} - {requester.data_source}
    if others:
        raise InvalidInput(
            f"Task [{requester.task_id}] of datasource [{requester.data_source}] cannot change segments of "
            f"[{', '.join(sorted(others))}]"
        )
