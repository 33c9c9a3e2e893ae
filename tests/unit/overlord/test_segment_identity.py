"""Which identity an appended segment gets: a table of Druid's rules, and no collision in any order of requests."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from druid_core.errors import Conflict
from druid_core.granularity import ALL, NONE, PeriodGranularity, parse_granularity
from druid_core.instant import parse_instant
from druid_core.interval import ETERNITY, Interval
from druid_core.partial_shard_spec import (
    UNKNOWN_GROUP_SIZE,
    HashedPartialShardSpec,
    NumberedOverwritePartialShardSpec,
    PartialShardSpec,
    SinglePartialShardSpec,
)
from druid_core.segment import SegmentIdWithShardSpec
from druid_core.shard_spec import (
    HashedShardSpec,
    NumberedOverwriteShardSpec,
    NumberedShardSpec,
    ShardSpec,
    SingleShardSpec,
)
from druid_core.timeline import Chunk
from overlord.lock.conflict import APPEND_VERSION
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
from overlord.segment.store import StoredSegment

DAY = Interval.parse("2026-01-01/2026-01-02")
HOUR = Interval.parse("2026-01-01T05/2026-01-01T06")
LOCKED, PUBLISHED = "2026-06-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"
EMPTY = ChunkState(chunks=(), pending=[], unused={})
FIRST = SequencePlace("writer", "", skip_lineage_check=False)


def numbered(number: int, core: int) -> NumberedShardSpec:
    return NumberedShardSpec(partition_num=number, partitions=core)


def stored(spec: ShardSpec, interval: Interval = DAY, version: str = PUBLISHED) -> StoredSegment:
    return StoredSegment("id", interval, version, spec, "2026-03-01T00:00:00.000Z", {})


def chunk(*specs: ShardSpec, interval: Interval = DAY, version: str = PUBLISHED) -> Chunk[StoredSegment]:
    return Chunk(interval, interval, version, tuple(stored(spec, interval, version) for spec in specs))


def identity(number: int, core: int = 0, interval: Interval = DAY, version: str = LOCKED) -> SegmentIdWithShardSpec:
    return SegmentIdWithShardSpec(
        data_source="web", interval=interval, version=version, shard_spec=numbered(number, core)
    )


def pending(number: int, *, name: str = "other", previous: str = "", **place: object) -> PendingSegment:
    return PendingSegment(identity(number, **place), name, previous)  # pyright: ignore[reportArgumentType]


def ask(state: ChunkState, place: SequencePlace = FIRST, version: str = LOCKED) -> Repeated | Allocated | None:
    return identity_for("web", place, DAY, version, state)


def test_the_first_segment_of_a_free_chunk_takes_the_version_of_the_lock_and_has_no_core_set() -> None:
    assert ask(EMPTY) == Allocated(identity(0, 0))


def test_a_segment_appended_to_a_published_chunk_takes_its_version_and_repeats_its_core_set() -> None:
    state = replace(EMPTY, chunks=[chunk(numbered(0, 2), numbered(1, 2))])
    assert ask(state) == Allocated(identity(2, 2, version=PUBLISHED))


def test_pending_segments_push_the_partition_number_but_never_the_core_set() -> None:
    state = replace(EMPTY, pending=[pending(4, core=3)])
    assert ask(state) == Allocated(identity(5, 0))


def test_pending_segments_of_another_version_than_the_published_chunk_do_not_count() -> None:
    state = replace(EMPTY, chunks=[chunk(numbered(0, 1))], pending=[pending(7, version=LOCKED)])
    assert ask(state) == Allocated(identity(1, 1, version=PUBLISHED))


def test_the_same_place_in_the_sequence_is_answered_the_same_again() -> None:
    state = replace(EMPTY, pending=[pending(3), pending(1, name="writer")])
    assert ask(state) == Repeated(identity(1))


def test_the_next_place_in_the_sequence_gets_the_next_partition() -> None:
    state = replace(EMPTY, pending=[pending(0, name="writer")])
    assert ask(state, SequencePlace("writer", identity(0).id, skip_lineage_check=False)) == Allocated(identity(1))


def test_the_same_place_on_another_interval_gets_nothing() -> None:
    state = replace(EMPTY, pending=[pending(0, name="writer", interval=HOUR)])
    assert ask(state) is None


def test_without_lineage_only_name_and_interval_make_a_request_the_same() -> None:
    state = replace(EMPTY, pending=[pending(0, name="writer", previous="x"), pending(9, name="writer", interval=HOUR)])
    assert ask(state, SequencePlace("writer", "", skip_lineage_check=True)) == Repeated(identity(0))


def test_an_answer_of_before_a_newer_version_was_published_is_not_repeated() -> None:
    state = replace(EMPTY, chunks=[chunk(numbered(0, 1))], pending=[pending(0, name="writer", version=APPEND_VERSION)])
    assert ask(state) == Allocated(identity(1, 1, version=PUBLISHED))


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(replace(EMPTY, chunks=[chunk(numbered(0, 1))] * 2), id="two chunks are seen on the interval"),
        pytest.param(replace(EMPTY, chunks=[chunk(numbered(0, 1), interval=HOUR)]), id="the chunk is a part of it"),
        pytest.param(replace(EMPTY, pending=[pending(0, interval=HOUR)]), id="a part of it is allocated"),
        pytest.param(
            replace(EMPTY, chunks=[chunk(SingleShardSpec(dimension="d", partition_num=0))]),
            id="the size of the published core set is unknown",
        ),
    ],
)
def test_nothing_can_be_allocated_when(state: ChunkState) -> None:
    assert ask(state) is None


def test_overwriting_partitions_do_not_push_the_partition_number() -> None:
    update = NumberedOverwriteShardSpec(
        partition_id=32768,
        start_root_partition_id=0,
        end_root_partition_id=1,
        minor_version=1,
        atomic_update_group_size=1,
    )
    state = replace(EMPTY, chunks=[chunk(numbered(1, 1), update)])
    assert ask(state) == Allocated(identity(2, 1, version=PUBLISHED))


def test_an_append_version_that_was_used_up_is_told_apart() -> None:
    state = replace(EMPTY, unused={APPEND_VERSION: {3}, APPEND_VERSION + "S": {0}})
    assert ask(state, version=APPEND_VERSION) == Allocated(identity(0, version=APPEND_VERSION + "SS"))


def test_any_other_version_that_was_used_up_is_an_error() -> None:
    with pytest.raises(Conflict, match="unused segments have it already"):
        ask(replace(EMPTY, unused={LOCKED: {0}}))


@pytest.mark.parametrize(("burnt", "number"), [({5}, 1), ({1}, 2), ({1, 5}, 6)])
def test_a_killable_id_of_the_same_version_is_never_given_again(burnt: set[int], number: int) -> None:
    state = replace(EMPTY, chunks=[chunk(numbered(0, 1))], unused={PUBLISHED: burnt})
    assert ask(state) == Allocated(identity(number, 1, version=PUBLISHED))


HASHED = HashedPartialShardSpec(partition_dimensions=["d"], bucket_id=1, num_partitions=3)
SINGLE = SinglePartialShardSpec(partition_dimension="d", bucket_id=0, start="a", end="b", num_buckets=2)
OVERWRITING = NumberedOverwritePartialShardSpec(start_root_partition_id=0, end_root_partition_id=2, minor_version=1)


@pytest.mark.parametrize(
    ("partial", "spec"),
    [
        pytest.param(
            HASHED,
            HashedShardSpec(
                partition_num=2,
                partitions=2,
                bucket_id=1,
                num_buckets=3,
                partition_dimensions=["d"],
                partition_function=None,
            ),
            id="one bucket of a hash",
        ),
        pytest.param(
            SINGLE,
            SingleShardSpec(dimension="d", start="a", end="b", partition_num=2, num_core_partitions=2),
            id="a range of one dimension",
        ),
        pytest.param(
            OVERWRITING,
            NumberedOverwriteShardSpec(
                partition_id=32768,
                start_root_partition_id=0,
                end_root_partition_id=2,
                minor_version=1,
                atomic_update_group_size=UNKNOWN_GROUP_SIZE,
            ),
            id="the first that overwrites",
        ),
    ],
)
def test_the_writers_part_is_completed_by_number_and_core_set(partial: PartialShardSpec, spec: ShardSpec) -> None:
    state = replace(EMPTY, chunks=[chunk(numbered(0, 2), numbered(1, 2))])
    decided = identity_for("web", FIRST, DAY, LOCKED, state, partial)
    assert isinstance(decided, Allocated)
    assert decided.identity.shard_spec == spec


def test_those_that_overwrite_count_among_themselves() -> None:
    first = OVERWRITING.complete(32768, 0)
    state = replace(EMPTY, chunks=[chunk(numbered(0, 1), first)])
    decided = identity_for("web", FIRST, DAY, LOCKED, state, OVERWRITING)
    assert isinstance(decided, Allocated)
    assert decided.identity.shard_spec.partition_num == 32769


def test_a_killed_bucket_is_followed_by_a_plain_number() -> None:
    state = replace(EMPTY, chunks=[chunk(numbered(0, 1))], unused={PUBLISHED: {1}})
    decided = identity_for("web", FIRST, DAY, LOCKED, state, HASHED)
    assert decided == Allocated(identity(2, 1, version=PUBLISHED))


def test_what_was_allocated_a_moment_ago_counts_at_once() -> None:
    state = ChunkState(chunks=(), pending=[], unused={})
    for number in range(3):
        decided = ask(state, SequencePlace(f"writer{number}", "", skip_lineage_check=False))
        assert decided == Allocated(identity(number))
        state.add(pending(number, name=f"writer{number}"))
    assert ask(state, SequencePlace("writer1", "", skip_lineage_check=False)) == Repeated(identity(1))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans()), max_size=25))
def test_equal_requests_get_equal_answers_and_different_ones_never_collide(
    requests: list[tuple[str, int, bool]],
) -> None:
    rows: list[PendingSegment] = []
    answers: dict[SequencePlace, str] = {}
    for name, previous, skip in requests:
        place = SequencePlace(f"{name}{skip}", "" if skip else str(previous), skip)
        match ask(replace(EMPTY, pending=rows), place):
            case Allocated(new):
                assert place not in answers
                assert new.id not in answers.values()
                answers[place] = new.id
                rows.append(PendingSegment(new, place.name, place.previous_id))
            case Repeated(old):
                assert answers[place] == old.id
            case None:
                pytest.fail("nothing is in the way")


ROW = Interval(parse_instant("2026-01-07T05:06:07.890Z"), parse_instant("2026-01-07T05:06:07.891Z"))


def test_finer_buckets_are_tried_after_the_preferred_one_and_weeks_only_when_preferred() -> None:
    tried = candidate_intervals(ROW, parse_granularity("month"))
    assert [str(each) for each in tried[:4]] == [
        "2026-01-01T00:00:00.000Z/2026-02-01T00:00:00.000Z",
        "2026-01-07T00:00:00.000Z/2026-01-08T00:00:00.000Z",
        "2026-01-07T00:00:00.000Z/2026-01-07T08:00:00.000Z",
        "2026-01-07T00:00:00.000Z/2026-01-07T06:00:00.000Z",
    ]
    assert tried[-1] == Interval.parse("2026-01-07T05:06:07/PT1S")
    assert candidate_intervals(ROW, parse_granularity("week"))[0] == Interval.parse("2026-01-05/P7D")


def test_finer_buckets_are_counted_in_the_zone_of_the_preferred_one() -> None:
    tried = candidate_intervals(ROW, PeriodGranularity("P1D", "America/New_York"))
    assert tried[0] == Interval.parse("2026-01-07T05/2026-01-08T05")


def test_buckets_that_do_not_hold_the_whole_row_are_not_tried() -> None:
    row = parse_granularity("hour").bucket(ROW.start_ms)
    assert [each.end_ms - each.start_ms for each in candidate_intervals(row, parse_granularity("six_hour"))] == [
        6 * 3_600_000,
        3_600_000,
    ]


def test_granularity_all_prefers_eternity_and_none_the_row_itself() -> None:
    assert candidate_intervals(ROW, ALL)[0] == ETERNITY
    assert candidate_intervals(ROW, NONE) == [ROW]


def test_the_unique_key_of_an_allocation_is_druids() -> None:
    interval = Interval(1, 258)
    given = identity(0, interval=interval, version="v")
    with_lineage = hashlib.sha1(b"writer\xffbefore\xffv").hexdigest().upper()
    without = hashlib.sha1(b"writer\xff\x01\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\xffv").hexdigest().upper()
    assert sequence_sha1(SequencePlace("writer", "before", skip_lineage_check=False), given) == with_lineage
    assert sequence_sha1(SequencePlace("writer", "before", skip_lineage_check=True), given) == without
