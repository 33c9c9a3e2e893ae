"""
Peons' pods on a real API server: they are let in where the *restricted* Pod Security Standard holds, and what is said
of those that are not, or that are taken away, is read from the API server's, the scheduler's and the eviction's own
words.
"""

from dataclasses import replace
from typing import Any

import pytest

from overlord_operator import names
from overlord_operator.druid_task.resource import PeonSpec, read_time
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.phase import PodPhase, PodReading, read_pod
from overlord_operator.pod.refusal import cause_of_refusal
from overlord_operator.pod.request import PeonDefaults, PodRequest
from overlord_operator.pod.template import peon_pod, token_secret
from tests.support.cluster.client import Refused
from tests.support.cluster.control_plane import ControlPlane
from tests.support.house import until

JsonObject = dict[str, Any]

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@pytest.fixture
def tasks(kube: ControlPlane) -> str:
    """A namespace that enforces the restricted standard."""
    return kube.new_namespace(RESTRICTED)


def request_in(kube: ControlPlane, namespace: str, **changes: Any) -> PodRequest:
    """A request of an object that is really there: owner references to nothing are collected."""
    path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
    owner = kube.admin.find(f"{path}/noop") or kube.admin.create(
        path,
        {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": "noop"},
            "spec": {"task": {"type": "noop"}},
        },
    )
    request = PodRequest(
        task_id="noop_web_1",
        attempt=1,
        type="noop",
        data_source="web",
        group_id="noop_web_1",
        namespace=namespace,
        owner_name="noop",
        owner_uid=owner["metadata"]["uid"],
        defaults=PeonDefaults(
            image="nemeton-peon:1",
            overlord_url="http://overlord:8090",
            resources={"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        ),
        token="t0ken",
    )
    return replace(request, **changes)


def made(kube: ControlPlane, request: PodRequest) -> str:
    """The path of the pod, which is now there."""
    pods = f"/api/v1/namespaces/{request.namespace}/pods"
    kube.admin.create(pods, peon_pod(request))
    return f"{pods}/{request.pod_name}"


def refusal_of(kube: ControlPlane, request: PodRequest) -> tuple[Cause, str]:
    with pytest.raises(Refused) as refused:
        made(kube, request)
    return cause_of_refusal(refused.value.status, refused.value.message)


def seen(kube: ControlPlane, path: str, after_ms: int = 9_000) -> PodReading:
    raw = kube.admin.get(path)
    return read_pod(raw, (read_time(raw["metadata"]["creationTimestamp"]) or 0) + after_ms)


def test_pod_and_secret_are_let_in_where_the_restricted_standard_holds(kube: ControlPlane, tasks: str) -> None:
    request = request_in(kube, tasks)
    kube.admin.create(f"/api/v1/namespaces/{tasks}/secrets", token_secret(request))
    raw = kube.admin.get(made(kube, request))
    assert raw["metadata"]["finalizers"] == [names.LOG_FINALIZER]
    found = kube.admin.items(f"/api/v1/namespaces/{tasks}/pods", labelSelector="druid.k8s.peons=true")
    assert [item["metadata"]["name"] for item in found] == [request.pod_name]
    # what the API server adds or drops would be drift for whoever compares
    sent = peon_pod(request)["spec"]
    assert raw["spec"]["tolerations"] == sent["tolerations"]
    assert raw["spec"]["containers"][0]["env"] == sent["containers"][0]["env"]


def test_pod_made_twice_is_told_apart_by_its_name(kube: ControlPlane, tasks: str) -> None:
    request = request_in(kube, tasks)
    made(kube, request)
    with pytest.raises(Refused) as refused:
        made(kube, request)
    assert refused.value.status == 409
    assert made(kube, replace(request, attempt=2)).endswith("-2")


def test_pod_that_its_namespaces_security_forbids(kube: ControlPlane, tasks: str) -> None:
    cause, message = refusal_of(kube, request_in(kube, tasks, template={"spec": {"hostNetwork": True}}))
    assert cause is Cause.POD_SECURITY
    assert "host namespaces" in message


def test_pod_beyond_the_quota_of_its_namespace(kube: ControlPlane, tasks: str) -> None:
    quota = {"metadata": {"name": "compute"}, "spec": {"hard": {"limits.memory": "1Gi"}}}
    kube.admin.create(f"/api/v1/namespaces/{tasks}/resourcequotas", quota)

    def has_status() -> bool:
        return "hard" in kube.admin.get(f"/api/v1/namespaces/{tasks}/resourcequotas/compute").get("status", {})

    until(has_status, "the quota counts", 30)
    cause, message = refusal_of(kube, request_in(kube, tasks))
    assert cause is Cause.QUOTA
    assert "exceeded quota: compute" in message


def test_pod_beyond_the_limits_of_its_namespace(kube: ControlPlane, tasks: str) -> None:
    limits = {"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}}
    kube.admin.create(f"/api/v1/namespaces/{tasks}/limitranges", limits)
    request = request_in(kube, tasks)

    def found() -> Cause | None:
        try:
            made(kube, request)
        except Refused as refused:
            return cause_of_refusal(refused.status, refused.message)[0]
        kube.admin.patch(f"/api/v1/namespaces/{tasks}/pods/{request.pod_name}", {"metadata": {"finalizers": None}})
        kube.admin.delete(f"/api/v1/namespaces/{tasks}/pods/{request.pod_name}", gracePeriodSeconds="0")
        return None  # the admission plugin learns of a new LimitRange by its own watch

    assert until(found, "the limits count", 10) is Cause.LIMIT_RANGE


@pytest.mark.parametrize(
    ("peon", "cause", "words"),
    [
        (PeonSpec(service_account_name="nobody"), Cause.MISSING_SERVICE_ACCOUNT, 'serviceaccount "nobody" not found'),
        (PeonSpec(priority_class_name="nothing"), Cause.MISSING_PRIORITY_CLASS, "spec.peon.priorityClassName"),
        (
            PeonSpec(resources={"requests": {"memory": "4Gi"}, "limits": {"memory": "2Gi"}}),
            Cause.INVALID_POD,
            "must be less than or equal to memory limit",
        ),
        (PeonSpec(env=[{"value": "no name"}]), Cause.INVALID_POD, "correct spec.peon"),
        (PeonSpec(volume_mounts=[{"name": "x", "mountPath": "/x"}]), Cause.INVALID_POD, 'Not found: "x"'),
    ],
)
def test_pod_that_cannot_be(kube: ControlPlane, tasks: str, peon: PeonSpec, cause: Cause, words: str) -> None:
    found, message = refusal_of(kube, request_in(kube, tasks, peon=peon))
    assert found is cause
    assert words in message


def test_pod_in_a_namespace_that_is_not_there(kube: ControlPlane, tasks: str) -> None:
    request = replace(request_in(kube, tasks), namespace="nowhere")
    assert refusal_of(kube, request)[0] is Cause.NAMESPACE_GONE


def test_pod_of_an_account_that_may_not(kube: ControlPlane, tasks: str) -> None:
    request = request_in(kube, tasks)
    nobody = kube.client_of(tasks, "default")
    with pytest.raises(Refused) as refused:
        nobody.create(f"/api/v1/namespaces/{tasks}/pods", peon_pod(request))
    assert cause_of_refusal(refused.value.status, refused.value.message)[0] is Cause.NOT_PERMITTED


@pytest.mark.parametrize(
    ("peon", "cause", "words"),
    [
        (PeonSpec(node_selector={"disk": "of-gold"}), Cause.UNSCHEDULABLE, "nodes are available"),
        (
            PeonSpec(
                volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "lost"}}],
                volume_mounts=[{"name": "v", "mountPath": "/v"}],
            ),
            Cause.VOLUME_UNBOUND,
            'persistentvolumeclaim "lost" not found',
        ),
        (PeonSpec(resources={"requests": {"memory": "900Ti"}}), Cause.INSUFFICIENT_RESOURCES, "Insufficient memory"),
    ],
)
def test_pod_without_a_node_says_why_in_the_schedulers_words(
    kube: ControlPlane, tasks: str, peon: PeonSpec, cause: Cause, words: str
) -> None:
    node = f"node-{tasks}"
    kube.make_node(node)
    try:
        path = made(kube, request_in(kube, tasks, peon=peon))
        reading = until(lambda: (r := seen(kube, path, 0)).cause and r, "the scheduler says why", 30)
        assert (reading.phase, reading.cause) == (PodPhase.PENDING, cause)
        assert words in reading.message
    finally:
        kube.admin.delete(f"/api/v1/nodes/{node}")


def test_pod_held_back_by_a_queue(kube: ControlPlane, tasks: str) -> None:
    gated = {"spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}}
    path = made(kube, request_in(kube, tasks, template=gated))
    reading = until(lambda: (r := seen(kube, path, 0)).cause and r, "the gate shows", 30)
    assert reading.cause is Cause.SCHEDULING_GATED


def test_pod_deleted_before_it_had_a_node_has_ended_and_stays_to_be_seen(kube: ControlPlane, tasks: str) -> None:
    path = made(kube, request_in(kube, tasks, peon=PeonSpec(node_selector={"disk": "of-gold"})))
    kube.admin.delete(path)
    reading = seen(kube, path)
    assert (reading.phase, reading.cause, reading.is_deleting) == (PodPhase.ENDED, Cause.DELETED, True)
    kube.admin.patch(path, {"metadata": {"finalizers": None}})
    until(lambda: kube.admin.find(path) is None, "it goes once its finalizer is gone", 30)


def play_running(kube: ControlPlane, path: str) -> None:
    """What a kubelet writes when the peon has started."""
    main = {"name": "main", "ready": True, "restartCount": 0, "image": "i", "imageID": "i", "started": True}
    state = {"state": {"running": {"startedAt": "2026-01-31T10:00:00Z"}}}
    status = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [main | state]}
    kube.admin.patch(f"{path}/status", {"status": status})


def play_ended(kube: ControlPlane, path: str, exit_code: int) -> None:
    """What a kubelet writes when the peon has ended."""
    raw = kube.admin.get(path)
    ended = {"exitCode": exit_code, "reason": "Error", "finishedAt": raw["metadata"]["deletionTimestamp"]}
    main = raw["status"]["containerStatuses"][0] | {"state": {"terminated": ended}, "ready": False}
    kube.admin.patch(f"{path}/status", {"status": {"phase": "Failed", "containerStatuses": [main]}})


def test_pod_that_is_drained_and_one_that_is_preempted_have_their_names(kube: ControlPlane, tasks: str) -> None:
    node = f"node-{tasks}"
    kube.make_node(node, cpu="1", memory="4Gi", pods="10")
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    kube.admin.create(classes, {"metadata": {"name": tasks}, "value": 1000})
    try:
        on_node = PeonSpec(node_selector={"kubernetes.io/hostname": node})
        request = request_in(kube, tasks, peon=on_node)
        drained = made(kube, request)
        until(lambda: seen(kube, drained).scheduled, "it has a node", 30)
        play_running(kube, drained)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": request.pod_name}}
        kube.admin.create(f"{drained}/eviction", eviction)
        assert seen(kube, drained).phase is PodPhase.RUNNING
        play_ended(kube, drained, 143)
        assert seen(kube, drained).cause is Cause.EVICTED_BY_API

        resources = {"requests": {"cpu": "800m"}}
        victim_request = replace(request, attempt=2, peon=on_node.model_copy(update={"resources": resources}))
        victim = made(kube, victim_request)
        until(lambda: seen(kube, victim).scheduled, "it has a node", 30)
        play_running(kube, victim)
        urgent = on_node.model_copy(update={"resources": resources, "priority_class_name": tasks})
        made(kube, replace(request, attempt=3, peon=urgent))
        until(lambda: seen(kube, victim).is_deleting, "the scheduler makes room", 30)
        play_ended(kube, victim, 143)
        reading = seen(kube, victim)
        assert reading.cause is Cause.PREEMPTED
        assert "higher priority" in reading.message
    finally:
        kube.admin.delete(f"/api/v1/nodes/{node}")
        kube.admin.delete(f"{classes}/{tasks}")
