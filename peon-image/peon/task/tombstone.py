"""
Tombstones: what `dropExisting` leaves where there was data before and the new input has none. Druid: TombstoneHelper
"""

from collections.abc import Collection, Iterator

from druid_core.action import SegmentListUsed
from druid_core.errors import TaskFailure
from druid_core.interval import Interval, condense
from druid_core.segment import DataSegment
from druid_core.shard_spec import TombstoneShardSpec
from druid_core.spec.schema import GranularitySpec
from druid_core.task import IndexParallelTask, IndexTask
from peon.task.time_chunks import TimeChunks
from peon.toolbox import Toolbox

MOST_TOMBSTONES = 10_000
"""Each is a row that every Broker keeps in memory; so many mean a mistaken granularity, not a wish."""


def tombstones(
    task: IndexTask | IndexParallelTask, toolbox: Toolbox, time_chunks: TimeChunks, filled: Collection[Interval]
) -> list[DataSegment]:
    """One for each time chunk of the spec's intervals that holds used segments and is not among `filled`."""
    granularity = task.spec.data_schema.granularity_spec
    if not task.spec.io_config.drop_existing or not granularity.intervals:
        return []
    intervals = condense(granularity.intervals)
    used = toolbox.overlord.perform(SegmentListUsed(data_source=task.data_source, intervals=intervals))
    taken = condense(segment.interval for segment in used if not isinstance(segment.shard_spec, TombstoneShardSpec))
    emptied: set[Interval] = set()
    for bucket in (bucket for old in taken for bucket in _buckets_of(old, granularity) if bucket not in filled):
        emptied.add(bucket)
        if len(emptied) > MOST_TOMBSTONES:
            raise TaskFailure(
                f"Dropping what exists in {', '.join(map(str, intervals))} would take more than [{MOST_TOMBSTONES}] "
                "tombstones; use a coarser segmentGranularity or shorter intervals"
            )
    return [
        DataSegment(
            data_source=task.data_source,
            interval=bucket,
            version=time_chunks.version_of(bucket),
            load_spec={"type": "tombstone", "path": None},
            shard_spec=TombstoneShardSpec(),
            size=1,
            total_rows=0,
        )
        for bucket in sorted(emptied)
    ]


def _buckets_of(old: Interval, granularity: GranularitySpec) -> Iterator[Interval]:
    """The time chunks of the spec that overlap data from before; there may be more than anyone can count."""
    if granularity.type == "arbitrary":
        yield from (chunk for chunk in granularity.chunks() if chunk.overlaps(old))
        return
    for covered in granularity.covered():
        if covered.overlaps(old):
            shared = Interval(max(covered.start_ms, old.start_ms), min(covered.end_ms, old.end_ms))
            yield from granularity.segment_granularity.buckets(shared)
