"""What others do to a DruidTask by hand, on a real API server: a forged status, a finalizer taken away, an edit."""

import pytest

from overlord_operator import names
from tests.support.house import until
from tests.support.operator_process import PlayedCluster, played_cluster

played = pytest.fixture(played_cluster)

NOOP = {"type": "noop", "id": "mine"}


def running(played: PlayedCluster) -> str:
    """A task that runs; the path of its object."""
    played.operator()
    played.apply("mine", NOOP)
    played.wait_for_pod("mine")
    played.run_pod("mine")
    played.wait_for_state("mine", "RUNNING")
    return f"/apis/{names.API_VERSION}/namespaces/{played.namespace}/{names.PLURAL}/mine"


def test_a_forged_end_is_put_right_by_one_write_and_the_task_goes_on_to_its_own(played: PlayedCluster):
    path = running(played)
    forged = {"state": "SUCCESS", "reason": "Success", "endTime": "2026-01-01T00:00:00Z", "attempts": []}
    before = int(played.kube.admin.patch(f"{path}/status", {"status": forged})["metadata"]["generation"])
    status = played.wait_for_state("mine", "RUNNING")
    assert "endTime" not in status
    assert [each["attempt"] for each in status["attempts"]] == [1]
    raw = played.task("mine")
    assert raw is not None
    assert raw["metadata"]["generation"] == before, "a status is no edit"
    played.succeed("mine")
    played.wait_for_state("mine", "SUCCESS")
    until(lambda: not played.pods(), "its pod is let go")
    assert list(played.logs.rglob("*mine*"))

    played.kube.admin.patch(f"{path}/status", {"status": {"state": "FAILED", "errorMsg": "no"}})
    status = played.wait_for_state("mine", "SUCCESS")
    assert "errorMsg" not in status


def test_an_object_without_its_finalizer_ends_its_task_and_leaves_no_pod(played: PlayedCluster):
    path = running(played)
    played.kube.admin.patch(path, {"metadata": {"finalizers": None}})
    played.kube.admin.delete(path)
    until(lambda: played.overlord.fake.statuses["mine"].is_complete, "the task is shut down")
    until(lambda: "deletionTimestamp" in played.pods()[0]["metadata"], "its pod is to end")
    played.end_pod("mine", exit_code=143, why="Error")
    until(lambda: not played.pods(), "the pod is let go")
    assert list(played.logs.rglob("*mine*")), "after its log is safe"
    assert played.tasks() == []


def test_a_lowered_deadline_is_the_running_pods_too(played: PlayedCluster):
    path = running(played)
    played.kube.admin.patch(path, {"spec": {"activeDeadlineSeconds": 77}})

    def deadline() -> int:
        pod = played.pod_of("mine")
        assert pod is not None
        return pod["spec"]["activeDeadlineSeconds"]

    until(lambda: deadline() == 77, "the API server takes it")
    raised = played.kube.admin.patch(path, {"spec": {"activeDeadlineSeconds": 7700}})["metadata"]["generation"]
    until(lambda: played.status("mine").get("observedGeneration") == raised, "the edit is seen")
    assert deadline() == 77, "Kubernetes lets nobody raise one"
    played.play("mine", {"phase": "Failed", "reason": "DeadlineExceeded", "message": "active for too long"})
    assert played.wait_for_state("mine", "FAILED")["reason"] == "DeadlineExceeded"
