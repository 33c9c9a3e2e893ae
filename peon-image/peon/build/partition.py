"""
Rows to sinks: one open sink a time chunk, closed when it is full. Druid: DynamicPartitionsSpec, Appenderator

When one open partition reaches maxRowsPerSegment, or all of them together maxTotalRows, all open ones are closed and
new ones begin.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from druid_core.interval import Interval
from peon.build.chunk import Chunk
from peon.build.plan import BuildPlan
from peon.build.sink import Sink


@dataclass(frozen=True, slots=True)
class Limits:
    """Rows of one segment and of all open ones; rows and bytes in memory before they are spilled to disk."""

    rows_per_segment: int
    total_rows: int
    memory_rows: int
    memory_bytes: int | None  # None: no limit


@dataclass
class OpenSinks:
    """The open sink of each time chunk."""

    plan: BuildPlan
    limits: Limits
    folder: Path
    _open: dict[int, Sink] = field(default_factory=dict[int, Sink])
    _made: int = 0

    def add(self, chunk: Chunk) -> Iterator[list[Sink]]:
        """
        Put rows into their sinks.

        Yields the sinks that are closed by that, in the order of their time chunks, each time it happens. They are
        the caller's then.
        """
        if self._memory_is_full():
            # Only now: rows that are the input's last ones never go to disk.
            for sink in self._open.values():
                sink.spill()
        while chunk.rows:
            starts = self.plan.time_chunks.bucket_starts(chunk.time_ms)
            cut = self._rows_that_fit(starts)
            self._distribute(chunk.take(slice(0, cut)) if cut < chunk.rows else chunk, starts[:cut])
            chunk = chunk.take(slice(cut, None))
            if self._is_full():
                yield self.close()

    def close(self) -> list[Sink]:
        """Close all open sinks, in the order of their time chunks."""
        closed = [self._open[start] for start in sorted(self._open)]
        self._open.clear()
        return closed

    def _rows_that_fit(self, starts: npt.NDArray[np.int64]) -> int:
        """How many of the rows can be added before something is full; at least one."""
        open_rows = {start: sink.rows for start, sink in self._open.items()}
        cut = min(len(starts), max(1, self.limits.total_rows - sum(open_rows.values())))
        values, counts = np.unique(starts[:cut], return_counts=True)
        for start, count in zip(values.tolist(), counts.tolist(), strict=True):
            free = max(1, self.limits.rows_per_segment - open_rows.get(start, 0))
            if count >= free:
                cut = min(cut, int(np.flatnonzero(starts == start)[free - 1]) + 1)
        return cut

    def _distribute(self, chunk: Chunk, starts: npt.NDArray[np.int64]) -> None:
        if starts[0] == starts[-1] and bool(np.all(starts == starts[0])):
            self._sink(chunk, int(starts[0])).add(chunk)
            return
        order = np.argsort(starts, kind="stable")
        arranged = starts[order]
        borders = np.flatnonzero(arranged[1:] != arranged[:-1]) + 1
        for rows in np.split(order, borders):
            part = chunk.take(rows)
            self._sink(part, int(starts[rows[0]])).add(part)

    def _sink(self, chunk: Chunk, start: int) -> Sink:
        sink = self._open.get(start)
        if sink is None:
            bucket: Interval = self.plan.time_chunks.bucket(int(chunk.time_ms[0]))
            sink = self._open[start] = Sink(bucket, self.plan, self.folder / f"segment-{self._made}")
            self._made += 1
        return sink

    def _is_full(self) -> bool:
        return self._counts_are_full() and (not self.plan.rollup or self._still_full_when_rolled_up())

    def _counts_are_full(self) -> bool:
        rows = [sink.rows for sink in self._open.values()]
        return max(rows) >= self.limits.rows_per_segment or sum(rows) >= self.limits.total_rows

    def _still_full_when_rolled_up(self) -> bool:
        for sink in self._open.values():
            sink.roll_up()
        return self._counts_are_full()

    def _memory_is_full(self) -> bool:
        sinks = self._open.values()
        if sum(sink.memory_rows for sink in sinks) >= self.limits.memory_rows:
            return True
        limit = self.limits.memory_bytes
        return limit is not None and sum(sink.memory_bytes for sink in sinks) >= limit
