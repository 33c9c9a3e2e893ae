"""
A column of serialized objects: a GenericIndexed with one entry a row, a null for a row without object.

Druid: ComplexColumnPartSerde, LargeColumnSupportedComplexColumnSerializer. With `complexMetricCompression` Druid
writes compressed blocks into internal files instead (CompressedComplexColumnSerializer); those are read, not written:
    body: i8 0x7F | i8 0 | str JSON     `.__complexColumn`: i8 1 | i32 rows     `.__nullIndex`: i32 size | roaring
    `.__complexColumn_compressed`, `.__complexColumn_offsets`: i8 1 | i8 compression | i32 65536 | i32 n
        | n little-endian i32 end offsets | blocks
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peon.segment.bitmap import read_null_bitmap
from peon.segment.blocks import read_compression
from peon.segment.columns import Blobs
from peon.segment.compression import MAX_BLOCK_BYTES
from peon.segment.cursor import Cursor
from peon.segment.errors import CorruptSegment
from peon.segment.generic_indexed import IndexedBytes, IndexedWriter
from peon.segment.scratch import Stored
from peon.segment.smoosh import Smoosh
from peon.segment.string_order import string_bytes, string_offsets
from peon.segment.workbench import Workbench

_COMPRESSED = 0x7F


class ComplexWriter:
    """Writes one column of serialized objects."""

    def __init__(self, bench: Workbench, name: str) -> None:
        self._name = name
        self._values = IndexedWriter(bench)
        self._order = _Order()

    def append(self, blobs: Blobs) -> None:
        """Append rows."""
        values = blobs.values
        self._order.watch(values)
        sizes = np.diff(string_offsets(values))
        nulls = None
        if values.null_count:
            nulls = values.is_null().to_numpy(zero_copy_only=False)
            if sizes[nulls].any():  # Arrow allows bytes behind a null; the format does not
                values = values.take(pa.array(np.arange(len(values))))
                sizes = np.diff(string_offsets(values))
        self._values.add_all(string_bytes(values), sizes, nulls)

    def finish(self) -> Stored:
        """The column's body."""
        return self._values.finish(f"{self._name}.complex_column", allow_reverse_lookup=self._order.ascends)


class _Order:
    """
    Whether each object is greater than the one before it, which Druid notes as allowReverseLookup and never uses.

    Hardly any column of more than a few rows is, and the first object that is not greater ends the watch. Objects
    compare as hyperUnique's do, by their bytes, which Java takes as signed; after a null anything may follow.
    Druid: GenericIndexedWriter.write, HyperUniquesSerde
    """

    def __init__(self) -> None:
        self.ascends = True
        self._last: bytes | None = None

    def watch(self, values: pa.BinaryArray | pa.LargeBinaryArray) -> None:
        at = 0
        while self.ascends and at < len(values):
            raw: bytes | None = values[at].as_py()
            signed = None if raw is None else raw.translate(_SIGN_FLIPPED)
            self.ascends = self._last is None or (signed is not None and self._last < signed)
            self._last = signed
            at += 1


_SIGN_FLIPPED = bytes(byte ^ 0x80 for byte in range(256))


def read_complex(cursor: Cursor, smoosh: Smoosh) -> pa.LargeBinaryArray:
    """Read the column's body: the objects' bytes, null where there is none. Raises `CorruptSegment`."""
    if cursor.remaining and cursor.data[cursor.position] == _COMPRESSED:
        return _read_compressed(cursor, smoosh)
    return IndexedBytes.read(cursor, smoosh).binaries()


def _read_compressed(cursor: Cursor, smoosh: Smoosh) -> pa.LargeBinaryArray:
    cursor.take(2, "the marker of a compressed complex column")
    base = cursor.json("the form of a compressed complex column").get("fileNameBase")
    name = f"{base}.__complexColumn"
    head = Cursor(name, smoosh.file(name))
    head.i8("a version")
    rows = head.count("the number of rows")
    data = _read_file(smoosh, f"{name}_compressed")
    raw_offsets = _read_file(smoosh, f"{name}_offsets")
    if len(raw_offsets) != 8 * rows:
        raise CorruptSegment(f"{name}_offsets", f"{rows} offsets")
    ends = np.concatenate([np.zeros(1, dtype=np.int64), np.frombuffer(raw_offsets, dtype="<i8")])
    if (np.diff(ends) < 0).any() or int(ends[-1]) > len(data):
        raise CorruptSegment(f"{name}_offsets", f"ascending offsets within {len(data)} bytes")
    nulls: NDArray[np.bool_] | None = None
    if f"{base}.__nullIndex" in smoosh:
        nulls = read_null_bitmap(Cursor(f"{base}.__nullIndex", smoosh.file(f"{base}.__nullIndex")), rows)
    valid = None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), rows, [valid, pa.py_buffer(ends), pa.py_buffer(data)])


def _read_file(smoosh: Smoosh, name: str) -> bytes:
    cursor = Cursor(name, smoosh.file(name))
    cursor.i8("a version")
    compression = read_compression(cursor)
    block_bytes = cursor.i32("bytes a block")
    if not 0 < block_bytes <= MAX_BLOCK_BYTES:
        raise cursor.corrupt(f"blocks of at most {MAX_BLOCK_BYTES} bytes")
    count = cursor.count("the number of blocks")
    ends = np.frombuffer(cursor.take(4 * count, "end offsets"), dtype="<i4").tolist()
    start = 0
    blocks: list[bytes] = []
    for end in ends:
        block = cursor.take(end - start, "a block")
        # The last block is short, and nothing says how short.
        size = block_bytes if len(blocks) < count - 1 else None
        blocks.append(compression.decompress(block, size, name) if size else compression.decompress_any(block, name))
        start = end
    return b"".join(blocks)
