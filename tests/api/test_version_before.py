"""While replicas are upgraded one by one: the Overlord of the version before serves on the tables of today."""

import asyncio
import os
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient

from druid_core.runner import Assignment, AttemptState
from druid_core.status import TaskStatus
from overlord.db.migrate import migration_files
from overlord.db.pool import Pool
from tests.api.test_overlord_process import ready
from tests.support.actions import segment
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_calls import V1, in_state, status, submit
from tests.support.ports import free_port
from tests.support.task_specs import index_parallel, noop

ARCHIVE = Path(__file__).parents[1] / "golden" / "version-before" / "overlord.tar.xz"
DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"


@pytest.fixture
async def before(database_url: str, tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """A replica of the version before, as a process on the migrated database; what it says must hold no error."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "before", filter="data")
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(tmp_path / "before" / room) for room in ("core", "api")),
        "NEMETON_DATABASE_URL": database_url,
        "NEMETON_PORT": str(port),
    }
    said = tmp_path / "before.log"
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "overlord.server", env=environment, stderr=log, cwd=tmp_path
        )
    try:
        async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as client:
            await ready(client)
            yield client
    finally:
        process.kill()
        await process.wait()
    for words in ("Traceback", "a call failed", "the queue pass failed"):
        assert words not in said.read_text(), said.read_text()


async def act(client: AsyncClient, assignment: Assignment, kind: str, **fields: Any) -> Any:
    """The result of an action that must be answered."""
    task = {"type": assignment.type, "id": assignment.task_id, "dataSource": assignment.data_source}
    answer = await client.post(
        f"{V1}/action",
        headers={"Authorization": f"Bearer {assignment.token}"},
        json={"task": task, "action": {"type": kind, **fields}},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


async def live(one: AsyncClient, other: AsyncClient, pool: Pool, task_id: str) -> None:
    """A task's whole life, its calls by turns to one replica and the other."""
    await submit(one, noop(task_id, dataSource=task_id))
    assert (await status(other, task_id))["statusCode"] == "RUNNING"
    runner = FakeRunner(other, f"runner-of-{task_id}:8091", capacity=1)
    assignment = await runner.take(20)
    assert assignment.task_id == task_id
    runner.client = one
    await runner.run(assignment)
    lock = await act(other, assignment, "lockTryAcquire", lockType="APPEND", interval=DAY)
    identity = await act(
        one,
        assignment,
        "segmentAllocate",
        dataSource=task_id,
        timestamp="2026-01-01T05:00:00.000Z",
        queryGranularity="NONE",
        preferredSegmentGranularity="DAY",
        sequenceName=task_id,
        skipSegmentLineageCheck=True,
        taskLockType="APPEND",
    )
    assert lock["interval"] == identity["interval"] == DAY
    number, core = identity["shardSpec"]["partitionNum"], identity["shardSpec"]["partitions"]
    built = segment(DAY, identity["version"], number, core, data_source=task_id)
    published = await act(other, assignment, "segmentTransactionalAppend", segments=[built.to_wire()])
    assert published["success"], published
    done = TaskStatus.success(task_id, 5)
    await act(one, assignment, "updateStatus", status="", statusFull=done.to_wire())
    await runner.report(assignment, AttemptState.ENDED, status=done)
    assert (await status(other, task_id))["statusCode"] == "SUCCESS"
    used = await other.get(f"/druid/indexer/v1/task/{task_id}/segments")
    assert used.json() == [built.id]
    runner.attempts.clear()
    runner.capacity = 0
    await runner.announce()
    assert await pool.fetchval("SELECT count(*) FROM druid_tasklocks") == 0


async def test_the_version_before_passes_on_the_tables_of_today(
    before: AsyncClient, overlord: AsyncClient, pool: Pool
) -> None:
    await live(before, before, pool, "alone")
    await live(before, overlord, pool, "begun-before")
    await live(overlord, before, pool, "begun-today")


async def test_what_waits_for_locks_in_the_version_before_is_released_today_and_the_other_way_round(
    before: AsyncClient, overlord: AsyncClient
) -> None:
    for one, other in ((before, overlord), (overlord, before)):
        name = "today" if one is before else "before"
        first = index_parallel(f"first-{name}", data_source=name, intervals=["2026-01-01/2026-01-02"])
        second = index_parallel(f"second-{name}", data_source=name, intervals=["2026-01-01/2026-01-02"])
        for task in (first, second):
            task["spec"]["ioConfig"]["inputSource"] = {"type": "inline", "data": "{}"}
            await submit(one, task)
        await asyncio.sleep(0.5)
        explained = await other.get(f"{V1}/task/{second['id']}/explain")
        assert explained.json()["reason"] == "LOCK_HELD", explained.text
        assert (await other.post(f"{V1}/task/{first['id']}/shutdown")).status_code == 200
        await in_state(one, second["id"], "PENDING")


def test_the_version_before_lacks_the_newest_migration() -> None:
    """Else it is no version before: `tests/golden/version-before/README.md` says how the archive is made."""
    with tarfile.open(ARCHIVE) as archive:
        had = {Path(name).name for name in archive.getnames() if name.endswith(".sql")}
    today = [entry.name for entry in migration_files()]
    assert had < set(today)
    assert today[-1] not in had
