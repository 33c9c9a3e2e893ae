"""A peon alone: the Overlord's answers without an Overlord, through the same typed actions."""

import json
from pathlib import Path

import pytest

from druid_core.action import (
    LockList,
    LockRelease,
    LockTryAcquire,
    RetrieveUpgradedFromSegmentIds,
    SegmentAllocate,
    SegmentListUsed,
    SegmentTransactionalInsert,
)
from druid_core.errors import TaskFailure
from druid_core.interval import Interval
from druid_core.segment import DataSegment
from druid_core.shard_spec import NumberedShardSpec
from peon.actions import TaskActions
from peon.local_overlord import LocalOverlord

DAY = Interval.parse("2026-01-01/2026-01-02")
HOUR = Interval.parse("2026-01-01T05:00/2026-01-01T06:00")
NOW_MS = 1_767_225_600_000


@pytest.fixture
def segments_file(tmp_path: Path) -> Path:
    return tmp_path / "segments.json"


@pytest.fixture
def actions(segments_file: Path) -> TaskActions:
    return TaskActions(LocalOverlord("g", "wiki", segments_file, lambda: NOW_MS).answer)


def allocation(sequence: str, previous: str | None = None) -> SegmentAllocate:
    return SegmentAllocate(
        data_source="wiki",
        timestamp="2026-01-01T05:30:00.000Z",
        preferred_segment_granularity={"type": "period", "period": "P1D", "timeZone": "UTC", "origin": None},
        sequence_name=sequence,
        previous_segment_id=previous,
    )


def test_every_lock_is_granted_with_now_as_its_version(actions: TaskActions) -> None:
    lock = actions.perform(LockTryAcquire(interval=DAY))
    assert lock is not None
    assert (lock.interval, lock.version, lock.group_id) == (DAY, "2026-01-01T00:00:00.000Z", "g")
    assert actions.perform(LockList()) == [lock]


def test_a_lock_inside_one_that_is_held_is_that_one(actions: TaskActions) -> None:
    day = actions.perform(LockTryAcquire(interval=DAY))
    assert actions.perform(LockTryAcquire(interval=HOUR)) == day
    actions.perform(LockRelease(interval=DAY))
    assert actions.perform(LockList()) == []


def test_the_same_sequence_gets_the_same_segment_and_another_the_next_number(actions: TaskActions) -> None:
    first = actions.perform(allocation("a"))
    assert first is not None
    assert first.interval == DAY
    assert actions.perform(allocation("a")) == first
    second = actions.perform(allocation("b"))
    assert second is not None
    assert (first.shard_spec.partition_num, second.shard_spec.partition_num) == (0, 1)


def test_what_is_published_is_written_down(actions: TaskActions, segments_file: Path) -> None:
    segments = [
        DataSegment(
            data_source="wiki", interval=DAY, version="v", shard_spec=NumberedShardSpec(partition_num=n, partitions=2)
        )
        for n in range(2)
    ]
    for segment in segments:
        assert actions.perform(SegmentTransactionalInsert(segments=[segment])).success
    assert [raw["identifier"] for raw in json.loads(segments_file.read_text())] == [s.id for s in segments]


def test_nothing_was_there_before(actions: TaskActions) -> None:
    assert actions.perform(SegmentListUsed(data_source="wiki", intervals=[DAY])) == []
    assert actions.perform(RetrieveUpgradedFromSegmentIds(data_source="wiki", segment_ids=["x"])) == {}


def test_an_unknown_action_is_refused_in_words(segments_file: Path) -> None:
    with pytest.raises(TaskFailure, match=r"cannot perform the action \[surrogateAction\]"):
        LocalOverlord("g", "wiki", segments_file, lambda: NOW_MS).answer({"type": "surrogateAction"})
