"""Old logs, reports and task rows: deleted when that is wanted, and only then."""

import os
from pathlib import Path

import pytest
from httpx import AsyncClient

from druid_core.errors import InvalidInput
from druid_core.instant import format_instant
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord.db.pool import Pool
from overlord.log import retention
from overlord.log.retention import Retention
from overlord.replica import wall_clock_ms
from overlord.settings import OverlordSettings
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, replica, submit
from tests.support.task_specs import noop

DAY_MS = 86_400_000


@pytest.fixture
def settings(settings: OverlordSettings) -> OverlordSettings:
    return settings.model_copy(update={"logs_kill_enabled": True, "logs_kill_duration_to_retain_ms": DAY_MS})


async def grow_old(pool: Pool, task_id: str) -> None:
    created = format_instant(wall_clock_ms() - 2 * DAY_MS)
    await pool.execute("UPDATE druid_tasks SET created_date = $2 WHERE id = $1", task_id, created)


async def finished(client: AsyncClient, task_id: str) -> None:
    await submit(client, noop(task_id))
    await client.post(f"{V1}/task/{task_id}/shutdown")


async def test_what_is_old_goes_with_all_that_is_known_of_it(
    settings: OverlordSettings, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_TASKS", 2)
    folder = tmp_path / "task-logs"
    logs = TaskLogs.from_url(folder.as_uri())
    async with replica(settings) as (app, client):
        for task_id in ("old-1", "old-2", "old-3", "young"):
            await finished(client, task_id)
            logs.push(task_id, TaskLogName.LOG, b"words")
        await pool.execute("INSERT INTO nemeton_task_segments VALUES ('old-1', 's'), ('young', 's')")
        for number in (1, 2, 3):
            await grow_old(pool, f"old-{number}")
            os.utime(folder / f"old-{number}.log", (0, 0))
        cleaner = Retention(app.state.replica, logs)
        assert await cleaner.clean() == (3, 3)
        assert await cleaner.clean() == (0, 0)
        assert (await client.get(f"{V1}/task/old-1/status")).status_code == 404
        assert (await client.get(f"{V1}/task/young/log")).text == "words"
    for table, column in (("druid_tasks", "id"), ("nemeton_attempts", "task_id"), ("nemeton_task_segments", "task_id")):
        assert [row[0] for row in await pool.fetch(f"SELECT {column} FROM {table}")] == ["young"], table


async def test_an_old_task_that_runs_stays(settings: OverlordSettings, pool: Pool) -> None:
    async with replica(settings) as (app, client):
        runner = FakeRunner(client)
        for task_id in ("runs", "ends"):
            await submit(client, noop(task_id))
            await runner.run(await runner.take())
            await grow_old(pool, task_id)
        await client.post(f"{V1}/task/ends/shutdown")
        assert await Retention(app.state.replica, None).clean() == (0, 0), "one runs, the peon of the other still does"


async def test_two_replicas_do_not_clean_at_once(settings: OverlordSettings, pool: Pool) -> None:
    async with replica(settings) as (app, client):
        await finished(client, "old")
        await grow_old(pool, "old")
        async with pool.acquire() as other:
            await other.execute("SELECT pg_advisory_lock($1)", retention._LOCK_KEY)  # pyright: ignore[reportPrivateUsage]
            assert await Retention(app.state.replica, None).clean() == (0, 0)
            await other.execute("SELECT pg_advisory_unlock($1)", retention._LOCK_KEY)  # pyright: ignore[reportPrivateUsage]
        assert await Retention(app.state.replica, None).clean() == (0, 1)


def test_who_deletes_must_say_what_to_keep() -> None:
    with pytest.raises(InvalidInput, match="logs_kill_enabled needs logs_kill_duration_to_retain_ms"):
        OverlordSettings.from_environment({"NEMETON_LOGS_KILL_ENABLED": "true"}, database_url="postgresql://x/y")
