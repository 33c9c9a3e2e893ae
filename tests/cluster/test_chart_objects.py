"""The chart's objects before a real API server: known fields only, restricted pods, rights that hold."""

from collections.abc import Generator
from pathlib import Path

import orjson
import pytest

from tests.support.chart import CHART, DEFINITION, TRIAL, VALUES, Raw, helm, objects, one, pod_specs, value_sets
from tests.support.cluster.client import Client, Refused
from tests.support.cluster.control_plane import ControlPlane
from tests.support.house import until

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
NOT_SERVED = {"ServiceMonitor", DEFINITION}
"""Of an operator that the test cluster does not have; and what is installed already."""


@pytest.fixture
def restricted(kube: ControlPlane) -> Generator[str]:
    name = kube.new_namespace(RESTRICTED)
    yield name
    kube.delete_namespace(name)


def _into(namespace: str, values: Path | Raw) -> list[Raw]:
    """The objects, those of other namespaces moved into the one that exists."""
    made = [item for item in objects(values, namespace=namespace) if item["kind"] not in NOT_SERVED]
    seen: dict[tuple[str, str], Raw] = {}
    for item in made:
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = namespace
        seen[item["kind"], item["metadata"]["name"]] = item
    return list(seen.values())


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_the_api_server_knows_every_field_of_every_object(kube: ControlPlane, restricted: str, values: Path) -> None:
    checked = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-")
    for item in _into(restricted, values):
        assert "(server dry run)" in kube.kubectl(*checked, stdin=orjson.dumps(item))


@pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)
def test_every_pod_is_let_into_a_restricted_namespace(kube: ControlPlane, restricted: str, values: Path) -> None:
    made = _into(restricted, values)
    pods = f"/api/v1/namespaces/{restricted}/pods"
    for account in (item for item in made if item["kind"] == "ServiceAccount"):
        kube.admin.create(f"/api/v1/namespaces/{restricted}/serviceaccounts", account)
    for number, (_, pod) in enumerate(pod_specs(made)):
        spec = {**pod["spec"], "restartPolicy": "Never"}
        spec.pop("priorityClassName", None)  # a class of the cluster it is an example of
        spec["volumes"] = [*spec["volumes"], *_claimed(spec)]
        kube.admin.create(pods, {"metadata": {"name": f"pod-{number}"}, "spec": spec}, dryRun="All")


def test_a_trial_applied_for_real_gets_all_its_pods(kube: ControlPlane, restricted: str) -> None:
    made = [item for item in _into(restricted, TRIAL) if "helm.sh/hook" not in item["metadata"].get("annotations", {})]
    kube.kubectl.apply(*made, namespace=restricted)

    def components() -> list[str]:
        pods = kube.admin.items(f"/api/v1/namespaces/{restricted}/pods")
        return sorted(pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods)

    expected = ["database", "object-storage", "operator", "operator", "overlord", "overlord"]
    until(lambda: components() == expected, "every controller makes its pods", 60)


def test_an_upgrade_keeps_what_the_first_installation_made_up(kube: ControlPlane, restricted: str) -> None:
    embedded = {"embedded": {"enabled": True}}
    values = orjson.dumps({"database": embedded, "objectStorage": embedded})
    where = ["--kubeconfig", str(kube.kubeconfig), "--namespace", restricted, "--values", "-"]

    def secrets() -> dict[str, Raw]:
        found = kube.admin.items(f"/api/v1/namespaces/{restricted}/secrets")
        return {item["metadata"]["name"]: item["data"] for item in found if item["type"] == "Opaque"}

    said = helm("install", "kept", str(CHART), "--set", "crds.install=false", *where, stdin=values.decode())
    assert f"helm -n {restricted} test kept" in said
    first = secrets()
    assert first["kept-nemeton-database"]["password"]
    helm("upgrade", "kept", str(CHART), "--set", "crds.install=false", *where, stdin=values.decode())
    assert secrets() == first
    helm("uninstall", "kept", "--kubeconfig", str(kube.kubeconfig), "--namespace", restricted)
    assert secrets() == {}


@pytest.fixture
def operator(kube: ControlPlane, restricted: str) -> Client:
    """The API server as the operator of an installed release sees it."""
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    rights = [item for item in _into(restricted, TRIAL) if item["kind"] in kinds]
    kube.kubectl.apply(*rights, namespace=restricted)
    return kube.client_of(restricted, one(rights, "ServiceAccount", "-operator")["metadata"]["name"])


def test_the_operator_sees_tasks_and_pods_of_its_namespace_and_of_no_other(operator: Client, restricted: str) -> None:
    for resource in ("/api/v1/{}/pods", "/apis/druid.nemeton.dev/v1alpha1/{}/druidtasks"):
        path = resource.format(f"namespaces/{restricted}")
        until(lambda path=path: _is_allowed(operator, path), "rights have arrived at the API server", 10)
        for elsewhere in ("namespaces/kube-system", "namespaces/default"):
            assert not _is_allowed(operator, resource.format(elsewhere))
        assert not _is_allowed(operator, resource.replace("{}/", ""))


def test_the_operator_reads_no_secret(operator: Client, restricted: str) -> None:
    secrets = f"/api/v1/namespaces/{restricted}/secrets"
    until(lambda: _is_allowed(operator, f"/api/v1/namespaces/{restricted}/pods"), "rights have arrived", 10)
    assert not _is_allowed(operator, secrets)
    operator.create(secrets, {"metadata": {"name": "token"}, "data": {}})
    assert not _is_allowed(operator, f"{secrets}/token")


def test_the_lease_of_another_release_is_out_of_reach(operator: Client, restricted: str) -> None:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{restricted}/leases"
    lease = {"metadata": {"name": "test-nemeton-operator"}, "spec": {}}
    until(lambda: _is_allowed(operator, f"/api/v1/namespaces/{restricted}/pods"), "rights have arrived", 10)
    made = operator.create(leases, lease)
    operator.replace(f"{leases}/test-nemeton-operator", made)
    assert _is_allowed(operator, f"{leases}/test-nemeton-operator")
    assert not _is_allowed(operator, f"{leases}/other")


def test_the_sets_of_values_are_those_that_the_golden_files_know() -> None:
    known = {"trial", "aws", "namespaces", "cluster-wide", "shared-volume", "secured"}
    assert {path.stem for path in value_sets()} == known
    assert all(path.parent == VALUES for path in value_sets())


def _claimed(spec: Raw) -> list[Raw]:
    """In the place of the volumes that a StatefulSet adds to its pods."""
    mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    missing = mounted - {volume["name"] for volume in spec["volumes"]}
    return [{"name": name, "emptyDir": {}} for name in sorted(missing)]


def _is_allowed(client: Client, path: str) -> bool:
    """Whether a GET passes the API server's authorization; what is not there is allowed to be looked for."""
    try:
        client.get(path)
    except Refused as refused:
        return refused.status == 404
    return True
