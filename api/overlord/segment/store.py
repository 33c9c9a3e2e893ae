"""
Segments as rows: `druid_segments`, `druid_pendingsegments`, and which task published what.

Payloads are handed through as they are stored; what a decision needs of one is read from it. "Used" segments are
those that a Coordinator may load; "unused" ones wait to be killed or marked used again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from druid_core.errors import InvalidInput, NemetonError
from druid_core.instant import format_instant
from druid_core.interval import ETERNITY, Interval, condense
from druid_core.segment import DataSegment
from druid_core.shard_spec import ShardSpec
from overlord.db.pool import Connection, after_commit
from overlord.lock.overlap import bounds, overlaps
from overlord.metrics import meters

_SHARD_SPEC: TypeAdapter[ShardSpec] = TypeAdapter(ShardSpec)

_COLUMNS = 'id, start, "end", version, created_date, payload'

_INSERT = """
WITH published AS (
    INSERT INTO druid_segments (id, datasource, created_date, start, "end", partitioned, version, used, payload,
                                used_status_last_updated, indexing_state_fingerprint, upgraded_from_segment_id)
    SELECT id, $2, $3, start, "end", TRUE, version, used, payload, $3, fingerprint, upgraded_from
    FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bool[], $9::bytea[], $10::text[], $11::text[])
        AS new (id, start, "end", version, used, payload, fingerprint, upgraded_from)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, indexing_state_fingerprint
),
noted AS (
    INSERT INTO nemeton_task_segments (task_id, segment_id) SELECT $1, id FROM published ON CONFLICT DO NOTHING
),
described AS (
    UPDATE druid_indexingstates SET pending = FALSE
    WHERE pending AND fingerprint IN (SELECT indexing_state_fingerprint FROM published)
)
SELECT id FROM published
"""


class UnreadableSegment(NemetonError):
    """A stored segment whose shard spec is of no kind that is known here."""


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A row of `druid_segments`, placed on the timeline."""

    id: str
    interval: Interval
    version: str
    shard_spec: ShardSpec
    created: str
    wire: dict[str, Any]
    """The payload as it is stored. Druid: DataSegment"""


async def used(tx: Connection, data_source: str, intervals: Sequence[Interval]) -> list[StoredSegment]:
    """The used segments that overlap any of the intervals, the overshadowed ones included, in order of time."""
    stretches = [bounds(stretch) for stretch in condense(intervals)]
    rows = await tx.fetch(
        f"""
        SELECT {_COLUMNS} FROM unnest($2::text[], $3::text[]) AS asked (since, until)
        JOIN druid_segments ON datasource = $1 AND used AND {overlaps("until", "since")}
        """,
        data_source,
        [start for start, _ in stretches],
        [end for _, end in stretches],
    )
    found = [_segment(*row) for row in {row["id"]: row for row in rows}.values()]
    return in_order(s for s in found if any(s.interval.overlaps(interval) for interval in intervals))


async def unused(
    tx: Connection,
    data_source: str,
    interval: Interval,
    *,
    versions: Sequence[str] | None = None,
    limit: int | None = None,
    updated_until: str | None = None,
) -> list[StoredSegment]:
    """
    The unused segments that lie wholly inside `interval`, in order of time.

    `versions` None means all, an empty list none; `updated_until` is the latest instant of their last change.
    """
    rows = await tx.fetch(
        f"""
        SELECT {_COLUMNS} FROM druid_segments
        WHERE datasource = $1 AND NOT used AND start >= $2 AND "end" <= $3 AND ("end" <> $7 OR $3 = 'z')
            AND ($4::text[] IS NULL OR version = ANY($4)) AND ($5::text IS NULL OR used_status_last_updated <= $5)
        ORDER BY start, "end", id LIMIT $6
        """,
        data_source,
        *bounds(interval),
        versions,
        updated_until,
        limit,
        ETERNITY.end,
    )
    return [segment for row in rows if interval.covers((segment := _segment(*row)).interval)]


async def unused_numbers(
    tx: Connection, data_source: str, intervals: Collection[Interval]
) -> dict[Interval, dict[str, set[int]]]:
    """Of the unused segments on exactly each interval, the partition numbers by version."""
    asked = {(interval.start, interval.end): interval for interval in intervals}
    rows = await tx.fetch(
        """
        SELECT start, "end", version, id FROM unnest($2::text[], $3::text[]) AS asked (since, until)
        JOIN druid_segments ON datasource = $1 AND NOT used AND start = since AND "end" = until
        """,
        data_source,
        [start for start, _ in asked],
        [end for _, end in asked],
    )
    numbers: dict[Interval, dict[str, set[int]]] = {interval: defaultdict(set) for interval in intervals}
    for start, end, version, segment_id in rows:
        number = segment_id.removeprefix(f"{data_source}_{start}_{end}_{version}")[1:]
        numbers[asked[start, end]][version].add(int(number) if number.isdecimal() else 0)
    return numbers


async def by_ids(tx: Connection, data_source: str, ids: Iterable[str]) -> list[StoredSegment]:
    """The segments of these ids, used or not."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM druid_segments WHERE datasource = $1 AND id = ANY($2)", data_source, list(ids)
    )
    return in_order(_segment(*row) for row in rows)


async def insert(
    tx: Connection,
    task_id: str,
    segments: Sequence[DataSegment],
    used_ids: set[str],
    now_ms: int,
    upgraded_from: Mapping[str, str] | None = None,
) -> set[str]:
    """
    Insert segments of one datasource in one statement; the ids that were not there before.

    Those in `used_ids` are used from the start. `upgraded_from` says of a copy under a newer version whose files it
    shares. A row that exists stays as it is. The indexing states that they name count as in use from now on.
    """
    origins = upgraded_from or {}
    rows = await tx.fetch(
        _INSERT,
        task_id,
        segments[0].data_source,
        format_instant(now_ms),
        [segment.id for segment in segments],
        [segment.interval.start for segment in segments],
        [segment.interval.end for segment in segments],
        [segment.version for segment in segments],
        [segment.id in used_ids for segment in segments],
        [segment.to_json() for segment in segments],
        [segment.indexing_state_fingerprint for segment in segments],
        [origins.get(segment.id) for segment in segments],
    )
    new = {row["id"] for row in rows}
    added_bytes = sum(segment.size for segment in segments if segment.id in new)
    after_commit(lambda: meters.segments_added(segments[0].data_source, added_bytes))
    return new


async def update_payloads(tx: Connection, segments: Sequence[DataSegment]) -> None:
    """Rewrite what is said of segments, used or not. One that is not there stays away."""
    await tx.execute(
        """
        UPDATE druid_segments AS segment SET payload = new.payload
        FROM unnest($1::text[], $2::text[], $3::bytea[]) AS new (id, datasource, payload)
        WHERE segment.id = new.id AND segment.datasource = new.datasource
        """,
        [segment.id for segment in segments],
        [segment.data_source for segment in segments],
        [segment.to_json() for segment in segments],
    )


async def ids_of_task(tx: Connection, task_id: str) -> list[str]:
    """What a task published, in order of the ids; killed segments stay listed."""
    rows = await tx.fetch("SELECT segment_id FROM nemeton_task_segments WHERE task_id = $1 ORDER BY 1", task_id)
    return [row["segment_id"] for row in rows]


async def published_by(tx: Connection, task_id: str, ids: Sequence[str]) -> bool:
    """Whether this task published all of these before."""
    count = await tx.fetchval(
        "SELECT count(*) FROM nemeton_task_segments WHERE task_id = $1 AND segment_id = ANY($2)", task_id, ids
    )
    return bool(ids) and count == len(set(ids))


async def delete_unused(tx: Connection, data_source: str, ids: Sequence[str]) -> None:
    """Delete the rows of unused segments; a used one stays. Twice is once."""
    nuked_bytes = await tx.fetchval(
        """
        WITH nuked AS (
            DELETE FROM druid_segments WHERE datasource = $1 AND id = ANY($2) AND NOT used RETURNING payload
        )
        SELECT COALESCE(sum((convert_from(payload, 'UTF8')::json ->> 'size')::bigint), 0)::bigint FROM nuked
        """,
        data_source,
        ids,
    )
    after_commit(lambda: meters.segments_nuked(data_source, nuked_bytes or 0))


async def upgraded_from(tx: Connection, data_source: str, ids: Sequence[str]) -> dict[str, str]:
    """Of each id that is a copy under a newer version, the id whose files it shares."""
    rows = await tx.fetch(
        """
        SELECT id, upgraded_from_segment_id FROM druid_segments
        WHERE datasource = $1 AND id = ANY($2) AND upgraded_from_segment_id IS NOT NULL ORDER BY id
        """,
        data_source,
        ids,
    )
    return {row["id"]: row["upgraded_from_segment_id"] for row in rows}


async def upgraded_to(tx: Connection, data_source: str, ids: Sequence[str]) -> dict[str, list[str]]:
    """Of each id, the segments that share its files, itself included where it exists."""
    rows = await tx.fetch(
        """
        SELECT COALESCE(upgraded_from_segment_id, id) AS parent, id FROM druid_segments
        WHERE datasource = $1 AND upgraded_from_segment_id = ANY($2)
        UNION SELECT id, id FROM druid_segments WHERE datasource = $1 AND id = ANY($2)
        ORDER BY 1, 2
        """,
        data_source,
        ids,
    )
    found: dict[str, list[str]] = {}
    for parent, child in rows:
        found.setdefault(parent, []).append(child)
    return found


async def delete_pending(tx: Connection, data_source: str, interval: Interval) -> int:
    """
    Delete the identities allocated, but not published, in rows *created* inside `interval`; how many there were.

    Raises InvalidInput when an active task of the datasource may still need one of them: the interval reaches past
    the creation of the oldest. Druid: IndexerMetadataStorageAdapter.deletePendingSegments
    """
    oldest = await tx.fetchrow(
        "SELECT id, created_date FROM druid_tasks WHERE datasource = $1 AND active ORDER BY created_date LIMIT 1",
        data_source,
    )
    start, end = bounds(interval)
    if oldest is not None and end > oldest["created_date"]:
        raise InvalidInput(
            f"Cannot delete pendingSegments for datasource[{data_source}] as there is at least one active task"
            f"[{oldest['id']}] created at[{oldest['created_date']}] that overlaps with the delete interval"
            f"[{interval}]. Please retry when there are no active tasks."
        )
    tag = await tx.execute(
        "DELETE FROM druid_pendingsegments WHERE datasource = $1 AND created_date >= $2 AND created_date < $3",
        data_source,
        start,
        end,
    )
    return int(tag.rpartition(" ")[2])


def in_order(segments: Iterable[StoredSegment]) -> list[StoredSegment]:
    """By time, version and partition."""
    return sorted(segments, key=lambda each: (each.interval, each.version, each.shard_spec.partition_num))


def _segment(segment_id: str, start: str, end: str, version: str, created: str, payload: bytes) -> StoredSegment:
    wire: dict[str, Any] = orjson.loads(payload)
    try:
        shard_spec = _SHARD_SPEC.validate_python(wire.get("shardSpec") or {"type": "none"})
    except ValidationError as error:
        raise UnreadableSegment(f"Segment [{segment_id}] has a shard spec that is not known here") from error
    return StoredSegment(segment_id, Interval.parse(f"{start}/{end}"), version, shard_spec, created, wire)
