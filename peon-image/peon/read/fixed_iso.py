"""Columns of ISO times of the usual shape, `2024-01-31T10:20:30Z` with or without milliseconds, parsed as bytes."""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from peon.read.tokens import string_buffers

Times = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# 2024-01-31T10:20:30Z and 2024-01-31T10:20:30.123Z
_SECONDS, _MILLIS = 20, 24


def fixed_iso_ms(texts: pa.StringArray) -> tuple[Times, Bools]:
    """Milliseconds of the texts that have the shape and name a time, and which those are; the others are 0."""
    ms, known = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    offsets, data = string_buffers(texts)
    lengths = np.diff(offsets)
    for width in (_SECONDS, _MILLIS):
        rows = np.flatnonzero(lengths == width)
        if not len(rows):
            continue
        if len(rows) == len(texts):
            start = int(offsets[0])
            characters = data[start : start + len(texts) * width].reshape(-1, width)
        else:
            characters = data[offsets[rows][:, None] + np.arange(width)]
        ms[rows], known[rows] = _parse(characters, width)
    if texts.null_count:
        known &= np.asarray(texts.is_valid())
    return ms, known


def _parse(characters: npt.NDArray[np.uint8], width: int) -> tuple[Times, Bools]:
    # One contiguous run for each place of the text: all that follows is plain arithmetic on these.
    place = np.ascontiguousarray(characters.T)
    good = np.ones(len(characters), np.bool_)
    marks = {4: "-", 7: "-", 10: "T", 13: ":", 16: ":", width - 1: "Z"} | ({19: "."} if width == _MILLIS else {})
    for at, mark in marks.items():
        good &= place[at] == ord(mark)
    # Below "0" wraps round to large numbers, so one comparison tells digits.
    digit = place - np.uint8(ord("0"))
    for at in range(width):
        if at not in marks:
            good &= digit[at] <= 9

    def number(first: int, count: int) -> npt.NDArray[np.int32]:
        total = digit[first].astype(np.int32)
        for at in range(first + 1, first + count):
            total = total * 10 + digit[at]
        return total

    month, day, hour, minute, second = number(5, 2), number(8, 2), number(11, 2), number(14, 2), number(17, 2)
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (hour <= 23) & (minute <= 59) & (second <= 59)
    months = np.where(good, number(0, 4) * 12 + month - 1, 0)
    first_days = _month_starts()
    days = first_days[months] + day - 1
    good &= days < first_days[months + 1]
    ms = days.astype(np.int64) * 86_400_000 + ((hour * 60 + minute) * 60 + second) * 1000
    if width == _MILLIS:
        ms += number(20, 3)
    return np.where(good, ms, 0), good


@cache
def _month_starts() -> npt.NDArray[np.int32]:
    """The first day of every month from 0000-01 to 10000-01, in days since 1970-01-01."""
    months = np.arange("0000-01", "10000-02", dtype="datetime64[M]")
    return months.astype("datetime64[D]").astype(np.int32)
