"""
Random timelines: segments of a few chunks come and go one after the other, some chunks with partitions missing.

A step is the JSON object that Druid's side reads (`Segments.java`). The same seed makes the same steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from druid_core.instant import format_instant, parse_instant
from druid_core.interval import ETERNITY, Interval
from druid_core.segment import DataSegment
from druid_core.shard_spec import (
    HashedShardSpec,
    LinearShardSpec,
    NumberedOverwriteShardSpec,
    NumberedShardSpec,
    RangeShardSpec,
    ShardSpec,
    SingleShardSpec,
    TombstoneShardSpec,
)

STEPS_AN_EPISODE = 60
_MIDNIGHT_MS = parse_instant("2026-01-01T00:00:00.000Z")
_HOUR_MS = 3_600_000
_HOURS = 10
_CHUNKS = 7
_BOUNDS = (None, "f", "m", "t", None)

_KINDS = ("numbered", "numbered", "appended", "hashed", "range", "legacy", "linear", "tombstone", "update")


@dataclass(frozen=True)
class TimelineStep:
    """Segments that come or go, and where it is looked afterwards."""

    adds: bool
    segments: list[DataSegment]
    interval: Interval

    def to_wire(self) -> dict[str, Any]:
        return {
            "do": "add" if self.adds else "remove",
            "segments": [segment.to_wire() for segment in self.segments],
            "interval": str(self.interval),
        }


def episodes(seed: int, steps: int) -> Iterator[list[TimelineStep]]:
    """Episodes of `STEPS_AN_EPISODE` that have `steps` steps together, rounded up."""
    for number in range(-(-steps // STEPS_AN_EPISODE)):
        yield _episode(Random(f"timeline {seed} {number}"))


@dataclass
class _Chunk:
    """All segments of one interval and version, those outside in the order in which they come."""

    segments: list[list[DataSegment]]
    is_updated: bool
    """Then its core set comes whole and first, and all goes at once: so it is where segments are locked one by one."""
    inside: list[list[DataSegment]] = field(default_factory=list[list[DataSegment]])

    def move(self, random: Random) -> tuple[bool, list[DataSegment]]:
        """Whether something came, and what came or went."""
        if self.segments and (not self.inside or random.random() < 0.6):
            self.inside.append(self.segments.pop(0))
            return True, self.inside[-1]
        if self.is_updated:
            gone, self.segments, self.inside = self.inside, [*self.inside, *self.segments], []
            return False, [segment for bundle in gone for segment in bundle]
        self.segments.append(self.inside.pop(random.randrange(len(self.inside))))
        return False, self.segments[-1]


def _episode(random: Random) -> list[TimelineStep]:
    chunks = [_chunk(random, number) for number in range(_CHUNKS)]
    steps: list[TimelineStep] = []
    while len(steps) < STEPS_AN_EPISODE:
        adds, moved = random.choice(chunks).move(random)
        steps.append(TimelineStep(adds, moved, ETERNITY if random.random() < 0.3 else _interval(random)))
    return steps


def _chunk(random: Random, number: int) -> _Chunk:
    """No two chunks share a version: those of one version never overlap."""
    interval, version = _interval(random), format_instant(_MIDNIGHT_MS + number)
    specs = _specs(random)
    segments = [
        DataSegment(data_source="web", interval=interval, version=version, shard_spec=spec, size=1) for spec in specs
    ]
    roots = [each for each in segments if not isinstance(each.shard_spec, NumberedOverwriteShardSpec)]
    if len(roots) == len(segments):
        return _Chunk(random.sample([[each] for each in segments], len(segments)), is_updated=False)
    return _Chunk([roots, *([each] for each in segments if each not in roots)], is_updated=True)


def _specs(random: Random) -> list[ShardSpec]:
    core = random.randint(1, 4)
    match random.choice(
        ("numbered", "numbered", "appended", "hashed", "range", "legacy", "linear", "tombstone", "update")
    ):
        case "numbered":
            return [NumberedShardSpec(partition_num=n, partitions=core) for n in range(core + random.randint(0, 2))]
        case "appended":
            return [NumberedShardSpec(partition_num=n, partitions=0) for n in range(core)]
        case "hashed":
            return [
                HashedShardSpec(partition_num=n, partitions=core, bucket_id=n, num_buckets=core) for n in range(core)
            ]
        case "range":
            return [
                RangeShardSpec(
                    dimensions=["page"],
                    start=None if n == 0 else [f"p{n}"],
                    end=None if n == core - 1 else [f"p{n + 1}"],
                    partition_num=n,
                    num_core_partitions=core,
                )
                for n in range(core)
            ]
        case "legacy":
            return [
                SingleShardSpec(dimension="page", start=_BOUNDS[n], end=_BOUNDS[n + 1], partition_num=n)
                for n in range(4)
            ]
        case "linear":
            return [LinearShardSpec(partition_num=n) for n in range(core)]
        case "tombstone":
            return [TombstoneShardSpec()]
        case _:
            return _updated(random, core)


def _updated(random: Random, core: int) -> list[ShardSpec]:
    """A core set, and update groups over the left part of it and over all of it."""
    counted = random.choice((0, 0, core))
    specs: list[ShardSpec] = [NumberedShardSpec(partition_num=n, partitions=counted) for n in range(core)]
    partition = 32768
    for minor, end in ((1, random.randint(1, core)), (2, core)):
        size = random.randint(1, 2)
        for _ in range(size):
            specs.append(
                NumberedOverwriteShardSpec(
                    partition_id=partition,
                    start_root_partition_id=0,
                    end_root_partition_id=end,
                    minor_version=minor,
                    atomic_update_group_size=size,
                )
            )
            partition += 1
    return specs


def _interval(random: Random) -> Interval:
    start = random.randrange(_HOURS)
    end = random.randint(start + 1, _HOURS)
    return Interval(_MIDNIGHT_MS + start * _HOUR_MS, _MIDNIGHT_MS + end * _HOUR_MS)
