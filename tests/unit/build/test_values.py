"""How input values become what a dimension or an aggregator stores."""

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from peon.batch import Encoding, RawColumn
from peon.build.values import (
    LONG_MAX,
    double_dimension,
    long_dimension,
    metric_input,
    numbers,
    string_values,
)

ERROR = object()

# Input; then what a long dimension, a double dimension, a longSum and a doubleSum make of it.
TABLE: list[tuple[Any, Any, Any, Any, Any]] = [
    ("+5", 5, 5.0, 5, 5.0),
    ("1,234", ERROR, ERROR, 1234, 1234.0),
    (" 7 ", ERROR, ERROR, 7, 7.0),
    ("1.9", ERROR, 1.9, 1, 1.9),
    ("1.0", 1, 1.0, 1, 1.0),
    ("1e3", 1000, 1000.0, 1000, 1000.0),
    (2.7, 2, 2.7, 2, 2.7),
    (1e20, LONG_MAX, 1e20, LONG_MAX, 1e20),
    (10**25, LONG_MAX, 1e25, LONG_MAX, 1e25),
    (True, 1, ERROR, ERROR, ERROR),
    ("true", ERROR, ERROR, ERROR, ERROR),
    ("abc", ERROR, ERROR, ERROR, ERROR),
    ("0x10", ERROR, ERROR, ERROR, ERROR),
    ("", ERROR, ERROR, ERROR, ERROR),
    ("Infinity", ERROR, math.inf, LONG_MAX, math.inf),
    ([1], ERROR, ERROR, ERROR, ERROR),
    ([1, 2], ERROR, ERROR, ERROR, ERROR),
    ({"a": 1}, ERROR, ERROR, ERROR, ERROR),
    (None, None, None, None, None),
    (-3, -3, -3.0, -3, -3.0),
]


def _tokens(*values: Any) -> RawColumn:
    return RawColumn(
        pa.array([None if value is None else json.dumps(value) for value in values], pa.string()), Encoding.TOKEN
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: repr(row[0]))
def test_numbers_follow_druids_table(row: tuple[Any, Any, Any, Any, Any]) -> None:
    given_value, *expected = row
    rules = (
        (long_dimension("d"), np.int64),
        (double_dimension("d"), np.float64),
        (metric_input("f"), np.int64),
        (metric_input("f"), np.float64),
    )
    for (rule, dtype), wanted in zip(rules, expected, strict=True):
        converted, faults = numbers(_tokens(given_value), 1, rule, dtype)
        if wanted is ERROR or wanted is None:
            assert converted.nulls is not None
            assert converted.nulls.tolist() == [True]
            assert (faults is not None) == (wanted is ERROR)
        else:
            assert faults is None
            assert converted.values.tolist() == [wanted]


def test_not_a_number_is_zero_for_a_long_sum() -> None:
    assert numbers(_tokens("NaN"), 1, metric_input("f"), np.int64)[0].values.tolist() == [0]
    assert np.isnan(numbers(_tokens("NaN"), 1, metric_input("f"), np.float64)[0].values[0])


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (long_dimension("ld"), "abc", "Could not convert value [abc] to long for dimension [ld]."),
        (
            long_dimension("ld"),
            [1],
            (
                "Could not ingest value [[1]] as long for dimension [ld]. "
                "A long column cannot have multiple values in the same row."
            ),
        ),
        (metric_input("v"), "abc", "Unable to parse value[abc] for field[v]"),
        (metric_input("v"), True, "Unknown type[class java.lang.Boolean] for field[v]"),
    ],
)
def test_a_refused_value_is_explained_in_druids_words(rule: Any, value: Any, message: str) -> None:
    _, faults = numbers(_tokens(1, value), 2, rule, np.int64)
    assert faults is not None
    assert faults.rows.tolist() == [1]
    assert faults.messages(1) == message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (1.0, "1.0"),
        (1e20, "1.0E20"),
        (2.7, "2.7"),
        (True, "true"),
        (12, "12"),
        ({"a": 1}, "{a=1}"),
        ([7], "7"),
    ],
)
def test_a_string_dimension_keeps_javas_text(value: Any, text: str) -> None:
    values = string_values(_tokens(value), 1, "SORTED_ARRAY")
    assert values.texts[int(values.codes[0])].as_py() == text
    assert not values.lists


@pytest.mark.parametrize(
    ("handling", "stored"),
    [("SORTED_ARRAY", (None, "a", "b", "b")), ("SORTED_SET", (None, "a", "b")), ("ARRAY", ("b", None, "a", "b"))],
)
def test_lists_are_kept_as_the_dimension_says(handling: str, stored: tuple[str | None, ...]) -> None:
    values = string_values(_tokens(["b", None, "a", "b"], []), 2, handling)
    assert [values.lists[int(code)] for code in values.codes] == [stored, ()]


def test_a_number_and_its_text_are_one_value_of_a_string_dimension() -> None:
    values = string_values(_tokens(1, "1", 1.5, "1.5", ["1"]), 5, "SORTED_ARRAY")
    assert len(set(values.codes.tolist())) == 2


def test_a_set_of_one_value_is_that_value() -> None:
    values = string_values(_tokens(["a", "a"], "a"), 2, "SORTED_SET")
    assert not values.lists
    assert values.codes[0] == values.codes[1]


def test_a_missing_column_is_null_in_every_row() -> None:
    values = string_values(None, 3, "ARRAY")
    assert [values.texts[int(code)].as_py() for code in values.codes] == [None] * 3
    converted, faults = numbers(None, 3, long_dimension("d"), np.int64)
    assert converted.nulls is not None
    assert converted.nulls.all()
    assert faults is None


def test_typed_numbers_are_cut_and_saturate_as_java_narrows() -> None:
    column = RawColumn(pa.array([1.9, -1.9, 1e30, -1e30, float("nan"), None]), Encoding.TYPED)
    converted, _ = numbers(column, 6, long_dimension("d"), np.int64)
    assert converted.values.tolist() == [1, -1, LONG_MAX, -LONG_MAX - 1, 0, 0]
    assert converted.nulls is not None
    assert converted.nulls.tolist() == [False] * 5 + [True]
