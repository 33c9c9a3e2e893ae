"""A task that is to end: shut down, its object deleted, orphaned, or taken away by force."""

from druid_core.status import TaskStatus
from overlord_operator import names
from overlord_operator.apply import DRUID_TASKS
from overlord_operator.cluster.client import PODS
from tests.support.operator_world import World


async def test_a_shutdown_by_rest_ends_the_pod_and_keeps_its_log():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    await world.overlord.shut_down("noop_1")
    await world.settle()
    assert "deletionTimestamp" in world.pod()["metadata"]
    world.end_pod(exit_code=143, why="Error")
    await world.settle()
    assert world.status()["state"] == "FAILED"
    assert "Shutdown" in world.status()["errorMsg"]
    assert world.cluster.of(PODS) == []
    assert ("noop_1", 1) in world.safe_logs


async def test_deleting_the_object_shuts_the_task_down_and_waits_for_the_log():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.storage_is_away = True
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", names.job_name("noop_1"))
    await world.settle()
    assert world.overlord.statuses["noop_1"].is_complete
    world.end_pod(exit_code=143, why="Error")
    await world.settle()
    assert world.task(), "the log is not safe yet"
    world.storage_is_away = False
    await world.settle()
    assert world.cluster.objects == {}
    assert ("noop_1", 1) in world.safe_logs


async def test_deleting_the_object_while_the_overlord_is_away_only_takes_longer():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.overlord.is_away = True
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", names.job_name("noop_1"))
    await world.settle()
    assert world.task()
    world.overlord.is_away = False
    world.pass_time(10)
    await world.settle(20)
    world.pass_time(60)
    await world.settle(20)
    assert world.cluster.objects == {}
    assert world.overlord.statuses["noop_1"].is_complete


async def test_an_orphaned_task_goes_on_under_a_new_object():
    world = World()
    raw = world.apply(deletionPolicy="Orphan")
    task_id = f"noop_web_{raw['metadata']['uid']}"
    await world.settle()
    world.run_pod()
    await world.settle()
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", "mine")
    await world.settle()
    assert world.task()["metadata"]["name"] == names.job_name(task_id)
    assert "deletionTimestamp" not in world.pod()["metadata"]
    world.overlord.finish(task_id, TaskStatus.success(task_id))
    world.end_pod()
    await world.settle()
    assert world.status()["state"] == "SUCCESS"


async def test_a_pod_whose_object_was_taken_away_by_force_still_has_its_log_saved():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.task()["metadata"]["finalizers"] = []
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", names.job_name("noop_1"))
    await world.settle()
    world.end_pod(exit_code=143, why="Error")
    await world.settle()
    assert ("noop_1", 1) in world.safe_logs
    assert world.cluster.of(PODS) == []
