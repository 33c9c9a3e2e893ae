"""Attempts in pods: who may take a task, what becomes of it when one dies, and what its runner is told then."""

import asyncio
from typing import Any

import pytest
from httpx import AsyncClient

from druid_core.runner import OPERATOR, AttemptRef, AttemptState
from druid_core.status import StatusCode, TaskLocation, TaskStatus
from overlord.db.pool import Pool
from overlord.settings import OverlordSettings
from overlord.task.queue import TaskQueue
from tests.support.fake_runner import FakeRunner, update_status
from tests.support.overlord_calls import V1, Clock, explanation, in_state, replica, status, submit, until
from tests.support.task_specs import index_parallel, noop

SUBMITTER = "X-Nemeton-Submitter"
RUNNER = "X-Nemeton-Runner"
LOST: dict[str, Any] = {"reason": "node [n1] was lost", "cause": "NodeLost"}


def operator(client: AsyncClient, capacity: int = 10) -> FakeRunner:
    return FakeRunner(client, "release", capacity, kind=OPERATOR)


async def test_the_same_submission_by_the_same_submitter_runs_once(overlord: AsyncClient, pool: Pool) -> None:
    for _ in range(3):
        assert await submit(overlord, noop("mine"), **{SUBMITTER: "uid-1"}) == "mine"
    assert await pool.fetchval("SELECT count(*) FROM nemeton_attempts") == 1


@pytest.mark.parametrize("headers", [{SUBMITTER: "uid-2"}, {}])
async def test_an_id_of_another_submitter_is_refused_as_druid_does(
    overlord: AsyncClient, headers: dict[str, str]
) -> None:
    await submit(overlord, noop("mine"), **{SUBMITTER: "uid-1"})
    refused = await overlord.post(f"{V1}/task", json=noop("mine"), headers=headers)
    assert (refused.status_code, refused.json()["errorCode"]) == (400, "entryAlreadyExists")


async def test_a_submitter_cannot_claim_what_came_without_one(overlord: AsyncClient) -> None:
    await submit(overlord, noop("by-rest"))
    refused = await overlord.post(f"{V1}/task", json=noop("by-rest"), headers={SUBMITTER: "uid-1"})
    assert refused.status_code == 400


async def test_two_submissions_at_once_by_one_submitter_are_one(overlord: AsyncClient, pool: Pool) -> None:
    headers = {SUBMITTER: "uid-1"}
    answers = await asyncio.gather(*(overlord.post(f"{V1}/task", json=noop("race"), headers=headers) for _ in range(5)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, '{"task":"race"}')}
    assert await pool.fetchval("SELECT count(*) FROM nemeton_attempts") == 1


@pytest.mark.parametrize("header", [SUBMITTER, RUNNER])
async def test_a_name_that_nobody_has_is_refused(overlord: AsyncClient, header: str) -> None:
    refused = await overlord.post(f"{V1}/task", json=noop("named"), headers={header: "x" * 256})
    assert refused.status_code == 400
    assert header in refused.json()["errorMessage"]


async def test_a_wish_for_a_runner_is_kept_however_idle_others_are(overlord: AsyncClient) -> None:
    others, wished = FakeRunner(overlord, "other:1"), operator(overlord)
    await others.announce()
    await submit(overlord, noop("picky"), **{RUNNER: "release"})
    await submit(overlord, noop("easy"))
    assert (await others.take()).task_id == "easy", "who has no wish passes who waits for its runner"
    assert (await others.poll(0.3)).start == []
    assert (await wished.take()).task_id == "picky"


async def test_a_full_runner_that_is_wished_for_blocks_nobody_else(overlord: AsyncClient) -> None:
    wished, other = operator(overlord, capacity=1), FakeRunner(overlord, "other:1", capacity=1)
    await wished.announce()
    await other.announce()
    for number in range(4):
        await submit(overlord, noop(f"picky-{number}"), **{RUNNER: "release"})
    await wished.take()
    await submit(overlord, noop("easy"))
    assert (await other.take()).task_id == "easy"


async def test_a_lost_attempt_is_followed_by_another_with_the_same_locks(overlord: AsyncClient, pool: Pool) -> None:
    runner = operator(overlord)
    await submit(overlord, index_parallel("again", intervals=["2026-01-01/2026-01-02"]), **{SUBMITTER: "u"})
    first = await runner.take()
    await runner.run(first)
    locks = await pool.fetch("SELECT id, lock_payload FROM druid_tasklocks WHERE task_id = 'again'")
    await runner.report(first, AttemptState.ENDED, retry_after_ms=0, **LOST)
    shown = await status(overlord, "again")
    assert (shown["statusCode"], shown["runnerStatusCode"], shown["location"]["host"]) == ("RUNNING", "PENDING", None)

    orders = await runner.poll()
    assert orders.forget == [AttemptRef(task_id="again", attempt=1)]
    [outcome] = orders.outcomes
    assert (outcome.status.status, outcome.next_attempt, outcome.segments_published) == (StatusCode.RUNNING, 2, 0)
    runner.attempts.clear()
    second = await runner.take()
    assert (second.task_id, second.attempt, second.group_id) == ("again", 2, first.group_id)
    assert second.token != first.token
    assert second.context == first.context
    assert await pool.fetch("SELECT id, lock_payload FROM druid_tasklocks WHERE task_id = 'again'") == locks
    assert await pool.fetchval("SELECT submitter FROM nemeton_attempts WHERE attempt = 2") == "u"

    await runner.run(second)
    assert await update_status(overlord, second, TaskStatus.success("again", 3)) == 200
    assert (await status(overlord, "again"))["statusCode"] == "SUCCESS"


async def test_the_token_of_an_attempt_is_void_once_another_follows(overlord: AsyncClient) -> None:
    runner = operator(overlord)
    await submit(overlord, noop("void"))
    first = await runner.take()
    await runner.run(first)
    await runner.report(first, AttemptState.ENDED, retry_after_ms=0, **LOST)
    assert await update_status(overlord, first, TaskStatus.success("void", 1)) == 403
    headers = {"Authorization": f"Bearer {first.token}"}
    payload = await overlord.get("/nemeton/v1/task/void/payload", headers=headers)
    assert (payload.status_code, payload.json()["errorCode"]) == (403, "forbidden")
    for action in ({"type": "lockList"}, {"type": "updateLocation", "location": {"host": "h", "port": 1}}):
        body = {"task": {"id": "void"}, "action": action}
        assert (await overlord.post(f"{V1}/action", json=body, headers=headers)).status_code == 403
    assert (await status(overlord, "void"))["statusCode"] == "RUNNING"


async def test_the_end_of_an_attempt_may_be_reported_twice(overlord: AsyncClient, pool: Pool) -> None:
    runner = operator(overlord)
    await submit(overlord, noop("twice"))
    first = await runner.take()
    await runner.run(first)
    for _ in range(2):
        await runner.report(first, AttemptState.ENDED, retry_after_ms=0, **LOST)
    assert await pool.fetchval("SELECT max(attempt) FROM nemeton_attempts") == 2
    ended = await pool.fetchrow("SELECT state, cause, reason FROM nemeton_attempts WHERE attempt = 1")
    assert ended is not None
    assert tuple(ended) == ("ENDED", "NodeLost", "node [n1] was lost")


async def test_a_published_task_is_not_tried_again(overlord: AsyncClient, pool: Pool) -> None:
    runner = operator(overlord)
    await submit(overlord, index_parallel("published"))
    first = await runner.take()
    await runner.run(first)
    await pool.execute("INSERT INTO nemeton_task_segments VALUES ('published', 's1'), ('published', 's2')")
    await runner.report(first, AttemptState.ENDED, retry_after_ms=0, **LOST)
    [outcome] = (await runner.announce()).outcomes
    assert (outcome.status.status, outcome.segments_published, outcome.next_attempt) == ("SUCCESS", 2, None)


async def test_a_task_that_was_shut_down_is_not_tried_again(overlord: AsyncClient, pool: Pool) -> None:
    runner = operator(overlord)
    await submit(overlord, noop("stopped"))
    first = await runner.take()
    await runner.run(first)
    await overlord.post(f"{V1}/task/stopped/shutdown")
    await runner.report(first, AttemptState.ENDED, retry_after_ms=0, **LOST)
    assert await pool.fetchval("SELECT max(attempt) FROM nemeton_attempts") == 1
    [outcome] = (await runner.announce()).outcomes
    assert outcome.status.error_msg == "Shutdown request from user"


async def test_attempts_end_at_the_limit(settings: OverlordSettings) -> None:
    async with replica(settings.model_copy(update={"max_attempts": 2})) as (_, client):
        runner = operator(client)
        await submit(client, noop("limited"))
        for _ in range(2):
            assignment = await runner.take()
            await runner.run(assignment)
            await runner.report(assignment, AttemptState.ENDED, retry_after_ms=0, **LOST)
            runner.attempts.clear()
        shown = await status(client, "limited")
        assert shown["statusCode"] == "FAILED"
        assert "node [n1] was lost; this was attempt 2, and max_attempts [2] allows no other" in shown["errorMsg"]


async def test_the_next_attempt_is_not_handed_out_before_its_time(settings: OverlordSettings) -> None:
    clock = Clock()
    async with replica(settings.model_copy(update={"queue_interval_ms": 20}), clock) as (_, client):
        runner = operator(client)
        await submit(client, noop("later"))
        first = await runner.take()
        await runner.run(first)
        await runner.report(first, AttemptState.ENDED, retry_after_ms=5000, **LOST)
        runner.attempts.clear()
        assert (await runner.poll(0.3)).start == []
        told = await explanation(client, "later")
        assert told.reason == "BACKING_OFF"
        assert "Attempt 1 ended: node [n1] was lost" in told.message
        clock.now_ms += 5001
        assert (await runner.take()).attempt == 2


async def test_what_a_start_waits_for_is_told_until_it_has_started(overlord: AsyncClient) -> None:
    runner = operator(overlord)
    await submit(overlord, noop("slow"))
    assignment = await runner.take()
    words = "0/1 nodes are available: 1 Insufficient cpu"
    await runner.report(assignment, AttemptState.STARTING, waiting_for=words)
    told = await explanation(overlord, "slow")
    assert (told.reason, told.message, told.runner_status_code) == ("STARTING", words, "PENDING")
    location = TaskLocation(host="10.0.0.7", port=8100, k8s_pod_name="slow-abc")
    await runner.report(assignment, AttemptState.RUNNING, location=location)
    told = await explanation(overlord, "slow")
    assert (told.reason, told.message) == ("RUNNING", "Its peon runs in pod slow-abc at 10.0.0.7:8100")


async def test_an_attempt_that_has_no_pod_yet_says_why_and_is_ordered_again(overlord: AsyncClient) -> None:
    """As where a quota is used up: the operator has made nothing of it, and one that starts anew knows nothing."""
    runner = operator(overlord)
    await submit(overlord, noop("refused"))
    assignment = (await runner.poll()).start[0]
    words = "exceeded quota: small"
    await runner.report(assignment, AttemptState.STARTING, waiting_for=words)
    told = await explanation(overlord, "refused")
    assert (told.reason, told.message, told.runner_status_code) == ("STARTING", words, "PENDING")
    assert (await runner.poll(0.3)).start == [assignment], "it is neither lost nor another attempt"
    runner.attempts = [AttemptRef(task_id="refused", attempt=1)]
    assert (await runner.announce()).start == []
    await runner.report(assignment, AttemptState.STARTING)
    told = await explanation(overlord, "refused")
    assert (told.reason, "quota" in told.message) == ("STARTING", False)


async def test_the_location_of_a_pod_has_its_name(overlord: AsyncClient) -> None:
    runner = operator(overlord)
    await submit(overlord, noop("placed"))
    assignment = await runner.take()
    location = TaskLocation(host="10.0.0.7", port=8100, k8s_pod_name="placed-abc")
    await runner.report(assignment, AttemptState.RUNNING, location=location)
    shown = {"host": "10.0.0.7", "port": 8100, "tlsPort": -1, "k8sPodName": "placed-abc"}
    assert (await status(overlord, "placed"))["location"] == shown
    statuses = (await overlord.post(f"{V1}/taskStatus", json=["placed"])).json()
    assert statuses["placed"]["location"] == shown
    await update_status(overlord, assignment, TaskStatus.success("placed", 1))
    assert (await status(overlord, "placed"))["location"] == shown


async def test_the_outcome_reaches_an_operator_before_the_pod_has_ended(overlord: AsyncClient) -> None:
    runner = operator(overlord)
    await submit(overlord, noop("outcome"))
    assignment = await runner.take()
    await runner.run(assignment)
    await runner.poll(0)
    waiting = asyncio.create_task(runner.poll(20))
    await asyncio.sleep(0.2)
    await update_status(overlord, assignment, TaskStatus.success("outcome", 9))
    [outcome] = (await asyncio.wait_for(waiting, 5)).outcomes
    assert (outcome.status.status, outcome.status.duration, outcome.next_attempt) == ("SUCCESS", 9, None)


async def test_a_runner_of_processes_is_not_woken_by_outcomes(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord)
    await submit(overlord, noop("quiet"))
    assignment = await runner.take()
    await runner.run(assignment)
    await runner.poll(0)
    await update_status(overlord, assignment, TaskStatus.success("quiet", 9))
    assert (await runner.poll(0)).outcomes == []


async def test_an_unknown_attempt_of_an_operator_has_an_outcome_that_says_so(overlord: AsyncClient) -> None:
    runner = operator(overlord)
    runner.attempts = [AttemptRef(task_id="stranger", attempt=1)]
    orders = await runner.announce()
    assert orders.stop == runner.attempts
    [outcome] = orders.outcomes
    assert (outcome.status.status, outcome.status.error_msg) == (
        "FAILED",
        "The Overlord knows no task of this id",
    )


async def test_pods_outlast_the_silence_of_their_operator(settings: OverlordSettings) -> None:
    clock = Clock()
    async with replica(settings, clock) as (app, client):
        runner = operator(client)
        await submit(client, noop("alive"))
        await runner.run(await runner.take())
        queue = TaskQueue(app.state.replica)

        async def pass_time(seconds: int) -> None:
            for _ in range(seconds // 20):
                clock.now_ms += 20_000
                await until(queue.advance)

        await pass_time(600)
        assert (await status(client, "alive"))["statusCode"] == "RUNNING"
        await pass_time(400)
        assert "the runner release was not heard of for 900 s" in (await status(client, "alive"))["errorMsg"]


async def test_a_list_of_reports_is_taken_whole(overlord: AsyncClient, pool: Pool) -> None:
    runner = operator(overlord)
    for number in range(6):
        await submit(overlord, noop(f"many-{number}"))
    await runner.announce()

    async def all_assigned() -> bool:
        return len((await runner.announce()).start) == 6

    await until(all_assigned)
    started = (await runner.announce()).start
    runner.attempts = [AttemptRef(task_id=each.task_id, attempt=1) for each in started]
    await runner.report_all(
        [
            report
            for each in started
            for report in (
                runner.seen(each, AttemptState.STARTING, waiting_for="an image"),
                runner.seen(each, AttemptState.RUNNING, location=TaskLocation(host="10.0.0.1", port=8100)),
            )
        ]
    )
    running = await pool.fetch("SELECT state, waiting_for, host FROM nemeton_attempts")
    assert {tuple(row) for row in running} == {("RUNNING", None, "10.0.0.1")}

    for each in started[:3]:
        await update_status(overlord, each, TaskStatus.success(each.task_id, 1))
    ends = [runner.seen(each, AttemptState.ENDED, reason="exit code 1", cause="ExitCode") for each in started]
    for _ in range(2):
        await runner.report_all([*ends, runner.seen(started[0], AttemptState.RUNNING)])
    shown = [(await status(overlord, each.task_id))["statusCode"] for each in started]
    assert shown == ["SUCCESS"] * 3 + ["FAILED"] * 3
    ended = await pool.fetch("SELECT state, cause FROM nemeton_attempts")
    assert {tuple(row) for row in ended} == {("ENDED", "ExitCode")}
    orders = await runner.announce()
    assert len(orders.forget) == len(orders.outcomes) == 6


@pytest.mark.route(
    "GET /druid/indexer/v1/workers",
    "differs",
    "A worker is a runner that announced itself within the last minute, an operator one of category "
    "`_k8s_worker_category`. Druid's Kubernetes runner answers 500",
)
async def test_workers_show_an_operator_as_one_worker_of_pods(overlord: AsyncClient) -> None:
    runner = operator(overlord, capacity=7)
    await submit(overlord, noop("shown"))
    await runner.run(await runner.take())
    [worker] = (await overlord.get(f"{V1}/workers")).json()
    assert worker["worker"]["category"] == "_k8s_worker_category"
    assert (worker["worker"]["capacity"], worker["currCapacityUsed"], worker["runningTasks"]) == (7, 1, ["shown"])
    capacity = (await overlord.get(f"{V1}/totalWorkerCapacity")).json()
    assert capacity == {"currentClusterCapacity": 7, "maximumCapacityWithAutoScale": -1, "usedClusterCapacity": 1}


async def test_a_large_payload_arrives_whole_at_its_peon(overlord: AsyncClient) -> None:
    data = "".join(f'{{"time":"2026-01-01T00:00:00Z","page":"Oak {number}"}}\n' for number in range(420_000))
    assert len(data) > 20 << 20
    await submit(overlord, index_parallel("large", data=data))
    assignment = await operator(overlord).take(20)
    answer = await overlord.get(
        "/nemeton/v1/task/large/payload",
        headers={"Authorization": f"Bearer {assignment.token}", "Accept-Encoding": "identity"},
    )
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["spec"]["ioConfig"]["inputSource"]["data"] == data


async def test_pending_stays_pending_while_only_an_absent_runner_is_wished_for(overlord: AsyncClient) -> None:
    await FakeRunner(overlord).announce()
    await submit(overlord, noop("absent"), **{RUNNER: "nobody"})
    await in_state(overlord, "absent", "PENDING")
    told = await explanation(overlord, "absent")
    assert told.reason == "NO_RUNNER"
    assert "nobody" in told.message
