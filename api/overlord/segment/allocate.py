"""
Allocation: identities for segments that tasks will append, with the locks that protect them.

All requests for one datasource that arrive together are decided in one transaction. The datasource is held still from
the first look to the last write, so what is decided is what is true, and nothing needs to be tried again because
something changed meanwhile. Druid: SegmentAllocateAction, SegmentAllocationQueue
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from druid_core.errors import Conflict, NemetonError
from druid_core.granularity import Granularity
from druid_core.interval import Interval, condense
from druid_core.lock import LockGranularity, LockType, TaskLock
from druid_core.partial_shard_spec import NUMBERED, PartialShardSpec
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.timeline import Chunk, chunks
from overlord.db.pool import Connection
from overlord.lock import lockbox
from overlord.lock.conflict import Partition, next_version
from overlord.lock.lockbox import Grant, LockRequester
from overlord.lock.store import lock_data_source
from overlord.segment import pending, store
from overlord.segment.identity import (
    Allocated,
    ChunkState,
    PendingSegment,
    Repeated,
    SequencePlace,
    candidate_intervals,
    identity_for,
)
from overlord.segment.store import StoredSegment


class SequenceTaken(Conflict):
    """The place in the sequence is taken by an identity elsewhere: its name is used for something else."""

    def __init__(self, sequence: SequencePlace) -> None:
        super().__init__(f"Sequence [{sequence.name}] has a segment after [{sequence.previous_id}] elsewhere already")


@dataclass(frozen=True, slots=True)
class AllocationRequest:
    """One row's wish for a segment to go into. Druid: SegmentCreateRequest"""

    requester: LockRequester
    row: Interval
    """The query granularity's bucket of the row's timestamp."""
    preferred: Granularity
    sequence: SequencePlace
    lock_type: LockType
    allocator_id: str
    """The tasks that share it give up what they allocated together. Druid: taskAllocatorId"""
    partial: PartialShardSpec = NUMBERED
    granularity: LockGranularity = LockGranularity.TIME_CHUNK
    """Of the lock that protects it: the whole chunk's, or its own."""

    @property
    def around(self) -> Interval:
        """The row and the bucket that is preferred for it."""
        bucket = self.preferred.bucket(self.row.start_ms)
        return Interval(min(self.row.start_ms, bucket.start_ms), max(self.row.end_ms, bucket.end_ms))


Answer = SegmentIdWithShardSpec | None | NemetonError
"""An identity; None where none can be had now; the reason why a request failed."""


async def allocate(tx: Connection, request: AllocationRequest, now_ms: int) -> SegmentIdWithShardSpec | None:
    """
    An identity, or None where none can be had now; the lock on its interval is the task's from then on.

    The same sequence is answered the same again. Raises InactiveTask, InvalidInput for a text that is too long, and
    Conflict for a version that was used up before or a sequence that is used elsewhere.
    """
    (answer,) = await allocate_all(tx, request.requester.data_source, [request], now_ms)
    if isinstance(answer, NemetonError):
        raise answer
    return answer


async def allocate_all(
    tx: Connection, data_source: str, requests: Sequence[AllocationRequest], now_ms: int
) -> list[Answer]:
    """The answers to requests for one datasource, in their order. One that fails takes no other with it."""
    await lock_data_source(tx, data_source)
    ledger = _Ledger(tx, data_source, requests, now_ms)
    await ledger.look(request.around for request in requests)
    answers = [await ledger.answer(request) for request in requests]
    stored = await pending.insert(tx, ledger.new, now_ms)
    unstored = {each.identity.id for each, _ in ledger.new} - stored
    return [
        SequenceTaken(request.sequence)
        if isinstance(answer, SegmentIdWithShardSpec) and answer.id in unstored
        else answer
        for request, answer in zip(requests, answers, strict=True)
    ]


class _Ledger:
    """What is known of a datasource within one transaction that holds it still, and what was decided so far."""

    def __init__(self, tx: Connection, data_source: str, requests: Sequence[AllocationRequest], now_ms: int) -> None:
        self._tx = tx
        self._data_source = data_source
        self._now_ms = now_ms
        self._names = {request.sequence.name for request in requests}
        self._seen: list[tuple[Interval, list[Chunk[StoredSegment]]]] = []
        self._states: dict[Interval, ChunkState] = {}
        self._grants: dict[tuple[str, LockType, Interval], Grant | None] = {}
        self.new: list[tuple[PendingSegment, SequencePlace]] = []

    async def look(self, intervals: Iterable[Interval]) -> None:
        """Read the published segments there, one statement a connected stretch."""
        for stretch in condense(intervals):
            found = await store.used(self._tx, self._data_source, [stretch])
            self._seen.append((stretch, chunks(found, stretch)))

    async def answer(self, request: AllocationRequest) -> Answer:
        try:
            for interval in await self._candidates(request):
                identity = await self._on(interval, request)
                if identity is not None:
                    return identity
        except NemetonError as error:
            return error
        return None

    async def _candidates(self, request: AllocationRequest) -> list[Interval]:
        """The chunk that is seen where the row is; where there is none, ever finer buckets."""
        published = await self._chunks(request.row)
        if not published:
            return candidate_intervals(request.row, request.preferred)
        there = published[0].true_interval
        return [there] if there.covers(request.row) else []

    async def _on(self, interval: Interval, request: AllocationRequest) -> SegmentIdWithShardSpec | None:
        if request.granularity is LockGranularity.SEGMENT:
            # the lock is one of the identity, which therefore comes first
            decision = await self._identity(interval, request, next_version(request.lock_type, self._now_ms, []))
            grant = None if decision is None else await self._segment_grant(interval, request, decision.identity)
        else:
            grant = await self._grant(interval, request)
            if grant is None or grant.lock.revoked:
                return None
            decision = await self._identity(interval, request, grant.lock.version)
        if decision is None or grant is None or grant.lock.revoked:
            return None
        await self._settle(interval, request, grant)
        match decision:
            case Repeated(identity):
                return identity
            case Allocated(identity):
                sequence = request.sequence
                allocated = PendingSegment(identity, sequence.name, sequence.previous_id, request.allocator_id)
                for each in self._states.values():
                    each.add(allocated)
                self.new.append((allocated, sequence))
                return identity

    async def _identity(
        self, interval: Interval, request: AllocationRequest, version: str
    ) -> Repeated | Allocated | None:
        state = await self._state(interval)
        decision = identity_for(self._data_source, request.sequence, interval, version, state, request.partial)
        if isinstance(decision, Allocated):
            pending.check_lengths(request.sequence, decision.identity.id)
        return decision

    async def _segment_grant(
        self, interval: Interval, request: AllocationRequest, identity: SegmentIdWithShardSpec
    ) -> Grant | None:
        partition = Partition(identity.version, identity.shard_spec.partition_num)
        return await lockbox.consider(self._tx, request.requester, request.lock_type, interval, self._now_ms, partition)

    async def _grant(self, interval: Interval, request: AllocationRequest) -> Grant | None:
        key = (request.requester.task_id, request.lock_type, interval)
        if key not in self._grants:
            self._grants[key] = await lockbox.consider(
                self._tx, request.requester, request.lock_type, interval, self._now_ms
            )
        return self._grants[key]

    async def _settle(self, interval: Interval, request: AllocationRequest, grant: Grant) -> None:
        """Write the lock. What was considered for others before that may not be true any more."""
        if not (grant.is_new_holder or grant.revoke or grant.release):
            return
        await lockbox.settle(self._tx, request.requester, grant)
        self._grants = {}
        if grant.lock.granularity is LockGranularity.TIME_CHUNK:
            self._grants[request.requester.task_id, request.lock_type, interval] = _held(grant.lock)

    async def _state(self, interval: Interval) -> ChunkState:
        if interval not in self._states:
            self._states[interval] = ChunkState(
                chunks=await self._chunks(interval),
                pending=await self._pending(interval),
                unused=await self._unused(interval),
            )
        return self._states[interval]

    async def _chunks(self, interval: Interval) -> list[Chunk[StoredSegment]]:
        for stretch, seen in self._seen:
            if stretch.covers(interval):
                return [chunk for chunk in seen if chunk.interval.overlaps(interval)]
        await self.look([interval])
        return self._seen[-1][1]

    async def _pending(self, interval: Interval) -> list[PendingSegment]:
        stored = await pending.around(self._tx, self._data_source, interval, self._names)
        return [*stored, *(each for each, _ in self.new)]

    async def _unused(self, interval: Interval) -> dict[str, set[int]]:
        """Of the unused segments on exactly this interval, the partition numbers by version."""
        rows = await self._tx.fetch(
            """
            SELECT id, version FROM druid_segments
            WHERE datasource = $1 AND NOT used AND start = $2 AND "end" = $3
            """,
            self._data_source,
            interval.start,
            interval.end,
        )
        numbers: defaultdict[str, set[int]] = defaultdict(set)
        for segment_id, version in rows:
            stem = f"{self._data_source}_{interval.start}_{interval.end}_{version}"
            number = segment_id.removeprefix(stem)[1:]
            numbers[version].add(int(number) if number.isdecimal() else 0)
        return numbers


def _held(lock: TaskLock) -> Grant:
    """What considering a lock again finds once it is settled."""
    return Grant(lock, is_new_holder=False, revoke=[], release=[])
