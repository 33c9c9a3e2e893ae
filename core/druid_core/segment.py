"""The published fact of a segment: its identity, where it lies, what it holds."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer

from druid_core.interval import Interval
from druid_core.shard_spec import NumberedShardSpec, ShardSpec
from druid_core.wire import WireModel

_OMITTED_WHEN_NONE = ("lastCompactionState", "projections", "totalRows", "indexingStateFingerprint")


class DataSegment(WireModel):
    """
    A published segment, as in `druid_segments.payload`. Two are the same when their ids are.

    `size` is the sum of the uncompressed files in bytes. Druid: DataSegment
    """

    data_source: str
    interval: Interval
    version: str
    load_spec: dict[str, Any] | None = None
    dimensions: list[str] = []
    metrics: list[str] = []
    projections: list[str] | None = None
    shard_spec: ShardSpec = NumberedShardSpec(partition_num=0, partitions=1)
    last_compaction_state: dict[str, Any] | None = None
    binary_version: int | None = 9
    size: int = 0
    total_rows: int | None = None
    indexing_state_fingerprint: str | None = None

    @field_validator("dimensions", "metrics", "projections", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """On the wire these are one text, joined by commas."""
        if isinstance(value, str):
            return [name for name in value.split(",") if name]
        return value

    @field_validator("dimensions", "metrics", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return [] if value is None else value

    @field_validator("shard_spec", mode="before")
    @classmethod
    def _null_is_numbered(cls, value: Any) -> Any:
        """Druid: DataSegment's constructor"""
        return NumberedShardSpec(partition_num=0, partitions=1) if value is None else value

    @property
    def id(self) -> str:
        return segment_id(self.data_source, self.interval, self.version, self.shard_spec.partition_num)

    @model_serializer(mode="wrap")
    def _as_druid_writes_it(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Alone or inside another model: column names joined, empty extras left out, the id added."""
        wire = handler(self)
        for name in ("dimensions", "metrics", "projections"):
            if wire[name] is not None:
                wire[name] = ",".join(wire[name])
        for name in _OMITTED_WHEN_NONE:
            if wire[name] is None:
                del wire[name]
        wire["identifier"] = self.id
        return wire

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataSegment) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


class SegmentIdWithShardSpec(WireModel):
    """An allocated identity whose segment is not published yet. Druid: SegmentIdWithShardSpec"""

    data_source: str
    interval: Interval
    version: str
    shard_spec: ShardSpec

    @property
    def id(self) -> str:
        return segment_id(self.data_source, self.interval, self.version, self.shard_spec.partition_num)


def segment_id(data_source: str, interval: Interval, version: str, partition_num: int) -> str:
    """`dataSource_start_end_version[_partitionNum]`, without the suffix for partition 0. Druid: SegmentId"""
    suffix = f"_{partition_num}" if partition_num else ""
    return f"{data_source}_{interval.start}_{interval.end}_{version}{suffix}"
