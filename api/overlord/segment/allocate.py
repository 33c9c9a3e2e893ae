"""
Allocation: identities for segments that tasks will append, with the locks that protect them.

All requests for one datasource that arrive together are decided in one transaction. The datasource is held still from
the first look to the last write, so what is decided is what is true, and nothing needs to be tried again because
something changed meanwhile. Druid: SegmentAllocateAction, SegmentAllocationQueue
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from druid_core.errors import Conflict, NemetonError
from druid_core.granularity import Granularity
from druid_core.interval import Interval, condense
from druid_core.lock import LockGranularity, LockType
from druid_core.partial_shard_spec import NUMBERED, PartialShardSpec
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.timeline import Chunk, chunks
from overlord.db.pool import Connection
from overlord.lock.conflict import Partition, next_version
from overlord.lock.hand import LocksInHand
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
    await ledger.locks.look({each.requester.task_id for each in requests}, {each.around for each in requests})
    await ledger.look({request.around for request in requests})
    answers = [await ledger.answer(request) for request in requests]
    await ledger.locks.write()
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
        self.locks = LocksInHand(tx, data_source, now_ms)
        self._seen: list[tuple[Interval, list[Chunk[StoredSegment]]]] = []
        self._pending: dict[str, PendingSegment] = {}
        self._unused: dict[Interval, dict[str, set[int]]] = {}
        self._states: dict[Interval, ChunkState] = {}
        self.new: list[tuple[PendingSegment, SequencePlace]] = []

    async def look(self, intervals: Collection[Interval]) -> None:
        """Read what is published, allocated and unused there: a statement each, however many intervals there are."""
        tx, data_source, stretches = self._tx, self._data_source, condense(intervals)
        found = await store.used(tx, data_source, stretches)
        for stretch in stretches:
            self._seen.append((stretch, chunks([each for each in found if each.interval.overlaps(stretch)], stretch)))
        for each in await pending.around(tx, data_source, stretches, self._names):
            self._pending.setdefault(each.identity.id, each)
        self._unused |= await store.unused_numbers(tx, data_source, intervals)

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
            grant = await self.locks.consider(request.requester, request.lock_type, interval)
            if grant is None or grant.lock.revoked:
                return None
            decision = await self._identity(interval, request, grant.lock.version)
        if decision is None or grant is None or grant.lock.revoked:
            return None
        await self.locks.settle(request.requester, grant)
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
        return await self.locks.consider(request.requester, request.lock_type, interval, partition)

    async def _state(self, interval: Interval) -> ChunkState:
        if interval not in self._states:
            there = await self._chunks(interval)
            if interval not in self._unused:
                self._unused |= await store.unused_numbers(self._tx, self._data_source, [interval])
            known = [*self._pending.values(), *(each for each, _ in self.new)]
            counting = [
                each for each in known if each.sequence_name in self._names or each.identity.interval.overlaps(interval)
            ]
            self._states[interval] = ChunkState(chunks=there, pending=counting, unused=self._unused[interval])
        return self._states[interval]

    async def _chunks(self, interval: Interval) -> list[Chunk[StoredSegment]]:
        for stretch, seen in self._seen:
            if stretch.covers(interval):
                return [chunk for chunk in seen if chunk.interval.overlaps(interval)]
        await self.look([interval])
        return self._seen[-1][1]
