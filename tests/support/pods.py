"""Pods as the API server tells of them, in the words that Kubernetes 1.34's own parts write into their status."""

from collections.abc import Mapping
from typing import Any

from druid_core.instant import parse_instant

JsonObject = dict[str, Any]

CREATED = "2026-01-31T10:00:00Z"
CREATED_MS = parse_instant(CREATED)
NAME = "noopweb-f59fdc2352a0146ce6e8588426bb2526"

NOW_MS = CREATED_MS + 3_600_000
"""An hour later: long after everything that the pods here tell of."""


def raw_pod(
    *,
    phase: str = "Running",
    node: str | None = "node-1",
    main: JsonObject | None = None,
    sidecars: Mapping[str, JsonObject] | None = None,
    inits: Mapping[str, JsonObject] | None = None,
    conditions: list[JsonObject] | None = None,
    reason: str | None = None,
    message: str | None = None,
    deleted: str | None = None,
    grace_seconds: int = 30,
    memory: str | None = "2Gi",
    attempt: int = 1,
) -> JsonObject:
    """A peon's pod; `main` and the like are the `state` of a container, `deleted` is its deletionTimestamp."""
    metadata: JsonObject = {
        "name": NAME,
        "namespace": "tasks",
        "creationTimestamp": CREATED,
        "annotations": {"task.id": "noop_web", "druid.nemeton.dev/attempt": str(attempt)},
    }
    if deleted is not None:
        metadata |= {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": grace_seconds}
    limits = {} if memory is None else {"memory": memory}
    spec: JsonObject = {
        "containers": [{"name": "main", "resources": {"limits": limits}}],
        "activeDeadlineSeconds": 3600,
    }
    spec["containers"] += [{"name": name} for name in sidecars or {}]
    if node is not None:
        spec["nodeName"] = node
    status: JsonObject = {"phase": phase, "conditions": conditions or []}
    if node is not None and main is not None:
        status["podIP"] = "10.88.1.7"
    if reason is not None:
        status["reason"] = reason
    if message is not None:
        status["message"] = message
    states = ({} if main is None else {"main": main}) | dict(sidecars or {})
    if states:
        status["containerStatuses"] = [{"name": name, "state": state} for name, state in states.items()]
    if inits:
        status["initContainerStatuses"] = [{"name": name, "state": state} for name, state in inits.items()]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def running(since: str = "2026-01-31T10:00:03Z") -> JsonObject:
    return {"running": {"startedAt": since}}


def waiting(reason: str, message: str | None = None) -> JsonObject:
    return {"waiting": {"reason": reason} | ({} if message is None else {"message": message})}


def terminated(
    exit_code: int, reason: str = "Error", message: str | None = None, finished: str = "2026-01-31T10:05:00Z"
) -> JsonObject:
    state: JsonObject = {
        "exitCode": exit_code,
        "reason": reason,
        "startedAt": "2026-01-31T10:00:03Z",
        "finishedAt": finished,
    }
    return {"terminated": state | ({} if message is None else {"message": message})}


def condition(
    kind: str, status: str, reason: str, message: str = "", since: str = "2026-01-31T10:00:01Z"
) -> JsonObject:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def disrupted(reason: str, message: str) -> list[JsonObject]:
    return [condition("DisruptionTarget", "True", reason, message)]


def unscheduled(message: str, reason: str = "Unschedulable") -> JsonObject:
    return raw_pod(phase="Pending", node=None, conditions=[condition("PodScheduled", "False", reason, message)])
