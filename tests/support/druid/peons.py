"""
Peons started by hand: a runner that starts one process an attempt, Druid's own Java peon or ours.

Druid's is `org.apache.druid.cli.Main internal peon`, unmodified, told where the Overlord is by `StaticDiscovery` where
others have ZooKeeper. All that it needs stands on its command line.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
from httpx import AsyncClient

from druid_core.runner import RUNNER_HEADER, Assignment, AttemptRef, AttemptState
from druid_core.status import TaskLocation, TaskStatus
from tests.support.druid.install import DruidInstall
from tests.support.druid.processes import start as start_process
from tests.support.druid.processes import stop
from tests.support.fake_runner import FakeRunner
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]
V1 = "/druid/indexer/v1"
PATIENCE_S = 240
"""How long a task may take on a machine that does other things as well."""

_FLAGS = ("-Xms64m", "-Xmx320m", "-XX:MaxDirectMemorySize=160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_PROPERTIES = {
    "druid.service": "druid/peon",
    "druid.host": "127.0.0.1",
    "druid.bindOnHost": "true",
    "druid.extensions.loadList": "[]",
    # what tells a peon that no MiddleManager holds its standard input
    "druid.indexer.runner.type": "k8s",
    # what makes it tell its location and its status, and push its report
    "druid.indexer.task.encapsulatedTask": "true",
    "druid.zk.service.enabled": "false",
    "druid.discovery.type": "static",
    "druid.serverview.type": "http",
    "druid.selectors.indexing.serviceName": "druid/overlord",
    "druid.selectors.coordinator.serviceName": "druid/coordinator",
    "druid.lookup.enableLookupSyncOnStartup": "false",
    "druid.storage.type": "local",
    "druid.indexer.logs.type": "file",
    "druid.processing.buffer.sizeBytes": "5000000",
    "druid.processing.numThreads": "1",
    "druid.processing.numMergeBuffers": "2",
    # what peons hand each other goes where all can read it: no MiddleManager is there to serve it
    "druid.processing.intermediaryData.storage.type": "deepstore",
    "druid.server.http.numThreads": "10",
    "druid.emitter": "noop",
    "druid.monitoring.monitors": "[]",
}

StartPeon = Callable[[Assignment, str, Path, int], "subprocess.Popen[bytes]"]
"""
From an assignment, the Overlord's `host:port`, the folder of the task (its output goes to `log` there) and the port of
its chat.
"""


def java_peons(druid: DruidInstall, folder: Path, more: Mapping[str, str] | None = None) -> StartPeon:
    """
    Starts Druid's, with segments in `folder`/deep, reports in `folder`/task-logs, and `more` properties.

    The token of its attempt stands in its environment, where these may name it.
    """
    service = folder / "class-path" / "META-INF" / "services" / "org.apache.druid.initialization.DruidModule"
    service.parent.mkdir(parents=True)
    service.write_text("dev.nemeton.peer.StaticDiscovery\n")
    (folder / "tmp").mkdir()

    def start(assignment: Assignment, overlord: str, task_dir: Path, port: int) -> "subprocess.Popen[bytes]":
        properties = {
            **_PROPERTIES,
            "druid.plaintextPort": str(port),
            "druid.discovery.static.overlord": overlord,
            "druid.storage.storageDirectory": str(folder / "deep"),
            "druid.indexer.logs.directory": str(folder / "task-logs"),
            "druid.indexer.task.baseTaskDir": str(task_dir.parent),
            "druid.task.executor.service": "druid/peon",
            "druid.task.executor.host": "127.0.0.1",
            "druid.task.executor.plaintextPort": str(port),
            **(more or {}),
        }
        flags = [*_FLAGS, f"-Djava.io.tmpdir={folder / 'tmp'}", *(f"-D{k}={v}" for k, v in properties.items())]
        command = druid.command(
            *("org.apache.druid.cli.Main", "internal", "peon", str(task_dir), str(assignment.attempt)),
            *("--loadBroadcastDatasourceMode", "NONE"),
            flags=tuple(flags),
            first=(folder / "class-path",),
        )
        return start_process(command, task_dir / "log", task_dir, {"NEMETON_TASK_TOKEN": assignment.token})

    return start


def our_peons(folder: Path) -> StartPeon:
    """Starts ours, each with its token; segments and reports as `java_peons`."""

    def start(assignment: Assignment, overlord: str, task_dir: Path, port: int) -> "subprocess.Popen[bytes]":
        command = [
            *(sys.executable, "-m", "peon.run", str(task_dir), str(assignment.attempt)),
            *("--task-id", assignment.task_id, "--overlord", f"http://{overlord}", "--port", str(port)),
            *("--deep-storage", (folder / "deep").as_uri(), "--task-logs", (folder / "task-logs").as_uri()),
        ]
        rooms = os.pathsep.join(str(ROOT / room) for room in ("core", "peon-image"))
        environment = {"PYTHONPATH": rooms, "NEMETON_TASK_TOKEN": assignment.token}
        return start_process(command, task_dir / "log", task_dir, environment)

    return start


class Hand:
    """A runner named `name`: takes assignments, starts peons, reports what it sees of them."""

    def __init__(self, client: AsyncClient, name: str, start: StartPeon, folder: Path, capacity: int = 3) -> None:
        self._runner = FakeRunner(client, name, capacity)
        self._client = client
        self._start = start
        self._folder = folder
        self._peons: dict[str, tuple[Assignment, subprocess.Popen[bytes]]] = {}
        self.started: list[Assignment] = []

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncGenerator["Hand"]:
        """Takes assignments until the block ends, and ends what peons are left."""
        await self._runner.announce()
        work = asyncio.create_task(self._work())
        try:
            yield self
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            for _, peon in self._peons.values():
                stop(peon)

    async def run(self, raw_task: dict[str, Any]) -> dict[str, Any]:
        """Submits the task for this runner; its final status, as `/status` tells it."""
        answer = await self._client.post(
            f"{V1}/task", json=raw_task, headers={RUNNER_HEADER: self._runner.runner_id}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return await self.finished(answer.json()["task"])

    async def finished(self, task_id: str) -> dict[str, Any]:
        """The final status of a task."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await self._client.get(f"{V1}/task/{task_id}/status")
                assert answer.status_code == 200, answer.text
                status = answer.json()["status"]
                if status["statusCode"] != "RUNNING" and not self._has(task_id):
                    return status
                await asyncio.sleep(0.2)

    def log(self, task_id: str) -> str:
        """What the task's peon said."""
        return (self._task_dir(task_id) / "log").read_text(encoding="utf-8", errors="replace")

    def _has(self, task_id: str) -> bool:
        return any(ref.task_id == task_id for ref in self._runner.attempts)

    def _task_dir(self, task_id: str) -> Path:
        return self._folder / task_id.replace(":", "_") / "task"

    async def _work(self) -> None:
        while True:
            orders = await self._runner.poll(wait=0.3)
            for assignment in orders.start:
                if not self._has(assignment.task_id):
                    await self._begin(assignment)
            for ref in orders.stop:
                if ref.task_id in self._peons:
                    stop(self._peons[ref.task_id][1])
            self._runner.attempts = [ref for ref in self._runner.attempts if ref not in orders.forget]
            for task_id, (assignment, peon) in list(self._peons.items()):
                if peon.poll() is not None:
                    del self._peons[task_id]
                    await self._end(assignment, peon.returncode)

    async def _begin(self, assignment: Assignment) -> None:
        self._runner.attempts.append(AttemptRef(task_id=assignment.task_id, attempt=assignment.attempt))
        self.started.append(assignment)
        answer = await self._client.get(
            f"/nemeton/v1/task/{assignment.task_id}/payload", headers={"Authorization": f"Bearer {assignment.token}"}
        )
        assert answer.status_code == 200, answer.text
        task_dir = self._task_dir(assignment.task_id)
        (task_dir / "attempt" / str(assignment.attempt)).mkdir(parents=True)
        (task_dir / "task.json").write_bytes(answer.content)
        port = free_port()
        peon = self._start(assignment, self._client.base_url.netloc.decode(), task_dir, port)
        self._peons[assignment.task_id] = (assignment, peon)
        await self._runner.report(assignment, AttemptState.STARTING)
        location = TaskLocation(host="127.0.0.1", port=port)
        await self._runner.report(assignment, AttemptState.RUNNING, location=location)

    async def _end(self, assignment: Assignment, code: int) -> None:
        file = self._task_dir(assignment.task_id) / "attempt" / str(assignment.attempt) / "status.json"
        status = TaskStatus.model_validate(orjson.loads(file.read_bytes())) if file.exists() else None
        await self._runner.report(assignment, AttemptState.ENDED, status=status, reason=f"exit code {code}")
