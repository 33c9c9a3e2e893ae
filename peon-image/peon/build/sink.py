"""A segment in the making: rows in memory, runs spilled to disk. Druid: Sink"""

from dataclasses import dataclass, field
from pathlib import Path

from druid_core.interval import Interval
from peon.build.chunk import Chunk
from peon.build.merge import Run
from peon.build.plan import BuildPlan
from peon.build.segment_file import write_segment
from peon.build.sorted_rows import SortedRows, sorted_rows
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
    _rolled: list[SortedRows] = field(default_factory=list[SortedRows])
    _spills: list[Spill] = field(default_factory=list[Spill])

    @property
    def rows(self) -> int:
        """Rows so far; with rollup those still in memory count as they came."""
        runs = [*self._rolled, *self._spills]
        return sum(chunk.rows for chunk in self._chunks) + sum(run.rows for run in runs)

    @property
    def memory_rows(self) -> int:
        return sum(chunk.rows for chunk in self._chunks) + sum(run.rows for run in self._rolled)

    @property
    def memory_bytes(self) -> int:
        """What the rows in memory take, about; a run as much as fresh rows of its number would."""
        fresh = sum(chunk.size_bytes for chunk in self._chunks)
        per_row = 8 * (1 + len(self.plan.dimensions) + len(self.plan.aggregators))
        return fresh + per_row * sum(run.rows for run in self._rolled)

    def add(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)

    def roll_up(self) -> None:
        """Make one run of the fresh rows, so that `rows` counts what rollup leaves of them."""
        if self._chunks:
            self._rolled.append(self._sorted())

    def spill(self) -> None:
        """Move all rows from memory to disk."""
        self.roll_up()
        for run in self._rolled:
            self._spills.append(spill(run, self.folder / f"spill-{len(self._spills)}.arrow", self.plan))
        self._rolled.clear()

    @property
    def index_folder(self) -> Path:
        """Where `write` leaves the segment's files."""
        return self.folder / "index"

    def write(self, interval: Interval, index_spec: IndexSpec, max_chunk_bytes: int) -> WrittenSegment:
        """
        Write the segment's files, and drop the rows, of which there is at least one.

        `interval` is the segment's: the bucket, or one that covers it.
        """
        self.roll_up()
        self.index_folder.mkdir(parents=True)
        runs: list[Run] = [*self._spills, *self._rolled]
        written = write_segment(self.index_folder, runs, self.plan, interval, index_spec, max_chunk_bytes)
        for spilled in self._spills:
            spilled.remove()
        self._rolled.clear()
        self._spills.clear()
        return written

    def _sorted(self) -> SortedRows:
        chunks, self._chunks = self._chunks, []
        self.folder.mkdir(parents=True, exist_ok=True)
        return sorted_rows(chunks, self.plan, self.bucket.start_ms)
