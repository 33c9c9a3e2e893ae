"""Locks as they travel: of both granularities, in Druid's words, and what each lets its holder write."""

from typing import Any

import pytest

from druid_core.interval import Interval
from druid_core.lock import LockResult, LockType, SegmentLock, TaskLock, load_lock

DAY, HOUR = Interval.parse("2026-01-01/P1D"), Interval.parse("2026-01-01T05/PT1H")
VERSION = "2026-02-01T00:00:00.000Z"
CHUNK = TaskLock(group_id="g", data_source="web", interval=DAY, version=VERSION, priority=50)
SEGMENT = SegmentLock(group_id="g", data_source="web", interval=DAY, version=VERSION, priority=50, partition_id=3)
APPENDING: dict[str, Any] = {"type": LockType.APPEND, "version": "1970-01-01T00:00:00.000Z"}


@pytest.mark.parametrize("lock", [CHUNK, SEGMENT])
def test_a_lock_is_read_as_it_was_stored_and_as_it_was_answered(lock: TaskLock) -> None:
    assert load_lock(lock.to_stored()) == lock
    assert load_lock(lock.to_wire()) == lock
    assert "granularity" not in lock.to_wire()


def test_a_lock_that_says_no_granularity_is_a_time_chunks() -> None:
    assert load_lock(CHUNK.to_wire() | {"granularity": None}) == CHUNK


def test_a_segment_lock_is_no_time_chunk_lock_of_the_same_words() -> None:
    assert SEGMENT != CHUNK
    assert list(SEGMENT.to_stored()) == [
        "granularity",
        "type",
        "groupId",
        "dataSource",
        "interval",
        "version",
        "partitionId",
        "priority",
        "revoked",
    ]


@pytest.mark.parametrize("lock", [None, CHUNK, SEGMENT, SEGMENT.model_copy(update={"revoked": True})])
def test_the_answer_to_a_request_for_a_segment_lock_comes_back_whole(lock: TaskLock | None) -> None:
    answer = LockResult.of(lock)
    assert LockResult.model_validate(answer.to_wire()) == answer
    assert answer.revoked is (lock is not None and lock.revoked)


@pytest.mark.parametrize(
    ("lock", "interval", "version", "partition", "covered"),
    [
        pytest.param(CHUNK, DAY, VERSION, 7, True, id="whatever the partition"),
        pytest.param(CHUNK, HOUR, "2026-01-31T00:00:00.000Z", 0, True, id="inside, and older"),
        pytest.param(CHUNK, DAY, "2026-02-02T00:00:00.000Z", 0, False, id="newer than the lock"),
        pytest.param(CHUNK, Interval.parse("2026-01-01/P2D"), VERSION, 0, False, id="wider than the lock"),
        pytest.param(CHUNK.model_copy(update=APPENDING), DAY, VERSION, 0, True, id="APPEND covers all versions"),
        pytest.param(SEGMENT, DAY, VERSION, 3, True, id="its own partition"),
        pytest.param(SEGMENT, DAY, VERSION, 2, False, id="another partition"),
        pytest.param(SEGMENT.model_copy(update=APPENDING), DAY, VERSION, 3, False, id="APPEND of a segment does not"),
    ],
)
def test_a_lock_covers(lock: TaskLock, interval: Interval, version: str, partition: int, covered: bool) -> None:
    assert lock.covers(interval, version, partition) is covered
