import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from druid_core.errors import TaskFailure
from druid_core.spec.input import ParquetFormat
from druid_core.spec.schema import TimestampSpec
from peon.batch import Encoding
from peon.read.fields import FieldSelection
from tests.support.reading import Reading, read_file


def _read(folder: Path, table: pa.Table, fields: FieldSelection, format: ParquetFormat | None = None) -> Reading:
    file = folder / "input.parquet"
    pyarrow.parquet.write_table(table, file)
    return read_file(file, format or ParquetFormat(), fields, TimestampSpec(column="t", format="millis"))


DISCOVER = FieldSelection(discover=True)


def test_columns_keep_their_types_and_nulls(tmp_path: Path) -> None:
    table = pa.table(
        {
            "t": pa.array([1, 2], pa.int64()),
            "s": ["x", None],
            "i": pa.array([None, 7], pa.int32()),
            "f": [1.5, None],
            "b": [True, None],
            "d": [Decimal("1.25"), None],
            "l": [["a", "b"], None],
        }
    )
    reading = _read(tmp_path, table, DISCOVER)
    assert reading.rows == [(1, {"s": "x", "f": 1.5, "b": True, "d": 1.25, "l": ["a", "b"]}), (2, {"i": 7})]
    assert reading.batches[0].columns["s"].encoding is Encoding.TEXT
    assert str(reading.batches[0].columns["i"].values.type) == "int64"
    assert reading.totals.processed_bytes == (tmp_path / "input.parquet").stat().st_size


def test_times_are_milliseconds_whatever_their_unit(tmp_path: Path) -> None:
    before_epoch = datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC)
    table = pa.table(
        {
            "t": pa.array([before_epoch], pa.timestamp("us", "Europe/Rome")),
            "ns": pa.array([datetime(1970, 1, 1, 0, 0, 1)], pa.timestamp("ns")),  # noqa: DTZ001  parquet has such times
            "day": pa.array([date(1970, 1, 2)]),
        }
    )
    assert _read(tmp_path, table, DISCOVER).rows == [(-1, {"ns": 1000, "day": 86_400_000})]


def test_binary_is_base_64_or_text(tmp_path: Path) -> None:
    table = pa.table({"t": [1], "x": pa.array([b"abc"], pa.binary())})
    assert _read(tmp_path, table, DISCOVER).rows == [(1, {"x": "YWJj"})]
    assert _read(tmp_path, table, DISCOVER, ParquetFormat(binary_as_string=True)).rows == [(1, {"x": "abc"})]


def test_fields_inside_structs_are_flattened_and_structs_are_not_found(tmp_path: Path) -> None:
    table = pa.table({"t": [1], "o": [{"in": {"x": 5}, "l": [1, 2]}], "p": ["q"]})
    spec = {
        "fields": [
            {"type": "path", "name": "deep", "expr": "$.o.in.x"},
            {"type": "path", "name": "second", "expr": "$.o.l[1]"},
            {"type": "path", "name": "none", "expr": "$.o.nothing"},
        ]
    }
    flattened = ParquetFormat.model_validate({"type": "parquet", "flattenSpec": spec})
    assert _read(tmp_path, table, DISCOVER, flattened).rows == [(1, {"deep": 5, "second": 2, "p": "q"})]


def test_named_struct_comes_whole(tmp_path: Path) -> None:
    table = pa.table({"t": [1], "o": [{"x": date(1970, 1, 2), "y": b"abc"}]})
    assert _read(tmp_path, table, FieldSelection(("o",))).rows == [(1, {"o": {"x": 86_400_000, "y": "YWJj"}})]


def test_record_without_time_is_unparseable_and_has_no_line(tmp_path: Path) -> None:
    table = pa.table({"t": pa.array([1, None], pa.int64()), "s": ["x", "y"]})
    reading = _read(tmp_path, table, DISCOVER)
    [(text, message)] = reading.errors
    assert text == "{t=null, s=y}"
    assert message.startswith("Timestamp[null] is unparseable! Event: {t=null, s=y} (Path: file:")
    assert message.endswith("Record: 2)")


def test_what_is_not_parquet_ends_the_task_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "input.parquet"
    file.write_bytes(b"not parquet at all")
    with pytest.raises(TaskFailure, match=r"input\.parquet"):
        read_file(file, ParquetFormat())


def test_compressed_file_is_fetched_and_removed(tmp_path: Path) -> None:
    source = tmp_path / "input.parquet"
    pyarrow.parquet.write_table(pa.table({"t": [5], "s": ["x"]}), source)
    packed = tmp_path / "input.parquet.gz"
    packed.write_bytes(gzip.compress(source.read_bytes()))
    assert read_file(packed, ParquetFormat()).rows == [(5, {"s": "x"})]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input.parquet", "input.parquet.gz"]
