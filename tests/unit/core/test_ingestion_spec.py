"""The parts of an ingestion spec: what they default to, what they are printed as, what they refuse."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from druid_core.errors import InvalidTask
from druid_core.instant import parse_instant
from druid_core.interval import Interval
from druid_core.spec.index_spec import IndexSpec
from druid_core.spec.input import CsvFormat, HttpSource, InputFormat, InputSource, JsonFormat, TsvFormat
from druid_core.spec.jackson import SpecModel
from druid_core.spec.partitions import (
    DynamicPartitionsSpec,
    HashedPartitionsSpec,
    RangePartitionsSpec,
    SingleDimPartitionsSpec,
)
from druid_core.spec.schema import (
    Aggregator,
    DataSchema,
    Dimension,
    DimensionsSpec,
    GranularitySpec,
    TimestampSpec,
    TransformSpec,
)
from druid_core.spec.tuning import IndexTuningConfig, ParallelIndexTuningConfig, SplitHintSpec

IMPL = "org.apache.druid.data.input.impl"


def read(kind: Any, raw: object) -> Any:
    return TypeAdapter[Any](kind).validate_python(raw)


def refusal_of(kind: Any, raw: object) -> str:
    with pytest.raises(InvalidTask) as refused:
        read(kind, raw)
    return str(refused.value)


PRINTED: list[tuple[Any, Any, Any]] = [
    (TimestampSpec, {}, {"column": "timestamp", "format": "auto", "missingValue": None}),
    (
        TimestampSpec,
        {"column": "t", "format": "yyyy-MM-dd'T'HH:mm", "missingValue": "2026-01-01"},
        {"column": "t", "format": "yyyy-MM-dd'T'HH:mm", "missingValue": "2026-01-01T00:00:00.000Z"},
    ),
    (Dimension, "a", {"type": "string", "name": "a", "multiValueHandling": "SORTED_ARRAY", "createBitmapIndex": True}),
    (
        Dimension,
        {"name": "a", "multiValueHandling": "array", "createBitmapIndex": "false"},
        {"type": "string", "name": "a", "multiValueHandling": "ARRAY", "createBitmapIndex": False},
    ),
    (
        Dimension,
        {"type": "double", "name": "a", "createBitmapIndex": True},
        {"type": "double", "name": "a", "multiValueHandling": "SORTED_ARRAY", "createBitmapIndex": False},
    ),
    (
        Dimension,
        {"type": "auto", "name": "a", "castToType": "LONG"},
        {
            "type": "auto",
            "name": "a",
            "castToType": "LONG",
            "multiValueHandling": "SORTED_ARRAY",
            "createBitmapIndex": True,
        },
    ),
    (Aggregator, {"type": "count", "name": "c", "fieldName": "x"}, {"type": "count", "name": "c"}),
    (
        Aggregator,
        {"type": "floatMin", "name": "m", "fieldName": "x"},
        {"type": "floatMin", "name": "m", "fieldName": "x"},
    ),
    (
        Aggregator,
        {"type": "hyperUnique", "name": "u", "fieldName": "x"},
        {"type": "hyperUnique", "name": "u", "fieldName": "x", "isInputHyperUnique": False, "round": False},
    ),
    (
        GranularitySpec,
        {},
        {
            "type": "uniform",
            "segmentGranularity": "DAY",
            "queryGranularity": {"type": "none"},
            "rollup": True,
            "intervals": [],
        },
    ),
    (
        GranularitySpec,
        {"type": "arbitrary", "queryGranularity": "hour", "intervals": ["2026/P1D"]},
        {
            "type": "arbitrary",
            "queryGranularity": "HOUR",
            "rollup": True,
            "intervals": ["2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"],
        },
    ),
    (TransformSpec, {"transforms": [], "filter": None}, {"filter": None, "transforms": []}),
    (InputSource, {"type": "local", "files": ["/a"]}, {"type": "local", "files": ["/a"]}),
    (
        InputSource,
        {"type": "http", "uris": ["http://a/b"], "httpAuthenticationPassword": None},
        {"type": "http", "uris": ["http://a/b"]},
    ),
    (InputFormat, {"type": "csv", "hasHeaderRow": True}, {"type": "csv", "findColumnsFromHeader": True}),
    (
        InputFormat,
        {"type": "tsv", "columns": ["a"], "skipHeaderRows": 1, "listDelimiter": "|"},
        {"type": "tsv", "columns": ["a"], "listDelimiter": "|", "delimiter": "\t", "skipHeaderRows": 1},
    ),
    (
        InputFormat,
        {"type": "json", "flattenSpec": {"fields": ["a", {"type": "PATH", "name": "b", "expr": "$.b.c"}]}},
        {
            "type": "json",
            "flattenSpec": {
                "useFieldDiscovery": True,
                "fields": [
                    {"type": "root", "name": "a", "expr": "a", "nodes": None},
                    {"type": "path", "name": "b", "expr": "$.b.c", "nodes": None},
                ],
            },
        },
    ),
    (InputFormat, {"type": "parquet"}, {"type": "parquet", "binaryAsString": False}),
    (
        DynamicPartitionsSpec,
        {"maxRowsPerSegment": -1},
        {"type": "dynamic", "maxRowsPerSegment": 5_000_000, "maxTotalRows": None},
    ),
    (
        HashedPartitionsSpec,
        {"targetRowsPerSegment": 7},
        {
            "type": "hashed",
            "numShards": None,
            "partitionDimensions": [],
            "partitionFunction": "murmur3_32_abs",
            "maxRowsPerSegment": 7,
        },
    ),
    (
        HashedPartitionsSpec,
        {"numShards": 3, "maxRowsPerSegment": -1},
        {
            "type": "hashed",
            "numShards": 3,
            "partitionDimensions": [],
            "partitionFunction": "murmur3_32_abs",
            "maxRowsPerSegment": None,
        },
    ),
    (
        SingleDimPartitionsSpec,
        {"partitionDimension": "a", "targetPartitionSize": 10},
        {
            "type": "single_dim",
            "targetRowsPerSegment": 10,
            "maxRowsPerSegment": None,
            "partitionDimension": "a",
            "assumeGrouped": False,
        },
    ),
    (SplitHintSpec, {"maxSplitSize": "1GiB"}, {"type": "maxSize", "maxSplitSize": 2**30, "maxNumFiles": 1000}),
    (
        IndexSpec,
        {"dimensionCompression": "LZ4", "bitmap": {"type": "roaring", "compressRunOnSerialization": True}},
        {
            "bitmap": {"type": "roaring"},
            "dimensionCompression": "lz4",
            "stringDictionaryEncoding": None,
            "metricCompression": None,
            "longEncoding": None,
        },
    ),
]


@pytest.mark.parametrize(("kind", "raw", "wire"), PRINTED)
def test_part_is_printed_with_its_defaults_and_read_back(kind: Any, raw: Any, wire: Any) -> None:
    part: SpecModel = read(kind, raw)
    assert list(part.to_wire()) == list(wire)
    assert part.to_wire() == wire
    assert read(kind, wire) == part


REFUSED: list[tuple[Any, Any, str]] = [
    (TimestampSpec, {"format": "bogus"}, f"`{IMPL}.TimestampSpec`, problem: Illegal pattern component: b"),
    (InputSource, {"type": "inline"}, f"`{IMPL}.InlineInputSource`, problem: empty data"),
    (InputSource, {"type": "local"}, "At least one of baseDir or files should be specified"),
    (InputSource, {"type": "local", "baseDir": "/a"}, f"`{IMPL}.LocalInputSource`, problem: filter"),
    (InputSource, {"type": "http"}, "Empty URIs"),
    (InputSource, {"type": "http", "uris": ["file:///etc/passwd"]}, "Only [http, https] protocols are allowed"),
    (InputSource, {"type": "http", "uris": "http://a"}, "from String value (token `JsonToken.VALUE_STRING`)"),
    (InputSource, {"type": "s3"}, "inputSource type [s3] is known to Druid but not supported yet"),
    (InputFormat, {"type": "csv"}, "Either [columns] or [findColumnsFromHeader] must be set"),
    (InputFormat, {"type": "csv", "findColumnsFromHeader": False}, "[findColumnsFromHeader] must be set to true."),
    (
        InputFormat,
        {"type": "csv", "hasHeaderRow": True, "findColumnsFromHeader": True},
        "Cannot accept both [findColumnsFromHeader] and [hasHeaderRow]",
    ),
    (InputFormat, {"type": "csv", "columns": ["a,b"]}, "Column[a,b] cannot have the delimiter[,] in its name"),
    (
        InputFormat,
        {"type": "tsv", "columns": ["a"], "listDelimiter": "\t"},
        "Cannot have same delimiter and list delimiter of [\t]",
    ),
    (
        InputFormat,
        {"type": "json", "assumeNewlineDelimited": True, "useJsonNodeReader": True},
        "useJsonNodeReader cannot be set to true when assumeNewlineDelimited is true.",
    ),
    (InputFormat, {"type": "json", "flattenSpec": {"fields": [{"type": "jq", "name": "a"}]}}, "field type [jq]"),
    (
        InputFormat,
        {"type": "json", "flattenSpec": {"fields": [{"type": "path", "name": "a"}]}},
        "Missing 'expr' for field[a]",
    ),
    (InputFormat, {"type": "json", "flattenSpec": {"fields": ["a", "a"]}}, "Cannot have duplicate field definition: a"),
    (InputFormat, {"type": "json", "flattenSpec": "a"}, "no String-argument constructor/factory method"),
    (InputFormat, {"type": "orc"}, "supported are: csv, json, parquet, tsv"),
    (Dimension, {"type": "json", "name": "a"}, "Dimension type [json] is known to Druid but not supported yet"),
    (
        Dimension,
        {"type": "auto", "name": "a", "castToType": "ARRAY<LONG>"},
        "castToType [ARRAY<LONG>] is known to Druid",
    ),
    (Dimension, {"name": "a", "multiValueHandling": "best"}, "DimensionSchema.MultiValueHandling.BEST"),
    (DimensionsSpec, {"dimensions": ["a", "b", "a"]}, "Duplicate column entries found : [a]"),
    (
        DimensionsSpec,
        {"dimensions": ["a"], "dimensionExclusions": ["a"]},
        "dimensions and dimensions exclusions cannot overlap",
    ),
    (DimensionsSpec, {"dimensions": "a"}, "Cannot deserialize value of type `java.util.ArrayList<"),
    (DimensionsSpec, {"spatialDimensions": [{"dimName": "a"}]}, "spatialDimensions is known to Druid"),
    (Aggregator, {"type": "count"}, "Must have a valid, non-null aggregator name"),
    (
        Aggregator,
        {"type": "longSum", "name": "a"},
        "LongSumAggregatorFactory`, problem: Must have a valid, non-null fieldName",
    ),
    (
        Aggregator,
        {"type": "thetaSketch", "name": "a"},
        "Aggregator type [thetaSketch] is known to Druid but not supported yet",
    ),
    (Aggregator, {"type": "longSum", "name": "a", "expression": "x + 1"}, "expression is known to Druid"),
    (Aggregator, {"type": "median", "name": "a"}, "Could not resolve type id 'median'"),
    (
        GranularitySpec,
        {"type": "arbitrary", "intervals": ["2026/2028", "2027/2029"]},
        "`org.apache.druid.indexer.granularity.ArbitraryGranularitySpec`, problem: Overlapping intervals: ",
    ),
    (GranularitySpec, {"intervals": "2026/2027"}, "ArrayList<org.joda.time.Interval>` from String value"),
    (GranularitySpec, {"segmentGranularity": "PT1H"}, "GranularityType.PT1H"),
    (TransformSpec, {"filter": {"type": "true"}}, "A transformSpec with transforms or a filter is known to Druid"),
    (
        RangePartitionsSpec,
        {"partitionDimensions": ["a"], "maxRowsPerSegment": 0},
        "maxRowsPerSegment must be greater than 0",
    ),
    (HashedPartitionsSpec, {"numShards": 0}, "numShards[0] should be positive"),
    (HashedPartitionsSpec, {"numShards": 3_000_000_000}, "Numeric value (3000000000) out of range of int"),
    (IndexSpec, {"bitmap": {"type": "concise"}}, "bitmap type [concise] is known to Druid"),
    (IndexSpec, {"longEncoding": "delta"}, "No enum constant"),
    (IndexTuningConfig, {"maxRowsInMemory": True}, "from Boolean value (token `JsonToken.VALUE_TRUE`)"),
    (IndexTuningConfig, {"logParseExceptions": "maybe"}, 'only "true" or "false" recognized'),
    (ParallelIndexTuningConfig, {"chatHandlerTimeout": "soon"}, "soon"),
]


@pytest.mark.parametrize(("kind", "raw", "words"), REFUSED)
def test_part_that_cannot_be_is_refused_in_words(kind: Any, raw: Any, words: str) -> None:
    assert words in refusal_of(kind, raw)


def schema(**changed: Any) -> dict[str, Any]:
    return {"dataSource": "a", "timestampSpec": {}, "dimensionsSpec": {}, **changed}


LONG_TIME = {"type": "long", "name": "__time"}


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (
            schema(dimensionsSpec={"dimensions": ["page"]}, metricsSpec=[{"type": "count", "name": "page"}]),
            "Cannot specify a column more than once: [page] seen in dimensions list, metricsSpec list",
        ),
        (
            schema(metricsSpec=[{"type": "count", "name": "n"}, {"type": "count", "name": "n"}]),
            "Cannot specify a column more than once: [n] seen in metricsSpec list (2 occurrences)",
        ),
        (
            schema(metricsSpec=[{"type": "count", "name": "__time"}]),
            (
                "Cannot specify a column more than once: [__time] seen in metricsSpec list, "
                "primary timestamp (__time cannot appear elsewhere except as long-typed dimension)"
            ),
        ),
        (
            schema(dimensionsSpec={"dimensions": ["a", ""]}),
            "Encountered dimension with null or empty name at position[1]",
        ),
        (
            schema(dimensionsSpec={"dimensions": ["__time"]}),
            "Encountered dimension[__time] with incorrect type[STRING]. Type must be 'long'.",
        ),
        (schema(dimensionsSpec={"dimensions": ["a", LONG_TIME]}), "Encountered dimension[__time] at position[1]."),
        (schema(dimensionsSpec={"dimensions": ["a,b"]}), "Invalid column name [a,b]: "),
        (schema(metricsSpec=[{"type": "count", "name": "a,b"}]), "Invalid column name [a,b]: "),
        (schema(parser={"type": "string"}), "parser is no longer supported"),
    ],
)
def test_columns_of_a_datasource_have_names_of_their_own(raw: dict[str, Any], problem: str) -> None:
    assert refusal_of(DataSchema, raw).startswith(
        f"Cannot construct instance of `org.apache.druid.segment.indexing.DataSchema`, problem: {problem}"
    )


def test_projections_and_free_sort_order_are_not_here_yet() -> None:
    assert "dataSchema.projections is known to Druid" in refusal_of(DataSchema, schema(projections=[{"name": "p"}]))
    unsorted = {"dimensions": ["a"], "forceSegmentSortByTime": False}
    assert "forceSegmentSortByTime [false] is known" in refusal_of(DataSchema, schema(dimensionsSpec=unsorted))


def test_time_may_be_the_first_dimension() -> None:
    accepted: DataSchema = read(DataSchema, schema(dimensionsSpec={"dimensions": [LONG_TIME, "a"]}))
    assert accepted.dimensions_spec.names == ["__time", "a"]
    assert accepted.dimensions_spec.dimension_exclusions == ["timestamp"]


@pytest.mark.parametrize(
    ("raw", "discovers"),
    [
        ({}, True),
        ({"dimensions": ["a"]}, False),
        ({"dimensions": ["a"], "useSchemaDiscovery": True}, True),
        ({"dimensions": ["a"], "includeAllDimensions": True}, True),
    ],
)
def test_dimensions_are_discovered_where_none_are_listed_or_it_is_asked(raw: dict[str, Any], discovers: bool) -> None:
    assert read(DimensionsSpec, raw).discovers is discovers


def test_arbitrary_chunks_are_the_intervals() -> None:
    spec: GranularitySpec = read(GranularitySpec, {"type": "arbitrary", "intervals": ["2027/2028", "2026/2027"]})
    assert spec.chunks() == [Interval.parse("2026/2027"), Interval.parse("2027/2028")]


def test_chunks_are_the_buckets_that_the_intervals_touch_each_once() -> None:
    spec: GranularitySpec = read(
        GranularitySpec, {"intervals": ["2026-01-02T05:00/2026-01-02T06:00", "2026-01-01/2026-01-02T01:00"]}
    )
    assert [chunk.start for chunk in spec.chunks()] == ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"]
    assert read(GranularitySpec, {}).chunks() == []


@pytest.mark.parametrize(
    ("raw", "combining"),
    [
        ({"type": "count", "name": "c"}, {"type": "longSum", "name": "c", "fieldName": "c"}),
        ({"type": "doubleMax", "name": "m", "fieldName": "x"}, {"type": "doubleMax", "name": "m", "fieldName": "m"}),
        (
            {"type": "hyperUnique", "name": "u", "fieldName": "x", "isInputHyperUnique": False, "round": True},
            {"type": "hyperUnique", "name": "u", "fieldName": "u", "isInputHyperUnique": False, "round": True},
        ),
    ],
)
def test_stored_metrics_are_merged_by_their_combining_form(raw: dict[str, Any], combining: dict[str, Any]) -> None:
    aggregator: Any = read(Aggregator, raw)
    assert aggregator.combining().to_wire() == combining
    assert aggregator.combining().combining() == aggregator.combining()


def test_numeric_aggregator_knows_its_type_and_operation() -> None:
    aggregator: Any = read(Aggregator, {"type": "floatMin", "name": "m", "fieldName": "x"})
    assert (aggregator.column_type, aggregator.operation) == ("FLOAT", "Min")


@pytest.mark.parametrize(
    ("raw", "partitions"),
    [
        ({}, None),
        ({"maxRowsPerSegment": 5}, DynamicPartitionsSpec(max_rows_per_segment=5)),
        (
            {"targetPartitionSize": 5, "maxTotalRows": 9},
            DynamicPartitionsSpec(max_rows_per_segment=5, max_total_rows=9),
        ),
        ({"forceGuaranteedRollup": True}, None),
        ({"forceGuaranteedRollup": True, "numShards": 2}, HashedPartitionsSpec(num_shards=2)),
    ],
)
def test_old_fields_make_a_partitions_spec(raw: dict[str, Any], partitions: Any) -> None:
    tuning: ParallelIndexTuningConfig = read(ParallelIndexTuningConfig, raw)
    assert tuning.partitions_spec == partitions
    assert read(ParallelIndexTuningConfig, tuning.to_wire()) == tuning


def test_partitions_default_to_dynamic_or_hashed() -> None:
    assert IndexTuningConfig().given_or_default_partitions_spec == DynamicPartitionsSpec()
    perfect = IndexTuningConfig(force_guaranteed_rollup=True).given_or_default_partitions_spec
    assert isinstance(perfect, HashedPartitionsSpec)
    assert perfect.max_rows_per_segment == 5_000_000
    assert DynamicPartitionsSpec().max_total_rows_or_default == 20_000_000
    assert read(RangePartitionsSpec, {"partitionDimensions": ["a"], "targetRowsPerSegment": 10}).resolved_max_rows == 15


def test_reporting_parse_exceptions_allows_none() -> None:
    tuning: IndexTuningConfig = read(IndexTuningConfig, {"reportParseExceptions": 1, "maxSavedParseExceptions": 5})
    assert (tuning.max_parse_exceptions, tuning.max_saved_parse_exceptions) == (0, 1)


def test_old_spellings_of_tuning_are_read() -> None:
    tuning: IndexTuningConfig = read(
        IndexTuningConfig,
        {
            "rowFlushBoundary": 7,
            "publishTimeout": "8",
            "numPersistThreads": 0,
            "awaitSegmentAvailabilityTimeoutMillis": -1,
        },
    )
    assert (tuning.max_rows_in_memory, tuning.push_timeout) == (7, 8)
    assert (tuning.num_persist_threads, tuning.await_segment_availability_timeout_millis) == (1, 0)


def test_spills_are_encoded_like_segments_unless_told_otherwise() -> None:
    tuning: IndexTuningConfig = read(IndexTuningConfig, {"indexSpec": {"longEncoding": "AUTO"}})
    assert tuning.index_spec_for_intermediate_persists.long_encoding == "auto"


def test_delimiters_are_those_of_the_format() -> None:
    assert CsvFormat(columns=["a"]).separator == ","
    assert TsvFormat(columns=["a"], delimiter="||").separator == "||"
    assert JsonFormat().flatten_spec is None


def test_missing_time_may_be_given_in_milliseconds() -> None:
    assert read(TimestampSpec, {"missingValue": 5}).missing_value == 5
    assert read(TimestampSpec, {"missingValue": "2026"}).missing_value == parse_instant("2026")


def test_password_may_come_from_a_provider() -> None:
    source: HttpSource = read(
        HttpSource,
        {"uris": ["http://a"], "httpAuthenticationPassword": {"type": "environment", "variable": "PASSWORD"}},
    )
    assert source.http_authentication_password == {"type": "environment", "variable": "PASSWORD"}
    assert "PasswordProvider" in refusal_of(
        HttpSource, {"uris": ["http://a"], "httpAuthenticationPassword": {"type": "vault"}}
    )


@pytest.mark.parametrize(
    ("text", "size"), [("1GiB", 2**30), ("500M", 500_000_000), ("7", 7), ("2KiB", 2048), ("3kb", 3000), (9, 9)]
)
def test_sizes_may_be_written_for_people(text: str | int, size: int) -> None:
    assert read(SplitHintSpec, {"maxSplitSize": text}).max_split_size == size


def test_size_without_sense_is_refused() -> None:
    assert refusal_of(SplitHintSpec, {"maxSplitSize": "lots"}) == "Invalid format of number: lots"
