"""
Instants: integer milliseconds UTC inside, `2026-01-31T10:20:30.123Z` at the edges.

Druid compares such texts as strings (versions, dates in the metadata tables), so the text always has four year
digits or more, three digits of milliseconds and a `Z`. Years outside 0..9999 follow Joda: a sign and nine digits
only where needed, as in `-146136543-09-08T08:23:32.096Z`.
"""

import re

from druid_core.errors import InvalidInput

MIN_MS = -4611686018427387904
"""The earliest instant of Druid's ALL interval. Druid: JodaUtils.MIN_INSTANT"""
MAX_MS = 4611686018427387903
"""The latest instant of Druid's ALL interval. Druid: JodaUtils.MAX_INSTANT"""

_DAY_MS = 86_400_000

_ISO = re.compile(
    r"(?P<year>[+-]?\d{4,9})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?)?"
    r"(?:[T ](?:(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))?)?)?)?)?"
    r"(?P<zone>Z|z|[+-]\d{2}(?::?\d{2})?)?"
)


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a proleptic Gregorian date; any year."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def civil_from_days(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a number of days since 1970-01-01; the inverse of `days_from_civil`."""
    days += 719_468
    era = days // 146_097
    day_of_era = days - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def format_instant(ms: int) -> str:
    """The text of an instant, as Druid writes it."""
    days, rest = divmod(ms, _DAY_MS)
    year, month, day = civil_from_days(days)
    seconds, millis = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    year_text = f"{year:04d}" if year >= 0 else f"-{-year:04d}"
    return f"{year_text}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{millis:03d}Z"


def parse_instant(text: str) -> int:
    """
    Milliseconds of an ISO-8601 text; a missing part is its least value, a missing zone is UTC.

    Raises InvalidInput naming the text.
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f'Invalid format: "{text}" is not an ISO-8601 instant such as 2026-01-31T10:20:30.123Z')
    year, month, day = int(match["year"]), int(match["month"] or 1), int(match["day"] or 1)
    hour, minute, second = int(match["hour"] or 0), int(match["minute"] or 0), int(match["second"] or 0)
    days = days_from_civil(year, month, 1) + day - 1 if 1 <= month <= 12 else 0
    end_of_day = hour == 24 and minute == second == 0
    if (
        not 1 <= month <= 12
        or not 1 <= day <= 31
        or civil_from_days(days)[1] != month
        or (hour > 23 and not end_of_day)
        or minute > 59
        or second > 59
    ):
        raise InvalidInput(f'Cannot parse "{text}": a part of the date or time is out of its range')
    millis = int((match["fraction"] or "0")[:3].ljust(3, "0"))
    return days * _DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + millis - _zone_offset_ms(match["zone"])


def _zone_offset_ms(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = (int(digits[:2]) * 60 + int(digits[2:])) * 60_000
    return -offset if zone[0] == "-" else offset
