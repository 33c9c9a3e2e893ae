"""The node that the tests of this ring stand on, seen through pods that are not ours."""

from collections.abc import Generator

import psutil
import pytest
import urllib3

from tests.support.cluster.bare_pods import ended, run, terminated
from tests.support.cluster.client import Refused
from tests.support.cluster.node import BUSYBOX, Node
from tests.support.house import until


@pytest.fixture
def room(node: Node) -> Generator[str]:
    """A namespace of the node for one test."""
    name = node.new_namespace()
    yield name
    node.delete_namespace(name)


def test_a_pod_runs_logs_and_ends_with_its_status(node: Node, room: str) -> None:
    path = run(node, room, "echo the grove where druids gather; exit 3")

    raw_status = ended(node, path)

    assert (raw_status["phase"], terminated(raw_status)["exitCode"]) == ("Failed", 3)
    assert node.admin.text(f"{path}/log") == "the grove where druids gather\n"


def test_a_pod_above_its_memory_limit_is_killed_and_its_log_stays(node: Node, room: str) -> None:
    path = run(node, room, "echo before; tail /dev/zero; echo after", limits={"memory": "16Mi"})

    raw_status = ended(node, path)

    assert terminated(raw_status)["reason"] == "OOMKilled"
    assert "before" in node.admin.text(f"{path}/log")


def test_a_pod_that_fills_its_disk_is_evicted(node: Node, room: str) -> None:
    volume = {"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}
    path = run(
        node,
        room,
        "dd if=/dev/zero of=/tmp/big bs=1M count=64; sleep 600",
        limits={"memory": "256Mi", "ephemeral-storage": "2Mi"},
        volumes=[volume],
    )

    raw_status = ended(node, path)

    assert raw_status["reason"] == "Evicted"
    assert "ephemeral" in raw_status["message"]


def test_a_namespace_that_enforces_restricted_refuses_a_loose_pod(node: Node) -> None:
    namespace = node.new_namespace({"pod-security.kubernetes.io/enforce": "restricted"})

    with pytest.raises(Refused, match="violates PodSecurity"):
        run(node, namespace, "true")

    node.delete_namespace(namespace)


def test_a_pod_within_restricted_runs(node: Node) -> None:
    namespace = node.new_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["id", "-u"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    pods = f"/api/v1/namespaces/{namespace}/pods"
    node.admin.create(pods, {"metadata": {"name": "pod"}, "spec": spec})

    assert ended(node, f"{pods}/pod")["phase"] == "Succeeded"
    assert node.admin.text(f"{pods}/pod/log") == "65532\n"
    node.delete_namespace(namespace)


def test_a_pod_reaches_the_api_server_by_its_service_name(node: Node, room: str) -> None:
    # A connection is the proof of name, service and route; whose certificate it shows is of no concern here.
    path = run(
        node, room, "nslookup kubernetes.default.svc.cluster.local && nc -w 5 kubernetes.default.svc 443 </dev/null"
    )

    raw_status = ended(node, path)

    assert raw_status["phase"] == "Succeeded", node.admin.text(f"{path}/log")


def test_a_pod_is_reached_from_here_and_through_its_service(node: Node, room: str) -> None:
    path = run(node, room, "echo well met >/tmp/index.html; httpd -f -p 8100 -h /tmp")
    node.admin.patch(path, {"metadata": {"labels": {"app": "well"}}})
    service = {
        "metadata": {"name": "well"},
        "spec": {"selector": {"app": "well"}, "ports": [{"port": 80, "targetPort": 8100}]},
    }
    made = node.admin.create(f"/api/v1/namespaces/{room}/services", service)

    def body(address: str) -> bytes | None:
        try:
            return urllib3.request("GET", f"http://{address}/", retries=False, timeout=2).data
        except urllib3.exceptions.HTTPError:
            return None

    def pod_address() -> str | None:
        return node.admin.get(path)["status"].get("podIP")

    address = until(pod_address, "the pod has an address", 30)
    assert until(lambda: body(f"{address}:8100"), "the pod answers", 30) == b"well met\n"
    assert until(lambda: body(made["spec"]["clusterIP"]), "the service answers", 30) == b"well met\n"


def test_a_process_of_a_pod_can_be_killed_from_here(node: Node, room: str) -> None:
    path = run(node, room, "echo up; sleep 600")
    until(lambda: node.admin.get(path)["status"]["phase"] == "Running", "the pod runs", 30)

    for pid in until(lambda: node.pids_of(node.admin.get(path)), "its processes are found", 10):
        psutil.Process(pid).kill()

    assert terminated(ended(node, path))["exitCode"] == 137
