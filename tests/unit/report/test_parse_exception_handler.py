import logging
from itertools import count

import pytest

from peon.report.meters import RowMeters
from peon.report.parse_exceptions import ParseExceptionHandler, TooManyParseExceptions


def _handler(
    max_parse_exceptions: int = 100, max_saved: int = 0, *, log: bool = False
) -> tuple[ParseExceptionHandler, RowMeters]:
    meters = RowMeters(lambda: 0)
    ticks = count(1000)
    return ParseExceptionHandler(meters, max_parse_exceptions, max_saved, log, lambda: next(ticks)), meters


def test_newest_errors_are_kept_and_come_first() -> None:
    handler, meters = _handler(max_saved=2)
    handler.unparseable("a", "bad a")
    handler.processed_with_error("{b=1}", ["no b", "no c"])
    handler.unparseable("c", "bad c")
    assert [kept.to_wire() for kept in handler.saved()] == [
        {"input": "c", "errorType": "unparseable", "details": ["bad c"], "timeOfExceptionMillis": 1002},
        {
            "input": "{b=1}",
            "errorType": "processedWithError",
            "details": ["no b", "no c"],
            "timeOfExceptionMillis": 1001,
        },
    ]
    assert (meters.totals().unparseable, meters.totals().processed_with_error) == (2, 1)


def test_task_ends_at_the_first_error_beyond_the_limit() -> None:
    handler, meters = _handler(max_parse_exceptions=2)
    handler.unparseable("a", "bad a")
    handler.processed_with_error("{}", ["no b"])
    with pytest.raises(TooManyParseExceptions, match=r"Max parse exceptions\[2\] exceeded"):
        handler.unparseable("c", "bad c")
    assert meters.errors == 3


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_counting_many_at_once_ends_as_counting_one_by_one(limit: int) -> None:
    handler, meters = _handler(max_parse_exceptions=limit)
    handler.count_unparseable(limit)
    with pytest.raises(TooManyParseExceptions):
        handler.count_unparseable(1000)
    assert meters.totals().unparseable == limit + 1


def test_texts_are_wanted_only_where_somebody_reads_them() -> None:
    assert not _handler()[0].wants_text
    assert _handler(max_saved=1)[0].wants_text
    assert _handler(log=True)[0].wants_text


def test_log_tells_the_message(caplog: pytest.LogCaptureFixture) -> None:
    handler, _ = _handler(log=True)
    with caplog.at_level(logging.ERROR):
        handler.processed_with_error("{a=x}", ["no a", "no b"])
    assert "Found unparseable columns in row: [{a=x}], exceptions: [no a,no b]" in caplog.text
    assert handler.saved() == []
