"""Whatever the values: the restricted Pod Security Standard, no token that is not needed, a policy for every pod."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.chart import TRIAL, Raw, objects, one, pod_specs, value_sets

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
"""Kinds that the restricted standard allows."""

SECRET_WORDS = ("PASSWORD", "SECRET_KEY", "SECRET_ACCESS", "DATABASE_URL", "ACCESS_KEY", "TOKEN")

SETS = pytest.mark.parametrize("values", value_sets(), ids=lambda path: path.stem)


def _containers(spec: Raw) -> list[Raw]:
    return [*spec.get("initContainers", []), *spec["containers"]]


@SETS
def test_every_pod_fits_the_restricted_pod_security_standard(values: Path) -> None:
    """The rules of the standard, each by its field. Kubernetes: Pod Security Standards, Restricted"""
    for name, pod in pod_specs(objects(values)):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"].get("runAsUser") != 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= VOLUMES, (name, volume)
        for container in _containers(spec):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "privileged" not in context, name
            assert not [port for port in container.get("ports", []) if "hostPort" in port], name


@SETS
def test_every_container_has_a_read_only_root_and_knows_its_bounds(values: Path) -> None:
    for name, pod in pod_specs(objects(values)):
        for container in _containers(pod["spec"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


@SETS
def test_only_the_operator_gets_a_token_for_kubernetes(values: Path) -> None:
    made = objects(values)
    for name, pod in pod_specs(made):
        assert pod["spec"]["automountServiceAccountToken"] is name.endswith("-operator"), name
    for account in (item for item in made if item["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@SETS
def test_no_secret_value_stands_in_a_pod(values: Path) -> None:
    """Environment is shown by `kubectl describe`: keys and passwords come from Secrets."""
    for name, pod in pod_specs(objects(values)):
        for container in _containers(pod["spec"]):
            for variable in container.get("env", []):
                is_secret = any(word in variable["name"] for word in SECRET_WORDS)
                assert not is_secret or "valueFrom" in variable, (name, variable["name"])


@SETS
def test_services_of_the_namespace_do_not_leak_into_variables(values: Path) -> None:
    """A Service called `nemeton` would set NEMETON_PORT to `tcp://...`."""
    for name, pod in pod_specs(objects(values)):
        assert pod["spec"]["enableServiceLinks"] is False, name


def _selects(selector: Raw, labels: Raw) -> bool:
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


@SETS
def test_a_pod_is_denied_everything_that_no_policy_allows(values: Path) -> None:
    made = objects(values)
    policies = [item for item in made if item["kind"] == "NetworkPolicy"]
    if values.stem == "cluster-wide":  # its values ask for none
        assert not policies
        return
    deny = one(made, "NetworkPolicy", "-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    ports = {port["port"] for rule in deny["egress"] for port in rule["ports"]}
    assert ports == {53}
    for name, pod in pod_specs(made):
        assert _selects(deny["podSelector"], pod["metadata"]["labels"]), name


def test_peons_of_every_task_namespace_are_denied_by_default_too() -> None:
    made = objects({**TRIAL, "operator": {"taskNamespaces": ["one", "two"]}})
    peons = [item for item in made if item["kind"] == "NetworkPolicy" and item["metadata"]["name"].endswith("-peon")]
    assert {item["metadata"]["namespace"] for item in peons} == {"one", "two"}
    for policy in peons:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert policy["spec"]["podSelector"]["matchLabels"]["druid.k8s.peons"] == "true"


def _ports(rules: list[Raw]) -> list[Any]:
    return sorted(port["port"] for rule in rules for port in rule["ports"])


def test_policies_open_the_ways_that_a_task_goes_and_no_others() -> None:
    made = objects(TRIAL)
    expected = {
        "-overlord": ([8090], [5432, 8100, 8333]),
        "-operator": ([], [443, 6443, 8090, 8333]),
        "-peon": ([8100], [53, 53, 80, 443, 8090, 8100, 8333]),
        "-nemeton-database": ([5432], []),
        "-nemeton-object-storage": ([8333], []),
        "-test": ([], [8090]),
    }
    for name, (entering, leaving) in expected.items():
        spec = one(made, "NetworkPolicy", name)["spec"]
        assert _ports(spec.get("ingress", [])) == entering, name
        assert _ports(spec.get("egress", [])) == leaving, name


@SETS
def test_services_and_budgets_select_the_pods_that_they_mean(values: Path) -> None:
    made = objects(values)
    pods = [pod["metadata"]["labels"] for _, pod in pod_specs(made)]
    for item in made:
        match item["kind"]:
            case "Service":
                selector = {"matchLabels": item["spec"]["selector"]}
            case "PodDisruptionBudget" | "Deployment" | "StatefulSet":
                selector = item["spec"]["selector"]
            case _:
                continue
        components = {labels["app.kubernetes.io/component"] for labels in pods if _selects(selector, labels)}
        assert len(components) == 1, item["metadata"]["name"]
