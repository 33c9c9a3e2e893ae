"""What is written comes back, whatever the rows, the index spec and the batches."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peon.segment.columns import Numbers, NumericColumn, RowBatch, SegmentSchema, StringColumn, StringIds, StringLists
from peon.segment.compression import Compression
from peon.segment.errors import InvalidColumn, SegmentTooLarge
from peon.segment.index_spec import FrontCoded, IndexSpec, LongEncoding
from peon.segment.numeric import NumericKind
from peon.segment.read import SegmentReader
from tests.support.segments import (
    DAY_MS,
    StringValue,
    Table,
    files_of,
    part_of,
    read_back,
    segment_of,
    string_column,
    write_segment,
)

# Characters on both sides of the surrogates, where UTF-16 order and UTF-8 order disagree.
texts = st.text(st.sampled_from("ab~\x00é￿～\U0001f600\U00010000"), max_size=4)
LONGS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)

index_specs = st.builds(
    IndexSpec,
    dimension_compression=st.sampled_from([Compression.LZ4, Compression.ZSTD, Compression.UNCOMPRESSED]),
    metric_compression=st.sampled_from([Compression.LZ4, Compression.ZSTD, Compression.UNCOMPRESSED, Compression.NONE]),
    long_encoding=st.sampled_from(LongEncoding),
    front_coded=st.none()
    | st.builds(FrontCoded, bucket_size=st.sampled_from([1, 2, 4, 8, 128]), format_version=st.sampled_from([0, 1])),
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(1, 40))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    single: list[StringValue] = column(st.none() | texts)
    lists: list[StringValue] = column(st.lists(st.none() | texts, max_size=3))
    few: list[StringValue] = column(st.sampled_from(["x", "y"]))
    return Table(
        time_ms=column(st.integers(0, DAY_MS - 1)),
        strings={"single": single, "lists": lists, "few": few, "nothing": [None] * rows},
        numbers={
            "long": (NumericKind.LONG, column(st.none() | LONGS)),
            "double": (NumericKind.DOUBLE, column(st.none() | st.floats(allow_nan=False))),
            "float": (NumericKind.FLOAT, column(st.floats(allow_nan=False, width=32))),
            "no numbers": (NumericKind.LONG, [None] * rows),
        },
        blobs={"sketch": column(st.none() | st.binary(max_size=5))},
    )


def is_nothing(value: StringValue) -> bool:
    return value is None or (isinstance(value, list) and all(text is None for text in value))


def with_null_only_columns(table: Table) -> Table:
    """What comes back: lists without any value are nulls, for such a column is kept as null-only."""
    nothing: list[StringValue] = [None] * len(table.time_ms)
    strings = {
        name: nothing if all(is_nothing(value) for value in values) else values
        for name, values in table.strings.items()
    }
    return replace(table, strings=strings)


@contextmanager
def a_folder() -> Generator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@settings(max_examples=60, deadline=None)
@given(table=tables(), index_spec=index_specs, bitmap_index=st.booleans())
def test_a_table_comes_back_as_it_was(table: Table, index_spec: IndexSpec, bitmap_index: bool) -> None:
    schema, batch = segment_of(table, bitmap_index=bitmap_index)
    with a_folder() as folder:
        write_segment(folder / "s", schema, batch, index_spec=index_spec)
        assert read_back(folder / "s") == with_null_only_columns(table)


@settings(max_examples=30, deadline=None)
@given(table=tables(), index_spec=index_specs, data=st.data())
def test_the_bytes_do_not_depend_on_where_batches_are_cut(
    table: Table, index_spec: IndexSpec, data: st.DataObject
) -> None:
    schema, batch = segment_of(table)
    cuts = sorted(data.draw(st.lists(st.integers(0, batch.rows), max_size=4)))
    batches = [part_of(batch, start, end) for start, end in zip([0, *cuts], [*cuts, batch.rows], strict=True)]
    with a_folder() as folder:
        write_segment(folder / "whole", schema, batch, index_spec=index_spec)
        write_segment(folder / "parts", schema, *batches, index_spec=index_spec)
        assert files_of(folder / "whole") == files_of(folder / "parts")


@settings(max_examples=30, deadline=None)
@given(table=tables(), index_spec=index_specs)
def test_the_index_lists_for_every_value_the_rows_that_hold_it(table: Table, index_spec: IndexSpec) -> None:
    schema, batch = segment_of(table)
    with a_folder() as folder:
        write_segment(folder / "s", schema, batch, index_spec=index_spec)
        with SegmentReader(folder / "s") as segment:
            for name in ("single", "lists"):
                strings = segment.strings(name)
                if strings is None:  # null-only after all
                    assert all(is_nothing(value) for value in table.strings[name])
                    continue
                for text in strings.dictionary.to_pylist():
                    holding = [
                        row
                        for row, value in enumerate(table.strings[name])
                        if text in ((value or [None]) if isinstance(value, list) else [value])
                    ]
                    found = segment.bitmap(name, text)
                    assert found is not None
                    assert found.tolist() == holding


def many_rows(count: int) -> tuple[SegmentSchema, RowBatch]:
    rng = np.random.default_rng(7)
    name_ids = rng.permutation(count).astype(np.int32)
    names = pa.array([f"n{number:07d}" for number in range(count)])
    dimensions = [
        StringColumn("name", names),
        StringColumn("parity", pa.array(["even", "odd"])),
        NumericColumn("long", NumericKind.LONG),
        NumericColumn("float", NumericKind.FLOAT),
    ]
    nulls = rng.random(count) < 0.3
    batch = RowBatch(
        np.sort(rng.integers(0, DAY_MS, count)).astype(np.int64),
        {
            "name": StringIds(name_ids),
            "parity": StringIds((name_ids % 2).astype(np.int32)),
            "long": Numbers(rng.integers(-5000, 5000, count), nulls),
            "float": Numbers(rng.random(count).astype(np.float32)),
        },
    )
    return SegmentSchema((0, DAY_MS), dimensions), batch


@pytest.mark.parametrize(
    "index_spec",
    [
        IndexSpec(),
        IndexSpec(long_encoding=LongEncoding.AUTO),
        IndexSpec(long_encoding=LongEncoding.AUTO, metric_compression=Compression.NONE),
        IndexSpec(dimension_compression=Compression.UNCOMPRESSED, metric_compression=Compression.UNCOMPRESSED),
    ],
    ids=["default", "auto longs", "auto longs uncompressed", "uncompressed"],
)
def test_more_values_than_two_bytes_and_more_blocks_than_one_come_back(tmp_path: Path, index_spec: IndexSpec) -> None:
    schema, batch = many_rows(70_000)
    step = 9_999
    batches = [part_of(batch, start, min(start + step, batch.rows)) for start in range(0, batch.rows, step)]
    write_segment(tmp_path / "s", schema, *batches, index_spec=index_spec)
    with SegmentReader(tmp_path / "s") as segment:
        assert np.array_equal(segment.time_ms, batch.time_ms)
        names, parity, long, real = (batch.columns[name] for name in ("name", "parity", "long", "float"))
        assert isinstance(names, StringIds)
        assert isinstance(parity, StringIds)
        assert isinstance(long, Numbers)
        assert isinstance(real, Numbers)
        assert segment.column("name").to_pylist() == [f"n{number:07d}" for number in names.ids.tolist()]
        assert segment.column("long").equals(pa.array(long.values, mask=long.nulls))
        assert segment.column("float").equals(pa.array(real.values))
        odd = segment.bitmap("parity", "odd")
        assert odd is not None
        assert np.array_equal(odd, np.flatnonzero(parity.ids == 1))
        lone = segment.bitmap("name", "n0000042")
        assert lone is not None
        assert lone.tolist() == np.flatnonzero(names.ids == 42).tolist()


def test_small_chunks_make_several_files_that_hold_the_same(tmp_path: Path) -> None:
    schema, batch = many_rows(3_000)
    written = write_segment(tmp_path / "one", schema, batch)
    largest = 135_000
    in_chunks = write_segment(tmp_path / "many", schema, batch, max_chunk_bytes=largest)
    chunks = sorted((tmp_path / "many").glob("*.smoosh"))
    assert len(chunks) >= 3  # meta.smoosh among them
    assert all(chunk.stat().st_size <= largest for chunk in chunks)
    head = (tmp_path / "many" / "meta.smoosh").read_text().splitlines()[0]
    assert head == f"v1,{largest},{len(chunks) - 1}"
    assert read_back(tmp_path / "many") == read_back(tmp_path / "one")
    assert in_chunks.size_bytes == sum(path.stat().st_size for path in (tmp_path / "many").iterdir())
    assert written.rows == in_chunks.rows


def test_a_column_larger_than_a_chunk_is_refused(tmp_path: Path) -> None:
    schema, batch = many_rows(3_000)
    with pytest.raises(SegmentTooLarge, match=r"Internal file \[__time\] has \d+ bytes"):
        write_segment(tmp_path / "s", schema, batch, max_chunk_bytes=2_000)


def test_lists_beyond_their_limit_are_split_over_internal_files(tmp_path: Path) -> None:
    schema, batch = many_rows(30_000)
    write_segment(tmp_path / "s", schema, batch, max_indexed_bytes=70_000)
    meta = (tmp_path / "s" / "meta.smoosh").read_text()
    for name in (
        "name.dim_values_header",
        "name.dim_values_value_3",
        "name.inverted_value_0",
        "little_end_time.long_column_value_1",
    ):
        assert name in meta
    write_segment(tmp_path / "whole", schema, batch)
    assert read_back(tmp_path / "s") == read_back(tmp_path / "whole")


def test_a_zip_is_read_like_its_folder(tmp_path: Path) -> None:
    schema, batch = many_rows(100)
    write_segment(tmp_path / "s", schema, batch)
    archive = shutil.make_archive(str(tmp_path / "index"), "zip", tmp_path / "s")
    assert read_back(Path(archive)) == read_back(tmp_path / "s")


def test_a_dimension_without_values_is_kept_in_its_place(tmp_path: Path) -> None:
    table = Table([1, 2], strings={"a": ["x", "y"], "empty": [None, None], "b": ["z", None]})
    schema, batch = segment_of(table)
    written = write_segment(tmp_path / "s", schema, batch)
    assert written.dimensions == ["a", "empty", "b"]
    with SegmentReader(tmp_path / "s") as segment:
        assert segment.dimensions == ["a", "empty", "b"]
        assert segment.column("empty").to_pylist() == [None, None]
    raw = (tmp_path / "s" / "00000.smoosh").read_bytes()
    part = b'{"type":"null","numRows":2,"bitmapSerdeFactory":{"type":"roaring"}}'
    assert b'{"valueType":"STRING","hasMultipleValues":false,"parts":[' + part + b"]}" in raw


def test_metrics_lie_by_name_and_are_told_in_the_order_of_the_spec(tmp_path: Path) -> None:
    metrics = [NumericColumn(name, NumericKind.LONG) for name in ("zeta", "alpha")]
    values = Numbers(np.array([1], dtype=np.int64))
    schema = SegmentSchema((0, 10), [], metrics)
    written = write_segment(tmp_path / "s", schema, RowBatch(np.array([3]), {"zeta": values, "alpha": values}))
    assert written.metrics == ["zeta", "alpha"]
    with SegmentReader(tmp_path / "s") as segment:
        assert segment.metrics == ["alpha", "zeta"]


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["a,b"], "comma"),
        (["a\nb"], "line break"),
        ([""], "must have a name"),
        (["__time"], "kept for the time column"),
        (["a", "a"], "two columns"),
        (["\ud800"], "not Unicode"),
    ],
)
def test_a_name_that_cannot_be_stored_is_refused_with_its_rule(names: list[str], rule: str) -> None:
    with pytest.raises(InvalidColumn, match=rule) as refused:
        SegmentSchema((0, 1), [NumericColumn(name, NumericKind.LONG) for name in names])
    assert refused.value.column == names[-1]


@pytest.mark.parametrize("dictionary", [["b", "a"], ["a", "a"], ["a", None], [], ["～", "\U0001f600"]])
def test_a_dictionary_out_of_order_is_refused(dictionary: list[str | None]) -> None:
    with pytest.raises(InvalidColumn, match="dictionary"):
        SegmentSchema((0, 1), [StringColumn("d", pa.array(dictionary, pa.string()))])


def test_rows_that_do_not_fit_their_column_are_refused(tmp_path: Path) -> None:
    column, values = string_column("d", ["x", "y"])
    schema = SegmentSchema((0, 10), [column])
    times = np.array([1, 2])
    wrong = {
        "lacks": RowBatch(times, {}),
        "2 rows has 1": RowBatch(times, {"d": StringIds(np.zeros(1, dtype=np.int32))}),
        "Numbers": RowBatch(times, {"d": Numbers(times)}),
        "beyond the dictionary": RowBatch(times, {"d": StringIds(np.array([0, 2], dtype=np.int32))}),
        "lists of values": RowBatch(times, {"d": string_column("d", [["x"], ["x", "y"]])[1]}),
        "outside of the segment's interval": RowBatch(np.array([1, 10]), {"d": values}),
    }
    for number, (text, batch) in enumerate(wrong.items()):
        with pytest.raises(InvalidColumn, match=text):
            write_segment(tmp_path / str(number), schema, batch)
    with pytest.raises(InvalidColumn, match="at least one row"):
        write_segment(tmp_path / "none", schema)


def test_an_empty_list_needs_null_in_the_dictionary(tmp_path: Path) -> None:
    column, values = string_column("d", [["x", "y"], []])
    assert isinstance(values, StringLists)
    values = StringLists(values.offsets, values.ids - 1)
    without_null = replace(column, dictionary=column.dictionary.slice(1))
    with pytest.raises(InvalidColumn, match="needs null"):
        write_segment(tmp_path / "s", SegmentSchema((0, 10), [without_null]), RowBatch(np.array([1, 2]), {"d": values}))
