"""One operator for the tasks of several namespaces, or of the whole cluster: each task's pod is beside its object."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.cluster.control_plane import ControlPlane
from tests.support.house import until
from tests.support.operator_process import PlayedCluster, played_cluster

played = pytest.fixture(played_cluster)


@pytest.fixture
def beside(played: PlayedCluster, kube: ControlPlane, tmp_path: Path) -> Generator[PlayedCluster]:
    """Another namespace, with the same Overlord."""
    namespace = kube.new_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    try:
        yield PlayedCluster(kube, namespace, played.overlord, tmp_path)
    finally:
        kube.delete_namespace(namespace)


@pytest.mark.parametrize("is_wide", [False, True], ids=["two by name", "the whole cluster"])
def test_tasks_of_every_watched_namespace_run_where_their_objects_are(
    played: PlayedCluster, beside: PlayedCluster, is_wide: bool
) -> None:
    watched = "*" if is_wide else f"{played.namespace},{beside.namespace}"
    played.operator(task_namespaces=watched, default_task_namespace=beside.namespace)
    for cluster in (played, beside):
        cluster.apply("same-name")
        cluster.wait_for_state("same-name", "PENDING")
    ids = [cluster.status("same-name")["taskId"] for cluster in (played, beside)]
    assert ids[0] != ids[1], "two objects of one name are two tasks"
    for cluster, task_id in zip((played, beside), ids, strict=True):
        cluster.wait_for_pod(task_id)
        cluster.run_pod(task_id)
        cluster.wait_for_state("same-name", "RUNNING")
        cluster.succeed(task_id)
        cluster.wait_for_state("same-name", "SUCCESS")
    by_rest = beside.rest_task(f"by-rest-{beside.namespace}")
    until(lambda: beside.task(by_rest), "the task by REST has its object in the default namespace")
    assert played.task(by_rest) is None


def test_a_namespace_that_is_not_watched_is_left_alone(played: PlayedCluster, beside: PlayedCluster) -> None:
    beside.apply("not-ours")
    played.operator(task_namespaces=played.namespace)
    played.apply("ours")
    played.wait_for_state("ours", "PENDING")
    assert beside.status("not-ours")["state"] == "NOT_TAKEN_UP"
    assert "operator.taskNamespaces" in beside.status("not-ours")["message"]
    assert beside.pods() == []
