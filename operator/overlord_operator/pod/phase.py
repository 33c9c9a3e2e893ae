"""
What a pod's status means for its attempt: waits, runs, or ended, and why.

Pure: a pod's JSON and a clock reading in, a `PodReading` out. The peon's own word on its task is not read here; it goes
to the Overlord, which asks the runner only whether the attempt still lives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from overlord_operator.druid_task.resource import read_time
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.ending import node_is_silent, why_ended
from overlord_operator.pod.seen import SeenPod
from overlord_operator.pod.waiting import SLOW_START_MS, why_waiting

GONE_AFTER_GRACE_MS = 10_000
"""
How long after its grace a deleted pod may still show a running container. A kubelet that lives kills at the end of the
grace and says so within a second or two; one that says nothing is not there.
"""


class PodPhase(StrEnum):
    """Where an attempt stands, seen from its pod."""

    PENDING = "PENDING"  # the peon's container has not started
    RUNNING = "RUNNING"  # it has started
    ENDED = "ENDED"  # it is over, or will never start, or nobody can say any more


@dataclass(frozen=True, slots=True)
class PodReading:
    """What one look at a pod tells. Times are milliseconds; None where Kubernetes has not said it."""

    phase: PodPhase
    cause: Cause | None
    """PENDING: what keeps it from starting, None while it just starts. ENDED: why. RUNNING: None."""
    message: str
    """A sentence: what there is to see, in the scheduler's or kubelet's own words, and what to do about it."""
    pod_name: str
    pod_ip: str | None
    node: str | None
    attempt: int
    created_ms: int
    scheduled: bool
    started_ms: int | None
    finished_ms: int | None
    exit_code: int | None
    signal: int | None
    is_deleting: bool
    last_words: dict[str, Any] | None
    """The log keeper's termination message."""
    wakes_at_ms: int | None = None
    """When to look again even if no event comes; None: an event will come."""
    asks_events: bool = False
    """Whether its status does not say why it takes so long to start, and its Events may."""
    deadline_seconds: int | None = None
    """How long it may take from its start."""


def read_pod(raw_pod: Mapping[str, Any], now_ms: int, slow_start_ms: int = SLOW_START_MS) -> PodReading:
    """
    What the API server's JSON of a pod means, at this time. `slow_start_ms`: how long it may be made on its node before
    that is a cause.
    """
    pod = SeenPod.of(raw_pod)
    exit_code, signal = pod.main.exit_code, None
    finished_ms = read_time((pod.main.terminated or {}).get("finishedAt"))
    wakes_at_ms: int | None = None
    asks_events = False
    if _is_over(pod, now_ms):
        phase = PodPhase.ENDED
        ending = why_ended(pod)
        cause, message, signal = ending.cause, ending.message, ending.signal
        if finished_ms is None:
            finished_ms = pod.deleted_ms
    elif pod.main.running is not None:
        phase, cause, message = PodPhase.RUNNING, None, _running_words(pod)
        if pod.deleted_ms is not None:
            wakes_at_ms = pod.deleted_ms + GONE_AFTER_GRACE_MS
    else:
        phase = PodPhase.PENDING
        wait = why_waiting(pod, now_ms, slow_start_ms)
        cause, message, wakes_at_ms, asks_events = wait.cause, wait.message, wait.look_again_ms, wait.asks_events
        if pod.deleted_ms is not None:
            wakes_at_ms = pod.deleted_ms + GONE_AFTER_GRACE_MS
    return PodReading(
        phase=phase,
        cause=cause,
        message=message,
        pod_name=pod.name,
        pod_ip=pod.ip,
        node=pod.node,
        attempt=pod.attempt,
        created_ms=pod.created_ms,
        scheduled=pod.node is not None,
        started_ms=_started_ms(pod),
        finished_ms=finished_ms,
        exit_code=exit_code,
        signal=signal,
        is_deleting=pod.deleted_ms is not None,
        last_words=pod.last_words,
        wakes_at_ms=wakes_at_ms,
        asks_events=asks_events,
        deadline_seconds=pod.deadline_seconds,
    )


def vanished(pod_name: str, attempt: int, now_ms: int) -> PodReading:
    """The reading of a pod that was there and is not: its finalizer was taken away by force, or etcd was restored."""
    return PodReading(
        phase=PodPhase.ENDED,
        cause=Cause.VANISHED,
        message=f"Pod {pod_name} is not there any more and nobody saw its end: it was deleted by force, together with "
        "its finalizer",
        pod_name=pod_name,
        pod_ip=None,
        node=None,
        attempt=attempt,
        created_ms=now_ms,
        scheduled=False,
        started_ms=None,
        finished_ms=now_ms,
        exit_code=None,
        signal=None,
        is_deleting=True,
        last_words=None,
    )


def launch_deadline_ms(reading: PodReading, launch_timeout_ms: int) -> int | None:
    """Until when the pod has to start; None once it has, or has ended."""
    return reading.created_ms + launch_timeout_ms if reading.phase is PodPhase.PENDING else None


def overdue(reading: PodReading, launch_timeout_ms: int, now_ms: int) -> bool:
    """Whether the pod should have started by now and has not."""
    deadline_ms = launch_deadline_ms(reading, launch_timeout_ms)
    return deadline_ms is not None and now_ms >= deadline_ms


def overdue_words(reading: PodReading, launch_timeout_ms: int) -> tuple[Cause, str]:
    """The cause and the sentence of a failure to launch: what kept the pod from starting, if that is known."""
    cause = reading.cause or Cause.LAUNCH_TIMEOUT
    return (
        cause,
        f"The pod did not start within {launch_timeout_ms // 1000} s (launchTimeoutSeconds). {reading.message}",
    )


def _is_over(pod: SeenPod, now_ms: int) -> bool:
    if pod.main.terminated is not None or pod.phase in ("Failed", "Succeeded"):
        return True
    if pod.deleted_ms is None:
        return pod.reason == "NodeLost"
    # without a node there is no kubelet that would end it: only our finalizer holds the object
    return pod.node is None or node_is_silent(pod) or now_ms >= pod.deleted_ms + GONE_AFTER_GRACE_MS


def _running_words(pod: SeenPod) -> str:
    if pod.deleted_ms is not None:
        return f"The peon on node {pod.node} was told to end."
    if pod.condition("Ready", "False") is not None and pod.phase == "Running" and not pod.sidecars:
        return f"The peon's node {pod.node} does not answer at present."
    return f"The peon runs on node {pod.node}."


def _started_ms(pod: SeenPod) -> int | None:
    state = pod.main.running or pod.main.terminated or {}
    # the kubelet writes 1970 for a container that the runtime could not start
    return read_time(state.get("startedAt")) or None
