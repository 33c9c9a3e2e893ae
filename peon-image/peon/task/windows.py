"""
Which segments a task reads whose input is a datasource, and of each which time.

Druid: DruidInputSource.createTimeline
"""

from collections.abc import Iterator

from druid_core.action import RetrieveSegmentsById, SegmentListUsed
from druid_core.errors import TaskFailure
from druid_core.interval import Interval
from druid_core.segment import DataSegment
from druid_core.shard_spec import TombstoneShardSpec
from druid_core.spec.segment_source import DruidSource
from druid_core.timeline import chunks
from peon.read.segment_rows import SegmentWindow
from peon.toolbox import Toolbox


def windows_of(source: DruidSource, toolbox: Toolbox) -> list[SegmentWindow]:
    """
    What is visible of the datasource now, in order of time; tombstones hold nothing.

    Raises TaskFailure for a named segment that the Overlord does not know.
    """
    found = _visible(source, source.interval, toolbox) if source.interval else _named(source, toolbox)
    return [window for window in found if not isinstance(window.segment.shard_spec, TombstoneShardSpec)]


def _visible(source: DruidSource, interval: Interval, toolbox: Toolbox) -> Iterator[SegmentWindow]:
    used = toolbox.overlord.perform(SegmentListUsed(data_source=source.data_source, intervals=[interval]))
    for chunk in chunks(used, interval):
        for segment in chunk.segments:
            yield SegmentWindow(segment, chunk.interval)


def _named(source: DruidSource, toolbox: Toolbox) -> Iterator[SegmentWindow]:
    wanted = source.segments or []
    ids = list(dict.fromkeys(each.segment_id for each in wanted))
    known: dict[str, DataSegment] = {}
    if ids:
        action = RetrieveSegmentsById(data_source=source.data_source, segment_ids=ids)
        known = {segment.id: segment for segment in toolbox.overlord.perform(action)}
    missing = [name for name in ids if name not in known]
    if missing:
        raise TaskFailure(f"There are no segments [{', '.join(missing)}] of datasource [{source.data_source}] to read")
    windows = [
        SegmentWindow(known[each.segment_id], _shared(known[each.segment_id].interval, interval))
        for each in wanted
        for interval in each.intervals
        if known[each.segment_id].interval.overlaps(interval)
    ]
    yield from sorted(windows, key=lambda window: (window.interval, window.segment.shard_spec.partition_num))


def _shared(one: Interval, other: Interval) -> Interval:
    return Interval(max(one.start_ms, other.start_ms), min(one.end_ms, other.end_ms))
