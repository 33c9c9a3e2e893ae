import threading

import pytest

from peon.report.meters import RowMeters


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def test_counters_add_up_and_only_reasons_that_occurred_are_listed() -> None:
    meters = RowMeters(Clock())
    meters.processed(3)
    meters.processed_bytes(100)
    meters.processed_with_error()
    meters.unparseable(2)
    assert meters.totals().thrown_away_by_reason == {}
    meters.thrown_away(4)
    meters.thrown_away(1, "unknown")
    totals = meters.totals()
    assert (totals.processed, totals.processed_bytes, totals.processed_with_error, totals.unparseable) == (3, 100, 1, 2)
    assert (totals.thrown_away, totals.thrown_away_by_reason) == (5, {"filtered": 4, "unknown": 1})
    assert meters.errors == 3


def test_before_the_first_five_seconds_every_rate_is_nought() -> None:
    clock = Clock()
    meters = RowMeters(clock)
    meters.processed(1000)
    assert meters.moving_averages(clock.ms + 4_999)["1m"]["processed"] == 0.0


def test_first_tick_sets_the_rate_and_later_ones_move_it() -> None:
    clock = Clock()
    meters = RowMeters(clock)
    meters.processed(50)
    clock.ms += 5_000
    assert {window: rates["processed"] for window, rates in meters.moving_averages(clock.ms).items()} == {
        "1m": 10.0,
        "5m": 10.0,
        "15m": 10.0,
    }
    meters.processed(100)
    clock.ms += 5_000
    # 1 - exp(-5/60) of the way from 10 to 20 a second. Codahale: EWMA.oneMinuteEWMA
    assert meters.moving_averages(clock.ms)["1m"]["processed"] == pytest.approx(10.79955585)


def test_rates_fade_when_nothing_comes() -> None:
    clock = Clock()
    meters = RowMeters(clock)
    meters.processed(50)
    clock.ms += 65_000
    averages = meters.moving_averages(clock.ms)
    # one tick at 10 a second, then a minute of nothing: 10/e
    assert averages["1m"]["processed"] == pytest.approx(3.6787944)
    assert averages["15m"]["processed"] > averages["5m"]["processed"] > averages["1m"]["processed"]


def test_threads_lose_no_count() -> None:
    meters = RowMeters(Clock())

    def count() -> None:
        for _ in range(2_000):
            meters.processed(1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meters.totals().processed == 8_000
