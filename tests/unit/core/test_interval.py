"""Stretches of time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant, parse_instant
from druid_core.interval import ETERNITY, Interval, add_period, condense

intervals = st.builds(lambda start, length: Interval(start, start + length), st.integers(0, 200), st.integers(1, 50))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-01/2026-02-01", "2026-01-01T00:00:00.000Z/2026-02-01T00:00:00.000Z"),
        ("2026-01-31/P1M", "2026-01-31T00:00:00.000Z/2026-02-28T00:00:00.000Z"),
        ("PT36H/2026-01-03", "2026-01-01T12:00:00.000Z/2026-01-03T00:00:00.000Z"),
        ("P1Y2M3W4DT5H6M7.089S/2026-01-01", "2024-10-06T18:53:52.911Z/2026-01-01T00:00:00.000Z"),
        ("2026-01-01T00:00+01:00/2026-01-01", "2025-12-31T23:00:00.000Z/2026-01-01T00:00:00.000Z"),
    ],
)
def test_bounds_may_be_instants_or_periods(text: str, same: str) -> None:
    assert str(Interval.parse(text)) == same


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nope", "Format requires a '/' separator: nope"),
        ("2026-02-01/2026-01-01", "The end instant must be greater than the start instant"),
        ("2026-01-01/soon", "soon"),
        ("2026-01-01/P", "P"),
        ("P1D/P1D", "P1D"),
    ],
)
def test_what_is_no_interval_is_refused_with_druids_frame(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as error:
        Interval.parse(text)
    assert str(error.value).startswith(f"Invalid interval[{text}]: [")
    assert problem in str(error.value)


def test_wire_form_is_the_text() -> None:
    adapter = TypeAdapter(Interval)
    interval = adapter.validate_python("2026-01-01/2026-01-02")
    assert adapter.dump_python(interval, mode="json") == "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"
    assert adapter.validate_python(interval) is interval
    with pytest.raises(InvalidInput):
        adapter.validate_python(7)


def test_end_is_outside() -> None:
    interval = Interval(10, 20)
    assert interval.contains(10)
    assert not interval.contains(20)
    assert not interval.overlaps(Interval(20, 30))
    assert Interval(5, 5).is_empty
    assert ETERNITY.covers(interval)


@given(intervals, intervals)
def test_overlap_is_sharing_an_instant(one: Interval, other: Interval) -> None:
    shared = set(range(one.start_ms, one.end_ms)) & set(range(other.start_ms, other.end_ms))
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)
    assert one.covers(other) == (len(shared) == other.end_ms - other.start_ms)


@given(st.lists(intervals, max_size=8))
def test_condensed_intervals_cover_the_same_and_keep_apart(given_intervals: list[Interval]) -> None:
    condensed = condense(given_intervals)

    def instants(of: list[Interval]) -> set[int]:
        return {ms for interval in of for ms in range(interval.start_ms, interval.end_ms)}

    assert instants(condensed) == instants(given_intervals)
    assert all(before.end_ms < after.start_ms for before, after in pairwise(condensed))


@pytest.mark.parametrize(
    ("start", "period", "times", "end"),
    [
        ("2024-01-31", "P1M", 1, "2024-02-29"),
        ("2024-02-29", "P1Y", 1, "2025-02-28"),
        ("2024-02-29", "P1Y", -1, "2023-02-28"),
        ("2024-12-15", "P1M", 1, "2025-01-15"),
        ("2024-01-15", "P1M", -13, "2022-12-15"),
        ("2024-01-01", "P2W", 3, "2024-02-12"),
        ("2024-01-01", "PT0.5S", 2, "2024-01-01T00:00:01"),
    ],
)
def test_months_end_where_the_month_ends(start: str, period: str, times: int, end: str) -> None:
    assert add_period(parse_instant(start), period, times) == parse_instant(end)


@given(st.integers(parse_instant("1900-01-01"), parse_instant("2100-01-01")), st.integers(0, 400))
def test_days_are_undone_by_days(ms: int, days: int) -> None:
    assert format_instant(add_period(add_period(ms, f"P{days}D"), f"P{days}D", -1)) == format_instant(ms)
