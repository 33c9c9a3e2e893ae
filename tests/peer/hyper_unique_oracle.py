"""Druid's hyperUnique collector of a set of strings, the plain way: 2,048 registers in a list."""

import struct
from collections.abc import Iterable

import mmh3

REGISTERS = 2048
LARGEST = 15  # of a 4-bit register; what lies above goes to the one overflow register
SPARSE_BELOW = 128


def collector(values: Iterable[str]) -> bytes:
    """The stored form (version 1). For sets too small to fill every register, so the offset stays 0."""
    registers = [0] * REGISTERS
    overflow_value, overflow_register = 0, 0
    for value in sorted(values):
        digest = mmh3.hash_bytes(value, 0, True)
        register = int.from_bytes(digest[14:16], "big") % REGISTERS
        position = _position_of_first_one(digest[:8])
        if position > LARGEST:
            if position > overflow_value:
                overflow_value, overflow_register = position, register
        else:
            registers[register] = max(registers[register], position)
    filled = sum(1 for each in registers if each)
    assert filled < REGISTERS
    header = struct.pack(">bbhbh", 1, 0, filled, overflow_value, overflow_register)
    packed = bytes(registers[i] << 4 | registers[i + 1] for i in range(0, REGISTERS, 2))
    if filled >= SPARSE_BELOW:
        return header + packed
    entries = b"".join(struct.pack(">hB", 7 + i, byte) for i, byte in enumerate(packed) if byte)
    return header + entries.ljust(3 * filled, b"\0")


def _position_of_first_one(head: bytes) -> int:
    position = 0
    for byte in head:
        if byte:
            return position + (byte & -byte).bit_length()
        position += 8
    return position
