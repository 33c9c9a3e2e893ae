"""Each death of a pod has its name, from what Kubernetes' own parts leave in the pod's status."""

from typing import Any

import orjson
import pytest

from overlord_operator.pod.cause import Cause
from overlord_operator.pod.phase import PodPhase, read_pod, vanished
from tests.support.pods import (
    CREATED_MS,
    NOW_MS,
    condition,
    disrupted,
    raw_pod,
    running,
    terminated,
    waiting,
)

JsonObject = dict[str, Any]

DELETED = "2026-01-31T10:05:20Z"
"""When the grace of 30 s is over: asked for at 10:04:50."""


def last_words(**fields: Any) -> str:
    words = {"taskId": "noop_web", "attempt": 1, "exitCode": 1, "signal": None, "peakRssBytes": 0, "status": None}
    return orjson.dumps(words | fields).decode()


ENDINGS: list[tuple[str, JsonObject, Cause, str]] = [
    (
        "the peon ran to its end",
        raw_pod(phase="Succeeded", main=terminated(0, "Completed")),
        Cause.COMPLETED,
        "exit code 0",
    ),
    (
        "the peon could not start, and its keeper says why",
        raw_pod(phase="Failed", main=terminated(1, message=last_words(errorMsg="The Overlord does not answer"))),
        Cause.EXIT_CODE,
        "exit code 1: its log says more (The Overlord does not answer)",
    ),
    (
        "it had no time for last words, so the kubelet took the end of its output",
        raw_pod(phase="Failed", main=terminated(1, message="ModuleNotFoundError: No module named 'peon'\n")),
        Cause.EXIT_CODE,
        "No module named 'peon'",
    ),
    (
        "it went beyond its memory limit",
        raw_pod(phase="Failed", main=terminated(137, "OOMKilled")),
        Cause.OOM_KILLED,
        "more memory than its limit of 2Gi",
    ),
    (
        "without a limit its node ran out",
        raw_pod(phase="Failed", memory=None, main=terminated(137, "OOMKilled")),
        Cause.OOM_KILLED,
        "more memory than its node had",
    ),
    (
        "only the peon was killed and not its keeper, which knows how much it had",
        raw_pod(
            phase="Failed", main=terminated(137, message=last_words(exitCode=137, signal=9, peakRssBytes=2_130_000_000))
        ),
        Cause.OOM_KILLED,
        "2031 MiB of its 2Gi",
    ),
    (
        "a killed peon that had little memory was killed by somebody else",
        raw_pod(
            phase="Failed", main=terminated(137, message=last_words(exitCode=137, signal=9, peakRssBytes=200_000_000))
        ),
        Cause.SIGNAL,
        "killed with signal 9 (SIGKILL)",
    ),
    (
        "exit code 137 and nothing else",
        raw_pod(phase="Failed", main=terminated(137)),
        Cause.SIGNAL,
        "nothing in its pod's status says by whom",
    ),
    (
        "a sidecar ran out of memory and took it along",
        raw_pod(phase="Failed", main=terminated(137), sidecars={"proxy": terminated(137, "OOMKilled")}),
        Cause.SIGNAL,
        "container proxy of its pod ran out of memory",
    ),
    (
        "SIGTERM from nobody we know",
        raw_pod(phase="Failed", main=terminated(143)),
        Cause.SIGNAL,
        "signal 15 (SIGTERM)",
    ),
    (
        "a crash in native code",
        raw_pod(phase="Failed", main=terminated(139)),
        Cause.SIGNAL,
        "signal 11 (SIGSEGV)",
    ),
    (
        "memory pressure on the node",
        raw_pod(
            phase="Failed",
            reason="Evicted",
            message="The node was low on resource: memory. Threshold quantity: 100Mi, available: 88Mi. Container main "
            "was using 900Mi, request is 512Mi, has larger consumption of memory. ",
            conditions=disrupted("TerminationByKubelet", "The node was low on resource: memory."),
            main=terminated(137),
        ),
        Cause.EVICTED_MEMORY,
        "ran out of memory and evicted the peon",
    ),
    (
        "disk pressure on the node",
        raw_pod(
            phase="Failed",
            reason="Evicted",
            message="The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 900Mi.",
            main=terminated(137),
        ),
        Cause.EVICTED_DISK,
        "ran out of disk",
    ),
    (
        "inodes used up on the node",
        raw_pod(
            phase="Failed", reason="Evicted", message="The node was low on resource: inodes.", main=terminated(137)
        ),
        Cause.EVICTED_DISK,
        "low on resource: inodes",
    ),
    (
        "a node that was under disk pressure when the pod came",
        raw_pod(phase="Failed", reason="Evicted", message="The node had condition: [DiskPressure]. "),
        Cause.EVICTED_DISK,
        "DiskPressure",
    ),
    (
        "process ids used up on the node",
        raw_pod(phase="Failed", reason="Evicted", message="The node was low on resource: pids.", main=terminated(137)),
        Cause.EVICTED_PIDS,
        "process ids",
    ),
    (
        "evicted in words of a later version",
        raw_pod(phase="Failed", reason="Evicted", message="The node was tired.", main=terminated(137)),
        Cause.EVICTED,
        "The node was tired",
    ),
    (
        "it filled its own volume",
        raw_pod(
            phase="Failed",
            reason="Evicted",
            message='Usage of EmptyDir volume "work" exceeds the limit "1Gi". ',
            main=terminated(137),
        ),
        Cause.DISK_LIMIT,
        'volume "work" exceeds the limit "1Gi"',
    ),
    (
        "it wrote more than its ephemeral storage",
        raw_pod(
            phase="Failed",
            reason="Evicted",
            message="Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. ",
            main=terminated(137),
        ),
        Cause.DISK_LIMIT,
        "raise ephemeral-storage",
    ),
    (
        "the scheduler preferred another",
        raw_pod(
            phase="Failed",
            conditions=disrupted(
                "PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"
            ),
            deleted=DELETED,
            main=terminated(143),
        ),
        Cause.PREEMPTED,
        "higher priority",
    ),
    (
        "the kubelet made room for a critical pod",
        raw_pod(
            phase="Failed",
            reason="Preempting",
            message="Preempted in order to admit critical pod",
            conditions=disrupted("TerminationByKubelet", "Preempted in order to admit critical pod"),
            main=terminated(143),
        ),
        Cause.PREEMPTED,
        "critical pod",
    ),
    (
        "Kueue took the quota back",
        raw_pod(
            phase="Failed",
            conditions=[condition("TerminationTarget", "True", "StoppedByKueue", "Preempted for a higher Workload")],
            deleted=DELETED,
            main=terminated(143),
        ),
        Cause.PREEMPTED,
        "Preempted for a higher Workload",
    ),
    (
        "kubectl drain",
        raw_pod(
            phase="Failed",
            conditions=disrupted("EvictionByEvictionAPI", "Eviction API: evicting"),
            deleted=DELETED,
            main=terminated(143),
        ),
        Cause.EVICTED_BY_API,
        "drained or scaled away",
    ),
    (
        "a taint with NoExecute, on a node that lives",
        raw_pod(
            phase="Failed",
            conditions=disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
            deleted=DELETED,
            main=terminated(143),
        ),
        Cause.NODE_TAINTED,
        "a taint that the peon does not tolerate",
    ),
    (
        "a node that does not answer: its container still reads as running",
        raw_pod(
            conditions=[
                condition("Ready", "False", "", ""),
                *disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
            ],
            deleted=DELETED,
            main=running(),
        ),
        Cause.NODE_LOST,
        "Node node-1 does not answer",
    ),
    (
        "a node that was taken out of the cluster",
        raw_pod(
            phase="Failed",
            conditions=disrupted("DeletionByPodGC", "PodGC: node no longer exists"),
            deleted=DELETED,
            main=running(),
        ),
        Cause.NODE_LOST,
        "Node node-1 is gone",
    ),
    (
        "a node of an older cluster that was lost",
        raw_pod(reason="NodeLost", message="Node node-1 which was running pod x is unresponsive", main=running()),
        Cause.NODE_LOST,
        "unresponsive",
    ),
    (
        "an orderly shutdown of the node",
        raw_pod(
            phase="Failed",
            reason="Terminated",
            message="Pod was terminated in response to imminent node shutdown.",
            conditions=disrupted("TerminationByKubelet", "Pod was terminated in response to imminent node shutdown."),
            main=terminated(143),
        ),
        Cause.NODE_SHUTDOWN,
        "imminent node shutdown",
    ),
    (
        "a node that was shutting down when the pod came",
        raw_pod(phase="Failed", reason="NodeShutdown", message="Pod was rejected as the node is shutting down."),
        Cause.NODE_SHUTDOWN,
        "shutting down",
    ),
    (
        "a node that restarted and lost its containers",
        raw_pod(
            phase="Failed",
            main=terminated(
                137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated"
            ),
        ),
        Cause.CONTAINER_LOST,
        "could not be located",
    ),
    (
        "a node that had filled up meanwhile",
        raw_pod(
            phase="Failed",
            reason="OutOfmemory",
            message="Pod was rejected: Node didn't have enough resource: memory, requested: 2147483648, used: "
            "3147483648, capacity: 4147483648",
        ),
        Cause.NODE_FULL,
        "no memory left",
    ),
    (
        "a node with as many pods as it may have",
        raw_pod(
            phase="Failed",
            reason="OutOfpods",
            message="Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: 110, capacity: 110",
        ),
        Cause.NODE_FULL,
        "no pods left",
    ),
    (
        "a node whose labels had changed meanwhile",
        raw_pod(
            phase="Failed",
            reason="NodeAffinity",
            message="Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity",
        ),
        Cause.NODE_REFUSED,
        "NodeAffinity failed",
    ),
    (
        "a device that the node could not give",
        raw_pod(
            phase="Failed",
            reason="UnexpectedAdmissionError",
            message="Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate",
        ),
        Cause.NODE_REFUSED,
        "no healthy devices",
    ),
    (
        "it ran longer than it may",
        raw_pod(
            phase="Failed",
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
            main=terminated(143),
        ),
        Cause.DEADLINE,
        "deadline of 3600 s",
    ),
    (
        "somebody deleted the pod",
        raw_pod(phase="Failed", deleted=DELETED, main=terminated(143)),
        Cause.DELETED,
        "deleted while its peon ran",
    ),
    (
        "somebody deleted the pod before it had a node",
        raw_pod(phase="Pending", node=None, deleted="2026-01-31T10:00:02Z", grace_seconds=0),
        Cause.DELETED,
        "deleted before its peon had started",
    ),
    (
        "somebody deleted the pod, and its node never said more",
        raw_pod(deleted=DELETED, main=running()),
        Cause.NODE_LOST,
        "has not said within the grace",
    ),
    (
        "a command that is not in the image",
        raw_pod(
            phase="Failed",
            main=terminated(
                128,
                "StartError",
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
                'failed: unable to start container process: exec: "python": executable file not found in $PATH',
            ),
        ),
        Cause.CONTAINER_START,
        "executable file not found",
    ),
    (
        "a kubelet that was restarted while it started the container",
        raw_pod(
            phase="Failed",
            main=terminated(
                128,
                "StartError",
                "failed to create containerd task: failed to create shim task: context canceled",
            ),
        ),
        Cause.CONTAINER_LOST,
        "was interrupted while it started",
    ),
    (
        "an init container that failed",
        raw_pod(
            phase="Failed",
            main=waiting("PodInitializing"),
            inits={"fetch": terminated(2, "Error")},
        ),
        Cause.INIT_FAILED,
        "Container fetch, which runs before the peon, ended with exit code 2",
    ),
    (
        "a pod that ended without a trace",
        raw_pod(phase="Failed"),
        Cause.CONTAINER_LOST,
        "nothing says what became of its peon",
    ),
]


@pytest.mark.parametrize(("raw", "cause", "words"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS])
def test_death_of_a_pod_has_its_name_and_a_sentence(raw: JsonObject, cause: Cause, words: str) -> None:
    reading = read_pod(raw, NOW_MS)
    assert reading.phase is PodPhase.ENDED
    assert reading.cause is cause
    assert words in reading.message
    assert reading.message.endswith(".")
    assert "None" not in reading.message
    assert "\n" not in reading.message


def test_more_than_twenty_deaths_are_told_apart() -> None:
    assert len({row[2] for row in ENDINGS}) >= 20


def test_peon_that_said_success_has_completed_whatever_came_over_its_pod() -> None:
    raw = raw_pod(
        phase="Succeeded",
        conditions=disrupted("EvictionByEvictionAPI", "Eviction API: evicting"),
        main=terminated(0, "Completed", last_words(exitCode=0, status="SUCCESS")),
        deleted=DELETED,
    )
    reading = read_pod(raw, NOW_MS)
    assert reading.cause is Cause.COMPLETED
    assert reading.last_words is not None
    assert reading.last_words["status"] == "SUCCESS"


def test_attempt_ends_with_its_peon_and_not_with_its_sidecars() -> None:
    ended = raw_pod(main=terminated(0, "Completed"), sidecars={"proxy": running()})
    assert read_pod(ended, NOW_MS).phase is PodPhase.ENDED
    alive = raw_pod(main=running(), sidecars={"proxy": terminated(1)})
    assert read_pod(alive, NOW_MS).phase is PodPhase.RUNNING


def test_pod_that_is_not_there_any_more_has_ended() -> None:
    reading = vanished("gone", 2, NOW_MS)
    assert (reading.phase, reading.cause, reading.attempt) == (PodPhase.ENDED, Cause.VANISHED, 2)


def test_times_code_and_signal_are_read() -> None:
    reading = read_pod(raw_pod(phase="Failed", main=terminated(139), attempt=3), NOW_MS)
    assert (reading.exit_code, reading.signal, reading.attempt) == (139, 11, 3)
    assert reading.started_ms == CREATED_MS + 3_000
    assert reading.finished_ms == CREATED_MS + 300_000


@pytest.mark.parametrize("raw", [{}, {"metadata": None, "spec": None, "status": None}, {"status": {"phase": "Odd"}}])
def test_pod_without_the_usual_parts_is_one_that_starts(raw: JsonObject) -> None:
    reading = read_pod(raw, 0)
    assert (reading.phase, reading.attempt, reading.pod_name) == (PodPhase.PENDING, 1, "")
