"""The control plane that the tests of this ring stand on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from tests.support.cluster import versions
from tests.support.cluster.client import Refused
from tests.support.cluster.control_plane import ControlPlane
from tests.support.house import until

POD = {
    "metadata": {"name": "pod"},
    "spec": {"containers": [{"name": "main", "image": "nowhere/nothing:1"}]},
}


def test_an_api_server_of_the_named_version_answers_with_our_resources(kube: ControlPlane) -> None:
    assert kube.admin.get("/version")["gitVersion"] == f"v{versions.KUBERNETES}"
    resources = kube.admin.get("/apis/druid.nemeton.dev/v1alpha1")["resources"]
    assert "dt" in {name for each in resources for name in each.get("shortNames", [])}


def test_one_started_by_hand_leaves_the_resource_definition_to_the_chart(tmp_path: Path) -> None:
    """As CONTRIBUTING.md says it: what is printed can be pasted, and Ctrl-C takes all of it down."""
    said = tmp_path / "said"
    with said.open("wb") as out:
        started = subprocess.Popen([sys.executable, "-m", "tests.support.cluster", "kube"], stdout=out, stderr=out)
    try:
        until(lambda: "export KUBECONFIG=" in said.read_text() or started.poll(), "it is ready", 120)
        exports = "\n".join(line for line in said.read_text().splitlines() if line.startswith("export "))
        script = f"{exports}\nkubectl get crd -o name && helm version --short"
        home = {"HOME": str(tmp_path), "PATH": os.defpath}
        answer = subprocess.run(["bash", "-euc", script], env=home, capture_output=True, text=True, check=True)
        assert "druidtasks" not in answer.stdout
        assert answer.stdout.startswith("v3."), "no definition, and the chart's Helm"
    finally:
        started.send_signal(signal.SIGTERM)
    assert started.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kube", "peon"], "images need a node: node peon"),
        (["node", "peons"], "there is no image peons, only overlord operator trial peon"),
    ],
)
def test_a_cluster_that_cannot_be_started_by_hand_says_why(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "tests.support.cluster", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert words in answer.stderr


def test_a_pod_is_scheduled_to_a_node_on_paper_played_and_deleted(kube: ControlPlane, namespace: str) -> None:
    name = f"paper-{namespace}"
    kube.make_node(name)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    kube.admin.create(pods, {**POD, "spec": {**POD["spec"], "nodeSelector": {"kubernetes.io/hostname": name}}})

    until(lambda: kube.admin.get(f"{pods}/pod")["spec"].get("nodeName") == name, "the scheduler binds the pod", 30)
    kube.admin.patch(f"{pods}/pod/status", {"status": {"phase": "Succeeded"}})
    assert kube.kubectl("get", "pod", "pod", "-n", namespace, "-o", "jsonpath={.status.phase}") == "Succeeded"

    kube.admin.delete(f"{pods}/pod", gracePeriodSeconds="0")
    assert kube.admin.find(f"{pods}/pod") is None
    kube.admin.delete(f"/api/v1/nodes/{name}")


def test_a_pod_no_node_can_take_is_explained_by_the_scheduler(kube: ControlPlane, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    kube.admin.create(pods, {**POD, "spec": {**POD["spec"], "nodeSelector": {"disk": "of-gold"}}})

    def words() -> str | None:
        conditions = kube.admin.get(f"{pods}/pod")["status"].get("conditions", [])
        return next((each["message"] for each in conditions if each.get("reason") == "Unschedulable"), None)

    assert "nodes" in until(words, "the scheduler says why", 30)


def test_what_an_owner_owned_is_collected(kube: ControlPlane, namespace: str) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = kube.admin.create(maps, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    kube.admin.create(maps, {"metadata": {"name": "owned", "ownerReferences": [reference]}})

    kube.admin.delete(f"{maps}/owner")

    until(lambda: kube.admin.find(f"{maps}/owned") is None, "the garbage collector takes what was owned", 60)


def test_a_service_account_may_do_what_it_was_given_and_no_more(kube: ControlPlane, namespace: str) -> None:
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    kube.admin.create(f"{rbac}/roles", {"metadata": {"name": "looker"}, "rules": rules})
    binding = {
        "metadata": {"name": "looker"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "looker"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    kube.admin.create(f"{rbac}/rolebindings", binding)
    looker = kube.client_of(namespace, "default")

    def may_list() -> bool:
        try:
            return looker.items(f"/api/v1/namespaces/{namespace}/pods") == []
        except Refused:
            return False  # the API server learns of a new role by its own watch

    until(may_list, "the role counts", 10)
    with pytest.raises(Refused, match="cannot list resource"):
        looker.items(f"/api/v1/namespaces/{namespace}/secrets")


def test_an_api_server_that_was_killed_comes_back_with_everything(own_kube: ControlPlane) -> None:
    namespace = own_kube.new_namespace()
    own_kube.kill("apiserver")
    with pytest.raises(urllib3.exceptions.HTTPError):
        own_kube.admin.get("/version")

    own_kube.start_part("apiserver")
    own_kube.wait_for_api()

    assert own_kube.admin.get(f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Active"


def test_an_api_server_that_stands_still_answers_later(own_kube: ControlPlane) -> None:
    own_kube.pause("apiserver")
    with pytest.raises(urllib3.exceptions.HTTPError):
        own_kube.admin.request("GET", "/version", timeout_s=0.5)

    own_kube.resume("apiserver")

    own_kube.wait_for_api()
    assert own_kube.admin.get("/version")["major"] == "1"
