"""The operator's small parts: queue, mirror, retries, settings, templates, Events, rows of a report."""

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from druid_core.errors import InvalidInput
from overlord_operator import names
from overlord_operator.budget import Budget
from overlord_operator.druid_task.events import happenings
from overlord_operator.druid_task.resource import RetrySpec
from overlord_operator.druid_task.status import AttemptRecord, DruidTaskStatus, State
from overlord_operator.mirror import KEPT_TASK_BYTES, Mirror, Ref, json_text
from overlord_operator.pod.cause import Cause
from overlord_operator.retry import oom_kills, retry_after_ms
from overlord_operator.settings import OperatorSettings
from overlord_operator.storage_work import rows_of
from overlord_operator.templates import Templates
from overlord_operator.work_queue import WorkQueue
from tests.support.clock import Clock

Raw = dict[str, Any]
SETTINGS = OperatorSettings(overlord="http://o:8090", namespace="tasks")


# the queue


async def test_a_task_that_is_poked_many_times_is_looked_at_once():
    queue = WorkQueue(lambda: 0)
    ref = Ref("a", "b")
    for _ in range(5):
        queue.poke(ref)
    assert await queue.take() == ref
    assert len(queue) == 1
    queue.done(ref)
    assert len(queue) == 0


async def test_a_task_that_is_poked_while_it_is_looked_at_is_looked_at_again_afterwards():
    queue = WorkQueue(lambda: 0)
    ref, other = Ref("a", "b"), Ref("a", "c")
    queue.poke(ref)
    await queue.take()
    queue.poke(ref)
    queue.poke(other)
    assert await queue.take() == other, "never two workers at one task"
    queue.done(ref)
    assert await queue.take() == ref


async def test_a_task_that_fails_comes_again_after_growing_pauses():
    now_ms = 0
    queue = WorkQueue(lambda: now_ms)
    ref = Ref("a", "b")
    pauses: list[float] = []
    timers = asyncio.create_task(queue.run_timers())
    for _ in range(4):
        queue.poke(ref)
        await queue.take()
        pauses.append(queue.failed(ref))
    timers.cancel()
    assert pauses[3] > pauses[0]
    assert max(pauses) <= 30


async def test_a_task_whose_worker_was_taken_away_can_be_looked_at_again():
    queue = WorkQueue(lambda: 0)
    ref = Ref("a", "b")
    queue.poke(ref)
    await queue.take()
    queue.clear()
    queue.poke(ref)
    assert await asyncio.wait_for(queue.take(), 5) == ref


async def test_the_earliest_time_to_look_again_counts():
    now_ms = 0
    queue = WorkQueue(lambda: now_ms)
    ref = Ref("a", "b")
    queue.poke_at(ref, 900)
    queue.poke_at(ref, 500)
    now_ms = 500
    timers = asyncio.create_task(queue.run_timers())
    assert await asyncio.wait_for(queue.take(), 5) == ref
    timers.cancel()


# the mirror


def _raw_task(name: str = "mine", version: int = 1, uid: str = "u", **spec: Any) -> Raw:
    metadata = {"name": name, "namespace": "tasks", "uid": uid, "resourceVersion": str(version), "managedFields": [1]}
    return {"metadata": metadata, "spec": {"task": {"type": "noop", "id": "one"}, **spec}}


def test_of_two_states_the_newer_stays_whatever_comes_last():
    mirror = Mirror("nemeton")
    assert mirror.see_task(_raw_task(version=7)) == Ref("tasks", "mine")
    assert mirror.see_task(_raw_task(version=6)) is None
    assert mirror.see_task(_raw_task(version=7)) is None
    entry = mirror.task(Ref("tasks", "mine"))
    assert entry is not None
    assert entry.version == 7


def test_what_was_seen_to_go_is_not_brought_back_by_an_old_list():
    mirror = Mirror("nemeton")
    mirror.see_task(_raw_task(version=7))
    mirror.lose_task("tasks", "mine", "u")
    assert mirror.see_task(_raw_task(version=7)) is None
    assert mirror.see_task(_raw_task(version=9, uid="another")) == Ref("tasks", "mine")


def test_what_came_while_the_list_was_made_is_not_dropped():
    mirror = Mirror("nemeton")
    mirror.see_task(_raw_task("old", uid="u1"))
    tasks, pods = mirror.before_list()
    mirror.see_task(_raw_task("new", uid="u2"))
    assert mirror.lose_unlisted(tasks, pods) == {Ref("tasks", "old")}
    assert mirror.task(Ref("tasks", "new")) is not None


def test_a_large_task_is_not_kept_whole():
    mirror = Mirror("nemeton")
    large = {"type": "noop", "id": "one", "context": {"text": "x" * KEPT_TASK_BYTES}}
    ref = mirror.see_task(_raw_task(task=large))
    assert ref is not None
    entry = mirror.task(ref)
    assert entry is not None
    assert entry.task is None
    assert len(entry.data) < 1000
    assert entry.task_id == "one"


def test_a_pod_without_an_owner_belongs_to_the_name_that_its_task_would_have():
    mirror = Mirror("nemeton")
    metadata = {
        "name": "p",
        "namespace": "tasks",
        "uid": "pu",
        "resourceVersion": "1",
        "annotations": {names.ANNOTATION_TASK_ID: "one", names.ANNOTATION_ATTEMPT: "2"},
        "finalizers": [names.LOG_FINALIZER],
    }
    assert mirror.see_pod({"metadata": metadata, "spec": {}}) == Ref("tasks", names.job_name("one"))
    assert [(pod.task_id, pod.attempt) for pod in mirror.held_pods()] == [("one", 2)]


def test_a_pod_of_druids_own_runner_is_none_of_ours():
    mirror = Mirror("nemeton")
    metadata = {"name": "p", "namespace": "tasks", "uid": "pu", "resourceVersion": "1"}
    assert mirror.see_pod({"metadata": {**metadata, "annotations": {"task.id": "one"}}}) is None


def test_what_is_kept_of_an_object_occupies_what_it_shows():
    """orjson's own result holds on to a buffer of 8 KiB: ten thousand objects then cost 160 MB more."""
    tracemalloc.start()
    try:
        kept = [json_text({"number": number, "words": ["w" * 10] * 100}) for number in range(100)]
        occupied, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert occupied < 1.5 * sum(map(len, kept))


# retries


def _history(*causes: Cause) -> list[AttemptRecord]:
    return [AttemptRecord(attempt=number, cause=cause.value) for number, cause in enumerate(causes, 1)]


@pytest.mark.parametrize(
    ("why", "cause", "history", "retry", "after_ms"),
    [
        ("the first eviction is free and at once", Cause.EVICTED, [], RetrySpec(), 0),
        ("the second after a pause", Cause.EVICTED, [Cause.PREEMPTED], RetrySpec(), 10_000),
        ("the third after twice as long", Cause.NODE_LOST, [Cause.EVICTED] * 2, RetrySpec(), 20_000),
        ("not beyond its limit", Cause.EVICTED, [Cause.EVICTED] * 2, RetrySpec(free_limit=2), None),
        ("other causes have other budgets", Cause.EVICTED, [Cause.SIGNAL] * 30, RetrySpec(), 0),
        ("an exit code is not repeated by default", Cause.EXIT_CODE, [], RetrySpec(), None),
        ("but as often as somebody says", Cause.EXIT_CODE, [Cause.EXIT_CODE], RetrySpec(limit=2), 20_000),
        ("and not more often", Cause.EXIT_CODE, [Cause.EXIT_CODE] * 2, RetrySpec(limit=2), None),
        ("more memory at once", Cause.OOM_KILLED, [Cause.OOM_KILLED], RetrySpec(), 0),
        ("up to its limit", Cause.OOM_KILLED, [], RetrySpec(memory_limit="2Gi"), None),
        ("never without more", Cause.OOM_KILLED, [], RetrySpec(memory_factor=1), None),
        ("a bad image name never", Cause.IMAGE_NAME, [], RetrySpec(limit=5, free_limit=5), None),
        ("a deadline never", Cause.DEADLINE, [], RetrySpec(limit=5), None),
        ("no pause is longer than five minutes", Cause.EXIT_CODE, [Cause.EXIT_CODE] * 9, RetrySpec(limit=99), 300_000),
    ],
)
def test_another_attempt_is_a_matter_of_its_cause(
    why: str, cause: Cause, history: list[Cause], retry: RetrySpec, after_ms: int | None
):
    records = _history(*history)
    assert retry_after_ms(cause, len(records) + 1, records, "2Gi", retry, SETTINGS) == after_ms, why


def test_the_attempt_itself_does_not_count_against_its_budget():
    records = _history(Cause.EVICTED, Cause.EVICTED)
    assert retry_after_ms(Cause.EVICTED, 2, records, None, RetrySpec(free_limit=2), SETTINGS) is not None


def test_attempts_that_ran_out_of_memory_are_counted():
    assert oom_kills(_history(Cause.OOM_KILLED, Cause.EVICTED, Cause.OOM_KILLED), 3) == 1


# settings and templates


def test_settings_come_from_the_environment():
    settings = OperatorSettings.from_environment(
        {
            "NEMETON_OVERLORD": "http://o:8090",
            "NEMETON_NAMESPACE": "nemeton",
            "NEMETON_TASK_NAMESPACES": "nemeton, team-a",
            "NEMETON_CAPACITY": "20",
            "NEMETON_PEON_ENV": '[{"name": "A", "value": "b"}]',
            "NEMETON_PEON_SERVICE_ACCOUNT": "",
        }
    )
    assert settings.watched_namespaces == ("nemeton", "team-a")
    assert settings.rest_namespace == "nemeton"
    assert settings.capacity == 20
    assert settings.peon_env == [{"name": "A", "value": "b"}]
    assert settings.peon_service_account is None
    assert settings.watches("team-a")
    assert not settings.watches("team-b")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "overlord"),
        ({"NEMETON_OVERLORD": "overlord:8090"}, "is a URL"),
        ({"NEMETON_OVERLORD": "http://o", "NEMETON_CAPACITY": "many"}, "NEMETON_CAPACITY"),
        ({"NEMETON_OVERLORD": "http://o", "NEMETON_PEON_ENV": "A=b"}, "not JSON"),
        ({"NEMETON_OVERLORD": "http://o", "NEMETON_RENEW_SECONDS": "9"}, "renew_seconds"),
        ({"NEMETON_OVERLORD": "http://o", "NEMETON_DEFAULT_TASK_NAMESPACE": "other"}, "nobody would run"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment: dict[str, str], words: str):
    with pytest.raises(InvalidInput, match=words):
        OperatorSettings.from_environment(environment)


def test_the_whole_cluster_is_watched_with_a_star():
    settings = OperatorSettings(overlord="http://o", task_namespaces=("*",), namespace="nemeton")
    assert settings.is_cluster_wide
    assert settings.watched_namespaces == ()
    assert settings.rest_namespace == "nemeton"
    assert settings.watches("anything")


def test_templates_are_read_anew_when_a_file_changes(tmp_path: Path):
    templates = Templates(str(tmp_path))
    assert templates.read() == {}
    (tmp_path / "base.yaml").write_text("spec: {priority: 1}")
    assert templates.read() == {"base": {"spec": {"priority": 1}}}
    (tmp_path / "base.yaml").write_text("spec: {priority: 20}")
    assert templates.read() == {"base": {"spec": {"priority": 20}}}


@pytest.mark.parametrize("text", ["[1]", "spec: {", "just words"])
def test_a_file_that_is_no_template_is_named(tmp_path: Path, text: str):
    (tmp_path / "huge.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"huge\.yaml"):
        Templates(str(tmp_path)).read()


# the story


def test_a_budget_is_saved_up_and_spent():
    clock = Clock()
    budget = Budget(2.0, 4.0, clock)
    assert [budget.spend() for _ in range(5)] == [True] * 4 + [False]
    clock.now += 1.0
    assert [budget.spend(), budget.spend(), budget.spend()] == [True, True, False]
    clock.now += 100
    assert [budget.spend(reserve=2) for _ in range(3)] == [True, True, False], "a reserve is left for others"


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (DruidTaskStatus(state=State.PENDING, reason="Starting"), []),
        (DruidTaskStatus(state=State.WAITING, reason="LockHeld", message="m"), [("LockHeld", False)]),
        (DruidTaskStatus(state=State.PENDING, reason="Unschedulable", message="m"), [("Unschedulable", True)]),
        (DruidTaskStatus(state=State.WAITING, reason="OverlordAway", message="m"), [("OverlordAway", True)]),
        (DruidTaskStatus(state=State.RUNNING, reason="Running", message="m"), [("Running", False)]),
        (DruidTaskStatus(state=State.SUCCESS, reason="Success", message="m"), [("Success", False)]),
        (DruidTaskStatus(state=State.FAILED, reason="Refused", message="m"), [("Refused", True)]),
        (
            DruidTaskStatus(
                state=State.FAILED,
                reason="OOMKilled",
                attempts=[AttemptRecord(attempt=1, pod_name="p", cause="OOMKilled", message="m", ended_at="t")],
            ),
            [("PodCreated", False), ("OOMKilled", True), ("Failed", True)],
        ),
    ],
)
def test_a_change_of_status_tells_its_story_once(after: DruidTaskStatus, told: list[tuple[str, bool]]):
    assert [(each.reason, each.is_warning) for each in happenings(DruidTaskStatus(), after)] == told
    assert happenings(after, after) == []


@pytest.mark.parametrize(
    ("report", "rows"),
    [
        ({"a": {"payload": {"rowStats": {"totals": {"buildSegments": {"processed": 7}}}}}}, 7),
        ({"a": {"payload": {"rowStats": {"buildSegments": {"processed": 7}}}}}, 7),
        (
            {
                "a_0": {"payload": {"rowStats": {"totals": {"buildSegments": {"processed": 7}}}}},
                "a_1": {"payload": {"rowStats": {"totals": {"buildSegments": {"processed": 5}}}}},
                "taskContext": {"payload": {}},
            },
            12,
        ),
        ({"killUnusedSegments": {"payload": {"numSegmentsKilled": 3}}}, None),
        ({}, None),
        ([], None),
        ({"a": {"payload": None}}, None),
    ],
)
def test_rows_are_read_from_a_report(report: Any, rows: int | None):
    assert rows_of(report) == rows
