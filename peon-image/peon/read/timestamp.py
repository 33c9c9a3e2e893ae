"""
The time of each record, by its timestampSpec.

Texts of the usual ISO shape and plain numbers are parsed as whole columns; anything else once per distinct value.
Druid: TimestampSpec, TimestampParser
"""

import json
import math
import re
import time
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from druid_core.errors import TaskFailure
from druid_core.instant import MAX_MS, MIN_MS
from druid_core.spec.schema import TimestampSpec
from peon.arrow import compute as pc
from peon.batch import Encoding, RawColumn
from peon.java_text import java_text
from peon.read.fixed_iso import fixed_iso_ms
from peon.read.iso_time import parse_iso
from peon.read.joda_pattern import UnknownPattern, joda_parser

Times = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1

_LONG = re.compile(r"[+-]?\d+")
_DOUBLE = re.compile(r"(?P<number>[+-]?(?:NaN|Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))[fFdD]?", re.ASCII)
_JAVA_SPACE = "".join(map(chr, range(33)))

_JAVA_ZONES = (
    "ACT AET AGT ART AST BET BST CAT CNT CST CTT EAT ECT EST HST IET IST JST MIT MST NET NST PLT PNT PRT PST SST VST"
)
"""Zone names that only Java knows. Java: sun.util.calendar.ZoneInfoFile"""


@dataclass(frozen=True, slots=True)
class ParsedTimes:
    """
    Milliseconds UTC by row. `good` is where they are a time that Druid can store; `far` is where they are a time, but
    one beyond all intervals.
    """

    ms: Times
    good: Bools
    far: Bools


class TimestampParser:
    """
    Reads timestamp columns. Raises TaskFailure for a format that is none.

    `this_year` is for Joda patterns with two-digit years.
    """

    def __init__(self, spec: TimestampSpec, this_year: int | None = None) -> None:
        self._missing = spec.missing_value
        self._format = spec.format.lower()
        self._scale = _SCALES.get(self._format)
        self._of_text = self._text_parser(spec.format, time.gmtime().tm_year if this_year is None else this_year)

    def parse(self, column: RawColumn | None, rows: int) -> ParsedTimes:
        """The times of a column of `rows` values; None is a column without any value."""
        if column is None:
            ms, known = np.zeros(rows, np.int64), np.zeros(rows, np.bool_)
            nulls = np.ones(rows, np.bool_)
        else:
            nulls = np.asarray(column.values.is_null()) if column.values.null_count else np.zeros(rows, np.bool_)
            ms, known = self._parse_column(column)
        if self._missing is not None and nulls.any():
            ms, known = np.where(nulls, self._missing, ms), known | nulls
        far = known & ((ms < MIN_MS) | (ms >= MAX_MS))
        return ParsedTimes(ms, known & ~far, far)

    def parse_one(self, value: Any) -> int | None:
        """Milliseconds of one value as JSON has it, within 64 bits; None if it is no time."""
        if isinstance(value, int | float) and not isinstance(value, bool) and self._scale is not None:
            return self._scale(value)
        text = java_text(value)
        if not text:
            return None
        found = self._of_text(text)
        return None if found is None else _saturated(found)

    def _parse_column(self, column: RawColumn) -> tuple[Times, Bools]:
        values = column.values
        if (
            column.encoding is Encoding.TYPED
            and pa.types.is_integer(values.type)
            and self._format in ("auto", "millis")
        ):
            known = np.asarray(values.is_valid())
            return values.cast(pa.int64()).fill_null(0).to_numpy(), known
        ms, known = np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
        if column.encoding is Encoding.TEXT and self._format in ("auto", "iso"):
            ms, known = fixed_iso_ms(cast("pa.StringArray", values))
            if known.all():
                return ms, known
        left = np.flatnonzero(~known)
        ms[left], known[left] = self._by_distinct(RawColumn(values.take(pa.array(left)), column.encoding))
        return ms, known

    def _by_distinct(self, column: RawColumn) -> tuple[Times, Bools]:
        values = column.values
        if pa.types.is_nested(values.type):
            return _columns([None if v is None else self.parse_one(v) for v in values.to_pylist()])
        encoded = cast("pa.DictionaryArray", pc.dictionary_encode(values, null_encoding="encode"))
        distinct = encoded.dictionary.to_pylist()
        if column.encoding is Encoding.TOKEN:
            distinct = [None if token is None else json.loads(token) for token in distinct]
        ms, known = _columns([None if value is None else self.parse_one(value) for value in distinct])
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        return ms[codes], known[codes]

    def _text_parser(self, pattern: str, this_year: int) -> Callable[[str], int | None]:
        match self._format:
            case "auto":
                return _auto
            case "iso":
                return _iso
            case "ruby":
                return lambda text: _ruby_text(_unquoted(text))
            case "posix" | "millis" | "micro" | "nano":
                scale = _SCALES[self._format]
                return lambda text: None if (number := _long(_unquoted(text))) is None else scale(number)
            case _:
                try:
                    parser = joda_parser(pattern, this_year)
                except UnknownPattern as error:
                    raise TaskFailure(f"Unable to parse timestamps with format [{pattern}]: {error}") from error
                return lambda text: parser(_unquoted(text))


def _columns(times: list[int | None]) -> tuple[Times, Bools]:
    ms = np.array([0 if value is None else value for value in times], np.int64)
    return ms, np.array([value is not None for value in times], np.bool_)


def _auto(text: str) -> int | None:
    """Digits are milliseconds; all else is ISO with `T` or a space, perhaps with the name of a zone behind it."""
    if text.isascii() and text.isdigit():
        return _long(text)
    text = _unquoted(text)
    head, space, zone = text.rpartition(" ")
    if space and head and _is_zone(zone):
        # Druid only prints the time in that zone; it does not read it so.
        text = head
    return parse_iso(text, space_for_t=True)


def _iso(text: str) -> int | None:
    text = _unquoted(text)
    found = parse_iso(text, time_alone=True)
    # What is no ISO time may still be milliseconds. Druid: DateTimes.of
    return _long(text) if found is None else found


def _unquoted(text: str) -> str:
    """Druid: ParserUtils.stripQuotes"""
    text = text.strip(_JAVA_SPACE)
    return text[1:-1].strip(_JAVA_SPACE) if len(text) > 1 and text[0] == text[-1] == '"' else text


def _long(text: str) -> int | None:
    """Java: Long.parseLong"""
    return number if _LONG.fullmatch(text) and _LONG_MIN <= (number := int(text)) <= _LONG_MAX else None


def _ruby_text(text: str) -> int | None:
    match = _DOUBLE.fullmatch(text)
    return None if match is None else _SCALES["ruby"](float(match["number"]))


def _saturated(value: float) -> int:
    """Java's narrowing to a long: NaN is 0, fractions are cut, what is too large is the nearest end."""
    if math.isnan(value):
        return 0
    if math.isinf(value):
        return _LONG_MAX if value > 0 else _LONG_MIN
    return max(_LONG_MIN, min(_LONG_MAX, int(value)))


def _divided(value: float, by: int) -> int:
    """Java divides towards nought."""
    whole = _saturated(value)
    return whole // by if whole >= 0 else -(-whole // by)


def _ruby(value: float) -> int:
    return _saturated(float(value) * 1000)


# Numbers to milliseconds, for the formats that take numbers as they are.
_SCALES: dict[str, Callable[[float], int]] = {
    "auto": _saturated,
    "millis": _saturated,
    "posix": lambda value: _saturated(_saturated(value) * 1000),
    "micro": lambda value: _divided(value, 1000),
    "nano": lambda value: _divided(value, 1_000_000),
    "ruby": _ruby,
}


@cache
def _is_zone(name: str) -> bool:
    return name in _JAVA_ZONES.split() or name in zoneinfo.available_timezones()
