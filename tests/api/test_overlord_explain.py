"""Every task that does not run says why, with names and numbers."""

from typing import Any

import orjson
import pytest
from httpx import AsyncClient

from druid_core.runner import OPERATOR, AttemptState, PendingReason
from druid_core.status import TaskStatus
from overlord.db.pool import Pool
from tests.support.fake_runner import FakeRunner, update_status
from tests.support.overlord_calls import V1, explanation, in_state, submit, until
from tests.support.task_specs import index_parallel, kill, noop

DAY = ["2026-01-01/2026-01-02"]


@pytest.mark.route(
    "GET /druid/indexer/v1/task/{task_id}/explain",
    "added",
    "Why the task stands where it stands: the lock in its way and who holds it, its place in line for a slot, "
    "what the start of its pod waits for, as a code and a sentence",
)
async def test_a_lock_in_the_way_is_named_with_its_holder(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("holder", intervals=DAY, context={"priority": 60}))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, index_parallel("blocked", intervals=["2026-01-01T05:00/PT1H"], granularity="HOUR"))
    told = await explanation(overlord, "blocked")
    assert (told.runner_status_code, told.reason, told.attempt) == ("WAITING", "LOCK_HELD", 1)
    assert told.lock is not None
    assert told.lock.to_wire() == {
        "interval": "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z",
        "lockType": "EXCLUSIVE",
        "holderTaskId": "holder",
        "holderGroupId": "holder",
        "holderPriority": 60,
    }
    assert told.message == (
        "Task [holder] of priority 60 holds the EXCLUSIVE lock on 2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z "
        "of web; this task needs an EXCLUSIVE lock on 2026-01-01T05:00:00.000Z/2026-01-01T06:00:00.000Z and has "
        "priority 50"
    )


async def test_of_several_intervals_the_one_that_is_held_is_named(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("holder", intervals=["2026-02-01/2026-02-02"]))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, index_parallel("blocked", intervals=["2026-01-01/2026-01-02", "2026-02-01/2026-02-02"]))
    told = await explanation(overlord, "blocked")
    assert told.lock is not None
    assert told.lock.interval.start == "2026-02-01T00:00:00.000Z"


async def test_the_explanation_of_a_lock_goes_with_the_lock(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("holder", intervals=DAY))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, kill("next", DAY[0]))
    assert (await explanation(overlord, "next")).reason == "LOCK_HELD"
    await overlord.post(f"{V1}/task/holder/shutdown")
    await in_state(overlord, "next", "PENDING")
    told = await explanation(overlord, "next")
    assert (told.reason, told.lock) == ("NO_RUNNER", None)


async def test_without_a_runner_a_task_says_so(overlord: AsyncClient) -> None:
    await submit(overlord, noop("alone"))
    told = await explanation(overlord, "alone")
    assert (told.runner_status_code, told.reason) == ("PENDING", "NO_RUNNER")
    assert told.message == "No runner that takes tasks was heard of in the last 60 s"


async def test_the_place_in_line_is_that_of_the_assignment(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, capacity=1)
    await runner.announce()
    await submit(overlord, noop("runs"))
    running = await runner.take()
    for task_id, priority in (("third", 50), ("fourth", 50), ("first", 90), ("second", 60)):
        await submit(overlord, noop(task_id, context={"priority": priority}))
    line = ["first", "second", "third", "fourth"]
    told = [await explanation(overlord, task_id) for task_id in line]
    assert [each.place for each in told] == [1, 2, 3, 4]
    assert {each.reason for each in told} == {PendingReason.NO_SLOT}
    assert told[1].message == "Place 2 in line for a slot: the one slot is taken"

    await runner.run(running)
    for task_id in line:
        await update_status(overlord, running, TaskStatus.success(running.task_id, 1))
        await runner.report(running, AttemptState.ENDED)
        runner.attempts.clear()
        running = await runner.take()
        assert running.task_id == task_id


async def test_slots_of_other_runners_do_not_count_for_who_wishes_for_one(overlord: AsyncClient) -> None:
    wished = FakeRunner(overlord, "release", capacity=2, kind=OPERATOR)
    await wished.announce()
    for number in range(3):
        await submit(overlord, noop(f"picky-{number}"), **{"X-Nemeton-Runner": "release"})
    await wished.take()

    async def second_has_a_slot() -> bool:
        return (await explanation(overlord, "picky-1")).reason == PendingReason.ASSIGNED

    await until(second_has_a_slot)
    await submit(overlord, noop("easy"))
    await submit(overlord, noop("last"), **{"X-Nemeton-Runner": "release"})
    await submit(overlord, noop("absent"), **{"X-Nemeton-Runner": "nobody"})
    picky, easy, last = [await explanation(overlord, task_id) for task_id in ("picky-2", "easy", "last")]
    assert (picky.place, easy.place, last.place) == (1, 2, 3)
    assert last.message == "Place 3 in line for a slot: 2 of the 2 slots of the runner release are taken"
    absent = await explanation(overlord, "absent")
    assert absent.reason == "NO_RUNNER"
    assert absent.message == (
        "The runner nobody, which alone may take it, takes no tasks, or was not heard of, in the last 60 s"
    )


async def test_a_disabled_runner_has_no_slots(overlord: AsyncClient) -> None:
    await FakeRunner(overlord, "worker:1").announce()
    await overlord.post(f"{V1}/worker/worker:1/disable")
    await submit(overlord, noop("refused"))
    assert (await explanation(overlord, "refused")).reason == "NO_RUNNER"


async def test_an_assigned_task_names_its_runner(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, "worker:1")
    await submit(overlord, noop("given"))
    await runner.poll()
    told = await explanation(overlord, "given")
    assert (told.reason, told.runner_status_code) == ("ASSIGNED", "PENDING")
    assert "worker:1" in told.message
    assert (await runner.take()).task_id == "given"
    await runner.announce()
    told = await explanation(overlord, "given")
    assert (told.reason, told.message) == ("STARTING", "The runner worker:1 is starting its peon")


async def test_a_finished_task_shows_its_end(overlord: AsyncClient) -> None:
    await submit(overlord, noop("over"))
    await overlord.post(f"{V1}/task/over/shutdown")
    told = await explanation(overlord, "over")
    assert (told.reason, told.runner_status_code, told.status.status) == ("ENDED", "NONE", "FAILED")
    assert told.message == "The task ended as FAILED: Shutdown request from user"


async def test_a_task_that_druid_finished_is_explained_too(overlord: AsyncClient, pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active) "
        "VALUES ('foreign', '2026-01-01T00:00:00.000Z', 'none', '{}', $1, FALSE)",
        b'{"id":"foreign","status":"SUCCESS","duration":5,"errorMsg":null,"location":null}',
    )
    told = await explanation(overlord, "foreign")
    assert (told.reason, told.attempt, told.message) == ("ENDED", 0, "The task ended as SUCCESS")


@pytest.mark.route("POST /nemeton/v1/runner/explain", "added", "For runners: the same of many tasks")
async def test_many_are_explained_in_one_call_and_unknown_ones_left_out(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("holder", intervals=DAY))
    await in_state(overlord, "holder", "PENDING")
    await submit(overlord, index_parallel("blocked", intervals=DAY))
    asked = ["holder", "blocked", "unknown", "blocked"]
    answer = await overlord.post("/nemeton/v1/runner/explain", json=asked)
    assert {task_id: told["reason"] for task_id, told in answer.json().items()} == {
        "holder": "NO_RUNNER",
        "blocked": "LOCK_HELD",
    }


async def test_an_unknown_task_is_404_as_its_status_is(overlord: AsyncClient) -> None:
    answer, as_status = [await overlord.get(f"{V1}/task/unknown/{what}") for what in ("explain", "status")]
    assert (answer.status_code, answer.text) == (as_status.status_code, as_status.text)
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [{"a": 1}, [1], "x", None])
async def test_what_is_no_list_of_ids_is_refused(overlord: AsyncClient, body: Any) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await overlord.post("/nemeton/v1/runner/explain", content=orjson.dumps(body), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["errorMessage"] == "Expected a list of task ids"
