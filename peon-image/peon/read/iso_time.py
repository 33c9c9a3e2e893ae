"""
ISO-8601 times as Joda parses them: partial dates, weeks, ordinal days, fractions of any part, offsets.

Wider than what Druid writes itself; `druid_core.instant` is for that.
"""

import re

from druid_core.instant import days_from_civil

DAY_MS = 86_400_000

_YEAR = r"(?P<year>[+-]?\d{1,9})"
_DATE = (
    rf"{_YEAR}(?:-W(?P<week>\d{{1,2}})(?:-(?P<weekday>\d))?|-(?P<ordinal>\d{{3}})"
    r"|-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?)?"
)
_TIME = (
    r"(?P<hour>\d{1,2})(?:[.,](?P<hour_fraction>\d{1,9})"
    r"|:(?P<minute>\d{1,2})(?:[.,](?P<minute_fraction>\d{1,9})"
    r"|:(?P<second>\d{1,2})(?:[.,](?P<second_fraction>\d{1,9}))?)?)?"
)
OFFSET = r"(?:[zZ]|[+-]\d{2}(?::?\d{2}(?::?\d{2}(?:[.,]?\d{1,3})?)?)?)"

_DATE_TIME = re.compile(rf"{_DATE}(?:(?P<mark>[Tt ])(?:{_TIME})?(?P<offset>{OFFSET})?)?", re.ASCII)
_TIME_ALONE = re.compile(rf"(?P<mark>[Tt]){_TIME}(?P<offset>{OFFSET})?", re.ASCII)

_MAX_YEAR = 292_278_993
"""The last year of a Joda chronology; its first is as far before year 0, and one more."""


def parse_iso(text: str, *, space_for_t: bool = False, time_alone: bool = False) -> int | None:
    """
    Milliseconds of a text, a missing zone being UTC; None if it is no time.

    `space_for_t`: a space may stand between date and time. `time_alone`: `T10:00` is a time of 1970-01-01.
    """
    match = _DATE_TIME.fullmatch(text) or (_TIME_ALONE.fullmatch(text) if time_alone else None)
    if match is None or (match["mark"] == " " and not space_for_t):
        return None
    part = match.groupdict()
    days = _days(part) if "year" in part else 0
    clock = _clock_ms(part)
    offset = offset_ms(part["offset"])
    return None if days is None or clock is None or offset is None else days * DAY_MS + clock - offset


def civil_day(year: int, month: int, day: int) -> int | None:
    """Days since 1970-01-01; None if there is no such day."""
    if not (-_MAX_YEAR - 1 <= year <= _MAX_YEAR + 1 and 1 <= month <= 12 and day >= 1):
        return None
    first = days_from_civil(year, month, 1)
    following = days_from_civil(year + month // 12, month % 12 + 1, 1)
    return first + day - 1 if first + day <= following else None


def year_day(year: int, ordinal: int) -> int | None:
    """Days since 1970-01-01 of the n-th day of a year."""
    first = civil_day(year, 1, 1)
    if first is None or not 1 <= ordinal <= days_from_civil(year + 1, 1, 1) - first:
        return None
    return first + ordinal - 1


def week_day(year: int, week: int, weekday: int) -> int | None:
    """Days since 1970-01-01 of a day of an ISO week; Monday is 1."""
    if civil_day(year, 1, 1) is None or not 1 <= weekday <= 7:
        return None
    first, following = _first_monday(year), _first_monday(year + 1)
    monday = first + 7 * (week - 1)
    return monday + weekday - 1 if week >= 1 and monday < following else None


def offset_ms(text: str | None) -> int | None:
    """Milliseconds east of UTC of `Z`, `+02`, `+0230`, `-02:30:15.5`; 0 for no text, None for an impossible one."""
    if text is None or text in "zZ":
        return 0
    digits = re.sub(r"\D", "", text).ljust(6, "0")
    hours, minutes, seconds, millis = (
        int(digits[:2]),
        int(digits[2:4]),
        int(digits[4:6]),
        int(digits[6:9].ljust(3, "0")),
    )
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    offset = ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis
    return -offset if text[0] == "-" else offset


def _days(part: dict[str, str | None]) -> int | None:
    year = int(part["year"] or 0)
    if part["week"]:
        return week_day(year, int(part["week"]), int(part["weekday"] or 1))
    if part["ordinal"]:
        return year_day(year, int(part["ordinal"]))
    return civil_day(year, int(part["month"] or 1), int(part["day"] or 1))


def _clock_ms(part: dict[str, str | None]) -> int | None:
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        return None
    whole = ((hour * 60 + minute) * 60 + second) * 1000
    for name, unit_ms in (("hour", 3_600_000), ("minute", 60_000), ("second", 1000)):
        if digits := part[f"{name}_fraction"]:
            return whole + int(digits) * unit_ms // 10 ** len(digits)
    return whole


def _first_monday(year: int) -> int:
    """The Monday of the week that holds January 4th."""
    fourth = days_from_civil(year, 1, 4)
    return fourth - (fourth + 3) % 7
