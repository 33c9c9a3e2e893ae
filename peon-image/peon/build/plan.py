"""What is to be built: the columns of a segment, and how rows become its rows."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from druid_core.granularity import Granularity
from druid_core.interval import Interval
from druid_core.spec.dimension import DoubleDimension, FloatDimension, LongDimension
from druid_core.spec.dimension import StringDimension as StringDimensionSpec
from druid_core.spec.schema import DataSchema, GranularitySpec
from peon.build.aggregator import Aggregator, aggregator
from peon.build.values import NumberRule, double_dimension, long_dimension
from peon.segment.columns import NumericColumn
from peon.segment.numeric import NumericKind


@dataclass(frozen=True, slots=True)
class StringDimension:
    """Druid: StringDimensionSchema"""

    name: str
    handling: str  # SORTED_ARRAY | SORTED_SET | ARRAY
    bitmap_index: bool


@dataclass(frozen=True, slots=True)
class NumericDimension:
    """Druid: LongDimensionSchema, DoubleDimensionSchema, FloatDimensionSchema"""

    name: str
    kind: NumericKind
    rule: NumberRule

    def column(self) -> NumericColumn:
        return NumericColumn(self.name, self.kind)


Dimension = StringDimension | NumericDimension
DimensionSpec = StringDimensionSpec | LongDimension | DoubleDimension | FloatDimension


class TimeChunking(Protocol):
    """How time is cut into chunks: by a granularity, or as given."""

    def bucket(self, ms: int) -> Interval: ...

    def bucket_starts(self, ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]: ...


@dataclass(frozen=True, slots=True)
class GivenChunks:
    """Time chunks that the spec lists. Rows lie in one of them. Druid: ArbitraryGranularitySpec"""

    intervals: tuple[Interval, ...]  # ascending, none overlaps another

    def bucket(self, ms: int) -> Interval:
        return next(interval for interval in self.intervals if interval.contains(ms))

    def bucket_starts(self, ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        starts = np.array([interval.start_ms for interval in self.intervals])
        return starts[np.maximum(np.searchsorted(starts, ms, side="right") - 1, 0)]


def time_chunking(spec: GranularitySpec) -> TimeChunking:
    """How a granularitySpec cuts time."""
    return GivenChunks(tuple(spec.chunks())) if spec.type == "arbitrary" else spec.segment_granularity


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """
    The dimensions in their order, the aggregators in the spec's, and the two granularities.

    aggregator_json: the combining forms, for metadata.drd
    store_empty:     whether string dimensions without any value are kept. Druid: storeEmptyColumns
    """

    dimensions: tuple[Dimension, ...]
    aggregators: tuple[Aggregator, ...]
    time_chunks: TimeChunking
    query_granularity: Granularity
    rollup: bool
    timestamp_spec: dict[str, Any]
    aggregator_json: tuple[dict[str, Any], ...]
    store_empty: bool = True


def build_plan(schema: DataSchema, dimensions: tuple[Dimension, ...], *, store_empty: bool) -> BuildPlan:
    """The plan of a dataSchema whose dimensions are known (listed or discovered)."""
    granularity = schema.granularity_spec
    return BuildPlan(
        dimensions=dimensions,
        aggregators=tuple(aggregator(spec) for spec in schema.metrics_spec),
        time_chunks=time_chunking(granularity),
        query_granularity=granularity.query_granularity,
        rollup=granularity.rollup,
        timestamp_spec=schema.timestamp_spec.to_wire(),
        aggregator_json=tuple(spec.combining().to_wire() for spec in schema.metrics_spec),
        store_empty=store_empty,
    )


def dimension(spec: DimensionSpec) -> Dimension:
    """A dimensionsSpec entry whose type is known."""
    match spec:
        case StringDimensionSpec():
            return StringDimension(spec.name, spec.multi_value_handling.value, spec.create_bitmap_index)
        case LongDimension():
            return numeric_dimension(spec.name, NumericKind.LONG)
        case DoubleDimension():
            return numeric_dimension(spec.name, NumericKind.DOUBLE)
        case FloatDimension():
            return numeric_dimension(spec.name, NumericKind.FLOAT)


def numeric_dimension(name: str, kind: NumericKind) -> NumericDimension:
    """A dimension of numbers."""
    rule = long_dimension(name) if kind is NumericKind.LONG else double_dimension(name, kind.value.lower())
    return NumericDimension(name, kind, rule)
