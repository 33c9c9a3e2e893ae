"""How the rows of one chunk of time are divided into segments."""

from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field

from druid_core.errors import InvalidTask
from druid_core.spec.jackson import Bool, Int, Long, SpecModel, Texts

DEFAULT_ROWS_PER_SEGMENT = 5_000_000
"""Druid: PartitionsSpec.DEFAULT_MAX_ROWS_PER_SEGMENT"""
DEFAULT_MAX_TOTAL_ROWS = 20_000_000
"""Druid: DynamicPartitionsSpec.DEFAULT_MAX_TOTAL_ROWS"""

_PARTITIONS = "org.apache.druid.indexer.partitions"


def _none_for_minus_one(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    """Old specs write -1 for null. Druid: PartitionsSpec.resolveHistoricalNullIfNeeded"""
    return {name: value for name, value in raw.items() if not (name in names and value in (-1, "-1"))}


class DynamicPartitionsSpec(SpecModel):
    """
    A segment is full at `max_rows_per_segment` rows, all open ones together at `max_total_rows`.

    Druid: DynamicPartitionsSpec
    """

    java_class: ClassVar[str] = f"{_PARTITIONS}.DynamicPartitionsSpec"

    type: Literal["dynamic"] = "dynamic"
    max_rows_per_segment: Int = DEFAULT_ROWS_PER_SEGMENT
    max_total_rows: Long | None = None

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        return _none_for_minus_one(raw, "maxRowsPerSegment", "maxTotalRows")

    @property
    def max_total_rows_or_default(self) -> int:
        """The bound on all open segments together."""
        return DEFAULT_MAX_TOTAL_ROWS if self.max_total_rows is None else self.max_total_rows

    def check(self) -> None:
        if self.max_rows_per_segment <= 0:
            self.refuse(f"maxRowsPerSegment[{self.max_rows_per_segment}] should be positive")
        if self.max_total_rows is not None and self.max_total_rows <= 0:
            self.refuse(f"maxTotalRows[{self.max_total_rows}] should be positive")


class HashedPartitionsSpec(SpecModel):
    """By hash, into `num_shards` or as many as `max_rows_per_segment` asks for. Druid: HashedPartitionsSpec"""

    java_class: ClassVar[str] = f"{_PARTITIONS}.HashedPartitionsSpec"

    type: Literal["hashed"] = "hashed"
    num_shards: Int | None = None
    partition_dimensions: Texts = Field(default_factory=list[str])
    partition_function: Literal["murmur3_32_abs"] = "murmur3_32_abs"
    max_rows_per_segment: Int | None = None

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        targets = ("targetRowsPerSegment", "targetPartitionSize", "maxRowsPerSegment")
        raw = _none_for_minus_one(raw, *targets, "numShards")
        given = [name for name in (*targets, "numShards") if name in raw]
        if len(given) > 1:
            raise InvalidTask(
                f"Cannot construct instance of `{cls.java_class}`, problem: "
                f"At most one of [{given[0]}] or [{given[1]}] must be present"
            )
        function = raw.get("partitionFunction", "murmur3_32_abs")
        if function != "murmur3_32_abs":
            raise InvalidTask(
                "Cannot deserialize value of type `org.apache.druid.timeline.partition.HashPartitionFunction` from "
                f'String "{function}": not one of the values accepted for Enum class: [murmur3_32_abs]'
            )
        rows: dict[str, Any] = {}
        if "numShards" not in raw and "num_shards" not in raw:
            rows["maxRowsPerSegment"] = raw[given[0]] if given else DEFAULT_ROWS_PER_SEGMENT
        return {**raw, "type": "hashed", **rows}

    def check(self) -> None:
        if self.max_rows_per_segment is not None and self.max_rows_per_segment <= 0:
            self.refuse(f"targetRowsPerSegment[{self.max_rows_per_segment}] should be positive")
        if self.num_shards is not None and self.num_shards <= 0:
            self.refuse(f"numShards[{self.num_shards}] should be positive")


class RangePartitionsSpec(SpecModel):
    """By ranges of the values of `partition_dimensions`. Druid: DimensionRangePartitionsSpec"""

    java_class: ClassVar[str] = f"{_PARTITIONS}.DimensionRangePartitionsSpec"

    type: Literal["range"] = "range"
    target_rows_per_segment: Int | None = None
    max_rows_per_segment: Int | None = None
    partition_dimensions: Texts = Field(default_factory=list[str])
    assume_grouped: Bool = False

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if "partitionDimensions" not in raw and "partition_dimensions" not in raw:
            raise InvalidTask(
                f"Cannot construct instance of `{cls.java_class}`, problem: partitionDimensions must be specified"
            )
        return _none_for_minus_one(raw, "targetRowsPerSegment", "maxRowsPerSegment")

    @property
    def resolved_max_rows(self) -> int:
        """Rows of a segment at most: half more than the target, where a target was given."""
        target = self.target_rows_per_segment
        return target + target // 2 if target is not None else cast("int", self.max_rows_per_segment)

    def check(self) -> None:
        target, most = self.target_rows_per_segment, self.max_rows_per_segment
        if (target is None) == (most is None):
            self.refuse("Exactly one of targetRowsPerSegment or maxRowsPerSegment must be present")
        if target is not None and target <= 0:
            self.refuse("targetRowsPerSegment must be greater than 0")
        if most is not None and most <= 0:
            self.refuse("maxRowsPerSegment must be greater than 0")
        if target is not None and target + target // 2 > 2**31 - 1:
            self.refuse("targetRowsPerSegment is too large")


class SingleDimPartitionsSpec(RangePartitionsSpec):
    """The old spelling of a range over one dimension. Druid: SingleDimensionPartitionsSpec"""

    java_class: ClassVar[str] = f"{_PARTITIONS}.SingleDimensionPartitionsSpec"

    type: Literal["single_dim"] = "single_dim"  # pyright: ignore[reportIncompatibleVariableOverride]

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        dimension = raw.get("partitionDimension")
        raw = {"partitionDimensions": [] if dimension is None else [dimension], **raw}
        if "targetPartitionSize" in raw:
            raw.setdefault("targetRowsPerSegment", raw["targetPartitionSize"])
        if "maxPartitionSize" in raw:
            raw.setdefault("maxRowsPerSegment", raw["maxPartitionSize"])
        return super().prepare(raw)

    def to_wire(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "targetRowsPerSegment": self.target_rows_per_segment,
            "maxRowsPerSegment": self.max_rows_per_segment,
            "partitionDimension": self.partition_dimensions[0] if self.partition_dimensions else None,
            "assumeGrouped": self.assume_grouped,
        }


_PARTITION_TYPES = ("dynamic", "hashed", "range", "single_dim")


def _partitions_type(raw: Any) -> Any:
    """No type, or an unknown one, is read as hashed. Druid: PartitionsSpec's defaultImpl"""
    if isinstance(raw, dict):
        fields = cast("dict[str, Any]", raw)
        return fields if fields.get("type") in _PARTITION_TYPES else {**fields, "type": "hashed"}
    return raw


PartitionsSpec = Annotated[
    DynamicPartitionsSpec | HashedPartitionsSpec | RangePartitionsSpec | SingleDimPartitionsSpec,
    Field(discriminator="type"),
    BeforeValidator(_partitions_type),
]
