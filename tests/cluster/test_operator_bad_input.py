"""Whatever is applied ends in a state and a sentence that says what to do, on a real API server with its scheduler."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from overlord_operator import names
from tests.support.cluster.client import Refused
from tests.support.house import until
from tests.support.operator_process import PlayedCluster, Raw, played_cluster

NOOP: Raw = {"type": "noop", "dataSource": "web"}
PULL = 'Back-off pulling image "no/such:image": ErrImagePull: failed to resolve image: dial tcp: no such host'
"""The kubelet's words."""

played = pytest.fixture(played_cluster)


@pytest.fixture
def node(played: PlayedCluster) -> Generator[None]:
    """One that is Ready on paper: its kubelet is the test."""
    name = f"node-{played.namespace}"
    played.kube.make_node(name)
    yield
    played.kube.admin.delete(f"/api/v1/nodes/{name}")


def make(played: PlayedCluster, name: str, task: Raw, **spec: Any) -> Raw:
    """As `kubectl create`, which has no limit of its own for an object's size."""
    path = f"/apis/{names.API_VERSION}/namespaces/{played.namespace}/{names.PLURAL}"
    raw = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}}
    return played.kube.admin.create(path, {**raw, "spec": {"task": task, **spec}})


def test_a_task_without_a_type_is_not_let_in(played: PlayedCluster):
    with pytest.raises(Refused, match="type is missing: write the task's type"):
        make(played, "mine", {"dataSource": "web"})
    assert played.tasks() == []


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"type": "idnex"}, "Could not resolve type id 'idnex' as a subtype of Task"),
        ({"type": "index_parallel", "spec": {}}, "Cannot construct instance of ParallelIndexIngestionSpec"),
    ],
)
def test_a_refused_task_gets_no_pod_and_runs_once_it_is_corrected(played: PlayedCluster, task: Raw, words: str):
    played.overlord.fake.refuses = words
    played.operator()
    played.apply("mine", task)
    status = played.wait_for_state("mine", "FAILED")
    assert (status["reason"], status["message"]) == ("Refused", words)
    assert "taskId" not in status, "it may still be edited"
    assert played.pods() == []
    played.overlord.fake.refuses = None
    played.apply("mine")
    played.wait_for_state("mine", "PENDING")
    until(played.pods, "it has a pod")


def test_a_template_that_does_not_exist_is_named_with_those_that_do(played: PlayedCluster):
    played.operator()
    played.apply("mine", peon={"template": "huge"})
    status = played.wait_for_state("mine", "FAILED")
    assert status["reason"] == "InvalidTemplate"
    assert "There is no pod template [huge]" in status["message"]
    assert played.pods() == []
    assert played.overlord.fake.statuses[status["taskId"]].is_complete, "the Overlord knows it too"


def test_a_misspelt_field_of_a_template_is_named_and_not_passed_over(played: PlayedCluster, tmp_path: Path):
    (tmp_path / "base.yaml").write_text("spec: {tolerationz: [{key: batch, operator: Exists}]}")
    played.operator(pod_templates=str(tmp_path))
    played.apply("mine")
    status = played.wait_for_state("mine", "FAILED")
    assert status["reason"] == "InvalidPod"
    assert 'unknown field "spec.tolerationz"' in status["message"]
    assert "correct spec.peon or the pod template" in status["message"]
    assert played.pods() == []


@pytest.mark.usefixtures("node")
def test_an_image_that_cannot_be_pulled_is_said_at_once_and_ends_at_the_launch_timeout(played: PlayedCluster):
    played.operator()
    played.apply("mine", {**NOOP, "id": "unpulled"}, launchTimeoutSeconds=15, peon={"image": "no/such:image"})
    assert played.wait_for_pod("unpulled")["spec"]["containers"][0]["image"] == "no/such:image"
    state = {"waiting": {"reason": "ImagePullBackOff", "message": PULL}}
    main = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    played.play("unpulled", {"phase": "Pending", "containerStatuses": [main]})
    until(lambda: played.status("mine").get("reason") == "ImagePullBackOff", "the status says so", 10)
    assert "no such host" in played.status("mine")["message"]
    status = played.wait_for_state("mine", "FAILED")
    assert status["reason"] == "ImagePullBackOff"
    assert "15 s" in status["message"]


@pytest.mark.usefixtures("node")
def test_requests_that_no_node_can_meet_are_told_in_the_schedulers_words(played: PlayedCluster):
    played.operator()
    played.apply("mine", peon={"resources": {"requests": {"cpu": "1000"}}})
    until(lambda: played.status("mine").get("reason") == "InsufficientResources", "the status says so", 30)
    assert "Insufficient cpu" in played.status("mine")["message"]
    reports = played.overlord.fake.reports
    told = until(lambda: [each.waiting_for for each in reports if each.waiting_for], "the Overlord knows it too", 5)
    assert "Insufficient cpu" in told[-1]


def test_a_pod_beyond_the_quota_waits_for_room_and_the_overlord_knows_why(played: PlayedCluster):
    quotas = f"/api/v1/namespaces/{played.namespace}/resourcequotas"
    played.kube.admin.create(quotas, {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}})
    until(lambda: played.kube.admin.get(f"{quotas}/small").get("status", {}).get("hard"), "the quota counts")
    first = played.operator("operator-0")
    played.apply("mine", {**NOOP, "id": "crowded"})
    until(lambda: played.status("mine").get("reason") == "QuotaExceeded", "the status says so", 30)
    until(lambda: played.overlord.fake.reports, "the Overlord is told")
    assert "exceeded quota: small" in (played.overlord.fake.reports[-1].waiting_for or "")
    refused_at = played.status("mine")["attempts"][0]["refusedAt"]
    first.kill()
    second = played.operator("operator-1")
    until(second.leads, "another one leads", 30)
    time.sleep(2)
    assert played.status("mine")["attempts"][0]["refusedAt"] == refused_at
    played.kube.admin.patch(f"{quotas}/small", {"spec": {"hard": {"pods": "5"}}})
    played.wait_for_pod("crowded")


def test_an_object_in_a_namespace_that_nobody_watches_says_so_and_gets_no_pod(played: PlayedCluster):
    operator = played.operator()
    until(operator.leads, "it leads", 30)
    elsewhere = played.kube.new_namespace()
    try:
        played.kube.kubectl("get", "dt", "-n", elsewhere)
        path = f"/apis/{names.API_VERSION}/namespaces/{elsewhere}/{names.PLURAL}"
        raw = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "lost"}}
        played.kube.admin.create(path, {**raw, "spec": {"task": NOOP}})
        played.apply("mine")
        until(lambda: played.status("mine").get("podName"), "one in a watched namespace has its pod")
        status = played.kube.admin.get(f"{path}/lost")["status"]
        assert status["state"] == "NOT_TAKEN_UP"
        assert "namespace" in status["message"]
        assert played.kube.admin.items(f"/api/v1/namespaces/{elsewhere}/pods") == []
    finally:
        played.kube.delete_namespace(elsewhere)


@pytest.mark.parametrize("is_over", [False, True])
def test_an_edit_that_the_api_server_cannot_tell_is_said_to_have_no_effect(played: PlayedCluster, is_over: bool):
    """Its rules compare the values of fields that the definition does not declare, and not their names."""
    played.operator()
    played.apply("mine", {**NOOP, "id": "edited", "isReadyTime": 1})
    played.wait_for_pod("edited")
    played.run_pod("edited")
    played.wait_for_state("mine", "RUNNING")
    if is_over:
        played.succeed("edited")
        played.wait_for_state("mine", "SUCCESS")
    before = played.status("mine")
    with pytest.raises(Refused, match="a task that was submitted never changes"):
        _replace_task(played, {**NOOP, "id": "edited", "isReadyTime": 9})
    _replace_task(played, {**NOOP, "id": "edited", "endTime": 1})

    def submitted() -> Raw:
        return next(each for each in played.status("mine")["conditions"] if each["type"] == "Submitted")

    until(lambda: submitted()["reason"] == "Edited", "the condition says so", 20)
    assert "no effect: make a new DruidTask" in submitted()["message"]
    after = played.status("mine")
    assert {key: after[key] for key in ("state", "taskId", "attempt")} == {
        key: before[key] for key in ("state", "taskId", "attempt")
    }
    assert played.overlord.fake.submissions == 1
    assert played.overlord.fake.tasks["edited"]["isReadyTime"] == 1


def _replace_task(played: PlayedCluster, task: Raw) -> None:
    path = f"/apis/{names.API_VERSION}/namespaces/{played.namespace}/{names.PLURAL}/mine"
    for _ in range(20):
        raw = played.kube.admin.get(path)
        try:
            played.kube.admin.replace(path, {**raw, "spec": {**raw["spec"], "task": task}})
        except Refused as refused:
            if refused.status != 409:  # the operator was quicker
                raise
        else:
            return
    raise AssertionError("the object changes all the time")


def test_an_object_that_is_deleted_while_its_pod_starts_leaves_nothing(played: PlayedCluster):
    played.operator()
    played.apply("mine", {**NOOP, "id": "brief"})
    played.wait_for_pod("brief")
    played.kube.kubectl("delete", "dt", "mine", "-n", played.namespace, "--timeout=90s")
    assert played.tasks() == []
    until(lambda: not played.pods(), "its pod is gone", 90)
    assert played.overlord.fake.statuses["brief"].is_complete
    assert len(played.overlord.fake.attempts) == 1


def test_an_object_that_comes_while_the_overlord_is_away_waits_and_then_runs(played: PlayedCluster):
    played.overlord.fake.is_away = True
    played.operator()
    played.apply("mine", {**NOOP, "id": "patient"})
    until(lambda: played.status("mine").get("reason") == "OverlordAway", "the status says so", 30)
    assert played.status("mine")["state"] == "WAITING"
    assert "as soon as it can be" in played.status("mine")["message"]
    played.overlord.fake.is_away = False
    played.wait_for_pod("patient")
    assert played.overlord.fake.submissions == 1


def test_a_second_object_of_a_task_id_is_refused_with_the_name_of_the_first(played: PlayedCluster):
    played.operator()
    played.apply("first", {**NOOP, "id": "only_once"})
    played.wait_for_pod("only_once")
    played.apply("second", {**NOOP, "id": "only_once"})
    status = played.wait_for_state("second", "FAILED")
    assert status["reason"] == "Refused"
    assert f"It is the task of the DruidTask {played.namespace}/first" in status["message"]
    played.run_pod("only_once")
    played.wait_for_state("first", "RUNNING")
    assert len(played.pods()) == 1
    played.kube.kubectl("delete", "dt", "second", "-n", played.namespace, "--timeout=60s")
    assert played.status("first")["state"] == "RUNNING", "the task is not the second one's to end"
    assert not played.overlord.fake.statuses["only_once"].is_complete


def test_a_task_of_nearly_the_size_that_etcd_takes_reaches_the_overlord_word_for_word(played: PlayedCluster):
    task = {**NOOP, "id": "heavy", "context": {"filler": "x" * 1_400_000}}
    played.operator()
    make(played, "mine", task)
    played.wait_for_pod("heavy")
    assert played.overlord.fake.tasks["heavy"] == task
    played.run_pod("heavy")
    played.wait_for_state("mine", "RUNNING")
    played.succeed("heavy")
    played.wait_for_state("mine", "SUCCESS")


def test_a_task_beyond_that_is_refused_by_the_api_server(played: PlayedCluster):
    with pytest.raises(Refused, match="too large"):
        make(played, "mine", {**NOOP, "context": {"filler": "x" * 1_600_000}})
