"""
Every action a peon may ask for, performed: one match, one transaction, one answer.

An action may be repeated at any time, because a peon whose answer was lost asks again.
"""

from typing import Any, assert_never

from druid_core.action import (
    CheckPointDataSourceMetadata,
    LockAcquire,
    LockList,
    LockRelease,
    LockTryAcquire,
    MarkSegmentsAsUnused,
    MarkSegmentsToUpgrade,
    ResetDataSourceMetadata,
    RetrieveSegmentsById,
    RetrieveUpgradedFromSegmentIds,
    RetrieveUpgradedToSegmentIds,
    SegmentAllocate,
    SegmentListUnused,
    SegmentListUsed,
    SegmentLockAcquire,
    SegmentLockTryAcquire,
    SegmentMetadataUpdate,
    SegmentNuke,
    SegmentTransactionalAppend,
    SegmentTransactionalInsert,
    SegmentTransactionalReplace,
    SegmentVisibility,
    SurrogateAction,
    TaskAction,
    UpdateLocation,
    UpdateStatus,
)
from druid_core.errors import Conflict, InvalidInput
from druid_core.lock import LockResult, LockType, TaskLock
from druid_core.status import StatusCode, TaskStatus
from druid_core.timeline import visible
from overlord.action.actor import Actor, find_actor, find_supervisor_id
from overlord.action.allocation import allocation_request
from overlord.action.location import check_location
from overlord.db import hints
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.lock.conflict import Partition
from overlord.lock.lockbox import LockRequester
from overlord.problems import Forbidden
from overlord.segment import amend
from overlord.segment import store as segments
from overlord.segment.allocate import allocate
from overlord.segment.append import append
from overlord.segment.commit_metadata import MetadataChange
from overlord.segment.publish import publish
from overlord.segment.replace import replace
from overlord.segment.store import StoredSegment
from overlord.task import store as tasks


class NoSuchSurrogate(Conflict):
    """A task that is to act in the name of another one is unknown."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"Can't find surrogate task[{task_id}]")


async def perform(tx: Connection, actor: Actor, action: TaskAction, now_ms: int) -> Any:
    """
    Perform `action` for its task in the caller's transaction; the answer as JSON values, as Druid gives it.

    `lockAcquire` and `segmentLockAcquire` try once here; waiting is the caller's. Raises a NemetonError when it cannot
    be done.
    """
    requester = actor.requester
    match action:
        case LockTryAcquire() | LockAcquire():
            lock_type = action.lock_type or LockType.EXCLUSIVE
            return _wire(await lockbox.acquire(tx, requester, lock_type, action.interval, now_ms))
        case SegmentLockAcquire():
            return (await _lock_partition(tx, requester, action, action.partition_id, now_ms)).to_wire()
        case SegmentLockTryAcquire(partition_ids=ids):
            return [(await _lock_partition(tx, requester, action, number, now_ms)).to_wire() for number in sorted(ids)]
        case LockRelease(interval=interval):
            if await lockbox.release(tx, actor.task_id, interval):
                await hints.send(tx, hints.QUEUE)
            return None
        case LockList():
            return [lock.to_wire() for lock in await lockbox.held(tx, actor.task_id)]
        case SegmentAllocate():
            identity = await allocate(tx, allocation_request(actor, action), now_ms)
            return None if identity is None else identity.to_wire()
        case SegmentTransactionalInsert():
            overwritten = action.segments_to_be_overwritten or []
            result = await publish(tx, requester, action.segments, now_ms, _metadata(action), overwritten)
            return result.to_wire()
        case SegmentTransactionalAppend():
            result = await append(tx, requester, actor.allocator_id, action.segments, now_ms, _metadata(action))
            return result.to_wire()
        case SegmentTransactionalReplace():
            return (await replace(tx, requester, action.segments, now_ms)).to_wire()
        case MarkSegmentsToUpgrade():
            return await amend.mark_to_upgrade(tx, requester, action.upgrade_segments)
        case MarkSegmentsAsUnused(data_source=data_source, interval=interval):
            return await amend.mark_unused(tx, requester, data_source, interval, now_ms)
        case SegmentMetadataUpdate(segments=moved):
            return await amend.update_payloads(tx, requester, moved)
        case ResetDataSourceMetadata() | CheckPointDataSourceMetadata():
            # For supervisors of streams, of which none runs here. Druid: SupervisorManager
            return False
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
            return await amend.nuke(tx, requester, doomed)
        case UpdateStatus():
            return await _update_status(tx, actor, action)
        case UpdateLocation(location=location):
            # A peon that leaves says null, and Java's peons know no port of theirs; the runner's word stands then
            if location.is_known and location.port > 0:
                check_location(location)
                await tasks.set_location(tx, actor.task_id, location)
            return None
        case SurrogateAction(surrogate_id=surrogate_id, task_action=inner):
            surrogate = await find_actor(tx, surrogate_id)
            if surrogate is None:
                raise NoSuchSurrogate(surrogate_id)
            return await perform(tx, surrogate, inner, now_ms)
        case _:
            assert_never(action)


async def check_surrogates(tx: Connection, actor: Actor, action: TaskAction) -> None:
    """
    A token is good for the task's own group: sub-tasks act for their supervisor, and for nobody else.

    Raises Forbidden.
    """
    while isinstance(action, SurrogateAction):
        surrogate = await find_actor(tx, action.surrogate_id)
        if surrogate is not None and surrogate.requester.group_id != actor.requester.group_id:
            raise Forbidden(f"The token of task [{actor.task_id}] cannot act for task [{surrogate.task_id}]")
        action = action.task_action


async def _lock_partition(
    tx: Connection,
    requester: LockRequester,
    action: SegmentLockAcquire | SegmentLockTryAcquire,
    partition_id: int,
    now_ms: int,
) -> LockResult:
    partition = Partition(action.version, partition_id)
    return LockResult.of(await lockbox.acquire(tx, requester, action.lock_type, action.interval, now_ms, partition))


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
        locks = await lockbox.held(tx, await find_supervisor_id(tx, actor))
        replacing = [lock for lock in locks if lock.type is LockType.REPLACE and not lock.revoked]
        found = [segment for segment in found if not _appended_since(segment, replacing)]
    if action.visibility is SegmentVisibility.INCLUDING_OVERSHADOWED:
        return found
    # Of what overlaps the intervals all that is seen anywhere, as Druid has it
    return segments.in_order(visible(found))


def _appended_since(segment: StoredSegment, replacing: list[TaskLock]) -> bool:
    return any(lock.interval.covers(segment.interval) and segment.created >= lock.version for lock in replacing)


def _metadata(action: SegmentTransactionalInsert | SegmentTransactionalAppend) -> MetadataChange | None:
    """Raises InvalidInput when only a part of what belongs together is given."""
    if action.start_metadata is None and action.end_metadata is None:
        return None
    if action.start_metadata is None or action.end_metadata is None:
        raise InvalidInput("startMetadata and endMetadata must either both be null or both be non-null")
    supervisor_id = action.supervisor_id
    if supervisor_id is None and isinstance(action, SegmentTransactionalInsert):
        supervisor_id = action.data_source
    if supervisor_id is None and action.segments:
        supervisor_id = action.segments[0].data_source
    if supervisor_id is None:
        raise InvalidInput("supervisorId must be given with startMetadata and endMetadata")
    return MetadataChange(supervisor_id, action.start_metadata, action.end_metadata)


def _wire(lock: TaskLock | None) -> dict[str, Any] | None:
    return None if lock is None else lock.to_wire()
