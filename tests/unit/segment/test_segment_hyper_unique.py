"""hyperUnique collectors, folded in columns, against a plain twin that adds one value at a time as Druid does."""

import struct
from dataclasses import dataclass, field

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from peon.segment.errors import CorruptSegment
from peon.segment.hyper_unique import Collectors, Marks, collect, concatenate, empty, estimate, marks_of, merge, take
from peon.segment.hyper_unique_bytes import from_bytes, to_bytes


@dataclass
class Twin:
    """One collector, in so many words."""

    registers: list[int] = field(default_factory=lambda: [0] * 2048)
    offset: int = 0
    overflow_value: int = 0
    overflow_register: int = 0

    def add(self, register: int, position: int) -> None:
        if position <= self.offset:
            return
        if position > self.offset + 15:
            if position > self.overflow_value:
                if self.overflow_value <= self.offset + 15:
                    self.add(self.overflow_register, self.overflow_value)
                self.overflow_value, self.overflow_register = position, register
            return
        self.registers[register] = max(self.registers[register], position - self.offset)
        self.rise()

    def rise(self) -> None:
        if all(self.registers):
            self.offset += 1
            self.registers = [value - 1 for value in self.registers]

    def fold(self, other: "Twin") -> "Twin":
        high, low = (self, other) if self.offset >= other.offset else (other, self)
        shift = high.offset - low.offset
        folded = Twin(
            [max(one, another - shift) for one, another in zip(high.registers, low.registers, strict=True)],
            high.offset,
            high.overflow_value,
            high.overflow_register,
        )
        folded.rise()
        folded.add(low.overflow_register, low.overflow_value)
        return folded

    def stored(self) -> bytes:
        taken = sum(value > 0 for value in self.registers)
        head = struct.pack(">bbhbh", 1, self.offset, taken, self.overflow_value, self.overflow_register)
        pairs = zip(self.registers[::2], self.registers[1::2], strict=True)
        body = [high << 4 | low for high, low in pairs]
        if taken >= 128:
            return head + bytes(body)
        entries = b"".join(struct.pack(">hB", 7 + index, byte) for index, byte in enumerate(body) if byte)
        return head + entries.ljust(3 * taken, b"\0")


def twins(groups: NDArray[np.int64], marks: Marks, count: int) -> list[Twin]:
    made = [Twin() for _ in range(count)]
    for group, register, position in zip(
        groups.tolist(), marks.registers.tolist(), marks.positions.tolist(), strict=True
    ):
        made[group].add(register, position)
    return made


def stored(made: list[Twin]) -> list[bytes]:
    return [twin.stored() for twin in made]


def random_marks(seed: int, count: int, *, bits: float = 0.5) -> Marks:
    rng = np.random.default_rng(seed)
    positions = np.minimum(rng.geometric(bits, count), 64).astype(np.uint8)
    return Marks(rng.integers(0, 2048, count).astype(np.uint16), positions)


def test_a_hash_marks_the_register_and_the_position_that_druid_reads() -> None:
    for text in ("", "a", "user7", "Côte d'Ivoire", "\U0001f600", *(f"value{number}" for number in range(500))):
        digest = mmh3.mmh3_x64_128_digest(text.encode())
        position = 0
        for byte in digest[:8]:
            if byte:
                position += 1 + (byte & -byte).bit_length() - 1
                break
            position += 8
        marks = marks_of(pa.array([text]))
        assert marks.registers.tolist() == [int.from_bytes(digest[14:], "big") & 0x7FF]
        assert marks.positions.tolist() == [position]


def test_a_null_leaves_an_empty_collector_of_seven_bytes() -> None:
    marks = marks_of(pa.array([None], pa.string()))
    collectors = collect(np.zeros(1, dtype=np.int64), marks, 2)
    assert to_bytes(collectors).to_pylist() == [bytes([1, 0, 0, 0, 0, 0, 0])] * 2
    assert estimate(collectors).tolist() == [0, 0]


marks_lists = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 2047) | st.integers(0, 5), st.integers(0, 64)), max_size=60
)


@settings(deadline=None)
@given(added=marks_lists)
def test_folding_rows_by_group_is_adding_them_one_by_one(added: list[tuple[int, int, int]]) -> None:
    added.sort(key=lambda mark: mark[0])
    groups = np.array([mark[0] for mark in added], dtype=np.int64)
    marks = Marks(
        np.array([mark[1] for mark in added], dtype=np.uint16), np.array([mark[2] for mark in added], dtype=np.uint8)
    )
    assert to_bytes(collect(groups, marks, 5)).to_pylist() == stored(twins(groups, marks, 5))


@pytest.mark.parametrize("count", [127, 140, 2000, 60_000, 150_000])
@pytest.mark.parametrize("bits", [0.5, 0.12])
def test_a_collector_that_grows_dense_and_fills_up_is_the_one_that_druid_fills(count: int, bits: float) -> None:
    # Of geometric(0.12) one in seven positions is beyond 15: overflows meet every offset.
    marks = random_marks(count, count, bits=bits)
    groups = np.sort(np.random.default_rng(1).integers(0, 3, count)).astype(np.int64)
    groups[groups == 2] = 1
    expected = twins(groups, marks, 3)
    collectors = collect(groups, marks, 3)
    assert to_bytes(collectors).to_pylist() == stored(expected)
    if count >= 60_000:
        assert expected[1].offset > 0


@pytest.mark.parametrize("sizes", [(1, 1), (5, 300), (40_000, 10), (10, 40_000), (30_000, 90_000), (9_000, 9_000)])
def test_merging_collectors_is_folding_them_in_order(sizes: tuple[int, int]) -> None:
    parts: list[Collectors] = []
    folded = Twin()
    for seed, size in enumerate((*sizes, 3)):
        marks = random_marks(seed, size, bits=0.3)
        groups = np.zeros(size, dtype=np.int64)
        parts.append(collect(groups, marks, 1))
        folded = folded.fold(twins(groups, marks, 1)[0])
    everything = concatenate([*parts, empty(1)])
    merged = merge(everything, np.array([1, 1, 1, 2]), 3)
    assert to_bytes(merged).to_pylist() == [Twin().stored(), folded.stored(), Twin().stored()]


@settings(deadline=None)
@given(added=marks_lists, split=st.integers(0, 60))
def test_small_collectors_merge_into_the_collector_of_all_rows(added: list[tuple[int, int, int]], split: int) -> None:
    registers = np.array([mark[1] for mark in added], dtype=np.uint16)
    positions = np.array([mark[2] for mark in added], dtype=np.uint8)
    whole = collect(np.zeros(len(added), dtype=np.int64), Marks(registers, positions), 1)
    halves = [
        collect(np.zeros(len(part), dtype=np.int64), Marks(registers[part], positions[part]), 1)
        for part in np.split(np.arange(len(added)), [min(split, len(added))])
    ]
    assert to_bytes(merge(concatenate(halves), np.zeros(2, dtype=np.int64), 1)).equals(to_bytes(whole))


@settings(deadline=None)
@given(added=marks_lists)
def test_what_is_stored_is_read_again(added: list[tuple[int, int, int]]) -> None:
    added.sort(key=lambda mark: mark[0])
    groups = np.array([mark[0] for mark in added], dtype=np.int64)
    marks = Marks(
        np.array([mark[1] for mark in added], dtype=np.uint16), np.array([mark[2] for mark in added], dtype=np.uint8)
    )
    big = collect(np.zeros(50_000, dtype=np.int64), random_marks(3, 50_000), 1)
    values = to_bytes(concatenate([collect(groups, marks, 5), big]))
    assert to_bytes(from_bytes(values)).equals(values)
    with_nulls = pa.array([None, *values.to_pylist(), None], pa.large_binary())
    again = to_bytes(take(from_bytes(with_nulls), np.arange(1, 7)))
    assert again.equals(values)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x01\x00",  # shorter than a header
        b"\x02" + bytes(6),  # another version
        b"\x01" + bytes(7),  # half an entry
        bytes([1, 0, 0, 1, 0, 0, 0, 0, 3, 0x10]),  # a position inside the header
        bytes([1, 0, 0, 1, 0, 0, 0, 4, 7, 0x10]),  # a position beyond the registers
        bytes([1, 0, 0, 2, 0, 0, 0, 0, 7, 0x10, 0, 7, 0x10]),  # a register twice
        bytes([1, 0, 0, 0, 17, 8, 0]),  # an overflow beyond the registers
    ],
)
def test_bytes_that_are_no_collector_are_refused(raw: bytes) -> None:
    with pytest.raises(CorruptSegment, match="uu"):
        from_bytes(pa.array([raw], pa.binary()), "uu")


@pytest.mark.parametrize("distinct", [10, 1_000, 20_000, 200_000])
def test_the_estimate_is_near_the_number_of_distinct_values(distinct: int) -> None:
    marks = marks_of(pa.array([f"value {number}" for number in range(distinct)]))
    twice = Marks(np.tile(marks.registers, 2), np.tile(marks.positions, 2))
    guess = estimate(collect(np.zeros(2 * distinct, dtype=np.int64), twice, 1))
    # The standard error of 2048 registers is 2.3 %.
    assert abs(guess[0] - distinct) < 0.07 * distinct
