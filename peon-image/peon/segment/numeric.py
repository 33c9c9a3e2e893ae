"""
Numeric columns: longs, doubles, floats, and the time column.

    i32 size of the value part | value part | [i32 size | roaring bitmap of null rows, only when there are some]
value part:
    i8 2 | i32 rows | i32 values a block | i8 compression | [long encoding] | GenericIndexed of blocks
    with compression NONE the values follow as they are, `values a block` is 0
Values are little-endian; a null row holds 0. Druid: LongNumericColumnPartSerdeV2 and its siblings.
"""

import struct
from collections.abc import Iterator
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from peon.segment.bitmap import null_bitmap, read_null_bitmap
from peon.segment.blocks import BlockWriter, block_sizes, read_blocks, read_compression
from peon.segment.compression import MAX_BLOCK_BYTES, Compression
from peon.segment.cursor import Cursor
from peon.segment.generic_indexed import IndexedBytes
from peon.segment.index_spec import LongEncoding
from peon.segment.long_encoding import LongEncoder, LongStatistics, block_bytes
from peon.segment.scratch import Span, Stored
from peon.segment.smoosh import Smoosh
from peon.segment.workbench import Workbench

NumericArray = NDArray[np.int64 | np.float64 | np.float32]

_ENCODED = 126
"""Taken from the compression byte when an encoding follows. Druid: CompressionFactory.FLAG_VALUE"""


class NumericKind(Enum):
    """The type of a numeric column; the value is its name in Druid."""

    LONG = "LONG"
    DOUBLE = "DOUBLE"
    FLOAT = "FLOAT"

    @property
    def dtype(self) -> np.dtype[np.int64] | np.dtype[np.float64] | np.dtype[np.float32]:
        """The numpy type of the values, little-endian as on disk."""
        match self:
            case NumericKind.LONG:
                return np.dtype("<i8")
            case NumericKind.DOUBLE:
                return np.dtype("<f8")
            case NumericKind.FLOAT:
                return np.dtype("<f4")

    @property
    def part_type(self) -> str:
        """The type of the column's part: `longV2`."""
        return f"{self.value.lower()}V2"


class NumericWriter:
    """Writes one numeric column."""

    def __init__(self, bench: Workbench, kind: NumericKind, base_name: str) -> None:
        """base_name: of the internal files, should the column need some: `added.long_column`"""
        self._bench = bench
        self._kind = kind
        self._base_name = base_name
        self._compression = bench.index_spec.metric_compression
        self._rows = 0
        self._null_rows: list[NDArray[np.uint32]] = []
        self._per_block = MAX_BLOCK_BYTES // kind.dtype.itemsize
        self._statistics: LongStatistics | None = None
        self._blocks: BlockWriter | None = None
        if kind is NumericKind.LONG and bench.index_spec.long_encoding is LongEncoding.AUTO:
            # The encoding depends on all values, so they wait, plain, until the last is seen.
            self._statistics = LongStatistics()
        elif self._compression is not Compression.NONE:
            self._blocks = BlockWriter(bench, self._compression, self._per_block * kind.dtype.itemsize)
        self._plain = bench.scratch() if self._blocks is None else None

    def append(self, values: NumericArray, nulls: NDArray[np.bool_] | None) -> None:
        """Append rows; where `nulls` is true the value does not matter."""
        data = np.ascontiguousarray(values, dtype=self._kind.dtype)
        if nulls is not None and nulls.any():
            data = np.where(nulls, self._kind.dtype.type(0), data)
            self._null_rows.append((np.flatnonzero(nulls) + self._rows).astype(np.uint32))
        self._rows += len(data)
        raw = data.view(np.uint8).data
        if self._statistics is not None:
            self._statistics.watch(data.astype(np.int64, copy=False))
        if self._blocks is not None:
            self._blocks.write(raw)
        elif self._plain is not None:
            self._plain.write(raw)

    def finish(self) -> Stored:
        """The column's body."""
        values = self._value_part()
        nulls = np.concatenate(self._null_rows) if self._null_rows else np.zeros(0, dtype=np.uint32)
        return Stored.join(struct.pack(">i", values.size), values, null_bitmap(nulls))

    def _value_part(self) -> Stored:
        encoder = self._statistics.encoder() if self._statistics is not None else None
        if encoder is not None:
            return self._encoded(encoder)
        if self._blocks is None and self._compression is not Compression.NONE:
            self._blocks = BlockWriter(self._bench, self._compression, self._per_block * self._kind.dtype.itemsize)
            for values in self._plain_values(self._per_block):
                self._blocks.write(values.view(np.uint8).data)
        if self._blocks is not None:
            head = struct.pack(">biiB", 2, self._rows, self._per_block, self._compression.value)
            return Stored.join(head, self._blocks.finish(self._base_name))
        return Stored.join(struct.pack(">biiB", 2, self._rows, 0, Compression.NONE.value), self._plain_part())

    def _encoded(self, encoder: LongEncoder) -> Stored:
        code = (self._compression.value - _ENCODED) & 0xFF
        if self._compression is Compression.NONE:
            # One run of bits over the whole column, padded once.
            packed = encoder.encode(np.concatenate(list(self._plain_values(self._rows))))
            return Stored([struct.pack(">biiB", 2, self._rows, 0, code) + encoder.header() + packed], {})
        blocks = BlockWriter(self._bench, self._compression, encoder.block_bytes)
        for values in self._plain_values(encoder.per_block):
            blocks.write_block(encoder.encode(values))
        head = struct.pack(">biiB", 2, self._rows, encoder.per_block, code) + encoder.header()
        return Stored.join(head, blocks.finish(self._base_name))

    def _plain_values(self, per_block: int) -> Iterator[NDArray[np.int64]]:
        assert self._plain is not None
        width = self._kind.dtype.itemsize
        for start in range(0, self._plain.size, per_block * width):
            raw = self._plain.read(start, min(per_block * width, self._plain.size - start))
            yield np.frombuffer(raw, dtype=np.int64)

    def _plain_part(self) -> Stored:
        assert self._plain is not None
        return Stored([Span(self._plain, 0, self._plain.size)], {})


def read_numeric(
    cursor: Cursor, smoosh: Smoosh, kind: NumericKind, *, has_size: bool = True
) -> tuple[NumericArray, NDArray[np.bool_] | None]:
    """
    Read a numeric column's body up to the end of the cursor.

    has_size: false for the legacy parts `long`, `double`, `float`, which have neither size nor bitmap
    returns:  the values, and bool[rows] where null (None: nowhere). Raises `CorruptSegment`.
    """
    if not has_size:
        return read_values(cursor, smoosh, kind), None
    size = cursor.i32("the size of the values")
    values = read_values(Cursor(cursor.file, cursor.take(size, "the values")), smoosh, kind)
    return values, read_null_bitmap(cursor, len(values))


def read_values(cursor: Cursor, smoosh: Smoosh, kind: NumericKind) -> NumericArray:
    """Read a value part. Raises `CorruptSegment`."""
    if (version := cursor.i8("the version of a value part")) not in (1, 2):
        raise cursor.corrupt(f"values of version 1 or 2, not {version},")
    rows = cursor.count("the number of rows")
    per_block = cursor.i32("values a block")
    compression, encoder = _read_compression(cursor, kind)
    width = kind.dtype.itemsize
    if encoder is not None:
        return _read_encoded(cursor, smoosh, rows, per_block, compression, encoder)
    if compression is Compression.NONE:
        return np.frombuffer(cursor.take(rows * width, f"{rows} values"), dtype=kind.dtype).copy()
    data = read_blocks(cursor, smoosh, compression, block_sizes(cursor, rows, per_block, width))
    return np.frombuffer(data, dtype=kind.dtype)


def _read_compression(cursor: Cursor, kind: NumericKind) -> tuple[Compression, LongEncoder | None]:
    code = cursor.data[cursor.position] if cursor.remaining else 0
    # As a signed byte, the ids with an encoding lie below -2: NONE - 126 = 0x80 up to ZSTD - 126 = 0x84.
    if kind is not NumericKind.LONG or not 0x80 <= code < 0xFE:
        return read_compression(cursor), None
    cursor.i8("a compression id")
    try:
        compression = Compression((code + _ENCODED) & 0xFF)
    except ValueError:
        raise cursor.corrupt(f"a compression id, not {code:#04x},") from None
    if cursor.remaining and cursor.data[cursor.position] == 0xFF:  # plain longs, said aloud
        cursor.i8("a long encoding")
        return compression, None
    return compression, LongEncoder.read(cursor)


def _read_encoded(
    cursor: Cursor, smoosh: Smoosh, rows: int, per_block: int, compression: Compression, encoder: LongEncoder
) -> NDArray[np.int64]:
    if compression is Compression.NONE:
        packed = cursor.take(block_bytes(encoder.bits, rows), f"{rows} packed values")
        return encoder.decode(bytes(packed), rows, cursor)
    if not 1 <= per_block <= MAX_BLOCK_BYTES * 8:
        raise cursor.corrupt(f"values a block, not {per_block},")
    indexed = IndexedBytes.read(cursor, smoosh)
    if len(indexed) != -(-rows // per_block):
        raise cursor.corrupt(f"{-(-rows // per_block)} blocks, not {len(indexed)},")
    parts: list[NDArray[np.int64]] = []
    for index in range(len(indexed)):
        count = min(per_block, rows - index * per_block)
        size = block_bytes(encoder.bits, count)
        data = compression.decompress(indexed.element(index) or b"", size, cursor.file)
        parts.append(encoder.decode(data, count, cursor))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
