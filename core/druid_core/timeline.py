"""
Which segments of a datasource are seen: overshadowing, by version within time, by generation within a chunk.

A *chunk* is all segments of one interval and one version. A chunk is seen only when it is complete, and only where
no complete chunk of a higher version (compared as text) lies over it. Inside a chunk, an atomic update group hides
the groups whose root partitions it contains and whose minor version is lower, once all its members are there, or where
those leave a hole.

Everything is pure and takes O(n log n). Druid: VersionedIntervalTimeline, OvershadowableManager
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from druid_core.interval import ETERNITY, Interval
from druid_core.shard_spec import (
    NumberedOverwriteShardSpec,
    RangeShardSpec,
    ShardSpec,
    SingleShardSpec,
    core_partitions,
)


class Placed(Protocol):
    """Anything with a place on the timeline: a published segment, an allocated identity, a stored row."""

    @property
    def interval(self) -> Interval: ...
    @property
    def version(self) -> str: ...
    @property
    def shard_spec(self) -> ShardSpec: ...


S = TypeVar("S", bound=Placed)


@dataclass(frozen=True, slots=True)
class Chunk(Generic[S]):
    """One stretch of time in which one chunk's segments are what is seen. Druid: TimelineObjectHolder"""

    interval: Interval
    """Where it is seen; a part of `true_interval`."""
    true_interval: Interval
    """The interval that its segments carry."""
    version: str
    segments: tuple[S, ...]
    """Those not hidden by a later generation of the same chunk, in partition order."""


def chunks(segments: Iterable[S], within: Interval = ETERNITY, *, incomplete_ok: bool = False) -> list[Chunk[S]]:
    """
    What is seen in `within`, in order of time; chunks reaching over its edge are cut there.

    With `incomplete_ok` a chunk with missing partitions counts like a complete one.
    """
    covered = _Cover()
    seen: list[Chunk[S]] = []
    for holder in _newest_first(segments):
        if not (incomplete_ok or holder.is_complete):
            continue
        for part in covered.gaps(holder.interval):
            if part.overlaps(within):
                cut = Interval(max(part.start_ms, within.start_ms), min(part.end_ms, within.end_ms))
                seen.append(Chunk(cut, holder.interval, holder.version, tuple(holder.visible)))
        covered.add(holder.interval)
    return sorted(seen, key=lambda chunk: chunk.interval)


def visible(segments: Iterable[S], within: Interval = ETERNITY, *, incomplete_ok: bool = False) -> list[S]:
    """The segments that a query over `within` would read, each once, in order of time and partition."""
    seen: dict[int, S] = {}
    for chunk in chunks(segments, within, incomplete_ok=incomplete_ok):
        seen.update((id(segment), segment) for segment in chunk.segments)
    return list(seen.values())


def overshadowed(segments: Iterable[S]) -> list[S]:
    """
    The segments of which nothing would be seen even if their own chunk were complete.

    Not the complement of `visible`: a lone part of an unfinished newer chunk is neither.
    """
    covered = _Cover()
    hidden: list[S] = []
    for holder in _newest_first(segments):
        if covered.covers(holder.interval):
            hidden.extend(holder.all)
        else:
            hidden.extend(holder.outdated)
        if holder.is_complete:
            covered.add(holder.interval)
    return hidden


def is_chunk_complete(shard_specs: Iterable[ShardSpec]) -> bool:
    """Whether the partitions of one chunk, of one generation, are all there. Druid: PartitionHolder.isComplete"""
    parts = sorted(shard_specs, key=lambda spec: spec.partition_num)
    if not parts:
        return False
    if all(_is_legacy_range(part) for part in parts):
        return _is_whole_range(parts)
    core = max(core_partitions(parts[0]), 0)
    if core == 0:
        return True
    numbers = {part.partition_num for part in parts}
    return all(number in numbers for number in range(core))


class _Holder(Generic[S]):
    """All segments of one interval and version. Druid: PartitionHolder with its OvershadowableManager"""

    def __init__(self, interval: Interval, version: str, segments: list[S]) -> None:
        self.interval = interval
        self.version = version
        self.all = sorted(segments, key=lambda segment: segment.shard_spec.partition_num)
        self.visible = self.all
        self.outdated: list[S] = []
        self.is_complete = True
        if any(isinstance(segment.shard_spec, NumberedOverwriteShardSpec) for segment in self.all):
            self._settle_generations()
        else:
            self.is_complete = is_chunk_complete(segment.shard_spec for segment in self.all)

    def _settle_generations(self) -> None:
        """
        Say which groups are seen, from the lowest minor version up: a full group hides those that it contains; one
        that is not full does so only where they leave a hole.
        """
        members: defaultdict[_Group, list[S]] = defaultdict(list)
        for segment in self.all:
            members[_group_of(segment)].append(segment)
        full = {group for group, parts in members.items() if len(parts) >= _group_size(parts[0])}
        seen: list[_Group] = []
        for group in sorted(members, key=lambda each: (each.minor_version, each.start, each.end)):
            below = sorted((each for each in seen if group.hides(each)), key=lambda each: each.start)
            if group in full or not _fill(group, below, full):
                seen = [each for each in seen if each not in below] + [group]
        seen.sort(key=lambda each: each.start)
        chain = [segment for group in seen for segment in members[group]]
        self.visible = sorted(chain, key=lambda segment: segment.shard_spec.partition_num)
        self.is_complete = full.issuperset(seen) and _is_chain_whole([segment.shard_spec for segment in chain])
        if self.is_complete:
            gone = [group for group in members if any(each.hides(group) for each in seen)]
            self.outdated = [segment for group in gone for segment in members[group]]


@dataclass(frozen=True, slots=True)
class _Group:
    """What comes into sight together: a root partition, or an atomic update of several. Druid: AtomicUpdateGroup"""

    start: int
    end: int
    minor_version: int

    def hides(self, other: "_Group") -> bool:
        return self.start <= other.start and other.end <= self.end and self.minor_version > other.minor_version


def _group_of(segment: Placed) -> _Group:
    spec = segment.shard_spec
    if isinstance(spec, NumberedOverwriteShardSpec):
        return _Group(spec.start_root_partition_id, spec.end_root_partition_id, spec.minor_version)
    return _Group(spec.partition_num, spec.partition_num + 1, 0)


def _fill(group: _Group, below: Sequence[_Group], full: set[_Group]) -> bool:
    """Whether full groups, one beside the other, take up all the room of `group`."""
    position = group.start
    for each in below:
        if each not in full or each.start != position:
            return False
        position = each.end
    return position == group.end


def _is_chain_whole(parts: Sequence[ShardSpec]) -> bool:
    """
    Whether a chunk with updates is complete, in order of the roots; an update that comes first answers for all.

    A core set that an update interrupts is not: where segments are locked one by one, nobody counts core sets.
    Druid: PartitionHolder.isComplete
    """
    first = next((n for n, part in enumerate(parts) if isinstance(part, NumberedOverwriteShardSpec)), len(parts))
    return first == 0 or is_chunk_complete(parts[:first])


def _newest_first(segments: Iterable[S]) -> list[_Holder[S]]:
    """
    The chunks, the highest version first.

    Two overlapping chunks of one version break Druid's rules; should they be there, the earlier and wider one hides
    the other.
    """
    parts: defaultdict[tuple[Interval, str], list[S]] = defaultdict(list)
    for segment in segments:
        parts[segment.interval, segment.version].append(segment)
    holders = [_Holder(interval, version, members) for (interval, version), members in parts.items()]
    holders.sort(key=lambda holder: (holder.interval.start_ms, -holder.interval.end_ms))
    holders.sort(key=lambda holder: holder.version, reverse=True)  # stable: ties keep the order above
    return holders


class _Cover:
    """A growing set of instants, kept as disjoint sorted stretches that do not touch."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def covers(self, interval: Interval) -> bool:
        at = bisect_right(self._starts, interval.start_ms) - 1
        return at >= 0 and self._ends[at] >= interval.end_ms

    def gaps(self, interval: Interval) -> list[Interval]:
        """The parts of `interval` that are not covered, in order."""
        found: list[Interval] = []
        at = bisect_right(self._ends, interval.start_ms)
        position = interval.start_ms
        while at < len(self._starts) and self._starts[at] < interval.end_ms:
            if position < self._starts[at]:
                found.append(Interval(position, self._starts[at]))
            position = self._ends[at]
            at += 1
        if position < interval.end_ms:
            found.append(Interval(position, interval.end_ms))
        return found

    def add(self, interval: Interval) -> None:
        first = bisect_left(self._ends, interval.start_ms)
        last = bisect_right(self._starts, interval.end_ms)
        start, end = interval.start_ms, interval.end_ms
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]


def _group_size(member: Placed) -> int:
    spec = member.shard_spec
    return spec.atomic_update_group_size if isinstance(spec, NumberedOverwriteShardSpec) else 1


def _is_legacy_range(spec: ShardSpec) -> bool:
    """A range that does not know the size of its core set: written before Druid counted it."""
    unknown = (None, -1)
    return isinstance(spec, SingleShardSpec | RangeShardSpec) and spec.num_core_partitions in unknown


def _is_whole_range(parts: Sequence[ShardSpec]) -> bool:
    """Whether ranges chain from an open start to an open end. Druid: StringPartitionChunk"""
    by_start: dict[object, object] = {}
    for part in parts:
        assert isinstance(part, SingleShardSpec | RangeShardSpec)
        by_start[_bound(part.start)] = _bound(part.end)
    bound: object = None
    for _ in parts:
        if bound not in by_start:
            return False
        bound = by_start[bound]
        if bound is None:
            return True
    return False


def _bound(value: str | list[object] | None) -> object:
    return tuple(value) if isinstance(value, list) else value
