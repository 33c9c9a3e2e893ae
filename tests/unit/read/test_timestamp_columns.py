from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from druid_core.errors import TaskFailure
from druid_core.spec.schema import TimestampSpec
from peon.batch import Encoding, RawColumn
from peon.read.timestamp import TimestampParser


def _parser(pattern: str, missing: int | None = None) -> TimestampParser:
    return TimestampParser(
        TimestampSpec.model_construct(column="t", format=pattern, missing_value=missing), this_year=2026
    )


def _text(*values: str | None) -> RawColumn:
    return RawColumn(pa.array(values, pa.string()), Encoding.TEXT)


TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = st.one_of(
    TIMES.map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")),
    TIMES.map(lambda time: time.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
    st.from_regex(r"[0-9]{4}-[0-3][0-9]-[0-3][0-9]T[0-2][0-9]:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z", fullmatch=True),
    st.text(max_size=24),
    st.none(),
)


@pytest.mark.parametrize("pattern", ["iso", "auto"])
@given(values=st.lists(TEXTS, max_size=20))
def test_a_column_is_parsed_as_its_values_one_by_one(pattern: str, values: list[str | None]) -> None:
    parser = _parser(pattern)
    parsed = parser.parse(_text(*values), len(values))
    one_by_one = [None if value is None else parser.parse_one(value) for value in values]
    assert [
        int(ms) if good else None for ms, good in zip(parsed.ms, parsed.good | parsed.far, strict=True)
    ] == one_by_one


@given(st.integers(-(1 << 40), 1 << 45))
def test_iso_texts_round_trip(ms: int) -> None:
    text = pa.array([ms], pa.int64()).cast(pa.timestamp("ms")).cast(pa.string())[0].as_py().replace(" ", "T") + "Z"
    assert _parser("iso").parse(_text(text), 1).ms.tolist() == [ms]


def test_missing_value_stands_in_for_null_and_not_for_nonsense() -> None:
    parsed = _parser("iso", missing=5).parse(_text(None, "nonsense", "1970-01-02"), 3)
    assert parsed.good.tolist() == [True, False, True]
    assert [parsed.ms[0], parsed.ms[2]] == [5, 86_400_000]
    assert _parser("iso", missing=5).parse(None, 2).ms.tolist() == [5, 5]
    assert not _parser("iso").parse(None, 2).good.any()


def test_a_time_beyond_all_intervals_is_far_and_not_good() -> None:
    column = RawColumn(pa.array([1, 1 << 62, None], pa.int64()), Encoding.TYPED)
    parsed = _parser("millis").parse(column, 3)
    assert (parsed.good.tolist(), parsed.far.tolist()) == ([True, False, False], [False, True, False])


@pytest.mark.parametrize(
    ("pattern", "token", "ms"),
    [
        pytest.param("auto", "1.9", 1, id="fractions are cut"),
        pytest.param("posix", "2", 2000, id="seconds"),
        pytest.param("ruby", "1.5", 1500, id="seconds with a fraction"),
        pytest.param("yyyyMMdd", "19700102", 86_400_000, id="a number is text for a pattern"),
        pytest.param("auto", "[1]", None, id="a list is no time"),
        pytest.param("auto", "true", None, id="a boolean is no time"),
        pytest.param("iso", '"1970-01-02T00:00+01"', 82_800_000, id="a text among them"),
    ],
)
def test_mixed_columns_are_parsed_by_value(pattern: str, token: str, ms: int | None) -> None:
    parsed = _parser(pattern).parse(RawColumn(pa.array([token, None]), Encoding.TOKEN), 2)
    assert parsed.good.tolist() == [ms is not None, False]
    assert ms is None or parsed.ms[0] == ms


@pytest.mark.parametrize("pattern", ["yyyy-MM-ddTHH", "yyyy'open", "qqq", "yyyy-yyyy"])
def test_a_pattern_that_is_none_ends_the_task(pattern: str) -> None:
    with pytest.raises(TaskFailure, match="Unable to parse timestamps with format"):
        _parser(pattern)


def test_an_hour_that_a_zone_skipped_is_no_time() -> None:
    parser = _parser("yyyy-MM-dd HH:mm ZZZ")
    assert parser.parse_one("2024-03-31 02:30 Europe/Rome") is None
    assert parser.parse_one("2024-03-31 03:30 Europe/Rome") == 1711848600000
