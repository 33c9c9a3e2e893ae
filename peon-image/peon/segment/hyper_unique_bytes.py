"""
The stored form of hyperUnique collectors, many at once. Druid: VersionOneHyperLogLogCollector.

    i8 1 | i8 offset | i16 registers taken | i8 overflow value | i16 overflow register, then
    dense (128 registers taken or more): 1024 bytes of two registers each, the even one in the high bits
    sparse: `i16 7 + byte index | i8 byte` for each byte that is not zero, then zeros up to three bytes a register
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from peon.segment.errors import CorruptSegment
from peon.segment.hyper_unique import RANGE, REGISTERS, Collectors
from peon.segment.string_order import string_bytes, string_offsets

_HEADER = 7
_DENSE_BYTES = REGISTERS // 2
_DENSE_FROM = 128


def to_bytes(collectors: Collectors) -> pa.LargeBinaryArray:
    """One value a collector; an empty collector is its header alone."""
    taken = np.diff(collectors.starts)
    dense = taken >= _DENSE_FROM
    sizes = _HEADER + np.where(dense, _DENSE_BYTES, 3 * taken)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    starts = offsets[:-1]
    out = np.zeros(int(offsets[-1]), dtype=np.uint8)
    out[starts] = 1
    out[starts + 1] = collectors.offsets
    out[starts + 2] = taken >> 8
    out[starts + 3] = taken & 0xFF
    out[starts + 4] = collectors.overflow_values
    out[starts + 5] = collectors.overflow_registers >> 8
    out[starts + 6] = collectors.overflow_registers & 0xFF

    of_register = np.repeat(np.arange(len(collectors)), taken)
    # Two registers share a byte; they stand next to each other when both are taken.
    byte_keys = of_register * _DENSE_BYTES + (collectors.registers >> 1)
    nibbles = np.where(collectors.registers & 1, collectors.values, collectors.values << 4)
    first = np.flatnonzero(np.diff(byte_keys, prepend=-1))
    byte_keys, data = byte_keys[first], (np.add.reduceat(nibbles, first) if len(first) else nibbles)
    owner, index = byte_keys // _DENSE_BYTES, byte_keys % _DENSE_BYTES
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    in_dense = dense[owner]
    at = starts[owner] + _HEADER
    out[at[in_dense] + index[in_dense]] = data[in_dense]
    # A sparse entry counts the header into its position.
    entries, positions = at[~in_dense] + 3 * rank[~in_dense], index[~in_dense] + _HEADER
    out[entries] = positions >> 8
    out[entries + 1] = positions & 0xFF
    out[entries + 2] = data[~in_dense]
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(collectors), [None, pa.py_buffer(offsets), pa.py_buffer(out)]
    )


def from_bytes(values: pa.BinaryArray | pa.LargeBinaryArray, source: str = "hyperUnique") -> Collectors:
    """
    The collectors of stored values; a null and a value of no bytes are empty ones.

    Raises `CorruptSegment`, naming `source`, for bytes that are no collector.
    """
    sizes = np.diff(string_offsets(values))
    data = string_bytes(values)
    if values.null_count:
        nulls = values.is_null().to_numpy(zero_copy_only=False)
        data, sizes = data[np.repeat(~nulls, sizes)], np.where(nulls, 0, sizes)
    starts = np.cumsum(sizes) - sizes
    filled = np.flatnonzero(sizes)
    heads = starts[filled]
    if (sizes[filled] < _HEADER).any() or (data[heads] != 1).any():
        raise CorruptSegment(source, "collectors of version 1 with a header of 7 bytes")
    offsets = np.zeros(len(sizes), np.uint8)
    overflow_values = np.zeros(len(sizes), np.uint8)
    overflow_registers = np.zeros(len(sizes), np.uint16)
    offsets[filled] = data[heads + 1]
    overflow_values[filled] = data[heads + 4]
    overflow_registers[filled] = data[heads + 5].astype(np.uint16) << 8 | data[heads + 6]
    dense = sizes == _HEADER + _DENSE_BYTES
    bodies = [_dense_bytes(data, starts, np.flatnonzero(dense))]
    bodies.append(_sparse_bytes(data, starts, sizes, np.flatnonzero(~dense & (sizes > 0)), source))
    owner, index, byte = (np.concatenate(parts) for parts in zip(*bodies, strict=True))
    high, low = byte >> 4, byte & RANGE
    keys = np.concatenate([owner * REGISTERS + 2 * index, owner * REGISTERS + 2 * index + 1])
    nibbles = np.concatenate([high, low])
    keys, nibbles = keys[nibbles > 0], nibbles[nibbles > 0]
    order = np.argsort(keys)
    keys = keys[order]
    if (overflow_registers >= REGISTERS).any() or (keys[1:] == keys[:-1]).any():
        raise CorruptSegment(source, f"distinct registers below {REGISTERS}")
    return Collectors(
        offsets,
        overflow_values,
        overflow_registers,
        np.searchsorted(keys, np.arange(len(sizes) + 1, dtype=np.int64) * REGISTERS).astype(np.int64),
        (keys % REGISTERS).astype(np.uint16),
        nibbles[order].astype(np.uint8),
    )


_Bytes = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]
"""Collector, byte index and byte of registers that may be taken."""


def _dense_bytes(data: NDArray[np.uint8], starts: NDArray[np.int64], at: NDArray[np.int64]) -> _Bytes:
    index = np.tile(np.arange(_DENSE_BYTES, dtype=np.int64), len(at))
    owner = np.repeat(at, _DENSE_BYTES)
    return owner, index, data[starts[owner] + _HEADER + index]


def _sparse_bytes(
    data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: NDArray[np.int64], at: NDArray[np.int64], source: str
) -> _Bytes:
    entries = (sizes[at] - _HEADER) // 3
    if (entries * 3 + _HEADER != sizes[at]).any():
        raise CorruptSegment(source, "sparse collectors of entries of 3 bytes")
    owner = np.repeat(at, entries)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(entries) - entries, entries)
    here = starts[owner] + _HEADER + 3 * rank
    byte = data[here + 2]
    taken = byte > 0  # the rest is padding
    owner, here, byte = owner[taken], here[taken], byte[taken]
    index = (data[here].astype(np.int64) << 8 | data[here + 1]) - _HEADER
    if ((index < 0) | (index >= _DENSE_BYTES)).any():
        raise CorruptSegment(source, f"registers below {REGISTERS}")
    return owner, index, byte
