"""
The operator as a process on a real API server: what it makes, shows and survives. The test plays the kubelet, and an
Overlord that does as it is told.
"""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from overlord_operator import names
from tests.support.cluster.binaries import path
from tests.support.cluster.control_plane import ControlPlane
from tests.support.house import until
from tests.support.operator_process import PlayedCluster, played_cluster
from tests.support.served_overlord import serving_overlord

KEPT = ["get", "list", "watch", "create", "patch", "delete"]
RULES: list[dict[str, Any]] = [
    {"apiGroups": [names.GROUP], "resources": [names.PLURAL], "verbs": KEPT},
    {"apiGroups": [names.GROUP], "resources": [f"{names.PLURAL}/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": KEPT},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "list"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]
"""All that the operator may do in its namespaces; the chart gives the same."""


DOCUMENT = Path(__file__).parents[2] / "docs" / "kubernetes.md"

played = pytest.fixture(played_cluster)


def test_a_task_by_rest_becomes_an_object_and_a_pod_and_ends_with_its_log_kept(played: PlayedCluster):
    played.operator()
    name = played.rest_task("noop_1")
    played.wait_for_pod("noop_1")
    played.run_pod("noop_1")
    status = played.wait_for_state(name, "RUNNING")
    assert status["location"] == "10.0.0.7:8100"
    report = until(lambda: [each for each in played.overlord.fake.reports if each.state == "RUNNING"], "it is reported")
    assert report[0].location is not None
    assert report[0].location.k8s_pod_name == names.pod_name("noop_1", 1)
    played.succeed("noop_1")
    status = played.wait_for_state(name, "SUCCESS")
    assert status["durationMs"] == 1000
    until(lambda: not played.pods(), "the pod is let go")
    assert list(played.logs.rglob("*noop_1*")), "its log is kept"
    assert "Success" in played.events(name)


def test_kubectl_apply_runs_a_task_and_a_second_apply_does_not(played: PlayedCluster):
    played.operator()
    played.apply("mine")
    until(lambda: played.status("mine").get("podName"), "it has a pod")
    task_id = played.status("mine")["taskId"]
    played.apply("mine")
    played.run_pod(task_id)
    played.wait_for_state("mine", "RUNNING")
    played.succeed(task_id)
    played.wait_for_state("mine", "SUCCESS")
    assert played.overlord.fake.submissions == 1
    assert len(played.overlord.fake.attempts) == 1
    shown = played.kube.kubectl("get", "dt", "-n", played.namespace)
    assert "SUCCESS" in shown
    assert "web" in shown


def test_a_refused_task_shows_the_overlords_words_in_status_and_in_an_event(played: PlayedCluster):
    played.overlord.fake.refuses = "Could not resolve type id 'idnex' as a subtype of Task"
    played.operator()
    played.apply("mine", {"type": "idnex"})
    status = played.wait_for_state("mine", "FAILED")
    assert "Could not resolve type id" in status["message"]
    until(lambda: "Refused" in played.events("mine"), "an Event says so")


def test_deleting_the_object_ends_the_task_and_its_pod(played: PlayedCluster):
    played.operator()
    played.apply("mine")
    until(lambda: played.status("mine").get("podName"), "it has a pod")
    task_id = played.status("mine")["taskId"]
    played.run_pod(task_id)
    played.wait_for_state("mine", "RUNNING")
    played.kube.kubectl("delete", "dt", "mine", "-n", played.namespace, "--wait=false")
    until(lambda: played.overlord.fake.statuses[task_id].is_complete, "the Overlord was asked")
    until(lambda: not played.tasks() and not played.pods(), "all of it is gone")
    assert list(played.logs.rglob(f"*{task_id}*"))


def test_a_pod_that_no_node_can_take_says_so_in_the_schedulers_words_within_ten_seconds(played: PlayedCluster):
    operator = played.operator()
    until(operator.leads, "it leads", 30)
    played.apply("mine", peon={"nodeSelector": {"disk": "of-gold"}})
    began = time.monotonic()
    until(lambda: played.status("mine").get("reason") == "Unschedulable", "the status says so", 30)
    assert time.monotonic() - began < 10
    assert "nodes" in played.status("mine")["message"]
    reports = played.overlord.fake.reports
    until(lambda: [report for report in reports if report.waiting_for], "the Overlord knows it too", 5)


def test_an_evicted_attempt_is_repeated_under_another_name(played: PlayedCluster):
    played.operator()
    name = played.rest_task("noop_1")
    played.wait_for_pod("noop_1")
    played.run_pod("noop_1")
    played.wait_for_state(name, "RUNNING")
    played.end_pod("noop_1", 1, 137, "Error", reason="Evicted", message="The node was low on resource: memory.")
    played.wait_for_pod("noop_1", 2)
    played.run_pod("noop_1", 2)
    played.wait_for_state(name, "RUNNING")
    played.succeed("noop_1", 2)
    status = played.wait_for_state(name, "SUCCESS")
    assert [attempt["cause"] for attempt in status["attempts"]] == ["EvictedMemoryPressure", "Completed"]


def test_an_operator_that_is_killed_is_followed_and_nothing_is_doubled(played: PlayedCluster):
    first = played.operator("operator-0")
    until(first.leads, "the first leads", 30)
    second = played.operator("operator-1")
    until(lambda: "watching" in second.text, "the second is up", 60)
    ids = [f"noop_{number}" for number in range(20)]
    task_names = [played.rest_task(task_id) for task_id in ids]
    until(lambda: len(played.pods()) >= 5, "some pods are made", 30)
    killed = time.monotonic()
    first.kill()
    until(second.leads, "the second leads", 30)
    assert time.monotonic() - killed <= 15
    for task_id in ids:
        played.wait_for_pod(task_id)
    for task_id in ids:
        played.run_pod(task_id)
    for task_id in ids:
        played.succeed(task_id)
    for name in task_names:
        played.wait_for_state(name, "SUCCESS")
    assert sorted(played.overlord.fake.attempts) == sorted((task_id, 1) for task_id in ids)
    assert {task["metadata"]["name"] for task in played.tasks()} == set(task_names)


def test_an_operator_that_is_stopped_hands_over_at_once_and_ends_well(played: PlayedCluster):
    first = played.operator("operator-0")
    until(first.leads, "the first leads", 30)
    second = played.operator("operator-1")
    until(lambda: "watching" in second.text, "the second is up", 30)
    time.sleep(1)
    began = time.monotonic()
    assert first.stop() == 0
    until(second.leads, "the second leads", 30)
    assert time.monotonic() - began < 8


def test_the_rights_that_are_documented_are_enough(played: PlayedCluster):
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{played.namespace}"
    admin = played.kube.admin
    admin.create(f"/api/v1/namespaces/{played.namespace}/serviceaccounts", {"metadata": {"name": "operator"}})
    admin.create(f"{rbac}/roles", {"metadata": {"name": "operator"}, "rules": RULES})
    admin.create(
        f"{rbac}/rolebindings",
        {
            "metadata": {"name": "operator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": played.namespace}],
        },
    )
    operator = played.operator(kubeconfig=played.kube.kubeconfig_of(played.namespace, "operator"))
    played.apply("mine")
    until(lambda: played.status("mine").get("podName"), "it has a pod")
    task_id = played.status("mine")["taskId"]
    played.run_pod(task_id)
    played.wait_for_state("mine", "RUNNING")
    played.succeed(task_id)
    played.wait_for_state("mine", "SUCCESS")
    until(lambda: "Success" in played.events("mine"), "Events are written")
    played.kube.kubectl("delete", "dt", "mine", "-n", played.namespace, "--wait=false")
    until(lambda: not played.tasks() and not played.pods(), "all of it is gone")
    assert "forbidden" not in operator.text.lower()


def test_an_api_server_that_is_killed_only_delays(own_kube: ControlPlane, tmp_path: Path):
    namespace = own_kube.new_namespace()
    with serving_overlord() as overlord:
        played = PlayedCluster(own_kube, namespace, overlord, tmp_path)
        try:
            operator = played.operator()
            name = played.rest_task("noop_1")
            played.wait_for_pod("noop_1")
            own_kube.kill("apiserver")
            other = played.rest_task("noop_2")
            time.sleep(12)
            own_kube.start_part("apiserver")
            own_kube.wait_for_api()
            played.run_pod("noop_1")
            played.wait_for_state(name, "RUNNING")
            played.wait_for_pod("noop_2")
            played.run_pod("noop_2")
            played.wait_for_state(other, "RUNNING")
            played.succeed("noop_1")
            played.succeed("noop_2")
            played.wait_for_state(name, "SUCCESS")
            played.wait_for_state(other, "SUCCESS")
            assert operator.stop() == 0
        finally:
            played.end()


def test_what_is_finished_can_be_deleted_when_no_operator_is_left(played: PlayedCluster):
    operator = played.operator()
    played.apply("mine")
    until(lambda: played.status("mine").get("podName"), "it has a pod")
    task_id = played.status("mine")["taskId"]
    played.run_pod(task_id)
    played.succeed(task_id)
    played.wait_for_state("mine", "SUCCESS")
    until(lambda: not ((played.task("mine") or {})["metadata"].get("finalizers")), "it is let go")
    operator.stop()
    played.kube.kubectl("delete", "dt", "mine", "-n", played.namespace, "--timeout=10s")
    assert not played.tasks()


def test_the_documented_way_out_frees_what_ran_when_the_operator_left(played: PlayedCluster):
    operator = played.operator()
    played.apply("mine")
    until(lambda: played.status("mine").get("podName"), "it has a pod")
    task_id = played.status("mine")["taskId"]
    played.run_pod(task_id)
    played.wait_for_state("mine", "RUNNING")
    operator.stop()
    played.kube.kubectl("delete", "dt", "mine", "-n", played.namespace, "--wait=false")
    assert played.task("mine"), "nobody is there to end it"
    leaving = DOCUMENT.read_text().partition("## Leaving")[2].partition("\n## ")[0]
    (way_out,) = [block for block in re.findall(r"```\n(.*?)```", leaving, re.DOTALL) if "finalizers" in block]
    said = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", way_out.replace("-n druid", f"-n {played.namespace}")],
        env={
            "PATH": os.pathsep.join([str(path("kubectl").parent), os.environ["PATH"]]),
            "KUBECONFIG": str(played.kube.kubeconfig),
            "HOME": str(played.folder),
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "mine patched" in said
    until(lambda: played.task("mine") is None, "the object is gone", 30)
    for pod in played.pods():
        assert not pod["metadata"].get("finalizers")
