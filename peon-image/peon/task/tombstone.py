"""
Tombstones: what `dropExisting` leaves where there was data before and the new input has none. Druid: TombstoneHelper
"""

from collections.abc import Collection

from druid_core.action import SegmentListUsed
from druid_core.interval import Interval, condense
from druid_core.segment import DataSegment
from druid_core.shard_spec import TombstoneShardSpec
from druid_core.task import IndexParallelTask, IndexTask
from peon.task.time_chunks import TimeChunks
from peon.toolbox import Toolbox


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
    emptied = {
        bucket for bucket in granularity.chunks() if bucket not in filled and any(bucket.overlaps(old) for old in taken)
    }
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
