"""
Why an attempt ended, or does not start: one code each, and whether another attempt makes sense.

The codes stand in errorMsg, in the object's conditions and in Events. Where Kubernetes has a word of its own for it,
that word is the code, so that a search leads to its documentation as well as to ours.
"""

from enum import StrEnum


class Cause(StrEnum):
    """What became of a pod, in one word."""

    # The peon's own end
    COMPLETED = "Completed"  # exit code 0; whether the task succeeded is the peon's word
    EXIT_CODE = "ExitCode"  # it ended itself with another exit code
    SIGNAL = "Signal"  # something killed its process, and nothing in the pod's status says what
    OOM_KILLED = "OOMKilled"  # it wanted more memory than the container's limit

    # The cluster ended it
    NODE_LOST = "NodeLost"  # the node does not answer any more, or is gone
    NODE_SHUTDOWN = "NodeShutdown"  # the node was shut down in an orderly way
    NODE_TAINTED = "NodeTainted"  # the node got a NoExecute taint that the pod does not tolerate
    EVICTED_MEMORY = "EvictedMemoryPressure"  # the node ran out of memory and this pod was chosen
    EVICTED_DISK = "EvictedDiskPressure"  # the node ran out of disk space or inodes and this pod was chosen
    EVICTED_PIDS = "EvictedPIDPressure"  # the node ran out of process ids and this pod was chosen
    EVICTED = "Evicted"  # evicted, and nothing says for which resource
    EVICTED_BY_API = "EvictedByAPI"  # the node was drained, or an autoscaler took it away
    PREEMPTED = "Preempted"  # a pod of higher priority took its place
    CONTAINER_LOST = "ContainerStatusUnknown"  # the node came back and did not find the container
    NODE_FULL = "NodeFull"  # the kubelet refused it: scheduled to a node that had filled up meanwhile
    NODE_REFUSED = "NodeRefused"  # the kubelet refused it for another reason: affinity, devices, taints
    DELETED = "Deleted"  # somebody deleted the pod
    VANISHED = "Vanished"  # the pod object is not there any more, and nobody saw its end

    # A limit of its own
    DISK_LIMIT = "DiskLimitExceeded"  # it wrote more than its volumes or its ephemeral storage may hold
    DEADLINE = "DeadlineExceeded"  # it ran longer than activeDeadlineSeconds
    LAUNCH_TIMEOUT = "LaunchTimeout"  # it did not start in time, and nothing says why

    # It cannot start: no node
    UNSCHEDULABLE = "Unschedulable"  # no node fits: selector, affinity or taints
    INSUFFICIENT_RESOURCES = "InsufficientResources"  # no node has enough cpu, memory or storage free
    VOLUME_UNBOUND = "VolumeUnbound"  # a claim of it is missing or has no volume
    SCHEDULING_GATED = "SchedulingGated"  # a queue such as Kueue's holds it back

    # It cannot start: on its node
    IMAGE_PULL = "ImagePullBackOff"  # the image cannot be pulled
    IMAGE_NOT_FOUND = "ImageNotFound"  # the registry does not have the image
    IMAGE_DENIED = "ImagePullDenied"  # the registry wants other credentials
    IMAGE_NAME = "InvalidImageName"  # no registry could have such an image
    IMAGE_NEVER_PULLED = "ErrImageNeverPull"  # it may not be pulled and the node does not have it
    MISSING_SECRET = "MissingSecret"  # a Secret that it names does not exist, or lacks the key
    MISSING_CONFIG_MAP = "MissingConfigMap"  # a ConfigMap that it names does not exist, or lacks the key
    RUNS_AS_ROOT = "RunsAsRoot"  # the image's user is root, and the pod must not be
    CONTAINER_CONFIG = "CreateContainerConfigError"  # the container's settings cannot be put together
    CONTAINER_CREATE = "CreateContainerError"  # the runtime cannot make the container
    CONTAINER_START = "StartError"  # the runtime cannot start its command
    INIT_FAILED = "InitContainerFailed"  # a container that has to run before the peon failed
    VOLUME_MOUNT = "FailedMount"  # a volume cannot be mounted
    SANDBOX = "FailedCreatePodSandBox"  # the node cannot give it a network or a sandbox
    SLOW_START = "SlowStart"  # it has a node and is being made for longer than usual; its Events say why

    # The API server does not let it in
    QUOTA = "QuotaExceeded"  # the namespace's ResourceQuota is used up
    LIMIT_RANGE = "LimitRange"  # the namespace's LimitRange forbids such resources
    POD_SECURITY = "PodSecurity"  # the namespace's Pod Security Standard forbids such a pod
    ADMISSION_DENIED = "AdmissionDenied"  # a webhook or policy refused it
    WEBHOOK_FAILED = "WebhookFailed"  # an admission webhook does not answer
    MISSING_SERVICE_ACCOUNT = "MissingServiceAccount"  # its ServiceAccount does not exist
    MISSING_PRIORITY_CLASS = "MissingPriorityClass"  # its PriorityClass does not exist
    NOT_PERMITTED = "NotPermitted"  # the operator's account may not make it
    NAMESPACE_GONE = "NamespaceGone"  # the namespace is not there, or is being deleted
    INVALID_POD = "InvalidPod"  # it is no valid pod: the template or spec.peon is wrong
    INVALID_TEMPLATE = "InvalidTemplate"  # the template that it names does not exist
    REFUSED = "CreationRefused"  # refused in words that we do not know


class RetryKind(StrEnum):
    """Which budget another attempt is taken from."""

    FREE = "FREE"  # not the task's fault: spec.retry.freeLimit
    MORE_MEMORY = "MORE_MEMORY"  # again with more memory, up to spec.retry.memoryLimit
    COUNTED = "COUNTED"  # may be the task's fault: spec.retry.limit
    NEVER = "NEVER"  # another attempt would end the same way


_FREE = frozenset(
    {
        Cause.NODE_LOST,
        Cause.NODE_SHUTDOWN,
        Cause.NODE_TAINTED,
        Cause.EVICTED_MEMORY,
        Cause.EVICTED_DISK,
        Cause.EVICTED_PIDS,
        Cause.EVICTED,
        Cause.EVICTED_BY_API,
        Cause.PREEMPTED,
        Cause.CONTAINER_LOST,
        Cause.NODE_FULL,
        Cause.NODE_REFUSED,
        Cause.DELETED,
        Cause.VANISHED,
    }
)
_COUNTED = frozenset(
    # exit code 0 too: it counts only where the peon left no word, and then something went wrong on its way out
    {Cause.COMPLETED, Cause.EXIT_CODE, Cause.SIGNAL, Cause.INIT_FAILED}
)
_HOPELESS = frozenset(
    {
        Cause.IMAGE_NAME,
        Cause.RUNS_AS_ROOT,
        Cause.CONTAINER_START,
        Cause.LIMIT_RANGE,
        Cause.POD_SECURITY,
        Cause.INVALID_POD,
        Cause.INVALID_TEMPLATE,
        Cause.NAMESPACE_GONE,
    }
)


def retry_kind(cause: Cause) -> RetryKind:
    """Whether an attempt that ended so, without the peon's word, may be followed by another."""
    if cause is Cause.OOM_KILLED:
        return RetryKind.MORE_MEMORY
    if cause in _FREE:
        return RetryKind.FREE
    if cause in _COUNTED:
        return RetryKind.COUNTED
    return RetryKind.NEVER


def may_pass(cause: Cause) -> bool:
    """
    Whether waiting can help an attempt that does not start: a node comes, quota is freed, somebody makes the Secret.

    False: the same pod will be refused for ever, so the attempt may fail at once and not only at its launch timeout.
    """
    return cause not in _HOPELESS
