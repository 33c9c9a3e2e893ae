"""
Every action a peon may ask for, performed: one match, one transaction, one answer.

An action may be repeated at any time, because a peon whose answer was lost asks again.
"""

from typing import Any, assert_never

from druid_core.action import (
    LockAcquire,
    LockList,
    LockRelease,
    LockTryAcquire,
    RetrieveSegmentsById,
    RetrieveUpgradedFromSegmentIds,
    RetrieveUpgradedToSegmentIds,
    SegmentAllocate,
    SegmentListUnused,
    SegmentListUsed,
    SegmentNuke,
    SegmentTransactionalInsert,
    SegmentVisibility,
    TaskAction,
    UpdateLocation,
    UpdateStatus,
)
from druid_core.errors import InvalidInput
from druid_core.granularity import NONE, parse_granularity
from druid_core.instant import parse_instant
from druid_core.lock import LockType, TaskLock
from druid_core.status import StatusCode, TaskStatus
from druid_core.timeline import visible
from overlord.action.actor import Actor
from overlord.db import hints
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.segment import store as segments
from overlord.segment.allocate import AllocationRequest, allocate
from overlord.segment.commit_metadata import MetadataChange
from overlord.segment.identity import SequencePlace
from overlord.segment.publish import nuke, publish
from overlord.segment.store import StoredSegment
from overlord.task import store as tasks


async def perform(tx: Connection, actor: Actor, action: TaskAction, now_ms: int) -> Any:
    """
    Perform `action` for its task in the caller's transaction; the answer as JSON values, as Druid gives it.

    `lockAcquire` tries once here; waiting is the caller's. Raises a NemetonError when it cannot be done.
    """
    requester = actor.requester
    match action:
        case LockTryAcquire() | LockAcquire():
            lock_type = action.lock_type or LockType.EXCLUSIVE
            return _wire(await lockbox.acquire(tx, requester, lock_type, action.interval, now_ms))
        case LockRelease(interval=interval):
            if await lockbox.release(tx, actor.task_id, interval):
                await hints.send(tx, hints.QUEUE)
            return None
        case LockList():
            return [lock.to_wire() for lock in await lockbox.held(tx, actor.task_id)]
        case SegmentAllocate():
            identity = await allocate(tx, _own(actor, action.data_source), _allocation(actor, action), now_ms)
            return None if identity is None else identity.to_wire()
        case SegmentTransactionalInsert():
            if action.segments_to_be_overwritten:
                raise InvalidInput("segmentsToBeOverwritten goes with segment locks, which are not supported yet")
            return (await publish(tx, requester, action.segments, now_ms, _metadata(action))).to_wire()
        case SegmentListUsed():
            return [segment.wire for segment in await _list_used(tx, actor, action)]
        case SegmentListUnused():
            found = await segments.unused(
                tx,
                action.data_source,
                action.interval,
                versions=action.versions,
                limit=action.limit,
                updated_until=action.max_used_status_last_updated_time,
            )
            return [segment.wire for segment in found]
        case RetrieveSegmentsById(data_source=data_source, segment_ids=ids):
            return [segment.wire for segment in await segments.by_ids(tx, data_source, ids)]
        case RetrieveUpgradedFromSegmentIds(data_source=data_source, segment_ids=ids):
            return {"upgradedFromSegmentIds": await segments.upgraded_from(tx, data_source, ids)}
        case RetrieveUpgradedToSegmentIds(data_source=data_source, segment_ids=ids):
            return {"upgradedToSegmentIds": await segments.upgraded_to(tx, data_source, ids)}
        case SegmentNuke(segments=doomed):
            return await nuke(tx, requester, doomed)
        case UpdateStatus():
            return await _update_status(tx, actor, action)
        case UpdateLocation(location=location):
            # A peon that leaves says null, and Java's peons know no port of theirs; the runner's word stands then
            if location.is_known and location.port > 0:
                await tasks.set_location(tx, actor.task_id, location)
            return None
        case _:
            assert_never(action)


async def _update_status(tx: Connection, actor: Actor, action: UpdateStatus) -> None:
    """The peon's last word. A task that is finished stays as it is."""
    status = action.status_full
    if status is None:
        code = StatusCode.SUCCESS if action.status == "successful" else StatusCode.FAILED
        status = TaskStatus(id=actor.task_id, status=code)
    if status.is_complete:
        await tasks.finish(tx, status.model_copy(update={"id": actor.task_id}))


async def _list_used(tx: Connection, actor: Actor, action: SegmentListUsed) -> list[StoredSegment]:
    """
    Used segments, the overshadowed ones where asked for.

    What others appended under a REPLACE lock of the task while it ran is not shown: the task must not replace it.
    Druid: RetrieveUsedSegmentsAction
    """
    if not action.intervals:
        raise InvalidInput("[intervals] must not be empty")
    found = await segments.used(tx, action.data_source, action.intervals)
    if action.data_source == actor.requester.data_source:
        replacing = [lock for lock in await lockbox.held(tx, actor.task_id) if lock.type is LockType.REPLACE]
        found = [segment for segment in found if not _appended_since(segment, replacing)]
    if action.visibility is SegmentVisibility.INCLUDING_OVERSHADOWED:
        return found
    seen: dict[str, StoredSegment] = {}
    for interval in action.intervals:
        seen.update((segment.id, segment) for segment in visible(found, interval))
    return segments.in_order(seen.values())


def _appended_since(segment: StoredSegment, replacing: list[TaskLock]) -> bool:
    return any(lock.interval.covers(segment.interval) and segment.created >= lock.version for lock in replacing)


def _allocation(actor: Actor, action: SegmentAllocate) -> AllocationRequest:
    factory = (action.shard_spec_factory or {}).get("type", "numbered")
    if factory != "numbered":
        raise InvalidInput(
            f"shardSpecFactory [{factory}] is known to Druid but not supported yet; supported is: numbered"
        )
    if action.lock_granularity not in (None, "TIME_CHUNK", "timeChunk"):
        raise InvalidInput(
            f"lockGranularity [{action.lock_granularity}] is not supported yet; supported is: TIME_CHUNK"
        )
    query_granularity = NONE if action.query_granularity is None else parse_granularity(action.query_granularity)
    return AllocationRequest(
        row=query_granularity.bucket(parse_instant(action.timestamp)),
        preferred=parse_granularity(action.preferred_segment_granularity),
        sequence=SequencePlace(
            action.sequence_name, action.previous_segment_id or "", action.skip_segment_lineage_check
        ),
        lock_type=action.task_lock_type or LockType.EXCLUSIVE,
        allocator_id=actor.allocator_id,
    )


def _own(actor: Actor, data_source: str) -> lockbox.LockRequester:
    if data_source != actor.requester.data_source:
        raise InvalidInput(f"Task [{actor.task_id}] cannot allocate segments of datasource [{data_source}]")
    return actor.requester


def _metadata(action: SegmentTransactionalInsert) -> MetadataChange | None:
    """Raises InvalidInput when only a part of what belongs together is given."""
    if action.start_metadata is None and action.end_metadata is None:
        return None
    if action.start_metadata is None or action.end_metadata is None:
        raise InvalidInput("startMetadata and endMetadata must either both be null or both be non-null")
    supervisor_id = action.supervisor_id or action.data_source
    if supervisor_id is None and action.segments:
        supervisor_id = action.segments[0].data_source
    if supervisor_id is None:
        raise InvalidInput("supervisorId must be given with startMetadata and endMetadata")
    return MetadataChange(supervisor_id, action.start_metadata, action.end_metadata)


def _wire(lock: TaskLock | None) -> dict[str, Any] | None:
    return None if lock is None else lock.to_wire()
