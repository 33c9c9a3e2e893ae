"""Locks over HTTP: what peons of both kinds are answered, and what others are shown."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from overlord.db.pool import Pool, transaction
from overlord.task.settle import Ending, settle
from overlord.task.token import digest
from tests.support.actions import ACTION, Peon, segment, start
from tests.support.overlord_calls import in_state, submit
from tests.support.task_specs import index_parallel

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"


async def token_for(pool: Pool, task_id: str, token: str = "secret") -> dict[str, str]:
    """Give the task a running attempt with a token, as an assignment does."""
    await pool.execute(
        "UPDATE nemeton_attempts SET state = 'RUNNING', runner_id = 'r', token_sha256 = $2 WHERE task_id = $1",
        task_id,
        digest(token),
    )
    return {"Authorization": f"Bearer {token}"}


async def test_a_granted_lock_is_answered_without_its_granularity(overlord: AsyncClient) -> None:
    lock = await (await start(overlord, "t1", group="g")).lock(DAY)
    assert list(lock) == ["type", "groupId", "dataSource", "interval", "version", "priority", "revoked"]
    assert (lock["type"], lock["groupId"], lock["interval"]) == ("EXCLUSIVE", "g", DAY)
    assert (lock["priority"], lock["revoked"]) == (50, False)


async def test_a_refused_lock_is_null_and_no_error(overlord: AsyncClient) -> None:
    await (await start(overlord, "t1")).lock(DAY)
    assert await (await start(overlord, "t2")).lock(DAY) is None


async def test_a_lock_without_a_type_is_exclusive(overlord: AsyncClient) -> None:
    lock = await (await start(overlord, "t1")).perform("lockTryAcquire", lockType=None, interval=DAY)
    assert lock["type"] == "EXCLUSIVE"


async def test_a_lost_lock_is_answered_as_revoked(overlord: AsyncClient) -> None:
    low, high = await start(overlord, "low", priority=25), await start(overlord, "high", priority=75)
    await low.lock(DAY)
    assert (await high.lock(DAY))["revoked"] is False
    assert (await low.lock(DAY))["revoked"] is True
    assert [lock["revoked"] for lock in await low.perform("lockList")] == [True]


async def test_released_locks_are_free_for_others(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    await first.lock(DAY)
    assert await first.perform("lockRelease", interval=DAY) is None
    assert await first.perform("lockRelease", interval=DAY) is None
    assert await first.perform("lockList") == []
    assert await second.lock(DAY) is not None


async def test_a_finished_task_has_given_back_its_locks(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    await first.lock(DAY)
    await first.finish()
    assert await first.perform("lockList") == []
    assert await second.lock(DAY) is not None


async def test_waiting_for_a_lock_ends_with_null_when_its_time_is_over(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    await first.lock(DAY)
    assert await second.perform("lockAcquire", lockType="EXCLUSIVE", interval=DAY, timeoutMs=50) is None


async def test_waiting_for_a_lock_ends_when_it_is_released(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    await first.lock(DAY)
    waiting = asyncio.create_task(second.perform("lockAcquire", lockType="EXCLUSIVE", interval=DAY, timeoutMs=0))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert done == set()
    await first.finish()
    assert (await asyncio.wait_for(waiting, 10))["groupId"] == "t2"


async def test_an_inactive_task_is_refused_in_druids_words(overlord: AsyncClient) -> None:
    finished = await start(overlord, "done")
    await finished.finish()
    for peon in (finished, Peon(overlord, {"id": "nobody", "type": "noop"})):
        response = await peon.send("lockTryAcquire", lockType="EXCLUSIVE", interval=DAY)
        assert response.status_code == 500
        assert response.json() == {
            "error": f"org.apache.druid.java.util.common.ISE: Unable to grant lock to inactive Task [{peon.id}]"
        }
        assert await peon.perform("lockList") == []


async def test_the_stored_task_counts_and_not_the_posted_one(overlord: AsyncClient) -> None:
    await start(overlord, "t1", "web", priority=25)
    forged = Peon(overlord, {"id": "t1", "type": "noop", "groupId": "x", "dataSource": "other", "priority": 99})
    lock = await forged.lock(DAY)
    assert (lock["groupId"], lock["dataSource"], lock["priority"]) == ("t1", "web", 25)


@pytest.mark.route(
    "POST /druid/indexer/v1/action",
    "differs",
    "Java peons send their task and no token, ours a token: both work; what counts is the stored task",
)
async def test_our_peon_acts_for_its_own_task_with_its_token(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    bearer = await token_for(pool, "t1")
    response = await peon.send("lockTryAcquire", bearer, lockType="EXCLUSIVE", interval=DAY)
    assert response.status_code == 200
    assert response.json()["result"]["groupId"] == "t1"


async def test_the_token_of_a_voided_attempt_is_refused_for_good(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    bearer = await token_for(pool, "t1")
    await pool.execute("UPDATE nemeton_attempts SET state = 'LOST' WHERE task_id = 't1'")
    response = await peon.send("lockTryAcquire", bearer, lockType="EXCLUSIVE", interval=DAY)
    assert response.status_code == 403
    assert "void" in response.json()["errorMessage"]
    assert await peon.perform("lockList") == []


async def test_a_token_is_good_for_its_own_task_alone(overlord: AsyncClient, pool: Pool) -> None:
    await start(overlord, "t1")
    other = await start(overlord, "t2")
    response = await other.send("lockList", await token_for(pool, "t1"))
    assert response.status_code == 403


async def test_our_peon_is_told_that_a_refusal_is_final(overlord: AsyncClient, pool: Pool) -> None:
    peon = await start(overlord, "t1")
    bearer = await token_for(pool, "t1")
    await peon.finish()
    response = await peon.send("lockTryAcquire", bearer, lockType="EXCLUSIVE", interval=DAY)
    assert response.status_code in (403, 409)


async def test_what_is_not_an_action_is_refused(overlord: AsyncClient) -> None:
    task = {"type": "noop", "id": "t1"}
    answers: list[tuple[Any, int]] = [
        (b"{", 500),
        (b"", 400),
        (b"[]", 400),
        (b'{"task":{"id":"t1"}}', 400),
    ]
    for body, status in answers:
        response = await overlord.post(ACTION, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == status
    unknown = await overlord.post(ACTION, json={"task": task, "action": {"type": "dance"}})
    assert unknown.status_code == 400
    assert "known type ids = [lockAcquire" in unknown.json()["error"]
    assert (await overlord.post(ACTION, content=b"{}", headers={"Content-Type": "text/plain"})).status_code == 415


EARLIER = "2026-02-01T00:00:00.000Z"


async def lock_segments(peon: Peon, *partitions: int, interval: str = DAY, type: str = "EXCLUSIVE") -> Any:
    fields: dict[str, Any] = {"lockType": type, "interval": interval, "version": EARLIER, "partitionIds": partitions}
    return await peon.perform("segmentLockTryAcquire", **fields)


async def test_segment_locks_are_answered_one_by_one_with_their_granularity(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1", group="g"), await start(overlord, "t2")
    (lock,) = await lock_segments(first, 1)
    assert lock == {
        "taskLock": {
            "granularity": "segment",
            "type": "EXCLUSIVE",
            "groupId": "g",
            "dataSource": "web",
            "interval": DAY,
            "version": EARLIER,
            "partitionId": 1,
            "priority": 50,
            "revoked": False,
        },
        "newSegmentId": None,
        "revoked": False,
    }
    none = {"taskLock": None, "newSegmentId": None, "revoked": False}
    refused, granted = await lock_segments(second, 2, 1, 2)
    assert refused == none
    assert granted["taskLock"]["partitionId"] == 2
    assert await second.lock(DAY) is None


async def test_a_segment_lock_outlives_the_release_of_its_interval_and_is_listed(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    await lock_segments(peon, 0)
    await peon.perform("lockRelease", interval=DAY)
    (lock,) = await peon.perform("lockList")
    assert (lock["partitionId"], "granularity" in lock) == (0, False)
    assert await shown(overlord, "lockedIntervals/v2", {"datasource": "web"}) == {"web": [DAY]}
    active = await shown(overlord, "activeLocks", {"datasource": "web"})
    assert active == {"datasourceToLocks": {"web": [{"granularity": "segment"} | lock]}}


async def test_a_lost_segment_lock_is_answered_as_revoked_and_does_not_publish(
    overlord: AsyncClient, pool: Pool
) -> None:
    low, high = await start(overlord, "low", priority=25), await start(overlord, "high", priority=75)
    await lock_segments(low, 0)
    await high.lock(DAY)
    (lost,) = await lock_segments(low, 0)
    assert (lost["revoked"], lost["taskLock"]["revoked"]) == (True, True)
    assert (await low.publish(segment(DAY, EARLIER)))["success"] is False
    assert await pool.fetchval("SELECT count(*) FROM druid_segments") == 0


async def test_a_segment_lock_lets_its_own_partition_be_published_and_no_other(overlord: AsyncClient) -> None:
    peon = await start(overlord, "t1")
    await lock_segments(peon, 1)
    assert (await peon.send("segmentTransactionalInsert", segments=[segment(DAY, EARLIER, 0).to_wire()])).is_error
    assert (await peon.publish(segment(DAY, EARLIER, 1)))["success"] is True


async def test_waiting_for_a_segment_lock_ends_when_it_is_free_or_its_time_is_over(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1"), await start(overlord, "t2")
    await lock_segments(first, 0)
    wish = {"lockType": "EXCLUSIVE", "interval": DAY, "version": EARLIER, "partitionId": 0}
    in_vain = await second.perform("segmentLockAcquire", **wish, timeoutMs=50)
    assert in_vain == {"taskLock": None, "newSegmentId": None, "revoked": False}
    waiting = asyncio.create_task(second.perform("segmentLockAcquire", **wish, timeoutMs=0))
    await first.finish()
    assert (await asyncio.wait_for(waiting, 10))["taskLock"]["groupId"] == "t2"


async def test_a_task_of_the_group_with_another_priority_is_told_why_it_gets_no_lock(overlord: AsyncClient) -> None:
    await (await start(overlord, "t1", group="g")).lock(DAY)
    other = await start(overlord, "t2", group="g", priority=60)
    response = await other.send("lockTryAcquire", lockType="EXCLUSIVE", interval=DAY)
    assert response.status_code == 500
    assert "priority[60] of task[t2] is different from the existing lockPosse's priority[50]" in response.text
    assert await other.perform("lockList") == []


async def test_a_peon_that_starts_is_granted_the_very_lock_that_its_release_took(
    overlord: AsyncClient, pool: Pool
) -> None:
    task = index_parallel("again", intervals=["2026-01-01/2026-01-03"])
    await submit(overlord, task)
    await in_state(overlord, "again", "PENDING")
    peon = Peon(overlord, task)
    (taken,) = await peon.perform("lockList")
    assert await peon.lock("2026-01-01/2026-01-03") == await peon.lock("2026-01-02/2026-01-03") == taken
    assert await pool.fetchval("SELECT count(*) FROM druid_tasklocks") == 1


async def test_a_lock_is_upgraded_and_downgraded_in_its_place_while_no_other_group_stands_there(
    overlord: AsyncClient,
) -> None:
    one, other = await start(overlord, "t1"), await start(overlord, "t2")
    await one.lock(DAY, "SHARED")
    assert (await one.lock(DAY, "EXCLUSIVE"))["type"] == "EXCLUSIVE"
    assert await other.lock(DAY, "SHARED") is None
    assert (await one.lock(DAY, "SHARED"))["type"] == "SHARED"
    await one.perform("lockRelease", interval=DAY)
    await one.lock(DAY, "SHARED")
    assert (await other.lock(DAY, "SHARED"))["type"] == "SHARED"
    assert await one.lock(DAY, "EXCLUSIVE") is None, "another group shares the place"


async def test_locks_go_with_a_shutdown_and_with_the_death_of_a_runner(overlord: AsyncClient, pool: Pool) -> None:
    stopped = await start(overlord, "stopped")
    await stopped.lock(DAY)
    await overlord.post("/druid/indexer/v1/task/stopped/shutdown")
    dead = await start(overlord, "dead")
    assert await dead.lock(DAY) is not None
    async with transaction(pool) as tx:
        await tx.execute("UPDATE nemeton_attempts SET state = 'RUNNING', runner_id = 'r' WHERE task_id = 'dead'")
        await settle(tx, Ending("dead", 1, "its machine burnt"), max_attempts=1, now_ms=0)
    assert await pool.fetchval("SELECT count(*) FROM druid_tasklocks") == 0
    assert await (await start(overlord, "next")).lock(DAY) is not None


async def shown(overlord: AsyncClient, path: str, *filters: dict[str, Any]) -> Any:
    response = await overlord.post(f"/druid/indexer/v1/{path}", json=list(filters))
    assert response.status_code == 200
    return response.json()


@pytest.mark.route("POST /druid/indexer/v1/lockedIntervals/v2", "same")
async def test_locked_intervals_are_shown_by_datasource_and_priority(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1", group="g"), await start(overlord, "t2", group="g")
    await first.lock(DAY)
    await second.lock(DAY)
    await (await start(overlord, "t3", "other")).lock("2026/P1Y")
    assert await shown(overlord, "lockedIntervals/v2", {"datasource": "web", "priority": 0}) == {"web": [DAY]}
    assert await shown(overlord, "lockedIntervals/v2", {"datasource": "web", "priority": 51}) == {}
    assert await shown(overlord, "lockedIntervals/v2", {"datasource": "none"}) == {}


@pytest.mark.route("POST /druid/indexer/v1/activeLocks", "same")
async def test_active_locks_are_shown_once_with_their_granularity(overlord: AsyncClient) -> None:
    first, second = await start(overlord, "t1", group="g"), await start(overlord, "t2", group="g")
    lock = await first.lock(DAY)
    await second.lock(DAY)
    everything = await shown(overlord, "activeLocks", {"datasource": "web", "priority": 0})
    assert everything == {"datasourceToLocks": {"web": [{"granularity": "timeChunk"} | lock]}}
    elsewhere = await shown(overlord, "activeLocks", {"datasource": "web", "intervals": ["2027/P1Y"]})
    assert elsewhere == {"datasourceToLocks": {}}


async def test_revoked_locks_are_shown_to_nobody(overlord: AsyncClient) -> None:
    await (await start(overlord, "low", priority=25)).lock("2026/P1Y")
    await (await start(overlord, "high", priority=75)).lock(DAY)
    assert await shown(overlord, "lockedIntervals/v2", {"datasource": "web"}) == {"web": [DAY]}


async def test_append_locks_do_not_hinder_those_who_may_stand_beside_them(overlord: AsyncClient) -> None:
    await (await start(overlord, "t1")).lock(DAY, "APPEND")
    concurrent = {"datasource": "web", "context": {"useConcurrentLocks": True}}
    assert await shown(overlord, "lockedIntervals/v2", concurrent) == {}
    assert await shown(overlord, "activeLocks", concurrent) == {"datasourceToLocks": {}}
    assert await shown(overlord, "lockedIntervals/v2", {"datasource": "web"}) == {"web": [DAY]}


@pytest.mark.route("POST /druid/indexer/v1/lockedIntervals/v2", "same")
@pytest.mark.route("POST /druid/indexer/v1/activeLocks", "same")
async def test_a_listing_without_a_filter_is_refused(overlord: AsyncClient) -> None:
    for path in ("lockedIntervals/v2", "activeLocks"):
        response = await overlord.post(f"/druid/indexer/v1/{path}", json=[])
        assert (response.status_code, response.text) == (400, "No filter provided")
        assert (await overlord.post(f"/druid/indexer/v1/{path}")).status_code == 415
