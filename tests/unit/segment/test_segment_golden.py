"""What Apache Druid 37.0.0 wrote, written by us and read by us."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peon.segment.columns import Numbers, NumericColumn, RowBatch, SegmentSchema, StringColumn, Values
from peon.segment.metadata import SegmentMetadata
from peon.segment.numeric import NumericKind
from peon.segment.read import SegmentReader
from tests.support.segments import files_of, part_of, string_column, write_segment

GOLDEN = Path(__file__).parents[2] / "golden" / "segment-small"
STRINGS = ["page", "language", "user", "country", "isRobot", "tags", "comment"]
LONGS = ["added", "deleted", "delta"]
INTERVAL = (1704067200000, 1704153600000)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / "rows.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def ours(rows: list[dict[str, Any]]) -> tuple[SegmentSchema, RowBatch]:
    dimensions: list[StringColumn | NumericColumn] = []
    columns: dict[str, Values] = {}
    for name in STRINGS:
        values = [row[name] for row in rows]
        if name == "tags":  # the input had empty lists where the dump shows null
            values = [[] if value is None else value for value in values]
        column, columns[name] = string_column(name, values)
        dimensions.append(column)
    for name in LONGS:
        dimensions.append(NumericColumn(name, NumericKind.LONG))
        columns[name] = Numbers(np.array([row[name] for row in rows], dtype=np.int64))
    metadata = SegmentMetadata(
        timestamp_spec={"column": "timestamp", "format": "iso", "missingValue": None},
        query_granularity={"type": "none"},
    )
    batch = RowBatch(np.array([row["__time"] for row in rows], dtype=np.int64), columns)
    return SegmentSchema(INTERVAL, dimensions, metadata=metadata), batch


@pytest.mark.parametrize("cut", [0, 1, 7, 24])
def test_every_file_has_the_bytes_that_druid_wrote(
    ours: tuple[SegmentSchema, RowBatch], tmp_path: Path, cut: int
) -> None:
    schema, batch = ours
    written = write_segment(tmp_path / "segment", schema, part_of(batch, 0, cut), part_of(batch, cut, batch.rows))
    assert files_of(tmp_path / "segment") == files_of(GOLDEN / "files")
    assert (written.rows, written.size_bytes) == (24, 7628)
    assert written.dimensions == STRINGS + LONGS
    assert written.metrics == []


def test_the_rows_are_those_of_druids_dump(rows: list[dict[str, Any]]) -> None:
    with SegmentReader(GOLDEN / "files") as segment:
        assert segment.rows() == rows
        assert segment.rows(limit=3) == rows[:3]


def test_the_bitmaps_are_those_of_druids_dump() -> None:
    bitmaps = json.loads((GOLDEN / "bitmaps.json").read_text())["bitmaps"]
    with SegmentReader(GOLDEN / "files") as segment:
        for name, index in bitmaps.items():
            for value, expected in (index or {"any": None}).items():
                found = segment.bitmap(name, None if value == "null" and name not in LONGS else value)
                assert (None if found is None else found.tolist()) == expected, (name, value)
        absent = segment.bitmap("page", "no such page")
        assert absent is not None
        assert absent.tolist() == []


def test_the_columns_are_those_of_druids_dump() -> None:
    dumped = json.loads((GOLDEN / "metadata.json").read_text())
    with SegmentReader(GOLDEN / "files") as segment:
        assert segment.row_count == dumped["numRows"]
        assert segment.interval == INTERVAL
        assert segment.dimensions == STRINGS + LONGS
        for info in segment.columns():
            expected = dumped["columns"][info.name]
            assert info.kind == expected["typeSignature"]
            assert info.cardinality == expected["cardinality"]
            assert info.multi_value == expected["hasMultipleValues"]
            assert info.has_nulls == expected["hasNulls"]
        assert sum(info.size_bytes for info in segment.columns()) == 7332 - 514 - 652  # all but the two .drd files


def test_the_metadata_is_that_of_druids_dump() -> None:
    dumped = json.loads((GOLDEN / "metadata.json").read_text())
    with SegmentReader(GOLDEN / "files") as segment:
        metadata = segment.metadata
    assert metadata is not None
    assert metadata.timestamp_spec == dumped["timestampSpec"]
    assert metadata.query_granularity == dumped["queryGranularity"]
    assert metadata.rollup is False
    assert metadata.ordering == [(name, "ascending") for name in ["__time", *STRINGS, *LONGS]]
