"""Appending while a chunk is replaced: nothing that was appended is lost, and all is seen under the new version."""

from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from druid_core.segment import DataSegment
from druid_core.shard_spec import RangeShardSpec, TombstoneShardSpec
from overlord.db.pool import Pool
from tests.support.actions import Peon, segment, start

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"
HOUR = "2026-01-01T05:00:00.000Z/2026-01-01T06:00:00.000Z"
EPOCH = "1970-01-01T00:00:00.000Z"


async def allocate(peon: Peon, sequence: str = "writer", granularity: str = "DAY") -> dict[str, Any]:
    return await peon.perform(
        "segmentAllocate",
        dataSource="web",
        timestamp="2026-01-01T05:06:07.000Z",
        queryGranularity={"type": "none"},
        preferredSegmentGranularity=granularity,
        sequenceName=sequence,
        skipSegmentLineageCheck=True,
        taskLockType="APPEND",
    )


def built(identity: dict[str, Any]) -> DataSegment:
    """The segment that a peon makes of an allocated identity."""
    spec = identity["shardSpec"]
    return segment(identity["interval"], identity["version"], spec["partitionNum"], spec["partitions"])


async def append(peon: Peon, *segments: DataSegment, **fields: Any) -> Any:
    wires = [each.to_wire() for each in segments]
    return await peon.perform("segmentTransactionalAppend", segments=wires, **fields)


async def replace(peon: Peon, *segments: DataSegment) -> Any:
    wires = [each.to_wire() for each in segments]
    return await peon.perform("segmentTransactionalReplace", segments=wires)


async def both(overlord: AsyncClient, replaced: str = DAY) -> tuple[Peon, Peon, str]:
    """A task that replaces, one that appends, and the version of the former's lock."""
    replacing, appending = await start(overlord, "replace"), await start(overlord, "append")
    version = (await replacing.lock(replaced, "REPLACE"))["version"]
    return replacing, appending, version


async def seen(peon: Peon) -> list[tuple[str, int, int]]:
    """(version, partition number, core partitions) of what is visible, asked by a task that replaces nothing."""
    found = await peon.perform("segmentListUsed", dataSource="web", intervals=[DAY])
    return [(each["version"], each["shardSpec"]["partitionNum"], each["shardSpec"]["partitions"]) for each in found]


async def test_what_was_appended_before_the_replacement_is_taken_along(overlord: AsyncClient, pool: Pool) -> None:
    replacing, appending, version = await both(overlord)
    appended = built(await allocate(appending))
    assert appended.version == EPOCH
    assert (await append(appending, appended))["success"] is True
    assert await seen(appending) == [(EPOCH, 0, 0)]
    result = await replace(replacing, segment(DAY, version))
    assert result["success"] is True
    assert await seen(appending) == [(version, 0, 2), (version, 1, 2)]
    copy = next(each for each in result["segments"] if each["shardSpec"]["partitionNum"] == 1)
    assert copy["loadSpec"] == appended.load_spec
    row = await pool.fetchrow("SELECT * FROM druid_segments WHERE id = $1", copy["identifier"])
    assert row is not None
    assert (row["upgraded_from_segment_id"], row["used"]) == (appended.id, True)
    assert orjson.loads(row["payload"]) == copy


async def test_what_is_appended_after_the_replacement_is_published_under_both_versions(
    overlord: AsyncClient, pool: Pool
) -> None:
    replacing, appending, version = await both(overlord)
    identity = await allocate(appending)
    await replace(replacing, segment(DAY, version))
    upgraded = await pool.fetchrow("SELECT * FROM druid_pendingsegments WHERE upgraded_from_segment_id IS NOT NULL")
    assert upgraded is not None
    original = built(identity)
    assert upgraded["upgraded_from_segment_id"] == upgraded["sequence_prev_id"] == original.id
    assert upgraded["sequence_name"] == f"upgraded_to_version__{version}"
    assert upgraded["task_allocator_id"] == "append"
    result = await append(appending, original)
    assert [each["version"] for each in result["segments"]] == [EPOCH, version]
    assert await seen(appending) == [(version, 0, 1), (version, 1, 1)]
    assert await pool.fetchval("SELECT count(*) FROM druid_pendingsegments") == 0


async def test_a_copy_of_a_copy_names_the_first_of_them(overlord: AsyncClient, pool: Pool) -> None:
    replacing, appending, version = await both(overlord)
    appended = built(await allocate(appending))
    await append(appending, appended)
    await replace(replacing, segment(DAY, version))
    await replacing.finish()
    again = await start(overlord, "again")
    newer = (await again.lock(DAY, "REPLACE"))["version"]
    (copy,) = [
        DataSegment.model_validate(each)
        for each in await again.perform("segmentListUsed", dataSource="web", intervals=[DAY])
        if each["shardSpec"]["partitionNum"] == 1
    ]
    assert await again.perform("markSegmentsToUpgrade", dataSource="web", upgradeSegments=[copy.to_wire()]) == 1
    await replace(again, segment(DAY, newer))
    origins = await pool.fetch("SELECT DISTINCT upgraded_from_segment_id FROM druid_segments WHERE version = $1", newer)
    assert {row[0] for row in origins} == {None, appended.id}


async def test_a_replay_of_either_side_changes_nothing(overlord: AsyncClient, pool: Pool) -> None:
    replacing, appending, version = await both(overlord)
    appended = built(await allocate(appending))
    for _ in range(2):
        await append(appending, appended)
    assert await pool.fetchval("SELECT count(*) FROM druid_upgradesegments") == 1
    await replace(replacing, segment(DAY, version))
    before = await pool.fetch("SELECT * FROM druid_segments ORDER BY id")
    again = await replace(replacing, segment(DAY, version))
    assert (again["success"], again["segments"]) == (True, [])
    assert (await append(appending, appended))["segments"] == []
    assert await pool.fetch("SELECT * FROM druid_segments ORDER BY id") == before


async def test_a_finer_append_moves_into_the_coarser_chunk(overlord: AsyncClient) -> None:
    replacing, appending, version = await both(overlord)
    await append(appending, built(await allocate(appending, granularity="HOUR")))
    result = await replace(replacing, segment(DAY, version))
    assert [each["interval"] for each in result["segments"]] == [DAY, DAY]


async def test_a_replacement_finer_than_what_was_appended_fails_whole(overlord: AsyncClient, pool: Pool) -> None:
    replacing, appending, version = await both(overlord)
    await append(appending, built(await allocate(appending)))
    before = await pool.fetch("SELECT id FROM druid_segments")
    result = await replace(replacing, segment(HOUR, version))
    assert (result["success"], result["segments"]) == (False, [])
    assert "finer segment granularity than a concurrent append is unsupported" in result["errorMsg"]
    assert await pool.fetch("SELECT id FROM druid_segments") == before


async def test_a_replacement_finer_than_what_is_pending_fails_whole(overlord: AsyncClient, pool: Pool) -> None:
    replacing, appending, version = await both(overlord)
    await allocate(appending)
    result = await replace(replacing, segment(HOUR, version))
    assert (result["success"], "Cannot upgrade pendingSegment" in result["errorMsg"]) == (False, True)
    assert await pool.fetchval("SELECT count(*) FROM druid_segments") == 0


async def test_tombstones_stay_what_they_are_beside_copies(overlord: AsyncClient) -> None:
    replacing, appending, version = await both(overlord)
    await append(appending, built(await allocate(appending)))
    result = await replace(replacing, segment(DAY, version, shard_spec=TombstoneShardSpec()))
    specs = [each["shardSpec"] for each in result["segments"]]
    assert specs == [
        {"type": "tombstone", "partitionNum": 0, "partitions": 0},
        {"type": "numbered", "partitionNum": 1, "partitions": 2},
    ]


async def test_an_appended_segment_that_takes_no_other_number_fails_the_replacement_whole(
    overlord: AsyncClient, pool: Pool
) -> None:
    replacing, appending, version = await both(overlord)
    await append(appending, segment(DAY, (await allocate(appending))["version"], shard_spec=TombstoneShardSpec()))
    before = await pool.fetch("SELECT id FROM druid_segments")
    result = await replace(replacing, segment(DAY, version))
    assert (result["success"], result["segments"]) == (False, [])
    assert "cannot be given another number" in result["errorMsg"]
    assert await pool.fetch("SELECT id FROM druid_segments") == before


async def test_ranges_keep_their_bounds_and_grow_their_core_set(overlord: AsyncClient) -> None:
    replacing, appending, version = await both(overlord)
    await append(appending, built(await allocate(appending)))
    spec = RangeShardSpec(dimensions=["page"], start=None, end=None, partition_num=0, num_core_partitions=1)
    result = await replace(replacing, segment(DAY, version, shard_spec=spec))
    assert result["segments"][0]["shardSpec"] == spec.model_copy(update={"num_core_partitions": 2}).to_wire()


async def test_the_replacing_task_does_not_see_what_was_appended_beside_it(overlord: AsyncClient) -> None:
    replacing, appending, _ = await both(overlord)
    await append(appending, built(await allocate(appending)))
    question: dict[str, Any] = {"dataSource": "web", "intervals": [DAY]}
    assert await replacing.perform("segmentListUsed", **question) == []
    assert len(await appending.perform("segmentListUsed", **question)) == 1


async def test_nothing_is_noted_for_a_replacement_that_lost_its_lock(overlord: AsyncClient, pool: Pool) -> None:
    low, appending = await start(overlord, "low", priority=1), await start(overlord, "append")
    version = (await low.lock(DAY, "REPLACE"))["version"]
    high = await start(overlord, "high", priority=90)
    assert (await high.lock(DAY))["revoked"] is False
    await high.perform("lockRelease", interval=DAY)
    await append(appending, built(await allocate(appending)))
    assert await pool.fetchval("SELECT count(*) FROM druid_upgradesegments") == 0
    result = await replace(low, segment(DAY, version))
    assert (result["success"], "Invalid task locks" in result["errorMsg"]) == (False, True)


async def test_notes_go_with_the_task_they_are_for(overlord: AsyncClient, pool: Pool) -> None:
    replacing, appending, _ = await both(overlord)
    await append(appending, built(await allocate(appending)))
    assert await pool.fetchval("SELECT task_id FROM druid_upgradesegments") == "replace"
    await replacing.finish()
    assert await pool.fetchval("SELECT count(*) FROM druid_upgradesegments") == 0


async def test_appending_moves_offsets_on_in_the_same_transaction(overlord: AsyncClient, pool: Pool) -> None:
    appending = await start(overlord, "append")
    first, second = built(await allocate(appending, "a")), built(await allocate(appending, "b"))

    def read(begin: int, end: int) -> dict[str, Any]:
        def kafka(kind: str, offset: int) -> dict[str, Any]:
            offsets = {"type": kind, "stream": "clicks", "partitionSequenceNumberMap": {"0": offset}}
            return {"type": "kafka", "partitions": offsets}

        return {"supervisorId": "s", "startMetadata": kafka("start", begin), "endMetadata": kafka("end", end)}

    assert (await append(appending, first, **read(0, 9)))["success"] is True
    behind = await append(appending, second, **read(0, 5))
    assert (behind["success"], behind["retryable"]) == (False, False)
    assert await pool.fetchval("SELECT count(*) FROM druid_segments") == 1
    assert await pool.fetchval("SELECT count(*) FROM druid_pendingsegments") == 1


@pytest.mark.parametrize("lock_type", ["EXCLUSIVE", "SHARED", "REPLACE"])
async def test_only_append_locks_append(overlord: AsyncClient, pool: Pool, lock_type: str) -> None:
    peon = await start(overlord, "t1")
    version = (await peon.lock(DAY, lock_type))["version"]
    wires = [segment(DAY, version).to_wire()]
    response = await peon.send("segmentTransactionalAppend", segments=wires)
    assert response.status_code == 500
    assert f"holding a lock of type[{lock_type}] instead of [APPEND]" in response.json()["error"]
    assert await pool.fetchval("SELECT count(*) FROM druid_segments") == 0


async def test_only_a_replace_lock_replaces(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    version = (await peon.lock(DAY))["version"]
    response = await peon.send("segmentTransactionalReplace", segments=[segment(DAY, version).to_wire()])
    assert response.status_code == 500
    assert "holds no lock of type[REPLACE]" in response.json()["error"]
    assert await pool.fetchval("SELECT count(*) FROM druid_segments") == 0


async def test_segments_to_upgrade_must_be_covered_by_a_replace_lock(overlord: AsyncClient, pool: Pool) -> None:
    replacing, _, _ = await both(overlord)
    covered, bare = segment(DAY, EPOCH), segment("2026-02-01/P1D", EPOCH)
    wires = [covered.to_wire(), bare.to_wire()]
    response = await replacing.send("markSegmentsToUpgrade", dataSource="web", upgradeSegments=wires)
    assert "Only [1] out of [2] segments are covered" in response.json()["error"]
    assert await pool.fetchval("SELECT count(*) FROM druid_upgradesegments") == 0
