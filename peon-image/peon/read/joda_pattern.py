"""
Time patterns such as `dd/MMM/yyyy:HH:mm:ss Z`, with the meaning and the leniency of Joda-Time.

A pattern becomes a regular expression whose groups are the fields; fields are then set from the largest to the
smallest, so that of two that contradict each other the smaller one moves the time. Joda: DateTimeFormat
"""

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

from druid_core.instant import civil_from_days
from peon.read.iso_time import DAY_MS, OFFSET, civil_day, offset_ms, week_day, year_day

_MONTHS = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_ZONE_NAMES = {
    "UT": "UTC",
    "UTC": "UTC",
    "GMT": "UTC",
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "MST": "America/Denver",
    "MDT": "America/Denver",
    "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles",
}
"""Zone names that can be parsed. Joda: DateTimeUtils.getDefaultTimeZoneNames"""

_PIECE = re.compile(r"(?P<letters>([A-Za-z])\2*)|'(?P<quoted>(?:[^']|'')*)'|(?P<plain>[^A-Za-z'])")

_CENTURY_PIVOT_YEARS = 30
"""A two-digit year lies within fifty years of the one so many years ago. Joda: DateTimeFormat.parsePatternTo"""

_DEFAULT_YEAR = 2000
"""Of patterns that begin with a month or a day. Joda: DateTimeFormatter.getDefaultYear"""

_LETTERS = "GCYxwyMdaKhHkmsSzZeED"
_NUMERIC = "CYxwydhHkKmsSeD"


class UnknownPattern(ValueError):
    """The text is not a pattern."""


def joda_parser(pattern: str, this_year: int) -> Callable[[str], int | None]:
    """
    A function from texts to milliseconds, None for a text that does not fit. Raises UnknownPattern.

    `this_year` says what century a two-digit year belongs to.
    """
    pieces = _pieces(pattern)
    expression = re.compile("".join(_expression(pieces, i) for i in range(len(pieces))), re.IGNORECASE | re.ASCII)
    letters = {letters[0]: len(letters) for letters, _ in pieces if letters}

    def parse(text: str) -> int | None:
        match = expression.fullmatch(text)
        return None if match is None else _instant(match.groupdict(), letters, this_year)

    return parse


def _pieces(pattern: str) -> list[tuple[str, str]]:
    """Runs of one letter, and literal texts."""
    pieces: list[tuple[str, str]] = []
    position = 0
    while position < len(pattern):
        piece = _PIECE.match(pattern, position)
        if piece is None or (piece["letters"] and piece["letters"][0] not in _LETTERS):
            raise UnknownPattern(f"Illegal pattern component: {pattern[position:]}")
        quoted = piece["quoted"]
        literal = piece["plain"] or ("'" if quoted == "" else (quoted or "").replace("''", "'"))
        pieces.append((piece["letters"], "") if piece["letters"] else ("", literal))
        position = piece.end()
    seen: set[str] = set()
    for letters, _ in pieces:
        if letters and letters[0] in seen:
            raise UnknownPattern(f"The pattern component [{letters[0]}] stands twice in [{pattern}]")
        seen.update(letters[:1])
    return pieces


def _expression(pieces: list[tuple[str, str]], index: int) -> str:
    letters, literal = pieces[index]
    if not letters:
        return re.escape(literal)
    following = pieces[index + 1][0] if index + 1 < len(pieces) else ""
    before_number = bool(following) and (following[0] in _NUMERIC or (following[0] == "M" and len(following) < 3))
    return f"(?P<{letters[0]}>{_field(letters[0], len(letters), before_number)})"


def _field(letter: str, length: int, before_number: bool) -> str:
    match letter:
        case "y" | "x" if length == 2:
            return "[0-9]{2}" if before_number else "[+-]?[0-9]{1,9}+"
        case "y" | "x":
            return f"[+-]?[0-9]{{1,{length if before_number else 9}}}+"
        case "Y" | "C":
            return f"[0-9]{{1,{length if before_number else 9}}}+"
        case "M" if length >= 3:
            return _names(_MONTHS)
        case "E":
            return _names(_WEEKDAYS)
        case "G":
            return "BCE|BC|AD|CE"
        case "a":
            return "AM|PM"
        case "D":
            return "[0-9]{1,3}+"
        case "e":
            return "[0-9]{1}"
        case "S":
            return f"[0-9]{{1,{length}}}+"
        case "z":
            return "|".join(sorted(_ZONE_NAMES, key=len, reverse=True))
        case "Z" if length >= 3:
            return "[A-Za-z0-9/_+-]+"
        case "Z":
            return OFFSET
        case _:
            return "[0-9]{1,2}+"


def _names(names: list[str]) -> str:
    return "|".join(f"{name}|{name[:3]}" for name in names)


def _instant(text: dict[str, str], letters: dict[str, int], this_year: int) -> int | None:
    days = _days(text, letters, this_year)
    clock = _clock_ms(text)
    if days is None or clock is None:
        return None
    local = days * DAY_MS + clock
    if zone := text.get("z") or (text.get("Z") if letters.get("Z", 0) >= 3 else None):
        return _from_zone(local, _ZONE_NAMES.get(zone.upper(), zone) if "z" in text else zone)
    offset = offset_ms(text.get("Z"))
    return None if offset is None else local - offset


def _days(text: dict[str, str], letters: dict[str, int], this_year: int) -> int | None:
    large = [letter for letter in "CYxy" if letter in text]
    default = 1970 if large or not any(letter in text for letter in "MwdDeE") else _DEFAULT_YEAR
    year = default
    if "Y" in text:
        year = int(text["Y"]) if text.get("G", "AD").upper() in ("AD", "CE") else 1 - int(text["Y"])
    if "y" in text:
        year = _year(text["y"], letters["y"], this_year)
    if "x" in text or "w" in text:
        weekyear = _year(text["x"], letters["x"], this_year) if "x" in text else year
        days = week_day(weekyear, int(text.get("w", 1)), 1)
    elif "D" in text:
        days = year_day(year, int(text["D"]))
    else:
        days = civil_day(year, _month(text.get("M", "1")), int(text.get("d", 1)))
    weekday = _weekday(text)
    if days is None or weekday is None:
        return days
    return days - (days + 3) % 7 + weekday - 1 if 1 <= weekday <= 7 else None


def _year(digits: str, length: int, this_year: int) -> int:
    year = int(digits)
    if length == 2 and len(digits) == 2 and digits.isdigit():
        least = this_year - _CENTURY_PIVOT_YEARS - 50
        return least + (year - least) % 100
    return year


def _month(text: str) -> int:
    return int(text) if text.isdigit() else next(i for i, m in enumerate(_MONTHS, 1) if m[:3] == text[:3].lower())


def _weekday(text: dict[str, str]) -> int | None:
    if "E" in text:
        return next(i for i, name in enumerate(_WEEKDAYS, 1) if name[:3] == text["E"][:3].lower())
    return int(text["e"]) if "e" in text else None


def _clock_ms(text: dict[str, str]) -> int | None:
    # Clock hours count 24 (or 12) as nought.
    hour = _in_range(text.get("H"), 0, 23)
    if "k" in text:
        hour = _in_range(text["k"], 1, 24)
        hour = None if hour is None else hour % 24
    half = 12 if text.get("a", "am").lower() == "pm" else 0
    if "h" in text:
        hour = _in_range(text["h"], 1, 12)
        hour = None if hour is None else hour % 12 + half
    if "K" in text:
        hour = _in_range(text["K"], 0, 11)
        hour = None if hour is None else hour + half
    if "a" in text and not {"h", "K", "H", "k"} & text.keys():
        hour = half
    minute, second = _in_range(text.get("m"), 0, 59), _in_range(text.get("s"), 0, 59)
    if hour is None or minute is None or second is None:
        return None
    return ((hour * 60 + minute) * 60 + second) * 1000 + int(text.get("S", "0")[:3].ljust(3, "0"))


def _in_range(digits: str | None, least: int, most: int) -> int | None:
    """The number, 0 where the pattern has none; None outside its range."""
    if digits is None:
        return 0
    return int(digits) if least <= int(digits) <= most else None


def _from_zone(local_ms: int, zone: str) -> int | None:
    info = _zone(zone)
    if info is None:
        return None
    year = civil_from_days(local_ms // DAY_MS)[0]
    if not 1 < year < 9999:
        return None
    wall = datetime(1970, 1, 1) + timedelta(milliseconds=local_ms)  # noqa: DTZ001  a wall clock, not yet a time
    instant = wall.replace(tzinfo=info).astimezone(UTC)
    if instant.astimezone(info).replace(tzinfo=None) != wall:
        return None  # the clocks were put forward over it
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@cache
def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return None
