"""
Why a pod ended: the cause and a sentence, from what kubelet, scheduler and controllers wrote into its status.

The order in which the places are asked matters, because one death leaves several marks: an evicted peon has also been
killed by a signal, and one on a drained node has also been deleted. Outer causes are asked first.
"""

import re
import signal as signals
from dataclasses import dataclass

from overlord_operator import names
from overlord_operator.druid_task.resource import read_time
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.quantity import bytes_of
from overlord_operator.pod.seen import Container, SeenPod, sentence

_SHUTDOWN_REASONS = frozenset({"Terminated", "Shutdown", "NodeShutdown"})
_START_REASONS = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_INTERRUPTED = ("context canceled", "context deadline exceeded")
"""Go's words for a call that its caller gave up: the kubelet was restarted, or the runtime was too slow."""

_DISK = re.compile(r"ephemeral-storage|disk|inodes|fs\b")

_FAREWELL_MS = 15_000
"""
When its containers have ended a kubelet deletes a deleted pod once more, with no grace, and nothing tells any more when
it was asked first. So long after a signal's end a deletion without grace counts as what sent the signal.
"""

_NEAR_LIMIT = 0.95
"""Of the memory limit: a peon killed with SIGKILL that had so much was killed for it, whatever the status says."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a pod ended."""

    cause: Cause
    message: str
    signal: int | None = None


def why_ended(pod: SeenPod) -> Ending:
    """The ending of a pod that is over."""
    words = pod.last_words or {}
    signal = _signal_of(pod)
    if pod.main.exit_code == 0 and words.get("status") == "SUCCESS":
        return Ending(Cause.COMPLETED, "The peon ended with exit code 0.")
    cause, message = (
        _by_reason_of_pod(pod)
        or _by_memory(pod, signal)
        or _by_disruption(pod)
        or _by_deletion(pod)
        or _by_container(pod, signal)
        or _by_init(pod)
        or (Cause.CONTAINER_LOST, _said("The pod ended and nothing says what became of its peon", pod.message))
    )
    return Ending(cause, sentence(message), signal)


def node_is_silent(pod: SeenPod) -> bool:
    """
    Whether the pod was deleted because its node does not answer: nobody will ever tell of its container's end.

    The node lifecycle controller takes readiness from all pods of such a node, then the taint manager deletes them.
    """
    disruption = pod.condition("DisruptionTarget", "True")
    return (
        disruption is not None
        and disruption.get("reason") == "DeletionByTaintManager"
        and pod.main.terminated is None
        and pod.condition("Ready", "False") is not None
    )


def _by_reason_of_pod(pod: SeenPod) -> tuple[Cause, str] | None:
    reason, said = pod.reason, pod.message
    if reason == "Evicted":
        return _eviction(pod)
    if reason in ("Preempting", "Preempted"):
        return Cause.PREEMPTED, _said(f"A critical pod took the peon's place on node {pod.node}", said)
    if reason in _SHUTDOWN_REASONS:
        return Cause.NODE_SHUTDOWN, _said(f"Node {pod.node} was shut down under the peon", said)
    if reason == "NodeLost":
        return Cause.NODE_LOST, _said(f"Node {pod.node} was lost with the peon on it", said)
    if reason == "DeadlineExceeded":
        limit = "" if pod.deadline_seconds is None else f" of {pod.deadline_seconds} s"
        return Cause.DEADLINE, f"The peon ran longer than its deadline{limit}: raise spec.activeDeadlineSeconds"
    if reason.startswith("OutOf"):
        what = reason.removeprefix("OutOf")
        return Cause.NODE_FULL, _said(f"Node {pod.node} had no {what} left when the pod came to it", said)
    if reason in ("NodeAffinity", "NodeName", "NodePorts", "TaintToleration", "UnexpectedAdmissionError") or (
        "rejected" in said.lower()
    ):
        return Cause.NODE_REFUSED, _said(f"The kubelet of node {pod.node} did not take the pod ({reason})", said)
    return None


def _eviction(pod: SeenPod) -> tuple[Cause, str]:
    said, node = pod.message, pod.node
    text = said.lower()
    if "exceeds the limit" in text or "exceeds the total limit" in text or "exceeded its local ephemeral" in text:
        return Cause.DISK_LIMIT, _said(
            "The peon wrote more than it may: raise ephemeral-storage under spec.peon.resources.limits or the size of "
            "the volume that is named",
            said,
        )
    if "memory" in text:
        return Cause.EVICTED_MEMORY, _said(
            f"Node {node} ran out of memory and evicted the peon: raise spec.peon.resources.requests.memory to what it "
            "uses, and others will be evicted first",
            said,
        )
    if _DISK.search(text):
        return Cause.EVICTED_DISK, _said(
            f"Node {node} ran out of disk and evicted the peon: give spec.peon.resources.requests.ephemeral-storage, "
            "so that it goes where there is room",
            said,
        )
    if "pid" in text:
        return Cause.EVICTED_PIDS, _said(f"Node {node} ran out of process ids and evicted the peon", said)
    return Cause.EVICTED, _said(f"Node {node} evicted the peon", said)


def _by_memory(pod: SeenPod, signal: int | None) -> tuple[Cause, str] | None:
    words = pod.last_words or {}
    limit = pod.memory_limit
    peak = words.get("peakRssBytes")
    had = f" (it had {peak >> 20} MiB)" if isinstance(peak, int) and peak > 0 else ""
    advice = "raise spec.peon.resources.limits.memory, or lower maxBytesInMemory in the task's tuningConfig"
    if pod.main.reason == "OOMKilled":
        of = "than its node had" if limit is None else f"than its limit of {limit}"
        return Cause.OOM_KILLED, f"The peon was killed because it wanted more memory {of}{had}: {advice}"
    if signal == signals.SIGKILL and limit is not None and isinstance(peak, int):
        allowed = bytes_of(limit)
        if allowed is not None and peak >= _NEAR_LIMIT * allowed:
            return Cause.OOM_KILLED, (
                f"The peon was killed with signal 9 when it had {peak >> 20} MiB of its {limit} of memory: {advice}"
            )
    return None


def _by_disruption(pod: SeenPod) -> tuple[Cause, str] | None:
    condition = pod.condition("DisruptionTarget", "True")
    if condition is None:
        stopped = pod.condition("TerminationTarget", "True")
        if stopped is None:
            return None
        return Cause.PREEMPTED, _said("The queue took the peon's place back", str(stopped.get("message") or ""))
    reason, said = condition.get("reason"), str(condition.get("message") or "")
    match reason:
        case "PreemptionByScheduler":
            return Cause.PREEMPTED, _said(f"A pod of higher priority took the peon's place on node {pod.node}", said)
        case "EvictionByEvictionAPI":
            return Cause.EVICTED_BY_API, _said(
                f"The peon was evicted from node {pod.node}, which is drained or scaled away", said
            )
        case "DeletionByTaintManager" if pod.main.terminated is None:
            return Cause.NODE_LOST, _said(f"Node {pod.node} does not answer, and the peon on it is given up", said)
        case "DeletionByTaintManager":
            return Cause.NODE_TAINTED, _said(
                f"Node {pod.node} got a taint that the peon does not tolerate: if it should stay there, add the "
                "toleration to spec.peon.tolerations",
                said,
            )
        case "DeletionByPodGC":
            return Cause.NODE_LOST, _said(f"Node {pod.node} is gone, and the peon with it", said)
        case "TerminationByKubelet":
            return Cause.EVICTED, _said(f"The kubelet of node {pod.node} ended the peon", said)
        case _:
            return Cause.EVICTED, _said(f"The peon was ended by the cluster ({reason})", said)


def _by_deletion(pod: SeenPod) -> tuple[Cause, str] | None:
    asked_ms = pod.delete_asked_ms
    if asked_ms is None:
        return None
    if any(_ended_by_itself(pod, item, asked_ms) for item in (pod.main, *pod.inits)):
        return None
    if pod.main.running is not None:
        return Cause.NODE_LOST, (
            f"The pod was deleted, and node {pod.node} has not said within the grace that its peon has ended"
        )
    if pod.main.terminated is None:
        return Cause.DELETED, "The pod was deleted before its peon had started."
    return Cause.DELETED, "The pod was deleted while its peon ran: to end a task, delete its DruidTask or shut it down"


def _ended_by_itself(pod: SeenPod, container: Container, asked_ms: int) -> bool:
    """Whether a container had ended, or an init container failed, before somebody deleted its pod."""
    finished_ms = read_time((container.terminated or {}).get("finishedAt"))
    if finished_ms is None or (container.exit_code == 0 and container.name != names.PEON_CONTAINER):
        return False
    is_killed = container.exit_code in (137, 143)
    if is_killed and pod.grace_ms == 0 and asked_ms - finished_ms <= _FAREWELL_MS:
        return False
    # Kubernetes tells seconds: within one, the exit code tells whether it was the deletion
    return finished_ms < asked_ms or (finished_ms == asked_ms and not is_killed)


def _by_container(pod: SeenPod, signal: int | None) -> tuple[Cause, str] | None:
    main = pod.main
    if main.terminated is None:
        return None
    words = pod.last_words or {}
    error = str(words.get("errorMsg") or "") or ("" if words else main.message[-300:])
    if main.reason == "ContainerStatusUnknown":
        return Cause.CONTAINER_LOST, _said(
            f"Node {pod.node} lost the peon's container, as after a restart", main.message
        )
    if main.reason in _START_REASONS and any(sign in main.message for sign in _INTERRUPTED):
        return Cause.CONTAINER_LOST, _said(
            f"Node {pod.node} was interrupted while it started the peon's container", main.message
        )
    if main.reason in _START_REASONS:
        return Cause.CONTAINER_START, _said(
            "The peon's command cannot be started: the image of spec.peon.image or of the template must be a peon's",
            main.message,
        )
    if main.exit_code == 0:
        return Cause.COMPLETED, _said("The peon ended with exit code 0", error)
    if signal is not None:
        return Cause.SIGNAL, _signal_words(pod, signal, error)
    return Cause.EXIT_CODE, _said(f"The peon ended with exit code {main.exit_code}: its log says more", error)


def _signal_words(pod: SeenPod, signal: int, error: str) -> str:
    name = _signal_name(signal)
    if signal == signals.SIGKILL:
        other = next((item.name for item in pod.sidecars if item.reason == "OOMKilled"), None)
        hint = (
            f"container {other} of its pod ran out of memory, and took it along"
            if other is not None
            else "nothing in its pod's status says by whom; on a node short of memory it is the kernel"
        )
        return _said(f"The peon was killed with signal 9 ({name}): {hint}", error)
    if signal == signals.SIGTERM:
        return _said(f"The peon was asked to end with signal 15 ({name}), and its pod was not deleted", error)
    return _said(f"The peon was killed by signal {signal} ({name}): its log says more", error)


def _by_init(pod: SeenPod) -> tuple[Cause, str] | None:
    failed = next((item for item in pod.inits if item.exit_code not in (None, 0)), None)
    if failed is None:
        return None
    if failed.reason == "OOMKilled":
        return Cause.INIT_FAILED, f"Container {failed.name}, which runs before the peon, ran out of memory"
    return Cause.INIT_FAILED, _said(
        f"Container {failed.name}, which runs before the peon, ended with exit code {failed.exit_code}", failed.message
    )


def _signal_of(pod: SeenPod) -> int | None:
    """The signal that ended the peon: the runtime's word, the keeper's, or what the shell's convention says."""
    told = (pod.main.terminated or {}).get("signal") or (pod.last_words or {}).get("signal")
    if isinstance(told, int) and told > 0:
        return told
    code = pod.main.exit_code
    return code - 128 if code is not None and 128 < code <= 128 + 64 else None


def _signal_name(signal: int) -> str:
    try:
        return signals.Signals(signal).name
    except ValueError:
        return "unknown"


def _said(what: str, words: str) -> str:
    """The sentence, with Kubernetes' own words in brackets where there are any."""
    return f"{what} ({words.rstrip('.')})" if words else what
