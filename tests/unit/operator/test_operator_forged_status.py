"""A status that somebody else wrote: the next look at the task sets it right, and only that once."""

from typing import Any

import pytest

from druid_core.status import TaskStatus
from overlord_operator import names
from overlord_operator.cluster.client import PODS
from overlord_operator.names import DRUID_TASKS
from tests.support.operator_world import World

ENDED = {"attempt": 1, "endedAt": "2027-01-15T08:00:00Z", "cause": "ExitCode"}


def forge(world: World, status: dict[str, Any]) -> None:
    """`kubectl patch dt … --subresource status`"""
    raw = world.task()
    raw["status"] = {**raw.get("status", {}), **status}
    world.cluster.touch(DRUID_TASKS, raw)


async def settle_and_show(world: World) -> None:
    """Until a status that may soon pass is written too."""
    await world.settle()
    world.pass_time(5)
    await world.settle()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    "forged",
    [
        {"state": "SUCCESS", "reason": "Success"},
        {"state": "FAILED", "reason": "Refused", "conditions": []},
        {"state": "FAILED", "reason": "Mine", "attempts": [ENDED]},
        {"state": "WAITING", "reason": "LockHeld", "podName": "none"},
        {"state": "SUCCESS", "attempts": [], "conditions": [], "taskId": "another"},
    ],
)
async def test_a_task_that_runs_goes_on_to_its_end_whatever_its_status_is_made_to_say(
    forged: dict[str, Any], restarted: bool
):
    world = World()
    raw = world.apply()
    task_id = f"noop_web_{raw['metadata']['uid']}"
    await world.settle()
    world.run_pod()
    await world.settle()
    forge(world, forged)
    if restarted:
        world.restart()
    await world.settle()
    assert world.status()["state"] == "RUNNING"
    assert (world.status()["taskId"], world.status()["podName"]) == (task_id, world.pod()["metadata"]["name"])
    assert "deletionTimestamp" not in world.pod()["metadata"]
    assert all(each["type"] != "Complete" for each in world.status()["conditions"])
    world.overlord.finish(task_id, TaskStatus.success(task_id, 5000))
    world.end_pod()
    await world.settle()
    assert world.status()["state"] == "SUCCESS"
    assert (task_id, 1) in world.safe_logs
    world.pass_time(61)
    await world.settle()
    assert world.cluster.of(PODS) == [], "its pod was let go"
    assert world.overlord.submissions <= 2, "asking again whose task it is does no harm"
    assert sorted(world.overlord.attempts) == [(task_id, 1)]


@pytest.mark.parametrize("forged", ["SUCCESS", "FAILED"])
async def test_a_task_that_waits_is_not_over_because_its_status_says_so(forged: str):
    world = World()
    world.overlord.assigns = False
    raw = world.apply(ttlSecondsAfterFinished=1)
    task_id = f"noop_web_{raw['metadata']['uid']}"
    await settle_and_show(world)
    forge(world, {"state": forged, "reason": "Mine", "endTime": "2026-01-01T00:00:00Z"})
    await settle_and_show(world)
    assert world.status()["state"] == "PENDING", "and nobody deleted it"
    assert "endTime" not in world.status()
    world.overlord.attempts[task_id, 1] = "ASSIGNED"
    await world.settle()
    world.run_pod()
    await world.settle()
    world.overlord.finish(task_id, TaskStatus.success(task_id, 5000))
    world.end_pod()
    for _ in range(3):
        await world.turn()
    assert world.status()["state"] == "SUCCESS"
    world.pass_time(120)
    await settle_and_show(world)
    assert world.cluster.of(DRUID_TASKS) == [], "its own end counts"


@pytest.mark.parametrize(
    "forged",
    [
        {"state": "FAILED", "reason": "Mine", "message": "no", "errorMsg": "no"},
        {"state": "RUNNING", "reason": "Mine"},
        {"state": "SUCCESS", "errorMsg": "but not quite"},
    ],
)
async def test_a_task_that_is_over_says_so_again_with_the_overlords_word(forged: dict[str, Any]):
    world = World(pod_keep_seconds=0)
    raw = world.apply()
    await world.run_to_success(f"noop_web_{raw['metadata']['uid']}")
    assert world.cluster.of(PODS) == []
    forge(world, forged)
    await world.settle()
    assert world.status()["state"] == "SUCCESS"
    assert "errorMsg" not in world.status()
    assert world.status()["rowsProcessed"] == 42
    assert world.condition("Complete")["reason"] == "Success"


async def test_setting_a_status_right_is_one_write_and_no_more_are_needed():
    world = World(pod_keep_seconds=0)
    raw = world.apply()
    await world.run_to_success(f"noop_web_{raw['metadata']['uid']}")
    before = len(world.cluster.writes)
    forge(world, {"state": "FAILED", "errorMsg": "no"})
    await world.settle()
    assert world.cluster.writes[before:] == [("patch status", "druidtasks", "mine")]
    world.restart()
    await world.settle()
    assert len(world.cluster.writes) == before + 1
    assert world.reconciler.doubtful == {}, "asked about once"


async def test_a_finished_task_that_the_overlord_has_forgotten_keeps_its_status():
    world = World(pod_keep_seconds=0)
    raw = world.apply()
    await world.run_to_success(f"noop_web_{raw['metadata']['uid']}")
    world.overlord.tasks.clear()
    world.restart()
    before = len(world.cluster.writes)
    await world.settle()
    assert (world.status()["state"], len(world.cluster.writes)) == ("SUCCESS", before)
    assert world.reconciler.doubtful == {}


async def test_a_last_status_is_believed_as_long_as_the_overlord_is_away():
    world = World(pod_keep_seconds=0)
    raw = world.apply()
    await world.run_to_success(f"noop_web_{raw['metadata']['uid']}")
    world.overlord.is_away = True
    world.restart()
    before = len(world.cluster.writes)
    await world.settle()
    assert (world.status()["state"], len(world.cluster.writes)) == ("SUCCESS", before)
    assert len(world.reconciler.doubtful) == 1


async def test_a_task_called_refused_that_waits_is_found_to_be_accepted():
    world = World()
    world.overlord.assigns = False
    world.apply()
    await settle_and_show(world)
    forge(world, {"state": "FAILED", "reason": "Refused", "message": "no", "conditions": []})
    await settle_and_show(world)
    assert world.status()["state"] == "PENDING"
    assert len(world.overlord.tasks) == 1


async def test_deleting_an_object_whose_status_is_forged_shuts_its_task_down():
    world = World()
    world.overlord.assigns = False
    raw = world.apply()
    task_id = f"noop_web_{raw['metadata']['uid']}"
    await settle_and_show(world)
    forge(world, {"state": "SUCCESS"})
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", "mine")
    await settle_and_show(world)
    assert world.overlord.statuses[task_id].is_complete
    assert world.cluster.of(DRUID_TASKS) == []


async def test_the_history_of_a_pod_that_starts_at_the_last_moment_follows_the_pod():
    world = World()
    world.overlord.rest_task("noop_1")
    await settle_and_show(world)
    forge(world, {"attempts": [{**ENDED, "podName": world.pod()["metadata"]["name"]}]})
    world.run_pod()
    await settle_and_show(world)
    assert world.status()["state"] == "RUNNING"
    assert "endedAt" not in world.status()["attempts"][0]
    assert "deletionTimestamp" not in world.pod()["metadata"]


async def test_the_second_of_three_objects_is_not_said_to_have_the_task():
    world = World()
    for name in ("z-first", "a-second", "b-third"):
        world.apply(name, {"type": "noop", "id": "one"})
        await world.settle()
    for name in ("a-second", "b-third"):
        message = world.status(name)["message"]
        assert "It is the task of the DruidTask tasks/z-first" in message


async def test_a_task_by_rest_that_has_no_object_yet_is_not_laid_at_anybodys_door():
    world = World()
    world.overlord.assigns = False
    world.overlord.rest_task("one")
    for name in ("first", "second"):
        world.apply(name, {"type": "noop", "id": "one"})
        await world.settle()
    for name in ("first", "second"):
        assert world.status(name)["message"] == "Task[one] already exists"
    assert names.job_name("one") not in {raw["metadata"]["name"] for raw in world.cluster.of(DRUID_TASKS)}
