"""Pods that are not ours, to see what a node does: one container that runs a script of BusyBox's shell."""

from typing import Any

from tests.support.cluster.client import Raw
from tests.support.cluster.node import BUSYBOX, Node
from tests.support.house import until


def run(node: Node, namespace: str, script: str, **spec: Any) -> str:
    """Creates a pod that runs a script of BusyBox's shell, and returns its path."""
    limits = spec.pop("limits", {"memory": "32Mi"})
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", script],
        "resources": {"limits": limits, "requests": {"cpu": "10m"}},
    }
    body = {"metadata": {"name": "pod"}, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}
    node.admin.create(f"/api/v1/namespaces/{namespace}/pods", body)
    return f"/api/v1/namespaces/{namespace}/pods/pod"


def ended(node: Node, path: str) -> Raw:
    """The pod's status once it has ended."""

    def status() -> Raw | None:
        raw_status = node.admin.get(path)["status"]
        return raw_status if raw_status["phase"] in ("Succeeded", "Failed") else None

    return until(status, "the pod ends", 60)


def terminated(raw_status: Raw) -> Raw:
    return raw_status["containerStatuses"][0]["state"]["terminated"]
