"""How often somebody may come: buckets that fill by time, one a caller, in the memory of one replica."""

from collections.abc import Callable

_MOST_CALLERS = 10_000
"""Buckets at most; beyond, those that are full again are dropped, since a new one is full too."""


class Pace:
    """`burst` calls at once, and `per_second` from then on, for each who calls."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_seconds(self, who: str) -> float:
        """How long `who` has to wait before the next call; 0 where it may come now. Takes nothing."""
        return max(0.0, (1.0 - self._filled(who)) / self._per_second)

    def take(self, who: str) -> None:
        """One call of `who` counts."""
        if who not in self._buckets and len(self._buckets) >= _MOST_CALLERS:
            self._drop_full()
        self._buckets[who] = (max(0.0, self._filled(who) - 1.0), self._clock())

    def _filled(self, who: str) -> float:
        level, since = self._buckets.get(who, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - since) * self._per_second)

    def _drop_full(self) -> None:
        self._buckets = {who: bucket for who, bucket in self._buckets.items() if self._filled(who) < self._burst}
        if len(self._buckets) >= _MOST_CALLERS:  # all of them came just now: those who were first go
            self._buckets = dict(list(self._buckets.items())[_MOST_CALLERS // 10 :])
