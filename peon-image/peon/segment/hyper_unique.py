"""
hyperUnique: counts distinct values in 2048 registers of four bits, for many collectors at once.

A value's hash picks a register and a position (of the lowest set bit, 1 to 64); a register keeps the greatest position
less the collector's offset. Positions more than 15 above the offset do not fit: the greatest of them stands apart, as
the overflow. Once all registers are taken the offset rises by one. Druid: HyperLogLogCollector.

Collectors seldom fill up, so registers are kept as lists of those that are not zero and folded by sorting. The few
collectors that do fill up depend on the order of their values; `_Filling` adds to those in order.
"""

from dataclasses import dataclass

import mmh3
import numpy as np
from numpy.typing import NDArray

from peon.segment.string_order import StringArray

REGISTERS = 2048
RANGE = 15
"""The greatest value of a register."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What values leave in a collector: uint16[n] registers, uint8[n] positions; position 0 leaves nothing."""

    registers: NDArray[np.uint16]
    positions: NDArray[np.uint8]

    def take(self, indexes: NDArray[np.int32] | NDArray[np.int64]) -> "Marks":
        """The marks at `indexes`: from the marks of a dictionary to those of rows."""
        return Marks(self.registers[indexes], self.positions[indexes])


@dataclass(frozen=True, slots=True)
class Collectors:
    """
    k collectors; collector i has the registers `[starts[i], starts[i + 1])`.

    offsets, overflow_values: uint8[k]; overflow_registers: uint16[k]
    starts:    int64[k + 1]
    registers: uint16[m], ascending in each collector
    values:    uint8[m], 1 to 15, above the collector's offset
    """

    offsets: NDArray[np.uint8]
    overflow_values: NDArray[np.uint8]
    overflow_registers: NDArray[np.uint16]
    starts: NDArray[np.int64]
    registers: NDArray[np.uint16]
    values: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets)


def marks_of(values: StringArray) -> Marks:
    """
    Hash strings, best the distinct ones; a null leaves no mark.

    Guava's murmur3_128 of the UTF-8, seed 0: the register is in the last two bytes, the position counts the zero bits
    from the lowest bit of the first eight.
    """
    digests = b"".join(
        bytes(16) if text is None else mmh3.mmh3_x64_128_digest(text.encode()) for text in values.to_pylist()
    )
    halves = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
    low = halves[:, 0]
    registers = np.frombuffer(digests, dtype=">u2").reshape(-1, 8)[:, 7] & (REGISTERS - 1)
    # The bits below the lowest set bit, counted; of zero there are 64, and Druid then adds no one.
    zeros = np.bitwise_count((low & (~low + np.uint64(1))) - np.uint64(1))
    positions = np.where(low == 0, 64, zeros + 1).astype(np.uint8)
    if values.null_count:
        positions[values.is_null().to_numpy(zero_copy_only=False)] = 0
    return Marks(registers.astype(np.uint16), positions)


def collect(groups: NDArray[np.int64], marks: Marks, count: int) -> Collectors:
    """
    Add each mark to the collector of its group.

    groups: int64[n], ascending, below `count`; marks of a group in the order of the rows
    """
    fits = (marks.positions > 0) & (marks.positions <= RANGE)
    collectors = _greatest(groups[fits], marks.registers[fits], marks.positions[fits], count)
    for at in np.flatnonzero(marks.positions > RANGE).tolist():
        _overflow(collectors, int(groups[at]), int(marks.registers[at]), int(marks.positions[at]))
    full = np.flatnonzero(np.diff(collectors.starts) == REGISTERS)
    if not len(full):
        return collectors
    refilled: dict[int, _Filling] = {}
    for group in full.tolist():
        rows = slice(int(np.searchsorted(groups, group)), int(np.searchsorted(groups, group, side="right")))
        refilled[group] = filling = _Filling()
        filling.add_all(marks.registers[rows].astype(np.int64), marks.positions[rows].astype(np.int64))
    return _replaced(collectors, refilled)


def merge(collectors: Collectors, groups: NDArray[np.int64], count: int) -> Collectors:
    """
    Fold collectors into one a group, in their order.

    groups: int64[len(collectors)], ascending, below `count`
    """
    of_register = np.repeat(groups, np.diff(collectors.starts))
    merged = _greatest(of_register, collectors.registers, collectors.values, count)
    for at in np.flatnonzero(collectors.overflow_values).tolist():
        group, register = int(groups[at]), int(collectors.overflow_registers[at])
        _overflow(merged, group, register, int(collectors.overflow_values[at]))
    # Where offsets differ or a collector fills up, values shift and the order counts.
    full = np.diff(merged.starts) == REGISTERS
    full[groups[collectors.offsets > 0]] = True
    refilled: dict[int, _Filling] = {}
    for group in np.flatnonzero(full).tolist():
        refilled[group] = filling = _Filling()
        for at in range(int(np.searchsorted(groups, group)), int(np.searchsorted(groups, group, side="right"))):
            filling.fold(_Filling.of(collectors, at))
    return _replaced(merged, refilled) if refilled else merged


def estimate(collectors: Collectors) -> NDArray[np.float64]:
    """float64[k], about how many distinct values each collector has seen."""
    alpha = 0.7213 / (1 + 1.079 / REGISTERS)
    of_register = np.repeat(np.arange(len(collectors)), np.diff(collectors.starts))
    counted = np.bincount(of_register, minlength=len(collectors))
    heights = collectors.values.astype(np.int64) + collectors.offsets[of_register]
    floor = np.exp2(-collectors.offsets.astype(np.float64))
    harmonic = (REGISTERS - counted) * floor
    harmonic += np.bincount(of_register, weights=np.exp2(-heights.astype(np.float64)), minlength=len(collectors))
    for at in np.flatnonzero(collectors.overflow_values).tolist():
        here = slice(int(collectors.starts[at]), int(collectors.starts[at + 1]))
        held = here.start + int(np.searchsorted(collectors.registers[here], collectors.overflow_registers[at]))
        known = held < here.stop and collectors.registers[held] == collectors.overflow_registers[at]
        height = int(heights[held]) if known else int(collectors.offsets[at])
        if (overflow := int(collectors.overflow_values[at])) > height:
            harmonic[at] += 2.0**-overflow - 2.0**-height
    raw = alpha * REGISTERS * REGISTERS / harmonic
    # Registers of zero above the offset are counted as untouched. Druid: HyperLogLogCollector.applyCorrection
    zeros = REGISTERS - counted
    few = (raw <= 2.5 * REGISTERS) & (zeros > 0)
    return np.where(few, REGISTERS * np.log(REGISTERS / np.maximum(zeros, 1)), raw)


def empty(count: int) -> Collectors:
    """Collectors that have seen nothing."""
    return Collectors(
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint16),
        np.zeros(count + 1, np.int64),
        np.zeros(0, np.uint16),
        np.zeros(0, np.uint8),
    )


def take(collectors: Collectors, indexes: NDArray[np.int64]) -> Collectors:
    """The collectors at `indexes`."""
    sizes = np.diff(collectors.starts)[indexes]
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    at = np.arange(int(starts[-1])) + np.repeat(collectors.starts[indexes] - starts[:-1], sizes)
    return Collectors(
        collectors.offsets[indexes],
        collectors.overflow_values[indexes],
        collectors.overflow_registers[indexes],
        starts,
        collectors.registers[at],
        collectors.values[at],
    )


def concatenate(parts: list[Collectors]) -> Collectors:
    """The collectors of all parts, one after the other."""
    if not parts:
        return empty(0)
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    return Collectors(
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.overflow_values for part in parts]),
        np.concatenate([part.overflow_registers for part in parts]),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        np.concatenate([part.registers for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _greatest(
    groups: NDArray[np.int64], registers: NDArray[np.uint16], values: NDArray[np.uint8], count: int
) -> Collectors:
    """The greatest value of each register of each group."""
    keys = (groups << 15) | (registers.astype(np.int64) << 4) | values
    keys.sort()
    last = np.ones(len(keys), dtype=np.bool_)
    last[:-1] = (keys[1:] >> 4) != (keys[:-1] >> 4)
    keys = keys[last]
    return Collectors(
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint8),
        np.zeros(count, np.uint16),
        np.searchsorted(keys, np.arange(count + 1, dtype=np.int64) << 15).astype(np.int64),
        ((keys >> 4) & (REGISTERS - 1)).astype(np.uint16),
        (keys & 0xF).astype(np.uint8),
    )


def _overflow(collectors: Collectors, group: int, register: int, position: int) -> None:
    """Note a position beyond the range of a collector of offset 0: the first of the greatest stays."""
    if position > collectors.overflow_values[group]:
        collectors.overflow_values[group] = position
        collectors.overflow_registers[group] = register


def _replaced(collectors: Collectors, refilled: "dict[int, _Filling]") -> Collectors:
    """The collectors with some put in the place of others."""
    parts: list[Collectors] = []
    at = 0
    for group, filling in refilled.items():
        parts += [take(collectors, np.arange(at, group)), filling.done()]
        at = group + 1
    return concatenate([*parts, take(collectors, np.arange(at, len(collectors)))])


class _Filling:
    """One collector with all its registers at hand, for those that fill up."""

    def __init__(self) -> None:
        self.registers = np.zeros(REGISTERS, dtype=np.int64)
        self.offset = 0
        self.overflow_value = 0
        self.overflow_register = 0

    @classmethod
    def of(cls, collectors: Collectors, at: int) -> "_Filling":
        self = cls()
        here = slice(int(collectors.starts[at]), int(collectors.starts[at + 1]))
        self.registers[collectors.registers[here]] = collectors.values[here]
        self.offset = int(collectors.offsets[at])
        self.overflow_value = int(collectors.overflow_values[at])
        self.overflow_register = int(collectors.overflow_registers[at])
        return self

    def done(self) -> Collectors:
        taken = np.flatnonzero(self.registers)
        return Collectors(
            np.array([self.offset], np.uint8),
            np.array([self.overflow_value], np.uint8),
            np.array([self.overflow_register], np.uint16),
            np.array([0, len(taken)], np.int64),
            taken.astype(np.uint16),
            self.registers[taken].astype(np.uint8),
        )

    def add(self, register: int, position: int) -> None:
        if position <= self.offset:
            return
        if position > self.offset + RANGE:
            if position > self.overflow_value:
                if self.overflow_value <= self.offset + RANGE:
                    # What overflowed once may fit since the offset has risen.
                    self.add(self.overflow_register, self.overflow_value)
                self.overflow_value = position
                self.overflow_register = register
            return
        self.registers[register] = max(int(self.registers[register]), position - self.offset)
        self._rise_if_full()

    def add_all(self, registers: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        """Add in order. Positions that may overflow are rare and added singly, those between them at once."""
        start = 0
        for rare in [*np.flatnonzero(positions > RANGE).tolist(), len(positions)]:
            self._add_run(registers[start:rare], positions[start:rare])
            if rare < len(positions):
                self.add(int(registers[rare]), int(positions[rare]))
            start = rare + 1

    def fold(self, other: "_Filling") -> None:
        if self.offset < other.offset:
            self.registers, other.registers = other.registers, self.registers
            self.offset, other.offset = other.offset, self.offset
            self.overflow_value, other.overflow_value = other.overflow_value, self.overflow_value
            self.overflow_register, other.overflow_register = other.overflow_register, self.overflow_register
        self.registers = np.maximum(self.registers, other.registers - (self.offset - other.offset))
        self._rise_if_full()
        self.add(other.overflow_register, other.overflow_value)

    def _add_run(self, registers: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        """Add positions that cannot overflow: up to the one that fills the collector, then on above the new offset."""
        while len(positions):
            counts = np.flatnonzero(positions > self.offset)
            registers, positions = registers[counts], positions[counts]
            first_of_register = np.unique(registers, return_index=True)
            fresh = self.registers[first_of_register[0]] == 0
            filling = first_of_register[1][fresh]
            fills = len(filling) == REGISTERS - np.count_nonzero(self.registers)
            if not len(positions):
                return
            # A collector that is full already rises with the next value that counts.
            end = len(positions) if not fills else (int(filling.max()) if len(filling) else 0) + 1
            np.maximum.at(self.registers, registers[:end], positions[:end] - self.offset)
            self._rise_if_full()
            registers, positions = registers[end:], positions[end:]

    def _rise_if_full(self) -> None:
        if np.count_nonzero(self.registers) == REGISTERS:
            self.offset += 1
            self.registers -= 1
