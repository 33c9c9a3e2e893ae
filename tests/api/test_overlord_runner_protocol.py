"""A task's way from submission to its end, with a runner that does as it is told, or not."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from druid_core.runner import AttemptRef, AttemptState
from druid_core.status import StatusCode, TaskStatus
from overlord.db.pool import Pool
from overlord.replica import wall_clock_ms
from overlord.settings import OverlordSettings
from overlord.task import assign
from overlord.task.line import Place
from overlord.task.queue import TaskQueue
from tests.support.fake_runner import FakeRunner, update_status
from tests.support.overlord_calls import V1, Clock, in_state, replica, status, submit, until
from tests.support.task_specs import index_parallel, kill, noop


@pytest.mark.route("POST /nemeton/v1/runner/announce", "added", "For runners: they pull, and nobody calls them")
@pytest.mark.route("POST /nemeton/v1/runner/assignments", "added", "For runners: their orders, by long poll")
@pytest.mark.route("POST /nemeton/v1/runner/report", "added", "For runners: what they see of their attempts")
async def test_a_noop_goes_from_submission_to_success(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("quick"))
    assignment = await runner.take()
    assert (assignment.task_id, assignment.attempt, assignment.type) == ("quick", 1, "noop")
    await runner.run(assignment, port=8123)
    shown = await status(overlord, "quick")
    assert shown["runnerStatusCode"] == "RUNNING"
    assert shown["location"] == {"host": "127.0.0.1", "port": 8123, "tlsPort": -1}

    assert await update_status(overlord, assignment, TaskStatus.success("quick", 42)) == 200
    shown = await status(overlord, "quick")
    assert (shown["statusCode"], shown["duration"]) == ("SUCCESS", 42)
    assert shown["runnerStatusCode"] == "WAITING"
    assert shown["location"]["port"] == 8123, "the place of a finished peon stays known"

    await runner.report(assignment, AttemptState.ENDED, reason="exit code 0")
    orders = await runner.poll(0)
    assert [ref.task_id for ref in orders.forget] == ["quick"]
    assert (await status(overlord, "quick"))["statusCode"] == "SUCCESS"


async def test_an_assignment_is_handed_out_again_until_the_runner_lists_it(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("again"))
    first = (await runner.poll()).start
    second = (await runner.announce()).start
    assert first == second, "the same attempt, the same token"
    runner.attempts.append(AttemptRef(task_id="again", attempt=1))
    assert (await runner.announce()).start == []


async def test_a_long_poll_ends_when_a_task_comes(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await runner.announce()
    waiting = asyncio.create_task(runner.poll(20))
    await asyncio.sleep(0.1)
    started = asyncio.get_running_loop().time()
    await submit(overlord, noop("wake"))
    orders = await waiting
    assert [each.task_id for each in orders.start] == ["wake"]
    assert asyncio.get_running_loop().time() - started < 3


async def test_no_more_tasks_are_assigned_than_there_are_slots(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, capacity=2)
    for number in range(4):
        await submit(overlord, noop(f"task-{number}"))
    await runner.announce()

    async def two_assigned() -> bool:
        return len((await runner.announce()).start) == 2

    await until(two_assigned)
    assert [each.task_id for each in (await runner.announce()).start] == ["task-0", "task-1"]
    pending = (await overlord.get(f"{V1}/pendingTasks")).json()
    assert len(pending) == 4
    capacity = (await overlord.get(f"{V1}/totalWorkerCapacity")).json()
    assert capacity == {"currentClusterCapacity": 2, "maximumCapacityWithAutoScale": -1, "usedClusterCapacity": 2}


async def test_the_highest_priority_goes_first_and_then_the_oldest(overlord: AsyncClient) -> None:
    await submit(overlord, noop("old"))
    await submit(overlord, noop("older-is-not-all", context={"priority": 90}))
    await submit(overlord, noop("young"))
    runner = FakeRunner(overlord, capacity=2)
    await runner.announce()

    async def assigned() -> bool:
        return len((await runner.announce()).start) == 2

    await until(assigned)
    assert [each.task_id for each in (await runner.announce()).start] == ["older-is-not-all", "old"]


async def test_tasks_are_spread_over_the_least_loaded_runners(overlord: AsyncClient, pool: Pool) -> None:
    runners = [FakeRunner(overlord, f"worker-{number}:8091", capacity=4) for number in range(2)]
    for runner in runners:
        await runner.announce()
    for number in range(4):
        await submit(overlord, noop(f"spread-{number}"))

    async def all_assigned() -> bool:
        return await pool.fetchval("SELECT count(*) FROM nemeton_attempts WHERE state = 'ASSIGNED'") == 4

    await until(all_assigned)
    counts = await pool.fetch("SELECT count(*) FROM nemeton_attempts GROUP BY runner_id")
    assert sorted(row[0] for row in counts) == [2, 2]


async def test_a_peon_that_ends_without_a_word_fails_with_the_reason(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("killed"))
    assignment = await runner.take()
    await runner.run(assignment)
    await runner.report(assignment, AttemptState.ENDED, reason="killed by signal 9 (SIGKILL)")
    shown = await status(overlord, "killed")
    assert shown["statusCode"] == "FAILED"
    assert shown["errorMsg"] == "The peon ended without reporting a status: killed by signal 9 (SIGKILL)"
    assert shown["duration"] >= 0


async def test_the_status_file_counts_when_the_peon_could_not_speak(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("filed"))
    assignment = await runner.take()
    await runner.run(assignment)
    written = TaskStatus.success("filed", 7)
    await runner.report(assignment, AttemptState.ENDED, status=written, reason="exit code 0")
    shown = await status(overlord, "filed")
    assert (shown["statusCode"], shown["duration"]) == ("SUCCESS", 7)


async def test_the_status_file_of_another_task_does_not_count(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("mine"))
    assignment = await runner.take()
    await runner.report(assignment, AttemptState.ENDED, status=TaskStatus.success("other", 7), reason="exit code 0")
    assert (await status(overlord, "mine"))["statusCode"] == "FAILED"


async def test_what_was_published_stays_published(overlord: AsyncClient, pool: Pool) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, index_parallel("published"))
    assignment = await runner.take()
    await runner.run(assignment)
    await pool.execute("INSERT INTO nemeton_task_segments VALUES ('published', 'web_2026')")
    await runner.report(assignment, AttemptState.ENDED, reason="killed by signal 9 (SIGKILL)")
    assert (await status(overlord, "published"))["statusCode"] == "SUCCESS"
    assert (await overlord.get(f"{V1}/task/published/segments")).json() == ["web_2026"]


async def test_reports_may_be_repeated_and_come_late(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("late"))
    assignment = await runner.take()
    await runner.run(assignment)
    await update_status(overlord, assignment, TaskStatus.success("late", 1))
    for _ in range(2):
        await runner.report(assignment, AttemptState.ENDED, reason="exit code 0")
    await runner.report(assignment, AttemptState.RUNNING)
    assert (await status(overlord, "late"))["statusCode"] == "SUCCESS"
    assert [ref.task_id for ref in (await runner.announce()).forget] == ["late"]


async def test_a_final_status_never_changes(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("final"))
    assignment = await runner.take()
    await runner.run(assignment)
    await overlord.post(f"{V1}/task/final/shutdown")
    await update_status(overlord, assignment, TaskStatus.success("final", 1))
    await runner.report(assignment, AttemptState.ENDED, status=TaskStatus.success("final", 1))
    shown = await status(overlord, "final")
    assert (shown["statusCode"], shown["errorMsg"]) == ("FAILED", "Shutdown request from user")
    assert shown["duration"] == -1


async def test_a_shutdown_wakes_the_runner_with_an_order_to_stop(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("stop"))
    assignment = await runner.take()
    await runner.run(assignment)
    waiting = asyncio.create_task(runner.poll(20))
    await asyncio.sleep(0.1)
    assert (await overlord.post(f"{V1}/task/stop/shutdown")).json() == {"task": "stop"}
    orders = await asyncio.wait_for(waiting, 3)
    assert [ref.task_id for ref in orders.stop] == ["stop"]
    assert (await status(overlord, "stop"))["statusCode"] == "FAILED"


async def test_a_pending_task_that_is_shut_down_never_reaches_a_runner(overlord: AsyncClient) -> None:
    await submit(overlord, noop("never"))
    await overlord.post(f"{V1}/task/never/shutdown")
    await submit(overlord, noop("next"))
    assert (await FakeRunner(overlord).take()).task_id == "next"


async def test_an_attempt_that_nobody_knows_is_stopped_and_forgotten(overlord: AsyncClient) -> None:
    stranger = AttemptRef(task_id="stranger", attempt=3)
    runner = FakeRunner(overlord, attempts=[stranger])
    assert (await runner.announce()).stop == [stranger]
    await runner.report(stranger, AttemptState.ENDED, reason="killed by signal 15 (SIGTERM)")
    assert (await runner.announce()).forget == [stranger]


async def test_a_runner_that_comes_back_under_another_address_keeps_its_work(overlord: AsyncClient) -> None:
    before = FakeRunner(overlord, "host:8091")
    await submit(overlord, noop("moved"))
    assignment = await before.take()
    await before.run(assignment)
    after = FakeRunner(overlord, "host:9999", attempts=before.attempts)
    orders = await after.announce()
    assert (orders.stop, orders.forget) == ([], [])
    await after.report(assignment, AttemptState.ENDED, status=TaskStatus.success("moved", 5))
    assert (await status(overlord, "moved"))["statusCode"] == "SUCCESS"


@pytest.mark.route("GET /nemeton/v1/task/{task_id}/payload", "added", "For the peon of the task, with its token")
async def test_the_payload_is_for_the_peon_of_the_task_alone(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("secret"))
    await submit(overlord, noop("other"))
    mine, other = await runner.take(), await runner.take()

    async def read(token: str | None) -> int:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return (await overlord.get("/nemeton/v1/task/secret/payload", headers=headers)).status_code

    assert await read(mine.token) == 200
    assert [await read(other.token), await read("nonsense"), await read(None)] == [403, 403, 403]
    await runner.report(mine, AttemptState.ENDED, reason="exit code 1")
    assert await read(mine.token) == 403, "the token of an attempt that is over is void"


async def test_a_task_waits_for_its_locks_and_is_released_when_they_are_free(overlord: AsyncClient) -> None:
    day = ["2026-01-01/2026-01-02"]
    await submit(overlord, index_parallel("first", intervals=day))
    await in_state(overlord, "first", "PENDING")
    await submit(overlord, index_parallel("second", intervals=["2026-01-01T05:00/2026-01-01T06:00"]))
    await submit(overlord, index_parallel("elsewhere", data_source="other", intervals=day))
    await in_state(overlord, "elsewhere", "PENDING")
    assert (await status(overlord, "second"))["runnerStatusCode"] == "WAITING", "its hour is in the locked day"
    waiting = (await overlord.get(f"{V1}/waitingTasks")).json()
    assert [task["id"] for task in waiting] == ["second"]
    await overlord.post(f"{V1}/task/first/shutdown")
    await in_state(overlord, "second", "PENDING")


async def test_a_task_gets_all_its_locks_or_none(overlord: AsyncClient, pool: Pool) -> None:
    await submit(overlord, index_parallel("holder", intervals=["2026-02-01/2026-02-02"]))
    await in_state(overlord, "holder", "PENDING")
    apart = ["2026-01-01/2026-01-02", "2026-02-01/2026-02-02"]
    await submit(overlord, index_parallel("greedy", intervals=apart))
    await submit(overlord, kill("after", "2026-01-01/2026-01-02"))
    await in_state(overlord, "after", "PENDING")
    held = await pool.fetchval("SELECT count(*) FROM druid_tasklocks WHERE task_id = 'greedy'")
    assert held == 0, "what it could have is not kept while it waits for the rest"


async def test_a_task_without_intervals_does_not_wait_for_locks(overlord: AsyncClient) -> None:
    await submit(overlord, index_parallel("holder", intervals=["2026-01-01/2026-01-02"]))
    await submit(overlord, index_parallel("free"))
    assert (await status(overlord, "free"))["runnerStatusCode"] == "PENDING"


async def test_rows_that_druid_inserted_are_run(app: FastAPI, overlord: AsyncClient, pool: Pool) -> None:
    payload = b'{"type":"noop","id":"foreign","groupId":"foreign","dataSource":"none","runTime":1,"context":{}}'
    await pool.execute(
        "INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active) "
        "VALUES ('foreign', '2026-01-01T00:00:00.000Z', 'none', $1, $2, TRUE)",
        payload,
        b'{"id":"foreign","status":"RUNNING","duration":-1,"errorMsg":null,"location":null}',
    )
    queue = TaskQueue(app.state.replica)
    await until(queue.advance)
    assert (await FakeRunner(overlord).take()).task_id == "foreign"


async def test_the_tasks_of_a_silent_runner_fail_and_it_is_told_to_stop_them(settings: OverlordSettings) -> None:
    clock = Clock()
    async with replica(settings.model_copy(update={"queue_interval_ms": 20}), clock) as (_, client):
        silent, heard = FakeRunner(client, "silent:1", capacity=1), FakeRunner(client, "heard:1", capacity=1)
        for runner in (silent, heard):
            await submit(client, noop(runner.runner_id[:5]))
            await runner.run(await runner.take())
        for _ in range(7):
            # in steps shorter than the time after which the Overlord would think that it had slept itself
            clock.now_ms += 20_000
            await heard.announce()
            await asyncio.sleep(0.1)

        async def failed() -> bool:
            return (await status(client, "silen"))["statusCode"] == "FAILED"

        await until(failed)
        assert "the runner silent:1 was not heard of for 60 s" in (await status(client, "silen"))["errorMsg"]
        assert (await status(client, "heard"))["statusCode"] == "RUNNING"
        assert [ref.task_id for ref in (await silent.announce()).stop] == ["silen"], "it came back: its peon is void"


async def test_runners_are_not_blamed_for_the_sleep_of_the_overlord(settings: OverlordSettings) -> None:
    clock = Clock()
    async with replica(settings.model_copy(update={"queue_interval_ms": 20}), clock) as (_, client):
        runner = FakeRunner(client)
        await submit(client, noop("asleep"))
        await runner.run(await runner.take())
        clock.now_ms += 3_600_000
        await asyncio.sleep(0.3)
        assert (await status(client, "asleep"))["statusCode"] == "RUNNING"


async def test_no_task_is_assigned_twice_by_two_replicas(settings: OverlordSettings, pool: Pool) -> None:
    async with AsyncExitStack() as stack:
        clients = [(await stack.enter_async_context(replica(settings, wall_clock_ms)))[1] for _ in range(2)]
        runners = [FakeRunner(clients[number % 2], f"worker-{number}:1", capacity=3) for number in range(4)]
        for runner in runners:
            await runner.announce()
        tasks = [noop(f"once-{number}") for number in range(40)]
        await asyncio.gather(*(submit(clients[number % 2], task) for number, task in enumerate(tasks)))
        seen: list[tuple[str, str]] = []

        async def work(runner: FakeRunner) -> None:
            while len(seen) < len(tasks):
                for assignment in (await runner.poll(0.3)).start:
                    ref = AttemptRef(task_id=assignment.task_id, attempt=assignment.attempt)
                    if ref in runner.attempts:
                        continue
                    runner.attempts.append(ref)
                    seen.append((runner.runner_id, assignment.task_id))
                    done = TaskStatus.success(assignment.task_id, 1)
                    await update_status(runner.client, assignment, done)
                    await runner.report(assignment, AttemptState.ENDED, status=done)

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(runner) for runner in runners))
        assert sorted(task for _, task in seen) == sorted(task["id"] for task in tasks)
        finished = await pool.fetchval("SELECT count(*) FROM druid_tasks WHERE NOT active")
        assert finished == len(tasks)
        assert await pool.fetchval("SELECT max(attempt) FROM nemeton_attempts") == 1


async def test_a_replica_that_dies_leaves_nothing_undone(settings: OverlordSettings) -> None:
    async with replica(settings, wall_clock_ms) as (_, client):
        await submit(client, noop("outlives"))
        runner = FakeRunner(client)
        assignment = await runner.take()
    async with replica(settings, wall_clock_ms) as (_, client):
        runner.client = client
        await runner.run(assignment)
        assert await update_status(client, assignment, TaskStatus.success("outlives", 1)) == 200
        assert (await status(client, "outlives"))["statusCode"] == StatusCode.SUCCESS


@pytest.mark.route("POST /druid/indexer/v1/worker/{host}/disable", "same")
@pytest.mark.parametrize("action", ["disable", "enable"])
async def test_a_disabled_worker_gets_no_more_work(overlord: AsyncClient, action: str) -> None:
    runner = FakeRunner(overlord, "worker:8091")
    await runner.announce()
    answer = await overlord.post(f"{V1}/worker/worker:8091/{action}")
    assert answer.json() == {"worker:8091": f"{action}d"}
    await submit(overlord, noop("disabled"))
    orders = await runner.poll(0.5)
    assert bool(orders.start) == (action == "enable")
    worker = (await overlord.get(f"{V1}/workers")).json()[0]["worker"]
    assert worker["version"] == ("" if action == "disable" else "0")


async def test_a_worker_disabled_in_the_midst_of_a_pass_gets_no_more_work(
    overlord: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_in_line, passes = assign.next_in_line, list[int]()

    async def disabled_meanwhile(*args: Any, **kwargs: Any) -> list[Place]:
        line = await next_in_line(*args, **kwargs)
        if line:
            assert (await overlord.post(f"{V1}/worker/worker:8091/disable")).status_code == 200
            passes.append(len(line))
        return line

    monkeypatch.setattr(assign, "next_in_line", disabled_meanwhile)
    runner = FakeRunner(overlord, "worker:8091")
    await runner.announce()
    await submit(overlord, noop("late"))
    assert not (await runner.poll(1)).start
    assert passes == [1], "the pass had found the runner enabled"
    assert (await status(overlord, "late"))["runnerStatusCode"] == "PENDING"
