"""
Allocation: an identity for a segment that a task will append, with the lock that protects it.

The datasource is held still from the first look to the last write, so what is decided is what is true.
Druid: SegmentAllocateAction, SegmentAllocationQueue
"""

from dataclasses import dataclass

import orjson

from druid_core.granularity import Granularity
from druid_core.instant import format_instant
from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.timeline import chunks, visible
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.lock.lockbox import LockRequester
from overlord.lock.overlap import bounds, overlaps
from overlord.lock.store import lock_data_source
from overlord.segment import store
from overlord.segment.identity import (
    Allocated,
    ChunkState,
    PendingSegment,
    Repeated,
    SequencePlace,
    candidate_intervals,
    identity_for,
    sequence_sha1,
)


@dataclass(frozen=True, slots=True)
class AllocationRequest:
    """One row's wish for a segment to go into. Druid: SegmentCreateRequest"""

    row: Interval
    """The query granularity's bucket of the row's timestamp."""
    preferred: Granularity
    sequence: SequencePlace
    lock_type: LockType
    allocator_id: str
    """The tasks that share it give up what they allocated together. Druid: taskAllocatorId"""


async def allocate(
    tx: Connection, requester: LockRequester, request: AllocationRequest, now_ms: int
) -> SegmentIdWithShardSpec | None:
    """
    An identity, or None where none can be had now; the lock on its interval is the task's from then on.

    The same sequence is answered the same again. Raises InactiveTask, and Conflict for a version used up before.
    """
    await lock_data_source(tx, requester.data_source)
    published = visible(await store.used(tx, requester.data_source, [request.row]), request.row)
    if published:
        there = published[0].interval
        candidates = [there] if there.covers(request.row) else []
    else:
        candidates = candidate_intervals(request.row, request.preferred)
    for interval in candidates:
        identity = await _allocate_on(tx, requester, request, interval, now_ms)
        if identity is not None:
            return identity
    return None


async def _allocate_on(
    tx: Connection, requester: LockRequester, request: AllocationRequest, interval: Interval, now_ms: int
) -> SegmentIdWithShardSpec | None:
    grant = await lockbox.consider(tx, requester, request.lock_type, interval, now_ms)
    if grant is None or grant.lock.revoked:
        return None
    state = await _look(tx, requester.data_source, request.sequence, interval)
    decision = identity_for(requester.data_source, request.sequence, interval, grant.lock.version, state)
    if decision is None:
        return None
    await lockbox.settle(tx, requester, grant)
    match decision:
        case Repeated(identity):
            return identity
        case Allocated(identity):
            await _store(tx, request, identity, now_ms)
            return identity


async def _look(tx: Connection, data_source: str, sequence: SequencePlace, interval: Interval) -> ChunkState:
    seen = chunks(await store.used(tx, data_source, [interval]), interval)
    start, end = bounds(interval)
    pending = await tx.fetch(
        f"""
        SELECT sequence_name, sequence_prev_id, payload FROM druid_pendingsegments
        WHERE datasource = $1 AND ({overlaps("$3", "$2")} OR sequence_name = $4) ORDER BY created_date, id
        """,
        data_source,
        start,
        end,
        sequence.name,
    )
    unused = await tx.fetch(
        """
        SELECT version,
            max(COALESCE((convert_from(payload, 'UTF8')::jsonb #>> '{shardSpec,partitionNum}')::int, 0)) AS last
        FROM druid_segments WHERE datasource = $1 AND NOT used AND start = $2 AND "end" = $3 GROUP BY version
        """,
        data_source,
        interval.start,
        interval.end,
    )
    return ChunkState(
        chunks=seen,
        pending=[
            PendingSegment(SegmentIdWithShardSpec.model_validate(orjson.loads(payload)), name, previous_id)
            for name, previous_id, payload in pending
        ],
        unused={row["version"]: row["last"] for row in unused},
    )


async def _store(tx: Connection, request: AllocationRequest, identity: SegmentIdWithShardSpec, now_ms: int) -> None:
    await tx.execute(
        """
        INSERT INTO druid_pendingsegments (id, datasource, created_date, start, "end", sequence_name, sequence_prev_id,
                                           sequence_name_prev_id_sha1, payload, task_allocator_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        identity.id,
        identity.data_source,
        format_instant(now_ms),
        identity.interval.start,
        identity.interval.end,
        request.sequence.name,
        request.sequence.previous_id,
        sequence_sha1(request.sequence, identity),
        identity.to_json(),
        request.allocator_id,
    )
