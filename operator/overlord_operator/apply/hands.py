"""
The steps that `decide` names, taken. Every one may be repeated: what is there already counts as made.

What a call answers goes into the mirror at once, so that nobody has to wait for the watch.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, assert_never

import orjson

from druid_core.errors import CapacityExceeded, InvalidTask, NemetonError, Unavailable
from druid_core.redaction import covered, secrets_in
from druid_core.storage.task_logs import TaskLogs
from overlord_operator import names
from overlord_operator.apply.pods import PodHands
from overlord_operator.apply.tasks import TaskHands
from overlord_operator.cluster.client import Cluster
from overlord_operator.cluster.errors import Vanished
from overlord_operator.druid_task.events import Storyteller
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.observed import Observed, Submission
from overlord_operator.runner.overlord_client import OverlordClient
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import (
    CreateTask,
    DeletePod,
    DeleteTask,
    DisownPod,
    LookAgain,
    ReadPodEvents,
    ReadReport,
    ReleasePod,
    ReleaseTask,
    Report,
    SaveLog,
    ShortenPod,
    ShutDown,
    ShutDownOrphan,
    StartPeon,
    Step,
    Submit,
    TakeUp,
    WriteStatus,
)

_log = logging.getLogger(__name__)

_OVERLORD_AGAIN_MS = 2_000
"""After a call that the Overlord did not answer."""
_OWNER_AGAIN_MS = 30_000
"""After the owner of a pod was found that nobody had told of."""
_FULL_AGAIN_MS = 10_000
"""After a submission for which the Overlord had no room."""


class Surroundings(Protocol):
    """What steps need of the process around them."""

    def report_later(self, ref: Ref, step: Report) -> None: ...

    def save_log_later(self, ref: Ref, step: SaveLog) -> None: ...

    def read_report_later(self, ref: Ref, step: ReadReport) -> None: ...

    def look_again(self, ref: Ref, at_ms: int) -> None: ...

    def has_more_to_do(self) -> bool:
        """Whether more tasks wait to be looked at than a moment is enough for: then those go first."""
        ...


class Hands:
    """Takes steps."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: Cluster,
        overlord: OverlordClient,
        mirror: Mirror,
        templates: Callable[[], Mapping[str, Mapping[str, Any]]],
        storyteller: Storyteller,
        surroundings: Surroundings,
        logs: TaskLogs | None = None,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._overlord = overlord
        self._mirror = mirror
        self._around = surroundings
        self._pods = PodHands(settings, cluster, overlord, mirror, templates, logs)
        self._tasks = TaskHands(settings, cluster, mirror, storyteller, surroundings.has_more_to_do)

    async def apply(self, observed: Observed, step: Step) -> None:
        """
        Take one step. Raises NemetonError where it has to be tried again: ClusterAway, Unavailable, Outdated,
        ClusterRefused.
        """
        ref = observed.ref
        match step:
            case CreateTask():
                await self._tasks.create(observed, step)
            case TakeUp():
                await self._tasks.take_up(observed, step)
            case Submit():
                await self._submit(observed)
            case StartPeon():
                await self._pods.start(observed, step)
            case Report():
                self._around.report_later(ref, step)
            case DeletePod(name=name, uid=uid, reason=reason):
                _log.info("Pod %s/%s is deleted: %s", ref.namespace, name, reason)
                await self._pods.delete(ref, name, uid)
            case ReadPodEvents(uid=uid):
                await self._pods.read_events(observed, uid)
            case SaveLog():
                self._around.save_log_later(ref, step)
            case ReadReport():
                self._around.read_report_later(ref, step)
            case ReleasePod(name=name, uid=uid):
                await self._pods.release(ref, name, uid)
            case DisownPod(name=name, uid=uid):
                await self._pods.patch(ref, name, uid, {"uid": uid, "ownerReferences": None})
            case ShutDown(task_id=task_id):
                await self._shut_down(observed, task_id)
            case ShutDownOrphan(task_id=task_id, pod_uid=pod_uid):
                await self._shut_down_orphan(observed, task_id, pod_uid)
            case ShortenPod(name=name, uid=uid, seconds=seconds):
                _log.info("Pod %s/%s may take %d s from its start", ref.namespace, name, seconds)
                await self._pods.patch(ref, name, uid, {"uid": uid}, {"activeDeadlineSeconds": seconds})
            case WriteStatus():
                if step.is_urgent:
                    self._pods.is_news_of(ref)
                await self._tasks.write_status(observed, step)
            case ReleaseTask():
                await self._tasks.release(observed)
            case DeleteTask(uid=uid):
                await self._tasks.delete(ref, uid)
            case LookAgain(at_ms=at_ms):
                self._around.look_again(ref, at_ms)
            case _:
                assert_never(step)

    async def _submit(self, observed: Observed) -> None:
        assert observed.task is not None
        task, memory, ref = observed.task, observed.memory, observed.ref
        generation = task.generation
        raw_task: dict[str, Any] = {}
        try:
            entry = self._mirror.task(ref)
            if entry is not None and entry.uid == task.uid and entry.task is not None:
                raw_task = orjson.loads(entry.task)
            else:
                raw_object = await self._cluster.get(names.DRUID_TASKS, ref.namespace, ref.name)
                raw_task = raw_object["spec"].get("task") or {}
            await self._overlord.submit({**raw_task, "id": task.task_id}, task.uid, self._settings.release)
        except (InvalidTask, CapacityExceeded, Unavailable) as error:
            # whoever may read the object's Events need not be one who may read its spec
            message = covered(str(error), secrets_in(raw_task))
            memory.submission = _not_submitted(error, message, observed, generation)
        else:
            memory.submission = Submission(generation, is_accepted=True)

    async def _shut_down(self, observed: Observed, task_id: str) -> None:
        try:
            await self._overlord.shut_down(task_id)
        except Unavailable as error:
            _log.info("The shutdown of task [%s] waits: %s", task_id, error)
            observed.memory.shut_down_again_ms = observed.now_ms + _OVERLORD_AGAIN_MS
        else:
            observed.memory.shut_down = True

    async def _shut_down_orphan(self, observed: Observed, task_id: str, pod_uid: str) -> None:
        pod = next((pod for pod in self._mirror.pods(observed.ref) if pod.uid == pod_uid), None)
        if pod is None:
            return
        try:
            raw_task = await self._cluster.get(names.DRUID_TASKS, pod.owner.namespace, pod.owner.name)
        except Vanished:
            await self._shut_down(observed, task_id)
            return
        if raw_task["metadata"]["uid"] != pod.owner_uid:
            await self._shut_down(observed, task_id)
            return
        # it is there: news of it is on its way, or it was given to another release
        observed.memory.shut_down_again_ms = observed.now_ms + _OWNER_AGAIN_MS
        self._tasks.see(raw_task)


def _not_submitted(error: NemetonError, message: str, observed: Observed, generation: int) -> Submission:
    match error:
        case InvalidTask():
            if observed.twin is not None and "already exists" in message:
                message += f". It is the task of the DruidTask {observed.twin}: give this one another id, or delete it"
            return Submission(generation, refusal=message)
        case CapacityExceeded():
            return Submission(generation, is_full=True, message=message, again_ms=observed.now_ms + _FULL_AGAIN_MS)
        case _:
            return Submission(generation, message=message, again_ms=observed.now_ms + _OVERLORD_AGAIN_MS)
