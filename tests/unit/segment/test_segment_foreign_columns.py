"""Columns that Druid writes and we only read, laid out by hand from the format's description."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from peon.segment.bitmap import serialize
from peon.segment.compression import Compression
from peon.segment.cursor import encode_vbyte
from peon.segment.descriptor import Descriptor
from peon.segment.errors import CorruptSegment, UnsupportedFormat
from peon.segment.metadata import IndexDrd
from peon.segment.numeric import NumericKind
from peon.segment.read import SegmentReader
from peon.segment.smoosh import Smoosh, SmooshWriter
from peon.segment.write import VERSION
from tests.support.segments import Table, segment_of, write_segment

ROWS = 3


def a_list(*payloads: bytes | None) -> bytes:
    """A GenericIndexed V1."""
    values = b""
    ends: list[int] = []
    for payload in payloads:
        values += b"\xff\xff\xff\xff" if payload is None else bytes(4) + payload
        ends.append(len(values))
    offsets = struct.pack(f">{len(ends)}i", *ends)
    return struct.pack(">bbii", 1, 0, 4 + len(offsets) + len(values), len(ends)) + offsets + values


def ids(*numbers: int) -> bytes:
    """Ids of one byte in an LZ4 block."""
    block = Compression.LZ4.compress(bytes(numbers))
    return struct.pack(">bbiiB", 2, 1, len(numbers), 65536, 1) + a_list(block)


def bitmap(*rows: int) -> bytes:
    return serialize(np.array(rows, dtype=np.uint32))


def segment_with(folder: Path, files: dict[str, bytes]) -> Path:
    """A segment of three rows whose only other column is `c`."""
    schema, batch = segment_of(Table([0, 1, 2]))
    write_segment(folder / "base", schema, batch)
    with Smoosh(folder / "base") as base:
        time = bytes(base.file("__time"))
    path = folder / "s"
    path.mkdir()
    (path / "version.bin").write_bytes(VERSION)
    smoosh = SmooshWriter(path)
    smoosh.add("__time", [time])
    for name, content in files.items():
        smoosh.add(name, [content])
    smoosh.add("index.drd", [IndexDrd(["c"], ["c"], frozenset(), (0, 10)).to_bytes()])
    smoosh.finish()
    return path


def auto(logical_type: str) -> bytes:
    part = {"type": "nestedCommonFormat", "logicalType": logical_type, "byteOrder": "LITTLE_ENDIAN"}
    return Descriptor("COMPLEX", False, part).to_bytes() + b"\0" + encode_vbyte(1) + b"c"


def test_an_auto_column_of_strings_is_read(tmp_path: Path) -> None:
    files = {
        "c": auto("STRING"),
        "c.__stringDictionary": a_list(None, b"a", b"b"),
        "c.__encodedColumn": ids(2, 1, 2),
        "c.__valueIndexes": a_list(None, bitmap(1), bitmap(0, 2)),  # id 0 is null though no row is
    }
    with SegmentReader(segment_with(tmp_path, files)) as segment:
        assert segment.column("c").to_pylist() == ["b", "a", "b"]
        found, of_null = segment.bitmap("c", "b"), segment.bitmap("c", None)
        assert found is not None
        assert of_null is not None
        assert (found.tolist(), of_null.tolist()) == ([0, 2], [])
        info = segment.columns()[1]
        assert (info.kind, info.size_bytes) == ("STRING", sum(map(len, files.values())))


@pytest.mark.parametrize(
    ("kind", "stem", "values"), [("LONG", "__long", [0, 7, -7]), ("DOUBLE", "__double", [0.0, 0.5, 1.5])]
)
def test_an_auto_column_of_numbers_is_read(tmp_path: Path, kind: str, stem: str, values: list[float]) -> None:
    dtype = NumericKind(kind).dtype
    stored = np.array(values, dtype=dtype).tobytes()
    distinct = np.array(sorted(values[1:]), dtype=dtype).tobytes()
    first_is_less = values[1] < values[2]
    files = {
        "c": auto(kind),
        f"c.{stem}Dictionary": struct.pack("<bbi", 0, 3, 2) + distinct,
        f"c.{stem}Column": struct.pack(">biiB", 2, ROWS, 0, 0xFE) + stored,
        "c.__encodedColumn": ids(0, 1, 2) if first_is_less else ids(0, 2, 1),
        "c.__valueIndexes": a_list(bitmap(0), bitmap(1 if first_is_less else 2), bitmap(2 if first_is_less else 1)),
    }
    with SegmentReader(segment_with(tmp_path, files)) as segment:
        assert segment.column("c").to_pylist() == [None, *values[1:]]
        found, of_null = segment.bitmap("c", values[2]), segment.bitmap("c", None)
        assert found is not None
        assert of_null is not None
        assert (found.tolist(), of_null.tolist()) == ([2], [0])
        info = segment.columns()[1]
        assert (info.kind, info.cardinality, info.has_nulls) == (kind, 3, True)


def test_an_auto_column_of_arrays_is_refused_by_its_type(tmp_path: Path) -> None:
    with (
        SegmentReader(segment_with(tmp_path, {"c": auto("ARRAY<LONG>")})) as segment,
        pytest.raises(UnsupportedFormat, match=r"ARRAY<LONG>"),
    ):
        segment.column("c")


def test_a_compressed_complex_column_is_read(tmp_path: Path) -> None:
    def blocks(*parts: bytes) -> bytes:
        packed = [Compression.LZ4.compress(part) for part in parts]
        ends = np.cumsum([len(block) for block in packed]).astype("<i4").tobytes()
        return struct.pack(">bBii", 1, 1, 65536, len(packed)) + ends + b"".join(packed)

    form = b'{"byteOrder":"LITTLE_ENDIAN","bitmapSerdeFactory":{"type":"roaring"},"fileNameBase":"c","hasNulls":true}'
    objects = b"x" * 70_000 + b"end"
    null_rows = bitmap(1)
    descriptor = Descriptor("COMPLEX", False, {"type": "complex", "typeName": "hyperUnique"}).to_bytes()
    files = {
        "c": descriptor + b"\x7f\x00" + struct.pack(">i", len(form)) + form,
        "c.__complexColumn": struct.pack(">bi", 1, ROWS),
        "c.__complexColumn_compressed": blocks(objects[:65536], objects[65536:]),
        "c.__complexColumn_offsets": blocks(struct.pack("<3q", 70_000, 70_000, 70_003)),
        "c.__nullIndex": struct.pack(">i", len(null_rows)) + null_rows,
    }
    with SegmentReader(segment_with(tmp_path, files)) as segment:
        assert segment.column("c").to_pylist() == [b"x" * 70_000, None, b"end"]
        assert segment.columns()[1].kind == "COMPLEX<hyperUnique>"


def test_a_legacy_numeric_column_without_size_and_nulls_is_read(tmp_path: Path) -> None:
    part = {"type": "float", "byteOrder": "LITTLE_ENDIAN"}
    body = struct.pack(">biiB", 2, ROWS, 0, 0xFE) + np.array([1, 2, 3], dtype="<f4").tobytes()
    with SegmentReader(segment_with(tmp_path, {"c": Descriptor("FLOAT", False, part).to_bytes() + body})) as segment:
        assert segment.column("c").equals(pa.array([1, 2, 3], pa.float32()))


def test_a_column_of_other_rows_than_the_time_column_is_corrupt(tmp_path: Path) -> None:
    part = {"type": "null", "numRows": 2_000_000_000}
    with (
        SegmentReader(segment_with(tmp_path, {"c": Descriptor("STRING", False, part).to_bytes()})) as segment,
        pytest.raises(CorruptSegment, match=r"\[c\] should hold 3 rows as __time has, not 2000000000"),
    ):
        segment.column("c")
