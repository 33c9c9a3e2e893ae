"""
The order of rows in a segment: by time, then by every dimension in its order; ties stay in arrival order.

Sort keys are packed into as few 64-bit words as their ranges allow, so that ten columns are usually compared as one
or two numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = list[npt.NDArray[np.uint64]]
"""Sort keys of rows, most significant word first; compared as unsigned numbers."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """
    One column as a sort key: `values` unsigned 64 bit in sort order, all of them below `2 ** bits`.

    A null is the least value.
    """

    values: npt.NDArray[np.uint64]
    bits: int


def rank_key(ranks: npt.NDArray[np.int32], count: int) -> SortKey:
    """Of dictionary ranks 0 … count-1."""
    return SortKey(ranks.astype(np.uint64), max(1, int(count - 1).bit_length()))


def long_keys(values: npt.NDArray[np.int64], nulls: npt.NDArray[np.bool_] | None) -> list[SortKey]:
    """Of signed 64-bit integers, nulls first."""
    if len(values) == 0:
        return []
    low, high = int(values.min()), int(values.max())
    # Differences wrap around in 64 bits and are right as unsigned numbers.
    shifted = values.view(np.uint64) - np.uint64(low & 0xFFFF_FFFF_FFFF_FFFF)
    if nulls is None:
        return [SortKey(shifted, max(1, (high - low).bit_length()))]
    if high - low + 1 < 1 << 63:
        return [SortKey(np.where(nulls, np.uint64(0), shifted + np.uint64(1)), (high - low + 1).bit_length())]
    return [SortKey((~nulls).astype(np.uint64), 1), SortKey(np.where(nulls, np.uint64(0), shifted), 64)]


def double_keys(values: npt.NDArray[np.float64], nulls: npt.NDArray[np.bool_] | None) -> list[SortKey]:
    """Of doubles in Java's order: -0.0 before 0.0, NaN last; nulls first. Druid: Double.compare"""
    clean = np.where(np.isnan(values), np.nan, values)  # one NaN, as Java compares them
    bits = clean.view(np.uint64)
    negative = (bits >> np.uint64(63)).astype(bool)
    ordered = np.where(negative, ~bits, bits | np.uint64(1 << 63))
    if nulls is None:
        return [SortKey(ordered, 64)]
    return [SortKey((~nulls).astype(np.uint64), 1), SortKey(np.where(nulls, np.uint64(0), ordered), 64)]


def pack(keys: Sequence[SortKey]) -> Words:
    """Keys in order of significance, packed into words. At least one key; all of one length."""
    words: Words = []
    free = 0
    for key in keys:
        if key.bits <= free:
            words[-1] = (words[-1] << np.uint64(key.bits)) | key.values
            free -= key.bits
        else:
            words.append(key.values)
            free = 64 - key.bits
    return words


def sort(words: Words) -> npt.NDArray[np.int64] | None:
    """The stable order of rows by their words; None when they are in order as they stand."""
    first = words[0]
    if len(first) < 2 or bool(np.all(first[:-1] < first[1:])):
        return None
    order = np.argsort(first, kind="stable")
    if len(words) == 1:
        return order
    # Only rows that tie in the first word need the others.
    arranged = first[order]
    tied_to_next = arranged[:-1] == arranged[1:]
    tied = np.zeros(len(order), dtype=bool)
    tied[:-1] |= tied_to_next
    tied[1:] |= tied_to_next
    rows = order[tied]
    if len(rows):
        finer = [word[rows] for word in reversed(words)]
        order[tied] = rows[np.lexsort(finer)]
    return order


def runs(words: Words) -> npt.NDArray[np.int64]:
    """Where a new key begins among sorted rows: the index of each first row, 0 included."""
    changed = np.ones(len(words[0]), dtype=bool)
    if len(changed):
        changed[1:] = words[0][1:] != words[0][:-1]
        for word in words[1:]:
            changed[1:] |= word[1:] != word[:-1]
    return np.flatnonzero(changed)
