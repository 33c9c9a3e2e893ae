"""Allocation on a real Postgres: appended segments join what is there, and no two get one identity."""

import asyncio
import hashlib
from typing import Any

import orjson
from httpx import AsyncClient

from druid_core.instant import format_instant
from overlord.db.pool import Pool, transaction
from overlord.lock import lockbox
from tests.support.actions import Peon, segment, start

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"
EPOCH = "1970-01-01T00:00:00.000Z"


def request(sequence: str = "writer", at: str = "2026-01-01T05:06:07.000Z", **fields: Any) -> dict[str, Any]:
    """What a Java peon sends."""
    return {
        "dataSource": "web",
        "timestamp": at,
        "queryGranularity": {"type": "none"},
        "preferredSegmentGranularity": "DAY",
        "sequenceName": sequence,
        "previousSegmentId": None,
        "skipSegmentLineageCheck": False,
        "shardSpecFactory": {"type": "numbered"},
        "lockGranularity": "TIME_CHUNK",
        "taskLockType": "EXCLUSIVE",
        **fields,
    }


async def allocate(peon: Peon, sequence: str = "writer", **fields: Any) -> Any:
    return await peon.perform("segmentAllocate", **request(sequence, **fields))


async def publish_by(overlord: AsyncClient, id: str, *, parts: int = 1, interval: str = DAY) -> str:
    """Another task publishes a core set and ends; its version."""
    peon = await start(overlord, id)
    version = (await peon.lock(interval))["version"]
    await peon.publish(*(segment(interval, version, number, parts) for number in range(parts)))
    await peon.finish()
    return version


async def test_the_first_segment_takes_the_version_of_the_lock_that_comes_with_it(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    identity = await allocate(peon)
    (lock,) = await peon.perform("lockList")
    assert lock["interval"] == DAY
    assert identity == {
        "dataSource": "web",
        "interval": DAY,
        "version": lock["version"],
        "shardSpec": {"type": "numbered", "partitionNum": 0, "partitions": 0},
    }


async def test_an_allocation_is_a_row_as_druid_writes_it(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    identity = await allocate(peon, previousSegmentId="before")
    row = await pool.fetchrow('SELECT *, "end" AS ending FROM druid_pendingsegments')
    assert row is not None
    assert row["id"] == f"web_{DAY.replace('/', '_')}_{identity['version']}"
    assert f"{row['start']}/{row['ending']}" == DAY
    assert (row["datasource"], row["sequence_name"], row["sequence_prev_id"]) == ("web", "writer", "before")
    key = b"writer\xffbefore\xff" + identity["version"].encode()
    assert row["sequence_name_prev_id_sha1"] == hashlib.sha1(key, usedforsecurity=False).hexdigest().upper()
    assert (row["task_allocator_id"], row["upgraded_from_segment_id"]) == ("t1", None)
    assert orjson.loads(row["payload"]) == identity


async def test_an_appended_segment_joins_the_published_chunk(overlord: AsyncClient) -> None:
    version = await publish_by(overlord, "core", parts=2)
    identity = await allocate(await start(overlord, "t1"))
    assert (identity["version"], identity["shardSpec"]) == (
        version,
        {"type": "numbered", "partitionNum": 2, "partitions": 2},
    )


async def test_the_same_question_gets_the_same_answer(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    assert await allocate(peon) == await allocate(peon)
    assert await pool.fetchval("SELECT count(*) FROM druid_pendingsegments") == 1


async def test_the_next_segment_of_a_sequence_is_another_one(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    numbers = [
        (await allocate(peon, previousSegmentId=previous))["shardSpec"]["partitionNum"] for previous in (None, "a", "b")
    ]
    assert numbers == [0, 1, 2]


async def test_replicas_without_lineage_share_a_segment_an_interval(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1", group="g"), await start(overlord, "t2", group="g")
    streaming: dict[str, Any] = {"skipSegmentLineageCheck": True, "taskLockType": "APPEND"}
    one = await allocate(first, **streaming)
    assert one == await allocate(second, **streaming)
    assert one["version"] == EPOCH
    later = await allocate(first, at="2026-01-02T05:06:07.000Z", **streaming)
    assert later["interval"] == "2026-01-02T00:00:00.000Z/2026-01-03T00:00:00.000Z"


async def test_a_published_coarser_chunk_decides_the_interval(overlord: AsyncClient) -> None:
    month = "2026-01-01T00:00:00.000Z/2026-02-01T00:00:00.000Z"
    await publish_by(overlord, "core", interval=month)
    identity = await allocate(await start(overlord, "t1"))
    assert (identity["interval"], identity["shardSpec"]["partitionNum"]) == (month, 1)


async def test_a_finer_bucket_is_taken_where_the_preferred_one_is_partly_full(overlord: AsyncClient) -> None:
    await publish_by(overlord, "core", interval="2026-01-01T20:00:00.000Z/2026-01-01T21:00:00.000Z")
    identity = await allocate(await start(overlord, "t1"))
    assert identity["interval"] == "2026-01-01T00:00:00.000Z/2026-01-01T08:00:00.000Z"


async def test_a_bucket_that_is_wider_than_the_published_chunk_gets_nothing(overlord: AsyncClient) -> None:
    await publish_by(overlord, "core", interval="2026-01-01T05:00:00.000Z/2026-01-01T06:00:00.000Z")
    peon = await start(overlord, "t1")
    assert await allocate(peon, queryGranularity="DAY") is None
    assert await peon.perform("lockList") == []


async def test_a_chunk_that_others_hold_gets_nothing(overlord: AsyncClient) -> None:
    await (await start(overlord, "t1")).lock("2026/P1Y")
    peon = await start(overlord, "t2")
    assert await allocate(peon) is None
    assert await peon.perform("lockList") == []


async def test_a_lost_lock_allocates_nothing(overlord: AsyncClient) -> None:
    peon = await start(overlord, "low", priority=25)
    assert await allocate(peon) is not None
    await (await start(overlord, "high", priority=75)).lock("2026/P1Y")
    assert await allocate(peon, "another") is None


async def test_a_killed_version_of_appends_never_comes_back(overlord: AsyncClient, pool: Pool) -> None:
    first = await start(overlord, "t1")
    identity = await allocate(first, taskLockType="APPEND")
    await first.publish(segment(DAY, EPOCH, identity["shardSpec"]["partitionNum"], 0))
    await first.finish()
    await pool.execute("UPDATE druid_segments SET used = FALSE")
    again = await allocate(await start(overlord, "t2"), taskLockType="APPEND")
    assert (again["version"], again["shardSpec"]["partitionNum"]) == (EPOCH + "S", 0)


async def test_many_writers_at_once_get_partitions_without_a_hole_or_a_double(overlord: AsyncClient) -> None:
    peons = [await start(overlord, f"t{number}") for number in range(4)]
    asked = [allocate(peon, f"{peon.id}.{n}", taskLockType="APPEND") for peon in peons for n in range(5)]
    answers = await asyncio.gather(*asked)
    assert sorted(answer["shardSpec"]["partitionNum"] for answer in answers) == list(range(20))


async def test_a_hashed_or_ranged_part_gets_its_number(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    hashed = {
        "type": "hashed",
        "partitionDimensions": ["page"],
        "bucketId": 1,
        "numPartitions": 2,
        "partitionFunction": "murmur3_32_abs",
    }
    assert (await allocate(peon, "h", shardSpecFactory=hashed))["shardSpec"] == {
        "type": "hashed",
        "partitionNum": 0,
        "partitions": 0,
        "bucketId": 1,
        "numBuckets": 2,
        "partitionDimensions": ["page"],
        "partitionFunction": "murmur3_32_abs",
    }
    single = {
        "type": "single_dim",
        "partitionDimension": "page",
        "bucketId": 0,
        "start": None,
        "end": "m",
        "numBuckets": 2,
    }
    assert (await allocate(peon, "s", shardSpecFactory=single))["shardSpec"] == {
        "type": "single",
        "dimension": "page",
        "start": None,
        "end": "m",
        "partitionNum": 1,
        "numCorePartitions": 0,
    }


async def test_segments_of_another_datasource_are_not_allocated(overlord: AsyncClient) -> None:
    foreign = await (await start(overlord, "t1")).send("segmentAllocate", **request(dataSource="other"))
    assert "Task dataSource must match action dataSource, [web] != [other]." in foreign.json()["error"]


async def test_an_unknown_kind_of_part_is_refused(overlord: AsyncClient) -> None:
    response = await (await start(overlord, "t1")).send("segmentAllocate", **request(shardSpecFactory={"type": "x"}))
    assert response.status_code == 400
    assert "shardSpecFactory" in response.json()["error"]


async def test_of_requests_decided_together_one_that_fails_takes_no_other_with_it(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    asked = [
        peon.send("segmentAllocate", **request("a")),
        peon.send("segmentAllocate", **request("x" * 300)),
        Peon(overlord, {"type": "noop", "id": "nobody"}).send("segmentAllocate", **request("b")),
        peon.send("segmentAllocate", **request("c", queryGranularity="nonsense")),
        peon.send("segmentAllocate", **request("nul\0")),
        peon.send("segmentAllocate", **request("d")),
    ]
    answers = await asyncio.gather(*asked)
    assert [answer.status_code == 200 for answer in answers] == [True, False, False, False, False, True]
    assert [answers[n].json()["result"]["shardSpec"]["partitionNum"] for n in (0, 5)] == [0, 1]
    reasons = {1: "at most 255", 2: "inactive Task [nobody]", 3: "NONSENSE", 4: "cannot be stored"}
    for number, words in reasons.items():
        assert words in answers[number].text


async def test_one_sequence_name_in_two_datasources_is_refused_and_not_mixed_up(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2", "other")
    assert await allocate(first, taskLockType="APPEND") is not None
    response = await second.send("segmentAllocate", **request(taskLockType="APPEND", dataSource="other"))
    assert "Sequence [writer] has a segment after [] elsewhere already" in response.json()["error"]


async def test_a_hundred_requests_of_one_task_are_answered_by_few_transactions(
    overlord: AsyncClient, pool: Pool
) -> None:
    peon = await start(overlord, "t1")
    answers = await asyncio.gather(*(allocate(peon, f"s{n}") for n in range(100)))
    assert sorted(answer["shardSpec"]["partitionNum"] for answer in answers) == list(range(100))
    rows = await pool.fetch("SELECT xmin::text AS transaction FROM druid_pendingsegments")
    assert len(rows) == 100
    assert len({row["transaction"] for row in rows}) <= 10


async def test_a_kill_task_cannot_allocate(overlord: AsyncClient) -> None:
    task = {"type": "kill", "id": "k", "dataSource": "web", "interval": DAY}
    assert (await overlord.post("/druid/indexer/v1/task", json=task)).status_code == 200
    response = await Peon(overlord, task).send("segmentAllocate", **request())
    assert "of type [kill] cannot allocate" in response.json()["error"]


async def test_pending_segments_go_with_the_last_task_that_may_need_them(overlord: AsyncClient, pool: Pool) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    await allocate(first)
    await pool.execute("UPDATE druid_pendingsegments SET task_allocator_id = 'g'")
    await pool.execute("UPDATE druid_tasks SET group_id = 'g'")
    counts: list[int] = []
    for ended in (first, second):
        await ended.finish()
        counts.append(await pool.fetchval("SELECT count(*) FROM druid_pendingsegments"))
    assert counts == [1, 0]


async def test_an_active_task_that_gives_back_its_locks_keeps_what_it_allocated(
    overlord: AsyncClient, pool: Pool
) -> None:
    await allocate(await start(overlord, "t1"))
    async with transaction(pool) as tx:
        await lockbox.release_all(tx, "t1")
    assert await pool.fetchval("SELECT count(*) FROM druid_pendingsegments") == 1


async def test_pending_segments_are_deleted_by_the_time_of_their_creation(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    await allocate(peon)
    path = "/druid/indexer/v1/pendingSegments/web"
    refused = await overlord.delete(path, params={"interval": "2000-01-01/2100-01-01"})
    assert refused.status_code == 400
    assert refused.json()["error"].startswith(
        "Cannot delete pendingSegments for datasource[web] as there is at least one active task[t1]"
    )
    await pool.execute("UPDATE druid_pendingsegments SET created_date = $1", format_instant(0))
    early = await overlord.delete(path, params={"interval": "1970-01-01/1970-01-02"})
    assert early.json() == {"numDeleted": 1}
    await peon.finish()
    assert (await overlord.delete(path)).json() == {"numDeleted": 0}
