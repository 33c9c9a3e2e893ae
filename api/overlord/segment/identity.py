"""
Which identity an appended segment gets: the rules, pure.

An identity is an interval, a version and a partition number. It must not collide with anything published, allocated
or once published, must join the chunk that is there, and must be the same when the same question comes again.
Druid: SegmentAllocateAction, IndexerSQLMetadataStorageCoordinator.allocatePendingSegment
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from druid_core.errors import Conflict
from druid_core.granularity import Granularity, PeriodGranularity
from druid_core.interval import Interval
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.shard_spec import (
    HashedShardSpec,
    NumberedOverwriteShardSpec,
    NumberedShardSpec,
    RangeShardSpec,
    ShardSpec,
    SingleShardSpec,
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


@dataclass(frozen=True, slots=True)
class ChunkState:
    """What lies on the interval of a candidate."""

    chunks: Sequence[Chunk[StoredSegment]]
    """What is seen there."""
    pending: Sequence[PendingSegment]
    """Allocated there, or anywhere under the request's sequence name; oldest first."""
    unused: Mapping[str, int]
    """Of the unused segments on exactly this interval: version to highest partition number."""


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
    data_source: str, sequence: SequencePlace, interval: Interval, lock_version: str, state: ChunkState
) -> Repeated | Allocated | None:
    """
    The identity for the next segment on `interval`, or None where none can be given.

    Raises Conflict when the version of the lock was published and marked unused before.
    """
    if len(state.chunks) > 1:
        return None
    chunk = state.chunks[0] if state.chunks else None
    chunk_version = chunk.version if chunk else None
    relevant = [each for each in state.pending if chunk_version in (None, each.identity.version)]
    earlier = _earlier_answer(sequence, interval, relevant)
    if earlier is not None:
        return Repeated(earlier.identity) if earlier.identity.interval == interval else None

    committed = _last(chunk.segments if chunk else ())
    allocated = _last(each.identity for each in relevant if each.identity.interval.overlaps(interval))
    last = _last(each for each in (committed, allocated) if each is not None)
    if last is None:
        version = _unburnt(chunk_version or lock_version, state.unused)
        return Allocated(_identity(data_source, interval, version, 0, 0))
    core = 0 if committed is None else _core_partitions(committed.shard_spec)
    if last.interval != interval or core is None:
        return None
    version = chunk_version or last.version
    number = max(last.shard_spec.partition_num, state.unused.get(version, -1)) + 1
    return Allocated(_identity(data_source, interval, version, number, core))


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
    sequence: SequencePlace, interval: Interval, pending: Iterable[PendingSegment]
) -> PendingSegment | None:
    of_sequence = (each for each in pending if each.sequence_name == sequence.name)
    if sequence.skip_lineage_check:
        return next((each for each in of_sequence if each.identity.interval == interval), None)
    return next((each for each in of_sequence if each.previous_id == sequence.previous_id), None)


def _last(segments: Iterable[Placed]) -> Placed | None:
    """The highest by version and partition number among those that share the ordinary partition numbers."""
    roots = (each for each in segments if not isinstance(each.shard_spec, NumberedOverwriteShardSpec))
    return max(roots, key=lambda each: (each.version, each.shard_spec.partition_num), default=None)


def _core_partitions(spec: ShardSpec) -> int | None:
    """The size of the core set that an appended segment must repeat; None where it is not known."""
    match spec:
        case NumberedShardSpec() | HashedShardSpec():
            return spec.partitions
        case SingleShardSpec() | RangeShardSpec():
            return None if spec.num_core_partitions in (None, -1) else spec.num_core_partitions
        case _:
            return 0


def _unburnt(version: str, unused: Mapping[str, int]) -> str:
    """`version`, or one beside it that no unused segment has, so that a killed id never comes back to life."""
    if version not in unused:
        return version
    if version == APPEND_VERSION:
        for suffixes in range(1, _MAX_VERSION_SUFFIXES + 1):
            if version + "S" * suffixes not in unused:
                return version + "S" * suffixes
    raise Conflict(f"Cannot allocate a segment of version [{version}]: unused segments have it already")


def _identity(data_source: str, interval: Interval, version: str, number: int, core: int) -> SegmentIdWithShardSpec:
    shard_spec = NumberedShardSpec(partition_num=number, partitions=core)
    return SegmentIdWithShardSpec(data_source=data_source, interval=interval, version=version, shard_spec=shard_spec)


def _length(granularity: Granularity) -> int:
    bucket = granularity.bucket(0)
    return bucket.end_ms - bucket.start_ms
