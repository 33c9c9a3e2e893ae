"""What is done to DruidTasks: made, taken up, their status written, let go, deleted."""

import contextlib
from collections.abc import Callable
from typing import Any

from overlord_operator import names
from overlord_operator.budget import Budget
from overlord_operator.cluster.client import Cluster, is_gone
from overlord_operator.cluster.errors import AlreadyExists, Outdated, Vanished
from overlord_operator.druid_task.events import Storyteller, happenings
from overlord_operator.druid_task.status import DruidTaskStatus, status_patch
from overlord_operator.mirror import Mirror, Ref
from overlord_operator.observed import Observed
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import CreateTask, TakeUp, WriteStatus


class TaskHands:
    """Takes the steps that concern DruidTasks. What a call answers goes into the mirror."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: Cluster,
        mirror: Mirror,
        storyteller: Storyteller,
        has_more_to_do: Callable[[], bool],
    ) -> None:
        """`has_more_to_do`: whether more tasks wait to be looked at than a moment is enough for; those go first."""
        self._settings = settings
        self._cluster = cluster
        self._mirror = mirror
        self._storyteller = storyteller
        self._has_more_to_do = has_more_to_do
        self._refreshes = Budget(settings.refreshes_a_second, settings.refreshes_a_second)
        self._held_back: set[Ref] = set()
        """Tasks of which a status that tells little was not written."""

    async def create(self, observed: Observed, step: CreateTask) -> None:
        """An object for a task that was submitted by REST."""
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
            self.see(await self._cluster.create(names.DRUID_TASKS, ref.namespace, raw_task))
        except AlreadyExists:
            self.see(await self._cluster.get(names.DRUID_TASKS, ref.namespace, ref.name))

    async def take_up(self, observed: Observed, step: TakeUp) -> None:
        """Write down which task it is, with a finalizer: from here on it is this release's to end."""
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
        await self._patch(observed.ref, task.uid, patch)

    async def write_status(self, observed: Observed, step: WriteStatus) -> None:
        """The status, and its story as Events. What tells little waits while there is more to do, or is left out."""
        assert observed.task is not None
        task, ref = observed.task, observed.ref
        if not step.is_urgent and (self._has_more_to_do() or not self._refreshes.spend()):
            # by as much later as there are others, so that looking does not cost more than writing
            self._held_back.add(ref)
            pause_ms = 1000 + int(1000 * len(self._held_back) / self._settings.refreshes_a_second)
            observed.memory.told_again_ms = observed.now_ms + pause_ms
            return
        self._held_back.discard(ref)
        patch = status_patch(task.status, step.status)
        try:
            raw_task = await self._cluster.patch(
                names.DRUID_TASKS, ref.namespace, ref.name, {"status": patch}, "status"
            )
        except Vanished:
            self._mirror.lose_task(ref.namespace, ref.name, task.uid)
            return
        self.see(raw_task)
        if not status_patch(DruidTaskStatus.parse(raw_task.get("status")), step.status):
            self._mirror.confirm(ref)
        for happening in happenings(task.status, step.status):
            await self._storyteller.tell(task, happening, observed.now_ms)

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete the object, unless it is another one by now."""
        with contextlib.suppress(Vanished, Outdated):
            self.see(await self._cluster.delete(names.DRUID_TASKS, ref.namespace, ref.name, uid))

    async def release(self, observed: Observed) -> None:
        """Take our finalizer off, and leave those of others."""
        assert observed.task is not None
        task = observed.task
        others = [name for name in task.finalizers if name != names.LOG_FINALIZER]
        # with the version that was read: somebody else's finalizer that came since must not be lost
        metadata = {"uid": task.uid, "resourceVersion": task.resource_version, "finalizers": others or None}
        await self._patch(observed.ref, task.uid, {"metadata": metadata})

    async def _patch(self, ref: Ref, uid: str, patch: dict[str, Any]) -> None:
        try:
            raw_task = await self._cluster.patch(names.DRUID_TASKS, ref.namespace, ref.name, patch)
        except Vanished:
            self._mirror.lose_task(ref.namespace, ref.name, uid)
            return
        except Outdated:
            with contextlib.suppress(Vanished):
                self.see(await self._cluster.get(names.DRUID_TASKS, ref.namespace, ref.name))
            return
        if is_gone(raw_task):
            self._mirror.lose_task(ref.namespace, ref.name, uid)
        else:
            self.see(raw_task)

    def see(self, raw_task: dict[str, Any] | None) -> None:
        """An answer into the mirror."""
        if raw_task is not None:
            self._mirror.see_task(raw_task)
