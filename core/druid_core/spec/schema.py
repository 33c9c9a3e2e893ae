"""What a row becomes: its time, its dimensions, its metrics, and the chunks of time that segments stand for."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import BeforeValidator, Field, PlainValidator, TypeAdapter

from druid_core.errors import InvalidInput, InvalidTask, NotSupportedYet
from druid_core.granularity import DAY, NONE, Granularity, parse_granularity
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import Interval, condense
from druid_core.spec.aggregator import (
    Aggregator,
    CountAggregator,
    HyperUniqueAggregator,
    NumericAggregator,
)
from druid_core.spec.dimension import (
    TIME_COLUMN,
    AutoDimension,
    Dimension,
    DimensionsSpec,
    DoubleDimension,
    FloatDimension,
    LongDimension,
    MultiValueHandling,
    NumericDimension,
    StringDimension,
)
from druid_core.spec.jackson import (
    Bool,
    SpecModel,
    Text,
    UnreadableValue,
    a_list,
)
from druid_core.task_id import check_name

__all__ = [
    "TIME_COLUMN",
    "Aggregator",
    "AutoDimension",
    "CountAggregator",
    "DataSchema",
    "Dimension",
    "DimensionsSpec",
    "DoubleDimension",
    "FloatDimension",
    "GranularitySpec",
    "HyperUniqueAggregator",
    "LongDimension",
    "MultiValueHandling",
    "NumericAggregator",
    "NumericDimension",
    "StringDimension",
    "TimestampSpec",
    "TransformSpec",
]

Child = TypeVar("Child", bound=SpecModel)

_NAMED_FORMATS = frozenset({"auto", "iso", "posix", "millis", "micro", "nano", "ruby"})
_JODA_LETTERS = frozenset("GCYxweEyDMdaKhHkmsSzZ")


def _read_instant(raw: Any) -> Any:
    if isinstance(raw, str):
        try:
            return parse_instant(raw)
        except InvalidInput as error:
            raise InvalidTask(str(error)) from error
    return raw


class TimestampSpec(SpecModel):
    """Which field is the row's time, and how it is written. Druid: TimestampSpec"""

    java_class: ClassVar[str] = "org.apache.druid.data.input.impl.TimestampSpec"

    column: Text = "timestamp"
    format: Text = "auto"
    """`auto`, `iso`, `posix`, `millis`, `micro`, `nano`, `ruby` in any case, or a Joda pattern."""
    missing_value: Annotated[int, BeforeValidator(_read_instant)] | None = None
    """Milliseconds for rows that have no time; null: such rows are unparseable."""

    def check(self) -> None:
        if self.format.lower() in _NAMED_FORMATS:
            return
        quoted = False
        for letter in self.format:
            if letter == "'":
                quoted = not quoted
            elif not quoted and letter.isascii() and letter.isalpha() and letter not in _JODA_LETTERS:
                self.refuse(f"Illegal pattern component: {letter}")

    def to_wire(self) -> dict[str, Any]:
        missing = None if self.missing_value is None else format_instant(self.missing_value)
        return {"column": self.column, "format": self.format, "missingValue": missing}


def _granularity(property_name: str) -> PlainValidator:
    def read(raw: object) -> Granularity:
        try:
            return parse_granularity(raw, property_name)
        except InvalidInput as error:
            raise InvalidTask(str(error)) from error

    return PlainValidator(read, json_schema_input_type=str | dict[str, Any])


class GranularitySpec(SpecModel):
    """
    The chunks of time that segments stand for, how far times are truncated, and whether equal rows become one.

    `intervals` empty: wherever rows are. `arbitrary` has no segment granularity: its intervals are the chunks.
    Druid: UniformGranularitySpec, ArbitraryGranularitySpec
    """

    java_class: ClassVar[str] = "org.apache.druid.indexer.granularity.UniformGranularitySpec"

    type: Literal["uniform", "arbitrary"] = "uniform"
    segment_granularity: Annotated[Granularity, _granularity("segmentGranularity")] = DAY
    query_granularity: Annotated[Granularity, _granularity("queryGranularity")] = NONE
    rollup: Bool = True
    intervals: list[Interval] = Field(default_factory=list[Interval])

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        # every type but "arbitrary" is read as uniform. Druid: GranularitySpec's defaultImpl
        kind = "arbitrary" if raw.get("type") == "arbitrary" else "uniform"
        given = raw.get("intervals")
        if given is None:
            return {**raw, "type": kind}
        java_class = _ARBITRARY if kind == "arbitrary" else cls.java_class
        if not isinstance(given, list):
            raise InvalidTask(
                "Cannot deserialize value of type `java.util.ArrayList<org.joda.time.Interval>` from "
                f"{'String' if isinstance(given, str) else 'Object'} value (token `JsonToken."
                f"{'VALUE_STRING' if isinstance(given, str) else 'START_OBJECT'}`)"
            )
        return {**raw, "type": kind, "intervals": list(_intervals(cast("list[Any]", given), java_class))}

    def check(self) -> None:
        if self.intervals and all(interval.is_empty for interval in self.intervals):
            shown = ", ".join(str(interval) for interval in self.intervals[:10])
            java_class = _ARBITRARY if self.type == "arbitrary" else self.java_class
            raise InvalidTask(f"Cannot construct instance of `{java_class}`, problem: intervals [{shown}] hold no time")
        if self.type == "arbitrary":
            ordered = sorted(self.intervals)
            for before, after in pairwise(ordered):
                if before.overlaps(after):
                    raise InvalidTask(
                        f"Cannot construct instance of `{_ARBITRARY}`, problem: "
                        f"Overlapping intervals: {before}, {after}"
                    )

    def chunks(self) -> list[Interval]:
        """The chunks of time that the given intervals touch, in order; empty when no intervals were given."""
        if self.type == "arbitrary":
            return sorted(self.intervals)
        chunks: list[Interval] = []
        for interval in condense(self.intervals):
            for chunk in self.segment_granularity.buckets(interval):
                if not chunks or chunk.start_ms > chunks[-1].start_ms:
                    chunks.append(chunk)
        return chunks

    def covered(self) -> list[Interval]:
        """
        The time of those chunks, neighbours joined.

        Only the ends of the given intervals are looked at: between them there may be more chunks than there is memory.
        """
        return condense(self._widened(interval) for interval in self.intervals if not interval.is_empty)

    def _widened(self, interval: Interval) -> Interval:
        if self.type == "arbitrary":
            return interval
        first = self.segment_granularity.bucket(interval.start_ms)
        return Interval(first.start_ms, self.segment_granularity.bucket(interval.end_ms - 1).end_ms)

    def to_wire(self) -> dict[str, Any]:
        segment = {} if self.type == "arbitrary" else {"segmentGranularity": self.segment_granularity.to_wire()}
        return {
            "type": self.type,
            **segment,
            "queryGranularity": self.query_granularity.to_wire(),
            "rollup": self.rollup,
            "intervals": [str(interval) for interval in self.intervals],
        }


_ARBITRARY = "org.apache.druid.indexer.granularity.ArbitraryGranularitySpec"


def _intervals(given: list[Any], java_class: str) -> Iterator[Interval]:
    for index, raw in enumerate(given):
        if isinstance(raw, Interval):
            yield raw
            continue
        try:
            yield Interval.parse(str(raw))
        except InvalidInput as error:
            raise UnreadableValue(str(error), f'{java_class}["intervals"]', f"java.util.ArrayList[{index}]") from error


class TransformSpec(SpecModel):
    """What is done to rows before they are stored; here: nothing. Druid: TransformSpec"""

    java_class: ClassVar[str] = "org.apache.druid.segment.transform.TransformSpec"

    filter: None = None
    transforms: list[Any] = Field(default_factory=list[Any])

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("transforms") or raw.get("filter"):
            raise NotSupportedYet("A transformSpec with transforms or a filter")
        return {}


_AGGREGATORS: TypeAdapter[list[CountAggregator | NumericAggregator | HyperUniqueAggregator]] = TypeAdapter(
    Annotated[list[Aggregator], a_list("org.apache.druid.query.aggregation.AggregatorFactory[]")]
)


class DataSchema(SpecModel):
    """
    The shape of a datasource. Druid: DataSchema

    `dimensions_spec` is the effective one: what metrics read or are called, and the time, is excluded from discovery.
    """

    java_class: ClassVar[str] = "org.apache.druid.segment.indexing.DataSchema"

    data_source: Text
    timestamp_spec: TimestampSpec
    dimensions_spec: DimensionsSpec
    metrics_spec: list[Aggregator]
    granularity_spec: GranularitySpec
    transform_spec: TransformSpec

    @classmethod
    def prepare(cls, raw: dict[str, Any]) -> dict[str, Any]:
        if raw.get("parser"):
            raise InvalidTask(
                f"Cannot construct instance of `{cls.java_class}`, problem: parser is no longer supported; use "
                "timestampSpec and dimensionsSpec of the dataSchema and inputFormat of the ioConfig instead"
            )
        if raw.get("projections"):
            raise NotSupportedYet("dataSchema.projections")
        timestamp = _child(TimestampSpec, raw, "timestampSpec", "timestamp_spec")
        dimensions = _child(DimensionsSpec, raw, "dimensionsSpec", "dimensions_spec") or DimensionsSpec()
        metrics = _AGGREGATORS.validate_python(raw.get("metricsSpec", raw.get("metrics_spec", [])))
        granularity = _child(GranularitySpec, raw, "granularitySpec", "granularity_spec") or GranularitySpec()
        data_source = raw.get("dataSource", raw.get("data_source"))
        check_name("dataSource", data_source, cls.java_class)
        if timestamp is None:
            raise InvalidTask(
                f"Cannot construct instance of `{cls.java_class}`, problem: timestampSpec must not be null"
            )
        _check_columns(cls, dimensions, metrics)
        inputs = [metric.field_name for metric in metrics if metric.field_name is not None]
        return {
            "data_source": data_source,
            "timestamp_spec": timestamp,
            "dimensions_spec": dimensions.excluding(
                [timestamp.column, *inputs, TIME_COLUMN, *(metric.name for metric in metrics)]
            ),
            "metrics_spec": metrics,
            "granularity_spec": granularity,
            "transform_spec": raw.get("transformSpec", {}),
        }


def _child(model: type[Child], raw: dict[str, Any], name: str, python_name: str) -> Child | None:
    value = raw.get(name, raw.get(python_name))
    return None if value is None else model.model_validate(value)


def _check_columns(
    model: type[DataSchema],
    dimensions: DimensionsSpec,
    metrics: list[CountAggregator | NumericAggregator | HyperUniqueAggregator],
) -> None:
    """Every column has a name of its own that a segment can carry. Druid: computeAndValidateOutputFieldNames"""

    def refuse(problem: str) -> InvalidTask:
        return InvalidTask(f"Cannot construct instance of `{model.java_class}`, problem: {problem}".partition("\n")[0])

    seen: dict[str, list[str]] = {TIME_COLUMN: [_PRIMARY_TIME]}
    for position, dimension in enumerate(dimensions.dimensions):
        if not dimension.name:
            raise refuse(f"Encountered dimension with null or empty name at position[{position}]")
        if dimension.name == TIME_COLUMN:
            if position > 0 and dimensions.force_segment_sort_by_time is not False:
                raise refuse(
                    f"Encountered dimension[{TIME_COLUMN}] at position[{position}]. This is only supported when the "
                    f"dimensionsSpec parameter[forceSegmentSortByTime] is set to[false]. {_NON_TIME_ORDER}"
                )
            if dimension.type != "long":
                raise refuse(
                    f"Encountered dimension[{TIME_COLUMN}] with incorrect type[{_COLUMN_TYPES[dimension.type]}]. "
                    "Type must be 'long'."
                )
            continue
        seen.setdefault(dimension.name, []).append("dimensions list")
    for metric in metrics:
        seen.setdefault(metric.name, []).append("metricsSpec list")
    if dimensions.force_segment_sort_by_time is False:
        raise NotSupportedYet("forceSegmentSortByTime [false]")
    errors = [f"[{name}] seen in {_places(places)}" for name, places in sorted(seen.items()) if len(places) > 1]
    if errors:
        raise refuse(f"Cannot specify a column more than once: {'; '.join(errors)}")
    for name in seen:
        if "," in name:
            raise refuse(
                f"Invalid column name [{name}]: a segment's column names are stored joined by commas, "
                "so a name cannot contain one"
            )


_PRIMARY_TIME = "primary timestamp (__time cannot appear elsewhere except as long-typed dimension)"
_NON_TIME_ORDER = (
    "Warning: support for segments not sorted by[__time] is experimental. Such segments are not readable by older "
    "version of Druid, and certain queries cannot run on them. See "
    "https://druid.apache.org/docs/latest/ingestion/partitioning#sorting for details before using this option."
)
_COLUMN_TYPES = {"string": "STRING", "long": "LONG", "float": "FLOAT", "double": "DOUBLE", "auto": "COMPLEX<json>"}


def _places(places: list[str]) -> str:
    counted = {place: places.count(place) for place in sorted(places)}
    return ", ".join(place if count == 1 else f"{place} ({count} occurrences)" for place, count in counted.items())
