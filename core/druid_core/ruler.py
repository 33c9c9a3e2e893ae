"""Buckets of ISO-8601 periods on the wall clock of a zone: where they begin and end. Druid: PeriodGranularity"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from druid_core.errors import InvalidInput
from druid_core.instant import civil_from_days, days_from_civil
from druid_core.interval import Interval
from druid_core.zone import FixedOffset, Zone, zone_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Millis = npt.NDArray[np.int64]

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_MONDAY_MS = -3 * _DAY_MS
"""Monday, 1969-12-29: single weeks start on Mondays, as in ISO-8601."""

_PERIOD = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,3}))?S)?)?"
)
_FIXED_MS = {"weeks": _WEEK_MS, "days": _DAY_MS, "hours": 3_600_000, "minutes": 60_000, "seconds": 1000, "fraction": 1}


@dataclass(frozen=True, slots=True)
class Step:
    """A period taken apart: whole months, whole days, and milliseconds of the clock."""

    months: int
    days: int
    clock_ms: int
    fields: int
    """How many of its fields are not zero; more than one makes the period compound."""
    is_single: bool
    """Whether it is one year, one month, one week, one day, one hour and so on."""
    unit: str


@lru_cache(maxsize=256)
def step_of(period: str) -> Step:
    """A period taken apart. Raises InvalidInput for what is none, or of no length."""
    match = _PERIOD.fullmatch(period)
    if match is None or len(period) < 3 or period.endswith("T"):
        raise InvalidInput(f'Invalid format: "{period}" is malformed at "{period}"')
    amount = {name: int(value or 0) for name, value in match.groupdict().items()}
    amount["fraction"] = int((match["fraction"] or "0").ljust(3, "0"))
    given = [name for name, value in amount.items() if value]
    if not given:
        raise InvalidInput("Granularity duration should be non-zero")
    return Step(
        months=amount["years"] * 12 + amount["months"],
        days=amount["weeks"] * 7 + amount["days"],
        clock_ms=sum(amount[name] * _FIXED_MS[name] for name in ("hours", "minutes", "seconds", "fraction")),
        fields=len(given),
        is_single=len(given) == 1 and amount[given[0]] == 1,
        unit=given[0],
    )


class Ruler:
    """Finds buckets on the wall clock of a zone. `local` is wall-clock time as if it were UTC."""

    def __init__(self, period: str, time_zone: str, origin_ms: int | None) -> None:
        self.step = step = step_of(period)
        self.zone: Zone = zone_of(time_zone)
        self.origin_ms = self.zone.to_utc(0) if origin_ms is None else origin_ms
        self.origin_local = self.origin_ms + self.zone.offset_ms(self.origin_ms)
        calendar = step.is_single and origin_ms is None
        if calendar:
            self.origin_local = _MONDAY_MS if step.unit == "weeks" else 0
        self.kind: Literal["exact", "clock", "days", "months", "mixed"]
        if step.fields > 1:
            # Joda knows no standard length for years and months, and 24 hours for a day. Druid: isCompound
            self.kind = "mixed" if step.months else "exact"
            self.length_ms = step.days * _DAY_MS + step.clock_ms
        elif step.months:
            self.kind, self.length_ms = "months", 0
        elif step.days:
            self.kind, self.length_ms = "days", step.days * _DAY_MS
        else:
            self.kind, self.length_ms = ("clock" if calendar else "exact"), step.clock_ms
        self._after, self._before = [self.origin_local], [self.origin_local]
        if isinstance(self.zone, FixedOffset) and self.kind in ("clock", "days"):
            self.kind, self.origin_ms = "exact", self.origin_local - self.zone.offset

    def bucket(self, ms: int) -> Interval:
        """The bucket that holds an instant."""
        match self.kind:
            case "exact":
                start = ms - (ms - self.origin_ms) % self.length_ms
                return Interval(start, start + self.length_ms)
            case "clock":
                start = ms - (ms + self.zone.offset_ms(ms)) % self.length_ms
                return Interval(start, start + self.length_ms)
            case "days" | "months" | "mixed":
                index = self._index(ms)
                # the wall clock may have been set back over the border, so look to both sides
                while self._border(index) > ms:
                    index -= 1
                while (end := self._border(index + 1)) <= ms:
                    index += 1
                return Interval(self._border(index), end)

    def bucket_starts(self, ms: Millis) -> Millis:
        """The start of the bucket of each instant; the cost is that of one bucket a distinct UTC day."""
        import numpy as np

        match self.kind:
            case "exact":
                return ms - (ms - self.origin_ms) % self.length_ms
            case "clock":
                return ms - (ms + self.zone.offsets_ms(ms)) % self.length_ms
            case "days" | "months" | "mixed":
                if ms.size == 0:
                    return ms.copy()
                borders = np.asarray(self._borders_around(np.unique(ms // _DAY_MS).tolist()), dtype=np.int64)
                return borders[np.searchsorted(borders, ms, side="right") - 1]

    def _borders_around(self, days: list[int]) -> list[int]:
        """The starts of all buckets that hold an instant of the given UTC days, in order."""
        borders: list[int] = []
        end = None
        for day in days:
            at, last = day * _DAY_MS, (day + 1) * _DAY_MS - 1
            if end is not None and end > last:
                continue
            at = at if end is None or end < at else end
            while at <= last:
                bucket = self.bucket(at)
                borders.append(bucket.start_ms)
                at = end = bucket.end_ms
        return borders

    def _index(self, ms: int) -> int:
        """The number of an instant's bucket, counted from the origin; may be one off where the clock was set."""
        local = ms + self.zone.offset_ms(ms)
        if self.kind == "days":
            return (local - self.origin_local) // self.length_ms
        year, month, _ = civil_from_days(local // _DAY_MS)
        origin_year, origin_month, _ = civil_from_days(self.origin_local // _DAY_MS)
        months = (year - origin_year) * 12 + month - origin_month
        if self.kind == "months":
            return months // self.step.months
        longest_ms = self.step.months * 31 * _DAY_MS + self.length_ms
        return (local - self.origin_local) // longest_ms

    def _border(self, index: int) -> int:
        """Where bucket number `index` starts, in UTC."""
        if self.kind == "days":
            return self.zone.to_utc(self.origin_local + index * self.length_ms)
        if self.kind == "months":
            return self.zone.to_utc(_add_months(self.origin_local, index * self.step.months))
        # months of unequal length and days do not commute: only going step by step gives Druid's borders
        table, sign = (self._after, 1) if index >= 0 else (self._before, -1)
        while len(table) <= abs(index):
            table.append(_add_months(table[-1], sign * self.step.months) + sign * self.length_ms)
        return self.zone.to_utc(table[abs(index)])


def _add_months(local: int, months: int) -> int:
    """Wall-clock time moved by months; a day beyond its month's end becomes the last one."""
    days, clock = divmod(local, _DAY_MS)
    year, month, day = civil_from_days(days)
    year, month = divmod(year * 12 + month - 1 + months, 12)
    first = days_from_civil(year, month + 1, 1)
    following = days_from_civil(year + (month == 11), (month + 1) % 12 + 1, 1)
    return min(first + day - 1, following - 1) * _DAY_MS + clock
