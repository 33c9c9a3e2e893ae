"""
Why a pod has not started its peon yet: the cause and a sentence, from the scheduler's and the kubelet's own words.

A pod that just starts has no cause. The kubelet says some things only in Events (a volume that cannot be mounted, a
sandbox that cannot be made): then `asks_events` is set, and `pod/events.py` reads on.
"""

import re
from dataclasses import dataclass

from overlord_operator.druid_task.resource import read_time
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.seen import Container, SeenPod, sentence

SILENT_AFTER_MS = 5_000
"""
From when on a pod that is on a node and not yet started is worth a look at its Events: twice what a start takes with
its image present, and early enough to have a reason within ten seconds.
"""

SLOW_START_MS = 30_000
"""
From when on such a pod is called slow where its Events tell nothing either. An image that is not on the node yet is
pulled and unpacked in ten to twenty seconds: up to then nothing is out of the ordinary.
"""

_PULL_PREFIX = re.compile(
    r"^(?:Back-off pulling image \"[^\"]*\"(?:: )?)?(?:ErrImagePull: )?(?:rpc error: code = \w+ desc = )?"
)
"""Stands before the registry's words in one of the two states that a failed pull goes back and forth between."""
_CREATING = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Wait:
    """What a pod waits for."""

    cause: Cause | None
    message: str
    look_again_ms: int | None = None
    asks_events: bool = False
    """Whether the status is silent for so long that the pod's Events may say more."""


def why_waiting(pod: SeenPod, now_ms: int, slow_start_ms: int = SLOW_START_MS) -> Wait:
    """What keeps the pod from running its peon at this time. `slow_start_ms`: from when on it is called slow."""
    if pod.node is None:
        return _for_a_node(pod, now_ms)
    stuck = next((item for item in (*pod.inits, pod.main) if item.reason not in _CREATING and item.waiting), None)
    if stuck is not None:
        cause, message = _for_a_container(stuck, pod)
        return Wait(cause, sentence(message))
    return _for_the_kubelet(pod, now_ms, slow_start_ms)


def _for_a_node(pod: SeenPod, now_ms: int) -> Wait:
    scheduled = pod.condition("PodScheduled", "False")
    if scheduled is None:
        patience_ms = pod.created_ms + SILENT_AFTER_MS
        if now_ms < patience_ms:
            return Wait(None, "The pod waits for the scheduler.", patience_ms)
        return Wait(Cause.UNSCHEDULABLE, "No scheduler has looked at the pod yet: see whether kube-scheduler runs.")
    said = str(scheduled.get("message") or "")
    if scheduled.get("reason") == "SchedulingGated":
        return Wait(Cause.SCHEDULING_GATED, sentence(f"The pod is held back until its queue admits it ({said})"))
    text = said.lower()
    if "persistentvolumeclaim" in text or "volume node affinity" in text or "persistent volumes to bind" in text:
        cause, advice = Cause.VOLUME_UNBOUND, "a volume claim of spec.peon.volumes or of the template has no volume"
    elif "insufficient" in text or "too many pods" in text:
        cause, advice = (
            Cause.INSUFFICIENT_RESOURCES,
            "no node has enough free: wait for one, add one, or ask for less under spec.peon.resources",
        )
    else:
        cause, advice = (
            Cause.UNSCHEDULABLE,
            "no node fits: see the nodeSelector and tolerations of spec.peon and of the template",
        )
    # the advice first: the scheduler's words can be long, and have sentences of their own
    return Wait(cause, sentence(f"{advice[0].upper()}{advice[1:]}. The scheduler says: {said}"))


def _for_a_container(container: Container, pod: SeenPod) -> tuple[Cause, str]:
    reason, said = container.reason, container.message
    where = "" if container is pod.main else f" of container {container.name}"
    match reason:
        case "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError":
            return _image(_PULL_PREFIX.sub("", said), where)
        case "InvalidImageName":
            return Cause.IMAGE_NAME, f"The image{where} has a name that no image can have: correct it ({said})"
        case "ErrImageNeverPull":
            return Cause.IMAGE_NEVER_PULLED, (
                f"The image{where} is not on node {pod.node} and its imagePullPolicy is Never: load it there or allow "
                f"the pull ({said})"
            )
        case "CreateContainerConfigError":
            return _config(said, where)
        case "CreateContainerError":
            return Cause.CONTAINER_CREATE, f"Node {pod.node} cannot make the container{where} ({said})"
        case "RunContainerError" | "PreStartHookError" | "PostStartHookError":
            return Cause.CONTAINER_START, (
                f"The command{where} cannot be started: the image must be one of a peon ({said})"
            )
        case "CrashLoopBackOff":
            return Cause.INIT_FAILED, f"Container {container.name}, which the peon needs, ends again and again ({said})"
        case "CreatePodSandboxError" | "ConfigPodSandboxError" | "KillPodSandboxError":
            return Cause.SANDBOX, f"Node {pod.node} cannot give the pod a sandbox ({said})"
        case "SignatureValidationFailed":
            return Cause.IMAGE_DENIED, f"The signature of the image{where} does not hold ({said})"
        case _:
            return Cause.CONTAINER_CREATE, f"Node {pod.node} cannot start the container{where} ({reason}: {said})"


def _image(said: str, where: str) -> tuple[Cause, str]:
    text = said.lower()
    words = f" ({said})" if said else ""
    # registries answer "denied" for what does not exist, to those who may not know it
    if "unauthorized" in text or "denied" in text or "forbidden" in text or "authentication required" in text:
        return Cause.IMAGE_DENIED, (
            f"The registry does not give out the image{where}: see its name, and the imagePullSecrets of the template "
            f"or of the ServiceAccount{words}"
        )
    if "not found" in text or "manifest unknown" in text or "does not exist" in text:
        return Cause.IMAGE_NOT_FOUND, f"The image{where} does not exist: correct its name or tag{words}"
    return Cause.IMAGE_PULL, f"The image{where} cannot be pulled, which is tried again and again{words}"


def _config(said: str, where: str) -> tuple[Cause, str]:
    text = said.lower()
    if "runasnonroot" in text or "non-root policy" in text:
        return Cause.RUNS_AS_ROOT, (
            f"The image{where} would run as root, which the pod forbids: give it a numeric user other than 0 ({said})"
        )
    if "configmap" in text:
        return Cause.MISSING_CONFIG_MAP, f"A ConfigMap that the pod needs is missing or lacks a key: make it ({said})"
    if "secret" in text:
        return Cause.MISSING_SECRET, f"A Secret that the pod needs is missing or lacks a key: make it ({said})"
    return Cause.CONTAINER_CONFIG, f"The settings of the container{where} cannot be put together ({said})"


def _for_the_kubelet(pod: SeenPod, now_ms: int, slow_start_ms: int) -> Wait:
    running = next((item for item in pod.inits if item.running is not None), None)
    if running is not None:
        return Wait(None, f"Container {running.name} runs first on node {pod.node}.")
    scheduled = pod.condition("PodScheduled", "True") or {}
    since_ms = read_time(scheduled.get("lastTransitionTime")) or pod.created_ms
    silent_ms, slow_ms = since_ms + SILENT_AFTER_MS, since_ms + max(slow_start_ms, SILENT_AFTER_MS)
    if now_ms < slow_ms:
        is_silent = now_ms >= silent_ms
        next_ms = slow_ms if is_silent else silent_ms
        return Wait(None, f"The pod is made on node {pod.node}.", next_ms, asks_events=is_silent)
    # without the seconds since: a sentence that changes by itself would be written again and again
    return Wait(
        Cause.SLOW_START,
        f"The pod is still made on node {pod.node}: its image is pulled or its volumes are mounted, and its Events say "
        "more.",
        asks_events=True,
    )
