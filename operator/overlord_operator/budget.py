"""A rate that may be spent ahead of time, but not for ever."""

import time
from collections.abc import Callable


class Budget:
    """So many a second, saved up to `burst`."""

    def __init__(self, a_second: float, burst: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._a_second = a_second
        self._burst = burst
        self._monotonic = monotonic
        self._left = burst
        self._counted = monotonic()

    def spend(self, reserve: float = 0.0) -> bool:
        """Take one, unless fewer than `reserve` and one are left; whether it could be taken."""
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._counted) * self._a_second)
        self._counted = now
        if self._left < 1.0 + reserve:
            return False
        self._left -= 1.0
        return True

    def wait_seconds(self) -> float:
        """Until there is one again, about."""
        return max(0.0, (1.0 - self._left) / self._a_second)
