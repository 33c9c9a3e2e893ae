"""
The pod of one attempt, and the Secret with its token: pure functions from a request to Kubernetes' JSON.

Four layers, each over the one before: what every peon has, the release's template, the object's own `spec.peon`, and
what nobody may change (whose pod it is, and what the peon must know). The first layer passes the *restricted* Pod
Security Standard; a template for another image may loosen it where its namespace allows that.
"""

import base64
import gzip
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from druid_core.errors import InvalidTask
from overlord_operator import names
from overlord_operator.druid_task.resource import PeonSpec
from overlord_operator.pod.identity import TASK_ID_VARIABLE
from overlord_operator.pod.memory import can_have_more_memory, with_more_memory
from overlord_operator.pod.merge import merged
from overlord_operator.pod.request import PodRequest, pod_of

JsonObject = dict[str, Any]

PEON_PORT = 8100
"""Where a peon serves its chat. Druid: druid.plaintextPort of a peon in Kubernetes"""

TOKEN_KEY = "token"
"""The key in the attempt's Secret."""
TOKEN_VARIABLE = "NEMETON_TASK_TOKEN"
"""Where a peon finds it."""

WORK_DIR = "/work"
"""A volume of the pod: the task's files, its log, its spilled rows."""

PAYLOAD_LIMIT = 130_048
"""Characters of base64 that an annotation may hold; a longer payload goes by reference. Druid: DruidK8sConstants"""

_UNREACHABLE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def peon_pod(request: PodRequest) -> JsonObject:
    """
    The pod of the attempt. The same request gives the same pod.

    Raises InvalidTask where the template, or `spec.peon`, has not the shape of a pod.
    """
    try:
        return _peon_pod(request)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise InvalidTask(
            f"The pod template [{request.template_key}] does not have the shape of a pod, so none can be made of it: "
            f"{error}. Compare it with `kubectl explain pod.spec`: containers, env and volumes are lists of mappings, "
            "resources is a mapping"
        ) from error


def _peon_pod(request: PodRequest) -> JsonObject:
    layers = (_template_layer(request.template), _object_layer(request.peon), _fixed_layer(request))
    pod = _first_layer(request)
    for layer in layers:
        pod = merged(pod, layer)
    spec: JsonObject = pod["spec"]
    main = _main(spec)
    main["resources"] = with_more_memory(
        main.get("resources") or {}, request.memory_factor, request.oom_kills, request.memory_limit
    )
    # the peon first: Druid reads the first container's log
    spec["containers"] = [main, *(item for item in spec["containers"] if item is not main)]
    return pod


def more_memory_helps(request: PodRequest) -> bool:
    """Whether an attempt after this one, ended for want of memory, would have more of it."""
    resources = _main(peon_pod(replace(request, oom_kills=0))["spec"]).get("resources") or {}
    return can_have_more_memory(resources, request.memory_factor, request.oom_kills, request.memory_limit)


def token_secret(request: PodRequest) -> JsonObject:
    """The Secret that the pod takes its token from; it goes with the object that owns it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": request.pod_name,
            "namespace": request.namespace,
            "labels": _selected_labels(request),
            "annotations": {names.ANNOTATION_TASK_ID: request.task_id, names.ANNOTATION_ATTEMPT: str(request.attempt)},
            "ownerReferences": [_owner(request)],
        },
        "type": "Opaque",
        "immutable": True,
        "data": {TOKEN_KEY: base64.b64encode(request.token.encode()).decode()},
    }


def payload_annotation(payload: bytes) -> str | None:
    """The payload as Druid's own peons take it, gzip in base64; None where it is too large for an annotation."""
    # a fixed time, so that the same payload gives the same pod
    text = base64.b64encode(gzip.compress(payload, mtime=0)).decode()
    return text if len(text) <= PAYLOAD_LIMIT else None


def _first_layer(request: PodRequest) -> JsonObject:
    """What every peon has where nobody says otherwise."""
    defaults = request.defaults
    work: JsonObject = {} if defaults.work_size is None else {"sizeLimit": defaults.work_size}
    main: JsonObject = {
        "name": names.PEON_CONTAINER,
        "image": defaults.image,
        "imagePullPolicy": defaults.image_pull_policy,
        "env": list(defaults.env),
        "envFrom": list(defaults.env_from),
        "ports": [{"name": "chat", "containerPort": PEON_PORT, "protocol": "TCP"}],
        "resources": dict(defaults.resources),
        "volumeMounts": [
            {"name": "work", "mountPath": WORK_DIR},
            {"name": "tmp", "mountPath": "/tmp"},
            *defaults.volume_mounts,
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # for a peon that had no time for last words, the end of its output
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    spec: JsonObject = {
        "containers": [main],
        "volumes": [
            {"name": "work", "emptyDir": work},
            {"name": "tmp", "emptyDir": {"sizeLimit": defaults.tmp_size}},
            *defaults.volumes,
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **_volumes_group(defaults.fs_group),
        },
        "terminationGracePeriodSeconds": defaults.grace_seconds,
        "nodeSelector": dict(defaults.node_selector),
        "tolerations": [
            *(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": defaults.unreachable_seconds,
                }
                for key in _UNREACHABLE_TAINTS
            ),
            *defaults.tolerations,
        ],
        "imagePullSecrets": [{"name": name} for name in defaults.image_pull_secrets],
        # a variable for each Service of the namespace is slow to start with, and nobody's business
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
    }
    if defaults.service_account is not None:
        spec["serviceAccountName"] = defaults.service_account
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": dict(defaults.labels), "annotations": dict(defaults.annotations)},
        "spec": {key: value for key, value in spec.items() if value != []},
    }


def _volumes_group(fs_group: int | None) -> JsonObject:
    """Volumes that are its already are not walked through: a shared one may hold millions of files."""
    return {} if fs_group is None else {"fsGroup": fs_group, "fsGroupChangePolicy": "OnRootMismatch"}


def _template_layer(template: Mapping[str, Any]) -> JsonObject:
    """The template's metadata and spec, its peon's container called `main`."""
    pod = pod_of(template)
    metadata: Mapping[str, Any] = pod.get("metadata") or {}
    spec: JsonObject = dict(pod.get("spec") or {})
    containers: list[JsonObject] = [dict(item) for item in spec.get("containers") or []]
    if containers and not any(item.get("name") == names.PEON_CONTAINER for item in containers):
        containers[0]["name"] = names.PEON_CONTAINER
    if containers:
        spec["containers"] = containers
    kept = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    return {"metadata": kept, "spec": spec}


def _object_layer(peon: PeonSpec) -> JsonObject:
    """`spec.peon` in the form of a pod: what is not given is not there."""
    main: JsonObject = {
        "image": peon.image,
        "imagePullPolicy": peon.image_pull_policy,
        "resources": peon.resources,
        "env": peon.env,
        "envFrom": peon.env_from,
        "volumeMounts": peon.volume_mounts,
    }
    spec: JsonObject = {
        "serviceAccountName": peon.service_account_name,
        "priorityClassName": peon.priority_class_name,
        "nodeSelector": peon.node_selector,
        "tolerations": peon.tolerations,
        "volumes": peon.volumes,
        "containers": [{"name": names.PEON_CONTAINER, **_given(main)}],
    }
    return {"metadata": _given({"labels": peon.labels, "annotations": peon.annotations}), "spec": _given(spec)}


def _fixed_layer(request: PodRequest) -> JsonObject:
    """What makes it this attempt's pod."""
    labels = _selected_labels(request)
    queue = request.kueue_queue or request.defaults.kueue_queue
    if queue and names.LABEL_KUEUE_QUEUE not in request.peon.labels:
        labels[names.LABEL_KUEUE_QUEUE] = queue
    annotations = {
        names.ANNOTATION_TASK_ID: request.task_id,
        names.ANNOTATION_TASK_TYPE: request.type,
        names.ANNOTATION_TASK_GROUP_ID: request.group_id,
        names.ANNOTATION_TASK_DATA_SOURCE: request.data_source,
        names.ANNOTATION_JOB_TEMPLATE: request.template_key,
        names.ANNOTATION_TLS_ENABLED: "false",
        names.ANNOTATION_ATTEMPT: str(request.attempt),
    }
    payload = None if request.payload is None or not request.is_stock else payload_annotation(request.payload)
    if payload is not None:
        annotations[names.ANNOTATION_TASK] = payload
    spec: JsonObject = {
        "restartPolicy": "Never",
        "containers": [{"name": names.PEON_CONTAINER, "env": _peon_env(request, payload is not None)}],
    }
    deadline = request.deadline_seconds or request.defaults.deadline_seconds
    if deadline is not None:
        spec["activeDeadlineSeconds"] = deadline
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": request.pod_name,
            "namespace": request.namespace,
            "labels": labels,
            "annotations": annotations,
            "finalizers": [names.LOG_FINALIZER],
            "ownerReferences": [_owner(request)],
        },
        "spec": spec,
    }


def _peon_env(request: PodRequest, has_payload: bool) -> list[JsonObject]:
    defaults = request.defaults
    values: dict[str, str | None] = {TASK_ID_VARIABLE: request.task_id, "TASK_DIR": WORK_DIR}
    env: list[JsonObject] = []
    if request.is_stock:
        if has_payload:
            env.append(_from_field("TASK_JSON", f"metadata.annotations['{names.ANNOTATION_TASK}']"))
    else:
        values |= {
            "NEMETON_TASK_ID": request.task_id,
            "NEMETON_ATTEMPT": str(request.attempt),
            "NEMETON_OVERLORD": defaults.overlord_url,
            "NEMETON_DEEP_STORAGE": defaults.deep_storage,
            "NEMETON_TASK_LOGS": defaults.task_logs,
            "NEMETON_PORT": str(PEON_PORT),
            "NEMETON_WORK_DIR": WORK_DIR,
        }
        env.append(_from_field("NEMETON_HOST", "status.podIP"))
    # Druid's own may name it as the password that it signs in with
    env.append({"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": {"name": request.pod_name, "key": TOKEN_KEY}}})
    return [*({"name": name, "value": value} for name, value in values.items() if value is not None), *env]


def _from_field(name: str, path: str) -> JsonObject:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _selected_labels(request: PodRequest) -> dict[str, str]:
    labels = names.peon_labels(
        request.task_id,
        request.group_id,
        request.type,
        request.data_source,
        request.defaults.overlord_namespace or request.namespace,
    )
    labels[names.LABEL_JOB_NAME] = names.job_name(request.task_id, request.defaults.name_prefix)
    labels[names.LABEL_ATTEMPT] = str(request.attempt)
    if request.defaults.release is not None:
        labels[names.LABEL_RELEASE] = request.defaults.release
    return labels


def _owner(request: PodRequest) -> JsonObject:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": request.owner_name,
        "uid": request.owner_uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _main(spec: Mapping[str, Any]) -> JsonObject:
    return next(item for item in spec["containers"] if item["name"] == names.PEON_CONTAINER)


def _given(values: Mapping[str, Any]) -> JsonObject:
    return {key: value for key, value in values.items() if value not in (None, [], {})}
