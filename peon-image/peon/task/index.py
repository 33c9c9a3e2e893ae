"""
Batch ingestion by one peon: `index`, and `index_parallel` that runs in one process.

The input is read once: time chunks that the spec does not name are learnt on the way, and locked before anything is
pushed. Only discovered columns need a look at the whole input first. Druid: IndexTask
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from druid_core.errors import TaskFailure
from druid_core.interval import Interval
from druid_core.report import IngestionState
from druid_core.spec.schema import GranularitySpec
from druid_core.spec.segment_source import DruidSource
from druid_core.spec.tuning import DynamicPartitionsSpec
from druid_core.task import IndexParallelTask, IndexTask
from peon.batch import InputBatch
from peon.build.chunk import chunk_of
from peon.build.partition import Limits, OpenSinks
from peon.build.plan import BuildPlan, Dimension, build_plan
from peon.build.values import Faults
from peon.read.ahead import read_ahead
from peon.read.fields import FieldSelection
from peon.read.lines import CHUNK_BYTES
from peon.read.reader import read_batches, read_windows
from peon.read.segment_rows import SegmentWindow
from peon.report.ingestion import BUILD_SEGMENTS, DETERMINE_PARTITIONS
from peon.report.meters import RowMeters
from peon.report.parse_exceptions import ParseExceptionHandler
from peon.segment.index_spec import IndexSpec
from peon.task.discovery import Discovery, listed_dimensions
from peon.task.publication import Publication
from peon.task.time_chunks import TimeChunks
from peon.task.tombstone import tombstones
from peon.task.windows import windows_of
from peon.toolbox import TaskOutcome, Toolbox

_log = logging.getLogger(__name__)

DEFAULT_MEMORY_BYTES = 256 << 20
"""What maxBytesInMemory 0 means here where memory has no limit, or a generous one. A quarter of a GiB is enough for
spills to be large; more of it gains nothing."""

_MEMORY_SHARE = 6
"""Of a limited memory rows take so small a part: reader, merge and writer need the rest. Druid: a sixth of the heap"""
_CHUNK_SHARE = 64
"""Likewise of text that is read at a time: there are several chunks about, and what they are parsed to."""


def run(task: IndexTask | IndexParallelTask, toolbox: Toolbox) -> TaskOutcome:
    """
    Read, build, push, publish.

    Raises TaskFailure where the input, the locks or the Overlord forbid it, TaskCanceled when told to stop; nothing is
    published then.
    """
    return _Ingestion(task, toolbox).run()


class _Ingestion:
    def __init__(self, task: IndexTask | IndexParallelTask, toolbox: Toolbox) -> None:
        self._task = task
        self._toolbox = toolbox
        self._schema = task.spec.data_schema
        self._tuning = task.spec.tuning_config
        granularity = self._schema.granularity_spec
        self._buckets = _Buckets.of(granularity)
        self._has_read = False
        self._windows: list[SegmentWindow] = []
        self._time_chunks = TimeChunks(task, toolbox, granularity.segment_granularity, granularity.query_granularity)

    def run(self) -> TaskOutcome:
        progress = self._toolbox.progress
        progress.saves_parse_exceptions = self._tuning.max_saved_parse_exceptions > 0
        if self._buckets is not None and not self._time_chunks.appends:
            self._time_chunks.acquire(self._buckets.intervals)
        self._windows = self._found_windows()
        plan, fields = self._plan()
        progress.state = IngestionState.BUILD_SEGMENTS
        count = self._count(BUILD_SEGMENTS)
        publication = Publication(
            self._toolbox, self._time_chunks, IndexSpec.from_json(self._tuning.index_spec.to_wire())
        )
        sinks = OpenSinks(plan, self._limits(), self._toolbox.work_dir)
        for batch in read_ahead(self._batches(count, fields)):
            self._toolbox.stop.check()
            chunk, faults = chunk_of(batch, plan)
            kept = self._kept(batch, faults, count)
            for closed in sinks.add(chunk if kept is None else chunk.take(kept)):
                publication.take(closed)
        if not count.meters.totals().processed_bytes:
            _log.warning("The input has no data: nothing matches the inputSource, or all of it is empty")
        publication.finish(sinks.close())
        self._count_determined_partitions(count)
        buried = tombstones(self._task, self._toolbox, self._time_chunks, publication.filled)
        published = publication.publish(buried)
        progress.state = IngestionState.COMPLETED
        return TaskOutcome(
            progress.final_report(self._task.id, self._task.context, segments_published=published, records_processed={})
        )

    def _plan(self) -> tuple[BuildPlan, FieldSelection]:
        """The columns to build and the fields to read; discovering them takes a pass over the input."""
        discovery = Discovery(self._schema)
        dimensions = self._discovered(discovery) if discovery.is_needed else listed_dimensions(self._schema)
        store_empty = bool(self._task.context.get("storeEmptyColumns", True))
        plan = build_plan(self._schema, dimensions, store_empty=store_empty)
        inputs = [str(metric.field_name) for metric in self._schema.metrics_spec if metric.field_name]
        names = dict.fromkeys([*(dimension.name for dimension in dimensions), *inputs])
        return plan, FieldSelection(tuple(names))

    def _discovered(self, discovery: Discovery) -> tuple[Dimension, ...]:
        self._toolbox.progress.state = IngestionState.DETERMINE_PARTITIONS
        # Druid counts a first pass only where it makes one itself: to learn the intervals.
        count = self._count(DETERMINE_PARTITIONS) if self._buckets is None else self._uncounted()
        for batch in read_ahead(self._batches(count, discovery.fields)):
            self._toolbox.stop.check()
            discovery.look_at(batch)
            count.meters.processed(batch.rows)
        return discovery.dimensions()

    def _count(self, phase: str) -> "_Count":
        progress, count = self._toolbox.progress, self._uncounted()
        progress.meters[phase] = count.meters
        progress.parse_exceptions[phase] = count.parse_exceptions
        return count

    def _uncounted(self) -> "_Count":
        tuning = self._tuning
        meters = RowMeters(self._toolbox.clock)
        handler = ParseExceptionHandler(
            meters,
            tuning.max_parse_exceptions,
            tuning.max_saved_parse_exceptions,
            tuning.log_parse_exceptions,
            self._toolbox.clock,
        )
        return _Count(meters, handler)

    def _batches(self, count: "_Count", fields: FieldSelection) -> Iterator[InputBatch]:
        for batch in self._read(count, fields):
            if batch.rows and not self._has_read:
                self._say_how_soon()
            yield batch

    def _read(self, count: "_Count", fields: FieldSelection) -> Iterator[InputBatch]:
        io_config, toolbox = self._task.spec.io_config, self._toolbox
        if isinstance(io_config.input_source, DruidSource):
            return read_windows(
                self._windows,
                io_config.input_source.row_filter,
                self._schema.timestamp_spec,
                fields,
                frozenset(each.field_name for each in self._schema.metrics_spec if each.type == "hyperUnique"),
                count.parse_exceptions,
                count.meters,
                toolbox.deep_storage,
                toolbox.work_dir,
            )
        assert io_config.input_format is not None  # the spec demands one of every other source
        return read_batches(
            io_config.input_source,
            io_config.input_format,
            self._schema.timestamp_spec,
            fields,
            count.parse_exceptions,
            count.meters,
            toolbox.input_policy,
            toolbox.work_dir,
            _share(CHUNK_BYTES, toolbox.memory_bytes, _CHUNK_SHARE),
        )

    def _found_windows(self) -> list[SegmentWindow]:
        """
        What a `druid` source reads, the same in each pass.

        A task that replaces what it reads locks that before it looks: what somebody appended after the look, and
        before the lock, would be hidden unread.
        """
        source = self._task.spec.io_config.input_source
        if not isinstance(source, DruidSource):
            return []
        replaces_it = source.data_source == self._task.data_source and not self._time_chunks.appends
        while True:
            found = windows_of(source, self._toolbox)
            granularity = self._schema.granularity_spec
            if not replaces_it or granularity.type == "arbitrary" or self._buckets is not None:
                return found
            touched = granularity.model_copy(update={"intervals": [window.interval for window in found]}).covered()
            missing = [interval for interval in touched if not self._time_chunks.holds(interval)]
            if not missing:
                return found
            self._time_chunks.acquire(missing)

    def _say_how_soon(self) -> None:
        """Once, when the first rows of all have been read: what a pod costs before its work begins."""
        self._has_read = True
        began_ms = self._toolbox.keeper_began_ms
        if began_ms is not None:
            _log.info("First rows read %d ms after the container began", self._toolbox.clock() - began_ms)

    def _kept(self, batch: InputBatch, faults: list[Faults], count: "_Count") -> npt.NDArray[np.int64] | None:
        """Count the rows of a batch by what becomes of them; the row numbers to keep, or None for all."""
        inside = None if self._buckets is None else self._buckets.contain(batch.time_ms)
        if inside is not None and inside.all():
            inside = None
        kept = None if inside is None else np.flatnonzero(inside)
        rows = batch.rows if kept is None else len(kept)
        count.meters.thrown_away(batch.rows - rows)
        faulty = np.unique(np.concatenate([fault.rows for fault in faults])) if faults else np.zeros(0, np.int64)
        if inside is not None:
            faulty = faulty[inside[faulty]]
        count.meters.processed(rows - len(faulty))
        if len(faulty):
            _report_faults(batch, faults, faulty, count.parse_exceptions)
        return kept

    def _limits(self) -> Limits:
        tuning = self._tuning
        partitions = tuning.given_or_default_partitions_spec
        if not isinstance(partitions, DynamicPartitionsSpec):
            raise TaskFailure(f"partitionsSpec of type [{partitions.type}] is not supported yet; use dynamic")
        memory_bytes = tuning.max_bytes_in_memory or _share(
            DEFAULT_MEMORY_BYTES, self._toolbox.memory_bytes, _MEMORY_SHARE
        )
        return Limits(
            rows_per_segment=partitions.max_rows_per_segment,
            total_rows=partitions.max_total_rows_or_default,
            memory_rows=tuning.max_rows_in_memory,
            memory_bytes=None if memory_bytes < 0 else memory_bytes,
        )

    def _count_determined_partitions(self, build: "_Count") -> None:
        """
        Druid reads an input without intervals twice, counts both passes, and converts no values in the first.

        Here the one pass stands for both.
        """
        progress = self._toolbox.progress
        if self._buckets is not None or DETERMINE_PARTITIONS in progress.meters:
            return
        first = self._count(DETERMINE_PARTITIONS)
        totals = build.meters.totals()
        first.meters.processed(totals.processed + totals.processed_with_error)
        first.meters.processed_bytes(totals.processed_bytes)
        first.meters.unparseable(totals.unparseable)
        progress.parse_exceptions[DETERMINE_PARTITIONS] = build.parse_exceptions


def _share(most_bytes: int, memory_bytes: int | None, share: int) -> int:
    """`most_bytes`, or a share of the memory that there is where that is less."""
    return most_bytes if memory_bytes is None else min(most_bytes, memory_bytes // share)


@dataclass(frozen=True, slots=True)
class _Count:
    """What one pass over the input counts and keeps."""

    meters: RowMeters
    parse_exceptions: ParseExceptionHandler


@dataclass(frozen=True, slots=True)
class _Buckets:
    """The time chunks that the spec's intervals touch, adjacent ones joined."""

    intervals: list[Interval]

    @classmethod
    def of(cls, granularity: GranularitySpec) -> "_Buckets | None":
        """None where the spec names no intervals."""
        return cls(granularity.covered()) if granularity.intervals else None

    def contain(self, time_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which instants lie in one of them."""
        starts = np.array([interval.start_ms for interval in self.intervals])
        ends = np.array([interval.end_ms for interval in self.intervals])
        place = np.searchsorted(starts, time_ms, side="right") - 1
        return (place >= 0) & (time_ms < ends[place])


def _report_faults(
    batch: InputBatch, faults: list[Faults], faulty: npt.NDArray[np.int64], handler: ParseExceptionHandler
) -> None:
    """Rows that are kept with nulls for values that could not be converted."""
    if not handler.wants_text:
        handler.count_processed_with_error(len(faulty))
        return
    columns = [(set(fault.rows.tolist()), fault.messages) for fault in faults]
    for row in faulty.tolist():
        details = [message(row) for rows, message in columns if row in rows]
        handler.processed_with_error(batch.event_text(row), details)
