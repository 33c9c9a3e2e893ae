"""Rows counted while a task runs, and how fast they pass."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from druid_core.report import RowTotals

_TICK_MS = 5_000
"""How often the averages take in what was counted. Druid: com.codahale.metrics.EWMA"""

_WINDOWS_MINUTES = {"1m": 1, "5m": 5, "15m": 15}

_COUNTERS = ("processed", "processedBytes", "processedWithError", "thrownAway", "unparseable")
"""The counters that have moving averages, in the order in which Druid prints them."""


class RowMeters:
    """
    Counters of one phase of a task; any thread may add and read. Druid: DropwizardRowIngestionMeters

    `clock` returns milliseconds; the averages start when the meters are made.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, int] = dict.fromkeys(_COUNTERS, 0)
        self._thrown_away_by_reason: dict[str, int] = {}
        started = clock()
        self._rates = {name: _Rates(started) for name in _COUNTERS}

    def processed(self, rows: int) -> None:
        """Rows that were added without any error."""
        self._add("processed", rows)

    def processed_bytes(self, count: int) -> None:
        """Bytes of input as the reader sees them: after decompression."""
        self._add("processedBytes", count)

    def processed_with_error(self, rows: int = 1) -> None:
        """Rows that were added although a column of theirs could not be converted."""
        self._add("processedWithError", rows)

    def thrown_away(self, rows: int, reason: str = "filtered") -> None:
        """Rows that were read but not wanted. Druid: InputRowFilterResult"""
        if rows:
            with self._lock:
                self._thrown_away_by_reason[reason] = self._thrown_away_by_reason.get(reason, 0) + rows
            self._add("thrownAway", rows)

    def unparseable(self, rows: int = 1) -> None:
        """Records that could not be read, or had no good timestamp."""
        self._add("unparseable", rows)

    @property
    def errors(self) -> int:
        """What counts against maxParseExceptions."""
        return self._counts["unparseable"] + self._counts["processedWithError"]

    def totals(self) -> RowTotals:
        """All counters as they stand now."""
        with self._lock:
            return RowTotals(
                processed=self._counts["processed"],
                processed_bytes=self._counts["processedBytes"],
                processed_with_error=self._counts["processedWithError"],
                thrown_away=self._counts["thrownAway"],
                thrown_away_by_reason=dict(self._thrown_away_by_reason),
                unparseable=self._counts["unparseable"],
            )

    def moving_averages(self, now_ms: int) -> dict[str, dict[str, float]]:
        """Events a second over the last minutes: `{"1m": {"processed": 12.5, …}, "5m": …, "15m": …}`."""
        with self._lock:
            for rates in self._rates.values():
                rates.advance(now_ms)
            return {
                window: {name: self._rates[name].per_second(window) for name in _COUNTERS}
                for window in _WINDOWS_MINUTES
            }

    def _add(self, name: str, count: int) -> None:
        if count:
            now = self._clock()
            with self._lock:
                self._counts[name] += count
                self._rates[name].add(count, now)


@dataclass(slots=True)
class _Rates:
    """Exponentially weighted averages of one counter, fed every five seconds with what came in between."""

    last_tick_ms: int
    waiting: int = 0
    by_window: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, count: int, now_ms: int) -> None:
        self.advance(now_ms)
        self.waiting += count

    def advance(self, now_ms: int) -> None:
        ticks = (now_ms - self.last_tick_ms) // _TICK_MS
        if ticks <= 0:
            return
        self.last_tick_ms += ticks * _TICK_MS
        rate = self.waiting * 1000 / _TICK_MS
        self.waiting = 0
        for window, minutes in _WINDOWS_MINUTES.items():
            kept = math.exp(-_TICK_MS / 60_000 / minutes)
            before = self.by_window.get(window)
            # The first tick sets the average, as Codahale's does: a meter does not have to climb up from nought.
            first = rate if before is None else before + (1 - kept) * (rate - before)
            self.by_window[window] = first * kept ** (ticks - 1)

    def per_second(self, window: str) -> float:
        return self.by_window.get(window, 0.0)
