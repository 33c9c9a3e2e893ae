"""Task actions: what a peon may ask of the Overlord. A closed union; the Overlord performs it in one match."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.partial_shard_spec import PartialShardSpec
from druid_core.segment import DataSegment
from druid_core.status import TaskLocation, TaskStatus
from druid_core.wire import WireModel


class SegmentVisibility(StrEnum):
    """Druid: Segments"""

    ONLY_VISIBLE = "ONLY_VISIBLE"  # without the overshadowed ones
    INCLUDING_OVERSHADOWED = "INCLUDING_OVERSHADOWED"


class LockTryAcquire(WireModel):
    """A lock now, or null. Druid: TimeChunkLockTryAcquireAction"""

    type: Literal["lockTryAcquire"] = "lockTryAcquire"
    lock_type: LockType | None = None
    interval: Interval


class LockAcquire(WireModel):
    """A lock, waiting up to `timeout_ms` (0: for ever). Druid: TimeChunkLockAcquireAction"""

    type: Literal["lockAcquire"] = "lockAcquire"
    lock_type: LockType | None = None
    interval: Interval
    timeout_ms: int = 0


class SegmentLockTryAcquire(WireModel):
    """Locks on some partitions of an interval, each granted or not by itself. Druid: SegmentLockTryAcquireAction"""

    type: Literal["segmentLockTryAcquire"] = "segmentLockTryAcquire"
    lock_type: LockType
    interval: Interval
    version: str
    partition_ids: set[int]


class SegmentLockAcquire(WireModel):
    """A lock on one partition, waiting up to `timeout_ms` (0: for ever). Druid: SegmentLockAcquireAction"""

    type: Literal["segmentLockAcquire"] = "segmentLockAcquire"
    lock_type: LockType
    interval: Interval
    version: str
    partition_id: int
    timeout_ms: int = 0


class LockRelease(WireModel):
    """Give back the time chunk lock of exactly this interval. Druid: LockReleaseAction"""

    type: Literal["lockRelease"] = "lockRelease"
    interval: Interval


class LockList(WireModel):
    """All locks of the task. Druid: LockListAction"""

    type: Literal["lockList"] = "lockList"


class SegmentAllocate(WireModel):
    """An identity for a segment that will be appended, or null. Druid: SegmentAllocateAction"""

    type: Literal["segmentAllocate"] = "segmentAllocate"
    data_source: str
    timestamp: str
    query_granularity: Any = None
    preferred_segment_granularity: Any = None
    sequence_name: str
    previous_segment_id: str | None = None
    skip_segment_lineage_check: bool = False
    shard_spec_factory: PartialShardSpec | None = None
    lock_granularity: str | None = None
    task_lock_type: LockType | None = None


class SegmentTransactionalInsert(WireModel):
    """Publish segments, all or none. Druid: SegmentTransactionalInsertAction"""

    type: Literal["segmentTransactionalInsert"] = "segmentTransactionalInsert"
    segments: list[DataSegment] = []
    segments_to_be_overwritten: list[DataSegment] | None = None
    start_metadata: dict[str, Any] | None = None
    end_metadata: dict[str, Any] | None = None
    supervisor_id: str | None = None
    data_source: str | None = None
    segment_schema_mapping: dict[str, Any] | None = None


class SegmentTransactionalAppend(WireModel):
    """Publish appended segments beside a replacement that may run. Druid: SegmentTransactionalAppendAction"""

    type: Literal["segmentTransactionalAppend"] = "segmentTransactionalAppend"
    segments: list[DataSegment]
    start_metadata: dict[str, Any] | None = None
    end_metadata: dict[str, Any] | None = None
    supervisor_id: str | None = None
    segment_schema_mapping: dict[str, Any] | None = None


class SegmentTransactionalReplace(WireModel):
    """Publish over what was there, and take along what was appended. Druid: SegmentTransactionalReplaceAction"""

    type: Literal["segmentTransactionalReplace"] = "segmentTransactionalReplace"
    segments: list[DataSegment]
    segment_schema_mapping: dict[str, Any] | None = None


class MarkSegmentsToUpgrade(WireModel):
    """Have the holder of the REPLACE lock over these segments take them along. Druid: MarkSegmentToUpgradeAction"""

    type: Literal["markSegmentsToUpgrade"] = "markSegmentsToUpgrade"
    data_source: str
    upgrade_segments: list[DataSegment]


class MarkSegmentsAsUnused(WireModel):
    """Mark what lies wholly inside an interval; how many there were. Druid: MarkSegmentsAsUnusedAction"""

    type: Literal["markSegmentsAsUnused"] = "markSegmentsAsUnused"
    data_source: str
    interval: Interval


class SegmentMetadataUpdate(WireModel):
    """Say anew where segments lie: they were moved, archived or restored. Druid: SegmentMetadataUpdateAction"""

    type: Literal["segmentMetadataUpdate"] = "segmentMetadataUpdate"
    segments: list[DataSegment]


class ResetDataSourceMetadata(WireModel):
    """Have a stream's supervisor begin anew from these offsets. Druid: ResetDataSourceMetadataAction"""

    type: Literal["resetDataSourceMetadata"] = "resetDataSourceMetadata"
    supervisor_id: str | None = None
    data_source: str | None = None
    reset_metadata: dict[str, Any] | None = None


class CheckPointDataSourceMetadata(WireModel):
    """Have a stream's supervisor end the sequences of a task group. Druid: CheckPointDataSourceMetadataAction"""

    type: Literal["checkPointDataSourceMetadata"] = "checkPointDataSourceMetadata"
    supervisor_id: str
    task_group_id: int
    checkpoint_metadata: dict[str, Any] | None = None


class SegmentListUsed(WireModel):
    """Druid: RetrieveUsedSegmentsAction"""

    type: Literal["segmentListUsed"] = "segmentListUsed"
    data_source: str
    intervals: list[Interval]
    visibility: SegmentVisibility = SegmentVisibility.ONLY_VISIBLE


class SegmentListUnused(WireModel):
    """Druid: RetrieveUnusedSegmentsAction"""

    type: Literal["segmentListUnused"] = "segmentListUnused"
    data_source: str
    interval: Interval
    versions: list[str] | None = None
    limit: int | None = None
    max_used_status_last_updated_time: str | None = None


class RetrieveSegmentsById(WireModel):
    """Druid: RetrieveSegmentsByIdAction"""

    type: Literal["retrieveSegmentsById"] = "retrieveSegmentsById"
    data_source: str
    segment_ids: list[str]


class RetrieveUpgradedFromSegmentIds(WireModel):
    """Druid: RetrieveUpgradedFromSegmentIdsAction"""

    type: Literal["retrieveUpgradedFromSegmentIds"] = "retrieveUpgradedFromSegmentIds"
    data_source: str
    segment_ids: list[str]


class RetrieveUpgradedToSegmentIds(WireModel):
    """Druid: RetrieveUpgradedToSegmentIdsAction"""

    type: Literal["retrieveUpgradedToSegmentIds"] = "retrieveUpgradedToSegmentIds"
    data_source: str
    segment_ids: list[str]


class SegmentNuke(WireModel):
    """Delete the rows of unused segments that the task's locks cover. Druid: SegmentNukeAction"""

    type: Literal["segmentNuke"] = "segmentNuke"
    segments: list[DataSegment]


class UpdateStatus(WireModel):
    """The peon's last word on its task. Druid: UpdateStatusAction"""

    type: Literal["updateStatus"] = "updateStatus"
    status: str | None = None
    status_full: TaskStatus | None = None


class UpdateLocation(WireModel):
    """Where the peon serves its chat endpoints. Druid: UpdateLocationAction"""

    type: Literal["updateLocation"] = "updateLocation"
    location: TaskLocation


class SurrogateAction(WireModel):
    """Another action in the name of another task, as sub-tasks do for their supervisor. Druid: SurrogateAction"""

    type: Literal["surrogateAction"] = "surrogateAction"
    surrogate_id: str
    task_action: "TaskAction"


TaskAction = Annotated[
    LockTryAcquire
    | LockAcquire
    | SegmentLockTryAcquire
    | SegmentLockAcquire
    | LockRelease
    | LockList
    | SegmentAllocate
    | SegmentTransactionalInsert
    | SegmentTransactionalAppend
    | SegmentTransactionalReplace
    | MarkSegmentsToUpgrade
    | MarkSegmentsAsUnused
    | SegmentMetadataUpdate
    | ResetDataSourceMetadata
    | CheckPointDataSourceMetadata
    | SegmentListUsed
    | SegmentListUnused
    | RetrieveSegmentsById
    | RetrieveUpgradedFromSegmentIds
    | RetrieveUpgradedToSegmentIds
    | SegmentNuke
    | UpdateStatus
    | UpdateLocation
    | SurrogateAction,
    Field(discriminator="type"),
]
SurrogateAction.model_rebuild()


class SegmentPublishResult(WireModel):
    """The answer to a publishing action. Druid: SegmentPublishResult"""

    segments: list[DataSegment] = []
    success: bool
    retryable: bool = False
    error_msg: str | None = None
