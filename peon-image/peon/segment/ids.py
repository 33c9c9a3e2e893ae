"""
Dictionary ids of rows, in as few bytes each as the dictionary's size needs, and lists of ids.

Compressed (Druid: CompressedVSizeColumnarInts; a list of rows: V3CompressedVSizeColumnarMultiInts):
    i8 2 | i8 bytes an id | i32 n | i32 ids a block | i8 compression | GenericIndexed of blocks, ids little-endian
    i8 3 | offsets: i8 2 | i32 rows + 1 | i32 16384 | i8 compression | blocks of ints | values: as above
Uncompressed (Druid: VSizeColumnarInts, VSizeColumnarMultiInts):
    i8 0 | i8 bytes an id | i32 bytes | ids *big-endian* | 4 - bytes an id zeros
    i8 1 | i8 bytes an id | i32 bytes that follow | i32 n | i32[n] end offsets | ids | zeros
"""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from peon.segment.blocks import BlockWriter, block_sizes, read_blocks, read_compression
from peon.segment.compression import MAX_BLOCK_BYTES
from peon.segment.cursor import Cursor
from peon.segment.scratch import Span, Stored
from peon.segment.smoosh import Smoosh
from peon.segment.workbench import Workbench

Ids = NDArray[np.int32]

_INTS_A_BLOCK = MAX_BLOCK_BYTES // 4
_READ_BACK_BYTES = 1 << 20


def id_bytes(cardinality: int) -> int:
    """
    Bytes an id takes in a dictionary of so many values.

    It goes by the size, not by the greatest id: 256 values take two bytes. Druid: VSizeColumnarInts.getNumBytesForMax
    """
    for width, limit in ((1, 0xFF), (2, 0xFFFF), (3, 0xFFFFFF)):
        if cardinality <= limit:
            return width
    return 4


class CompressedIds:
    """Ids in compressed blocks."""

    def __init__(self, bench: Workbench, cardinality: int) -> None:
        self._width = id_bytes(cardinality)
        # A power of two, so three bytes share the block length of four.
        self._per_block = MAX_BLOCK_BYTES // (4 if self._width == 3 else self._width)
        self._compression = bench.index_spec.dimension_compression
        self._blocks = BlockWriter(bench, self._compression, self._per_block * self._width)
        self.count = 0

    def write(self, ids: Ids) -> None:
        """Append ids."""
        self.count += len(ids)
        self._blocks.write(_narrow(ids, self._width).data)

    def all(self) -> Iterator[Ids]:
        """All ids again, in runs."""
        for block in self._blocks.blocks():
            yield _widen(np.frombuffer(block, dtype=np.uint8), self._width)

    def finish(self, base_name: str) -> Stored:
        """The ids as they lie in the segment."""
        head = struct.pack(">bbiiB", 2, self._width, self.count, self._per_block, self._compression.value)
        return Stored.join(head, self._blocks.finish(base_name))


class PlainIds:
    """Ids without compression, big-endian."""

    def __init__(self, bench: Workbench, cardinality: int) -> None:
        self._width = id_bytes(cardinality)
        self._scratch = bench.scratch()
        self.count = 0

    def write(self, ids: Ids) -> None:
        """Append ids."""
        self.count += len(ids)
        self._scratch.write(_big_endian(ids, self._width).data)

    def all(self) -> Iterator[Ids]:
        """All ids again, in runs."""
        step = _READ_BACK_BYTES * self._width
        for start in range(0, self._scratch.size, step):
            raw = self._scratch.read(start, min(step, self._scratch.size - start))
            yield _widen_big_endian(np.frombuffer(raw, dtype=np.uint8), self._width)

    def finish(self, base_name: str) -> Stored:
        """The ids as they lie in the segment."""
        size = self._scratch.size
        head = struct.pack(">bbi", 0, self._width, size + 4 - self._width)
        return Stored([head, Span(self._scratch, 0, size), bytes(4 - self._width)], {})

    def finish_lists(self, ends: NDArray[np.int64]) -> Stored:
        """The ids as lists, each ending at value number `ends[row]`."""
        size = self._scratch.size
        padding = bytes(4 - self._width)
        offsets = (ends * self._width).astype(">i4").tobytes()
        head = struct.pack(">bbii", 1, self._width, 4 + len(offsets) + size + len(padding), len(ends))
        return Stored([head + offsets, Span(self._scratch, 0, size), padding], {})


class CompressedOffsets:
    """Where the list of each row begins: compressed ints, one more than rows. Druid: CompressedColumnarInts."""

    def __init__(self, bench: Workbench) -> None:
        self._compression = bench.index_spec.dimension_compression
        self._blocks = BlockWriter(bench, self._compression, _INTS_A_BLOCK * 4)
        self._last = 0
        self.count = 0
        self._append(np.zeros(1, dtype="<i4"))

    def write(self, lengths: NDArray[np.int64]) -> None:
        """Append rows by the lengths of their lists."""
        ends = self._last + np.cumsum(lengths)
        if len(ends):
            self._last = int(ends[-1])
            self._append(ends.astype("<i4"))

    def lengths(self) -> NDArray[np.int64]:
        """int64[rows], the length of each list, read back."""
        return np.diff(np.frombuffer(b"".join(self._blocks.blocks()), dtype="<i4").astype(np.int64))

    def finish(self, base_name: str) -> Stored:
        """The offsets as they lie in the segment."""
        head = struct.pack(">biiB", 2, self.count, _INTS_A_BLOCK, self._compression.value)
        return Stored.join(head, self._blocks.finish(base_name))

    def _append(self, offsets: NDArray[np.int32]) -> None:
        self.count += len(offsets)
        self._blocks.write(offsets.view(np.uint8).data)


def read_compressed_ids(cursor: Cursor, smoosh: Smoosh) -> Ids:
    """Ids in compressed blocks, after which the cursor stands. Raises `CorruptSegment`."""
    if (version := cursor.i8("the version of compressed ids")) != 2:
        raise cursor.corrupt(f"compressed ids of version 2, not {version},")
    width = _read_width(cursor)
    count = cursor.count("the number of ids")
    per_block = cursor.i32("ids a block")
    compression = read_compression(cursor)
    data = read_blocks(cursor, smoosh, compression, block_sizes(cursor, count, per_block, width))
    return _widen(np.frombuffer(data, dtype=np.uint8), width)


def read_compressed_ints(cursor: Cursor, smoosh: Smoosh) -> NDArray[np.int64]:
    """Plain ints in compressed blocks. Raises `CorruptSegment`."""
    if (version := cursor.i8("the version of compressed ints")) != 2:
        raise cursor.corrupt(f"compressed ints of version 2, not {version},")
    count = cursor.count("the number of ints")
    per_block = cursor.i32("ints a block")
    compression = read_compression(cursor)
    data = read_blocks(cursor, smoosh, compression, block_sizes(cursor, count, per_block, 4))
    return np.frombuffer(data, dtype="<i4").astype(np.int64)


def read_plain_ids(cursor: Cursor) -> Ids:
    """Ids without compression. Raises `CorruptSegment`."""
    if (version := cursor.i8("the version of uncompressed ids")) != 0:
        raise cursor.corrupt(f"uncompressed ids of version 0, not {version},")
    width = _read_width(cursor)
    body = cursor.take(cursor.count("the size of uncompressed ids"), "uncompressed ids")
    size = len(body) - (4 - width)
    if size < 0 or size % width:
        raise cursor.corrupt(f"a whole number of ids of {width} bytes")
    return _widen_big_endian(np.frombuffer(body[:size], dtype=np.uint8), width)


def read_plain_lists(cursor: Cursor) -> tuple[NDArray[np.int64], Ids]:
    """Lists of ids without compression: int64[rows + 1] offsets and the ids. Raises `CorruptSegment`."""
    if (version := cursor.i8("the version of uncompressed lists")) != 1:
        raise cursor.corrupt(f"uncompressed lists of version 1, not {version},")
    width = _read_width(cursor)
    size = cursor.count("the size of uncompressed lists")
    body = Cursor(cursor.file, cursor.take(size, "uncompressed lists"))
    count = body.count("the number of lists")
    ends = np.frombuffer(body.take(4 * count, "the end offsets of lists"), dtype=">i4").astype(np.int64)
    values = body.take(body.remaining, "ids")
    last = int(ends[-1]) if count else 0
    if (ends % width).any() or (np.diff(ends, prepend=0) < 0).any() or last > len(values):
        raise cursor.corrupt(f"ascending ends of lists of ids of {width} bytes")
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), ends // width])
    return offsets, _widen_big_endian(np.frombuffer(values[:last], dtype=np.uint8), width)


def _read_width(cursor: Cursor) -> int:
    width = cursor.i8("the bytes of an id")
    if not 1 <= width <= 4:
        raise cursor.corrupt(f"ids of 1 to 4 bytes, not {width},")
    return width


def _narrow(ids: Ids, width: int) -> NDArray[np.uint8]:
    """The low bytes of each id, little-endian, end to end. The result never shares memory with `ids`."""
    if width == 1:
        return ids.astype(np.uint8)
    if width == 2:
        return ids.astype("<u2").view(np.uint8)
    wide = ids.astype("<i4").view(np.uint8)
    return wide if width == 4 else np.ascontiguousarray(wide.reshape(-1, 4)[:, :width]).reshape(-1)


def _widen(data: NDArray[np.uint8], width: int) -> Ids:
    if width == 3:
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, :3] = data.reshape(-1, 3)
        return wide.reshape(-1).view("<i4").astype(np.int32)
    return data.view({1: np.uint8, 2: "<u2", 4: "<i4"}[width]).astype(np.int32)


def _big_endian(ids: Ids, width: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(ids.astype(">i4").view(np.uint8).reshape(-1, 4)[:, 4 - width :]).reshape(-1)


def _widen_big_endian(data: NDArray[np.uint8], width: int) -> Ids:
    wide = np.zeros((len(data) // width, 4), dtype=np.uint8)
    wide[:, 4 - width :] = data.reshape(-1, width)
    return wide.reshape(-1).view(">i4").astype(np.int32)
