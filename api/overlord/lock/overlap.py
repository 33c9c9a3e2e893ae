"""
Which rows with `start` and `"end"` as texts may overlap an interval.

Druid stores both as ISO texts and compares them as such. That is right for years of four digits; the two ends of
eternity have nine, and are looked for by name.
"""

from druid_core.instant import format_instant
from druid_core.interval import ETERNITY, Interval

_YEAR_0_MS = -62_167_219_200_000
_YEAR_10000_MS = 253_402_300_800_000

BEFORE_ALL = ""
AFTER_ALL = "z"
"""Texts around every instant: letters sort after digits in every collation of Postgres."""


def overlaps(end: str, start: str) -> str:
    """
    The condition, given the placeholders (`$2`) of an interval's two texts as `bounds` makes them.

    It may let through a row with a year of more than four digits; the caller looks at the interval itself.
    """
    return f"""((start < {end} AND "end" > {start}) OR "end" = '{ETERNITY.end}' OR start = '{ETERNITY.start}')"""


def bounds(interval: Interval) -> tuple[str, str]:
    """(start, end) of an interval as texts to compare with."""
    start = BEFORE_ALL if interval.start_ms < _YEAR_0_MS else format_instant(interval.start_ms)
    end = AFTER_ALL if interval.end_ms >= _YEAR_10000_MS else format_instant(interval.end_ms)
    return start, end
