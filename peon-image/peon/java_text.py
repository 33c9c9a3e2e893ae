"""
Values as Java prints them: string dimensions store such texts, and messages show them.

Values are those that Druid's flattener makes of JSON: whole numbers beyond a long are doubles.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

import numpy as np

_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1


def java_text(value: object) -> str:
    """`null`, `true`, `1.0E20`, `[1, 2]`, `{a=1, b=[x]}`. Druid: String.valueOf"""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if _LONG_MIN <= value <= _LONG_MAX else double_text(as_double(value))
    if isinstance(value, float):
        return double_text(value)
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value).items()
        return "{" + ", ".join(f"{java_text(key)}={java_text(member)}" for key, member in members) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(java_text(item) for item in cast("Sequence[object]", value)) + "]"
    return str(value)


def double_text(value: float) -> str:
    """`1.0`, `1.0E20`, `1.0E-5`, `NaN`, `-Infinity`. Druid: Double.toString"""
    return _text(value, repr(value))


def float_text(value: float) -> str:
    """The text of a 32-bit float. Druid: Float.toString"""
    return _text(value, np.format_float_scientific(np.float32(value), unique=True))


def as_double(value: float) -> float:
    """A number, whole ones of any size, as a double; infinite beyond its range. Druid: BigInteger.doubleValue"""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text(value: float, shortest: str) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if value == 0:
        return f"{sign}0.0"
    _, digit_tuple, exponent = Decimal(shortest).normalize().as_tuple()
    if len(digit_tuple) == 1:
        # Java wants two digits, and takes those nearest to the value: 4.9E-324, not 5.0E-324.
        _, digit_tuple, exponent = Decimal(f"{value:.1e}").as_tuple()
    digits = "".join(map(str, digit_tuple)).rstrip("0") or "0"
    # The power of ten of the first digit.
    magnitude = len(digit_tuple) - 1 + int(exponent)
    if -3 <= magnitude < 7:
        if magnitude < 0:
            return f"{sign}0.{'0' * (-magnitude - 1)}{digits}"
        whole, fraction = digits[: magnitude + 1].ljust(magnitude + 1, "0"), digits[magnitude + 1 :]
        return f"{sign}{whole}.{fraction or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{magnitude}"
