"""What a process costs, read from /proc while it runs: CPU seconds and memory, children included."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.druid.processes import descendants

EVERY_S = 0.02
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Cost:
    """CPU seconds of a process from its start on, its ended and living children included; the peak of their RSS."""

    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


class PeonWatch:
    """
    Context manager: looks every 20 ms at the peons that `peons` names, until they are gone (at most `linger_s` after).

    `cost` is that of the busiest one: the peon of the task. A peon that waits beside it for the next task is not it.
    """

    def __init__(self, peons: Callable[[], list[int]], linger_s: float = 10.0) -> None:
        self._peons = peons
        self._linger_s = linger_s
        self._seen: dict[int, Cost] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._seen:
            busiest = max(self._seen, key=lambda pid: self._seen[pid].cpu_s)
            deadline = time.monotonic() + self._linger_s
            while Path(f"/proc/{busiest}").exists() and time.monotonic() < deadline:
                time.sleep(EVERY_S)
        self._over.set()
        self._thread.join()

    @property
    def cost(self) -> Cost:
        return max(self._seen.values(), key=lambda cost: cost.cpu_s, default=Cost())

    def _look(self) -> None:
        known: list[int] = []
        looks = 0
        while not self._over.is_set():
            if looks % 10 == 0 or not known:
                known = self._peons()
            looks += 1
            for pid in known:
                self._sample(pid)
            self._over.wait(EVERY_S)

    def _sample(self, pid: int) -> None:
        family = [pid, *descendants(pid)]
        cpu_s, rss = 0.0, 0
        for each in family:
            with contextlib.suppress(OSError, ValueError, IndexError):
                used, resident = usage(each)
                cpu_s += used
                rss += resident
        if cpu_s > 0:
            cost = self._seen.setdefault(pid, Cost())
            cost.cpu_s = max(cost.cpu_s, cpu_s)
            cost.peak_rss_bytes = max(cost.peak_rss_bytes, rss)


def usage(pid: int) -> tuple[float, int]:
    """CPU seconds (user and system, ended children included) and resident bytes of one process now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(each) for each in fields[11:15])  # utime, stime, cutime, cstime
    return ticks / TICKS_PER_S, int(fields[21]) * PAGE_BYTES


def resident_bytes(pid: int) -> int:
    return usage(pid)[1]
