"""Publishing on a real Postgres: what is written, and what keeps a segment from being written."""

import asyncio
import hashlib
from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from druid_core.segment import DataSegment
from overlord.db.pool import Pool
from tests.support.actions import Peon, segment, start

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"


async def rows(pool: Pool) -> list[dict[str, Any]]:
    found = await pool.fetch('SELECT *, "end" AS ending FROM druid_segments ORDER BY id')
    return [dict(row) for row in found]


async def locked(overlord: AsyncClient, id: str = "t1", **task: Any) -> tuple[Peon, str]:
    """A task that holds the lock of the day, and the version that it writes."""
    peon = await start(overlord, id, **task)
    return peon, (await peon.lock(DAY))["version"]


async def test_a_published_segment_is_a_row_as_druid_writes_it(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    sent = segment(DAY, version)
    result = await peon.publish(sent)
    assert result == {"segments": [sent.to_wire()], "success": True, "retryable": False, "errorMsg": None}
    (row,) = await rows(pool)
    assert row["id"] == f"web_2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_{version}"
    assert (row["datasource"], row["start"], row["ending"]) == (
        "web",
        "2026-01-01T00:00:00.000Z",
        "2026-01-02T00:00:00.000Z",
    )
    assert (row["partitioned"], row["version"], row["used"]) == (True, version, True)
    assert row["created_date"] == row["used_status_last_updated"] >= version
    assert row["upgraded_from_segment_id"] is row["indexing_state_fingerprint"] is None
    payload = orjson.loads(row["payload"])
    assert payload == sent.to_wire()
    assert list(payload) == [
        "dataSource",
        "interval",
        "version",
        "loadSpec",
        "dimensions",
        "metrics",
        "shardSpec",
        "binaryVersion",
        "size",
        "totalRows",
        "identifier",
    ]


@pytest.mark.route(
    "GET /druid/indexer/v1/task/{task_id}/segments",
    "differs",
    "The ids of the segments that the task published, as an array. Druid answers 404 since it no longer keeps "
    "them; here a published segment stays known by its task",
)
async def test_what_a_task_published_is_told_by_its_segments(overlord: AsyncClient) -> None:
    peon, version = await locked(overlord)
    parts = [segment(DAY, version, number, 2) for number in (0, 1)]
    await peon.publish(*parts)
    response = await overlord.get("/druid/indexer/v1/task/t1/segments")
    assert response.json() == [part.id for part in parts]


async def test_publishing_twice_is_publishing_once(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    first, second = segment(DAY, version, 0, 2), segment(DAY, version, 1, 2)
    await peon.publish(first)
    again = await peon.publish(first, second)
    assert (again["success"], [each["identifier"] for each in again["segments"]]) == (True, [second.id])
    assert (await peon.publish(first, second)) == {
        "segments": [],
        "success": True,
        "retryable": False,
        "errorMsg": None,
    }
    assert len(await rows(pool)) == 2


async def test_a_replay_succeeds_although_the_lock_was_lost_since(overlord: AsyncClient) -> None:
    peon, version = await locked(overlord, priority=25)
    await peon.publish(segment(DAY, version))
    await (await start(overlord, "high", priority=75)).lock(DAY)
    assert (await peon.publish(segment(DAY, version)))["success"] is True


async def test_a_lost_lock_publishes_nothing(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord, priority=25)
    await (await start(overlord, "high", priority=75)).lock(DAY)
    result = await peon.publish(segment(DAY, version))
    assert (result["success"], result["retryable"], result["segments"]) == (False, False, [])
    assert "Invalid task locks" in result["errorMsg"]
    assert await rows(pool) == []


async def refused(peon: Peon, *segments: DataSegment) -> str:
    wires = [each.to_wire() for each in segments]
    response = await peon.send("segmentTransactionalInsert", segments=wires)
    assert response.status_code == 500
    return response.json()["error"]


async def test_without_a_covering_lock_all_or_nothing_means_nothing(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    error = await refused(peon, segment(DAY, version), segment("2026-01-02/P1D", version))
    assert "are not covered by locks" in error
    assert await rows(pool) == []


async def test_a_segment_newer_than_the_lock_is_refused(overlord: AsyncClient) -> None:
    peon, _ = await locked(overlord)
    assert "are not covered by locks" in await refused(peon, segment(DAY, "2999-01-01T00:00:00.000Z"))


async def test_segments_of_another_datasource_are_refused(overlord: AsyncClient) -> None:
    peon, version = await locked(overlord)
    assert "cannot change segments of [other]" in await refused(peon, segment(DAY, version, data_source="other"))


async def test_a_segment_of_less_than_nothing_is_refused(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    odd = segment(DAY, version).model_copy(update={"size": -5})
    assert "has size [-5]: bytes, 0 or more, are expected" in await refused(peon, segment(DAY, version, 1), odd)
    assert await rows(pool) == []


async def test_publishing_nothing_is_refused(overlord: AsyncClient) -> None:
    peon, _ = await locked(overlord)
    assert "No segments to publish" in await refused(peon)


async def test_a_finished_task_publishes_nothing(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    await peon.finish()
    assert "inactive Task [t1]" in await refused(peon, segment(DAY, version))
    assert await rows(pool) == []


async def test_older_segments_stay_used_and_only_newer_ones_are_listed(overlord: AsyncClient, pool: Pool) -> None:
    first, older = await locked(overlord)
    await first.publish(segment(DAY, older))
    await first.finish()
    second, newer = await locked(overlord, "t2")
    await second.publish(segment(DAY, newer))
    assert newer > older
    assert [row["used"] for row in await rows(pool)] == [True, True]
    visible = await second.perform("segmentListUsed", dataSource="web", intervals=[DAY], visibility="ONLY_VISIBLE")
    assert [each["version"] for each in visible] == [newer]
    everything = await second.perform(
        "segmentListUsed", dataSource="web", intervals=[DAY], visibility="INCLUDING_OVERSHADOWED"
    )
    assert [each["version"] for each in everything] == [older, newer]


async def test_only_within_one_batch_an_overshadowed_segment_is_unused_from_the_start(
    overlord: AsyncClient, pool: Pool
) -> None:
    peon, version = await locked(overlord)
    await peon.publish(segment(DAY, version), segment(DAY, "2020-01-01T00:00:00.000Z"))
    assert {row["version"]: row["used"] for row in await rows(pool)} == {
        version: True,
        "2020-01-01T00:00:00.000Z": False,
    }


async def test_what_was_appended_under_a_replace_lock_is_hidden_from_its_holder(overlord: AsyncClient) -> None:
    replace, append = await start(overlord, "replace"), await start(overlord, "append")
    await replace.lock(DAY, "REPLACE")
    await append.lock(DAY, "APPEND")
    await append.publish(segment(DAY, "1970-01-01T00:00:00.000Z", core=0))
    question: dict[str, Any] = {"dataSource": "web", "intervals": [DAY], "visibility": "ONLY_VISIBLE"}
    assert await replace.perform("segmentListUsed", **question) == []
    assert len(await append.perform("segmentListUsed", **question)) == 1


def kafka(kind: str, offset: int) -> dict[str, Any]:
    """How far one partition was read."""
    offsets = {"0": offset}
    return {"type": "kafka", "partitions": {"type": kind, "stream": "clicks", "partitionSequenceNumberMap": offsets}}


def read(start: int, end: int) -> dict[str, Any]:
    """The fields of a publication that say what was read."""
    return {"supervisorId": "s", "startMetadata": kafka("start", start), "endMetadata": kafka("end", end)}


async def test_offsets_move_on_together_with_the_segments(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    assert (await peon.publish(segment(DAY, version, 0, 0), **read(0, 9)))["success"] is True
    ahead = await peon.publish(segment(DAY, version, 1, 0), **read(20, 30))
    assert (ahead["success"], ahead["retryable"]) == (False, True)
    behind = await peon.publish(segment(DAY, version, 1, 0), **read(0, 5))
    assert (behind["success"], behind["retryable"]) == (False, False)
    assert len(await rows(pool)) == 1
    (row,) = await pool.fetch("SELECT * FROM druid_datasource")
    assert row["datasource"] == "s"
    assert orjson.loads(row["commit_metadata_payload"]) == kafka("end", 9)
    sha1 = hashlib.sha1(row["commit_metadata_payload"], usedforsecurity=False).hexdigest()
    assert row["commit_metadata_sha1"] == sha1.upper()


async def test_a_replay_with_offsets_succeeds_although_they_have_moved(overlord: AsyncClient) -> None:
    peon, version = await locked(overlord)
    await peon.publish(segment(DAY, version, 0, 0), **read(0, 9))
    await peon.publish(segment(DAY, version, 1, 0), **read(9, 12))
    assert (await peon.publish(segment(DAY, version, 0, 0), **read(0, 9)))["success"] is True


async def test_offsets_may_be_committed_without_a_segment_and_only_whole(overlord: AsyncClient) -> None:
    peon, _ = await locked(overlord)
    assert (await peon.publish(dataSource="web", **read(0, 9)))["success"] is True
    half: dict[str, Any] = {"segments": [], "supervisorId": "s", "startMetadata": kafka("start", 9)}
    response = await peon.send("segmentTransactionalInsert", **half)
    assert "must either both be null" in response.json()["error"]


async def test_the_same_publication_from_two_sides_at_once_is_published_once(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    parts = [segment(DAY, version, number, 20) for number in range(20)]
    answers = await asyncio.gather(*(peon.publish(*parts) for _ in range(4)))
    assert sorted(len(answer["segments"]) for answer in answers) == [0, 0, 0, 20]
    assert len(await rows(pool)) == 20


async def test_a_thousand_segments_are_published_in_one_statement(overlord: AsyncClient, pool: Pool) -> None:
    peon, version = await locked(overlord)
    result = await peon.publish(*(segment(DAY, version, number, 1000) for number in range(1000)))
    assert len(result["segments"]) == 1000
    assert await pool.fetchval("SELECT count(*) FROM nemeton_task_segments WHERE task_id = 't1'") == 1000
    visible = await peon.perform("segmentListUsed", dataSource="web", intervals=[DAY])
    assert [each["shardSpec"]["partitionNum"] for each in visible] == list(range(1000))
