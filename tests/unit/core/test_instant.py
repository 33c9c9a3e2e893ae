"""Instants and their texts."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from druid_core.errors import InvalidInput
from druid_core.instant import MAX_MS, MIN_MS, civil_from_days, days_from_civil, format_instant, parse_instant


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026", "2026-01-01T00:00:00.000Z"),
        ("2026-02", "2026-02-01T00:00:00.000Z"),
        ("2026-02-03", "2026-02-03T00:00:00.000Z"),
        ("2026-02-03T", "2026-02-03T00:00:00.000Z"),
        ("2026-02-03T04", "2026-02-03T04:00:00.000Z"),
        ("2026-02-03 04:05", "2026-02-03T04:05:00.000Z"),
        ("2026-02-03T04:05:06,7", "2026-02-03T04:05:06.700Z"),
        ("2026-02-03T04:05:06.123456Z", "2026-02-03T04:05:06.123Z"),
        ("2026-02-03T04:05:06+02:00", "2026-02-03T02:05:06.000Z"),
        ("2026-02-03T04:05:06-0130", "2026-02-03T05:35:06.000Z"),
        (" 2024-02-29 ", "2024-02-29T00:00:00.000Z"),
        ("2026-12-31T24:00", "2027-01-01T00:00:00.000Z"),
    ],
)
def test_iso_text_in_any_length_is_read(text: str, same: str) -> None:
    assert format_instant(parse_instant(text)) == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-13-01",
        "2026-02-29",
        "2026-00-10",
        "2026-01-32",
        "2026-01-01T25:00",
        "2026-01-01T10:60",
    ],
)
def test_text_that_is_no_instant_is_refused_and_named(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_instant(text)
    assert f'"{text}"' in str(error.value)


def test_ends_of_time_are_written_as_joda_writes_them() -> None:
    assert format_instant(MIN_MS) == "-146136543-09-08T08:23:32.096Z"
    assert format_instant(MAX_MS) == "146140482-04-24T15:36:27.903Z"


@given(st.integers(MIN_MS, MAX_MS))
def test_text_leads_back_to_the_instant(ms: int) -> None:
    assert parse_instant(format_instant(ms)) == ms


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1), max_value=datetime.datetime(9999, 12, 31)))  # noqa: DTZ001
def test_calendar_is_the_standard_librarys(at: datetime.datetime) -> None:
    days = days_from_civil(at.year, at.month, at.day)
    assert days == at.toordinal() - 719_163
    assert civil_from_days(days) == (at.year, at.month, at.day)


@given(st.integers(0, 9999), st.integers(0, 86_399_999), st.integers(0, 9998), st.integers(0, 86_399_999))
def test_texts_of_four_digit_years_sort_like_instants(year: int, clock: int, other_year: int, other_clock: int) -> None:
    one = days_from_civil(year, 1, 1) * 86_400_000 + clock
    other = days_from_civil(other_year, 6, 1) * 86_400_000 + other_clock
    assert (format_instant(one) < format_instant(other)) == (one < other)
