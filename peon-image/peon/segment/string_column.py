"""
A string dimension: dictionary, ids of rows, bitmap index.

    i8 version | [i32 flags, from version 2 on] | dictionary | ids | [bitmaps]
    version 0: uncompressed, one value a row      1: uncompressed, lists      2: compressed      3: uncompressed, flags
Druid: DictionaryEncodedColumnPartSerde.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peon.segment.bitmap import bitmaps_by_id
from peon.segment.columns import StringColumn, StringIds, StringLists
from peon.segment.compression import Compression
from peon.segment.cursor import Cursor
from peon.segment.errors import InvalidColumn, UnsupportedFormat
from peon.segment.front_coded import MARKER, front_coded, read_front_coded
from peon.segment.generic_indexed import IndexedBytes, IndexedWriter
from peon.segment.ids import (
    CompressedIds,
    CompressedOffsets,
    Ids,
    PlainIds,
    read_compressed_ids,
    read_compressed_ints,
    read_plain_ids,
    read_plain_lists,
)
from peon.segment.scratch import Stored
from peon.segment.smoosh import Smoosh
from peon.segment.string_order import StringArray, string_bytes, string_offsets
from peon.segment.workbench import Workbench

_MULTI_VALUE = 1  # Druid: Feature.MULTI_VALUE, lists in the form of before V3
_MULTI_VALUE_V3 = 2
_NO_BITMAP_INDEX = 4


class StringWriter:
    """Writes one string column that has some value."""

    def __init__(self, bench: Workbench, column: StringColumn) -> None:
        self._bench = bench
        self._column = column
        self._compressed = bench.index_spec.dimension_compression is not Compression.UNCOMPRESSED
        self._ids = (CompressedIds if self._compressed else PlainIds)(bench, len(column.dictionary))
        self._offsets = CompressedOffsets(bench) if self._compressed and column.multi_value else None
        self._lengths: list[NDArray[np.int64]] = []

    def append(self, values: StringIds | StringLists) -> None:
        """Append rows. Raises `InvalidColumn` for an id beyond the dictionary and lists in a single-value column."""
        ids = values.ids
        lengths: NDArray[np.int64] | None = None
        if isinstance(values, StringLists):
            lengths = np.diff(values.offsets)
            ids = ids[int(values.offsets[0]) : int(values.offsets[-1])]
            if not self._column.multi_value:
                raise InvalidColumn(self._column.name, "lists of values in a column of single values")
            if not lengths.all() and not self._column.dictionary.null_count:
                raise InvalidColumn(self._column.name, "a row without values needs null in the dictionary")
        elif self._column.multi_value:
            lengths = np.ones(len(ids), dtype=np.int64)
        if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < len(self._column.dictionary)):
            raise InvalidColumn(self._column.name, "a row refers to a value beyond the dictionary")
        self._ids.write(ids)
        if lengths is None:
            return
        if self._offsets is not None:
            self._offsets.write(lengths)
        else:
            self._lengths.append(lengths)

    def finish(self) -> Stored:
        """The column's body."""
        name = self._column.name
        flags = (_MULTI_VALUE_V3 if self._column.multi_value else 0) | (
            0 if self._column.bitmap_index else _NO_BITMAP_INDEX
        )
        if self._compressed:
            head = struct.pack(">bi", 2, flags)
        elif self._column.bitmap_index:
            head = bytes([1 if self._column.multi_value else 0])
        else:
            # Uncompressed lists are the form that flag 1 means; V3 is always compressed.
            head = struct.pack(">bi", 3, (_MULTI_VALUE if self._column.multi_value else 0) | _NO_BITMAP_INDEX)
        bitmaps = self._bitmaps() if self._column.bitmap_index else b""
        return Stored.join(head, self._dictionary(), self._values(name), bitmaps)

    def _dictionary(self) -> Stored | bytes:
        dictionary = self._column.dictionary
        if self._bench.index_spec.front_coded is not None:
            return front_coded(dictionary, self._bench.index_spec.front_coded)
        writer = IndexedWriter(self._bench)
        nulls = np.zeros(len(dictionary), dtype=np.bool_)
        nulls[: dictionary.null_count] = True
        writer.add_all(string_bytes(dictionary), np.diff(string_offsets(dictionary)), nulls)
        return writer.finish(f"{self._column.name}.dim_values", allow_reverse_lookup=True)

    def _values(self, name: str) -> Stored:
        if self._offsets is not None:
            offsets = self._offsets.finish(f"{name}.forward_dim.offsets")
            return Stored.join(b"\x03", offsets, self._ids.finish(f"{name}.forward_dim.values"))
        if self._column.multi_value and isinstance(self._ids, PlainIds):
            return self._ids.finish_lists(np.cumsum(self._all_lengths()))
        return self._ids.finish(f"{name}.forward_dim")

    def _bitmaps(self) -> Stored:
        cardinality = len(self._column.dictionary)
        lengths = self._all_lengths() if self._column.multi_value else None
        payloads, sizes = bitmaps_by_id(_row_keys(self._ids.all(), self._ids.count, lengths), cardinality)
        writer = IndexedWriter(self._bench)
        writer.add_all(payloads, sizes)
        return writer.finish(f"{self._column.name}.inverted")

    def _all_lengths(self) -> NDArray[np.int64]:
        if self._offsets is not None:
            return self._offsets.lengths()
        return np.concatenate(self._lengths) if self._lengths else np.zeros(0, dtype=np.int64)


def _row_keys(runs: Iterator[Ids], count: int, lengths: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """
    `id << 32 | row` of all rows, ascending and distinct.

    lengths: int64[rows] of lists of values, an empty list counting as null (id 0); None when rows have one value each
    """
    keys = np.empty(count, dtype=np.int64)
    at = 0
    for run in runs:
        keys[at : at + len(run)] = run
        at += len(run)
    keys <<= 32
    if lengths is None:
        keys |= np.arange(count, dtype=np.int64)
        keys.sort()
        return keys
    keys |= np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    keys = np.concatenate([keys, np.flatnonzero(lengths == 0).astype(np.int64)])
    # Sorted here: np.unique hashes, which takes twenty times as long.
    keys.sort()
    distinct = np.ones(len(keys), dtype=np.bool_)
    distinct[1:] = keys[1:] != keys[:-1]
    return keys[distinct]


@dataclass(frozen=True, slots=True)
class StringData:
    """A string column as read: its dictionary, its rows, and the bitmaps when it has an index."""

    dictionary: StringArray
    values: StringIds | StringLists
    bitmaps: IndexedBytes | None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.values.ids) if isinstance(self.values, StringIds) else len(self.values.offsets) - 1


def read_dictionary(cursor: Cursor, smoosh: Smoosh) -> StringArray:
    """The dictionary at the cursor, plain or front coded. Raises `CorruptSegment`."""
    if cursor.remaining and cursor.data[cursor.position] == MARKER:
        return read_front_coded(cursor)
    return IndexedBytes.read(cursor, smoosh).strings()


def read_string_column(cursor: Cursor, smoosh: Smoosh) -> StringData:
    """Read a string column's body. Raises `CorruptSegment`."""
    version = cursor.i8("the version of a string column")
    if version > 3:
        raise cursor.corrupt(f"a string column of version 0 to 3, not {version},")
    flags = cursor.i32("the flags of a string column") if version >= 2 else version
    if flags & ~(_MULTI_VALUE | _MULTI_VALUE_V3 | _NO_BITMAP_INDEX):
        raise cursor.corrupt(f"known flags of a string column, not {flags:#x},")
    dictionary = read_dictionary(cursor, smoosh)
    values = _read_values(cursor, smoosh, compressed=version == 2, flags=flags)
    if len(values.ids) and not (int(values.ids.min()) >= 0 and int(values.ids.max()) < len(dictionary)):
        raise cursor.corrupt(f"ids of a dictionary of {len(dictionary)} values")
    bitmaps = None
    if not flags & _NO_BITMAP_INDEX:
        bitmaps = IndexedBytes.read(cursor, smoosh)
        if len(bitmaps) != len(dictionary):
            raise cursor.corrupt(f"{len(dictionary)} bitmaps, not {len(bitmaps)},")
    return StringData(dictionary, values, bitmaps)


def decode(dictionary: StringArray, values: StringIds | StringLists) -> pa.Array:
    """The rows as strings, or as lists of strings; of 64-bit offsets when their bytes need it."""
    sizes = np.diff(string_offsets(dictionary))
    if int(sizes[values.ids].sum()) >= 1 << 31:
        dictionary = dictionary.cast(pa.large_string())
    strings = dictionary.take(pa.array(values.ids))
    if isinstance(values, StringIds):
        return strings
    return pa.LargeListArray.from_arrays(pa.array(values.offsets), strings)


def _read_values(cursor: Cursor, smoosh: Smoosh, *, compressed: bool, flags: int) -> StringIds | StringLists:
    if not flags & (_MULTI_VALUE | _MULTI_VALUE_V3):
        return StringIds(read_compressed_ids(cursor, smoosh) if compressed else read_plain_ids(cursor))
    if not compressed:
        return StringLists(*read_plain_lists(cursor))
    if flags & _MULTI_VALUE:
        raise UnsupportedFormat(f"[{cursor.file}] holds lists in the form of before Druid's V3")
    if (version := cursor.i8("the version of compressed lists")) != 3:
        raise cursor.corrupt(f"compressed lists of version 3, not {version},")
    offsets = read_compressed_ints(cursor, smoosh)
    ids = read_compressed_ids(cursor, smoosh)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(ids) or (np.diff(offsets) < 0).any():
        raise cursor.corrupt(f"ascending offsets from 0 to {len(ids)}")
    return StringLists(offsets, ids)
