"""Shard specs: which part of its time chunk a segment is."""

from typing import Annotated, Any, Literal

from pydantic import Field

from druid_core.wire import WireModel


class NumberedShardSpec(WireModel):
    """Partition `partition_num` of a core set of `partitions` (0: appended, no core set). Druid: NumberedShardSpec"""

    type: Literal["numbered"] = "numbered"
    partition_num: int
    partitions: int


class HashedShardSpec(WireModel):
    """Druid: HashBasedNumberedShardSpec"""

    type: Literal["hashed"] = "hashed"
    partition_num: int
    partitions: int
    bucket_id: int
    num_buckets: int
    partition_dimensions: list[str] = []
    partition_function: str | None = "murmur3_32_abs"


class SingleShardSpec(WireModel):
    """Druid: SingleDimensionShardSpec"""

    type: Literal["single"] = "single"
    dimension: str
    start: str | None = None
    end: str | None = None
    partition_num: int
    num_core_partitions: int | None = None


class RangeShardSpec(WireModel):
    """Druid: DimensionRangeShardSpec"""

    type: Literal["range"] = "range"
    dimensions: list[str]
    start: list[Any] | None = None
    end: list[Any] | None = None
    partition_num: int
    num_core_partitions: int | None = None


class NumberedOverwriteShardSpec(WireModel):
    """Druid: NumberedOverwriteShardSpec"""

    type: Literal["numbered_overwrite"] = "numbered_overwrite"
    partition_id: int
    start_root_partition_id: int
    end_root_partition_id: int
    minor_version: int
    atomic_update_group_size: int

    @property
    def partition_num(self) -> int:
        return self.partition_id


class LinearShardSpec(WireModel):
    """Druid: LinearShardSpec"""

    type: Literal["linear"] = "linear"
    partition_num: int


class NoneShardSpec(WireModel):
    """Druid: NoneShardSpec"""

    type: Literal["none"] = "none"

    @property
    def partition_num(self) -> int:
        return 0


class TombstoneShardSpec(WireModel):
    """Druid: TombstoneShardSpec"""

    type: Literal["tombstone"] = "tombstone"
    partition_num: int = 0
    partitions: int = 0


ShardSpec = Annotated[
    NumberedShardSpec
    | HashedShardSpec
    | SingleShardSpec
    | RangeShardSpec
    | NumberedOverwriteShardSpec
    | LinearShardSpec
    | NoneShardSpec
    | TombstoneShardSpec,
    Field(discriminator="type"),
]
