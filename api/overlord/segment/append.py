"""Publishing beside a replacement that may run at the same time. Druid: SegmentTransactionalAppendAction"""

from collections.abc import Sequence

from druid_core.action import SegmentPublishResult
from druid_core.errors import InvalidInput
from druid_core.lock import LockType
from druid_core.segment import DataSegment
from overlord.db.pool import Connection
from overlord.lock.lockbox import LockRequester
from overlord.segment import pending, store, upgrade
from overlord.segment.commit_metadata import MetadataChange
from overlord.segment.publish import admit, move_metadata


async def append(
    tx: Connection,
    publisher: LockRequester,
    allocator_id: str,
    segments: Sequence[DataSegment],
    now_ms: int,
    metadata: MetadataChange | None = None,
) -> SegmentPublishResult:
    """
    Publish segments that the task appended under APPEND locks.

    Those under another's REPLACE lock are noted for its holder. Those whose identity a replacement has upgraded
    already are published under the newer version too. The answer holds what is new, copies included.
    Raises what `admit` raises, and InvalidInput where the task holds a lock of another type.
    """
    if not segments:
        raise InvalidInput("No segment to commit")
    admission = await admit(tx, publisher, segments, moves_metadata=metadata is not None)
    other = next((lock for lock in admission.locks if lock.type is not LockType.APPEND), None)
    if other is not None:
        raise InvalidInput(
            f"Cannot use action[segmentTransactionalAppend] for task[{publisher.task_id}] as it is holding a lock of "
            f"type[{other.type}] instead of [APPEND]."
        )
    if admission.answer is not None:
        return admission.answer
    refused = await move_metadata(tx, metadata, now_ms)
    if refused is not None:
        return refused
    await upgrade.note(tx, publisher.data_source, segments)
    given = {segment.id: segment for segment in segments}
    upgrades = await pending.upgrades_of(tx, publisher.data_source, allocator_id, list(given))
    copies: dict[str, DataSegment] = {}
    origins: dict[str, str] = {}
    for each in upgrades:
        if each.upgraded_from is None:
            continue
        identity = each.identity
        copies[identity.id] = given[each.upgraded_from].model_copy(
            update={"interval": identity.interval, "version": identity.version, "shard_spec": identity.shard_spec}
        )
        origins[identity.id] = each.upgraded_from
    everything = [*segments, *copies.values()]
    ids = {segment.id for segment in everything}
    await pending.delete(tx, publisher.data_source, ids)
    new = await store.insert(tx, publisher.task_id, everything, ids, now_ms, origins)
    return SegmentPublishResult(segments=[segment for segment in everything if segment.id in new], success=True)
