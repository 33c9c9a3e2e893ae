"""Shard specs: which part of its time chunk a segment is."""

from typing import Annotated, Any, Literal

from pydantic import Field

from druid_core.errors import InvalidInput
from druid_core.wire import WireModel

_INT_MAX = 2**31 - 1

PartitionNumber = Annotated[int, Field(ge=0, le=_INT_MAX)]
"""Java's int, not negative."""

FIRST_OVERWRITING_PARTITION = 32768
"""Below are the numbers of first generation and appended partitions, from here on those that overwrite under segment
locks. Druid: PartitionIds.NON_ROOT_GEN_START_PARTITION_ID"""

UNKNOWN_CORE_PARTITIONS = -1
"""A range that was written before Druid counted them. Druid: UNKNOWN_NUM_CORE_PARTITIONS"""


class NumberedShardSpec(WireModel):
    """Partition `partition_num` of a core set of `partitions` (0: appended, no core set). Druid: NumberedShardSpec"""

    type: Literal["numbered"] = "numbered"
    partition_num: PartitionNumber
    partitions: Annotated[int, Field(ge=-1, le=_INT_MAX)]


class HashedShardSpec(WireModel):
    """Druid: HashBasedNumberedShardSpec"""

    type: Literal["hashed"] = "hashed"
    partition_num: PartitionNumber
    partitions: Annotated[int, Field(ge=-1, le=_INT_MAX)]
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
    partition_num: PartitionNumber
    num_core_partitions: Annotated[int, Field(ge=-1, le=_INT_MAX)] | None = None


class RangeShardSpec(WireModel):
    """Druid: DimensionRangeShardSpec"""

    type: Literal["range"] = "range"
    dimensions: list[str]
    start: list[Any] | None = None
    end: list[Any] | None = None
    partition_num: PartitionNumber
    num_core_partitions: Annotated[int, Field(ge=-1, le=_INT_MAX)] | None = None


class NumberedOverwriteShardSpec(WireModel):
    """Druid: NumberedOverwriteShardSpec"""

    type: Literal["numbered_overwrite"] = "numbered_overwrite"
    partition_id: PartitionNumber
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
    partition_num: PartitionNumber


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


def core_partitions(spec: ShardSpec) -> int:
    """
    The size of the core set: 0 where any single partition may be seen, UNKNOWN_CORE_PARTITIONS where nobody counted.

    Druid: ShardSpec.getNumCorePartitions
    """
    match spec:
        case NumberedShardSpec() | HashedShardSpec():
            return spec.partitions
        case SingleShardSpec() | RangeShardSpec():
            return UNKNOWN_CORE_PARTITIONS if spec.num_core_partitions is None else spec.num_core_partitions
        case _:
            return 0


def is_countable(spec: ShardSpec) -> bool:
    """Whether its chunk is complete by a count of partitions. Druid: ShardSpec.canCreateNumberedPartitionChunk"""
    match spec:
        case NumberedShardSpec() | HashedShardSpec():
            return True
        case SingleShardSpec() | RangeShardSpec():
            return core_partitions(spec) != UNKNOWN_CORE_PARTITIONS
        case _:
            return False


def renumbered(spec: ShardSpec, *, partition_num: int | None = None, core: int | None = None) -> ShardSpec:
    """
    The same part under another number, or in a core set of another size.

    What is hashed becomes numbered and a single dimension a range: in a chunk with other segments their buckets say
    nothing. Raises InvalidInput for kinds that cannot be renumbered. Druid: ShardSpec.withPartitionNum,
    withCorePartitions
    """
    number = spec.partition_num if partition_num is None else partition_num
    match spec:
        case NumberedShardSpec() | HashedShardSpec():
            return NumberedShardSpec(partition_num=number, partitions=spec.partitions if core is None else core)
        case SingleShardSpec():
            return RangeShardSpec(
                dimensions=[spec.dimension],
                start=None if spec.start is None else [spec.start],
                end=None if spec.end is None else [spec.end],
                partition_num=number,
                num_core_partitions=spec.num_core_partitions if core is None else core,
            )
        case RangeShardSpec():
            size = spec.num_core_partitions if core is None else core
            return spec.model_copy(update={"partition_num": number, "num_core_partitions": size})
        case LinearShardSpec():
            return LinearShardSpec(partition_num=number)
        case _:
            raise InvalidInput(f"A segment with a shard spec of type [{spec.type}] cannot be given another number")
