"""Which tasks are to be looked at: each by one worker at a time, however often somebody says `look again`."""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable

from overlord_operator.mirror import Ref

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class WorkQueue:
    """
    Level-triggered: what is told many times before a worker comes is looked at once; what is told while a worker is at
    it is looked at once more.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._ready: asyncio.Queue[Ref] = asyncio.Queue()
        self._waiting: set[Ref] = set()
        """In `_ready`."""
        self._busy: set[Ref] = set()
        self._again: set[Ref] = set()
        """Told while a worker is at it."""
        self._due: dict[Ref, int] = {}
        """When to look again by the clock, the earliest."""
        self._heap: list[tuple[int, int, Ref]] = []
        self._order = itertools.count()
        self._failures: dict[Ref, int] = {}
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._busy)

    @property
    def backlog(self) -> int:
        """Tasks that no worker has taken yet."""
        return len(self._waiting)

    def poke(self, ref: Ref) -> None:
        """Have a task looked at, as soon as there is a worker."""
        if ref in self._busy:
            self._again.add(ref)
        elif ref not in self._waiting:
            self._waiting.add(ref)
            self._ready.put_nowait(ref)

    def poke_at(self, ref: Ref, at_ms: int) -> None:
        """Have a task looked at at a time; an earlier one that was asked for stands."""
        due_ms = self._due.get(ref)
        if due_ms is not None and due_ms <= at_ms:
            return
        self._due[ref] = at_ms
        heapq.heappush(self._heap, (at_ms, next(self._order), ref))
        if self._heap[0][2] == ref:
            self._sooner.set()

    async def take(self) -> Ref:
        """The next task; `done` or `failed` must follow."""
        ref = await self._ready.get()
        self._waiting.discard(ref)
        self._busy.add(ref)
        return ref

    def done(self, ref: Ref) -> None:
        self._failures.pop(ref, None)
        self._put_back(ref)

    def failed(self, ref: Ref) -> float:
        """Look again after a pause that grows with each failure in a row; the pause in seconds."""
        count = self._failures.get(ref, 0)
        self._failures[ref] = count + 1
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(count, 10)) * random.uniform(0.5, 1.0)
        # news that came meanwhile must not shorten the pause: what failed would fail again
        self._again.discard(ref)
        self.poke_at(ref, self._clock_ms() + int(1000 * pause))
        self._put_back(ref)
        return pause

    def clear(self) -> None:
        """Forget what is to be done, and who is at it: it is not ours any more, and no worker is left."""
        while not self._ready.empty():
            self._ready.get_nowait()
        self._waiting.clear()
        self._busy.clear()
        self._again.clear()
        self._due.clear()
        self._heap.clear()
        self._failures.clear()

    async def run_timers(self) -> None:
        """Poke what is due, until cancelled."""
        while True:
            self._sooner.clear()
            now_ms = self._clock_ms()
            while self._heap and self._heap[0][0] <= now_ms:
                at_ms, _, ref = heapq.heappop(self._heap)
                if self._due.get(ref) == at_ms:
                    del self._due[ref]
                    self.poke(ref)
            wait_seconds = (self._heap[0][0] - now_ms) / 1000 if self._heap else 3600.0
            try:
                await asyncio.wait_for(self._sooner.wait(), max(0.001, wait_seconds))
            except TimeoutError:
                continue

    def _put_back(self, ref: Ref) -> None:
        self._busy.discard(ref)
        if ref in self._again:
            self._again.discard(ref)
            self.poke(ref)
