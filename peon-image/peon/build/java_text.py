"""Numbers as Java prints them, because a string dimension stores that text."""

import math
from decimal import Decimal

import numpy as np


def double_text(value: float) -> str:
    """`1.0`, `1.0E20`, `1.0E-5`, `NaN`, `-Infinity`. Druid: Double.toString"""
    return _text(value, repr(value))


def float_text(value: float) -> str:
    """The text of a 32-bit float. Druid: Float.toString"""
    return _text(value, np.format_float_scientific(np.float32(value), unique=True))


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
