"""Allocation under segment locks: tasks of several groups append to one chunk of time side by side."""

from typing import Any

from httpx import AsyncClient

from overlord.db.pool import Pool
from tests.support.actions import Peon, segment, start

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"


async def allocate(
    peon: Peon, sequence: str = "writer", granularity: str = "SEGMENT", lock_type: str = "EXCLUSIVE"
) -> Any:
    return await peon.perform(
        "segmentAllocate",
        dataSource="web",
        timestamp="2026-01-01T05:06:07.000Z",
        queryGranularity={"type": "none"},
        preferredSegmentGranularity="DAY",
        sequenceName=sequence,
        previousSegmentId=None,
        skipSegmentLineageCheck=False,
        shardSpecFactory={"type": "numbered"},
        lockGranularity=granularity,
        taskLockType=lock_type,
    )


async def test_each_task_gets_a_partition_of_its_own_and_the_lock_on_it(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    one, other = await allocate(first, "a"), await allocate(second, "b")
    assert (one["interval"], one["shardSpec"]["partitionNum"]) == (DAY, 0)
    assert (other["version"], other["shardSpec"]["partitionNum"]) == (one["version"], 1)
    (lock,) = await second.perform("lockList")
    assert (lock["version"], lock["partitionId"], lock["interval"]) == (one["version"], 1, DAY)


async def test_what_was_allocated_under_a_segment_lock_is_published_under_it(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    await allocate(first, "a")
    identity = await allocate(second, "b")
    published = await second.publish(segment(DAY, identity["version"], 1, 0))
    assert [each["shardSpec"]["partitionNum"] for each in published["segments"]] == [1]


async def test_under_an_append_lock_on_a_segment_the_version_is_the_oldest_there_is(overlord: AsyncClient) -> None:
    appended = await allocate(await start(overlord, "t1"), lock_type="APPEND")
    assert appended["version"] == "1970-01-01T00:00:00.000Z"


async def test_repeating_a_request_answers_the_same_identity_under_the_same_lock(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    assert await allocate(peon) == await allocate(peon)
    assert len(await peon.perform("lockList")) == 1


async def test_where_a_chunk_is_locked_whole_nothing_is_allocated_and_nothing_is_kept(
    overlord: AsyncClient, pool: Pool
) -> None:
    await (await start(overlord, "whole")).lock(DAY)
    peon = await start(overlord, "t1")
    assert await allocate(peon) is None
    assert await peon.perform("lockList") == []
    assert await pool.fetchval("SELECT count(*) FROM druid_pendingsegments") == 0


async def test_a_granularity_that_is_none_is_refused_by_name(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    fields: dict[str, Any] = {
        "dataSource": "web",
        "timestamp": "2026-01-01",
        "sequenceName": "s",
        "lockGranularity": "HUGE",
    }
    response = await peon.send("segmentAllocate", **fields, preferredSegmentGranularity="DAY")
    assert response.is_error
    assert "lockGranularity must be TIME_CHUNK or SEGMENT, not [HUGE]" in response.text
