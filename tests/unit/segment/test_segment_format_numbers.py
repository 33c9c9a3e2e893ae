"""The numbers and byte layouts of the format, one by one."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from peon.segment.bitmap import bitmaps_by_id, deserialize, serialize
from peon.segment.compression import Compression
from peon.segment.cursor import Cursor, encode_vbyte
from peon.segment.errors import CorruptSegment, UnsupportedFormat
from peon.segment.front_coded import front_coded, read_front_coded
from peon.segment.generic_indexed import indexed_strings
from peon.segment.ids import id_bytes
from peon.segment.index_spec import FrontCoded, IndexSpec, LongEncoding
from peon.segment.long_encoding import WIDTHS, LongEncoder, LongStatistics, bits_for, pack, unpack, values_a_block
from peon.segment.metadata import IndexDrd, SegmentMetadata, metadata_bytes, read_metadata
from peon.segment.numeric import NumericKind
from peon.segment.smoosh import Smoosh
from peon.segment.string_order import is_strictly_ascending, sort_utf16, utf16_key
from tests.support.segments import StringValue, Table, part_of, segment_of, write_segment


@pytest.mark.parametrize(
    ("cardinality", "width"),
    [(1, 1), (0xFF, 1), (0x100, 2), (0xFFFF, 2), (0x10000, 3), (0xFFFFFF, 3), (0x1000000, 4)],
)
def test_the_bytes_of_an_id_go_by_the_size_of_the_dictionary(cardinality: int, width: int) -> None:
    assert id_bytes(cardinality) == width


@pytest.mark.parametrize(
    ("values", "raw"),
    [
        ([], "01 01 00000004 00000000"),
        (["a"], "01 01 0000000d 00000001 00000005 00000000 61"),
        ([None, None], "01 01 00000014 00000002 00000004 00000008 ffffffff ffffffff"),
        (["b", "a"], "01 00 00000016 00000002 00000005 0000000a 00000000 62 00000000 61"),
        ([None, "empty", None], None),
    ],
)
def test_a_short_list_of_names_is_laid_out_as_druid_does(values: list[str | None], raw: str | None) -> None:
    written = indexed_strings(values)
    if raw is None:  # a null after a name is no ascent
        assert written[:2] == b"\x01\x00"
    else:
        assert written == bytes.fromhex(raw)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("é 界\ufffd", "é 界\ufffd"),  # within the basic plane: as it is
        ("a\U0001f600b\U0010ffff", "a\\uD83D\\uDE00b\\uDBFF\\uDFFF"),
        ("\x1b\x01\n", "\\u001B\\u0001\\n"),
        ("\\u001b\U0001f600", "\\\\u001b\\uD83D\\uDE00"),  # a backslash of the name's own, and no escape
    ],
)
def test_names_in_metadata_are_escaped_as_jackson_does(name: str, raw: str) -> None:
    metadata = SegmentMetadata(aggregators=[{"type": "count", "name": name}])
    written = metadata_bytes(metadata, [name])
    assert f'{{"type":"count","name":"{raw}"}}'.encode() in written
    assert written.endswith(f'{{"columnName":"{raw}","order":"ascending"}}]}}'.encode())
    assert read_metadata(memoryview(written)).aggregators == metadata.aggregators


def test_index_drd_tells_null_only_dimensions_apart(tmp_path: Path) -> None:
    index = IndexDrd(["cnt", "ls", "d1", "empty", "d2"], ["d1", "empty", "d2"], frozenset({"empty"}), (5, 6))
    raw = index.to_bytes()
    expected = (
        indexed_strings(["cnt", "ls", "d1", "d2"])
        + indexed_strings(["d1", "d2"])
        + struct.pack(">qq", 5, 6)
        + b'\x00\x00\x00\x12{"type":"roaring"}'
        + indexed_strings([None, None, None, "empty", None])
        + indexed_strings([None, "empty", None])
    )
    assert raw == expected
    schema, batch = segment_of(Table([1]))
    write_segment(tmp_path / "any", schema, batch)
    smoosh = Smoosh(tmp_path / "any")
    assert IndexDrd.read(memoryview(raw), smoosh) == index
    older = IndexDrd.read(memoryview(expected[: expected.index(b"roaring") + 9]), smoosh)
    assert older.columns == ["cnt", "ls", "d1", "d2"]
    assert older.dimensions == ["d1", "d2"]


@pytest.mark.parametrize(
    ("bits", "per_block"), [(1, 262144), (2, 131072), (4, 65536), (8, 32768), (12, 32768), (16, 16384), (64, 4096)]
)
def test_a_block_of_packed_longs_is_the_largest_power_of_two_that_fits(bits: int, per_block: int) -> None:
    assert values_a_block(bits) == per_block
    assert (bits * per_block + 7) // 8 + 4 <= 65536 < (bits * per_block * 2 + 7) // 8 + 4


@pytest.mark.parametrize(("values", "bits"), [(1, 1), (2, 1), (3, 2), (16, 4), (17, 8), (257, 12), (1 << 33, 40)])
def test_the_width_of_packed_longs_is_the_smallest_that_tells_them_apart(values: int, bits: int) -> None:
    assert bits_for(values) == bits


@given(bits=st.sampled_from(WIDTHS), data=st.data())
def test_packed_longs_stand_most_significant_bit_first_and_come_back(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=20))
    packed = pack(np.array(values, dtype=np.uint64), bits)
    text = "".join(format(value, f"0{bits}b") for value in values)
    text += "0" * (-len(text) % 8)
    assert packed == int(text, 2).to_bytes(len(text) // 8, "big") + bytes(4)
    assert unpack(packed, bits, len(values)).tolist() == values


def chosen(values: list[int]) -> LongEncoder | None:
    statistics = LongStatistics()
    for half in (values[: len(values) // 2], values[len(values) // 2 :]):
        statistics.watch(np.array(half, dtype=np.int64))
    return statistics.encoder()


def test_auto_longs_take_a_table_then_deltas_then_plain_longs() -> None:
    table = chosen([7, 5, 7, 9])
    assert table is not None
    assert table.table is not None
    assert (table.table.tolist(), table.bits) == ([7, 5, 9], 2)  # in order of first appearance
    widest = chosen(list(range(256)))
    assert widest is not None
    assert widest.table is not None
    deltas = chosen(list(range(100, 357)))
    assert deltas is not None
    assert deltas.table is None
    assert (deltas.base, deltas.bits) == (100, 12)
    spread = [*range(300), (1 << 63) - 1]
    assert chosen(spread) is None  # the spread is Long.MAX
    assert chosen([*range(-300, 0), (1 << 63) - 1]) is None  # it overflows
    assert chosen([number << 20 for number in range(300)]) is not None


@settings(deadline=None)
@given(
    rows=st.lists(
        st.lists(st.integers(0, 200_000) | st.integers(0, 40) | st.integers(65500, 65600), max_size=30), max_size=8
    ),
    dense=st.booleans(),
)
def test_bitmaps_of_all_ids_are_those_of_pyroaring(rows: list[list[int]], dense: bool) -> None:
    sets = [set(found) for found in rows]
    if dense and sets:
        sets[0] |= set(range(0, 20_000, 2))  # a bitset
        sets[-1] |= set(range(70_000, 90_000))  # a run
    keys = np.array(sorted(number << 32 | row for number, found in enumerate(sets) for row in found), dtype=np.int64)
    data, sizes = bitmaps_by_id(keys, len(sets))
    ends = np.cumsum(sizes).tolist()
    for found, size, end in zip(sets, sizes.tolist(), ends, strict=True):
        bitmap = BitMap(found)
        bitmap.run_optimize()
        raw = data[end - size : end].tobytes()
        assert raw == (bitmap.serialize() if found else b"")
        assert deserialize(raw, 200_001, "bitmap").tolist() == sorted(found)


def test_a_bitmap_of_rows_that_the_segment_lacks_is_refused() -> None:
    raw = serialize(np.array([5], dtype=np.uint32))
    with pytest.raises(CorruptSegment, match="rows below 5"):
        deserialize(raw, 5, "bitmap")


words = st.text(st.sampled_from("ab\x7fé～\U0001f600"), max_size=6)


@given(values=st.lists(st.none() | words, max_size=20))
def test_strings_are_sorted_as_java_compares_them(values: list[str | None]) -> None:
    strings = pa.array(values, pa.string())
    order = sort_utf16(strings).tolist()
    assert order == sorted(
        range(len(values)), key=lambda row: b"" if (text := values[row]) is None else b"\x01" + utf16_key(text)
    )
    assert is_strictly_ascending(strings.take(pa.array(order, pa.int64()))) == (len(set(values)) == len(values))
    # the same in a slice, whose offsets do not begin at 0, and with 64-bit offsets
    padded = pa.array(["zz", *values], pa.large_string()).slice(1)
    assert sort_utf16(padded).tolist() == order


def test_a_smiley_comes_before_a_fullwidth_tilde() -> None:
    assert sort_utf16(pa.array(["～", "\U0001f600"])).tolist() == [1, 0]


@pytest.mark.parametrize(("number", "raw"), [(0, "80"), (1, "81"), (127, "ff"), (128, "0081"), (300, "2c82")])
def test_the_last_byte_of_a_vbyte_has_the_high_bit(number: int, raw: str) -> None:
    assert encode_vbyte(number).hex() == raw
    assert Cursor("f", memoryview(bytes.fromhex(raw))).vbyte("a number") == number


def test_front_coded_values_share_prefixes_within_their_bucket() -> None:
    dictionary = pa.array([None, "a", "ab", "abc", "b"])
    v1 = front_coded(dictionary, FrontCoded(bucket_size=4, format_version=1))
    assert v1 == bytes.fromhex("7f01 01 04 01 84 8b") + b"\x81a\x81\x81b\x82\x81c\x80\x81b"
    v0 = front_coded(dictionary, FrontCoded(bucket_size=2, format_version=0))
    # two buckets of two, the end of the first one little-endian
    assert v0 == bytes.fromhex("7f01 00 02 01 84 90 05000000") + b"\x81a\x81\x81b" + b"\x83abc\x80\x81b"
    for raw in (v0, v1):
        assert read_front_coded(Cursor("f", memoryview(raw))).to_pylist() == dictionary.to_pylist()


def test_an_lzf_block_is_read() -> None:
    literal = b"ZV\x00\x00\x03abc"
    # 'a' as a literal, then a copy of nine bytes from one back
    packed = b"ZV\x01\x00\x05\x00\x0a" + b"\x00a" + bytes([0xE0, 0x00, 0x00])
    assert Compression.LZF.decompress(literal + packed, 13, "f") == b"abc" + b"a" * 10


def test_an_index_spec_is_read_with_druids_defaults() -> None:
    assert IndexSpec.from_json(None) == IndexSpec.from_json({"bitmap": None, "longEncoding": "longs"}) == IndexSpec()
    spec = IndexSpec.from_json(
        {
            "bitmap": {"type": "roaring", "compressRunOnSerialization": True},
            "dimensionCompression": "ZSTD",
            "metricCompression": "none",
            "longEncoding": "auto",
            "stringDictionaryEncoding": {"type": "frontCoded", "bucketSize": 16},
        }
    )
    assert spec == IndexSpec(Compression.ZSTD, Compression.NONE, LongEncoding.AUTO, FrontCoded(16, 1))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({"bitmap": {"type": "concise"}}, "concise"),
        ({"dimensionCompression": "lzf"}, "lzf"),
        ({"dimensionCompression": "none"}, "none"),
        ({"metricCompression": "snappy"}, "snappy"),
        ({"longEncoding": "short"}, "short"),
        ({"complexMetricCompression": "lz4"}, "complexMetricCompression"),
        ({"stringDictionaryEncoding": {"type": "frontCoded", "bucketSize": 3}}, "bucketSize"),
        ({"stringDictionaryEncoding": {"type": "frontCoded", "bucketSize": "x"}}, "frontCoded"),
        ({"stringDictionaryEncoding": {"type": "frontCoded", "formatVersion": 2}}, "formatVersion"),
        ({"stringDictionaryEncoding": {"type": "zip"}}, "zip"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(raw: dict[str, object], text: str) -> None:
    with pytest.raises(UnsupportedFormat, match=text):
        IndexSpec.from_json(raw)


def test_a_column_of_only_present_numbers_has_no_bitmap_of_nulls(tmp_path: Path) -> None:
    strings: dict[str, list[StringValue]] = {}
    for name, numbers in (("whole", [1, 2]), ("holed", [1, None])):
        table = Table([1, 2], strings, {"n": (NumericKind.LONG, numbers)})
        write_segment(tmp_path / name, *segment_of(table))
    sizes: dict[str, int] = {}
    for name in ("whole", "holed"):
        with Smoosh(tmp_path / name) as smoosh:
            cursor = Cursor("n", smoosh.file("n"))
            cursor.json("a descriptor")
            values = cursor.i32("a size")
            sizes[name] = cursor.remaining - values
    assert sizes == {"whole": 0, "holed": 4 + 18}


@pytest.mark.parametrize(
    ("blobs", "allow_reverse_lookup"),
    [
        ([b"\x01"], 1),  # one object is in order
        ([None], 1),
        ([b"\x01", b"\x01"], 0),  # equal is not greater
        ([b"\x01", b"\x01\x00", b"\x02"], 1),
        ([b"\x02", b"\x01"], 0),
        ([b"\x01\x80", b"\x01\x7f"], 1),  # Java's bytes are signed
        ([b"\x01", b"\x02", b"\x01", b"\x03"], 0),  # once out of order, out of order
        ([None, None, b"\x01"], 1),
        ([b"\x01", None], 0),
    ],
)
def test_a_complex_column_says_whether_its_objects_ascend(
    tmp_path: Path, blobs: list[bytes | None], allow_reverse_lookup: int
) -> None:
    schema, batch = segment_of(Table(list(range(len(blobs))), blobs={"users": blobs}))
    batches = [part_of(batch, row, row + 1) for row in range(len(blobs))]
    write_segment(tmp_path / "whole", schema, batch)
    write_segment(tmp_path / "rows", schema, *batches)
    for name in ("whole", "rows"):
        with Smoosh(tmp_path / name) as smoosh:
            cursor = Cursor("users", smoosh.file("users"))
            cursor.json("a descriptor")
            assert (cursor.i8("a version"), cursor.i8("allowReverseLookup")) == (1, allow_reverse_lookup)
