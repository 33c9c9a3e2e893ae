"""
Concurrent append and replace: what was appended while a task replaced a time chunk is carried into its new version.

A task that appends under another's REPLACE lock notes its segments for the holder (`druid_upgradesegments`). When the
holder publishes, each noted segment gets a copy under the new version, which shares its files; identities that are
allocated and not published yet get another one of the new version, so that their segments will be seen there too.

The rules here are pure, the rows are below them. Druid: IndexerSQLMetadataStorageCoordinator.commitReplaceSegments
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from druid_core.errors import Conflict
from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.segment import DataSegment, SegmentIdWithShardSpec
from druid_core.shard_spec import (
    NumberedShardSpec,
    TombstoneShardSpec,
    core_partitions,
    is_countable,
    renumbered,
)
from overlord.db.pool import Connection
from overlord.lock import store as locks
from overlord.lock.store import LockRow
from overlord.segment import store
from overlord.segment.identity import PendingSegment, SequencePlace

SEQUENCE_PREFIX = "upgraded_to_version__"
"""Begins the sequence name of an identity that an upgrade made. Druid: UPGRADED_PENDING_SEGMENT_PREFIX"""


class FinerReplacement(Conflict):
    """What was appended is coarser than what replaces it, and would lie over several of its chunks."""

    def __init__(self, what: str, version: str, replaced: Interval, interval: Interval) -> None:
        super().__init__(
            "Replacing with a finer segment granularity than a concurrent append is unsupported. Cannot upgrade "
            f"{what} to version[{version}] as the replace interval[{replaced}] does not fully contain the pending "
            f"segment interval[{interval}]."
        )


@dataclass(frozen=True, slots=True)
class Appended:
    """A segment that was appended under a REPLACE lock."""

    segment: DataSegment
    origin: str
    """The id of the segment whose files it shares: its own, or that of which it is a copy itself."""
    version: str
    """The version of the lock, under which it is to be seen."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """All that a replacing task publishes."""

    segments: list[DataSegment]
    upgraded_from: dict[str, str]
    """Of each copy among them, the id of its origin."""


def replacement(replacing: Sequence[DataSegment], appended: Sequence[Appended]) -> Replacement:
    """
    The segments of the task and the copies of what was appended, numbered after them in one core set a chunk.

    Raises FinerReplacement, and InvalidInput for a segment whose kind cannot be renumbered.
    """
    if not appended:
        return Replacement(list(replacing), {})
    last: dict[Interval, int] = {}
    for segment in replacing:
        last[segment.interval] = max(last.get(segment.interval, 0), segment.shard_spec.partition_num)
    chunks = sorted(last)
    uncounted = {segment.interval for segment in replacing if not _counts(segment)}
    copies: list[DataSegment] = []
    origins: dict[str, str] = {}
    for each in appended:
        interval = _chunk_of(each, chunks)
        if not is_countable(each.segment.shard_spec):
            uncounted.add(interval)
        last[interval] = last.get(interval, -1) + 1
        copy = each.segment.model_copy(
            update={
                "interval": interval,
                "version": each.version,
                "shard_spec": renumbered(each.segment.shard_spec, partition_num=last[interval]),
            }
        )
        copies.append(copy)
        origins[copy.id] = each.origin
    return Replacement([_in_core_set(segment, last, uncounted) for segment in (*replacing, *copies)], origins)


def upgraded_pending(
    published: Iterable[DataSegment], pending: Iterable[PendingSegment]
) -> list[tuple[PendingSegment, SequencePlace]]:
    """
    The identities to allocate beside pending ones that lie under the published chunks, each with its unique place.

    Raises FinerReplacement where a pending one lies only partly under a chunk.
    """
    newest: dict[Interval, DataSegment] = {}
    for segment in published:
        there = newest.get(segment.interval)
        if there is None or there.shard_spec.partition_num < segment.shard_spec.partition_num:
            newest[segment.interval] = segment
    # as Druid finds them, by its index
    waiting = sorted(pending, key=lambda each: each.identity.interval.end_ms)
    made: list[tuple[PendingSegment, SequencePlace]] = []
    for interval, segment in sorted(newest.items()):
        number, core = segment.shard_spec.partition_num, max(core_partitions(segment.shard_spec), 0)
        for each in waiting:
            if each.identity.interval.overlaps(interval) and _is_to_upgrade(each, interval, segment.version):
                number += 1
                made.append(_upgrade(each, segment, NumberedShardSpec(partition_num=number, partitions=core)))
    return made


def covering(segments: Iterable[DataSegment], rows: Iterable[LockRow]) -> list[tuple[str, str, str]]:
    """
    (holder's task id, segment id, lock version) of each segment that an active REPLACE lock covers.

    Of several locks over a segment the first counts, for all its holders. (Druid throws when there are several.)
    """
    replacing = [row for row in rows if row.lock.type is LockType.REPLACE and not row.lock.revoked]
    found: list[tuple[str, str, str]] = []
    for segment in segments:
        over = [row for row in replacing if row.lock.interval.covers(segment.interval)]
        found.extend((row.task_id, segment.id, row.lock.version) for row in over if row.lock == over[0].lock)
    return found


async def note(tx: Connection, data_source: str, segments: Sequence[DataSegment]) -> set[str]:
    """
    Note segments for those who hold a REPLACE lock over them; the ids of those that somebody does. Twice is once.

    The datasource must be held still.
    """
    noted = covering(segments, await locks.of_data_sources(tx, [data_source]))
    if noted:
        await tx.execute(
            """
            INSERT INTO druid_upgradesegments (task_id, segment_id, lock_version)
            SELECT new.task_id, new.segment_id, new.lock_version
            FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
                AS new (task_id, segment_id, lock_version, position)
            WHERE NOT EXISTS (
                SELECT 1 FROM druid_upgradesegments AS there
                WHERE there.task_id = new.task_id AND there.segment_id = new.segment_id
                    AND there.lock_version = new.lock_version
            )
            ORDER BY position
            """,
            [task_id for task_id, _, _ in noted],
            [segment_id for _, segment_id, _ in noted],
            [version for _, _, version in noted],
        )
    return {segment_id for _, segment_id, _ in noted}


async def noted_for(tx: Connection, data_source: str, task_id: str) -> list[Appended]:
    """What was noted for a task and still exists, in the order of the ids: so Druid finds and numbers it."""
    rows = await tx.fetch("SELECT segment_id, lock_version FROM druid_upgradesegments WHERE task_id = $1", task_id)
    versions: Mapping[str, str] = {row["segment_id"]: row["lock_version"] for row in rows}
    if not versions:
        return []
    found = {each.id: each for each in await store.by_ids(tx, data_source, versions)}
    origins = await store.upgraded_from(tx, data_source, list(found))
    return [
        Appended(DataSegment.model_validate(found[segment_id].wire), origins.get(segment_id, segment_id), version)
        for segment_id, version in sorted(versions.items())
        if segment_id in found
    ]


def _chunk_of(appended: Appended, chunks: Sequence[Interval]) -> Interval:
    """The replaced chunk that contains it; its own interval where nothing was replaced."""
    interval = appended.segment.interval
    for chunk in chunks:
        if chunk.covers(interval):
            return chunk
        if chunk.overlaps(interval):
            raise FinerReplacement(f"segment[{appended.segment.id}]", appended.version, chunk, interval)
    return interval


def _counts(segment: DataSegment) -> bool:
    return isinstance(segment.shard_spec, TombstoneShardSpec) or is_countable(segment.shard_spec)


def _in_core_set(segment: DataSegment, last: Mapping[Interval, int], uncounted: set[Interval]) -> DataSegment:
    """The segment in a core set of all segments of its chunk; tombstones and what is not counted stay as they are."""
    if isinstance(segment.shard_spec, TombstoneShardSpec) or segment.interval in uncounted:
        return segment
    spec = renumbered(segment.shard_spec, core=last[segment.interval] + 1)
    return segment.model_copy(update={"shard_spec": spec})


def _is_to_upgrade(pending: PendingSegment, chunk: Interval, version: str) -> bool:
    if pending.allocator_id is None or pending.identity.version >= version:
        return False
    if not chunk.covers(pending.identity.interval):
        what = f"pendingSegment[{pending.identity.id}]"
        raise FinerReplacement(what, version, chunk, pending.identity.interval)
    return not pending.sequence_name.startswith(SEQUENCE_PREFIX)


def _upgrade(
    pending: PendingSegment, segment: DataSegment, shard_spec: NumberedShardSpec
) -> tuple[PendingSegment, SequencePlace]:
    identity = SegmentIdWithShardSpec(
        data_source=segment.data_source, interval=segment.interval, version=segment.version, shard_spec=shard_spec
    )
    origin = pending.identity.id
    place = SequencePlace(SEQUENCE_PREFIX + segment.version, origin, skip_lineage_check=False)
    return PendingSegment(identity, place.name, origin, pending.allocator_id, upgraded_from=origin), place
