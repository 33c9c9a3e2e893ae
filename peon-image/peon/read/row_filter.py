"""
A filter over the columns of a segment: for each row whether it holds, does not hold, or cannot be said.

It cannot be said of a null; `not` leaves it so, and such a row is left out at the end. A row of several values holds as
soon as one of them does. Each distinct value is looked at once. Druid: ThreeValuedLogic, DruidPredicateMatch
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from druid_core.spec.row_filter import (
    AndFilter,
    BoundFilter,
    EqualityFilter,
    FalseFilter,
    Filter,
    InFilter,
    NotFilter,
    NullFilter,
    OrFilter,
    RangeFilter,
    SelectorFilter,
    TrueFilter,
)
from peon.java_text import float_text, java_text
from peon.segment.columns import StringIds, StringLists
from peon.segment.string_column import StringData

States = npt.NDArray[np.int8]
Value = str | int | float | np.float32 | None
Test = Callable[[Value], int]

FALSE, UNKNOWN, TRUE = 0, 1, 2
"""In this order and, or and not are the least, the greatest, and what is left up to TRUE."""

_LONG = re.compile(r"[+-]?\d+")
_DOUBLE = re.compile(r"[+-]?(?:NaN|Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fFdD]?", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


Stored = StringData | pa.Array | None
"""A column as the segment's reader gives it; None for one that the segment has not, null everywhere."""


def states_of(wanted: Filter, rows: int, stored: Callable[[str], Stored]) -> States:
    """TRUE, FALSE or UNKNOWN by row of a segment, whose columns `stored` gives."""

    def of_column(name: str, test: Test) -> States:
        return _states_of_column(stored(name), rows, test)

    match wanted:
        case TrueFilter():
            return np.full(rows, TRUE, np.int8)
        case FalseFilter():
            return np.full(rows, FALSE, np.int8)
        case AndFilter(fields=fields):
            parts = [states_of(each, rows, stored) for each in fields]
            return np.minimum.reduce(parts) if parts else np.full(rows, TRUE, np.int8)
        case OrFilter(fields=fields):
            parts = [states_of(each, rows, stored) for each in fields]
            return np.maximum.reduce(parts) if parts else np.full(rows, FALSE, np.int8)
        case NotFilter(field=field):
            return np.int8(TRUE) - states_of(field, rows, stored)
        case SelectorFilter(dimension=name, value=value):
            return of_column(name, _one_of([value]))
        case InFilter(dimension=name, values=values):
            return of_column(name, _one_of(values))
        case BoundFilter(dimension=name):
            values = stored(name)
            return _states_of_column(values, rows, _bounded(wanted, _null_in_bounds(wanted, values)))
        case NullFilter(column=name):
            return of_column(name, _one_of([None]))
        case EqualityFilter(column=name, match_value=value):
            return of_column(name, _one_of([value if isinstance(value, str) else java_text(value)]))
        case RangeFilter(column=name):
            return of_column(name, _between(wanted))
        case _:
            assert_never(wanted)


def _states_of_column(values: Stored, rows: int, test: Test) -> States:
    of_null = test(None)
    match values:
        case None:
            return np.full(rows, of_null, np.int8)
        case StringData(dictionary=dictionary, values=StringIds(ids=ids)):
            return np.array([test(text) for text in dictionary.to_pylist()], np.int8)[ids]
        case StringData(dictionary=dictionary, values=lists):
            assert isinstance(lists, StringLists)
            items = np.array([test(text) for text in dictionary.to_pylist()], np.int8)[lists.ids]
            states = np.full(rows, of_null, np.int8)
            filled = np.flatnonzero(np.diff(lists.offsets))
            if len(filled):
                states[filled] = np.maximum.reduceat(items, lists.offsets[filled])
            return states
        case _:
            return _states_of_numbers(values, of_null, test)


def _states_of_numbers(values: pa.Array, of_null: int, test: Test) -> States:
    nulls = values.is_null().to_numpy(zero_copy_only=False)
    if nulls.all():
        return np.full(len(values), of_null, np.int8)
    distinct, places = np.unique(values.fill_null(0).to_numpy(zero_copy_only=False), return_inverse=True)
    singles = distinct.dtype == np.float32  # as Python's floats they would equal no decimal that a filter names
    known = np.array([test(value) for value in (distinct if singles else distinct.tolist())], np.int8)
    return np.where(nulls, np.int8(of_null), known[places])


def _one_of(texts: list[str | None]) -> Test:
    """Whether a value is one of these; a null is, where null is among them, and else cannot be said to be."""
    known = {text for text in texts if text is not None}
    doubles = {number for text in known if (number := _double(text)) is not None}
    longs = {int(text) for text in known if _LONG.fullmatch(text)}
    longs |= {int(number) for number in doubles if number.is_integer() and abs(number) < 1 << 53}
    floats = {np.float32(number) for number in doubles}
    of_null = TRUE if None in texts else UNKNOWN

    def test(value: Value) -> int:
        match value:
            case None:
                return of_null
            case str():
                found = value in known
            case int():
                found = value in longs
            case np.floating():
                found = value in floats
            case _:
                found = value in doubles
        return TRUE if found else FALSE

    return test


def _between(wanted: RangeFilter) -> Test:
    def test(value: Value) -> int:
        own, lower, upper = _comparable(value, wanted)
        if own is None:
            return UNKNOWN
        if lower is not None and (_less(own, lower) or (wanted.lower_open and own == lower)):
            return FALSE
        if upper is not None and (_less(upper, own) or (wanted.upper_open and own == upper)):
            return FALSE
        return TRUE

    return test


def _null_in_bounds(wanted: BoundFilter, values: Stored) -> int:
    """
    A null among texts lies below every end, and whatever is not below is not said to be unknown, but for one case: of
    the index by which Druid looks up texts in their own order. Druid: BoundFilter.getBitmapColumnIndex
    """
    match values:
        case pa.Array():
            return UNKNOWN
        case _ if wanted.lower is None:
            return TRUE
        case StringData(bitmaps=bitmaps) if bitmaps is not None and wanted.ordering == "lexicographic":
            return UNKNOWN
        case _:
            return FALSE


def _bounded(wanted: BoundFilter, of_null: int) -> Test:
    compare = _compare_numbers if wanted.ordering == "numeric" else _compare_texts

    def test(value: Value) -> int:
        if value is None:
            return of_null
        if wanted.lower is not None and compare(value, wanted.lower) < int(wanted.lower_strict):
            return FALSE
        if wanted.upper is not None and compare(value, wanted.upper) > -int(wanted.upper_strict):
            return FALSE
        return TRUE

    return test


def _compare_texts(value: str | float | np.float32, end: str) -> int:
    own = value if isinstance(value, str) else _text(value)
    return _less(end, own) - _less(own, end)


def _compare_numbers(value: str | float | np.float32, end: str) -> int:
    """What is no number comes before all that are. Druid: NumericComparator, BoundDimFilter"""
    if isinstance(value, str):
        text, other = _decimal(value), _decimal(end)
        if text is None and other is None:
            return _compare_texts(value, end)
        return -1 if text is None else 1 if other is None else (text > other) - (text < other)
    if isinstance(value, int):
        whole = _decimal(end)
        return 1 if whole is None else (value > whole) - (value < whole)
    number, own = _double(end), float(value)
    if number is None or own != own:  # a NaN comes after all others
        return 1
    number = float(np.float32(number)) if isinstance(value, np.floating) else number
    return (own > number) - (own < number)


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


_Comparable = str | float | None


def _comparable(value: Value, wanted: RangeFilter) -> tuple[_Comparable, _Comparable, _Comparable]:
    """A value and the ends of a range as what they are compared as: texts, or numbers of the value's precision."""
    if wanted.match_value_type == "STRING":
        own = value if value is None or isinstance(value, str) else _text(value)
        return own, wanted.lower, wanted.upper
    if isinstance(value, np.floating):
        lower, upper = (None if end is None else float(np.float32(end)) for end in (wanted.lower, wanted.upper))
        return float(value), lower, upper
    return _double(value) if isinstance(value, str) else value, wanted.lower, wanted.upper


def _text(value: float | np.float32) -> str:
    return float_text(float(value)) if isinstance(value, np.floating) else java_text(value)


def _less(one: str | float, other: str | float) -> bool:
    """Texts by their UTF-16 units, as Java orders them."""
    if isinstance(one, str) or isinstance(other, str):
        return str(one).encode("utf-16-be", "surrogatepass") < str(other).encode("utf-16-be", "surrogatepass")
    return one < other


def _double(text: str) -> float | None:
    return float(text.rstrip("fFdD")) if _DOUBLE.fullmatch(text) else None
