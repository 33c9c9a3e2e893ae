"""A runner that does as a test says: the same calls as a MiddleManager's, and no peons."""

from dataclasses import dataclass, field
from typing import Any

from httpx import AsyncClient

from druid_core.runner import (
    MIDDLE_MANAGER,
    OPERATOR,
    PODS_CATEGORY,
    Assignment,
    AttemptReport,
    AttemptState,
    RunnerAnnouncement,
    RunnerOrders,
)
from druid_core.runner import AttemptRef as Ref
from druid_core.status import TaskLocation, TaskStatus


@dataclass
class FakeRunner:
    """Speaks for itself over `client`; what it has is `attempts`."""

    client: AsyncClient
    runner_id: str = "worker-1:8091"
    capacity: int = 2
    attempts: list[Ref] = field(default_factory=list[Ref])
    kind: str = MIDDLE_MANAGER
    task_types: list[str] | None = None

    def announcement(self) -> dict[str, Any]:
        return RunnerAnnouncement(
            runner_id=self.runner_id,
            kind=self.kind,
            host=self.runner_id,
            ip="127.0.0.1",
            version="0",
            category=PODS_CATEGORY if self.kind == OPERATOR else "_default_worker_category",
            capacity=self.capacity,
            task_types=self.task_types,
            attempts=self.attempts,
        ).to_wire()

    async def announce(self) -> RunnerOrders:
        return await self._orders("/nemeton/v1/runner/announce")

    async def poll(self, wait: float = 5) -> RunnerOrders:
        return await self._orders(f"/nemeton/v1/runner/assignments?wait={wait}")

    async def take(self, wait: float = 5) -> Assignment:
        """The next assignment, noted as had."""
        orders = await self.poll(wait)
        assert orders.start, "no assignment came"
        assignment = orders.start[0]
        self.attempts.append(Ref(task_id=assignment.task_id, attempt=assignment.attempt))
        return assignment

    async def report(
        self,
        assignment: Assignment | Ref,
        state: AttemptState,
        *,
        location: TaskLocation | None = None,
        status: TaskStatus | None = None,
        **words: Any,
    ) -> None:
        """One report; `words` are further fields of it: `reason`, `cause`, `retry_after_ms`, `waiting_for`."""
        await self.report_all([self.seen(assignment, state, location=location, status=status, **words)])

    def seen(self, assignment: Assignment | Ref, state: AttemptState, **fields: Any) -> AttemptReport:
        return AttemptReport(
            runner_id=self.runner_id,
            task_id=assignment.task_id,
            attempt=assignment.attempt,
            state=state,
            **fields,
        )

    async def report_all(self, reports: list[AttemptReport]) -> None:
        body = [report.model_dump(mode="json", by_alias=True) for report in reports]
        response = await self.client.post("/nemeton/v1/runner/report", json=body)
        assert response.status_code == 200, response.text

    async def run(self, assignment: Assignment | Ref, host: str = "127.0.0.1", port: int = 8100) -> None:
        """Up to RUNNING, with a location."""
        await self.report(assignment, AttemptState.STARTING)
        await self.report(assignment, AttemptState.RUNNING, location=TaskLocation(host=host, port=port))

    async def _orders(self, path: str) -> RunnerOrders:
        response = await self.client.post(path, json=self.announcement(), timeout=40)
        assert response.status_code == 200, response.text
        return RunnerOrders.model_validate(response.json())


async def update_status(client: AsyncClient, assignment: Assignment, status: TaskStatus) -> int:
    """The peon's last word; the code of the answer."""
    response = await client.post(
        "/druid/indexer/v1/action",
        headers={"Authorization": f"Bearer {assignment.token}"},
        json={
            "task": {"id": assignment.task_id, "type": assignment.type, "dataSource": assignment.data_source},
            "action": {"type": "updateStatus", "status": "", "statusFull": status.to_wire()},
        },
    )
    return response.status_code
