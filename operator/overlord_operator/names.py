"""
Names of Kubernetes objects, labels and annotations: Druid's own, so that selectors and dashboards made for Druid's
Kubernetes runner keep working; and those of the DruidTask, which Druid does not have.

Pure functions and constants. A task's id cannot be read back from an object's name or labels; it stands, whole, in the
annotation `task.id`.
"""

import re

import mmh3

LABEL_PEON = "druid.k8s.peons"
"""On every peon's Job and pod, with the value `true`: what a selector for all peons asks for."""

LABEL_TASK_ID = "druid.task.id"
"""The task's id, reduced to letters and digits. For people; two ids may be reduced to one value."""

LABEL_TASK_GROUP_ID = "druid.task.group.id"
"""The group's id, reduced likewise: the sub-tasks of one supervisor task share it."""

LABEL_TASK_TYPE = "druid.task.type"
"""The task's type, such as `index_parallel`."""

LABEL_TASK_DATA_SOURCE = "druid.task.datasource"
"""The datasource, without the characters that a label cannot hold."""

LABEL_OVERLORD_NAMESPACE = "druid.overlord.namespace"
"""The namespace of the Overlord that the peon belongs to: several may share a namespace for their peons."""

LABEL_JOB_NAME = "job-name"
"""Set by Kubernetes on the pods of a Job; by it a Job's pod is found."""

ANNOTATION_TASK_ID = "task.id"
"""The task's id as it is: the one place that it can be read back from."""

ANNOTATION_TASK_TYPE = "task.type"
"""The task's type as it is."""

ANNOTATION_TASK_GROUP_ID = "task.group.id"
"""The group's id as it is."""

ANNOTATION_TASK_DATA_SOURCE = "task.datasource"
"""The datasource as it is."""

ANNOTATION_JOB_TEMPLATE = "task.jobTemplate"
"""Which pod template the pod was made from."""

ANNOTATION_TLS_ENABLED = "tls.enabled"
"""`true` where the peon serves TLS on port 8091, `false` where it serves plain HTTP on port 8100. On pods alone."""

ANNOTATION_TASK = "task"
"""The payload, gzipped, in base64, where it is small enough. On pods alone."""

GROUP = "druid.nemeton.dev"
"""The API group of our own objects, and the prefix of all labels and annotations that Druid does not know."""

VERSION = "v1alpha1"
"""The version of the group that the operator reads and writes."""

API_VERSION = f"{GROUP}/{VERSION}"
"""As it stands in an object's `apiVersion`."""

KIND = "DruidTask"
"""One task, as an object."""

PLURAL = "druidtasks"
"""As it stands in the API server's paths."""

DRUID_TASKS = f"apis/{API_VERSION}/{PLURAL}"
"""The kind, as a client of the API server takes it."""

LOG_FINALIZER = f"{GROUP}/log"
"""
On a pod until its log is in storage, and on a DruidTask until its task is over and its pods are gone: neither may be
gone before, and afterwards both can be deleted without an operator.
"""

LABEL_SUBMITTED_BY = f"{GROUP}/submitted-by"
"""On a DruidTask that the operator made: `rest`, for a task that came by REST. One that was applied has none."""

LABEL_ATTEMPT = f"{GROUP}/attempt"
"""Which run of its task a pod is, from 1; on its Secret too."""

LABEL_RELEASE = f"{GROUP}/release"
"""Which operator takes care of an object: several may share a namespace."""

LABEL_KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
"""The queue in which Kueue holds a pod until there is quota for it."""

ANNOTATION_ATTEMPT = f"{GROUP}/attempt"
"""As the label of this name."""

ANNOTATION_SPEC_HASH = f"{GROUP}/spec-hash"
"""Of a DruidTask's task as it was submitted: tells an edit that comes too late."""

ANNOTATION_PEON = f"{GROUP}/peon"
"""On a pod template: `druid` where its image is Apache Druid's own, whose payload comes in its environment."""

STOCK_PEON = "druid"
"""The value of that annotation."""

CONDITION_SUBMITTED = "Submitted"
"""The Overlord has the task."""

CONDITION_LOCKS_ACQUIRED = "LocksAcquired"
"""The task has its locks, or needs none; while it waits the message says who holds them."""

CONDITION_POD_SCHEDULED = "PodScheduled"
"""The pod of the present attempt has a node; until then the message has the scheduler's own words."""

CONDITION_RUNNING = "Running"
"""The peon runs; before, the message says what keeps it from starting."""

CONDITION_COMPLETE = "Complete"
"""The task is finished; the reason is `Success`, or the cause of its failure."""

CONDITION_LOG_STORED = "LogStored"
"""Only where a log could not be stored: False until it is; the message says what is in the way."""

PEON_CONTAINER = "main"
"""The container whose output is the task's log."""

MAX_LABEL_CHARACTERS = 63
"""Kubernetes allows no more in a label's value, nor in the name of a Job whose pods carry it as a label."""

_READABLE_NAME_CHARACTERS = 30
_OUTSIDE_NAME = re.compile(r"[^a-zA-Z0-9]")
_OUTSIDE_LABEL = re.compile(r"[^A-Za-z0-9_.\-]")


def job_name(task_id: str, prefix: str = "") -> str:
    """
    The name of a task's Job, at most 63 characters: a readable beginning and a hash of the whole id.

    With a prefix that stands in the place of the readable beginning. An id without any letter or digit begins with
    `task`: Druid's name for it would begin with a hyphen, which Kubernetes refuses. Druid: K8sTaskId
    """
    readable = _OUTSIDE_NAME.sub("", prefix or task_id).lower()[:_READABLE_NAME_CHARACTERS]
    # murmur3 x64 128, seed 0, of the id's UTF-8, both halves little-endian. Druid: Hashing.murmur3_128
    return f"{readable or 'task'}-{mmh3.hash_bytes(task_id, 0, True).hex()}"


def pod_name(task_id: str, attempt: int, prefix: str = "") -> str:
    """
    The name of the pod, and of the Secret, of one attempt, at most 63 characters: a pod's name is its host name too.

    The first attempt's is the Job's name; the later ones' end in their number, so that no name is ever used twice.
    """
    name = job_name(task_id, prefix)
    if attempt == 1:
        return name
    readable, _, digest = name.rpartition("-")
    suffix = f"-{digest}-{attempt}"
    return readable[: MAX_LABEL_CHARACTERS - len(suffix)] + suffix


def id_label(task_id: str) -> str:
    """An id as a label's value. Druid: KubernetesOverlordUtils.convertTaskIdToK8sLabel"""
    return _OUTSIDE_NAME.sub("", task_id).lower()[:MAX_LABEL_CHARACTERS]


def text_label(text: str) -> str:
    """A type or datasource as a label's value. Druid: KubernetesOverlordUtils.convertStringToK8sLabel"""
    return _OUTSIDE_LABEL.sub("", text).strip("_.-")[:MAX_LABEL_CHARACTERS].rstrip("_.-")


def peon_labels(
    task_id: str, group_id: str, task_type: str, data_source: str, overlord_namespace: str
) -> dict[str, str]:
    """The labels of a peon's Job and pod, without those that a user adds."""
    return {
        LABEL_PEON: "true",
        LABEL_TASK_ID: id_label(task_id),
        LABEL_TASK_GROUP_ID: id_label(group_id),
        LABEL_TASK_TYPE: text_label(task_type),
        LABEL_TASK_DATA_SOURCE: text_label(data_source),
        LABEL_OVERLORD_NAMESPACE: overlord_namespace,
    }
