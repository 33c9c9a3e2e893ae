"""
Which attempt a pod is: by what nobody can change.

A pod's name and its containers' environment stay as they were made. Annotations and labels say the same, and anybody
who may annotate pods may change them.
"""

from collections.abc import Mapping
from typing import Any, cast

from overlord_operator import names

TASK_ID_VARIABLE = "TASK_ID"
"""Every peon gets its task's id under this name. Druid: TASK_ID"""


def attempt_of(raw_pod: Mapping[str, Any]) -> tuple[str, int] | None:
    """The task's id and the number of the attempt; None for a pod that is no attempt of ours."""
    metadata: Mapping[str, Any] = raw_pod.get("metadata") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    task_id = _task_id(raw_pod) or annotations.get(names.ANNOTATION_TASK_ID)
    if not task_id:
        return None
    attempt = _by_name(task_id, metadata.get("name") or "")
    if attempt is None:
        text = annotations.get(names.ANNOTATION_ATTEMPT) or labels.get(names.LABEL_ATTEMPT) or ""
        attempt = int(text) if text.isdecimal() else None
    return None if attempt is None else (task_id, attempt)


def _task_id(raw_pod: Mapping[str, Any]) -> str | None:
    for container in (raw_pod.get("spec") or {}).get("containers") or []:
        for variable in container.get("env") or []:
            if variable.get("name") == TASK_ID_VARIABLE and variable.get("value"):
                return cast("str", variable["value"])
    return None


def _by_name(task_id: str, pod_name: str) -> int | None:
    """From the end of the name: the digest of the id, and for later attempts their number."""
    digest = names.job_name(task_id).rpartition("-")[2]
    _, found, rest = pod_name.rpartition(f"-{digest}")
    if not found:
        return None
    if not rest:
        return 1
    number = rest.removeprefix("-")
    return int(number) if number.isdecimal() else None
