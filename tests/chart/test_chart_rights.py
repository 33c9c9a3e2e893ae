"""The operator's rights are the calls that its code makes: none missing, none too many."""

import ast
from pathlib import Path

from overlord_operator import names
from tests.support.chart import CHART, TRIAL, VALUES, Raw, objects, one

OPERATOR = CHART.parents[1] / "operator" / "overlord_operator"

KINDS = {
    "DRUID_TASKS": f"{names.GROUP}/{names.PLURAL}",
    "PODS": "/pods",
    "SECRETS": "/secrets",
    "EVENTS": "/events",
    "LEASES": "coordination.k8s.io/leases",
}
"""The operator's names for kinds, as group and resource."""

VERBS = {
    "get": {"get"},
    "pages": {"list"},
    "create": {"create"},
    "replace": {"update"},
    "patch": {"patch"},
    "delete": {"delete"},
}
"""What each method of `cluster.client.Cluster` that takes a kind asks of the API server."""

FIXED = {"events_of": ("/events", "list"), "pod_log": ("/pods/log", "get")}
"""Methods for one kind."""

WATCHED = {"/pods", f"{names.GROUP}/{names.PLURAL}"}
"""What kopf's handlers are for: it lists, then watches."""

ASKED_BY_ADMISSION = {(f"{names.GROUP}/{names.PLURAL}/finalizers", "update")}
"""Not called: where owner references are checked, whoever blocks the owner's deletion must have it."""


def _calls() -> set[tuple[str, str]]:
    """(resource, verb) of every call of a `Cluster` in the operator's source."""
    found: set[tuple[str, str]] = set()
    for module in OPERATOR.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            holder = node.func.value
            if not isinstance(holder, ast.Attribute) or holder.attr not in ("cluster", "_cluster"):
                continue
            method = node.func.attr
            if method in FIXED:
                found.add(FIXED[method])
            elif method in VERBS and node.args and (kind := _named(node.args[0])) in KINDS:
                is_status = any(isinstance(given, ast.Constant) and given.value == "status" for given in node.args[1:])
                resource = KINDS[kind] + ("/status" if is_status else "")
                found |= {(resource, verb) for verb in VERBS[method]}
    return found | {(resource, verb) for resource in WATCHED for verb in ("list", "watch")}


def _named(given: ast.expr) -> str:
    """The name of a constant, whatever module it is taken from; empty where it is none."""
    match given:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _granted(role: Raw) -> set[tuple[str, str]]:
    return {
        (f"{group}/{resource}", verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_operators_source_makes_the_calls_that_are_known_here() -> None:
    """Guards the reading of the source itself: were it to find nothing, the next test would compare nothing."""
    assert {("/pods", "create"), ("/pods/log", "get"), (f"{names.GROUP}/{names.PLURAL}/status", "patch")} <= _calls()
    assert ("coordination.k8s.io/leases", "update") in _calls()


def test_the_operator_may_do_what_it_does_and_nothing_else() -> None:
    made = objects(TRIAL)
    granted = _granted(one(made, "Role", "-operator")) | _granted(one(made, "Role", "-operator-lease"))
    assert granted == _calls() | ASKED_BY_ADMISSION


def test_rights_are_the_same_in_every_task_namespace_and_cluster_wide() -> None:
    here = one(objects(TRIAL), "Role", "-operator")["rules"]
    elsewhere = [item for item in objects(VALUES / "namespaces.yaml") if item["kind"] == "Role"]
    tasks = [item for item in elsewhere if item["metadata"]["name"].endswith("-operator")]
    assert {item["metadata"]["namespace"] for item in tasks} == {"etl", "adhoc"}
    assert all(item["rules"] == here for item in tasks)
    assert one(objects(VALUES / "cluster-wide.yaml"), "ClusterRole", "-operator")["rules"] == here


def test_no_rule_is_for_everything() -> None:
    for values in ("trial", "cluster-wide"):
        for item in objects(VALUES / f"{values}.yaml"):
            for rule in item.get("rules") or []:
                if item["kind"] in ("Role", "ClusterRole"):
                    assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_the_lease_may_be_written_under_its_own_name_alone() -> None:
    rules = one(objects(TRIAL), "Role", "-operator-lease")["rules"]
    named = {verb: rule.get("resourceNames") for rule in rules for verb in rule["verbs"]}
    assert named == {"create": None, "get": ["test-nemeton-operator"], "update": ["test-nemeton-operator"]}


def test_rights_can_be_left_to_an_administrator() -> None:
    kinds = {item["kind"] for item in objects({**TRIAL, "rbac": {"create": False}})}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_every_right_is_explained_in_the_documentation() -> None:
    text = (CHART.parents[1] / "docs" / "kubernetes.md").read_text()
    for rule in one(objects(TRIAL), "Role", "-operator")["rules"]:
        for resource in rule["resources"]:
            assert f"`{resource}`" in text


def test_the_source_is_where_it_is_looked_for() -> None:
    assert Path(OPERATOR / "cluster" / "client.py").exists()
