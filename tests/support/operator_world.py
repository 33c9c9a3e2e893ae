"""
A cluster and an Overlord that fail on demand, and one operator between them, driven step by step without a clock.

The cluster keeps objects as an API server does as far as the operator can tell (uids, versions, finalizers, the status
subresource), and the test plays its kubelet. Any write may be made the last one of the process: what comes after is a
new operator that knows nothing.
"""

import copy
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, BinaryIO

import orjson

from druid_core.errors import InvalidTask, NemetonError, Unavailable
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
from druid_core.storage.task_logs import TaskLogName
from overlord_operator import names
from overlord_operator.apply import DRUID_TASKS, Hands
from overlord_operator.assignments import Runner
from overlord_operator.budget import Budget
from overlord_operator.cluster.client import EVENTS, PODS
from overlord_operator.cluster.errors import AlreadyExists, ClusterAway, Outdated, Vanished
from overlord_operator.events import Storyteller
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.reconcile import Reconciler
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import ReadReport, Report, SaveLog
from overlord_operator.task_status import time_text
from overlord_operator.work_queue import WorkQueue

Raw = dict[str, Any]


class Crash(BaseException):
    """The process ends here."""


class FakeCluster:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Raw] = {}
        self.writes: list[tuple[str, str, str]] = []
        """Every write that took effect: verb, kind, name. Events are counted apart."""
        self.events: list[Raw] = []
        self.refusals: dict[str, NemetonError] = {}
        """By kind: raised instead of a creation."""
        self.crash_before: int | None = None
        self.crash_after: int | None = None
        """The number of the write that is the last one, or the first one that does not happen."""
        self.calls: Counter[tuple[str, str, int]] = Counter()
        self.pod_events: list[Raw] = []
        self.now_ms = 0
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)

    def put(self, kind: str, raw: Raw) -> Raw:
        """As a user does it."""
        return self._store(kind, copy.deepcopy(raw))

    def of(self, kind: str) -> list[Raw]:
        return [raw for (known, _, _), raw in sorted(self.objects.items()) if known == kind]

    def touch(self, kind: str, raw: Raw) -> None:
        """What somebody else wrote into an object in place."""
        raw["metadata"]["resourceVersion"] = str(next(self._versions))

    def ask_deletion(self, kind: str, namespace: str, name: str) -> None:
        """`kubectl delete`."""
        raw = self.objects[kind, namespace, name]
        if raw["metadata"].get("finalizers"):
            raw["metadata"].setdefault("deletionTimestamp", time_text(self.now_ms + 30_000 * (kind == PODS)))
            raw["metadata"].setdefault("deletionGracePeriodSeconds", 30 if kind == PODS else 0)
            self.touch(kind, raw)
        else:
            self._remove(kind, namespace, name)

    # as the operator's Cluster has them

    async def get(self, kind: str, namespace: str, name: str) -> Raw:
        try:
            return copy.deepcopy(self.objects[kind, namespace, name])
        except KeyError as error:
            raise Vanished(f"{kind} {name} not found") from error

    async def pages(self, kind: str, namespace: str | None, label_selector: str = "") -> AsyncIterator[list[Raw]]:
        yield [copy.deepcopy(raw) for raw in self.of(kind)]

    async def events_of(self, namespace: str, uid: str) -> list[Raw]:
        return self.pod_events

    async def pod_log(self, namespace: str, name: str, container: str, out: BinaryIO) -> bool:
        return False

    async def create(self, kind: str, namespace: str, raw_object: Mapping[str, Any]) -> Raw:
        if kind == EVENTS:
            self.events.append(dict(raw_object))
            return self.events[-1]
        if kind in self.refusals:
            raise self.refusals[kind]
        name = raw_object["metadata"]["name"]
        if (kind, namespace, name) in self.objects:
            raise AlreadyExists(f"{kind} {name} already exists")
        with self._write("create", kind, name):
            raw = copy.deepcopy(dict(raw_object))
            raw.pop("status", None)
            return copy.deepcopy(self._store(kind, raw))

    async def patch(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], subresource: str = "") -> Raw:
        if (kind, namespace, name) not in self.objects:
            raise Vanished(f"{kind} {name} not found")
        raw = self.objects[kind, namespace, name]
        metadata = patch.get("metadata") or {}
        for key in ("uid", "resourceVersion"):
            if metadata.get(key) not in (None, raw["metadata"][key]):
                raise Outdated(f"{kind} {name} has another {key}")
        with self._write(f"patch {subresource}".strip(), kind, name):
            before = copy.deepcopy(raw)
            _merge(raw, patch)
            if raw == before:
                return copy.deepcopy(raw)
            self.touch(kind, raw)
            if "deletionTimestamp" in raw["metadata"] and not raw["metadata"].get("finalizers"):
                self._remove(kind, namespace, name)
            return copy.deepcopy(raw)

    async def delete(
        self, kind: str, namespace: str, name: str, uid: str, grace_seconds: int | None = None
    ) -> Raw | None:
        raw = self.objects.get((kind, namespace, name))
        if raw is None:
            raise Vanished(f"{kind} {name} not found")
        if raw["metadata"]["uid"] != uid:
            raise Outdated(f"{kind} {name} has another uid")
        with self._write("delete", kind, name):
            self.ask_deletion(kind, namespace, name)
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def _store(self, kind: str, raw: Raw) -> Raw:
        metadata = raw["metadata"]
        metadata.setdefault("namespace", "tasks")
        metadata["uid"] = f"uid-{next(self._uids)}"
        metadata["creationTimestamp"] = time_text(self.now_ms)
        metadata.setdefault("generation", 1)
        self.touch(kind, raw)
        if kind == PODS:
            raw["status"] = {"phase": "Pending"}
        self.objects[kind, metadata["namespace"], metadata["name"]] = raw
        return raw

    def _remove(self, kind: str, namespace: str, name: str) -> None:
        gone = self.objects.pop((kind, namespace, name))
        for (other, space, owned), raw in list(self.objects.items()):
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in raw["metadata"].get("ownerReferences") or []):
                self.ask_deletion(other, space, owned)

    def _write(self, verb: str, kind: str, name: str) -> "_Write":
        return _Write(self, (verb, kind.rpartition("/")[2], name))


class _Write:
    """A write, with a crash before or after it where one is wanted."""

    def __init__(self, cluster: FakeCluster, what: tuple[str, str, str]) -> None:
        self._cluster = cluster
        self._what = what

    def __enter__(self) -> None:
        if self._cluster.crash_before == len(self._cluster.writes):
            self._cluster.crash_before = None
            raise Crash
        self._cluster.writes.append(self._what)

    def __exit__(self, *_: object) -> None:
        if self._cluster.crash_after == len(self._cluster.writes) - 1:
            self._cluster.crash_after = None
            raise Crash


def _merge(target: Raw, patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(dict(value) if isinstance(value, Mapping) else value)


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
            self.reconciler.memory(ref).safe_logs.add(step.attempt)

    def read_report_later(self, ref: Ref, step: ReadReport) -> None:
        memory = self.reconciler.memory(ref)
        memory.rows, memory.has_read_report = self.rows, True

    def look_again(self, ref: Ref, at_ms: int) -> None:
        self.looks[ref] = min(at_ms, self.looks.get(ref, at_ms))

    # its life

    async def turn(self) -> None:
        """Everybody has a turn: lists, orders, a look at every task, reports, explanations."""
        tasks, pods = self.mirror.before_list()
        for kind, see, known in (
            (DRUID_TASKS, self.mirror.see_task, tasks),
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
            self.reconciler.memory(ref).reported[step.report.attempt] = step.report

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
        return self.cluster.put(DRUID_TASKS, {"metadata": {"name": name, "namespace": "tasks"}, "spec": raw_spec})

    def task(self, name: str | None = None) -> Raw:
        found = [raw for raw in self.cluster.of(DRUID_TASKS) if name in (None, raw["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} DruidTasks"
        return found[0]

    def status(self, name: str | None = None) -> Raw:
        return self.task(name).get("status") or {}

    def condition(self, kind: str, name: str | None = None) -> Raw:
        return next(each for each in self.status(name)["conditions"] if each["type"] == kind)

    def pod(self, attempt: int = 1) -> Raw:
        found = [
            raw
            for raw in self.cluster.of(PODS)
            if raw["metadata"]["annotations"][names.ANNOTATION_ATTEMPT] == str(attempt)
        ]
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
