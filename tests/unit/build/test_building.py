"""From batches of columns to a segment's rows, whatever the batches, spills and partitions."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from druid_core.granularity import parse_granularity
from druid_core.spec.schema import DataSchema
from peon.batch import Encoding, InputBatch, RawColumn
from peon.build.chunk import chunk_of
from peon.build.partition import Limits, OpenSinks
from peon.build.plan import BuildPlan, build_plan, dimension
from peon.segment.index_spec import IndexSpec
from peon.segment.read import SegmentReader

HOUR = 3_600_000
NO_LIMITS = Limits(rows_per_segment=5_000_000, total_rows=20_000_000, memory_rows=1_000_000, memory_bytes=None)

Row = dict[str, Any]


def _plan(rollup: bool, query: str = "HOUR", segment: str = "DAY") -> BuildPlan:
    schema = DataSchema.model_validate(
        {
            "dataSource": "d",
            "timestampSpec": {"column": "t", "format": "millis"},
            "dimensionsSpec": {
                "dimensions": ["s", "m", {"type": "long", "name": "n"}, {"type": "double", "name": "f"}]
            },
            "metricsSpec": [
                {"type": "count", "name": "cnt"},
                {"type": "longSum", "name": "sum", "fieldName": "v"},
                {"type": "doubleSum", "name": "dsum", "fieldName": "w"},
                {"type": "longMin", "name": "min", "fieldName": "v"},
                {"type": "doubleMax", "name": "max", "fieldName": "w"},
                {"type": "hyperUnique", "name": "uniq", "fieldName": "s"},
            ],
            "granularitySpec": {"segmentGranularity": segment, "queryGranularity": query, "rollup": rollup},
        }
    )
    dimensions = tuple(dimension(spec) for spec in schema.dimensions_spec.dimensions)  # type: ignore[arg-type]
    return build_plan(schema, dimensions, store_empty=True)


def _batch(rows: Sequence[Row]) -> InputBatch:
    def tokens(name: str) -> RawColumn:
        texts = [None if row.get(name) is None else json.dumps(row[name]) for row in rows]
        return RawColumn(pa.array(texts, pa.string()), Encoding.TOKEN)

    times = np.array([row["t"] for row in rows], np.int64)
    return InputBatch(len(rows), times, {name: tokens(name) for name in "smnfvw"}, lambda row: str(rows[row]))


def _segments(
    batches: Sequence[Sequence[Row]], plan: BuildPlan, folder: Path, limits: Limits = NO_LIMITS
) -> list[Path]:
    sinks = OpenSinks(plan, limits, folder)
    closed = [
        sink for rows in batches if rows for group in sinks.add(chunk_of(_batch(rows), plan)[0]) for sink in group
    ]
    closed += sinks.close()
    for sink in closed:
        sink.write(sink.bucket, IndexSpec(), 2**31 - 1)
    return [sink.index_folder for sink in closed]


def _read(folder: Path) -> list[Row]:
    reader = SegmentReader(folder)
    return [{name: value for name, value in row.items() if name != "uniq"} for row in reader.rows()]


def _text_key(text: str | None) -> tuple[bool, bytes]:
    return text is not None, (text or "").encode("utf-16-be")


def _stored(value: Any) -> tuple[str | None, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(sorted(items, key=_text_key)) or (None,)


def _number_key(value: float | None) -> tuple[bool, float]:
    return value is not None, value or 0


def _expected(rows: Sequence[Row], rollup: bool) -> list[Row]:
    """The same by plain Python, a row at a time."""

    def key(row: Row) -> tuple[Any, ...]:
        texts = [tuple(_text_key(text) for text in _stored(row.get(name))) for name in "sm"]
        return row["t"] - row["t"] % HOUR, *texts, _number_key(row.get("n")), _number_key(row.get("f"))

    groups: dict[Any, list[Row]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(key(row) if rollup else (*key(row), number), []).append(row)
    stored: list[Row] = []
    for group_key in sorted(groups):
        group = groups[group_key]
        longs = [row["v"] for row in group if row.get("v") is not None]
        doubles = [float(row["w"]) for row in group if row.get("w") is not None]
        stored.append(
            {
                "__time": group_key[0],
                "s": _stored(group[0].get("s")),
                "m": _stored(group[0].get("m")),
                "n": group[0].get("n"),
                "f": None if group[0].get("f") is None else float(group[0]["f"]),
                "cnt": len(group),
                "sum": sum(longs) if longs else None,
                "dsum": sum(doubles) if doubles else None,
                "min": min(longs, default=None),
                "max": max(doubles, default=None),
            }
        )
    return stored


def _normal(row: Row) -> Row:
    """A single value as a tuple of one, an empty list as a null."""
    for name in "sm":
        value = row[name]
        row[name] = (tuple(value) or (None,)) if isinstance(value, list) else (value,)
    return row


texts = st.sampled_from(["a", "b", "", "é", "\U0001f600", "～"])
# Halves add up exactly in any order, so that sums can be compared.
halves = st.integers(-8, 8).map(lambda number: number / 2)
rows_strategy = st.lists(
    st.fixed_dictionaries(
        {"t": st.integers(0, 3 * HOUR)},
        optional={
            "s": texts | st.none(),
            "m": texts | st.lists(texts | st.none(), max_size=3),
            "n": st.integers(-3, 3) | st.none(),
            "f": halves,
            "v": st.integers(-5, 5),
            "w": halves,
        },
    ),
    min_size=1,
    max_size=30,
)


def _split(rows: list[Row], borders: list[int]) -> list[list[Row]]:
    cuts = sorted({0, len(rows), *(border % (len(rows) + 1) for border in borders)})
    return [rows[start:end] for start, end in itertools.pairwise(cuts)]


@settings(deadline=None, max_examples=60)
@given(rows_strategy, st.lists(st.integers(0, 100), max_size=4), st.booleans(), st.sampled_from([1, 3, 1000]))
@example([{"t": 0, "m": [None, None]}], [], False, 1)
def test_a_segment_holds_the_rows_that_came_in(
    rows: list[Row], borders: list[int], rollup: bool, memory_rows: int
) -> None:
    limits = Limits(5_000_000, 20_000_000, memory_rows, None)
    with TemporaryDirectory() as folder:
        (segment,) = _segments(_split(rows, borders), _plan(rollup), Path(folder), limits)
        expected = _expected(rows, rollup)
        if not any(text is not None for row in expected for text in row["m"]):
            expected = [row | {"m": (None,)} for row in expected]  # a column of nothing but nulls stores no lists
        assert [_normal(row) for row in _read(segment)] == expected


@settings(deadline=None, max_examples=30)
@given(rows_strategy, st.lists(st.integers(0, 100), max_size=4))
def test_spilling_does_not_change_a_byte(rows: list[Row], borders: list[int]) -> None:
    plan = _plan(rollup=False)
    with TemporaryDirectory() as folder:
        (whole,) = _segments([rows], plan, Path(folder) / "whole")
        (spilled,) = _segments(_split(rows, borders), plan, Path(folder) / "spilled", Limits(10**9, 10**9, 1, None))
        assert {file.name: file.read_bytes() for file in whole.iterdir()} == {
            file.name: file.read_bytes() for file in spilled.iterdir()
        }


def _many(count: int, step_ms: int) -> list[Row]:
    return [{"t": number * step_ms, "s": f"v{number % 7}", "v": number} for number in range(count)]


def test_runs_longer_than_a_window_are_merged_in_order(tmp_path: Path) -> None:
    rows = [row | {"t": number * 7919 % 500_000 * 100} for number, row in enumerate(_many(500_000, 1))]
    plan = _plan(rollup=False, query="NONE")
    batches = [rows[start : start + 100_000] for start in range(0, len(rows), 100_000)]
    (segment,) = _segments(batches, plan, tmp_path, Limits(10**9, 10**9, 100_000, None))
    reader = SegmentReader(segment)
    times = reader.column("__time").to_numpy()
    assert len(times) == 500_000
    assert bool(np.all(np.diff(times) >= 0))
    assert int(reader.column("sum").to_numpy().sum()) == sum(range(500_000))


def test_equal_rows_longer_than_a_window_are_rolled_up_to_one(tmp_path: Path) -> None:
    rows: list[Row] = [{"t": number, "v": 1} for number in range(3)]
    batches = [rows * 50_000, rows * 50_000]
    (segment,) = _segments(batches, _plan(rollup=True, query="NONE"), tmp_path, Limits(10**9, 10**9, 1000, None))
    assert [(row["__time"], row["cnt"], row["sum"]) for row in _read(segment)] == [
        (number, 100_000, 100_000) for number in range(3)
    ]


def test_a_full_partition_closes_all_that_are_open(tmp_path: Path) -> None:
    # Two hours, rows by turns: the first partition to reach 4 rows closes the other one, which has 3.
    rows = [{"t": (number % 2) * HOUR + number, "v": number} for number in range(9)]
    plan = _plan(rollup=False, query="NONE", segment="HOUR")
    segments = _segments([rows], plan, tmp_path, Limits(4, 20_000_000, 1_000_000, None))
    assert [[row["sum"] for row in _read(segment)] for segment in segments] == [[0, 2, 4, 6], [1, 3, 5], [8], [7]]


def test_rows_of_all_open_partitions_are_bounded(tmp_path: Path) -> None:
    rows = [{"t": number * HOUR, "v": number} for number in range(7)]
    plan = _plan(rollup=False, query="NONE", segment="HOUR")
    segments = _segments([rows[:4], rows[4:]], plan, tmp_path, Limits(100, 3, 1_000_000, None))
    assert len(segments) == 7
    assert [[row["sum"] for row in _read(segment)] for segment in segments] == [[number] for number in range(7)]


def test_rolled_up_rows_count_as_one_towards_a_full_partition(tmp_path: Path) -> None:
    rows: list[Row] = [{"t": 0, "s": "a", "v": 1}] * 50
    assert len(_segments([rows[:25], rows[25:]], _plan(rollup=True), tmp_path, Limits(10, 100, 1_000_000, None))) == 1


def test_with_rollup_a_partition_is_full_at_the_row_that_makes_it_so(tmp_path: Path) -> None:
    # Keys 0 0 1 1 2 2 …: the fifth key is the one with which a partition of five rows is full.
    rows: list[Row] = [{"t": 0, "n": number // 2, "v": 1} for number in range(24)]
    for batches in ([rows], [rows[:3], rows[3:10], rows[10:]], [[row] for row in rows]):
        folder = tmp_path / str(len(batches))
        segments = _segments(batches, _plan(rollup=True), folder, Limits(5, 1000, 1_000_000, None))
        stored = [[(row["n"], row["sum"]) for row in _read(segment)] for segment in segments]
        assert stored == [
            [(0, 2), (1, 2), (2, 2), (3, 2), (4, 1)],
            [(4, 1), (5, 2), (6, 2), (7, 2), (8, 1)],
            [(8, 1), (9, 2), (10, 2), (11, 2)],
        ]


def test_with_rollup_rows_of_all_open_partitions_are_bounded_by_what_remains_of_them(tmp_path: Path) -> None:
    rows: list[Row] = [{"t": (number % 3) * HOUR, "n": number // 6, "v": 1} for number in range(36)]
    plan = _plan(rollup=True, segment="HOUR")
    for batches in ([rows], [rows[:7], rows[7:]], [[row] for row in rows]):
        segments = _segments(batches, plan, tmp_path / str(len(batches)), Limits(1000, 7, 1_000_000, None))
        # Rows 0 to 12 are seven keys: three, three, and the first of the third round.
        assert [sum(row["sum"] for row in _read(segment)) for segment in segments[:3]] == [5, 4, 4]
        assert sum(row["sum"] for segment in segments for row in _read(segment)) == 36


@pytest.mark.parametrize("name", ["SECOND", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR", "ALL"])
def test_rows_go_to_the_bucket_of_their_time(name: str, tmp_path: Path) -> None:
    rows = [{"t": 1_700_000_000_000 + number * 9_999_999, "v": number} for number in range(300)]
    plan = _plan(rollup=False, query="NONE", segment=name)
    granularity = parse_granularity(name)
    segments = _segments([rows], plan, tmp_path)
    for segment in segments:
        reader = SegmentReader(segment)
        bucket = granularity.bucket(int(reader.column("__time")[0].as_py()))
        assert tuple(reader.interval) == (bucket.start_ms, bucket.end_ms)
        assert all(bucket.contains(time) for time in reader.column("__time").to_pylist())
    assert sum(SegmentReader(segment).row_count for segment in segments) == 300


def test_a_query_granularity_coarser_than_the_segment_stops_at_its_start(tmp_path: Path) -> None:
    plan = _plan(rollup=True, query="DAY", segment="HOUR")
    (segment,) = _segments([[{"t": 5 * HOUR + 1}, {"t": 5 * HOUR + 2}]], plan, tmp_path)
    assert [(row["__time"], row["cnt"]) for row in _read(segment)] == [(5 * HOUR, 2)]
