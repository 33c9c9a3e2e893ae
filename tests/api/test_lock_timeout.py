"""Tasks that wait for locks in the queue: for how long, and what they are told."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from overlord.db.pool import Pool
from overlord.task.release import adopt_strays, release_ready
from tests.support.overlord_calls import V1, in_state, status, submit, until
from tests.support.task_specs import index_parallel

DAY = ["2026-01-01/2026-01-02"]


async def failed(overlord: AsyncClient, task_id: str) -> str:
    """The errorMsg with which the task ends."""

    async def is_over() -> bool:
        return (await status(overlord, task_id))["statusCode"] == "FAILED"

    await until(is_over)
    return (await status(overlord, task_id))["errorMsg"]


async def test_a_task_that_waits_longer_for_its_locks_than_it_wants_fails_and_names_the_holder(
    overlord: AsyncClient,
) -> None:
    await submit(overlord, index_parallel("holder", intervals=DAY))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, index_parallel("hasty", intervals=DAY, context={"taskLockTimeout": 200}))
    await submit(overlord, index_parallel("patient", intervals=DAY))
    message = await failed(overlord, "hasty")
    assert message.startswith("No EXCLUSIVE lock on web after ")
    assert "(taskLockTimeout): task [holder] of priority 50 holds the EXCLUSIVE lock on 2026-01-01" in message
    await in_state(overlord, "patient", "WAITING")


async def test_a_task_whose_locks_are_free_in_time_runs(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("holder", intervals=DAY))
    await submit(overlord, index_parallel("waits", intervals=DAY, context={"taskLockTimeout": "60000"}))
    await in_state(overlord, "waits", "WAITING")
    await overlord.post(f"{V1}/task/holder/shutdown")
    await in_state(overlord, "waits", "PENDING")


async def test_a_free_lock_is_taken_even_after_the_time_is_over(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("at-once", intervals=DAY, context={"taskLockTimeout": 0}))
    await in_state(overlord, "at-once", "PENDING")


async def test_the_time_of_a_task_that_another_program_stored_begins_when_it_is_found(
    app: FastAPI, overlord: AsyncClient, pool: Pool
) -> None:
    await submit(overlord, index_parallel("holder", intervals=DAY))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, index_parallel("stored", intervals=DAY, context={"taskLockTimeout": 300}))
    await pool.execute("DELETE FROM nemeton_attempts WHERE task_id = 'stored'")
    await adopt_strays(app.state.replica)
    await in_state(overlord, "stored", "WAITING")
    assert "taskLockTimeout" in await failed(overlord, "stored")


@pytest.mark.parametrize("value", ["soon", -1, "-1", 1.5, True, [1], 10**18])
async def test_a_time_that_is_no_number_is_refused_by_name(overlord: AsyncClient, value: Any) -> None:
    response = await overlord.post(f"{V1}/task", json=index_parallel("x", context={"taskLockTimeout": value}))
    assert response.status_code == 400
    assert f"[taskLockTimeout] must be a whole number of milliseconds, not [{value}]" in response.json()["error"]


async def test_a_task_may_wait_for_a_month(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("patient", context={"taskLockTimeout": 30 * 86_400_000}))


async def test_a_kind_of_lock_that_there_is_not_is_refused_at_submission(overlord: AsyncClient) -> None:
    response = await overlord.post(f"{V1}/task", json=index_parallel("x", context={"taskLockType": "BOGUS"}))
    assert response.status_code == 400
    words = "context [taskLockType] must be one of EXCLUSIVE, SHARED, REPLACE, APPEND, not [BOGUS]"
    assert words in response.json()["error"]


@pytest.mark.parametrize("intervals", [["2020-01-01/2020-01-01"], ["2020-01-01/PT0S", "2021-01-01/2021-01-01"]])
async def test_intervals_without_any_time_in_them_are_refused(overlord: AsyncClient, intervals: list[str]) -> None:
    task = index_parallel("x", context={})
    task["spec"]["dataSchema"]["granularitySpec"]["intervals"] = intervals
    response = await overlord.post(f"{V1}/task", json=task)
    assert response.status_code == 400
    assert "hold no time" in response.json()["error"]


async def test_a_task_does_not_begin_with_a_lock_that_its_group_has_lost(
    app: FastAPI, overlord: AsyncClient, pool: Pool
) -> None:
    first = index_parallel("first", intervals=DAY) | {"groupId": "g"}
    await submit(overlord, first)
    await in_state(overlord, "first", "PENDING")
    await submit(overlord, index_parallel("robber", intervals=DAY, context={"priority": 99}))
    await in_state(overlord, "robber", "PENDING")
    await submit(overlord, index_parallel("second", intervals=DAY) | {"groupId": "g"})
    message = await failed(overlord, "second")
    assert message.startswith("Lock for interval [2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z] was revoked")
    assert await release_ready(app.state.replica) == 0


async def test_a_task_of_the_group_with_another_priority_fails_in_druids_words(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("first", intervals=DAY) | {"groupId": "g"})
    await in_state(overlord, "first", "PENDING")
    await submit(overlord, index_parallel("second", intervals=DAY, context={"priority": 60}) | {"groupId": "g"})
    message = await failed(overlord, "second")
    assert message.startswith(
        "priority[60] of task[second] is different from the existing lockPosse's priority[50]: tasks of group [g]"
    )


async def test_a_task_that_may_lock_segments_asks_for_its_locks_itself(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("holder", intervals=DAY))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, index_parallel("finer", intervals=DAY, context={"forceTimeChunkLock": False}))
    await in_state(overlord, "finer", "PENDING")
    replacing = index_parallel("whole", intervals=DAY, context={"forceTimeChunkLock": False})
    replacing["spec"]["ioConfig"]["dropExisting"] = True
    await submit(overlord, replacing)
    await in_state(overlord, "whole", "WAITING")
