"""Closed sinks on their way out: written, pushed to deep storage, published all at once."""

import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from druid_core.action import SegmentTransactionalAppend, SegmentTransactionalInsert, SegmentTransactionalReplace
from druid_core.errors import StorageAway, TaskFailure
from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.segment import DataSegment, SegmentIdWithShardSpec
from druid_core.shard_spec import NumberedShardSpec
from peon.build.sink import Sink
from peon.segment.index_spec import IndexSpec
from peon.segment.smoosh import MAX_CHUNK_BYTES
from peon.segment.write import WrittenSegment
from peon.task.time_chunks import TimeChunks
from peon.toolbox import Toolbox

_log = logging.getLogger(__name__)

_PUBLISH_RETRIES = 4

_PUSH_PATIENCE_SECONDS = 300.0
"""For a deep storage that is away: it may restart, and what was read for hours is worth the wait. Druid: S3Utils"""
_LONGEST_PUSH_PAUSE_SECONDS = 30.0


@dataclass
class Publication:
    """
    The segments of one task.

    Segments whose time chunk is not locked yet (the task learns its intervals while it reads) wait on disk; nothing
    is published before everything is pushed.
    """

    toolbox: Toolbox
    time_chunks: TimeChunks
    index_spec: IndexSpec
    max_chunk_bytes: int = MAX_CHUNK_BYTES
    _waiting: list[Sink] = field(default_factory=list[Sink])
    _pushed: list[DataSegment] = field(default_factory=list[DataSegment])

    def take(self, sinks: list[Sink]) -> None:
        """Push the sinks that were closed because they were full, or put them aside on disk."""
        for sink in sinks:
            self.toolbox.stop.check()
            if self.time_chunks.holds(sink.bucket):
                self._push(sink)
            else:
                sink.spill()
                self._waiting.append(sink)

    def finish(self, sinks: list[Sink]) -> None:
        """
        Push the sinks that were open when the input ended, and those put aside; lock the time chunks of both.

        Raises TaskFailure when a lock is not to be had.
        """
        waiting, self._waiting = [*self._waiting, *sinks], []
        if not self.time_chunks.appends:
            self.time_chunks.acquire([sink.bucket for sink in waiting])
        for sink in waiting:
            self.toolbox.stop.check()
            self._push(sink)

    @property
    def filled(self) -> set[Interval]:
        """The time chunks that got data."""
        return {segment.interval for segment in self._pushed}

    def publish(self, tombstones: list[DataSegment]) -> int:
        """
        Publish all at once; how many segments there are, `tombstones` among them.

        Raises TaskFailure when the Overlord refuses; then nothing is published.
        """
        segments = [*map(self._with_core_partitions, self._pushed), *tombstones]
        if segments:
            self._insert(segments)
        for segment in segments:
            _log.info("Published segment [%s]: [%s] rows, [%d] bytes", segment.id, segment.total_rows, segment.size)
        return len(segments)

    def _push(self, sink: Sink) -> None:
        identity = self.time_chunks.next_segment(sink.bucket)
        rows = sink.rows
        written = sink.write(identity.interval, self.index_spec, self.max_chunk_bytes)
        _log.info(
            "Built segment [%s]: [%d] rows from [%d], [%d] bytes", identity.id, written.rows, rows, written.size_bytes
        )
        pushed = self._store(sink.index_folder, _data_segment(identity, written))
        _log.info("Pushed segment [%s] to [%s]", identity.id, pushed.load_spec)
        self._pushed.append(pushed)
        _remove(sink.folder)

    def _store(self, folder: Path, segment: DataSegment) -> DataSegment:
        give_up = time.monotonic() + _PUSH_PATIENCE_SECONDS
        pause = 1.0
        while True:
            try:
                return self.toolbox.deep_storage.push(folder, segment)
            except StorageAway as away:
                if time.monotonic() + pause > give_up:
                    raise
                _log.warning("Segment [%s] waits for deep storage, next try in %.0f s: %s", segment.id, pause, away)
            self.toolbox.stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PUSH_PAUSE_SECONDS)

    def _with_core_partitions(self, segment: DataSegment) -> DataSegment:
        if self.time_chunks.appends:
            return segment
        number = segment.shard_spec.partition_num
        count = self.time_chunks.core_partitions(segment.interval)
        return segment.model_copy(update={"shard_spec": NumberedShardSpec(partition_num=number, partitions=count)})

    def _publishing(
        self, segments: list[DataSegment]
    ) -> SegmentTransactionalInsert | SegmentTransactionalAppend | SegmentTransactionalReplace:
        """The action that goes with the task's locks. Druid: AbstractBatchIndexTask.buildPublishAction"""
        match self.time_chunks.lock_type:
            case LockType.APPEND:
                return SegmentTransactionalAppend(segments=segments)
            case LockType.REPLACE:
                return SegmentTransactionalReplace(segments=segments)
            case LockType.EXCLUSIVE | LockType.SHARED:
                return SegmentTransactionalInsert(segments=segments)

    def _insert(self, segments: list[DataSegment]) -> None:
        action = self._publishing(segments)
        result = self.toolbox.overlord.perform(action)
        for _ in range(_PUBLISH_RETRIES):
            if result.success or not result.retryable:
                break
            self.toolbox.stop.wait(1.0)
            result = self.toolbox.overlord.perform(action)
        if not result.success:
            raise TaskFailure(f"Failed to publish [{len(segments)}] segments: {result.error_msg}")


def _data_segment(identity: SegmentIdWithShardSpec, written: WrittenSegment) -> DataSegment:
    return DataSegment(
        data_source=identity.data_source,
        interval=identity.interval,
        version=identity.version,
        dimensions=written.dimensions,
        metrics=written.metrics,
        shard_spec=identity.shard_spec,
        size=written.size_bytes,
        total_rows=written.rows,
    )


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
