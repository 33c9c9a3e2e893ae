"""Every segment and query granularity, every way to write a timestamp, and times far away."""

import random
from typing import Any

from tests.peer.catalogue.columns import START, WORDS
from tests.peer.datasets import DataSet, Row, Stamp, data_set, iso, register
from tests.peer.granularity_oracle import DAY, FIXED_MS, HOUR, MINUTE, MONTHS, SECOND

SPANS_MS = {**FIXED_MS, "WEEK": 7 * DAY, **{name: months * 31 * DAY for name, months in MONTHS.items()}, "ALL": DAY}
PERIODS: dict[str, dict[str, Any]] = {
    "tokyo_days": {"type": "period", "period": "P1D", "timeZone": "Asia/Tokyo"},
    "kolkata_hours": {"type": "period", "period": "PT1H", "timeZone": "Asia/Kolkata"},
    "paris_days_in_spring": {"type": "period", "period": "P1D", "timeZone": "Europe/Paris"},
    "new_york_months": {"type": "period", "period": "P1M", "timeZone": "America/New_York"},
    "two_days": {"type": "period", "period": "P2D"},
    "weeks_from_sunday": {"type": "period", "period": "P1W", "origin": "2012-01-01T00:00:00Z"},
}


def walk(r: random.Random, step_ms: int, count: int = 60, start: int = START) -> list[Row]:
    """Rows at uneven steps of up to `step_ms`, in shuffled order."""
    rows: list[Row] = []
    for _ in range(count):
        start += r.randrange(step_ms)
        rows.append((start, {"tree": r.choice(WORDS), "n": r.randrange(9)}))
    r.shuffle(rows)
    return rows


def plain(rows: list[Row], **more: Any) -> DataSet:
    return DataSet(rows, dimensions=["tree", {"type": "long", "name": "n"}], **more)


for _name, _span in SPANS_MS.items():

    def _segments(r: random.Random, name: str = _name, span: int = _span) -> DataSet:
        return plain(walk(r, max(span // 8, 2)), segment_granularity=name)

    def _truncated(r: random.Random, name: str = _name, span: int = _span) -> DataSet:
        widest = "YEAR" if span > DAY else "DAY"
        return plain(walk(r, max(span // 2, 2), count=30), segment_granularity=widest, query_granularity=name)

    register(f"segments_by_{_name.lower()}", _segments)
    register(f"times_cut_to_{_name.lower()}", _truncated)


for _name, _period in PERIODS.items():

    def _zoned(r: random.Random, name: str = _name, period: dict[str, Any] = _period) -> DataSet:
        march = START + 88 * DAY  # 2024-03-29, two days before Paris moves its clocks
        step = {"kolkata_hours": HOUR // 6, "new_york_months": 4 * DAY}.get(name, 6 * HOUR)
        return plain(walk(r, step, start=march), segment_granularity=period)

    register(f"segments_by_{_name}", _zoned)


@data_set
def times_cut_to_tokyo_days(r: random.Random) -> DataSet:
    return plain(walk(r, 4 * HOUR), segment_granularity="MONTH", query_granularity=PERIODS["tokyo_days"])


@data_set
def times_cut_to_durations_of_90_minutes(r: random.Random) -> DataSet:
    return plain(
        walk(r, HOUR), segment_granularity="MONTH", query_granularity={"type": "duration", "duration": 90 * MINUTE}
    )


@data_set
def query_granularity_wider_than_the_segment(r: random.Random) -> DataSet:
    return plain(walk(r, 10 * MINUTE), segment_granularity="HOUR", query_granularity="DAY")


@data_set
def years_before_1970_and_after_2038(_: random.Random) -> DataSet:
    days = [-70_000, -25_567, -1, 0, 24_855, 24_856, 40_000, 80_000]
    return plain([(day * DAY + 1, {"tree": f"day {day}"}) for day in days], segment_granularity="YEAR")


@data_set
def rows_outside_the_intervals_are_thrown_away(r: random.Random) -> DataSet:
    return plain(
        walk(r, 2 * HOUR), intervals=[(START + DAY, START + 2 * DAY), (START + 3 * DAY, START + 3 * DAY + HOUR)]
    )


STAMPS = {
    "iso": Stamp("iso", iso),
    "iso_with_offset": Stamp("iso", lambda ms: iso(ms + 2 * HOUR).replace("Z", "+02:00")),
    "auto_iso": Stamp("auto", iso),
    "auto_iso_with_blank": Stamp("auto", lambda ms: iso(ms).replace("T", " ").removesuffix("Z")),
    "auto_millis": Stamp("auto", lambda ms: ms),
    "auto_millis_as_text": Stamp("auto", str),
    "posix": Stamp("posix", lambda ms: ms // SECOND),
    "millis": Stamp("millis", lambda ms: ms),
    "micro": Stamp("micro", lambda ms: ms * 1000),
    "nano": Stamp("nano", lambda ms: ms * 1_000_000),
    "ruby": Stamp("ruby", lambda ms: f"{ms // SECOND}.{ms % SECOND:03d}"),
    "pattern": Stamp(
        "yyyy/MM/dd HH:mm:ss.SSS", lambda ms: iso(ms).translate(str.maketrans("-T", "/ ")).removesuffix("Z")
    ),
    "pattern_of_a_number": Stamp("yyyyMMddHHmmss", lambda ms: int("".join(filter(str.isdigit, iso(ms)))[:14])),
}

for _name, _stamp in STAMPS.items():

    def _stamped(r: random.Random, name: str = _name, stamp: Stamp = _stamp) -> DataSet:
        rows = walk(r, 3 * HOUR, count=25)
        if name in ("posix", "pattern_of_a_number"):
            rows = [(ms // SECOND * SECOND, record) for ms, record in rows]
        return plain(rows, stamp=stamp)

    register(f"timestamps_as_{_name}", _stamped)
