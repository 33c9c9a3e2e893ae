"""Which segments are seen: a table of Druid's rules, and a naive twin that looks at every instant."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from druid_core.interval import Interval
from druid_core.shard_spec import (
    HashedShardSpec,
    LinearShardSpec,
    NoneShardSpec,
    NumberedOverwriteShardSpec,
    NumberedShardSpec,
    RangeShardSpec,
    ShardSpec,
    SingleShardSpec,
    TombstoneShardSpec,
)
from druid_core.timeline import chunks, is_chunk_complete, overshadowed, visible


@dataclass(frozen=True)
class Piece:
    """The least thing with a place on a timeline; its times are small numbers."""

    name: str
    interval: Interval
    version: str
    shard_spec: ShardSpec


def numbered(number: int, core: int) -> NumberedShardSpec:
    return NumberedShardSpec(partition_num=number, partitions=core)


def piece(name: str, start: int, end: int, version: str, spec: ShardSpec | None = None) -> Piece:
    return Piece(name, Interval(start, end), version, spec or numbered(0, 1))


def update(number: int, roots: tuple[int, int], minor: int, size: int) -> NumberedOverwriteShardSpec:
    return NumberedOverwriteShardSpec(
        partition_id=32768 + number,
        start_root_partition_id=roots[0],
        end_root_partition_id=roots[1],
        minor_version=minor,
        atomic_update_group_size=size,
    )


def names(pieces: list[Piece]) -> list[str]:
    return [each.name for each in pieces]


def test_a_newer_complete_chunk_hides_an_older_one() -> None:
    old, new = piece("old", 0, 10, "v1"), piece("new", 0, 10, "v2")
    assert names(visible([old, new])) == ["new"]
    assert names(overshadowed([old, new])) == ["old"]


def test_a_newer_unfinished_chunk_leaves_the_older_one_seen_and_is_itself_not_overshadowed() -> None:
    old, half = piece("old", 0, 10, "v1"), piece("half", 0, 10, "v2", numbered(0, 2))
    assert names(visible([old, half])) == ["old"]
    assert overshadowed([old, half]) == []
    assert names(visible([old, half], incomplete_ok=True)) == ["half"]


def test_a_partly_covered_older_chunk_is_seen_on_both_sides() -> None:
    old, new = piece("old", 0, 10, "v1"), piece("new", 3, 5, "v2")
    seen = chunks([old, new])
    assert [(c.interval, c.version) for c in seen] == [
        (Interval(0, 3), "v1"),
        (Interval(3, 5), "v2"),
        (Interval(5, 10), "v1"),
    ]
    assert names(visible([old, new])) == ["old", "new"]
    assert overshadowed([old, new]) == []


def test_several_newer_chunks_together_overshadow_an_older_one() -> None:
    pieces = [piece("old", 0, 10, "v1"), piece("a", 0, 4, "v2"), piece("b", 4, 10, "v3")]
    assert names(visible(pieces)) == ["a", "b"]
    assert names(overshadowed(pieces)) == ["old"]


def test_versions_are_compared_as_text() -> None:
    assert names(visible([piece("nine", 0, 1, "v9"), piece("ten", 0, 1, "v10")])) == ["nine"]


def test_only_what_overlaps_the_asked_interval_is_seen_and_it_is_cut_there() -> None:
    pieces = [piece("a", 0, 10, "v1"), piece("b", 10, 20, "v1"), piece("c", 20, 30, "v1")]
    assert [c.interval for c in chunks(pieces, Interval(5, 20))] == [Interval(5, 10), Interval(10, 20)]
    assert names(visible(pieces, Interval(10, 20))) == ["b"]


def test_a_segment_seen_in_two_stretches_is_listed_once() -> None:
    assert names(visible([piece("old", 0, 10, "v1"), piece("new", 4, 6, "v2")])).count("old") == 1


def test_appended_partitions_are_seen_with_their_core_set() -> None:
    pieces = [piece("core", 0, 1, "v", numbered(0, 1)), piece("appended", 0, 1, "v", numbered(1, 1))]
    assert names(visible(pieces)) == ["core", "appended"]


COMPLETE: list[tuple[str, list[ShardSpec], bool]] = [
    ("nothing", [], False),
    ("numbered: the whole core set", [numbered(0, 2), numbered(1, 2)], True),
    ("numbered: one of the core set missing", [numbered(0, 3), numbered(2, 3)], False),
    ("numbered: core set and an append", [numbered(0, 1), numbered(1, 1)], True),
    ("numbered: an append alone, the core set is missing", [numbered(1, 1)], False),
    ("numbered: no core set, any partition", [numbered(7, 0)], True),
    ("hashed like numbered", [HashedShardSpec(partition_num=0, partitions=2, bucket_id=0, num_buckets=2)], False),
    ("linear: any subset", [LinearShardSpec(partition_num=4)], True),
    ("none", [NoneShardSpec()], True),
    ("tombstone", [TombstoneShardSpec()], True),
    (
        "single with a counted core set",
        [SingleShardSpec(dimension="d", end="m", partition_num=0, num_core_partitions=2)],
        False,
    ),
    (
        "single without a count: a chain from open to open",
        [
            SingleShardSpec(dimension="d", end="m", partition_num=0),
            SingleShardSpec(dimension="d", start="m", partition_num=1),
        ],
        True,
    ),
    (
        "single without a count: a hole in the chain",
        [
            SingleShardSpec(dimension="d", end="m", partition_num=0),
            SingleShardSpec(dimension="d", start="n", partition_num=1),
        ],
        False,
    ),
    (
        "range with a counted core set",
        [
            RangeShardSpec(dimensions=["d"], end=["m"], partition_num=0, num_core_partitions=2),
            RangeShardSpec(dimensions=["d"], start=["m"], partition_num=1, num_core_partitions=2),
        ],
        True,
    ),
    ("range without a count, closed at its end", [RangeShardSpec(dimensions=["d"], end=["m"], partition_num=0)], False),
]


@pytest.mark.parametrize(("specs", "complete"), [row[1:] for row in COMPLETE], ids=[row[0] for row in COMPLETE])
def test_a_chunk_is_complete_when(specs: list[ShardSpec], complete: bool) -> None:
    assert is_chunk_complete(specs) is complete


def test_a_full_update_group_hides_the_partitions_it_replaces() -> None:
    pieces = [
        piece("p0", 0, 1, "v", numbered(0, 3)),
        piece("p1", 0, 1, "v", numbered(1, 3)),
        piece("p2", 0, 1, "v", numbered(2, 3)),
        piece("u0", 0, 1, "v", update(0, (0, 2), 1, 2)),
        piece("u1", 0, 1, "v", update(1, (0, 2), 1, 2)),
    ]
    assert names(visible(pieces)) == ["p2", "u0", "u1"]
    assert names(overshadowed(pieces)) == ["p0", "p1"]


def test_an_update_group_that_is_not_full_changes_nothing() -> None:
    pieces = [piece("p0", 0, 1, "v"), piece("u0", 0, 1, "v", update(0, (0, 1), 1, 2))]
    assert names(visible(pieces)) == ["p0"]
    assert overshadowed(pieces) == []


def test_the_later_generation_of_an_update_wins() -> None:
    pieces = [
        piece("p0", 0, 1, "v"),
        piece("u1", 0, 1, "v", update(0, (0, 1), 1, 1)),
        piece("u2", 0, 1, "v", update(1, (0, 1), 2, 1)),
    ]
    assert names(visible(pieces)) == ["u2"]
    assert names(overshadowed(pieces)) == ["p0", "u1"]


@st.composite
def timelines(draw: st.DrawFn) -> list[Piece]:
    """Segments on a short line, some chunks with missing partitions; no two overlapping chunks share a version."""
    pieces: list[Piece] = []
    for number, (start, length) in enumerate(
        draw(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=8))
    ):
        core = draw(st.integers(0, 3))
        there = draw(st.sets(st.integers(0, max(core, 1)), min_size=1))
        pieces.extend(
            piece(f"{number}.{part}", start, start + length, f"v{number}", numbered(part, core)) for part in there
        )
    return draw(st.permutations(pieces))


def seen_at(pieces: list[Piece], instant: int) -> set[str]:
    """The naive twin: the highest version among the complete chunks that contain the instant."""
    by_version: dict[str, list[Piece]] = {}
    for each in pieces:
        if each.interval.contains(instant):
            by_version.setdefault(each.version, []).append(each)
    complete = [version for version, parts in by_version.items() if is_chunk_complete(p.shard_spec for p in parts)]
    return {each.name for each in by_version[max(complete)]} if complete else set()


@given(timelines())
def test_every_instant_shows_what_the_naive_twin_shows(pieces: list[Piece]) -> None:
    seen = chunks(pieces)
    for instant in range(20):
        here = [chunk for chunk in seen if chunk.interval.contains(instant)]
        assert len(here) <= 1
        assert {p.name for chunk in here for p in chunk.segments} == seen_at(pieces, instant)


@given(timelines())
def test_what_is_visible_is_never_overshadowed(pieces: list[Piece]) -> None:
    hidden = {each.name for each in overshadowed(pieces)}
    assert hidden.isdisjoint(names(visible(pieces)))


@given(timelines())
def test_removing_the_overshadowed_changes_nothing_that_is_seen(pieces: list[Piece]) -> None:
    hidden = {each.name for each in overshadowed(pieces)}
    rest = [each for each in pieces if each.name not in hidden]
    assert sorted(names(visible(rest))) == sorted(names(visible(pieces)))
    assert overshadowed(rest) == []
