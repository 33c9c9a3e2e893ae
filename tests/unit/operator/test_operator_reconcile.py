"""The operator between a cluster and an Overlord that fail on demand: whole lives of tasks, cut off anywhere."""

import copy
from typing import Any

import pytest

from druid_core.runner import Explanation, PendingReason
from druid_core.status import RunnerStatusCode, TaskStatus
from overlord_operator import names
from overlord_operator.cluster.client import PODS, SECRETS
from overlord_operator.names import DRUID_TASKS
from tests.support.operator_cluster import Crash
from tests.support.operator_world import World


async def test_a_task_by_rest_gets_an_object_a_secret_and_a_pod_in_one_pass():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.turn()
    task = world.task()
    assert task["metadata"]["name"] == names.job_name("noop_1")
    assert task["metadata"]["labels"][names.LABEL_SUBMITTED_BY] == "rest"
    assert task["spec"] == {"taskId": "noop_1"}, "the payload stays with the Overlord"
    assert world.pod()["metadata"]["ownerReferences"][0]["uid"] == task["metadata"]["uid"]
    assert world.cluster.of(SECRETS)[0]["metadata"]["name"] == world.pod()["metadata"]["name"]


async def test_a_pod_that_takes_its_time_to_start_is_shown_after_two_seconds():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.turn()
    assert world.status().get("state") in (None, "NOT_TAKEN_UP"), "most peons run by then, and a write is saved"
    world.pass_time(2.1)
    await world.turn()
    assert world.status()["state"] == "PENDING"
    assert world.status()["podName"] == world.pod()["metadata"]["name"]


async def test_a_pod_that_just_starts_is_shown_when_nothing_else_waits_to_be_done():
    world = World()
    world.overlord.rest_task("noop_1")
    world.is_flooded = True
    await world.turn()
    world.pass_time(2.1)
    await world.turn()
    assert world.status().get("state") in (None, "NOT_TAKEN_UP")
    world.is_flooded = False
    world.pass_time(2.1)
    await world.turn()
    assert world.status()["state"] == "PENDING"


async def test_of_many_pods_that_just_start_few_are_shown_and_every_one_that_runs():
    world = World(refreshes_a_second=2.0)
    for number in range(20):
        world.overlord.rest_task(f"noop_{number}")
    await world.turn()
    world.pass_time(2.1)
    await world.turn()
    told = [task for task in world.cluster.of(DRUID_TASKS) if (task.get("status") or {}).get("podName")]
    assert 0 < len(told) < 20
    started = {"name": "main", "state": {"running": {"startedAt": "2027-01-15T08:00:00Z"}}}
    for raw_pod in world.cluster.of(PODS):
        world.play(raw_pod, {"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [started]})
    await world.turn()
    assert {task["status"]["state"] for task in world.cluster.of(DRUID_TASKS)} == {"RUNNING"}


async def test_a_short_task_by_rest_costs_five_writes_from_order_to_its_last_status():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.turn()
    world.run_pod()
    await world.settle()
    words = {"taskId": "noop_1", "attempt": 1, "exitCode": 0, "status": "SUCCESS", "errorMsg": None}
    world.end_pod(last_words=words)
    for _ in range(4):
        await world.turn()
    writes = [write for write in world.cluster.writes if write[0] != "delete" and "finalizer" not in write]
    assert [verb for verb, _, _ in writes[:5]] == ["create", "create", "create", *["patch status"] * 2]
    assert world.status()["state"] == "SUCCESS"


async def test_an_applied_task_is_submitted_once_and_runs_to_success():
    world = World()
    raw = world.apply()
    task_id = f"noop_web_{raw['metadata']['uid']}"
    await world.run_to_success(task_id)
    assert world.overlord.submissions == 1
    status = world.status()
    assert status["state"] == "SUCCESS"
    assert status["taskId"] == task_id
    assert status["rowsProcessed"] == 42
    assert status["durationMs"] == 5000
    assert status["logUrl"].endswith("/log")
    assert world.condition("Complete")["status"] == "True"
    assert [each["type"] for each in status["conditions"]] == [
        *("Submitted", "LocksAcquired", "PodScheduled", "Running", "Complete"),
    ]
    assert (task_id, 1) in world.safe_logs


async def test_looking_again_at_a_finished_task_writes_nothing():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.run_to_success("noop_1")
    writes = len(world.cluster.writes)
    await world.settle()
    world.restart()
    await world.settle()
    assert len(world.cluster.writes) == writes


async def test_a_finished_pod_is_removed_after_its_time_and_not_before():
    world = World(pod_keep_seconds=60)
    world.overlord.rest_task("noop_1")
    await world.run_to_success("noop_1")
    assert world.pod()["metadata"]["finalizers"] in (None, []) if "finalizers" in world.pod()["metadata"] else True
    world.pass_time(61)
    await world.settle()
    assert world.cluster.of(PODS) == []
    assert world.status()["state"] == "SUCCESS"


async def test_the_object_of_a_rest_task_goes_after_its_time_and_takes_all_with_it():
    world = World(ttl_seconds_after_finished=100)
    world.overlord.rest_task("noop_1")
    await world.run_to_success("noop_1")
    world.pass_time(101)
    await world.settle()
    assert world.cluster.objects == {}


async def test_an_applied_object_stays_for_ever_unless_it_says_when():
    world = World(ttl_seconds_after_finished=100)
    raw = world.apply()
    await world.run_to_success(f"noop_web_{raw['metadata']['uid']}")
    world.pass_time(1_000_000)
    await world.settle()
    assert world.status()["state"] == "SUCCESS"


async def test_a_refused_task_shows_the_overlords_message_and_is_not_tried_again():
    world = World()
    world.overlord.refuses = "Could not resolve type id 'idnex'"
    world.apply()
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "Refused")
    assert "Could not resolve type id" in world.status()["message"]
    assert [event["reason"] for event in world.cluster.events if event["type"] == "Warning"] == ["Refused"]
    world.restart()
    world.pass_time(3600)
    await world.settle()
    assert world.overlord.submissions == 1


async def test_a_refused_task_that_is_corrected_is_tried_again():
    world = World()
    world.overlord.refuses = "no"
    raw = world.apply()
    await world.settle()
    world.overlord.refuses = None
    raw["spec"]["task"]["dataSource"] = "better"
    raw["metadata"]["generation"] = 2
    world.cluster.touch(DRUID_TASKS, raw)
    await world.settle()
    assert world.status()["state"] == "PENDING"
    assert world.overlord.submissions == 2


async def test_an_object_that_cannot_be_read_says_what_to_write():
    world = World()
    world.apply(task={"dataSource": "web"})
    await world.settle()
    assert world.status()["state"] == "FAILED"
    assert "spec.task.type is missing" in world.status()["message"]
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", "mine")
    await world.settle()
    assert world.cluster.of(DRUID_TASKS) == []


async def test_the_second_object_of_a_task_id_is_refused_with_the_name_of_the_first():
    world = World()
    world.apply("first", {"type": "noop", "id": "one"})
    await world.settle()
    world.apply("second", {"type": "noop", "id": "one"})
    await world.settle()
    assert world.status("second")["state"] == "FAILED"
    assert "tasks/first" in world.status("second")["message"]
    assert world.status("first")["state"] == "PENDING"
    assert len(world.cluster.of(PODS)) == 1


async def test_a_suspended_task_is_submitted_when_it_is_let_go():
    world = World()
    raw = world.apply(suspend=True)
    await world.settle()
    assert world.status()["state"] == "SUSPENDED"
    assert world.overlord.submissions == 0
    raw["spec"]["suspend"] = False
    raw["metadata"]["generation"] = 2
    world.cluster.touch(DRUID_TASKS, raw)
    await world.settle()
    assert world.status()["state"] == "PENDING"


async def test_while_the_overlord_is_away_the_status_says_so_and_the_task_is_submitted_later():
    world = World()
    world.overlord.is_away = True
    world.apply()
    await world.settle()
    assert world.status()["reason"] == "OverlordAway"
    assert world.condition("Submitted")["status"] == "False"
    world.overlord.is_away = False
    world.pass_time(10)
    await world.settle()
    assert world.status()["state"] == "PENDING"


async def test_a_task_that_waits_for_a_lock_names_it_and_its_holder():
    world = World()
    world.overlord.assigns = False
    raw = world.apply()
    task_id = f"noop_web_{raw['metadata']['uid']}"
    world.overlord.explanations[task_id] = Explanation(
        task_id=task_id,
        status=TaskStatus.running(task_id),
        runner_status_code=RunnerStatusCode.WAITING,
        reason=PendingReason.LOCK_HELD,
        message="The lock of 2026-01-01/2026-01-02 is held by the task other.",
        attempt=1,
    )
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("WAITING", "LockHeld")
    assert "held by the task other" in world.status()["message"]
    assert world.condition("LocksAcquired")["status"] == "False"


async def test_a_long_line_moves_without_a_write_a_place():
    world = World()
    world.overlord.assigns = False
    raw = world.apply()
    task_id = f"noop_web_{raw['metadata']['uid']}"
    for place in range(99, 50, -1):
        world.overlord.explanations[task_id] = Explanation(
            task_id=task_id,
            status=TaskStatus.running(task_id),
            runner_status_code=RunnerStatusCode.PENDING,
            reason=PendingReason.NO_SLOT,
            message=f"place {place}",
            place=place,
            attempt=1,
        )
        await world.turn()
        world.pass_time(1)
    assert "more than 10 are before it" in world.status()["message"]
    assert len([write for write in world.cluster.writes if write[0] == "patch status"]) == 1


async def test_an_edit_after_submission_is_said_to_have_no_effect():
    world = World()
    raw = world.apply()
    await world.settle()
    raw["spec"]["task"]["context"] = {"priority": 90}
    raw["metadata"]["generation"] = 2
    world.cluster.touch(DRUID_TASKS, raw)
    await world.settle()
    assert "no effect" in world.condition("Submitted")["message"]
    assert world.overlord.submissions == 1


async def test_an_edit_after_the_end_is_said_to_have_no_effect_too():
    world = World()
    raw = world.apply()
    await world.run_to_success(f"noop_web_{raw['metadata']['uid']}")
    before = copy.deepcopy(world.status())
    raw["spec"]["task"] |= {"runTime": 2}
    raw["metadata"]["generation"] = 2
    world.cluster.touch(DRUID_TASKS, raw)
    await world.settle()
    assert world.condition("Submitted")["reason"] == "Edited"
    assert {**world.status(), "conditions": [], "observedGeneration": 1} == {
        **before,
        "conditions": [],
        "observedGeneration": 1,
    }


async def test_a_task_that_the_overlord_does_not_know_is_said_so():
    world = World()
    world.cluster.put(DRUID_TASKS, {"metadata": {"name": "ghost", "namespace": "tasks"}, "spec": {"taskId": "ghost"}})
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "Unknown")


async def test_another_releases_objects_are_left_alone():
    world = World()
    raw = world.apply()
    raw["metadata"]["labels"] = {names.LABEL_RELEASE: "other"}
    world.restart()
    await world.settle()
    assert world.cluster.writes == []


async def _whole_life(world: World) -> None:
    """An applied task that is evicted once and then succeeds, whatever the operator's process does."""
    for _ in range(60):
        try:
            await world.turn()
        except Crash:
            world.restart()
        world.pass_time(0.5)
        for pod in world.cluster.of(PODS):
            _play_on(world, pod)


def _play_on(world: World, pod: dict[str, Any]) -> None:
    attempt = int(pod["metadata"]["annotations"][names.ANNOTATION_ATTEMPT])
    task_id = pod["metadata"]["annotations"][names.ANNOTATION_TASK_ID]
    age = world.now_ms - pod.setdefault("_seen", world.now_ms)
    if pod["status"]["phase"] == "Pending" and age >= 1000:
        world.run_pod(attempt)
    elif pod["status"]["phase"] == "Running" and age >= 3000:
        if attempt == 1:
            world.end_pod(1, 137, "Error", reason="Evicted", message="The node was low on resource: memory.")
        else:
            world.overlord.finish(task_id, TaskStatus.success(task_id, 1000))
            world.end_pod(attempt)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("number", range(13))
async def test_an_operator_killed_at_any_write_leaves_the_next_one_to_the_same_end(place: str, number: int):
    world = World(pod_keep_seconds=5)
    raw = world.apply()
    setattr(world.cluster, f"crash_{place}", number)
    await _whole_life(world)
    task_id = f"noop_web_{raw['metadata']['uid']}"
    assert world.status()["state"] == "SUCCESS"
    assert [record["attempt"] for record in world.status()["attempts"]] == [1, 2]
    assert world.safe_logs == {(task_id, 1), (task_id, 2)}
    assert sorted(world.overlord.attempts) == [(task_id, 1), (task_id, 2)], "no attempt too many"
    assert world.cluster.of(PODS) == []
    assert len([write for write in world.cluster.writes if write[:2] == ("create", "pods")]) == 2


async def test_the_whole_life_without_a_crash_has_the_writes_that_the_crash_test_walks_through():
    world = World(pod_keep_seconds=5)
    world.apply()
    await _whole_life(world)
    assert 10 <= len(world.cluster.writes) <= 16, world.cluster.writes
