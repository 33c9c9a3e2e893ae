"""
Granularities: how instants are gathered into buckets. Druid: org.apache.druid.java.util.common.granularity

A bucket is a half-open `Interval` in UTC; the buckets of one granularity do not overlap and leave nothing out. Period
granularities count in the wall-clock time of their zone, so a day of `Europe/Rome` may have 23 or 25 hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import ETERNITY, Interval
from druid_core.ruler import Ruler, step_of
from druid_core.zone import zone_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Millis = npt.NDArray[np.int64]

_STANDARD = {
    "SECOND": "PT1S",
    "MINUTE": "PT1M",
    "FIVE_MINUTE": "PT5M",
    "TEN_MINUTE": "PT10M",
    "FIFTEEN_MINUTE": "PT15M",
    "THIRTY_MINUTE": "PT30M",
    "HOUR": "PT1H",
    "SIX_HOUR": "PT6H",
    "EIGHT_HOUR": "PT8H",
    "DAY": "P1D",
    "WEEK": "P1W",
    "MONTH": "P1M",
    "QUARTER": "P3M",
    "YEAR": "P1Y",
}
"""The names that Druid prints instead of an object. Druid: GranularityType"""
_NAME_OF = {period: name for name, period in _STANDARD.items()}

_JAVA_CLASS = "org.apache.druid.java.util.common.granularity.Granularity"


@dataclass(frozen=True, slots=True)
class AllGranularity:
    """One bucket for all time. Druid: AllGranularity"""

    def to_wire(self) -> dict[str, str]:
        return {"type": "all"}

    def bucket(self, ms: int) -> Interval:
        """The bucket that holds an instant: always ETERNITY."""
        return ETERNITY

    def buckets(self, interval: Interval) -> Iterator[Interval]:
        """The buckets that overlap `interval`."""
        yield ETERNITY

    def bucket_starts(self, ms: Millis) -> Millis:
        """The start of the bucket of each instant."""
        import numpy as np

        return np.full_like(ms, ETERNITY.start_ms)

    def is_aligned(self, interval: Interval) -> bool:
        """Whether `interval` is a bucket."""
        return interval == ETERNITY


@dataclass(frozen=True, slots=True)
class NoneGranularity:
    """A bucket for each millisecond. Druid: NoneGranularity"""

    def to_wire(self) -> dict[str, str]:
        return {"type": "none"}

    def bucket(self, ms: int) -> Interval:
        """The bucket that holds an instant: the instant alone."""
        return Interval(ms, ms + 1)

    def buckets(self, interval: Interval) -> Iterator[Interval]:
        """The buckets that overlap `interval`, one a millisecond."""
        return (Interval(ms, ms + 1) for ms in range(interval.start_ms, interval.end_ms))

    def bucket_starts(self, ms: Millis) -> Millis:
        """The instants themselves; the same array, not a copy."""
        return ms

    def is_aligned(self, interval: Interval) -> bool:
        """Every interval is made of whole milliseconds."""
        return True


@dataclass(frozen=True, slots=True)
class DurationGranularity:
    """Buckets of `duration_ms`, counted from `origin_ms`. Druid: DurationGranularity"""

    duration_ms: int
    origin_ms: int = 0

    def __post_init__(self) -> None:
        if self.duration_ms <= 0:
            raise InvalidInput("duration should be greater than 0!")

    def to_wire(self) -> dict[str, Any]:
        return {"type": "duration", "duration": self.duration_ms, "origin": format_instant(self.origin_ms)}

    def bucket(self, ms: int) -> Interval:
        """The bucket that holds an instant."""
        start = ms - (ms - self.origin_ms) % self.duration_ms
        return Interval(start, start + self.duration_ms)

    def buckets(self, interval: Interval) -> Iterator[Interval]:
        """The buckets that overlap `interval`, in order."""
        return _walk(self, interval)

    def bucket_starts(self, ms: Millis) -> Millis:
        """The start of the bucket of each instant."""
        return ms - (ms - self.origin_ms) % self.duration_ms

    def is_aligned(self, interval: Interval) -> bool:
        """Whether `interval` is a bucket."""
        return self.bucket(interval.start_ms) == interval


@dataclass(frozen=True, slots=True)
class PeriodGranularity:
    """
    Buckets of an ISO-8601 period in a zone. Druid: PeriodGranularity

    A single year, month, week, day, hour, minute or second starts where the calendar has it start; multiples
    (`P2D`, `PT6H`) and everything that has an `origin_ms` are counted from the origin, by default 1970-01-01T00:00 of
    the zone. Raises InvalidInput for what is no period or no zone.
    """

    period: str
    time_zone: str = "UTC"
    origin_ms: int | None = None

    def __post_init__(self) -> None:
        step_of(self.period)
        zone_of(self.time_zone)

    def to_wire(self) -> str | dict[str, Any]:
        """The upper-case name of a standard granularity, else an object, as Druid prints it."""
        name = _NAME_OF.get(self.period)
        if name is not None and self.origin_ms is None and self.time_zone in ("UTC", "Etc/UTC", "Z"):
            return name
        origin = None if self.origin_ms is None else format_instant(self.origin_ms)
        return {"type": "period", "period": self.period, "timeZone": self.time_zone, "origin": origin}

    def bucket(self, ms: int) -> Interval:
        """The bucket that holds an instant."""
        return _ruler_of(self).bucket(ms)

    def buckets(self, interval: Interval) -> Iterator[Interval]:
        """The buckets that overlap `interval`, in order."""
        return _walk(self, interval)

    def bucket_starts(self, ms: Millis) -> Millis:
        """The start of the bucket of each instant: `bucket(m).start_ms` for every m."""
        return _ruler_of(self).bucket_starts(ms)

    def is_aligned(self, interval: Interval) -> bool:
        """Whether `interval` is a bucket."""
        return self.bucket(interval.start_ms) == interval


Granularity = PeriodGranularity | DurationGranularity | AllGranularity | NoneGranularity

ALL = AllGranularity()
NONE = NoneGranularity()


def parse_granularity(raw: object, property_name: str | None = None) -> Granularity:
    """
    A granularity from its JSON: a name in any case, or an object with `type` period, duration, all or none.

    `property_name` is the field that it stands in, for the message. Raises InvalidInput with Druid's words; a bare
    ISO period such as "PT1H" is no granularity.
    """
    if isinstance(raw, PeriodGranularity | DurationGranularity | AllGranularity | NoneGranularity):
        return raw
    if isinstance(raw, str):
        return _by_name(raw)
    where = f" (for POJO property '{property_name}')" if property_name else ""
    if not isinstance(raw, dict):
        token = "VALUE_TRUE" if raw is True else "VALUE_FALSE" if raw is False else "VALUE_NUMBER_INT"
        kind = "START_ARRAY" if isinstance(raw, list) else token
        raise InvalidInput(
            f"Unexpected token ({kind}), expected START_OBJECT: need JSON Object to contain As.PROPERTY type "
            f"information for class {_JAVA_CLASS}"
        )
    fields = cast("dict[str, Any]", raw)
    kind = fields.get("type")
    if kind is None:
        raise InvalidInput(
            f"Could not resolve subtype of [simple type, class {_JAVA_CLASS}]: missing type id property 'type'{where}"
        )
    try:
        return _by_type(str(kind), fields, where)
    except _Unfit as error:
        raise InvalidInput(f"Cannot construct instance of `{error.java_class}`, problem: {error}") from error


@lru_cache(maxsize=256)
def _ruler_of(granularity: PeriodGranularity) -> Ruler:
    return Ruler(granularity.period, granularity.time_zone, granularity.origin_ms)


class _Unfit(Exception):
    """Fields that do not make a granularity."""

    def __init__(self, java_class: str, problem: str) -> None:
        self.java_class = f"org.apache.druid.java.util.common.granularity.{java_class}"
        super().__init__(problem)


def _by_name(name: str) -> Granularity:
    upper = name.upper()
    if upper == "NONE":
        return NONE
    if upper == "ALL":
        return ALL
    period = _STANDARD.get(upper)
    if period is None:
        raise InvalidInput(
            f"Cannot construct instance of `{_JAVA_CLASS}`, problem: "
            f"No enum constant org.apache.druid.java.util.common.granularity.GranularityType.{upper}"
        )
    return PeriodGranularity(period)


def _by_type(kind: str, fields: dict[str, Any], where: str) -> Granularity:
    match kind:
        case "all":
            return ALL
        case "none":
            return NONE
        case "duration":
            return _duration(fields)
        case "period":
            if fields.get("period") is None:
                raise _Unfit("PeriodGranularity", "period can't be null!")
            try:
                zone = fields.get("timeZone")
                return PeriodGranularity(
                    str(fields["period"]), "UTC" if zone is None else str(zone), _origin(fields.get("origin"))
                )
            except InvalidInput as error:
                raise _Unfit("PeriodGranularity", str(error)) from error
        case _:
            raise InvalidInput(
                f"Please make sure to load all the necessary extensions and jars with type '{kind}' on "
                f"'druid/coordinator' service. Could not resolve type id '{kind}' as a subtype of `{_JAVA_CLASS}` "
                f"known type ids = [all, duration, none, period]{where}"
            )


def _duration(fields: dict[str, Any]) -> DurationGranularity:
    raw = fields.get("duration", 0)
    try:
        return DurationGranularity(int(raw), _origin(fields.get("origin")) or 0)
    except InvalidInput as error:
        raise _Unfit("DurationGranularity", str(error)) from error
    except (TypeError, ValueError):
        raise InvalidInput(
            f'Cannot deserialize value of type `long` from String "{raw}": not a valid `long` value'
        ) from None


def _origin(raw: object) -> int | None:
    if raw is None:
        return None
    return raw if isinstance(raw, int) else parse_instant(str(raw))


def _walk(granularity: DurationGranularity | PeriodGranularity, interval: Interval) -> Iterator[Interval]:
    at = interval.start_ms
    while at < interval.end_ms:
        bucket = granularity.bucket(at)
        yield bucket
        at = bucket.end_ms


DAY = PeriodGranularity("P1D")
"""The segment granularity of a spec that names none."""
