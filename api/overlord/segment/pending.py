"""
Pending segments as rows of `druid_pendingsegments`: identities that are allocated and not published yet.

Druid: PendingSegmentRecord
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import asyncpg
import orjson
from pydantic import TypeAdapter

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant
from druid_core.interval import Interval, condense
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.shard_spec import ShardSpec
from overlord.db.pool import Connection
from overlord.lock.overlap import bounds, overlaps
from overlord.segment.identity import PendingSegment, SequencePlace, sequence_sha1

_SHARD_SPEC: TypeAdapter[ShardSpec] = TypeAdapter(ShardSpec)

_COLUMNS = "sequence_name, sequence_prev_id, payload, task_allocator_id, upgraded_from_segment_id"

_COLUMN_CHARACTERS = 255
"""Druid's columns hold no more."""


async def around(
    tx: Connection, data_source: str, intervals: Iterable[Interval], names: Iterable[str]
) -> list[PendingSegment]:
    """Those that overlap an interval, and those of the sequences `names` wherever they lie; oldest first."""
    stretches = [bounds(stretch) for stretch in condense(intervals)]
    rows = await tx.fetch(
        f"""
        SELECT {_COLUMNS} FROM druid_pendingsegments WHERE id IN (
            SELECT id FROM unnest($2::text[], $3::text[]) AS asked (since, until)
            JOIN druid_pendingsegments ON datasource = $1 AND {overlaps("until", "since")}
            UNION ALL SELECT id FROM druid_pendingsegments WHERE datasource = $1 AND sequence_name = ANY($4)
        )
        ORDER BY created_date, id
        """,
        data_source,
        [start for start, _ in stretches],
        [end for _, end in stretches],
        list(names),
    )
    return [_pending(row) for row in rows]


async def upgrades_of(
    tx: Connection, data_source: str, allocator_id: str, segment_ids: Sequence[str]
) -> list[PendingSegment]:
    """What a replacement made of these identities of one allocator, in order of their ids."""
    rows = await tx.fetch(
        f"""
        SELECT {_COLUMNS} FROM druid_pendingsegments
        WHERE datasource = $1 AND task_allocator_id = $2 AND upgraded_from_segment_id = ANY($3) ORDER BY id
        """,
        data_source,
        allocator_id,
        segment_ids,
    )
    return [_pending(row) for row in rows]


async def insert(tx: Connection, new: Sequence[tuple[PendingSegment, SequencePlace]], now_ms: int) -> set[str]:
    """
    Insert identities of one datasource in one statement; the ids that were stored.

    One whose id, or whose place in its sequence, is taken by another row is left out.
    """
    if not new:
        return set()
    identities = [pending.identity for pending, _ in new]
    rows = await tx.fetch(
        """
        INSERT INTO druid_pendingsegments (id, datasource, created_date, start, "end", sequence_name, sequence_prev_id,
                                           sequence_name_prev_id_sha1, payload, task_allocator_id,
                                           upgraded_from_segment_id)
        SELECT id, $1, $2, start, "end", name, previous_id, sha1, payload, allocator_id, upgraded_from
        FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[],
                    $11::text[])
            AS new (id, start, "end", name, previous_id, sha1, payload, allocator_id, upgraded_from)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        identities[0].data_source,
        format_instant(now_ms),
        [identity.id for identity in identities],
        [identity.interval.start for identity in identities],
        [identity.interval.end for identity in identities],
        [pending.sequence_name for pending, _ in new],
        [pending.previous_id for pending, _ in new],
        [sequence_sha1(place, pending.identity) for pending, place in new],
        [identity.to_json() for identity in identities],
        [pending.allocator_id for pending, _ in new],
        [pending.upgraded_from for pending, _ in new],
    )
    return {row["id"] for row in rows}


async def delete(tx: Connection, data_source: str, ids: Iterable[str]) -> None:
    """Drop what is published now. Twice is once."""
    await tx.execute("DELETE FROM druid_pendingsegments WHERE datasource = $1 AND id = ANY($2)", data_source, list(ids))


def check_lengths(sequence: SequencePlace, longest_id: str) -> None:
    """Raises InvalidInput for texts that Druid's columns cannot hold; found here, no transaction breaks on one."""
    texts = {"sequenceName": sequence.name, "previousSegmentId": sequence.previous_id, "the segment's id": longest_id}
    for name, text in texts.items():
        if len(text) > _COLUMN_CHARACTERS:
            raise InvalidInput(f"[{name}] has {len(text)} characters; at most {_COLUMN_CHARACTERS} can be stored")


def _pending(row: asyncpg.Record) -> PendingSegment:
    name, previous_id, payload, allocator_id, upgraded_from = row
    raw: dict[str, Any] = orjson.loads(payload)
    # The fields are Druid's or our own; there may be ten thousand of them for one answer
    identity = SegmentIdWithShardSpec.model_construct(
        data_source=raw["dataSource"],
        interval=_interval(raw["interval"]),
        version=raw["version"],
        shard_spec=_SHARD_SPEC.validate_python(raw["shardSpec"]),
    )
    return PendingSegment(identity, name, previous_id, allocator_id, upgraded_from)


@lru_cache(maxsize=1024)
def _interval(text: str) -> Interval:
    return Interval.parse(text)
