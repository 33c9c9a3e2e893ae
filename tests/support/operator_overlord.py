"""An Overlord as the operator sees it, that fails on demand: tasks with attempts, and what it is told of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from druid_core.errors import InvalidTask, Unavailable
from druid_core.runner import (
    Assignment,
    AttemptRef,
    AttemptReport,
    AttemptState,
    Explanation,
    PendingReason,
    RunnerOrders,
    TaskOutcome,
)
from druid_core.status import RunnerStatusCode, TaskStatus

Raw = dict[str, Any]


class FakeOverlord:
    """Tasks with attempts, as the real one keeps them; grants what it is told to."""

    def __init__(self) -> None:
        self.tasks: dict[str, Raw] = {}
        self.submitters: dict[str, str] = {}
        self.statuses: dict[str, TaskStatus] = {}
        self.attempts: dict[tuple[str, int], str] = {}
        """ASSIGNED, STARTING, RUNNING, ENDED."""
        self.stops: set[tuple[str, int]] = set()
        self.reports: list[AttemptReport] = []
        self.explanations: dict[str, Explanation] = {}
        self.refuses: str | None = None
        self.is_away = False
        self.assigns = True
        self.submissions = 0
        self.segments = 0

    def rest_task(self, task_id: str, kind: str = "noop") -> None:
        """A task that came by REST."""
        self.tasks[task_id] = {"id": task_id, "type": kind, "dataSource": "web"}
        self._begin(task_id)

    def finish(self, task_id: str, status: TaskStatus) -> None:
        """The peon's last word, or anybody's."""
        if not self.statuses[task_id].is_complete:
            self.statuses[task_id] = status

    def _begin(self, task_id: str) -> None:
        self.statuses[task_id] = TaskStatus.running(task_id)
        self.attempts[task_id, 1] = "ASSIGNED" if self.assigns else "PENDING"

    async def close(self) -> None: ...

    async def submit(self, raw_task: Mapping[str, Any], submitter: str, runner_id: str) -> str:
        self._answer()
        self.submissions += 1
        task_id = raw_task["id"]
        if self.refuses is not None:
            raise InvalidTask(self.refuses)
        if task_id in self.tasks and self.submitters.get(task_id) != submitter:
            raise InvalidTask(f"Task[{task_id}] already exists")
        if task_id not in self.tasks:
            self.tasks[task_id] = dict(raw_task)
            self.submitters[task_id] = submitter
            self._begin(task_id)
        return task_id

    async def payload(self, task_id: str, token: str) -> bytes:
        self._answer()
        attempt = int(token.removeprefix(f"token-{task_id}-"))
        assert self.attempts[task_id, attempt] != "ENDED", "its token is void"
        return orjson.dumps(self.tasks[task_id])

    async def shut_down(self, task_id: str) -> None:
        self._answer()
        if task_id in self.statuses and not self.statuses[task_id].is_complete:
            self.statuses[task_id] = TaskStatus.failure(task_id, "Shutdown request from user")
            for (known, attempt), state in list(self.attempts.items()):
                if known == task_id and state in ("STARTING", "RUNNING"):
                    self.stops.add((known, attempt))
                elif known == task_id:
                    self.attempts[known, attempt] = "ENDED"

    async def report(self, reports: Sequence[AttemptReport]) -> None:
        self._answer()
        for report in reports:
            self.reports.append(report)
            key = (report.task_id, report.attempt)
            if self.attempts.get(key) in (None, "ENDED"):
                continue
            if self.attempts[key] != "ASSIGNED" or report.waiting_for is None:
                self.attempts[key] = report.state.value
            if report.state is not AttemptState.ENDED or self.statuses[report.task_id].is_complete:
                continue
            if report.status is not None:
                self.finish(report.task_id, report.status)
            elif report.retry_after_ms is not None and key not in self.stops:
                self.attempts[report.task_id, report.attempt + 1] = "ASSIGNED"
            else:
                self.finish(report.task_id, TaskStatus.failure(report.task_id, f"The peon ended: {report.reason}"))

    async def explain(self, task_ids: Sequence[str]) -> dict[str, Explanation]:
        self._answer()
        return {task_id: self._explanation(task_id) for task_id in task_ids if task_id in self.tasks}

    def _explanation(self, task_id: str) -> Explanation:
        latest = max(attempt for known, attempt in self.attempts if known == task_id)
        is_over = self.statuses[task_id].is_complete
        return self.explanations.get(task_id) or Explanation(
            task_id=task_id,
            status=self.statuses[task_id],
            runner_status_code=RunnerStatusCode.NONE if is_over else RunnerStatusCode.PENDING,
            reason=PendingReason.ENDED if is_over else PendingReason.ASSIGNED,
            message="It is finished." if is_over else "It has a slot.",
            attempt=latest,
        )

    def orders(self, listed: set[tuple[str, int]]) -> RunnerOrders:
        self._answer()
        for key in listed:
            if self.attempts.get(key) == "ASSIGNED":
                self.attempts[key] = "STARTING"
        strangers = {key for key in listed if key not in self.attempts}
        listed = listed - strangers
        outcomes = [
            TaskOutcome(
                task_id=task_id,
                attempt=attempt,
                status=self.statuses[task_id],
                segments_published=self.segments,
                next_attempt=attempt + 1 if (task_id, attempt + 1) in self.attempts else None,
            )
            for task_id, attempt in sorted(listed)
            if self.attempts.get((task_id, attempt)) == "ENDED" or self.statuses[task_id].is_complete
        ]
        return RunnerOrders(
            start=[
                Assignment(
                    task_id=task_id,
                    attempt=attempt,
                    type=self.tasks[task_id]["type"],
                    data_source=self.tasks[task_id].get("dataSource", "web"),
                    group_id=task_id,
                    token=f"token-{task_id}-{attempt}",
                )
                for (task_id, attempt), state in sorted(self.attempts.items())
                if state == "ASSIGNED" and (task_id, attempt) not in listed and not self.statuses[task_id].is_complete
            ],
            stop=[_ref(key) for key in sorted(self.stops & listed | strangers) if self.attempts.get(key) != "ENDED"],
            forget=[_ref(key) for key in sorted(listed) if self.attempts.get(key) == "ENDED"],
            outcomes=outcomes,
        )

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("The Overlord does not answer.")


def _ref(key: tuple[str, int]) -> AttemptRef:
    return AttemptRef(task_id=key[0], attempt=key[1])
