"""
The steps that `decide` names, taken. Every one may be repeated: what is there already counts as made.

What a call answers goes into the mirror at once, so that nobody has to wait for the watch.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, assert_never

import orjson

from druid_core.errors import CapacityExceeded, InvalidInput, InvalidTask, NemetonError, Unavailable
from druid_core.redaction import covered, secrets_in
from druid_core.storage.task_logs import TaskLogs
from overlord_operator import names
from overlord_operator.budget import Budget
from overlord_operator.cluster.client import PODS, SECRETS, Cluster
from overlord_operator.cluster.errors import AlreadyExists, ClusterRefused, Outdated, Vanished
from overlord_operator.druid_task.events import Storyteller, happenings
from overlord_operator.druid_task.resource import read_time
from overlord_operator.druid_task.status import DruidTaskStatus, status_patch
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.observed import Observed, Refusal, Submission
from overlord_operator.peon import peon_defaults, pod_request
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.refusal import cause_of_refusal
from overlord_operator.pod.template import peon_pod, token_secret
from overlord_operator.runner.overlord_client import OverlordClient
from overlord_operator.runner.payload import with_payload
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

DRUID_TASKS = f"apis/{names.API_VERSION}/{names.PLURAL}"
"""The kind, as `Cluster` takes it."""

_OVERLORD_AGAIN_MS = 2_000
"""After a call that the Overlord did not answer."""
_OWNER_AGAIN_MS = 30_000
"""After the owner of a pod was found that nobody had told of."""
_FULL_AGAIN_MS = 10_000
"""After a submission for which the Overlord had no room."""
_REFUSED_AGAIN_MS = 5_000
"""After a pod that the API server did not let in, and may let in later."""
_EVENT_READS_A_SECOND = 10.0
"""Lists of one pod's Events, each of which the API server has to search for."""


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
        self._templates = templates
        self._storyteller = storyteller
        self._around = surroundings
        self._logs = logs
        self._defaults = peon_defaults(settings)
        self._refreshes = Budget(settings.refreshes_a_second, settings.refreshes_a_second)
        self._held_back: set[Ref] = set()
        """Tasks of which a status that tells little was not written."""
        self._unread: set[Ref] = set()
        """Tasks with a pod that starts slowly, whose Events were not read."""
        self._event_reads = Budget(_EVENT_READS_A_SECOND, 2 * _EVENT_READS_A_SECOND)

    async def apply(self, observed: Observed, step: Step) -> None:
        """
        Take one step. Raises NemetonError where it has to be tried again: ClusterAway, Unavailable, Outdated,
        ClusterRefused.
        """
        ref = observed.ref
        match step:
            case CreateTask():
                await self._create_task(observed, step)
            case TakeUp():
                await self._take_up(observed, step)
            case Submit():
                await self._submit(observed)
            case StartPeon():
                await self._start_peon(observed, step)
            case Report():
                self._around.report_later(ref, step)
            case DeletePod(name=name, uid=uid, reason=reason):
                _log.info("Pod %s/%s is deleted: %s", ref.namespace, name, reason)
                await self._delete_pod(ref, name, uid)
            case ReadPodEvents(uid=uid):
                await self._read_pod_events(observed, uid)
            case SaveLog():
                self._around.save_log_later(ref, step)
            case ReadReport():
                self._around.read_report_later(ref, step)
            case ReleasePod(name=name, uid=uid):
                await self._release_pod(ref, name, uid)
            case DisownPod(name=name, uid=uid):
                await self._patch_pod(ref, name, uid, {"uid": uid, "ownerReferences": None})
            case ShutDown(task_id=task_id):
                await self._shut_down(observed, task_id)
            case ShutDownOrphan(task_id=task_id, pod_uid=pod_uid):
                await self._shut_down_orphan(observed, task_id, pod_uid)
            case ShortenPod(name=name, uid=uid, seconds=seconds):
                _log.info("Pod %s/%s may take %d s from its start", ref.namespace, name, seconds)
                await self._patch_pod(ref, name, uid, {"uid": uid}, {"activeDeadlineSeconds": seconds})
            case WriteStatus():
                await self._write_status(observed, step)
            case ReleaseTask():
                await self._release_task(observed)
            case DeleteTask(uid=uid):
                with contextlib.suppress(Vanished, Outdated):
                    self._see_task(await self._cluster.delete(DRUID_TASKS, ref.namespace, ref.name, uid))
            case LookAgain(at_ms=at_ms):
                self._around.look_again(ref, at_ms)
            case _:
                assert_never(step)

    async def _create_task(self, observed: Observed, step: CreateTask) -> None:
        ref = observed.ref
        raw_task = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {
                "name": ref.name,
                "namespace": ref.namespace,
                "labels": {
                    names.LABEL_SUBMITTED_BY: "rest",
                    names.LABEL_RELEASE: self._settings.release,
                    names.LABEL_TASK_TYPE: names.text_label(step.type),
                    names.LABEL_TASK_DATA_SOURCE: names.text_label(step.data_source),
                },
                "annotations": {
                    names.ANNOTATION_TASK_ID: step.task_id,
                    names.ANNOTATION_TASK_TYPE: step.type,
                    names.ANNOTATION_TASK_DATA_SOURCE: step.data_source,
                },
                "finalizers": [names.LOG_FINALIZER],
            },
            "spec": {"taskId": step.task_id},
        }
        try:
            self._see_task(await self._cluster.create(DRUID_TASKS, ref.namespace, raw_task))
        except AlreadyExists:
            self._see_task(await self._cluster.get(DRUID_TASKS, ref.namespace, ref.name))

    async def _take_up(self, observed: Observed, step: TakeUp) -> None:
        assert observed.task is not None
        task = observed.task
        finalizers = list(dict.fromkeys([*task.finalizers, names.LOG_FINALIZER]))
        patch = {
            "metadata": {
                "uid": task.uid,
                "resourceVersion": task.resource_version,
                "finalizers": finalizers,
                "annotations": {
                    names.ANNOTATION_TASK_ID: step.task_id,
                    names.ANNOTATION_SPEC_HASH: step.task_hash,
                },
            }
        }
        await self._patch_task(observed.ref, task.uid, patch)

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
                raw_object = await self._cluster.get(DRUID_TASKS, ref.namespace, ref.name)
                raw_task = raw_object["spec"].get("task") or {}
            await self._overlord.submit({**raw_task, "id": task.task_id}, task.uid, self._settings.release)
        except (InvalidTask, CapacityExceeded, Unavailable) as error:
            # whoever may read the object's Events need not be one who may read its spec
            message = covered(str(error), secrets_in(raw_task))
            memory.submission = _not_submitted(error, message, observed, generation)
        else:
            memory.submission = Submission(generation, is_accepted=True)

    async def _start_peon(self, observed: Observed, step: StartPeon) -> None:
        assert observed.task is not None
        assignment, task, memory, ref = step.assignment, observed.task, observed.memory, observed.ref
        try:
            templates = self._templates()
            request = pod_request(
                assignment, task, self._defaults, self._settings, observed.execution, templates, step.oom_kills
            )
            request = await with_payload(request, self._overlord, self._logs)
            pod = peon_pod(request)
            with contextlib.suppress(AlreadyExists):
                await self._cluster.create(SECRETS, ref.namespace, token_secret(request))
            try:
                raw_pod = await self._cluster.create(PODS, ref.namespace, pod, is_strict=True)
            except AlreadyExists:
                raw_pod = await self._cluster.get(PODS, ref.namespace, request.pod_name)
            if self._mirror.see_pod(raw_pod) not in (ref, None):
                self._refuse(
                    observed, assignment.attempt, Cause.REFUSED, f"A foreign pod has the name {request.pod_name}."
                )
        except ClusterRefused as error:
            self._refuse(observed, assignment.attempt, *cause_of_refusal(error.status, str(error)))
        except Vanished as error:
            self._refuse(observed, assignment.attempt, *cause_of_refusal(404, str(error)))
        except (InvalidTask, InvalidInput) as error:
            self._refuse(observed, assignment.attempt, Cause.INVALID_TEMPLATE, str(error))
        else:
            memory.refusals.pop(assignment.attempt, None)

    def _refuse(self, observed: Observed, attempt: int, cause: Cause, message: str) -> None:
        before = observed.memory.refusals.get(attempt)
        first_ms = before.first_ms if before is not None else _refused_ms(observed, attempt) or observed.now_ms
        waited_ms = observed.now_ms - first_ms
        again_ms = observed.now_ms + min(max(_REFUSED_AGAIN_MS, waited_ms // 4), 60_000)
        observed.memory.refusals[attempt] = Refusal(cause, message, first_ms, again_ms)

    async def _delete_pod(self, ref: Ref, name: str, uid: str) -> None:
        try:
            raw_pod = await self._cluster.delete(PODS, ref.namespace, name, uid)
        except (Vanished, Outdated):
            raw_pod = None
        if raw_pod is not None and "deletionTimestamp" in raw_pod["metadata"]:
            self._mirror.see_pod(raw_pod)
        else:
            self._mirror.lose_pod(ref.namespace, name, uid)

    async def _release_pod(self, ref: Ref, name: str, uid: str) -> None:
        entry = next((pod for pod in self._mirror.pods(ref) if pod.uid == uid), None)
        if entry is None:
            return
        others = [finalizer for finalizer in entry.finalizers if finalizer != names.LOG_FINALIZER]
        # with the version that was read: somebody else's finalizer that came since must not be lost
        metadata = {"uid": uid, "resourceVersion": str(entry.version), "finalizers": others or None}
        await self._patch_pod(ref, name, uid, metadata)

    async def _patch_pod(
        self, ref: Ref, name: str, uid: str, metadata: dict[str, Any], spec: dict[str, Any] | None = None
    ) -> None:
        patch = {"metadata": metadata} if spec is None else {"metadata": metadata, "spec": spec}
        try:
            raw_pod = await self._cluster.patch(PODS, ref.namespace, name, patch)
        except Vanished:
            self._mirror.lose_pod(ref.namespace, name, uid)
            return
        except Outdated:
            try:
                raw_pod = await self._cluster.get(PODS, ref.namespace, name)
            except Vanished:
                self._mirror.lose_pod(ref.namespace, name, uid)
                return
            if raw_pod["metadata"]["uid"] != uid:
                self._mirror.lose_pod(ref.namespace, name, uid)
        if _is_gone(raw_pod):
            self._mirror.lose_pod(ref.namespace, name, raw_pod["metadata"]["uid"])
        else:
            self._mirror.see_pod(raw_pod)

    async def _read_pod_events(self, observed: Observed, uid: str) -> None:
        read, ref, now_ms = observed.memory.pod_events, observed.ref, observed.now_ms
        if self._event_reads.spend():
            self._unread.discard(ref)
            read[uid] = (now_ms, await self._cluster.events_of(ref.namespace, uid))
        else:
            # as if read by then: thousands of pods that start slowly at once are looked at in turn
            self._unread.add(ref)
            later_ms = int(1000 * len(self._unread) / _EVENT_READS_A_SECOND)
            read[uid] = (now_ms + later_ms, read[uid][1] if uid in read else [])

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
            raw_task = await self._cluster.get(DRUID_TASKS, pod.owner.namespace, pod.owner.name)
        except Vanished:
            await self._shut_down(observed, task_id)
            return
        if raw_task["metadata"]["uid"] != pod.owner_uid:
            await self._shut_down(observed, task_id)
            return
        # it is there: news of it is on its way, or it was given to another release
        observed.memory.shut_down_again_ms = observed.now_ms + _OWNER_AGAIN_MS
        self._see_task(raw_task)

    async def _write_status(self, observed: Observed, step: WriteStatus) -> None:
        assert observed.task is not None
        task, ref = observed.task, observed.ref
        if not step.is_urgent and (self._around.has_more_to_do() or not self._refreshes.spend()):
            # by as much later as there are others, so that looking does not cost more than writing
            self._held_back.add(ref)
            pause_ms = 1000 + int(1000 * len(self._held_back) / self._settings.refreshes_a_second)
            observed.memory.told_again_ms = observed.now_ms + pause_ms
            return
        self._held_back.discard(ref)
        if step.is_urgent:
            self._unread.discard(ref)
        patch = status_patch(task.status, step.status)
        try:
            raw_task = await self._cluster.patch(DRUID_TASKS, ref.namespace, ref.name, {"status": patch}, "status")
        except Vanished:
            self._mirror.lose_task(ref.namespace, ref.name, task.uid)
            return
        self._see_task(raw_task)
        if not status_patch(DruidTaskStatus.parse(raw_task.get("status")), step.status):
            self._mirror.confirm(ref)
        for happening in happenings(task.status, step.status):
            await self._storyteller.tell(task, happening, observed.now_ms)

    async def _release_task(self, observed: Observed) -> None:
        assert observed.task is not None
        task = observed.task
        others = [name for name in task.finalizers if name != names.LOG_FINALIZER]
        # with the version that was read: somebody else's finalizer that came since must not be lost
        metadata = {"uid": task.uid, "resourceVersion": task.resource_version, "finalizers": others or None}
        await self._patch_task(observed.ref, task.uid, {"metadata": metadata})

    async def _patch_task(self, ref: Ref, uid: str, patch: dict[str, Any]) -> None:
        try:
            raw_task = await self._cluster.patch(DRUID_TASKS, ref.namespace, ref.name, patch)
        except Vanished:
            self._mirror.lose_task(ref.namespace, ref.name, uid)
            return
        except Outdated:
            with contextlib.suppress(Vanished):
                self._see_task(await self._cluster.get(DRUID_TASKS, ref.namespace, ref.name))
            return
        if _is_gone(raw_task):
            self._mirror.lose_task(ref.namespace, ref.name, uid)
        else:
            self._see_task(raw_task)

    def _see_task(self, raw_task: dict[str, Any] | None) -> None:
        if raw_task is not None:
            self._mirror.see_task(raw_task)


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


def _refused_ms(observed: Observed, attempt: int) -> int | None:
    """When the pod of an attempt was refused first, as far as the object tells: by this process or one before it."""
    records = observed.task.status.attempts if observed.task is not None else []
    return next((read_time(record.refused_at) for record in records if record.attempt == attempt), None)


def _is_gone(raw_object: Mapping[str, Any]) -> bool:
    """Whether a patch took the last finalizer from what was deleted: the answer is the object's last state."""
    metadata = raw_object["metadata"]
    return "deletionTimestamp" in metadata and not metadata.get("finalizers")
