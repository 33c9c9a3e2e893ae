"""Where a time's bucket starts and ends, one time at a time, with the standard library's calendar alone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ALL = (-4611686018427387904, 4611686018427387903)  # Druid: Intervals.ETERNITY
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

FIXED_MS = {
    "SECOND": SECOND,
    "MINUTE": MINUTE,
    "FIVE_MINUTE": 5 * MINUTE,
    "TEN_MINUTE": 10 * MINUTE,
    "FIFTEEN_MINUTE": 15 * MINUTE,
    "THIRTY_MINUTE": 30 * MINUTE,
    "HOUR": HOUR,
    "SIX_HOUR": 6 * HOUR,
    "EIGHT_HOUR": 8 * HOUR,
    "DAY": DAY,
}
MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
PERIOD_NAMES = {"PT1H": "HOUR", "P1D": "DAY", "P1W": "WEEK", "P1M": "MONTH", "P3M": "QUARTER", "P1Y": "YEAR"}


def bucket(ms: int, granularity: str | dict[str, Any]) -> tuple[int, int]:
    """The [start, end) of the bucket that holds `ms`. NONE has buckets of one millisecond."""
    if isinstance(granularity, dict):
        if granularity["type"] == "duration":
            return _fixed(ms, granularity["duration"], 0)
        return _period(ms, granularity)
    if granularity == "NONE":
        return ms, ms + 1
    if granularity == "ALL":
        return ALL
    if granularity in FIXED_MS:
        return _fixed(ms, FIXED_MS[granularity], 0)
    return _calendar(ms, granularity, ZoneInfo("UTC"))


def _fixed(ms: int, length: int, origin: int) -> tuple[int, int]:
    start = ms - (ms - origin) % length
    return start, start + length


def _period(ms: int, granularity: dict[str, Any]) -> tuple[int, int]:
    zone = ZoneInfo(granularity.get("timeZone") or "UTC")
    period = granularity["period"]
    if "origin" in granularity:
        origin = to_ms(datetime.fromisoformat(granularity["origin"]))
        lengths = {"P1W": 7 * DAY, "P1D": DAY}
        return _fixed(ms, lengths[period], origin)
    if period == "P2D":
        return _fixed(ms, 2 * DAY, 0)
    if period == "PT2H":
        return _fixed(ms, 2 * HOUR, 0)
    return _calendar(ms, PERIOD_NAMES[period], zone)


def _calendar(ms: int, name: str, zone: ZoneInfo) -> tuple[int, int]:
    """Buckets that begin at a midnight or a full hour of `zone`: floor and step on its wall clock."""
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zone)
    if name == "HOUR":
        start = local.replace(minute=0, second=0, microsecond=0)
        end = start + timedelta(hours=1)
    elif name == "DAY":
        start = local.replace(hour=0, minute=0, second=0, microsecond=0)
        end = start + timedelta(days=1)
    elif name == "WEEK":
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        start = midnight - timedelta(days=midnight.weekday())
        end = start + timedelta(days=7)
    else:
        months = MONTHS[name]
        start = datetime(local.year, (local.month - 1) // months * months + 1, 1, tzinfo=zone)
        following = start.year * 12 + start.month - 1 + months
        end = datetime(following // 12, following % 12 + 1, 1, tzinfo=zone)
    return to_ms(start), to_ms(end)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime."""
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
