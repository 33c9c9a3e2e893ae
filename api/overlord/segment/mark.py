"""
Marking segments used and unused: what a Coordinator loads, and what a kill task may delete.

Every function changes the rows of one datasource, says how many it changed, and is harmless when repeated.
Druid: SqlSegmentsMetadataManager, OverlordDataSourcesResource
"""

import re
from collections.abc import Iterable, Sequence

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant
from druid_core.interval import Interval
from druid_core.timeline import overshadowed
from overlord.db.pool import Connection
from overlord.lock.store import lock_data_source
from overlord.segment import store
from overlord.segment.store import StoredSegment

_ID_TAIL = re.compile(r"_(-?\d{4,9}-\d\d-\d\dT[\d:.]+Z)_(-?\d{4,9}-\d\d-\d\dT[\d:.]+Z)_(.+)")


def is_segment_id(data_source: str, segment_id: str) -> bool:
    """Whether a text is the id of a segment of this datasource. Druid: SegmentId.tryParse"""
    return segment_id.startswith(data_source) and _ID_TAIL.fullmatch(segment_id[len(data_source) :]) is not None


async def mark_used(
    tx: Connection, data_source: str, interval: Interval, versions: Sequence[str] | None, now_ms: int
) -> int:
    """Those inside `interval` (of these versions; None: all) that would not be overshadowed."""
    await lock_data_source(tx, data_source)
    candidates = await store.unused(tx, data_source, interval, versions=versions)
    return await _mark_used_where_seen(tx, data_source, candidates, now_ms)


async def mark_ids_used(tx: Connection, data_source: str, ids: Iterable[str], now_ms: int) -> int:
    """
    Those of the ids that would not be overshadowed.

    Raises InvalidInput for an id that is none of this datasource.
    """
    wanted = set(ids)
    wrong = sorted(each for each in wanted if not is_segment_id(data_source, each))
    if wrong:
        raise InvalidInput(f"Could not parse segment IDs[[{', '.join(wrong)}]] for datasource[{data_source}]")
    await lock_data_source(tx, data_source)
    candidates = await store.by_ids(tx, data_source, wanted)
    return await _mark_used_where_seen(tx, data_source, candidates, now_ms)


async def mark_one_used(tx: Connection, data_source: str, segment_id: str, now_ms: int) -> int:
    """One segment, whatever lies over it."""
    return await _set_used(tx, data_source, [segment_id], True, now_ms)


async def mark_unused(
    tx: Connection, data_source: str, interval: Interval, versions: Sequence[str] | None, now_ms: int
) -> int:
    """Those wholly inside `interval` (of these versions; None: all)."""
    inside = [
        segment.id
        for segment in await store.used(tx, data_source, [interval])
        if interval.covers(segment.interval) and (versions is None or segment.version in versions)
    ]
    return await _set_used(tx, data_source, inside, False, now_ms)


async def mark_ids_unused(tx: Connection, data_source: str, ids: Iterable[str], now_ms: int) -> int:
    """Those of the ids that this datasource has."""
    return await _set_used(tx, data_source, list(ids), False, now_ms)


async def _mark_used_where_seen(
    tx: Connection, data_source: str, candidates: Sequence[StoredSegment], now_ms: int
) -> int:
    if not candidates:
        return 0
    together = {each.id: each for each in candidates}
    neighbours = await store.used(tx, data_source, [each.interval for each in candidates])
    together.update((each.id, each) for each in neighbours)
    hidden = {each.id for each in overshadowed(together.values())}
    return await _set_used(tx, data_source, [each.id for each in candidates if each.id not in hidden], True, now_ms)


async def _set_used(tx: Connection, data_source: str, ids: Sequence[str], used: bool, now_ms: int) -> int:
    tag = await tx.execute(
        """
        UPDATE druid_segments SET used = $3, used_status_last_updated = $4
        WHERE datasource = $1 AND id = ANY($2) AND used <> $3
        """,
        data_source,
        ids,
        used,
        format_instant(now_ms),
    )
    return int(tag.rpartition(" ")[2])
