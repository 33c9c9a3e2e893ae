"""Zones: wall-clock time and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from druid_core.errors import InvalidInput
from druid_core.instant import MAX_MS, MIN_MS, parse_instant
from druid_core.zone import FixedOffset, zone_of

HOUR_MS = 3_600_000


@pytest.mark.parametrize(("name", "hours"), [("UTC", 0.0), ("Z", 0.0), ("+05:30", 5.5), ("-0330", -3.5), ("+02", 2.0)])
def test_fixed_zones_are_told_by_their_offset(name: str, hours: float) -> None:
    assert zone_of(name) == FixedOffset(int(hours * HOUR_MS))


def test_unknown_zone_is_refused_with_jodas_words() -> None:
    with pytest.raises(InvalidInput, match="The datetime zone id 'Nowhere' is not recognised"):
        zone_of("Nowhere")


@settings(deadline=None)
@given(
    st.sampled_from(["Europe/Rome", "Africa/Monrovia", "America/New_York", "Pacific/Apia"]),
    st.lists(st.integers(parse_instant("1850-01-01"), parse_instant("2100-01-01")), max_size=20),
)
def test_offsets_of_many_instants_are_those_of_each(name: str, times: list[int]) -> None:
    zone = zone_of(name)
    assert np.broadcast_to(zone.offsets_ms(np.asarray(times, dtype=np.int64)), len(times)).tolist() == [
        zone.offset_ms(ms) for ms in times
    ]


@given(st.integers(parse_instant("1950-01-01"), parse_instant("2100-01-01")))
def test_wall_clock_leads_back_to_the_instant_or_an_hour_before(ms: int) -> None:
    zone = zone_of("Europe/Rome")
    assert zone.to_utc(ms + zone.offset_ms(ms)) in (ms, ms - HOUR_MS)


def test_time_that_the_clock_skips_is_the_instant_of_the_change() -> None:
    rome = zone_of("Europe/Rome")
    assert rome.to_utc(parse_instant("2024-03-31T02:30Z")) == parse_instant("2024-03-31T01:00Z")


def test_time_that_the_clock_shows_twice_is_the_earlier_one() -> None:
    rome = zone_of("Europe/Rome")
    assert rome.to_utc(parse_instant("2024-10-27T02:30Z")) == parse_instant("2024-10-27T00:30Z")


def test_ends_of_all_time_have_an_offset_too() -> None:
    rome = zone_of("Europe/Rome")
    assert abs(rome.offset_ms(MIN_MS)) < 24 * HOUR_MS
    assert rome.to_utc(MAX_MS) == MAX_MS - rome.offset_ms(MAX_MS)
