"""What becomes of a task by how its attempts start and end."""

from typing import Any

import pytest

from overlord_operator import names
from overlord_operator.cluster.client import PODS
from overlord_operator.cluster.errors import ClusterRefused
from tests.support.operator_world import World


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "EvictedMemoryPressure"),
        (
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
            "Preempted",
        ),
    ],
)
async def test_an_attempt_that_the_cluster_ended_is_repeated_at_once(status: dict[str, Any], cause: str):
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.end_pod(exit_code=137, why="Error", **status)
    await world.settle()
    ended = [report for report in world.overlord.reports if report.state == "ENDED"]
    assert (ended[0].cause, ended[0].retry_after_ms) == (cause, 0)
    assert world.pod(2)["metadata"]["name"] == names.pod_name("noop_1", 2)
    assert [record["cause"] for record in world.status()["attempts"] if "cause" in record] == [cause]
    assert ("noop_1", 1) in world.safe_logs


async def test_an_attempt_that_ran_out_of_memory_gets_twice_as_much():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.end_pod(exit_code=137, why="OOMKilled")
    await world.settle()
    limits = [pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in (world.pod(1), world.pod(2))]
    assert limits == ["2Gi", "4Gi"]


async def test_an_exit_code_without_a_word_fails_the_task_with_its_cause():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.end_pod(exit_code=1, why="Error")
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "ExitCode")
    assert world.status()["errorMsg"]
    assert world.condition("Complete")["reason"] == "ExitCode"


async def test_a_pod_that_does_not_start_fails_at_its_launch_timeout_with_what_kept_it():
    world = World(launch_timeout_seconds=60)
    world.overlord.rest_task("noop_1")
    await world.settle()
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}
    world.play(world.pod(), {"phase": "Pending", "containerStatuses": [{"name": "main", "state": waiting}]})
    await world.settle()
    assert world.status()["reason"] == "ImagePullBackOff"
    assert world.overlord.reports[-1].waiting_for
    world.pass_time(61)
    await world.settle(20)
    ended = [report for report in world.overlord.reports if report.state == "ENDED"]
    assert ended[0].cause == "ImagePullBackOff"
    assert "60 s" in (ended[0].reason or "")
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "ImagePullBackOff")
    assert "deletionTimestamp" in world.pod()["metadata"] if world.cluster.of(PODS) else True


async def test_a_pod_over_quota_is_tried_until_there_is_room():
    world = World()
    world.cluster.refusals[PODS] = ClusterRefused(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: small')
    world.overlord.rest_task("noop_1")
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("PENDING", "QuotaExceeded")
    del world.cluster.refusals[PODS]
    world.pass_time(30)
    await world.settle()
    assert world.pod()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ('pods "x" is forbidden: exceeded quota: small', "QuotaExceeded"),
        ('admission webhook "policy.example.com" denied the request: no peons here', "AdmissionDenied"),
    ],
)
async def test_the_overlord_knows_why_a_pod_is_not_let_in_and_goes_on_assigning_it(words: str, cause: str):
    world = World()
    world.cluster.refusals[PODS] = ClusterRefused(403, "Forbidden", words)
    world.overlord.rest_task("noop_1")
    await world.settle()
    reports = world.overlord.reports
    assert {(each.state.value, each.attempt) for each in reports} == {("STARTING", 1)}
    assert words in (reports[0].waiting_for or "")
    assert world.status()["reason"] == cause
    told = len(reports)
    await world.settle()
    assert len(reports) == told, "what is known is not told again"
    world.restart()
    del world.cluster.refusals[PODS]
    await world.settle()
    assert world.pod(), "another operator has heard of the attempt too"


async def test_a_refused_pod_has_its_launch_timeout_once_whoever_leads():
    world = World(launch_timeout_seconds=100)
    world.cluster.refusals[PODS] = ClusterRefused(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: small')
    world.overlord.rest_task("noop_1")
    await world.settle()
    refused_at = world.status()["attempts"][0]["refusedAt"]
    for _ in range(5):
        world.pass_time(10)
        world.restart()
        await world.settle()
    assert world.status()["state"] == "PENDING"
    assert world.status()["attempts"][0]["refusedAt"] == refused_at
    world.pass_time(50)
    world.restart()
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "QuotaExceeded")
    assert [each["attempt"] for each in world.status()["attempts"]] == [1]


async def test_a_pod_that_is_none_fails_the_task_at_once():
    world = World()
    world.cluster.refusals[PODS] = ClusterRefused(422, "Invalid", "spec.containers[0].image: Required value")
    world.overlord.rest_task("noop_1")
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "InvalidPod")


async def test_a_template_that_does_not_exist_fails_the_task_with_those_that_do():
    world = World()
    world.apply(peon={"template": "huge"})
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "InvalidTemplate")
    assert "no pod template [huge]" in world.status()["message"]


async def test_a_pod_that_vanished_is_reported_and_another_one_made():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.cluster.objects.pop((PODS, "tasks", world.pod()["metadata"]["name"]))
    await world.settle()
    assert [report.cause for report in world.overlord.reports if report.state == "ENDED"] == ["Vanished"]
    assert world.pod(2)


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": {"name": "main"}},
        {"containers": "main"},
        {"containers": [None]},
        {"containers": [{"name": "main", "resources": "big"}]},
    ],
)
async def test_a_template_without_the_shape_of_a_pod_fails_the_task_in_words(spec: dict[str, Any]):
    world = World()
    world.templates["odd"] = {"spec": spec}
    world.apply(peon={"template": "odd"})
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "InvalidTemplate")
    assert "[odd] does not have the shape of a pod" in world.status()["message"]


@pytest.mark.parametrize(
    "touched",
    [{names.ANNOTATION_TASK_ID: "another"}, {names.ANNOTATION_ATTEMPT: "7"}, {names.ANNOTATION_ATTEMPT: "x"}],
)
async def test_annotations_that_somebody_changed_change_nothing(touched: dict[str, str]):
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    raw_pod = world.pod()
    raw_pod["metadata"]["annotations"] |= touched
    world.cluster.touch(PODS, raw_pod)
    world.restart()
    await world.settle()
    assert world.status()["state"] == "RUNNING"
    words = {"taskId": "noop_1", "attempt": 1, "exitCode": 0, "status": "SUCCESS", "errorMsg": None}
    world.end_pod(last_words=words)
    await world.settle()
    assert world.status()["state"] == "SUCCESS"
    assert {report.attempt for report in world.overlord.reports} == {1}
