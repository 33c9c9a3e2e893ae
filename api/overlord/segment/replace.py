"""
Publishing over what was there, with what was appended meanwhile. Druid: SegmentTransactionalReplaceAction
"""

from collections.abc import Sequence

from druid_core.action import SegmentPublishResult
from druid_core.errors import InvalidInput
from druid_core.lock import LockType
from druid_core.segment import DataSegment
from overlord.db.pool import Connection
from overlord.lock.lockbox import LockRequester
from overlord.segment import pending, store, upgrade
from overlord.segment.publish import admit
from overlord.segment.upgrade import FinerReplacement, replacement, upgraded_pending


async def replace(
    tx: Connection, publisher: LockRequester, segments: Sequence[DataSegment], now_ms: int
) -> SegmentPublishResult:
    """
    Publish the segments of a task that holds REPLACE locks, copies of what was appended under them, and identities of
    the new version for what is still to be appended.

    The answer holds what is new, copies included. Replacing by finer chunks than what was appended fails with a
    sentence, as does an appended segment that takes no other number (a tombstone), and then nothing is published.
    Raises what `admit` raises, and InvalidInput without a REPLACE lock. (Druid answers success then and drops the
    segments.)
    """
    if not segments:
        raise InvalidInput("No segment to commit")
    admission = await admit(tx, publisher, segments)
    if admission.answer is not None:
        return admission.answer
    if not any(lock.type is LockType.REPLACE and not lock.revoked for lock in admission.locks):
        raise InvalidInput(
            f"Cannot use action[segmentTransactionalReplace] for task[{publisher.task_id}] as it holds no lock of "
            "type[REPLACE]; segments under other locks are published by [segmentTransactionalInsert]."
        )
    data_source = publisher.data_source
    try:
        planned = replacement(segments, await upgrade.noted_for(tx, data_source, publisher.task_id))
        around = {
            each.identity.id: each
            for interval in {segment.interval for segment in planned.segments}
            for each in await pending.around(tx, data_source, [interval], ())
        }
        identities = upgraded_pending(planned.segments, around.values())
    except (FinerReplacement, InvalidInput) as error:
        return SegmentPublishResult(success=False, error_msg=str(error))
    ids = {segment.id for segment in planned.segments}
    new = await store.insert(tx, publisher.task_id, planned.segments, ids, now_ms, planned.upgraded_from)
    await pending.insert(tx, identities, now_ms)
    return SegmentPublishResult(segments=[segment for segment in planned.segments if segment.id in new], success=True)
