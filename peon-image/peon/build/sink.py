"""A segment in the making: rows in memory, runs spilled to disk. Druid: Sink"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from druid_core.interval import Interval
from peon.build.chunk import Chunk
from peon.build.merge import Run
from peon.build.plan import BuildPlan
from peon.build.segment_file import write_segment
from peon.build.sorted_rows import SortedRows, first_of_their_kind, sorted_rows
from peon.build.spill import Spill, spill
from peon.segment.index_spec import IndexSpec
from peon.segment.write import WrittenSegment


@dataclass
class Sink:
    """One partition of one time chunk, open for rows. Files of its own lie in `folder`."""

    bucket: Interval
    plan: BuildPlan
    folder: Path
    _chunks: list[Chunk] = field(default_factory=list[Chunk])
    _spills: list[Spill] = field(default_factory=list[Spill])
    _counted: int = 0
    """Rows in memory that are known to remain after rollup."""
    _uncounted: int = 0
    """Rows in memory of which it is not known."""

    @property
    def rows(self) -> int:
        """Rows of the segment so far. With rollup at most so many, and exactly so many after `fresh`."""
        return self._counted + self._uncounted + sum(run.rows for run in self._spills)

    @property
    def memory_rows(self) -> int:
        """Rows in memory, as they came."""
        return sum(chunk.rows for chunk in self._chunks)

    @property
    def memory_bytes(self) -> int:
        """What the rows in memory take, about."""
        return sum(chunk.size_bytes for chunk in self._chunks)

    def fresh(self, chunk: Chunk) -> npt.NDArray[np.bool_]:
        """
        Which rows of a chunk would become rows of their own, and not be rolled up into those in memory.

        From then on `rows` is exact.
        """
        if not self.plan.rollup:
            return np.ones(chunk.rows, np.bool_)
        first = first_of_their_kind([*self._chunks, chunk], self.plan, self.bucket.start_ms)
        self._counted = int(first[: -chunk.rows].sum())
        self._uncounted = 0
        return first[-chunk.rows :]

    def count(self) -> None:
        """Make `rows` exact."""
        if self.plan.rollup and self._uncounted:
            self._counted = int(first_of_their_kind(self._chunks, self.plan, self.bucket.start_ms).sum())
            self._uncounted = 0

    def add(self, chunk: Chunk, fresh_rows: int | None = None) -> None:
        """Take rows; `fresh_rows` of them count, where `fresh` has told."""
        self._chunks.append(chunk)
        if fresh_rows is None:
            self._uncounted += chunk.rows
        else:
            self._counted += fresh_rows

    def spill(self) -> None:
        """Move all rows from memory to disk."""
        if self._chunks:
            rows = self._sorted()
            self._spills.append(spill(rows, self.folder / f"spill-{len(self._spills)}.arrow", self.plan))

    @property
    def index_folder(self) -> Path:
        """Where `write` leaves the segment's files."""
        return self.folder / "index"

    def write(self, interval: Interval, index_spec: IndexSpec, max_chunk_bytes: int) -> WrittenSegment:
        """
        Write the segment's files, and drop the rows, of which there is at least one.

        `interval` is the segment's: the bucket, or one that covers it.
        """
        self.index_folder.mkdir(parents=True)
        runs: list[Run] = [*self._spills]
        if self._chunks:
            runs.append(self._sorted())
        written = write_segment(self.index_folder, runs, self.plan, interval, index_spec, max_chunk_bytes)
        for spilled in self._spills:
            spilled.remove()
        self._spills.clear()
        return written

    def _sorted(self) -> SortedRows:
        chunks, self._chunks = self._chunks, []
        self._counted = self._uncounted = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        return sorted_rows(chunks, self.plan, self.bucket.start_ms)
