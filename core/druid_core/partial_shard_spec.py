"""
Partial shard specs: what the writer of a segment knows of its part before the Overlord gives it a number.

Druid: PartialShardSpec
"""

from typing import Annotated, Literal

from pydantic import Field

from druid_core.shard_spec import (
    FIRST_OVERWRITING_PARTITION,
    HashedShardSpec,
    NumberedOverwriteShardSpec,
    NumberedShardSpec,
    ShardSpec,
    SingleShardSpec,
)
from druid_core.wire import WireModel

UNKNOWN_GROUP_SIZE = -1
"""An atomic update group is counted only when all its members are written. Druid: NumberedOverwriteShardSpec"""


class NumberedPartialShardSpec(WireModel):
    """Any part. Druid: NumberedPartialShardSpec"""

    type: Literal["numbered"] = "numbered"

    def complete(self, partition_num: int, core: int) -> ShardSpec:
        return NumberedShardSpec(partition_num=partition_num, partitions=core)


NUMBERED = NumberedPartialShardSpec()
"""What is meant where none is given."""


class HashedPartialShardSpec(WireModel):
    """One bucket of a hash. Druid: HashBasedNumberedPartialShardSpec"""

    type: Literal["hashed"] = "hashed"
    partition_dimensions: list[str] | None = None
    bucket_id: int
    num_partitions: int
    partition_function: str | None = None

    def complete(self, partition_num: int, core: int) -> ShardSpec:
        return HashedShardSpec(
            partition_num=partition_num,
            partitions=core,
            bucket_id=self.bucket_id,
            num_buckets=self.num_partitions,
            partition_dimensions=self.partition_dimensions or [],
            partition_function=self.partition_function,
        )


class SinglePartialShardSpec(WireModel):
    """A range of one dimension. Druid: SingleDimensionPartialShardSpec"""

    type: Literal["single_dim"] = "single_dim"
    partition_dimension: str
    bucket_id: int
    start: str | None = None
    end: str | None = None
    num_buckets: int

    def complete(self, partition_num: int, core: int) -> ShardSpec:
        return SingleShardSpec(
            dimension=self.partition_dimension,
            start=self.start,
            end=self.end,
            partition_num=partition_num,
            num_core_partitions=core,
        )


class NumberedOverwritePartialShardSpec(WireModel):
    """A part in the place of others, under segment locks. Druid: NumberedOverwritePartialShardSpec"""

    type: Literal["numbered_overwrite"] = "numbered_overwrite"
    start_root_partition_id: Annotated[int, Field(ge=0, lt=FIRST_OVERWRITING_PARTITION)]
    end_root_partition_id: Annotated[int, Field(ge=0, le=FIRST_OVERWRITING_PARTITION)]
    minor_version: Annotated[int, Field(gt=0, lt=2**15)]

    def complete(self, partition_num: int, core: int) -> ShardSpec:
        return NumberedOverwriteShardSpec(
            partition_id=partition_num,
            start_root_partition_id=self.start_root_partition_id,
            end_root_partition_id=self.end_root_partition_id,
            minor_version=self.minor_version,
            atomic_update_group_size=UNKNOWN_GROUP_SIZE,
        )


PartialShardSpec = Annotated[
    NumberedPartialShardSpec | HashedPartialShardSpec | SinglePartialShardSpec | NumberedOverwritePartialShardSpec,
    Field(discriminator="type"),
]


def overwrites(partial: PartialShardSpec) -> bool:
    """Whether it takes its numbers from the upper half. Druid: useNonRootGenerationPartitionSpace"""
    return isinstance(partial, NumberedOverwritePartialShardSpec)
