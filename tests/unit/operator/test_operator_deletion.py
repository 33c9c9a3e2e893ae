"""A task that is to end: shut down, its object deleted, orphaned, or taken away by force."""

from druid_core.status import TaskStatus
from overlord_operator import names
from overlord_operator.cluster.client import PODS
from overlord_operator.names import DRUID_TASKS
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


async def test_a_finished_task_and_its_pod_can_be_deleted_without_an_operator():
    world = World(pod_keep_seconds=60)
    world.apply()
    task_id = f"noop_web_{world.task()['metadata']['uid']}"
    await world.run_to_success(task_id)
    assert world.task()["metadata"]["finalizers"] == [names.LOG_FINALIZER], "its pod is still there"
    world.pass_time(61)
    await world.settle()
    assert not world.task()["metadata"].get("finalizers")
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", "mine")  # and nobody acts on it
    assert world.cluster.of(DRUID_TASKS) == []


async def test_a_task_is_not_let_go_while_its_log_is_not_safe():
    world = World(pod_keep_seconds=0)
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.storage_is_away = True
    world.overlord.finish("noop_1", TaskStatus.success("noop_1"))
    world.end_pod()
    await world.settle()
    assert world.task()["metadata"]["finalizers"] == [names.LOG_FINALIZER]
    world.storage_is_away = False
    await world.settle()
    assert not world.task()["metadata"].get("finalizers")
    assert ("noop_1", 1) in world.safe_logs


async def test_a_finished_task_of_an_earlier_version_is_let_go_by_a_new_operator():
    world = World(pod_keep_seconds=0)
    world.overlord.rest_task("noop_1")
    await world.run_to_success("noop_1")
    world.task()["metadata"]["finalizers"] = [names.LOG_FINALIZER]
    world.restart()
    await world.settle()
    assert not world.task()["metadata"].get("finalizers")


async def test_letting_a_task_go_early_costs_no_write_more_over_its_whole_life():
    """What the end of the object would have cost is paid with the end of the pod."""
    world = World(pod_keep_seconds=60, ttl_seconds_after_finished=100)
    world.overlord.rest_task("noop_1")
    await world.run_to_success("noop_1")
    world.pass_time(101)
    await world.settle()
    assert world.cluster.objects == {}
    patches = [write for write in world.cluster.writes if write[:2] == ("patch", names.PLURAL)]
    assert len(patches) == 1


async def test_a_refused_task_that_was_let_go_is_held_again_when_it_is_corrected():
    world = World()
    world.overlord.refuses = "no such type"
    world.apply()
    await world.settle()
    assert world.status()["reason"] == "Refused"
    assert not world.task()["metadata"].get("finalizers")
    world.overlord.refuses = None
    raw = world.task()
    raw["spec"]["task"]["dataSource"] = "better"
    raw["metadata"]["generation"] = 2
    world.cluster.touch(DRUID_TASKS, raw)
    await world.settle()
    assert world.task()["metadata"]["finalizers"] == [names.LOG_FINALIZER]
    assert world.condition("Submitted")["status"] == "True"


async def test_an_applied_object_that_was_taken_away_by_force_ends_its_task_and_lets_its_pod_go():
    world = World()
    raw = world.apply()
    task_id = f"noop_web_{raw['metadata']['uid']}"
    await world.settle()
    world.run_pod()
    await world.settle()
    world.task()["metadata"]["finalizers"] = []
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", "mine")
    await world.settle()
    assert "Shutdown" in (world.overlord.statuses[task_id].error_msg or "")
    assert "deletionTimestamp" in world.pod()["metadata"]
    world.storage_is_away = True
    world.end_pod(exit_code=143, why="Error")
    await world.settle()
    assert world.pod(), "its log is not safe yet"
    world.storage_is_away = False
    await world.settle()
    assert (task_id, 1) in world.safe_logs
    assert world.cluster.of(PODS) == []


async def test_a_pod_whose_object_is_gone_and_not_its_pod_is_ended_too():
    world = World()
    raw = world.apply()
    await world.settle()
    world.run_pod()
    await world.settle()
    world.cluster.objects.pop((DRUID_TASKS, "tasks", "mine"))
    await world.settle()
    assert world.overlord.statuses[f"noop_web_{raw['metadata']['uid']}"].is_complete
    assert "deletionTimestamp" in world.pod()["metadata"], "before any garbage collection"


async def test_the_next_object_of_the_name_has_its_own_pod_while_the_last_ones_is_let_go():
    world = World()
    first = world.apply()
    await world.settle()
    world.run_pod()
    await world.settle()
    first["metadata"]["finalizers"] = []
    world.cluster.ask_deletion(DRUID_TASKS, "tasks", "mine")
    second = world.apply()
    await world.settle()
    ids = [f"noop_web_{raw['metadata']['uid']}" for raw in (first, second)]
    assert world.overlord.statuses[ids[0]].is_complete
    assert not world.overlord.statuses[ids[1]].is_complete
    pods = {each["metadata"]["annotations"][names.ANNOTATION_TASK_ID]: each for each in world.cluster.of(PODS)}
    assert set(pods) == set(ids)
    ended = {"terminated": {"exitCode": 143, "reason": "Error"}}
    started = {"running": {"startedAt": "2027-01-15T08:00:00Z"}}
    for task_id, phase, state in ((ids[0], "Failed", ended), (ids[1], "Running", started)):
        world.play(pods[task_id], {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]})
    await world.settle()
    assert [each["metadata"]["uid"] for each in world.cluster.of(PODS)] == [pods[ids[1]]["metadata"]["uid"]]
    assert (ids[0], 1) in world.safe_logs
    assert (world.status()["state"], world.status()["taskId"]) == ("RUNNING", ids[1])
    world.overlord.finish(ids[1], TaskStatus.success(ids[1]))
    world.end_pod()
    await world.settle()
    assert world.status()["state"] == "SUCCESS"


async def test_an_object_that_is_there_after_all_keeps_its_task():
    world = World()
    world.overlord.rest_task("noop_1")
    await world.settle()
    world.run_pod()
    await world.settle()
    world.task()["metadata"]["labels"][names.LABEL_RELEASE] = "another"  # whose operator will take it up
    world.restart()
    await world.settle()
    assert not world.overlord.statuses["noop_1"].is_complete
    assert "deletionTimestamp" not in world.pod()["metadata"]
