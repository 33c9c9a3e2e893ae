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
            parts = self._parts(chunk)
            if not self._may_get_full(parts):
                for part in parts:
                    self._add(part, part.chunk, None)
                return
            fresh = [part.sink.fresh(part.chunk) for part in parts]
            cut = self._cut(parts, fresh)
            for part, flags in zip(parts, fresh, strict=True):
                count = len(part.rows) if cut is None else int(np.searchsorted(part.rows, cut))
                if count:
                    self._add(part, part.chunk.take(slice(0, count)), int(flags[:count].sum()))
            if cut is None:
                return
            yield self.close()
            chunk = chunk.take(slice(cut, None))

    def close(self) -> list[Sink]:
        """Close all open sinks, in the order of their time chunks."""
        closed = [self._open[start] for start in sorted(self._open)]
        self._open.clear()
        return closed

    def _parts(self, chunk: Chunk) -> "list[_Part]":
        """The rows of each time chunk, in arrival order, with the open sink or a new one (not open yet)."""
        starts = self.plan.time_chunks.bucket_starts(chunk.time_ms)
        if bool(np.all(starts == starts[0])):
            return [_Part(self._sink(chunk, int(starts[0])), int(starts[0]), np.arange(chunk.rows), chunk)]
        order = np.argsort(starts, kind="stable")
        arranged = starts[order]
        borders = np.flatnonzero(arranged[1:] != arranged[:-1]) + 1
        return [
            _Part(self._sink(part := chunk.take(rows), int(starts[rows[0]])), int(starts[rows[0]]), rows, part)
            for rows in np.split(order, borders)
        ]

    def _sink(self, chunk: Chunk, start: int) -> Sink:
        sink = self._open.get(start)
        if sink is None:
            bucket = self.plan.time_chunks.bucket(int(chunk.time_ms[0]))
            sink = Sink(bucket, self.plan, self.folder / f"segment-{self._made}")
            self._made += 1
        return sink

    def _add(self, part: "_Part", chunk: Chunk, fresh_rows: int | None) -> None:
        self._open[part.start_ms] = part.sink
        part.sink.add(chunk, fresh_rows)

    def _may_get_full(self, parts: "list[_Part]") -> bool:
        """Whether a limit would be reached if every row counted."""
        if any(part.sink.rows + part.chunk.rows >= self.limits.rows_per_segment for part in parts):
            return True
        new = sum(part.chunk.rows for part in parts)
        return sum(sink.rows for sink in self._open.values()) + new >= self.limits.total_rows

    def _cut(self, parts: "list[_Part]", fresh: list[npt.NDArray[np.bool_]]) -> int | None:
        """How many rows of the chunk it takes to reach a limit; None if they are too few."""
        counts = np.zeros(sum(len(part.rows) for part in parts), np.int64)
        full_at: list[int] = []
        for part, flags in zip(parts, fresh, strict=True):
            counts[part.rows] = flags
            full = part.sink.rows + np.cumsum(flags) >= self.limits.rows_per_segment
            if full.any():
                full_at.append(int(part.rows[np.argmax(full)]))
        for sink in self._open.values():
            sink.count()
        all_full = sum(sink.rows for sink in self._open.values()) + np.cumsum(counts) >= self.limits.total_rows
        if all_full.any():
            full_at.append(int(np.argmax(all_full)))
        return min(full_at) + 1 if full_at else None

    def _memory_is_full(self) -> bool:
        sinks = self._open.values()
        if sum(sink.memory_rows for sink in sinks) >= self.limits.memory_rows:
            return True
        limit = self.limits.memory_bytes
        return limit is not None and sum(sink.memory_bytes for sink in sinks) >= limit


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of a chunk that belong to one time chunk: their numbers in it, ascending, and themselves."""

    sink: Sink
    start_ms: int
    rows: npt.NDArray[np.int64]
    chunk: Chunk
