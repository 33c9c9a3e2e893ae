"""
A list of byte strings that can be entered anywhere. Druid: GenericIndexed, GenericIndexedWriter.

V1, in one piece:
    i8 1 | i8 allowReverseLookup | i32 bytes that follow | i32 n | i32[n] end offsets | values
V2, when a V1 would exceed 2 GiB:
    i8 2 | i8 allowReverseLookup | i32 log2(elements a value file) | i32 n | str base name
    `<base>_value_<k>` holds values, `<base>_header` their little-endian end offsets, restarting at every file

A value is an i32 marker (0: present, -1: null) and its payload; offsets count the markers.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peon.segment.cursor import Cursor
from peon.segment.errors import CorruptSegment, corrupt_unless_readable
from peon.segment.scratch import Piece, Scratch, Span, Stored
from peon.segment.smoosh import Smoosh
from peon.segment.string_order import StringArray
from peon.segment.workbench import Workbench

_PRESENT = b"\x00\x00\x00\x00"
_MARKER_BYTES = 4


class IndexedWriter:
    """Collects elements, then says how they lie in the segment."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._values: Scratch = bench.scratch()
        self._ends: list[NDArray[np.int64]] = []
        self._single_ends: list[int] = []

    @property
    def count(self) -> int:
        """How many elements there are."""
        return len(self._single_ends) + sum(len(ends) for ends in self._ends)

    def add(self, payload: bytes) -> None:
        """Append one element that is not null."""
        self._values.write(_PRESENT)
        self._values.write(payload)
        self._single_ends.append(self._values.size)

    def add_all(
        self, payloads: NDArray[np.uint8], sizes: NDArray[np.int64], nulls: NDArray[np.bool_] | None = None
    ) -> None:
        """
        Append many elements at once.

        payloads: the bytes of all elements end to end
        sizes:    int64[n], bytes of each; 0 where null
        nulls:    bool[n], or None when there are none
        """
        self._flush_single_ends()
        data, ends = interleave_markers(payloads, sizes, nulls)
        self._ends.append(ends + self._values.size)
        self._values.write(data.data)

    def element(self, index: int) -> bytes:
        """Read back the payload of an element."""
        self._flush_single_ends()
        ends = self._all_ends()
        start = (int(ends[index - 1]) if index else 0) + _MARKER_BYTES
        return self._values.read(start, int(ends[index]) - start)

    def finish(self, base_name: str, *, allow_reverse_lookup: bool = False) -> Stored:
        """
        The list as it lies in the segment: V1 when it fits, else V2 with internal files called after `base_name`.

        Raises nothing; a single element beyond the limit surfaces as `SegmentTooLarge` when its file is added.
        """
        self._flush_single_ends()
        ends = self._all_ends()
        head_bytes = 4 + 4 * len(ends)
        size = self._values.size
        if 6 + head_bytes + size <= self._bench.max_indexed_bytes:
            head = struct.pack(">bbii", 1, allow_reverse_lookup, head_bytes + size, len(ends))
            return Stored([head + ends.astype(">i4").tobytes(), Span(self._values, 0, size)], {})
        return self._finish_in_files(base_name, allow_reverse_lookup, ends)

    def _finish_in_files(self, base_name: str, allow_reverse_lookup: bool, ends: NDArray[np.int64]) -> Stored:
        power = _elements_a_file(ends, self._bench.max_indexed_bytes)
        files: dict[str, list[Piece]] = {}
        restarting = np.empty_like(ends)
        for number, first in enumerate(range(0, len(ends), 1 << power)):
            last = min(first + (1 << power), len(ends))
            start = int(ends[first - 1]) if first else 0
            restarting[first:last] = ends[first:last] - start
            files[f"{base_name}_value_{number}"] = [Span(self._values, start, int(ends[last - 1]))]
        # The header of V2 alone is little-endian. Druid: GenericIndexedWriter.writeLongValueOffsets
        files[f"{base_name}_header"] = [restarting.astype("<i4").tobytes()]
        name = base_name.encode()
        head = struct.pack(">bbiii", 2, allow_reverse_lookup, power, len(ends), len(name)) + name
        return Stored([head], files)

    def _flush_single_ends(self) -> None:
        if self._single_ends:
            self._ends.append(np.array(self._single_ends, dtype=np.int64))
            self._single_ends = []

    def _all_ends(self) -> NDArray[np.int64]:
        if len(self._ends) != 1:
            self._ends = [np.concatenate(self._ends) if self._ends else np.zeros(0, dtype=np.int64)]
        return self._ends[0]


def interleave_markers(
    payloads: NDArray[np.uint8], sizes: NDArray[np.int64], nulls: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Put a marker before each of n payloads: the bytes of the values area, and the end of each element in it."""
    ends = np.cumsum(sizes + _MARKER_BYTES)
    data = np.zeros(len(payloads) + _MARKER_BYTES * len(sizes), dtype=np.uint8)
    if not len(sizes):
        return data, ends
    is_payload = np.ones(len(data), dtype=np.bool_)
    starts = ends - sizes - _MARKER_BYTES
    for byte in range(_MARKER_BYTES):
        is_payload[starts + byte] = False
    data[is_payload] = payloads
    if nulls is not None:
        for byte in range(_MARKER_BYTES):
            data[starts[nulls] + byte] = 0xFF
    return data, ends


def indexed_strings(values: list[str | None]) -> bytes:
    """
    A short list of strings in one piece, as `index.drd` holds them.

    allowReverseLookup is what Druid's writer finds by comparing each entry with a predecessor that is not null.
    """
    ascending = all(
        left is None or (right is not None and left.encode("utf-16-be") < right.encode("utf-16-be"))
        for left, right in pairwise(values)
    )
    area = bytearray()
    ends: list[int] = []
    for value in values:
        area += b"\xff\xff\xff\xff" if value is None else _PRESENT + value.encode()
        ends.append(len(area))
    offsets = struct.pack(f">{len(ends)}i", *ends)
    return struct.pack(">bbii", 1, ascending, 4 + len(offsets) + len(area), len(values)) + offsets + bytes(area)


@dataclass(frozen=True, slots=True)
class IndexedBytes:
    """A list as a segment holds it: element i is `[starts[i], ends[i])` of value file `i >> power`."""

    file: str
    values: list[memoryview]
    power: int
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def read(cls, cursor: Cursor, smoosh: Smoosh) -> Self:
        """Read the list at the cursor. Raises `CorruptSegment`."""
        version = cursor.i8("the version of a GenericIndexed")
        cursor.i8("allowReverseLookup of a GenericIndexed")
        if version == 1:
            return cls._read_whole(cursor)
        if version == 2:
            return cls._read_in_files(cursor, smoosh)
        raise cursor.corrupt(f"a GenericIndexed of version 1 or 2, not {version},")

    @classmethod
    def _read_whole(cls, cursor: Cursor) -> Self:
        body = Cursor(cursor.file, cursor.take(cursor.count("the size of a GenericIndexed"), "a GenericIndexed"))
        count = body.count("the number of elements of a GenericIndexed")
        ends = np.frombuffer(body.take(4 * count, "the offsets of a GenericIndexed"), dtype=">i4").astype(np.int64)
        values = body.take(body.remaining, "values")
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]]) + _MARKER_BYTES if count else ends
        _check_offsets(cursor.file, starts, ends, len(values))
        return cls(cursor.file, [values], 31, starts, ends)

    @classmethod
    def _read_in_files(cls, cursor: Cursor, smoosh: Smoosh) -> Self:
        power = cursor.count("log2 of the elements of a value file")
        count = cursor.count("the number of elements of a GenericIndexed")
        base = cursor.text("the base name of a GenericIndexed")
        if not 0 <= power <= 30:
            raise cursor.corrupt("log2 of the elements of a value file, 0 to 30,")
        header = Cursor(f"{base}_header", smoosh.file(f"{base}_header"))
        ends = np.frombuffer(header.take(4 * count, "end offsets"), dtype="<i4").astype(np.int64)
        starts = np.zeros(count, dtype=np.int64)
        starts[1:] = ends[:-1]
        starts[:: 1 << power] = 0
        starts += _MARKER_BYTES
        values = [smoosh.file(f"{base}_value_{number}") for number in range(-(-count >> power) if count else 0)]
        for number, data in enumerate(values):
            here = slice(number << power, (number + 1) << power)
            _check_offsets(f"{base}_value_{number}", starts[here], ends[here], len(data))
        return cls(cursor.file, values, power, starts, ends)

    def __len__(self) -> int:
        return len(self.ends)

    def element(self, index: int) -> memoryview | None:
        """The payload of an element, not copied; None for a null."""
        values = self.values[index >> self.power]
        start, end = int(self.starts[index]), int(self.ends[index])
        if start == end and values[start - _MARKER_BYTES] == 0xFF:
            return None
        return values[start:end]

    def nulls(self) -> NDArray[np.bool_]:
        """bool[n], whether each element is null."""
        return np.concatenate([self._nulls(number) for number in range(len(self.values))] or [np.zeros(0, np.bool_)])

    def payloads(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The bytes of all elements end to end without markers, and int64[n] sizes."""
        parts: list[NDArray[np.uint8]] = []
        for number, values in enumerate(self.values):
            here = slice(number << self.power, (number + 1) << self.power)
            data = np.frombuffer(values, dtype=np.uint8)
            keep = np.ones(len(data), dtype=np.bool_)
            for byte in range(_MARKER_BYTES):
                keep[self.starts[here] - _MARKER_BYTES + byte] = False
            keep[int(self.ends[here][-1]) if len(self.ends[here]) else 0 :] = False
            parts.append(data[keep])
        return np.concatenate(parts or [np.zeros(0, np.uint8)]), self.ends - self.starts

    def binaries(self) -> pa.LargeBinaryArray:
        """All elements as an Arrow array."""
        data, sizes = self.payloads()
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)])
        nulls = self.nulls()
        valid = pa.py_buffer(np.packbits(~nulls, bitorder="little")) if nulls.any() else None
        return pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(sizes), [valid, pa.py_buffer(offsets), pa.py_buffer(data)]
        )

    def strings(self) -> StringArray:
        """All elements as UTF-8 strings: a plain string array when it fits into one. Raises `CorruptSegment`."""
        with corrupt_unless_readable(self.file, "strings in UTF-8"):
            return as_strings(self.binaries())

    def _nulls(self, number: int) -> NDArray[np.bool_]:
        here = slice(number << self.power, (number + 1) << self.power)
        starts, ends = self.starts[here], self.ends[here]
        data = np.frombuffer(self.values[number], dtype=np.uint8)
        nulls = starts == ends
        nulls[nulls] = data[starts[nulls] - _MARKER_BYTES] == 0xFF
        return nulls


def as_strings(values: pa.LargeBinaryArray) -> StringArray:
    """The values as strings, checked to be UTF-8; of 32-bit offsets when their bytes allow."""
    strings = values.cast(pa.large_string())
    total = values.buffers()[2].size if len(values) else 0
    return strings.cast(pa.string()) if total < 1 << 31 else strings


def _check_offsets(file: str, starts: NDArray[np.int64], ends: NDArray[np.int64], size: int) -> None:
    if len(ends) and (bool((ends < starts).any()) or int(ends[-1]) > size):
        raise CorruptSegment(file, f"ascending end offsets within {size} bytes of values")


def _elements_a_file(ends: NDArray[np.int64], limit: int) -> int:
    """The greatest p for which every run of 2^p elements fits into `limit` bytes; 0 when even one does not."""
    for power in range(30, 0, -1):
        lasts = np.append(np.arange((1 << power) - 1, len(ends) - 1, 1 << power), len(ends) - 1)
        sizes = np.diff(ends[lasts], prepend=0)
        if int(sizes.max()) <= limit:
            return power
    return 0
