"""What an edit of a DruidTask does while its task runs, and what a log does that cannot be stored."""

from druid_core.status import TaskStatus
from overlord_operator.druid_task.present import LINGERING
from overlord_operator.log.condition import STORAGE_AWAY
from overlord_operator.mirror import Ref
from tests.support.operator_world import World


async def test_a_lowered_deadline_is_the_pods_from_its_start_and_written_once():
    world = World()
    world.apply()
    await world.settle()
    world.run_pod()
    await world.settle()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 14_400
    before = len(world.cluster.writes)
    for wanted in (600, 900):
        world.task()["spec"]["activeDeadlineSeconds"] = wanted
        world.cluster.touch("apis/druid.nemeton.dev/v1alpha1/druidtasks", world.task())
        await world.settle()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 600, "no deadline is ever raised: Kubernetes forbids it"
    assert world.cluster.writes[before:] == [("patch", "pods", world.pod()["metadata"]["name"])]
    world.play(
        world.pod(),
        {"phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active on the node longer than that"},
    )
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("FAILED", "DeadlineExceeded")


async def test_a_log_that_cannot_be_stored_is_told_until_it_is():
    world = World()
    world.apply()
    await world.settle()
    world.run_pod()
    await world.settle()
    world.storage_is_away = True
    task_id = world.status()["taskId"]
    world.overlord.finish(task_id, TaskStatus.success(task_id))
    world.end_pod()
    await world.settle()
    assert world.status()["state"] == "SUCCESS"
    world.reconciler.memory(Ref("tasks", "mine")).log_troubles[1] = "Nobody answers at logs:9000."
    await world.settle()
    stored = world.condition("LogStored")
    assert (stored["status"], stored["reason"]) == ("False", STORAGE_AWAY)
    assert "its pod is kept for it, up to 1d. Nobody answers at logs:9000." in stored["message"]
    assert [each["reason"] for each in world.cluster.events if each["type"] == "Warning"] == ["LogNotStored"]
    assert world.pod()["metadata"]["finalizers"]
    world.storage_is_away = False
    world.reconciler.memory(Ref("tasks", "mine")).log_troubles.clear()
    await world.settle()
    assert world.condition("LogStored")["status"] == "True"
    assert world.cluster.events[-1]["reason"] == "LogStored"
    assert not world.pod()["metadata"].get("finalizers")


async def test_a_task_that_is_over_while_its_peon_cannot_store_its_log_says_so():
    world = World()
    world.apply()
    await world.settle()
    world.run_pod()
    await world.settle()
    task_id = world.status()["taskId"]
    world.overlord.finish(task_id, TaskStatus.success(task_id))
    await world.settle()
    assert world.status()["reason"] == "Running", "most end within a second, and a write is saved"
    assert world.looks[Ref("tasks", "mine")] <= world.now_ms + 10_000
    world.pass_time(11)
    await world.settle()
    assert (world.status()["state"], world.status()["reason"]) == ("RUNNING", LINGERING)
    assert "The task is over (SUCCESS)" in world.status()["message"]
    assert world.condition("LogStored")["status"] == "False"
    world.end_pod()
    await world.settle()
    assert world.status()["state"] == "SUCCESS"
    assert world.condition("LogStored")["status"] == "True"


async def test_a_noop_that_names_no_datasource_has_druids_word_for_it():
    world = World()
    world.apply(task={"type": "noop"})
    await world.settle()
    assert world.status()["dataSource"] == "none"
