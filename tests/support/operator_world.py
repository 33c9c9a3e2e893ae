"""
A cluster and an Overlord that fail on demand, and one operator between them, driven step by step without a clock.

The cluster keeps objects as an API server does as far as the operator can tell (uids, versions, finalizers, the status
subresource), and the test plays its kubelet. Any write may be made the last one of the process: what comes after is a
new operator that knows nothing.
"""

from typing import Any

import orjson

from druid_core.errors import Unavailable
from druid_core.status import TaskStatus
from druid_core.storage.task_logs import TaskLogName
from overlord_operator import names
from overlord_operator.apply.hands import Hands
from overlord_operator.budget import Budget
from overlord_operator.cluster.client import PODS
from overlord_operator.cluster.errors import ClusterAway
from overlord_operator.druid_task.events import Storyteller
from overlord_operator.druid_task.status import time_text
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.pod.identity import attempt_of
from overlord_operator.reconcile import Reconciler
from overlord_operator.runner.assignments import Runner
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import ReadReport, Report, SaveLog
from overlord_operator.work_queue import WorkQueue
from tests.support.operator_cluster import FakeCluster, Raw
from tests.support.operator_overlord import FakeOverlord


class FakePayloads:
    """Of log storage the part to which payloads of Druid's own peons go."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def push(self, task_id: str, name: TaskLogName, data: bytes) -> None:
        assert name is TaskLogName.PAYLOAD
        self.kept[task_id] = data


class World:
    """One operator at a time between the two; `restart` is a new one."""

    def __init__(self, **settings: Any) -> None:
        given: dict[str, Any] = {
            "overlord": "http://overlord:8090",
            "namespace": "tasks",
            "task_logs": "file:///logs",
            **settings,
        }
        self.settings = OperatorSettings(**given)
        self.cluster = FakeCluster()
        self.overlord = FakeOverlord()
        self.now_ms = self.cluster.now_ms = 1_800_000_000_000
        self.storage_is_away = False
        self.safe_logs: set[tuple[str, int]] = set()
        self.rows: int | None = 42
        self.templates: dict[str, Raw] = {}
        """The release's pod templates."""
        self.payloads = FakePayloads()
        self.looks: dict[Ref, int] = {}
        self.is_flooded = False
        """Whether many other tasks wait to be looked at."""
        self.restart()

    def restart(self) -> None:
        """A new process: it knows what it lists and what it is told."""
        clock = self._clock
        self.mirror = Mirror(self.settings.release)
        self.queue = WorkQueue(clock)
        self.reconciler = Reconciler(self.settings, self.mirror, clock)
        cluster: Any = self.cluster
        overlord: Any = self.overlord
        self.runner = Runner(self.settings, overlord, self.mirror, self.reconciler, self.queue)
        storyteller = Storyteller(cluster, Budget(1e9, 1e9), 0, "operator-0")
        logs: Any = self.payloads
        self.hands = Hands(
            self.settings, cluster, overlord, self.mirror, lambda: self.templates, storyteller, self, logs
        )
        self.looks.clear()
        self._reports: list[tuple[Ref, Report]] = []

    def _clock(self) -> int:
        return self.now_ms

    def pass_time(self, seconds: float) -> None:
        self.now_ms += int(1000 * seconds)
        self.cluster.now_ms = self.now_ms

    # what steps need around them

    def report_later(self, ref: Ref, step: Report) -> None:
        self._reports.append((ref, step))

    def save_log_later(self, ref: Ref, step: SaveLog) -> None:
        if not self.storage_is_away:
            self.safe_logs.add((step.task_id, step.attempt))
            self.reconciler.memory(ref).safe_logs |= {step.attempt}

    def read_report_later(self, ref: Ref, step: ReadReport) -> None:
        memory = self.reconciler.memory(ref)
        memory.rows, memory.has_read_report = self.rows, True

    def look_again(self, ref: Ref, at_ms: int) -> None:
        self.looks[ref] = min(at_ms, self.looks.get(ref, at_ms))

    def has_more_to_do(self) -> bool:
        return self.is_flooded

    # its life

    async def turn(self) -> None:
        """Everybody has a turn: lists, orders, a look at every task, reports, explanations."""
        tasks, pods = self.mirror.before_list()
        for kind, see, known in (
            (names.DRUID_TASKS, self.mirror.see_task, tasks),
            (PODS, self.mirror.see_pod, pods),
        ):
            async for page in self.cluster.pages(kind, None):
                for raw in page:
                    known.discard(raw["metadata"]["uid"])
                    see(raw)
        self.mirror.lose_unlisted(tasks, pods)
        self.mirror.is_complete = True
        try:
            self.runner.obey(self.overlord.orders({(pod.task_id, pod.attempt) for pod in self.mirror.held_pods()}))
            await self.runner.explain_once()
        except Unavailable:
            pass
        refs = self.mirror.refs() | {Ref("tasks", names.job_name(task_id)) for task_id in self.overlord.tasks}
        for ref in sorted(refs):
            try:
                await self.reconciler.reconcile(ref, self.hands, lambda: True)
            except ClusterAway:
                continue
        reports, self._reports = self._reports, []
        try:
            await self.overlord.report([step.report for _, step in reports])
        except Unavailable:
            return
        for ref, step in reports:
            self.reconciler.memory(ref).note_told(step.report)

    async def settle(self, turns: int = 12) -> None:
        """Turns, half a second each, until nothing is written any more. Fails where there is no end."""
        quiet = 0
        for _ in range(turns):
            before = len(self.cluster.writes), len(self.overlord.reports), len(self.safe_logs)
            await self.turn()
            self.pass_time(0.5)
            quiet = (
                quiet + 1
                if before == (len(self.cluster.writes), len(self.overlord.reports), len(self.safe_logs))
                else 0
            )
            if quiet == 3:
                return
        raise AssertionError(f"no end of writes: {self.cluster.writes[-10:]}")

    # the kubelet and the user, played

    def apply(self, name: str = "mine", task: Raw | None = None, **spec: Any) -> Raw:
        """`kubectl apply` of a DruidTask."""
        raw_spec: Raw = {"task": {"type": "noop", "dataSource": "web"} if task is None else task, **spec}
        return self.cluster.put(names.DRUID_TASKS, {"metadata": {"name": name, "namespace": "tasks"}, "spec": raw_spec})

    def task(self, name: str | None = None) -> Raw:
        found = [raw for raw in self.cluster.of(names.DRUID_TASKS) if name in (None, raw["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} DruidTasks"
        return found[0]

    def status(self, name: str | None = None) -> Raw:
        return self.task(name).get("status") or {}

    def condition(self, kind: str, name: str | None = None) -> Raw:
        return next(each for each in self.status(name)["conditions"] if each["type"] == kind)

    def pod(self, attempt: int = 1) -> Raw:
        found = [raw for raw in self.cluster.of(PODS) if (attempt_of(raw) or ("", 0))[1] == attempt]
        assert len(found) == 1, f"{len(found)} pods of attempt {attempt}"
        return found[0]

    def play(self, raw_pod: Raw, status: Raw, node: str | None = "node-1") -> None:
        """Write a pod's status, as a kubelet does."""
        if node is not None:
            raw_pod["spec"]["nodeName"] = node
        raw_pod["status"] = status
        self.cluster.touch(PODS, raw_pod)

    def run_pod(self, attempt: int = 1) -> None:
        state = {"running": {"startedAt": time_text(self.now_ms)}}
        status: Raw = {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [{"name": "main", "state": state}]}
        self.play(self.pod(attempt), status)

    def end_pod(
        self,
        attempt: int = 1,
        exit_code: int = 0,
        why: str = "Completed",
        last_words: Raw | None = None,
        **status: Any,
    ) -> None:
        state = {
            "terminated": {
                "exitCode": exit_code,
                "reason": why,
                "startedAt": time_text(self.now_ms - 5000),
                "finishedAt": time_text(self.now_ms),
                **({"message": orjson.dumps(last_words).decode()} if last_words is not None else {}),
            }
        }
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self.play(
            self.pod(attempt),
            {"phase": phase, "containerStatuses": [{"name": "main", "state": state}], **status},
        )

    async def run_to_success(self, task_id: str) -> None:
        """The rest of a task's life, well: its pod starts, its peon says SUCCESS and ends."""
        await self.settle()
        self.run_pod()
        await self.settle()
        self.overlord.finish(task_id, TaskStatus.success(task_id, 5000))
        self.end_pod()
        await self.settle()
