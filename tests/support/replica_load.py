"""Load on replicas: clients who submit and read, runners who poll, and peons who lock, allocate, publish and end."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import Any

from druid_core.runner import AttemptRef, AttemptReport, AttemptState, RunnerAnnouncement, RunnerOrders
from druid_core.status import TaskLocation, TaskStatus
from tests.support.actions import segment
from tests.support.replicas import Replicas

V1 = "/druid/indexer/v1"
DAY = "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z"
DATA_SOURCES = ("oak", "ash", "yew")


class Load:
    """What was sent, and what was said to be done."""

    def __init__(self, replicas: Replicas, chance: random.Random) -> None:
        self.replicas = replicas
        self.accepted: set[str] = set()
        self.begun: Counter[tuple[str, int]] = Counter()
        """Peons by task and attempt."""
        self.published: set[str] = set()
        self.over = False
        self._chance = chance

    async def submit(self, client: int) -> None:
        """Tasks, one after the other, until it is over; each is read back at once, of whichever replica."""
        number = 0
        while not self.over:
            number += 1
            task_id = f"task-{client}-{number}"
            kind = self._chance.choice(["sleeps", "appends", "overwrites"])
            data_source = self._chance.choice(DATA_SOURCES) if kind == "appends" else f"own-{client}-{number}"
            task = {"type": "noop", "id": task_id, "dataSource": data_source, "context": {"kind": kind}}
            answer, in_doubt = await self.replicas.call("POST", f"{V1}/task", json=task)
            is_there = answer.status_code == 200 or (in_doubt and "already exists" in answer.text)
            assert is_there, answer.text
            self.accepted.add(task_id)
            seen, _ = await self.replicas.call("GET", f"{V1}/task/{task_id}/status")
            assert seen.status_code == 200, f"{task_id} was accepted, and another replica does not know it"
            await asyncio.sleep(self._chance.random() / 10)

    async def read(self) -> None:
        """Lists, until it is over: none is ever refused."""
        while not self.over:
            for path in ("tasks?max=10", "runningTasks", "pendingTasks", "workers"):
                answer, _ = await self.replicas.call("GET", f"{V1}/{path}")
                assert answer.status_code == 200, answer.text
            await asyncio.sleep(0.1)

    async def run(self, runner_id: str, capacity: int) -> None:
        """A runner: polls, begins what it is told to, forgets what it is told to; until it is cancelled."""
        attempts: dict[tuple[str, int], AttemptRef] = {}
        async with asyncio.TaskGroup() as peons:
            while True:
                announcement = RunnerAnnouncement(
                    runner_id=runner_id,
                    kind="middle-manager",
                    host=runner_id,
                    ip="127.0.0.1",
                    version="0",
                    category="_default_worker_category",
                    capacity=capacity,
                    attempts=list(attempts.values()),
                )
                answer, _ = await self.replicas.call(
                    "POST", "/nemeton/v1/runner/assignments?wait=5", json=announcement.to_wire()
                )
                assert answer.status_code == 200, answer.text
                orders = RunnerOrders.model_validate(answer.json())
                for ref in orders.forget:
                    attempts.pop((ref.task_id, ref.attempt), None)
                for each in orders.start:
                    key = (each.task_id, each.attempt)
                    if key not in attempts:
                        attempts[key] = AttemptRef(task_id=each.task_id, attempt=each.attempt)
                        peons.create_task(self._peon(runner_id, each))
                assert not orders.stop, "no attempt is void: each runner was always heard of"

    async def _peon(self, runner_id: str, assignment: Any) -> None:
        """From its start to its end, as a peon's life is seen by the Overlord."""
        task_id = assignment.task_id
        self.begun[task_id, assignment.attempt] += 1
        say: dict[str, Any] = {"runner_id": runner_id, "task_id": task_id, "attempt": assignment.attempt}
        location = TaskLocation(host="127.0.0.1", port=8100)
        await self._report(AttemptReport(**say, state=AttemptState.RUNNING, location=location))
        match assignment.context["kind"]:
            case "appends":
                await self._publish(assignment, "APPEND", "segmentTransactionalAppend")
            case "overwrites":
                await self._publish(assignment, "EXCLUSIVE", "segmentTransactionalInsert")
            case _:
                await asyncio.sleep(self._chance.random() / 2)
        status = TaskStatus.success(task_id, 1)
        await self._perform(assignment, "updateStatus", status="", statusFull=status.to_wire())
        await self._report(AttemptReport(**say, state=AttemptState.ENDED, status=status))

    async def _publish(self, assignment: Any, lock_type: str, publish: str) -> None:
        """A lock, two segments allocated, and both published."""
        lock = None
        while lock is None:
            lock = await self._perform(assignment, "lockTryAcquire", lockType=lock_type, interval=DAY)
        built: list[dict[str, Any]] = []
        for number in range(2):
            identity = await self._perform(
                assignment,
                "segmentAllocate",
                dataSource=assignment.data_source,
                timestamp="2026-01-01T05:00:00.000Z",
                queryGranularity="NONE",
                preferredSegmentGranularity="DAY",
                sequenceName=f"{assignment.task_id}-{number}",
                skipSegmentLineageCheck=True,
                taskLockType=lock_type,
            )
            spec, version = identity["shardSpec"], identity["version"]
            made = segment(DAY, version, spec["partitionNum"], spec["partitions"], data_source=assignment.data_source)
            assert made.id not in self.published, f"{made.id} was given twice"
            self.published.add(made.id)
            built.append(made.to_wire())
        result = await self._perform(assignment, publish, segments=built)
        assert result["success"], result

    async def _perform(self, assignment: Any, kind: str, **fields: Any) -> Any:
        """The result of an action. What is repeated is answered as it was the first time."""
        task = {"type": "noop", "id": assignment.task_id, "dataSource": assignment.data_source}
        answer, _ = await self.replicas.call(
            "POST",
            f"{V1}/action",
            headers={"Authorization": f"Bearer {assignment.token}"},
            json={"task": task, "action": {"type": kind, **fields}},
        )
        assert answer.status_code == 200, f"{kind} of {assignment.task_id}: {answer.text}"
        return answer.json()["result"]

    async def _report(self, report: AttemptReport) -> None:
        answer, _ = await self.replicas.call(
            "POST", "/nemeton/v1/runner/report", json=[report.model_dump(mode="json", by_alias=True)]
        )
        assert answer.status_code == 200, answer.text


async def cancelled(task: "asyncio.Task[None]") -> None:
    """A task ended from outside; what it raised before is raised here."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
