"""What is done to pods: made, shortened, let go, deleted, and their Events read."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from druid_core.errors import InvalidInput, InvalidTask
from druid_core.storage.task_logs import TaskLogs
from overlord_operator import names
from overlord_operator.budget import Budget
from overlord_operator.cluster.client import PODS, SECRETS, Cluster, is_gone
from overlord_operator.cluster.errors import AlreadyExists, ClusterRefused, Outdated, Vanished
from overlord_operator.druid_task.resource import read_time
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.observed import Observed, Refusal
from overlord_operator.peon import peon_defaults, pod_request
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.refusal import cause_of_refusal
from overlord_operator.pod.template import peon_pod, token_secret
from overlord_operator.runner.overlord_client import OverlordClient
from overlord_operator.runner.payload import with_payload
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import StartPeon

_REFUSED_AGAIN_MS = 5_000
"""After a pod that the API server did not let in, and may let in later."""
_EVENT_READS_A_SECOND = 10.0
"""Lists of one pod's Events, each of which the API server has to search for."""


class PodHands:
    """Takes the steps that concern pods. What a call answers goes into the mirror."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: Cluster,
        overlord: OverlordClient,
        mirror: Mirror,
        templates: Callable[[], Mapping[str, Mapping[str, Any]]],
        logs: TaskLogs | None,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._overlord = overlord
        self._mirror = mirror
        self._templates = templates
        self._logs = logs
        self._defaults = peon_defaults(settings)
        self._unread: set[Ref] = set()
        """Tasks with a pod that starts slowly, whose Events were not read."""
        self._event_reads = Budget(_EVENT_READS_A_SECOND, 2 * _EVENT_READS_A_SECOND)

    async def start(self, observed: Observed, step: StartPeon) -> None:
        """Make the Secret and the pod of an attempt. A refusal is noted, and decided on with the next look."""
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

    async def delete(self, ref: Ref, name: str, uid: str) -> None:
        """Delete the pod, unless it is another one by now."""
        try:
            raw_pod = await self._cluster.delete(PODS, ref.namespace, name, uid)
        except (Vanished, Outdated):
            raw_pod = None
        if raw_pod is not None and "deletionTimestamp" in raw_pod["metadata"]:
            self._mirror.see_pod(raw_pod)
        else:
            self._mirror.lose_pod(ref.namespace, name, uid)

    async def release(self, ref: Ref, name: str, uid: str) -> None:
        """Take our finalizer off, and leave those of others."""
        entry = next((pod for pod in self._mirror.pods(ref) if pod.uid == uid), None)
        if entry is None:
            return
        others = [finalizer for finalizer in entry.finalizers if finalizer != names.LOG_FINALIZER]
        # with the version that was read: somebody else's finalizer that came since must not be lost
        metadata = {"uid": uid, "resourceVersion": str(entry.version), "finalizers": others or None}
        await self.patch(ref, name, uid, metadata)

    async def patch(
        self, ref: Ref, name: str, uid: str, metadata: dict[str, Any], spec: dict[str, Any] | None = None
    ) -> None:
        """Change metadata, and perhaps the spec, by merge patch; a pod that is gone or another by now is lost."""
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
        if is_gone(raw_pod):
            self._mirror.lose_pod(ref.namespace, name, raw_pod["metadata"]["uid"])
        else:
            self._mirror.see_pod(raw_pod)

    async def read_events(self, observed: Observed, uid: str) -> None:
        """What Kubernetes tells of the pod into the task's memory, or later where too many are asked for at once."""
        read, ref, now_ms = observed.memory.pod_events, observed.ref, observed.now_ms
        if self._event_reads.spend():
            self._unread.discard(ref)
            read[uid] = (now_ms, await self._cluster.events_of(ref.namespace, uid))
        else:
            # as if read by then: thousands of pods that start slowly at once are looked at in turn
            self._unread.add(ref)
            later_ms = int(1000 * len(self._unread) / _EVENT_READS_A_SECOND)
            read[uid] = (now_ms + later_ms, read[uid][1] if uid in read else [])

    def is_news_of(self, ref: Ref) -> None:
        """The task moved on: whether its pod was slow to start matters no more."""
        self._unread.discard(ref)


def _refused_ms(observed: Observed, attempt: int) -> int | None:
    """When the pod of an attempt was refused first, as far as the object tells: by this process or one before it."""
    records = observed.task.status.attempts if observed.task is not None else []
    return next((read_time(record.refused_at) for record in records if record.attempt == attempt), None)
