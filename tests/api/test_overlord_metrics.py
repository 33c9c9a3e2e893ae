"""What Prometheus reads, held against what happened."""

import logging

import pytest
from httpx import AsyncClient

from druid_core.runner import AttemptState
from druid_core.status import TaskStatus
from overlord.db.pool import Pool, after_commit, transaction
from overlord.metrics.meters import OTHER
from overlord.metrics.rows import CACHE_MS
from overlord.settings import OverlordSettings
from tests.support import actions
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, Clock, in_state, replica, submit, until
from tests.support.prometheus import scrape
from tests.support.task_specs import noop


async def _run(client: AsyncClient, runner: FakeRunner, task_id: str, *, succeeds: bool, duration_ms: int) -> None:
    await submit(client, noop(task_id))
    assignment = await runner.take()
    await runner.report(assignment, AttemptState.RUNNING)
    await runner.report(assignment, AttemptState.RUNNING)
    await in_state(client, task_id, "RUNNING")
    status = (
        TaskStatus.success(task_id, duration_ms) if succeeds else TaskStatus.failure(task_id, "bad luck", duration_ms)
    )
    await runner.report(assignment, AttemptState.ENDED, status=status)
    runner.attempts.clear()


async def test_a_task_that_ran_is_counted_once_by_its_end_and_its_times(overlord: AsyncClient) -> None:
    before = await scrape(overlord)
    runner = FakeRunner(overlord)
    await runner.announce()
    await _run(overlord, runner, "good", succeeds=True, duration_ms=1500)
    await _run(overlord, runner, "bad", succeeds=False, duration_ms=2500)
    after = await scrape(overlord)

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert grown("nemeton_tasks_accepted_total") == 2
    assert grown("druid_task_success_count_total", taskType="noop", dataSource="none") == 1
    assert grown("druid_task_failed_count_total", taskType="noop", dataSource="none") == 1
    assert grown("druid_task_run_time_sum", taskType="noop", taskStatus="SUCCESS") == pytest.approx(1.5)
    assert grown("druid_task_run_time_sum", taskType="noop", taskStatus="FAILED") == pytest.approx(2.5)
    assert grown("druid_task_waiting_time_count", taskType="noop") == 2
    assert grown("druid_task_pending_time_count", taskType="noop") == 2
    assert grown("nemeton_http_answers_total", method="POST", status="200") > 0


async def test_what_a_transaction_tells_is_told_when_it_commits_and_never_where_it_is_undone(pool: Pool) -> None:
    told: list[str] = []

    async def undone() -> None:
        async with transaction(pool):
            after_commit(lambda: told.append("undone"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undone()
    async with transaction(pool):
        after_commit(lambda: told.append("outer"))
        async with transaction(pool):
            after_commit(lambda: told.append("inner"))
        assert told == ["inner"], "each transaction tells of itself"
    after_commit(lambda: told.append("outside"))
    assert told == ["inner", "outer", "outside"]


@pytest.mark.route("GET /metrics", "added", "For Prometheus, under Druid's names")
async def test_gauges_show_where_tasks_stand_and_which_slots_are_free(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, capacity=2)
    await runner.announce()
    task = await actions.start(overlord, "gauged")
    for number in range(2):
        await actions.start(overlord, f"gauged-{number}")
    await task.lock("2026-01-01/2026-01-02")
    await runner.report(await runner.take(), AttemptState.RUNNING)

    async def both_slots_are_used() -> bool:
        return (await scrape(overlord)).value("druid_taskslot_used_count") == 2

    await until(both_slots_are_used)
    seen = await scrape(overlord)
    assert seen.value("nemeton_database_up") == 1
    assert seen.value("nemeton_locks") == 1
    assert seen.value("druid_task_running_count", dataSource="web") == 1
    assert seen.value("druid_task_pending_count", dataSource="web") == 2
    assert seen.value("nemeton_tasks", state="pending") == 2
    assert seen.value("druid_taskslot_total_count") == 2
    assert seen.value("druid_taskslot_used_count") == 2
    assert seen.value("druid_taskslot_idle_count") == 0
    assert seen.value("nemeton_runners", kind=runner.kind) == 1
    assert seen.value("nemeton_queue_idle_seconds") < 10


async def test_slots_of_a_disabled_worker_are_no_slots(overlord: AsyncClient) -> None:
    runner = FakeRunner(overlord, capacity=3)
    await runner.announce()
    assert (await overlord.post(f"{V1}/worker/{runner.runner_id}/disable")).status_code == 200
    seen = await scrape(overlord)
    assert seen.value("druid_taskslot_total_count") == 0
    assert seen.value("druid_taskslot_blacklisted_count") == 3


async def test_datasources_beyond_the_limit_share_one_label_and_none_is_lost(settings: OverlordSettings) -> None:
    async with replica(settings.model_copy(update={"metrics_data_sources": 2})) as (_, client):
        for number in range(5):
            for copy in range(5 - number):
                await submit(client, noop(f"t{number}-{copy}", dataSource=f"source-{number}"))
        seen = await scrape(client)
    name = "druid_task_pending_count"
    assert seen.labels(name, "dataSource") == {"source-0", "source-1", OTHER}, "the largest have their own"
    assert seen.value(name, dataSource=OTHER) == 3 + 2 + 1
    assert seen.value(name) == seen.value("nemeton_tasks", state="pending") == 15


async def test_rows_are_read_once_in_five_seconds_however_many_ask(settings: OverlordSettings) -> None:
    clock = Clock()
    async with replica(settings, clock) as (_, client):
        assert (await scrape(client)).value("nemeton_tasks") == 0
        await submit(client, noop("later"))
        assert (await scrape(client)).value("nemeton_tasks") == 0, "what was read is kept"
        clock.now_ms += CACHE_MS
        seen = await scrape(client)
        assert seen.value("nemeton_tasks", state="pending") == 1
        assert seen.value("nemeton_task_oldest_age_seconds", state="pending") == CACHE_MS / 1000


async def test_metrics_are_there_while_the_database_is_away(settings: OverlordSettings) -> None:
    async with replica(settings) as (app, client):
        await app.state.pool.close()
        seen = await scrape(client)
    assert seen.value("nemeton_database_up") == 0
    assert seen.value("druid_service_heartbeat") == 1
    assert "nemeton_tasks" not in seen.families, "what is not known is not said"


async def test_actions_are_timed_by_type_and_counted_by_their_end(overlord: AsyncClient) -> None:
    before = await scrape(overlord)
    task = await actions.start(overlord, "acting")
    await task.lock("2026-01-01/2026-01-02")
    await task.publish(actions.segment("2026-01-01/2026-01-02", (await task.perform("lockList"))[0]["version"]))
    refused = await task.send("segmentListUsed", dataSource="web", intervals=[])
    assert refused.status_code >= 400
    after = await scrape(overlord)

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert grown("druid_task_action_run_time_count", taskActionType="lockList") == 1
    assert grown("druid_task_action_success_count_total", taskActionType="segmentTransactionalInsert") == 1
    assert grown("druid_task_action_failed_count_total", taskActionType="segmentListUsed") == 1
    assert grown("nemeton_lock_requests_total", result="granted") == 1
    assert grown("druid_segment_txn_success_total") == 1
    assert grown("druid_segment_added_bytes_total", dataSource="web") > 0


async def test_beginning_and_end_of_a_task_are_log_lines_with_its_id(
    overlord: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="overlord")
    runner = FakeRunner(overlord)
    await runner.announce()
    await _run(overlord, runner, "told", succeeds=True, duration_ms=7)
    lines = [record.getMessage() for record in caplog.records if "task_id='told'" in record.getMessage()]
    assert [line.partition(" task_id")[0] for line in lines] == ["a task began", "a task finished"]
