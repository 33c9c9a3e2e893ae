"""
One task brought closer to where it should be: gather, decide, apply. Safe to call at any time, any number of times.

Everything it rests on is in the mirror, in the Overlord's repeated orders, or in storage, so that another process may
go on at any step.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from overlord_operator import names
from overlord_operator.apply.hands import Hands
from overlord_operator.decide import decide, waits_for_overlord
from overlord_operator.druid_task.verdict import is_borne_out, is_doubtful
from overlord_operator.mirror import Mirror, PodEntry, Ref, TaskEntry
from overlord_operator.observed import Memory, Observed, ObservedPod
from overlord_operator.pod.events import with_events
from overlord_operator.pod.phase import PodPhase, read_pod
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import LookAgain, ReadReport, Report, SaveLog

_log = logging.getLogger(__name__)

_ROUNDS = 8
"""Of one pass: a REST task needs four (object, pod, status, nothing left). More means that it runs in a circle."""

_BACKGROUND = (Report, SaveLog, ReadReport, LookAgain)
"""Steps that are only begun here: after them alone there is nothing new to see."""


class Reconciler:
    """Holds what this process has learnt of each task beside the mirror, and looks at one task at a time."""

    def __init__(self, settings: OperatorSettings, mirror: Mirror, clock_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._mirror = mirror
        self._clock_ms = clock_ms
        self._memories: dict[Ref, Memory] = {}
        self.execution: Mapping[str, Any] | None = None
        """Druid's dynamic configuration of the Kubernetes runner, as the Overlord last sent it."""
        self.waiting: dict[Ref, str] = {}
        """Tasks of which only the Overlord knows how they stand, with their ids."""
        self.doubtful: dict[Ref, str] = {}
        """Tasks with a final status of which only the Overlord knows whether it is true: see `verdict`."""
        self.passes = 0

    def memory(self, ref: Ref) -> Memory:
        memory = self._memories.get(ref)
        if memory is None:
            memory = self._memories[ref] = Memory(first_seen_ms=self._clock_ms())
        return memory

    def forget_all(self) -> None:
        """As after a restart: another replica leads, and what was learnt grows old."""
        self._memories.clear()
        self.waiting.clear()
        self.doubtful.clear()

    @property
    def remembered(self) -> int:
        return len(self._memories)

    async def reconcile(self, ref: Ref, hands: Hands, may_act: Callable[[], bool]) -> None:
        """
        Look at one task and do what is to be done, as long as `may_act` says so.

        Raises NemetonError where a step has to be tried again later.
        """
        self.passes += 1
        for _ in range(_ROUNDS):
            observed = self.observe(ref)
            if not observed.is_confirmed and is_borne_out(observed):
                self._mirror.confirm(ref)
                observed = self.observe(ref)
            steps = decide(observed)
            for step in steps:
                if not may_act():
                    return
                await hands.apply(observed, step)
            if all(isinstance(step, _BACKGROUND) for step in steps):
                break
        else:
            observed = self.observe(ref)
            _log.warning("Task %s/%s is not settled after %d rounds of one pass", ref.namespace, ref.name, _ROUNDS)
        self._note_waiting(ref, observed)

    def observe(self, ref: Ref) -> Observed:
        """All that is known of a task now."""
        now_ms = self._clock_ms()
        entry = self._mirror.task(ref)
        memory = self._memory_of(ref, entry)
        slow_start_ms = 1000 * self._settings.slow_start_seconds
        pods = tuple(_observe_pod(pod, memory, now_ms, slow_start_ms) for pod in self._mirror.pods(ref))
        for pod in pods:
            if pod.reading.phase is PodPhase.ENDED:
                memory.seen_ended_ms.setdefault(pod.attempt, now_ms)
            elif memory.outcome_ms is None and pod.attempt in memory.outcomes:
                memory.outcome_ms = now_ms
        assignment = memory.assignment
        if assignment is not None and any(pod.attempt >= assignment.attempt for pod in pods):
            memory.assignment = None
        said = memory.explanation
        if said is not None and not said.status.is_complete and any(pod.attempt >= said.attempt for pod in pods):
            memory.explanation = None  # what its pod says is newer
        return Observed(
            ref=ref,
            task=self._mirror.druid_task(ref),
            problem=entry.problem if entry is not None else None,
            task_hash=entry.task_hash if entry is not None else "",
            twin=self._twin(ref, entry),
            is_confirmed=self._mirror.is_confirmed(ref),
            pods=pods,
            memory=memory,
            execution=self.execution,
            settings=self._settings,
            now_ms=now_ms,
        )

    def _memory_of(self, ref: Ref, entry: TaskEntry | None) -> Memory:
        """What was learnt of this very object: the next one of its name begins anew."""
        memory = self.memory(ref)
        if entry is not None and memory.uid != entry.uid:
            if memory.uid:
                memory = self._memories[ref] = Memory(first_seen_ms=self._clock_ms())
            memory.uid = entry.uid
        return memory

    def _twin(self, ref: Ref, entry: TaskEntry | None) -> str | None:
        if entry is None:
            return None
        # one that was refused itself, because of the same third, is not meant
        others = sorted(other for other in self._mirror.of_task_id(entry.task_id) - {ref} if self.has_submitted(other))
        return f"{others[0].namespace}/{others[0].name}" if others else None

    def has_submitted(self, ref: Ref) -> bool:
        """Whether the Overlord has the task of this very object, as far as is known here."""
        entry, memory = self._mirror.task(ref), self._memories.get(ref)
        submission = memory.submission if memory is not None else None
        return (entry is not None and entry.is_accepted) or (submission is not None and submission.is_accepted)

    def _note_waiting(self, ref: Ref, observed: Observed) -> None:
        entry = self._mirror.task(ref)
        if entry is None and not self._mirror.pods(ref):
            memory = self._memories.get(ref)
            if memory is None or memory.assignment is None:
                self._memories.pop(ref, None)
            self.waiting.pop(ref, None)
            self.doubtful.pop(ref, None)
            return
        if entry is not None and is_doubtful(observed):
            self.doubtful[ref] = entry.task_id
            self.waiting.pop(ref, None)
            return
        self.doubtful.pop(ref, None)
        if entry is not None and waits_for_overlord(observed):
            self.waiting[ref] = entry.task_id
            return
        self.waiting.pop(ref, None)
        if entry is not None and entry.is_over and not any(pod.is_held for pod in self._mirror.pods(ref)):
            self._memories.pop(ref, None)


def _observe_pod(entry: PodEntry, memory: Memory, now_ms: int, slow_start_ms: int) -> ObservedPod:
    raw_pod = orjson.loads(entry.data)
    reading = read_pod(raw_pod, now_ms, slow_start_ms)
    read = memory.pod_events.get(entry.uid)
    if read is not None:
        reading = with_events(reading, read[1])
    annotations: Mapping[str, str] = raw_pod["metadata"].get("annotations") or {}
    return ObservedPod(
        name=entry.name,
        uid=entry.uid,
        attempt=entry.attempt,
        is_held=entry.is_held,
        is_owned=entry.owner_uid is not None,
        task_id=entry.task_id,
        type=annotations.get(names.ANNOTATION_TASK_TYPE) or "",
        data_source=annotations.get(names.ANNOTATION_TASK_DATA_SOURCE) or "",
        memory_limit=_memory_limit(raw_pod),
        reading=reading,
    )


def _memory_limit(raw_pod: Mapping[str, Any]) -> str | None:
    containers: list[Mapping[str, Any]] = (raw_pod.get("spec") or {}).get("containers") or []
    for container in containers:
        if container.get("name") == names.PEON_CONTAINER:
            limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
            return None if limit is None else str(limit)
    return None
