"""
For every value of a dictionary, the rows that hold it: roaring bitmaps in the portable form, runs optimised.

Druid writes an empty bitmap as no bytes at all. The bytes are those of `pyroaring`'s `run_optimize` and `serialize`;
what is done here by hand is the case that high cardinality makes frequent, bitmaps of array containers alone, for
all ids at once.
"""

import struct
from array import array
from dataclasses import dataclass

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
    values = array("I")  # pyroaring takes this array at once, a numpy array one number at a time
    values.frombytes(rows.tobytes())
    bitmap = BitMap(values)
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
    first_key = np.searchsorted(keys, np.arange(cardinality + 1, dtype=np.int64) << 32)
    starts, plain = _containers(keys)
    # An id is left to pyroaring when one of its containers is a bitset or better written as runs.
    by_hand = np.ones(cardinality, dtype=np.bool_)
    by_hand[keys[starts[~plain]] >> 32] = False
    others = np.flatnonzero(~by_hand)
    serialized = [_serialize_keys(keys[first_key[i] : first_key[i + 1]]) for i in others.tolist()]

    by_hand_of_container = by_hand[keys[starts] >> 32]
    words = _plain_arrays(
        keys if not len(others) else keys[np.repeat(by_hand, np.diff(first_key))],
        np.diff(starts, append=len(keys))[by_hand_of_container],
        np.diff(first_key)[by_hand],
        np.bincount(keys[starts[by_hand_of_container]] >> 32, minlength=cardinality)[by_hand],
    )
    sizes = np.zeros(cardinality, dtype=np.int64)
    sizes[by_hand] = words.sizes
    if not len(others):
        return words.data, sizes
    sizes[others] = [len(raw) for raw in serialized]
    out = np.zeros(int(sizes.sum()), dtype=np.uint8)
    is_by_hand = np.repeat(by_hand, sizes)
    out[is_by_hand] = words.data
    out[~is_by_hand] = np.frombuffer(b"".join(serialized), dtype=np.uint8)
    return out, sizes


def _serialize_keys(keys: NDArray[np.int64]) -> bytes:
    return serialize((keys & 0xFFFFFFFF).astype(np.uint32))


def _containers(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """
    The containers of all bitmaps in order: keys that share their id and the upper 16 bits of the row.

    returns: int64[c] where in the keys each begins, and bool[c] whether it is an array, written as it is
    """
    fresh = np.ones(len(keys), dtype=np.bool_)
    fresh[1:] = (keys[1:] >> 16) != (keys[:-1] >> 16)
    starts = np.flatnonzero(fresh).astype(np.int64)
    if not len(keys):
        return starts, fresh
    begins_run = fresh
    begins_run[1:] |= keys[1:] != keys[:-1] + 1
    runs = np.add.reduceat(begins_run, starts, dtype=np.int64)
    cardinalities = np.diff(starts, append=len(keys))
    # CRoaring and Java's RoaringBitmap turn an array into runs when 2 + 4 runs < 2 + 2 rows.
    return starts, (2 * runs >= cardinalities) & (cardinalities <= _ARRAY_MAX)


@dataclass(frozen=True, slots=True)
class _Plain:
    data: NDArray[np.uint8]
    sizes: NDArray[np.int64]


def _plain_arrays(
    keys: NDArray[np.int64],
    container_rows: NDArray[np.int64],
    rows: NDArray[np.int64],
    containers: NDArray[np.int64],
) -> _Plain:
    """
    Bitmaps of array containers only, each, in words of 16 bits:
    12346, 0 | containers as two words | upper bits and rows - 1 of each | offset of each as two words | lower bits

    container_rows: int64[c], rows of each container
    rows:           int64[ids], rows of each id
    containers:     int64[ids], containers of each id
    """
    # An id without rows has no bytes at all.
    head_words = np.where(rows > 0, 4 + 4 * containers, 0)
    ends = np.cumsum(head_words + rows)
    starts = ends - head_words - rows
    words = np.zeros(int(ends[-1]) if len(ends) else 0, dtype="<u2")
    present = rows > 0
    words[starts[present]] = _COOKIE_WITHOUT_RUNS
    words[starts[present] + 2] = containers[present] & 0xFFFF
    words[starts[present] + 3] = containers[present] >> 16

    first_row = np.cumsum(container_rows) - container_rows
    number = np.arange(len(container_rows)) - np.repeat(np.cumsum(containers) - containers, containers)
    at = np.repeat(starts + 4, containers) + 2 * number
    words[at] = (keys[first_row] >> 16) & 0xFFFF
    words[at + 1] = container_rows - 1
    at += np.repeat(2 * containers, containers)
    offsets = 2 * (np.repeat(head_words - (np.cumsum(rows) - rows), containers) + first_row)
    words[at] = offsets & 0xFFFF
    words[at + 1] = offsets >> 16

    words[np.arange(len(keys)) + np.repeat(np.cumsum(head_words), rows)] = keys & 0xFFFF
    return _Plain(words.view(np.uint8), 2 * (head_words + rows))
