"""Peons' pods that die, or cannot start, on a real kubelet: each has its name and a sentence within ten seconds."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest

from druid_core.instant import format_instant
from overlord_operator import names
from overlord_operator.druid_task.resource import PeonSpec
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.events import with_events
from overlord_operator.pod.phase import PodPhase, PodReading, read_pod
from overlord_operator.pod.request import PeonDefaults, PodRequest
from overlord_operator.pod.template import peon_pod, token_secret
from tests.support.cluster.client import Raw
from tests.support.cluster.node import BUSYBOX, NAME, Node
from tests.support.house import until

NODE = f"/api/v1/nodes/{NAME}"

WITHIN_SECONDS = 10.0
"""Of a death that Kubernetes has told, or of a start that does not come."""

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def room(node: Node) -> Generator[str]:
    """A namespace that enforces the restricted standard; its pods are let go at the end."""
    name = node.new_namespace(RESTRICTED)
    yield name
    pods = f"/api/v1/namespaces/{name}/pods"
    for raw in node.admin.items(pods):
        node.admin.patch(f"{pods}/{raw['metadata']['name']}", {"metadata": {"finalizers": None}})
    node.delete_namespace(name)


def shell(script: str, **spec: Any) -> Raw:
    """A template whose peon is a script of BusyBox's shell."""
    main = {"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", script]}
    return {"spec": {"securityContext": {"runAsUser": 65532}, "containers": [main], **spec}}


def start(node: Node, room: str, template: Raw, **changes: Any) -> str:
    """The path of the pod that was made of the template, under an object that owns it."""
    tasks = f"/apis/{names.API_VERSION}/namespaces/{room}/{names.PLURAL}"
    owner = node.admin.find(f"{tasks}/noop") or node.admin.create(
        tasks,
        {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": "noop"},
            "spec": {"task": {"type": "noop"}},
        },
    )
    limits = {"memory": "32Mi", "ephemeral-storage": "64Mi"}
    request = PodRequest(
        task_id="noop_web_1",
        attempt=1,
        type="noop",
        data_source="web",
        group_id="noop_web_1",
        namespace=room,
        owner_name="noop",
        owner_uid=owner["metadata"]["uid"],
        defaults=PeonDefaults(
            image=BUSYBOX,
            overlord_url="http://overlord:8090",
            image_pull_policy="Never",
            resources={"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": limits},
            grace_seconds=2,
            unreachable_seconds=1,
            work_size="1Mi",
        ),
        template=template,
        token="t0ken",
    )
    request = replace(request, **changes)
    node.admin.create(f"/api/v1/namespaces/{room}/secrets", token_secret(request))
    node.admin.create(f"/api/v1/namespaces/{room}/pods", peon_pod(request))
    return f"/api/v1/namespaces/{room}/pods/{request.pod_name}"


def seen(node: Node, path: str) -> PodReading:
    """As the operator reads a pod: with its Events where its status is silent."""
    raw = node.admin.get(path)
    reading = read_pod(raw, time.time_ns() // 1_000_000)
    if reading.asks_events:
        events = f"/api/v1/namespaces/{raw['metadata']['namespace']}/events"
        selector = f"involvedObject.uid={raw['metadata']['uid']}"
        return with_events(reading, node.admin.items(events, fieldSelector=selector))
    return reading


def running(node: Node, path: str) -> PodReading:
    return until(lambda: (r := seen(node, path)).phase is PodPhase.RUNNING and r, "the peon runs", 30)


def ended(node: Node, path: str, within_s: float = WITHIN_SECONDS) -> PodReading:
    return until(lambda: (r := seen(node, path)).phase is PodPhase.ENDED and r, "the pod has ended", within_s)


@pytest.mark.parametrize(
    ("template", "cause", "words"),
    [
        (shell("exit 0"), Cause.COMPLETED, "exit code 0"),
        (shell("echo no such thing; exit 3"), Cause.EXIT_CODE, "exit code 3: its log says more (no such thing)"),
        (shell("tail /dev/zero"), Cause.OOM_KILLED, "more memory than its limit of 32Mi"),
        (shell("sleep 600"), Cause.DEADLINE, "deadline of 2 s"),
        (
            shell("exit 0", initContainers=[
                {
                    "name": "fetch",
                    "image": BUSYBOX,
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", "exit 4"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ]),
            Cause.INIT_FAILED,
            "Container fetch, which runs before the peon, ended with exit code 4",
        ),
    ],
    ids=["completed", "exit-code", "out-of-memory", "deadline", "init-container"],
)  # fmt: skip
def test_death_of_its_own_has_its_name(node: Node, room: str, template: Raw, cause: Cause, words: str) -> None:
    deadline = 2 if cause is Cause.DEADLINE else None
    reading = ended(node, start(node, room, template, deadline_seconds=deadline), 30)
    assert reading.cause is cause
    assert words in reading.message


def test_command_that_is_not_in_the_image(node: Node, room: str) -> None:
    template = shell("")
    template["spec"]["containers"][0]["command"] = ["/not/there"]
    reading = ended(node, start(node, room, template), 30)
    assert reading.cause is Cause.CONTAINER_START
    assert "no such file" in reading.message


def test_peon_that_writes_more_than_it_may(node: Node, room: str) -> None:
    path = start(node, room, shell("dd if=/dev/zero of=/work/big bs=1M count=16; sleep 600"))
    reading = ended(node, path, 60)
    assert reading.cause is Cause.DISK_LIMIT
    assert 'EmptyDir volume "work" exceeds the limit "1Mi"' in reading.message


def test_peon_that_somebody_killed(node: Node, room: str) -> None:
    path = start(node, room, shell("sleep 600 & wait"))
    running(node, path)
    for pid in node.pids_of(node.admin.get(path)):
        with contextlib.suppress(ProcessLookupError):  # the first takes the others of its container with it
            os.kill(pid, signal.SIGKILL)
    reading = ended(node, path)
    assert (reading.cause, reading.signal) == (Cause.SIGNAL, 9)


def test_pod_that_somebody_deleted_stays_to_be_seen(node: Node, room: str) -> None:
    path = start(node, room, shell("sleep 600"))
    running(node, path)
    node.admin.delete(path)
    reading = ended(node, path)
    assert (reading.cause, reading.is_deleting) == (Cause.DELETED, True)


def test_pod_that_was_drained(node: Node, room: str) -> None:
    path = start(node, room, shell("sleep 600"))
    name = running(node, path).pod_name
    node.admin.create(f"{path}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
    assert ended(node, path).cause is Cause.EVICTED_BY_API


def test_pod_that_made_room_for_another(node: Node, room: str) -> None:
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    node.admin.create(classes, {"metadata": {"name": room}, "value": 1000})
    most = PeonSpec(resources={"requests": {"cpu": _most_of_the_node(node)}})
    try:
        victim = start(node, room, shell("sleep 600"), peon=most)
        running(node, victim)
        urgent = most.model_copy(update={"priority_class_name": room})
        start(node, room, shell("sleep 600"), peon=urgent, attempt=2)
        reading = ended(node, victim)
        assert reading.cause is Cause.PREEMPTED
        assert "higher priority" in reading.message
    finally:
        node.admin.delete(f"{classes}/{room}")


def _most_of_the_node(node: Node) -> str:
    cores = int(node.admin.get(NODE)["status"]["allocatable"]["cpu"])
    return f"{cores * 600}m"


def test_node_that_is_taken_out_of_service(node: Node, room: str) -> None:
    path = start(node, room, shell("sleep 600"))
    running(node, path)
    node.admin.patch(NODE, {"spec": {"taints": [{"key": "repair", "effect": "NoExecute"}]}})
    try:
        assert ended(node, path, 20).cause is Cause.NODE_TAINTED
    finally:
        node.admin.patch(NODE, {"spec": {"taints": None}})


@pytest.mark.parametrize(
    ("peon", "cause", "words"),
    [
        (PeonSpec(resources={"requests": {"memory": "900Ti"}}), Cause.NODE_FULL, "no memory left"),
        (PeonSpec(node_selector={"disk": "of-gold"}), Cause.NODE_REFUSED, "NodeAffinity"),
    ],
)
def test_pod_that_its_kubelet_does_not_take(node: Node, room: str, peon: PeonSpec, cause: Cause, words: str) -> None:
    bound = shell("exit 0", nodeName=NAME)
    reading = ended(node, start(node, room, bound, peon=peon))
    assert reading.cause is cause
    assert words in reading.message


def _secret(name: str) -> PeonSpec:
    return PeonSpec(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}])


def _volume(**source: Any) -> PeonSpec:
    return PeonSpec(volumes=[{"name": "v", **source}], volume_mounts=[{"name": "v", "mountPath": "/v"}])


@pytest.mark.parametrize(
    ("peon", "cause", "words"),
    [
        (_secret("lost"), Cause.MISSING_SECRET, 'secret "lost" not found'),
        (
            PeonSpec(env_from=[{"configMapRef": {"name": "lost"}}]),
            Cause.MISSING_CONFIG_MAP,
            'configmap "lost" not found',
        ),
        (_volume(secret={"secretName": "lost"}), Cause.MISSING_SECRET, 'secret "lost" not found'),
        (_volume(configMap={"name": "lost"}), Cause.MISSING_CONFIG_MAP, 'configmap "lost" not found'),
        (PeonSpec(image="nowhere/nothing:1"), Cause.IMAGE_NEVER_PULLED, "its imagePullPolicy is Never"),
        (PeonSpec(image="UPPER//case:1"), Cause.IMAGE_NAME, "a name that no image can have"),
        (
            PeonSpec(image="127.0.0.1:9/peon:1", image_pull_policy="IfNotPresent"),
            Cause.IMAGE_PULL,
            "connection refused",
        ),
        (PeonSpec(node_selector={"disk": "of-gold"}), Cause.UNSCHEDULABLE, "node affinity/selector"),
        (PeonSpec(resources={"requests": {"memory": "900Ti"}}), Cause.INSUFFICIENT_RESOURCES, "Insufficient memory"),
        (
            _volume(persistentVolumeClaim={"claimName": "lost"}),
            Cause.VOLUME_UNBOUND,
            'persistentvolumeclaim "lost" not found',
        ),
    ],
    ids=[
        "secret",
        "config-map",
        "secret-volume",
        "config-map-volume",
        "never-pulled",
        "bad-name",
        "pull",
        "no-node",
        "no-memory",
        "no-volume",
    ],
)
def test_pod_that_cannot_start_says_why_within_ten_seconds(
    node: Node, room: str, peon: PeonSpec, cause: Cause, words: str
) -> None:
    path = start(node, room, shell("exit 0"), peon=peon)
    reading = until(lambda: (r := seen(node, path)).cause is cause and r, f"the pod says {cause}", WITHIN_SECONDS)
    assert reading.phase is PodPhase.PENDING
    assert words in reading.message


def test_peon_that_would_be_root(node: Node, room: str) -> None:
    # the restricted standard would not even let it in
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    node.admin.patch(f"/api/v1/namespaces/{room}", {"metadata": {"labels": labels}})
    template = shell("exit 0")
    template["spec"]["securityContext"] = {"runAsUser": 0}
    path = start(node, room, template)
    reading = until(lambda: (r := seen(node, path)).cause and r, "the pod says why", WITHIN_SECONDS)
    assert reading.cause is Cause.RUNS_AS_ROOT


@pytest.fixture
def beat(node: Node) -> Generator[Callable[[], None]]:
    """
    Keeps a second node alive, on paper, whenever it is called.

    A cluster all of whose nodes fall silent takes itself for cut off, and gives no pod up.
    """
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    node.make_node("paper")
    node.admin.patch("/api/v1/nodes/paper", {"spec": {"unschedulable": True}})
    lease = {"metadata": {"name": "paper"}, "spec": {"holderIdentity": "paper", "leaseDurationSeconds": 40}}
    node.admin.create(leases, lease)

    def renew() -> None:
        now = format_instant(time.time_ns() // 1_000_000).replace("Z", "000Z")
        node.admin.patch(f"{leases}/paper", {"spec": {"renewTime": now}})

    renew()
    yield renew
    node.admin.delete("/api/v1/nodes/paper")
    node.admin.delete(f"{leases}/paper")


def test_node_that_falls_silent(node: Node, room: str, beat: Callable[[], None]) -> None:
    path = start(node, room, shell("sleep 600"))
    running(node, path)

    def given_up() -> bool:
        beat()
        return seen(node, path).is_deleting

    node.kill("kubelet")
    try:
        # Kubernetes itself takes a while to give a node up; then it is the operator's turn
        until(given_up, "Kubernetes gives the pod up", 120)
        reading = ended(node, path)
        assert reading.cause is Cause.NODE_LOST
        assert "does not answer" in reading.message
    finally:
        node.start_part("kubelet")
        until(node.is_ready, "the node is back", 60)
