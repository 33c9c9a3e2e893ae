"""
Which identity an appended segment gets: the rules, pure.

An identity is an interval, a version and a partition number. It must not collide with anything published, allocated
or once published, must join the chunk that is there, and must be the same when the same question comes again.
Druid: SegmentAllocateAction, IndexerSQLMetadataStorageCoordinator.allocatePendingSegment
"""

import hashlib
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from druid_core.errors import Conflict
from druid_core.granularity import Granularity, PeriodGranularity
from druid_core.interval import Interval
from druid_core.partial_shard_spec import NUMBERED, PartialShardSpec, overwrites
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.shard_spec import (
    FIRST_OVERWRITING_PARTITION,
    UNKNOWN_CORE_PARTITIONS,
    NumberedOverwriteShardSpec,
    core_partitions,
)
from druid_core.timeline import Chunk, Placed
from overlord.lock.conflict import APPEND_VERSION
from overlord.segment.store import StoredSegment

_STANDARD_PERIODS = (
    "PT1S", "PT1M", "PT5M", "PT10M", "PT15M", "PT30M", "PT1H", "PT6H", "PT8H", "P1D", "P1W", "P1M", "P3M", "P1Y",
)  # fmt: skip
"""What is tried when the preferred bucket is taken. Druid: GranularityType, without ALL and NONE"""

_WEEK = "P1W"


_MAX_VERSION_SUFFIXES = 10
"""How often an APPEND version that was used and killed before may be told apart by one more S."""


@dataclass(frozen=True, slots=True)
class SequencePlace:
    """Where a request stands in its writer's row of segments; the same place is always answered the same."""

    name: str
    previous_id: str
    skip_lineage_check: bool
    """Whether only the name and the interval count, not the segment before (streaming: replicas do not know it)."""


@dataclass(frozen=True, slots=True)
class PendingSegment:
    """A row of `druid_pendingsegments`: allocated, perhaps published since."""

    identity: SegmentIdWithShardSpec
    sequence_name: str
    previous_id: str
    allocator_id: str | None = None
    """The tasks that share it give up together what they allocated. Druid: taskAllocatorId"""
    upgraded_from: str | None = None
    """The identity of an older version beside which a replacement made this one."""


@dataclass(slots=True)
class ChunkState:
    """What lies on the interval of a candidate. New allocations are added as they are decided."""

    chunks: Sequence[Chunk[StoredSegment]]
    """What is seen there."""
    pending: list[PendingSegment]
    """Allocated there, or anywhere under the sequence names of the requests; oldest first."""
    unused: Mapping[str, Collection[int]]
    """Of the unused segments on exactly this interval: version to partition numbers."""
    _of_sequence: defaultdict[str, list[PendingSegment]] = field(init=False, repr=False)
    _last: dict[tuple[Interval, str | None, bool], Placed | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._last = {}
        self._of_sequence = defaultdict(list)
        for each in self.pending:
            self._of_sequence[each.sequence_name].append(each)

    def add(self, allocated: PendingSegment) -> None:
        """Count one more identity as pending."""
        self.pending.append(allocated)
        self._of_sequence[allocated.sequence_name].append(allocated)
        for (interval, version, overwriting), last in self._last.items():
            if _counts(allocated, interval, version, overwriting):
                found = _last((each for each in (last, allocated.identity) if each is not None), overwriting)
                self._last[interval, version, overwriting] = found

    def of_sequence(self, name: str) -> Sequence[PendingSegment]:
        """What was allocated under a sequence name, oldest first."""
        return self._of_sequence.get(name, ())

    def last_allocated(self, interval: Interval, version: str | None, overwriting: bool) -> Placed | None:
        """The highest identity that overlaps `interval` (of one version; None: of any), in one space of numbers."""
        key = (interval, version, overwriting)
        if key not in self._last:
            counting = (each.identity for each in self.pending if _counts(each, interval, version, overwriting))
            self._last[key] = _last(counting, overwriting)
        return self._last[key]


@dataclass(frozen=True, slots=True)
class Repeated:
    """The answer that was given before."""

    identity: SegmentIdWithShardSpec


@dataclass(frozen=True, slots=True)
class Allocated:
    """A new identity, to be stored."""

    identity: SegmentIdWithShardSpec


def candidate_intervals(row: Interval, preferred: Granularity) -> list[Interval]:
    """
    The intervals to try for a row where nothing is published yet, the preferred one first, then ever finer ones.

    Weeks are tried only when preferred: no coarser bucket is made of whole ones.
    """
    wanted: list[Granularity] = [preferred]
    zone, origin_ms = ("UTC", None)
    if isinstance(preferred, PeriodGranularity):
        zone, origin_ms = preferred.time_zone, preferred.origin_ms
    limit = _length(preferred)
    finer = [PeriodGranularity(period, zone, origin_ms) for period in _STANDARD_PERIODS if period != _WEEK]
    wanted += sorted((each for each in finer if _length(each) <= limit), key=_length, reverse=True)
    buckets = [granularity.bucket(row.start_ms) for granularity in wanted]
    return list(dict.fromkeys(bucket for bucket in buckets if bucket.covers(row)))


def identity_for(
    data_source: str,
    sequence: SequencePlace,
    interval: Interval,
    lock_version: str,
    state: ChunkState,
    partial: PartialShardSpec = NUMBERED,
) -> Repeated | Allocated | None:
    """
    The identity for the next segment on `interval`, or None where none can be given.

    Raises Conflict when the version of the lock was published and marked unused before.
    """
    if len(state.chunks) > 1:
        return None
    chunk = state.chunks[0] if state.chunks else None
    chunk_version = chunk.version if chunk else None
    earlier = _earlier_answer(sequence, interval, chunk_version, state)
    if earlier is not None:
        return Repeated(earlier.identity) if earlier.identity.interval == interval else None

    overwriting = overwrites(partial)
    committed = _last(chunk.segments if chunk else (), overwriting)
    allocated = state.last_allocated(interval, chunk_version, overwriting)
    last = _last((each for each in (committed, allocated) if each is not None), overwriting)
    if last is None:
        version = _unburnt(chunk_version or lock_version, state.unused)
        first = FIRST_OVERWRITING_PARTITION if overwriting else 0
        return _allocated(data_source, interval, version, partial, first, 0)
    # The core set is what its first partition says. Druid: retrieveUsedSegmentsForAllocation
    core = 0 if committed is None or chunk is None else core_partitions(chunk.segments[0].shard_spec)
    if last.interval != interval or core == UNKNOWN_CORE_PARTITIONS:
        return None
    version = chunk_version or last.version
    number = last.shard_spec.partition_num + 1
    burnt = state.unused.get(version, ())
    if number in burnt:
        # Its bucket does not count any more. Druid: getUniqueIdForSecondaryAllocation
        return _allocated(data_source, interval, version, NUMBERED, max(number, *burnt) + 1, core)
    return _allocated(data_source, interval, version, partial, number, core)


def sequence_sha1(sequence: SequencePlace, identity: SegmentIdWithShardSpec) -> str:
    """
    What makes an allocation unique in its table, upper-case hex.

    Instants go in as little-endian longs. Druid: PendingSegmentRecord.computeSequenceNamePrevIdSha1
    """
    interval = identity.interval
    place = (
        struct.pack("<qq", interval.start_ms, interval.end_ms)
        if sequence.skip_lineage_check
        else sequence.previous_id.encode()
    )
    digest = hashlib.sha1(
        b"\xff".join((sequence.name.encode(), place, identity.version.encode())), usedforsecurity=False
    )
    return digest.hexdigest().upper()


def _earlier_answer(
    sequence: SequencePlace, interval: Interval, chunk_version: str | None, state: ChunkState
) -> PendingSegment | None:
    of_sequence = (each for each in state.of_sequence(sequence.name) if chunk_version in (None, each.identity.version))
    if sequence.skip_lineage_check:
        return next((each for each in of_sequence if each.identity.interval == interval), None)
    return next((each for each in of_sequence if each.previous_id == sequence.previous_id), None)


def _counts(pending: PendingSegment, interval: Interval, version: str | None, overwriting: bool) -> bool:
    identity = pending.identity
    return (
        version in (None, identity.version)
        and isinstance(identity.shard_spec, NumberedOverwriteShardSpec) is overwriting
        and identity.interval.overlaps(interval)
    )


def _last(segments: Iterable[Placed], overwriting: bool) -> Placed | None:
    """The highest by version and partition number among those that share one space of partition numbers."""
    sharing = (each for each in segments if isinstance(each.shard_spec, NumberedOverwriteShardSpec) is overwriting)
    return max(sharing, key=lambda each: (each.version, each.shard_spec.partition_num), default=None)


def _unburnt(version: str, unused: Mapping[str, Collection[int]]) -> str:
    """`version`, or one beside it that no unused segment has, so that a killed id never comes back to life."""
    if version not in unused:
        return version
    if version == APPEND_VERSION:
        for suffixes in range(1, _MAX_VERSION_SUFFIXES + 1):
            if version + "S" * suffixes not in unused:
                return version + "S" * suffixes
    raise Conflict(f"Cannot allocate a segment of version [{version}]: unused segments have it already")


def _allocated(
    data_source: str, interval: Interval, version: str, partial: PartialShardSpec, number: int, core: int
) -> Allocated:
    return Allocated(
        SegmentIdWithShardSpec(
            data_source=data_source,
            interval=interval,
            version=version,
            shard_spec=partial.complete(number, core),
        )
    )


def _length(granularity: Granularity) -> int:
    bucket = granularity.bucket(0)
    return bucket.end_ms - bucket.start_ms
