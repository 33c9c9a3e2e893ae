"""
For every value of a dictionary, the rows that hold it: roaring bitmaps in the portable form, runs optimised.

Druid writes an empty bitmap as no bytes at all. The bytes are those of `pyroaring`'s `run_optimize` and `serialize`;
what is done here by hand is the case that high cardinality makes frequent, bitmaps of array containers alone, for
all ids at once.
"""

import struct

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from peon.segment.cursor import Cursor
from peon.segment.errors import CorruptSegment, corrupt_unless_readable

_ARRAY_MAX = 4096
"""An array container holds at most so many rows; beyond, it is a bitset."""

_COOKIE_WITHOUT_RUNS = 12346

Rows = NDArray[np.uint32]


def serialize(rows: Rows) -> bytes:
    """The bitmap of ascending row numbers; no bytes for no rows."""
    if not len(rows):
        return b""
    bitmap = BitMap(rows)
    bitmap.run_optimize()
    return bitmap.serialize()


def deserialize(raw: bytes | memoryview, rows: int, file: str) -> Rows:
    """The ascending row numbers of a bitmap over `rows` rows. Raises `CorruptSegment`, naming `file`."""
    if not len(raw):
        return np.zeros(0, dtype=np.uint32)
    with corrupt_unless_readable(file, "a roaring bitmap"):
        bitmap = BitMap.deserialize(bytes(raw))
    if bitmap and bitmap.max() >= rows:
        raise CorruptSegment(file, f"a bitmap of rows below {rows}")
    return np.asarray(bitmap.to_array(), dtype=np.uint32)


def read_null_bitmap(cursor: Cursor, rows: int) -> NDArray[np.bool_] | None:
    """`i32 size | roaring` of null rows, or None when nothing is left to read: no row is null then."""
    if not cursor.remaining:
        return None
    raw = cursor.take(cursor.i32("the size of the bitmap of nulls"), "the bitmap of nulls")
    nulls = np.zeros(rows, dtype=np.bool_)
    nulls[deserialize(raw, rows, cursor.file)] = True
    return nulls


def null_bitmap(null_rows: Rows) -> bytes:
    """What `read_null_bitmap` reads; nothing at all when no row is null."""
    raw = serialize(null_rows)
    return struct.pack(">i", len(raw)) + raw if raw else b""


def bitmaps_by_id(keys: NDArray[np.int64], cardinality: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """
    The serialized bitmaps of all ids.

    keys:    `id << 32 | row`, ascending and distinct
    returns: the bitmaps end to end, and int64[cardinality] bytes of each, 0 for an id without rows
    """
    ids = (keys >> 32).astype(np.int64)
    rows = (keys & 0xFFFFFFFF).astype(np.uint32)
    first_row = np.searchsorted(ids, np.arange(cardinality + 1))
    containers = _Containers.of(keys, ids, rows)
    # An id is left to pyroaring when one of its containers is a bitset or better written as runs.
    by_hand = np.ones(cardinality, dtype=np.bool_)
    by_hand[containers.ids[~containers.is_plain_array]] = False
    sizes = np.zeros(cardinality, dtype=np.int64)
    count = np.bincount(containers.ids, minlength=cardinality)
    present = count > 0
    lengths = np.diff(first_row)
    sizes[present] = 8 + 8 * count[present] + 2 * lengths[present]
    others = np.flatnonzero(~by_hand)
    serialized = [serialize(rows[first_row[i] : first_row[i + 1]]) for i in others.tolist()]
    sizes[others] = [len(raw) for raw in serialized]

    ends = np.cumsum(sizes)
    out = np.zeros(int(ends[-1]) if cardinality else 0, dtype=np.uint8)
    starts = ends - sizes
    for start, raw in zip(starts[others].tolist(), serialized, strict=True):
        out[start : start + len(raw)] = np.frombuffer(raw, dtype=np.uint8)
    _write_plain_arrays(out, starts, count, by_hand & present, containers, ids, rows, first_row)
    return out, sizes


class _Containers:
    """The containers of all bitmaps in order: runs of rows that share their id and the upper 16 bits."""

    def __init__(self, ids: NDArray[np.int64], uppers: NDArray[np.uint32], starts: NDArray[np.int64], end: int) -> None:
        self.ids = ids
        self.uppers = uppers
        self.starts = starts
        self.cardinalities = np.diff(starts, append=end)
        self.is_plain_array = np.ones(len(ids), dtype=np.bool_)

    @classmethod
    def of(cls, keys: NDArray[np.int64], ids: NDArray[np.int64], rows: Rows) -> "_Containers":
        fresh = np.ones(len(keys), dtype=np.bool_)
        fresh[1:] = (keys[1:] >> 16) != (keys[:-1] >> 16)
        starts = np.flatnonzero(fresh)
        self = cls(ids[starts], (rows[starts] >> 16).astype(np.uint32), starts, len(keys))
        if not len(keys):
            return self
        begins_run = fresh
        begins_run[1:] |= keys[1:] != keys[:-1] + 1
        runs = np.add.reduceat(begins_run, starts, dtype=np.int64)
        # CRoaring and Java's RoaringBitmap turn an array into runs when 2 + 4 runs < 2 + 2 rows.
        self.is_plain_array = (2 * runs >= self.cardinalities) & (self.cardinalities <= _ARRAY_MAX)
        return self


def _write_plain_arrays(
    out: NDArray[np.uint8],
    starts: NDArray[np.int64],
    count: NDArray[np.int64],
    by_hand: NDArray[np.bool_],
    containers: _Containers,
    ids: NDArray[np.int64],
    rows: Rows,
    first_row: NDArray[np.int64],
) -> None:
    """
    Fill in the bitmaps of array containers:
    u32 12346 | u32 n | n times u16 upper bits, u16 rows - 1 | n times u32 offset | u16 lower bits of rows
    """
    chosen = np.flatnonzero(by_hand)
    _put(out, starts[chosen], np.full(len(chosen), _COOKIE_WITHOUT_RUNS, dtype="<u4"))
    _put(out, starts[chosen] + 4, count[chosen].astype("<u4"))
    at = by_hand[containers.ids]
    container_ids = containers.ids[at]
    first_container = np.cumsum(count) - count
    number = np.flatnonzero(at) - first_container[container_ids]
    keys_at = starts[container_ids] + 8 + 4 * number
    _put(out, keys_at, containers.uppers[at].astype("<u2"))
    _put(out, keys_at + 2, (containers.cardinalities[at] - 1).astype("<u2"))
    rows_before = containers.starts[at] - first_row[container_ids]
    offsets = 8 + 8 * count[container_ids] + 2 * rows_before
    _put(out, starts[container_ids] + 8 + 4 * (count[container_ids] + number), offsets.astype("<u4"))
    rows_at = np.flatnonzero(by_hand[ids])
    row_ids = ids[rows_at]
    _put(
        out,
        starts[row_ids] + 8 + 8 * count[row_ids] + 2 * (rows_at - first_row[row_ids]),
        (rows[rows_at] & 0xFFFF).astype("<u2"),
    )


def _put(out: NDArray[np.uint8], positions: NDArray[np.int64], values: NDArray[np.uint16] | NDArray[np.uint32]) -> None:
    """Write each value's bytes at its position."""
    width = values.dtype.itemsize
    data = values.view(np.uint8).reshape(-1, width)
    for byte in range(width):
        out[positions + byte] = data[:, byte]
