"""Buckets of time: Druid's examples, and what must hold for any of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from druid_core.errors import InvalidInput
from druid_core.granularity import (
    ALL,
    DAY,
    NONE,
    DurationGranularity,
    Granularity,
    PeriodGranularity,
    parse_granularity,
)
from druid_core.instant import parse_instant
from druid_core.interval import ETERNITY, Interval

AT = parse_instant("2024-03-06T17:30Z")

ZONES = ["UTC", "Europe/Rome", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Monrovia", "-03:30"]
PERIODS = ["P1D", "P1W", "P1M", "P3M", "P1Y", "P5Y", "PT1H", "PT1M", "PT6H", "P2D", "P2W", "P1DT12H", "P1M1D"]

instants = st.integers(parse_instant("1880-01-01"), parse_instant("2060-01-01"))
granularities = st.one_of(
    st.builds(
        PeriodGranularity,
        st.sampled_from(PERIODS),
        st.sampled_from(ZONES),
        st.one_of(st.none(), st.integers(-(10**12), 10**12)),
    ),
    st.builds(DurationGranularity, st.integers(1, 10**10), st.integers(-(10**12), 10**12)),
    st.sampled_from([ALL, NONE]),
)


@pytest.mark.parametrize(
    ("raw", "bucket"),
    [
        ("WEEK", "2024-03-04/2024-03-11"),  # ISO weeks: from Monday
        ({"type": "period", "period": "P1D", "timeZone": "Asia/Tokyo"}, "2024-03-06T15:00Z/2024-03-07T15:00Z"),
        ({"type": "period", "period": "P2D"}, "2024-03-06/2024-03-08"),
        ({"type": "period", "period": "P1W", "origin": "2012-01-01"}, "2024-03-03/2024-03-10"),
        ("six_hour", "2024-03-06T12:00Z/2024-03-06T18:00Z"),
        ("fifteen_minute", "2024-03-06T17:30Z/2024-03-06T17:45Z"),
        ("quarter", "2024-01-01/2024-04-01"),
        ("Year", "2024/2025"),
        ({"type": "period", "period": "P1M", "origin": "2012-01-15"}, "2024-02-15/2024-03-15"),
        ({"type": "period", "period": "P1M", "origin": "2012-01-31"}, "2024-02-29/2024-03-31"),
        ({"type": "period", "period": "P1M", "timeZone": "Europe/Rome"}, "2024-02-29T23:00Z/2024-03-31T22:00Z"),
        (
            {"type": "duration", "duration": 7_200_000, "origin": "2024-01-01T01:00Z"},
            "2024-03-06T17:00Z/2024-03-06T19:00Z",
        ),
        ("all", str(ETERNITY)),
    ],
)
def test_bucket_is_the_one_that_druid_finds(raw: Any, bucket: str) -> None:
    assert parse_granularity(raw).bucket(AT) == Interval.parse(bucket)


@pytest.mark.parametrize(
    ("raw", "printed"),
    [
        ("day", "DAY"),
        ("Fifteen_Minute", "FIFTEEN_MINUTE"),
        ("none", {"type": "none"}),
        ("ALL", {"type": "all"}),
        ({"type": "period", "period": "P1D"}, "DAY"),
        ({"type": "period", "period": "P3M", "timeZone": "UTC", "origin": None}, "QUARTER"),
        (
            {"type": "period", "period": "P1D", "timeZone": "Asia/Tokyo"},
            {"type": "period", "period": "P1D", "timeZone": "Asia/Tokyo", "origin": None},
        ),
        (
            {"type": "period", "period": "P1D", "origin": "2012-01-01"},
            {"type": "period", "period": "P1D", "timeZone": "UTC", "origin": "2012-01-01T00:00:00.000Z"},
        ),
        (
            {"type": "duration", "duration": "3600000"},
            {"type": "duration", "duration": 3_600_000, "origin": "1970-01-01T00:00:00.000Z"},
        ),
    ],
)
def test_granularity_is_printed_as_druid_prints_it(raw: Any, printed: Any) -> None:
    granularity = parse_granularity(raw)
    assert granularity.to_wire() == printed
    assert parse_granularity(printed) == granularity


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        ("PT1H", "No enum constant org.apache.druid.java.util.common.granularity.GranularityType.PT1H"),
        ("fortnight", "GranularityType.FORTNIGHT"),
        ({"type": "period"}, "period can't be null!"),
        ({"type": "period", "period": "1 day"}, 'Invalid format: "1 day"'),
        ({"type": "period", "period": "P0D"}, "should be non-zero"),
        (
            {"type": "period", "period": "P1D", "timeZone": "Mars/Base"},
            "The datetime zone id 'Mars/Base' is not recognised",
        ),
        ({"type": "period", "period": "P1D", "timeZone": "../../etc"}, "is not recognised"),
        ({"type": "period", "period": "P1D", "origin": "soon"}, "soon"),
        ({"type": "duration", "duration": 0}, "duration should be greater than 0!"),
        ({"type": "duration", "duration": "long"}, "not a valid `long` value"),
        ({"type": "weekly"}, "known type ids = [all, duration, none, period] (for POJO property 'g')"),
        ({"period": "P1D"}, "missing type id property 'type' (for POJO property 'g')"),
        (["day"], "Unexpected token (START_ARRAY)"),
        (7, "Unexpected token (VALUE_NUMBER_INT)"),
    ],
)
def test_what_is_no_granularity_is_refused_in_words(raw: Any, refusal: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_granularity(raw, "g")
    assert refusal in str(error.value)


@given(granularities, instants)
def test_bucket_holds_its_instant_and_is_its_own_bucket(granularity: Granularity, ms: int) -> None:
    bucket = granularity.bucket(ms)
    assert bucket.contains(ms)
    assert granularity.bucket(bucket.start_ms) == bucket
    assert granularity.is_aligned(bucket)


calendar = st.builds(
    PeriodGranularity,
    st.sampled_from([period for period in PERIODS if period not in ("PT1H", "PT1M")]),
    st.sampled_from(ZONES),
    st.one_of(st.none(), st.integers(-(10**12), 10**12)),
)


@given(calendar, instants)
def test_buckets_lie_side_by_side(granularity: PeriodGranularity, ms: int) -> None:
    bucket = granularity.bucket(ms)
    assert granularity.bucket(bucket.end_ms).start_ms == bucket.end_ms
    assert granularity.bucket(bucket.start_ms - 1).end_ms == bucket.start_ms


@settings(deadline=None)
@given(granularities, st.lists(instants, max_size=30))
def test_many_instants_at_once_find_the_same_buckets(granularity: Granularity, times: list[int]) -> None:
    starts = granularity.bucket_starts(np.asarray(times, dtype=np.int64))
    assert starts.dtype == np.int64
    assert starts.tolist() == [granularity.bucket(ms).start_ms for ms in times]


@settings(deadline=None)
@given(st.sampled_from(PERIODS), st.sampled_from(ZONES), st.integers(0, 10**7))
def test_instants_around_a_clock_change_find_the_same_buckets(period: str, zone: str, step_ms: int) -> None:
    granularity = PeriodGranularity(period, zone)
    times = np.arange(parse_instant("2018-11-03"), parse_instant("2018-11-06"), max(step_ms, 600_000), dtype=np.int64)
    assert granularity.bucket_starts(times).tolist() == [granularity.bucket(ms).start_ms for ms in times.tolist()]


def test_local_days_have_23_and_25_hours_where_the_clock_is_set() -> None:
    day = PeriodGranularity("P1D", "Europe/Rome")
    spring, autumn = day.bucket(parse_instant("2024-03-31T10:00Z")), day.bucket(parse_instant("2024-10-27T10:00Z"))
    assert (spring.end_ms - spring.start_ms) == 23 * 3_600_000
    assert (autumn.end_ms - autumn.start_ms) == 25 * 3_600_000


def test_day_without_a_midnight_begins_when_the_clock_is_set() -> None:
    # Sao Paulo, 2018-11-04: from 23:59:59 to 01:00:00
    bucket = PeriodGranularity("P1D", "America/Sao_Paulo").bucket(parse_instant("2018-11-04T12:00Z"))
    assert bucket == Interval.parse("2018-11-04T03:00Z/2018-11-05T02:00Z")


def test_hours_of_a_zone_off_the_hour_start_on_its_clock() -> None:
    hour = PeriodGranularity("PT1H", "Asia/Kolkata").bucket(parse_instant("2024-01-01T00:00Z"))
    assert hour == Interval.parse("2023-12-31T23:30Z/2024-01-01T00:30Z")


def test_buckets_of_an_interval_reach_over_its_edges() -> None:
    interval = Interval.parse("2024-02-10T05:00Z/2024-02-12T00:00Z")
    assert [str(bucket) for bucket in DAY.buckets(interval)] == [
        "2024-02-10T00:00:00.000Z/2024-02-11T00:00:00.000Z",
        "2024-02-11T00:00:00.000Z/2024-02-12T00:00:00.000Z",
    ]
    assert list(ALL.buckets(interval)) == [ETERNITY]
    assert list(NONE.buckets(Interval(5, 7))) == [Interval(5, 6), Interval(6, 7)]


def test_alignment_is_being_one_bucket() -> None:
    assert DAY.is_aligned(Interval.parse("2024-02-10/2024-02-11"))
    assert not DAY.is_aligned(Interval.parse("2024-02-10/2024-02-12"))
    assert not ALL.is_aligned(Interval.parse("2024-02-10/2024-02-12"))
    assert NONE.is_aligned(Interval(3, 9))
