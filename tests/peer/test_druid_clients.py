"""
Druid's own clients, `OverlordClientImpl` and `RemoteTaskActionClient`, against our Overlord on a real Postgres: every
method that calls it, and what their classes read out of our answers.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from httpx import AsyncClient

from druid_core.runner import AttemptState
from druid_core.status import TaskStatus
from tests.support.actions import segment
from tests.support.druid.workshop import DruidRefusedError, Workshop
from tests.support.fake_runner import FakeRunner
from tests.support.overlord_process import running_overlord
from tests.support.postgres import TestPostgres
from tests.support.task_specs import noop

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"


@dataclass(frozen=True)
class Caller:
    """Asks through Druid's classes, or directly."""

    workshop: Workshop
    client: AsyncClient
    logs: Path

    async def ask(self, call: str, **arguments: Any) -> Any:
        """What the client read out of the answer."""
        port = self.client.base_url.port
        assert port is not None
        return await asyncio.to_thread(self.workshop.call_overlord, port, call, **arguments)

    async def perform(self, task_id: str, kind: str, **fields: Any) -> Any:
        """What a peon of a noop on `web` reads out of the answer to its action."""
        task = noop(task_id, dataSource="web", groupId=task_id)
        return await self.ask("perform", task=task, action={"type": kind, **fields})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(
    workshop: Workshop, database: TestPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Caller]:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "task-logs").mkdir()
    url = await database.clone()
    try:
        async with running_overlord(url, folder, task_logs=(folder / "task-logs").as_uri()) as client:
            yield Caller(workshop, client, folder / "task-logs")
    finally:
        await database.drop(url)


async def test_a_task_is_submitted_followed_and_cancelled(caller: Caller) -> None:
    assert await caller.ask("runTask", id="one", task=noop("one", dataSource="web")) is None
    told = await caller.ask("taskStatus", id="one")
    assert (told["task"], told["status"]["statusCode"], told["status"]["dataSource"]) == ("one", "RUNNING", "web")
    assert (await caller.ask("taskStatuses", id="one"))["one"]["status"] == "RUNNING"
    assert [each["id"] for each in await caller.ask("taskStatuses", state="pending", dataSource="web")] == ["one"]
    assert await caller.ask("cancelTask", id="one") is None
    assert (await caller.ask("taskStatus", id="one"))["status"]["errorMsg"] == "Shutdown request from user"
    assert [each["statusCode"] for each in await caller.ask("taskStatuses", state="complete")] == ["FAILED"]


async def test_what_is_refused_arrives_as_the_http_error_that_druid_gives(caller: Caller) -> None:
    with pytest.raises(DruidRefusedError, match="404"):
        await caller.ask("taskStatus", id="nobody")
    with pytest.raises(DruidRefusedError, match="400"):
        await caller.ask("runTask", id="bad", task={"type": "compact", "dataSource": "web"})


async def test_reports_are_read_as_druids(caller: Caller) -> None:
    runner = FakeRunner(caller.client)
    await caller.ask("runTask", id="told", task=noop("told"))
    assignment = await runner.take()
    await runner.run(assignment)
    await runner.report(assignment, AttemptState.ENDED, status=TaskStatus.success("told", 7))
    payload = {"ingestionState": "COMPLETED", "rowStats": {}, "errorMsg": None, "segmentAvailabilityConfirmed": True}
    report = {"taskId": "told", "type": "ingestionStatsAndErrors", "payload": payload}
    _write(caller.logs / "told.report.json", {"ingestionStatsAndErrors": report})
    read = (await caller.ask("taskReportAsMap", id="told"))["ingestionStatsAndErrors"]
    assert (read["taskId"], read["payload"]["ingestionState"]) == ("told", "COMPLETED")


async def test_a_kill_task_is_made_as_coordinators_do(caller: Caller) -> None:
    task_id = await caller.ask("runKillTask", dataSource="dead", interval=DAY)
    payload = (await caller.ask("taskPayload", id=task_id))["payload"]
    assert (payload["type"], payload["interval"], payload["limit"]) == ("kill", DAY, 7)


async def test_workers_and_leader_are_found(caller: Caller) -> None:
    await FakeRunner(caller.client, "seen:8091", capacity=3).announce()
    assert await caller.ask("findCurrentLeader") == str(caller.client.base_url).rstrip("/")
    workers = {each["worker"]["host"]: each["worker"]["capacity"] for each in await caller.ask("getWorkers")}
    assert workers["seen:8091"] == 3
    assert (await caller.ask("getTotalWorkerCapacity"))["currentClusterCapacity"] >= 3


async def test_supervisors_and_compaction_are_configured(caller: Caller) -> None:
    spec = {"type": "NoopSupervisorSpec", "id": "quiet", "dataSources": ["web"]}
    assert await caller.ask("postSupervisor", spec=spec) == {"id": "quiet"}
    assert [each["id"] for each in await caller.ask("supervisorStatuses")] == ["quiet"]
    assert await caller.ask("terminateSupervisor", id="quiet") == {"id": "quiet"}
    assert await caller.ask("isCompactionSupervisorEnabled") is False
    config = {"compactionTaskSlotRatio": 0.25, "maxCompactionTaskSlots": 3, "useSupervisors": False}
    assert await caller.ask("updateClusterCompactionConfig", config=config) == {"success": True}
    read = await caller.ask("getClusterCompactionConfig")
    assert (read["compactionTaskSlotRatio"], read["maxCompactionTaskSlots"]) == (0.25, 3)


async def test_a_peons_actions_lock_allocate_publish_and_list(caller: Caller) -> None:
    await caller.ask("runTask", id="peon", task=noop("peon", dataSource="web"))
    lock = await caller.perform("peon", "lockTryAcquire", lockType="EXCLUSIVE", interval=DAY, timeoutMs=0)
    assert (lock["type"], lock["groupId"], lock["interval"], lock["priority"]) == ("EXCLUSIVE", "peon", DAY, 50)
    assert [each["version"] for each in await caller.perform("peon", "lockList")] == [lock["version"]]
    locked = await caller.ask("findLockedIntervals", dataSource="web")
    assert locked == {"web": [DAY]}
    allocated = await caller.perform(
        "peon",
        "segmentAllocate",
        dataSource="web",
        timestamp="2026-01-01T05:00:00.000Z",
        queryGranularity={"type": "none"},
        preferredSegmentGranularity="DAY",
        sequenceName="s",
        previousSegmentId=None,
        skipSegmentLineageCheck=True,
        shardSpecFactory={"type": "numbered"},
        lockGranularity="TIME_CHUNK",
        taskLockType="EXCLUSIVE",
    )
    assert (allocated["interval"], allocated["version"]) == (DAY, lock["version"])
    published = segment(DAY, lock["version"]).to_wire()
    result = await caller.perform("peon", "segmentTransactionalInsert", segments=[published])
    assert (result["success"], [each["identifier"] for each in result["segments"]]) == (True, [published["identifier"]])
    used = await caller.perform("peon", "segmentListUsed", dataSource="web", intervals=[DAY], visibility="ONLY_VISIBLE")
    assert [each["identifier"] for each in used] == [published["identifier"]]
    assert await caller.perform("peon", "lockRelease", interval=DAY) is None
    assert await caller.perform("peon", "updateStatus", statusFull=TaskStatus.success("peon").to_wire()) is None
    assert (await caller.ask("taskStatus", id="peon"))["status"]["statusCode"] == "SUCCESS"
    with pytest.raises(DruidRefusedError, match="inactive"):
        await caller.perform("peon", "lockTryAcquire", lockType="EXCLUSIVE", interval=DAY, timeoutMs=0)

    identifier = published["identifier"]
    assert await caller.ask("markSegmentsAsUnused", dataSource="web", id=identifier) == _changed(1)
    assert await caller.ask("markSegmentsAsUsed", dataSource="web", id=identifier) == _changed(1)
    assert await caller.ask("markSegmentsAsUnused", dataSource="web", filter={"interval": DAY}) == _changed(1)
    assert await caller.ask("markSegmentsAsUsed", dataSource="web", filter={"interval": DAY}) == _changed(1)
    assert await caller.ask("markSegmentsAsUnused", dataSource="web") == _changed(1)
    assert await caller.ask("markSegmentsAsUsed", dataSource="web") == _changed(1)
    # what was allocated and not published went with its task
    assert await caller.ask("killPendingSegments", dataSource="web", interval=DAY) == 0


def _changed(count: int) -> dict[str, Any]:
    return {"numChangedSegments": count, "segmentStateChanged": True}


def _write(file: Path, content: Any) -> None:
    file.write_bytes(orjson.dumps(content))
