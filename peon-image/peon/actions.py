"""Task actions with typed answers: what a task asks of the Overlord."""

from collections.abc import Callable
from typing import Any, overload

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
    SegmentLockAcquire,
    SegmentLockTryAcquire,
    SegmentNuke,
    SegmentPublishResult,
    SegmentTransactionalAppend,
    SegmentTransactionalInsert,
    SegmentTransactionalReplace,
    TaskAction,
    UpdateLocation,
    UpdateStatus,
)
from druid_core.lock import LockResult, TaskLock, load_lock
from druid_core.segment import DataSegment, SegmentIdWithShardSpec

ActionSender = Callable[[dict[str, Any]], Any]


class TaskActions:
    """
    Performs actions through `send`, which takes an action's JSON object and returns the JSON value of its result:
    the Overlord's (`OverlordClient.send_action`) or that of a peon alone (`LocalOverlord.answer`).

    Druid: TaskActionClient
    """

    def __init__(self, send: ActionSender) -> None:
        self._send = send

    @overload
    def perform(self, action: LockTryAcquire | LockAcquire) -> TaskLock | None: ...
    @overload
    def perform(self, action: SegmentLockAcquire) -> LockResult: ...
    @overload
    def perform(self, action: SegmentLockTryAcquire) -> list[LockResult]: ...
    @overload
    def perform(self, action: LockList) -> list[TaskLock]: ...
    @overload
    def perform(self, action: SegmentAllocate) -> SegmentIdWithShardSpec | None: ...
    @overload
    def perform(
        self, action: SegmentTransactionalInsert | SegmentTransactionalAppend | SegmentTransactionalReplace
    ) -> SegmentPublishResult: ...
    @overload
    def perform(self, action: SegmentListUsed | SegmentListUnused | RetrieveSegmentsById) -> list[DataSegment]: ...
    @overload
    def perform(self, action: RetrieveUpgradedFromSegmentIds) -> dict[str, str]: ...
    @overload
    def perform(self, action: RetrieveUpgradedToSegmentIds) -> dict[str, list[str]]: ...
    @overload
    def perform(self, action: LockRelease | SegmentNuke | UpdateStatus | UpdateLocation) -> None: ...
    def perform(self, action: TaskAction) -> object:
        """
        The typed result: of a lock request None where it is not granted, of an upgrade question the ids by id.

        Raises TaskFailure with the Overlord's words where it refuses for good, or stays away too long.
        """
        raw_result = self._send(action.to_wire())
        match action:
            case LockTryAcquire() | LockAcquire():
                return None if raw_result is None else TaskLock.model_validate(raw_result)
            case SegmentLockAcquire():
                return LockResult.model_validate(raw_result)
            case SegmentLockTryAcquire():
                return [LockResult.model_validate(raw) for raw in raw_result]
            case LockList():
                return [load_lock(raw) for raw in raw_result]
            case SegmentAllocate():
                return None if raw_result is None else SegmentIdWithShardSpec.model_validate(raw_result)
            case SegmentTransactionalInsert() | SegmentTransactionalAppend() | SegmentTransactionalReplace():
                return SegmentPublishResult.model_validate(raw_result)
            case SegmentListUsed() | SegmentListUnused() | RetrieveSegmentsById():
                return [DataSegment.model_validate(raw) for raw in raw_result]
            case RetrieveUpgradedFromSegmentIds():
                return raw_result["upgradedFromSegmentIds"]
            case RetrieveUpgradedToSegmentIds():
                return raw_result["upgradedToSegmentIds"]
            case LockRelease() | SegmentNuke() | UpdateStatus() | UpdateLocation():
                return None
            case _:
                # what no task of ours asks for yet
                return raw_result
