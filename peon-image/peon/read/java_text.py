"""Input values as Java prints them, for messages that show a whole record: `{page=a, added=1.0E20, tags=[x, y]}`."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

_LONG_MIN, _LONG_MAX = -(1 << 63), (1 << 63) - 1

_EVENT_CHARACTERS = 100
"""UTF-16 units of an event that a message shows. Druid: MapInputRowParser.rawMapToPrint"""


def java_text(value: object) -> str:
    """What `String.valueOf` makes of a value that Druid's flattener made of JSON."""
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


def event_text(event: Mapping[str, object]) -> str:
    """A record in a message: cut where it gets long."""
    text = java_text(event)
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) < 2 * _EVENT_CHARACTERS:
        return text
    return units[: 2 * _EVENT_CHARACTERS].decode("utf-16-le", "replace") + "..."


def as_double(value: int) -> float:
    """A whole number of any size as a double; infinite where none is large enough."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def double_text(value: float) -> str:
    """`1.0`, `1.0E20`, `1.0E-5`, `NaN`, `-Infinity`. Java: Double.toString"""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value != 0 and not 1e-3 <= abs(value) < 1e7:
        sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
        text = "".join(map(str, digits))
        return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{len(digits) - 1 + int(exponent)}"
    return repr(value) if "e" not in repr(value) else f"{value:f}"
