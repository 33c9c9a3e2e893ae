"""
Names of Kubernetes objects, labels and annotations: Druid's own, so that selectors and dashboards made for Druid's
Kubernetes runner keep working.

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
