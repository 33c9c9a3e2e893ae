"""Half-open stretches of time, `start/end`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from druid_core.errors import InvalidInput
from druid_core.instant import MAX_MS, MIN_MS, civil_from_days, days_from_civil, format_instant, parse_instant

_DAY_MS = 86_400_000

_PERIOD = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,3})\d*)?S)?)?"
)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """From `start_ms` up to but not including `end_ms`, in milliseconds UTC. Druid: org.joda.time.Interval"""

    start_ms: int
    end_ms: int

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """
        From `start/end`, `start/period` or `period/end`.

        Raises InvalidInput with Druid's words.
        """
        left, slash, right = text.partition("/")
        if not slash:
            raise InvalidInput(f"Invalid interval[{text}]: [Format requires a '/' separator: {text}]")
        try:
            if left.strip().startswith("P"):
                end = parse_instant(right)
                interval = cls(add_period(end, left.strip(), -1), end)
            else:
                start = parse_instant(left)
                is_period = right.strip().startswith("P")
                interval = cls(start, add_period(start, right.strip()) if is_period else parse_instant(right))
        except InvalidInput as error:
            raise InvalidInput(f"Invalid interval[{text}]: [{error}]") from error
        if interval.end_ms < interval.start_ms:
            raise InvalidInput(f"Invalid interval[{text}]: [The end instant must be greater than the start instant]")
        return interval

    @property
    def start(self) -> str:
        return format_instant(self.start_ms)

    @property
    def end(self) -> str:
        return format_instant(self.end_ms)

    @property
    def is_empty(self) -> bool:
        return self.start_ms == self.end_ms

    def __str__(self) -> str:
        return f"{self.start}/{self.end}"

    def covers(self, other: "Interval") -> bool:
        """Whether every instant of `other` lies inside."""
        return self.start_ms <= other.start_ms and other.end_ms <= self.end_ms

    def contains(self, ms: int) -> bool:
        return self.start_ms <= ms < self.end_ms

    def overlaps(self, other: "Interval") -> bool:
        return self.start_ms < other.end_ms and other.start_ms < self.end_ms

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any) -> Interval:
            if isinstance(value, Interval):
                return value
            if isinstance(value, str):
                return cls.parse(value)
            raise InvalidInput(f"Invalid interval[{value}]: expected a text such as 2026-01-01/2026-02-01")

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "examples": ["2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"]}


ETERNITY = Interval(MIN_MS, MAX_MS)
"""The bucket of granularity ALL. Druid: Intervals.ETERNITY"""


def condense(intervals: Iterable[Interval]) -> list[Interval]:
    """The fewest intervals that cover the same instants; those that overlap or abut are joined. Sorted."""
    condensed: list[Interval] = []
    for interval in sorted(intervals):
        if condensed and interval.start_ms <= condensed[-1].end_ms:
            last = condensed[-1]
            condensed[-1] = Interval(last.start_ms, max(last.end_ms, interval.end_ms))
        else:
            condensed.append(interval)
    return condensed


def add_period(ms: int, period: str, times: int = 1) -> int:
    """
    An instant moved by an ISO-8601 period, `times` over, in UTC; a day beyond its month's end becomes the last one.

    Raises InvalidInput when `period` is none.
    """
    match = _PERIOD.fullmatch(period)
    if match is None or len(period) < 3 or period.endswith("T"):
        raise InvalidInput(f'Invalid format: "{period}" is not an ISO-8601 period such as P1D or PT1H')
    part = {name: int(value or 0) for name, value in match.groupdict().items()}
    months = times * (part["years"] * 12 + part["months"])
    days, rest = divmod(ms, _DAY_MS)
    if months:
        year, month, day = civil_from_days(days)
        year, month = divmod(year * 12 + month - 1 + months, 12)
        first, following = (
            days_from_civil(year, month + 1, 1),
            days_from_civil(year + (month == 11), (month + 1) % 12 + 1, 1),
        )
        days = min(first + day - 1, following - 1)
    millis = int((match["fraction"] or "0").ljust(3, "0"))
    clock = ((part["hours"] * 60 + part["minutes"]) * 60 + part["seconds"]) * 1000 + millis
    return days * _DAY_MS + rest + times * ((part["weeks"] * 7 + part["days"]) * _DAY_MS + clock)
