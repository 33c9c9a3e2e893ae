"""
Longs in fewer bits: as indexes into a table of at most 256 values, or as distances from the least value.

Bits are packed most significant first, and each block ends with four zero bytes (Druid: VSizeLongSerde). After the
compression byte stand:
    TABLE: i8 1 | i8 1 | i32 size | i64[size] in order of first appearance
    DELTA: i8 0 | i8 1 | i64 base | i32 bits a value
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peon.segment.compression import MAX_BLOCK_BYTES
from peon.segment.cursor import Cursor

Longs = NDArray[np.int64]

WIDTHS = (1, 2, 4, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64)
"""The supported bits a value. Druid: VSizeLongSerde.SUPPORTED_SIZES"""

MAX_TABLE = 256
"""The largest table. Druid: CompressionFactory.MAX_TABLE_SIZE"""

_PADDING = 4
_DELTA_ID = 0
_TABLE_ID = 1
_LONG_MAX = (1 << 63) - 1


def bits_for(values: int) -> int:
    """The smallest supported width that tells so many values apart."""
    return next(width for width in WIDTHS if values <= 1 << width)


def values_a_block(bits: int) -> int:
    """The largest power of two of values whose packed bits and padding fit into a block."""
    per_block = 1
    while (bits * per_block * 2 + 7) // 8 + _PADDING <= MAX_BLOCK_BYTES:
        per_block *= 2
    return per_block


def pack(values: NDArray[np.uint64], bits: int) -> bytes:
    """The low `bits` of each value, most significant first, padded to whole bytes and by four zero bytes."""
    wide = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    if bits % 8 == 0:
        packed = np.ascontiguousarray(wide[:, 8 - bits // 8 :]).tobytes()
    else:
        unpacked = np.unpackbits(wide[:, 8 - -(-bits // 8) :], axis=1)
        packed = np.packbits(unpacked[:, -bits:].reshape(-1)).tobytes()
    return packed + bytes(_PADDING)


def unpack(data: bytes, bits: int, count: int) -> NDArray[np.uint64]:
    """The first `count` values of packed bytes."""
    raw = np.frombuffer(data, dtype=np.uint8)
    if bits % 8 == 0:
        wide = np.zeros((count, 8), dtype=np.uint8)
        wide[:, 8 - bits // 8 :] = raw[: count * bits // 8].reshape(count, -1)
        return wide.reshape(-1).view(">u8").astype(np.uint64)
    single = np.unpackbits(raw, count=count * bits).reshape(count, bits)
    values = np.zeros(count, dtype=np.uint64)
    for bit in range(bits):
        values = (values << np.uint64(1)) | single[:, bit]
    return values


@dataclass(frozen=True, slots=True)
class LongEncoder:
    """One of the two encodings, with what it needs to know of the whole column."""

    bits: int
    base: int = 0
    table: Longs | None = None

    @property
    def per_block(self) -> int:
        """Values a block."""
        return values_a_block(self.bits)

    @property
    def block_bytes(self) -> int:
        """Bytes of a full block before compression."""
        return block_bytes(self.bits, self.per_block)

    def header(self) -> bytes:
        """The encoding's id and header."""
        if self.table is None:
            return struct.pack(">bbqi", _DELTA_ID, 1, self.base, self.bits)
        return struct.pack(">bbi", _TABLE_ID, 1, len(self.table)) + self.table.astype(">i8").tobytes()

    def encode(self, values: Longs) -> bytes:
        """The packed bytes of one block of values."""
        if self.table is None:
            # Unsigned arithmetic wraps, so distances up to 2^64 come out right.
            return pack(values.astype(np.uint64) - np.uint64(self.base & 0xFFFFFFFFFFFFFFFF), self.bits)
        order = np.argsort(self.table)
        return pack(order[np.searchsorted(self.table, values, sorter=order)].astype(np.uint64), self.bits)

    @staticmethod
    def read(cursor: Cursor) -> "LongEncoder":
        """Read the encoding's id and header. Raises `CorruptSegment`."""
        kind = cursor.i8("a long encoding")
        if kind not in (_DELTA_ID, _TABLE_ID):
            raise cursor.corrupt(f"a long encoding, not {kind:#04x},")
        if (version := cursor.i8("the version of a long encoding")) != 1:
            raise cursor.corrupt(f"a long encoding of version 1, not {version},")
        if kind == _DELTA_ID:
            base, bits = cursor.i64("the base of deltas"), cursor.i32("the bits of a delta")
            if bits not in WIDTHS:
                raise cursor.corrupt(f"a supported number of bits, not {bits},")
            return LongEncoder(bits, base)
        size = cursor.i32("the size of a table")
        if not 1 <= size <= MAX_TABLE:
            raise cursor.corrupt(f"a table of 1 to {MAX_TABLE} values, not {size},")
        table = np.frombuffer(cursor.take(8 * size, "a table of longs"), dtype=">i8").astype(np.int64)
        return LongEncoder(bits_for(size), table=table)

    def decode(self, data: bytes, count: int, cursor: Cursor) -> Longs:
        """`count` values from a block. Raises `CorruptSegment` when an index is outside of the table."""
        packed = unpack(data, self.bits, count)
        if self.table is None:
            return (packed + np.uint64(self.base & 0xFFFFFFFFFFFFFFFF)).astype(np.int64)
        if count and int(packed.max()) >= len(self.table):
            raise cursor.corrupt(f"indexes into a table of {len(self.table)} values")
        return self.table[packed.astype(np.int64)]


def block_bytes(bits: int, count: int) -> int:
    """Bytes of a block of so many values, padding included."""
    return (bits * count + 7) // 8 + _PADDING


class LongStatistics:
    """Watches all values of a column to choose its encoding. Druid: IntermediateColumnarLongsSerializer."""

    def __init__(self) -> None:
        self._least = _LONG_MAX
        self._greatest = -_LONG_MAX - 1
        self._table: dict[int, None] | None = {}

    def watch(self, values: Longs) -> None:
        """Take note of values, in their order."""
        if not len(values):
            return
        self._least = min(self._least, int(values.min()))
        self._greatest = max(self._greatest, int(values.max()))
        if self._table is not None:
            distinct, first = np.unique(values, return_index=True)
            if len(distinct) <= MAX_TABLE:
                for value in distinct[np.argsort(first)].tolist():
                    self._table.setdefault(value)
            if len(distinct) > MAX_TABLE or len(self._table) > MAX_TABLE:
                self._table = None

    def encoder(self) -> LongEncoder | None:
        """The encoding Druid's `auto` takes; None for plain longs."""
        if self._table:
            return LongEncoder(bits_for(len(self._table)), table=np.array(list(self._table), dtype=np.int64))
        spread = self._greatest - self._least
        if 0 <= spread < _LONG_MAX:
            return LongEncoder(bits_for(spread + 1), base=self._least)
        return None
