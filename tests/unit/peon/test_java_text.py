"""Values as Java prints them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peon.java_text import double_text, float_text, java_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (-7, "-7"),
        (2**63 - 1, "9223372036854775807"),
        (2**63, "9.223372036854776E18"),  # beyond a long, a double
        (10**400, "Infinity"),
        (1e20, "1.0E20"),
        ("", ""),
        (["x", 1, None, [0.5]], "[x, 1, null, [0.5]]"),
        ({"a": 1, "b": {"c": False}}, "{a=1, b={c=false}}"),
    ],
)
def test_values_are_printed_as_java_prints_them(value: Any, text: str) -> None:
    assert java_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (-0.0, "-0.0"),
        (123456.789, "123456.789"),
        (4.9e-324, "4.9E-324"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (100.0, "100.0"),
    ],
)
def test_doubles_are_printed_as_java_prints_them(value: float, text: str) -> None:
    assert double_text(value) == text


def test_floats_are_printed_with_the_digits_of_32_bits() -> None:
    assert float_text(0.1) == "0.1"
    assert float_text(16777216.0) == "1.6777216E7"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_double_reads_back_as_the_double(value: float) -> None:
    assert float(double_text(value)) == value
