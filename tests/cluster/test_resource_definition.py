"""The DruidTask's definition on a real API server: what it lets in, what it refuses and in which words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from overlord_operator import names
from overlord_operator.druid_task.resource import DruidTask
from overlord_operator.druid_task.status import AttemptRecord as Attempt
from overlord_operator.druid_task.status import (
    DruidTaskStatus,
    State,
    status_patch,
    time_text,
    with_attempt,
    with_condition,
)
from tests.support.cluster.client import Refused
from tests.support.cluster.control_plane import ControlPlane

JsonObject = dict[str, Any]
Make = Callable[..., JsonObject]

NOOP = {"type": "noop", "runTime": 1}
EXAMPLES = Path(__file__).parents[2] / "examples" / "kubernetes"


def path_of(namespace: str) -> str:
    return f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"


def task(spec: JsonObject, name: str = "mine") -> JsonObject:
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def path(namespace: str) -> str:
    return path_of(namespace)


@pytest.fixture
def submitted(kube: ControlPlane, path: str) -> str:
    """The path of an object that the operator has submitted."""
    kube.admin.create(path, task({"task": NOOP | {"context": {"priority": 5}}}))
    kube.admin.patch(f"{path}/mine/status", {"status": {"taskId": "noop_mine_uid", "state": "WAITING"}})
    return f"{path}/mine"


def test_object_that_nobody_takes_up_says_so(kube: ControlPlane, path: str) -> None:
    kube.admin.create(path, task({"task": NOOP}))
    raw = kube.admin.get(f"{path}/mine")
    assert raw["status"]["state"] == "NOT_TAKEN_UP"
    assert "no Nemeton release watches this namespace" in raw["status"]["message"]
    assert raw["spec"]["deletionPolicy"] == "Shutdown"
    assert DruidTask.parse(raw).status.state is State.NOT_TAKEN_UP


def test_every_field_of_the_operators_status_is_kept(kube: ControlPlane, path: str) -> None:
    kube.admin.create(path, task({"task": NOOP}))
    before = DruidTask.parse(kube.admin.get(f"{path}/mine")).status
    now = time_text(1_769_853_600_000)
    attempt = Attempt(
        attempt=1,
        pod_name="p",
        node="n",
        cause="OOMKilled",
        message="m",
        refused_at=now,
        started_at=now,
        ended_at=now,
        exit_code=137,
    )
    assert None not in attempt.model_dump().values()
    after = DruidTaskStatus(
        task_id="t",
        type="noop",
        data_source="none",
        state=State.FAILED,
        runner_status_code="NONE",
        reason="OOMKilled",
        message="m",
        conditions=with_condition([], "Complete", True, "OOMKilled", "m", 0, 1),
        pod_name="p",
        location="10.0.0.1:8100",
        attempt=1,
        attempts=with_attempt([], attempt),
        submitted_at=now,
        start_time=now,
        end_time=now,
        duration_ms=5,
        duration="5ms",
        rows_processed=7,
        segments_published=0,
        error_msg="m",
        log_url="http://o/log",
        report_url="http://o/reports",
        observed_generation=1,
    )
    kube.admin.patch(f"{path}/mine/status", {"status": status_patch(before, after)})
    raw = kube.admin.get(f"{path}/mine")
    assert raw["status"] == after.to_raw()
    assert None not in after.model_dump().values()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "give exactly one of task (the Druid task to submit) and taskId"),
        ({"task": NOOP, "taskId": "x"}, "give exactly one of task"),
        ({"task": {"runTime": 1}}, "type is missing: write the task's type, such as index_parallel"),
        ({"task": {"type": ""}}, "type is missing"),
        ({"task": {"type": 5}}, 'must be of type string: "integer"'),
        ({"task": "noop"}, 'must be of type object: "string"'),
        ({"taskId": ""}, "should be at least 1 chars long"),
        ({"task": NOOP, "retry": {"limit": -1}}, "should be greater than or equal to 0"),
        ({"task": NOOP, "retry": {"memoryFactor": 0.5}}, "should be greater than or equal to 1"),
        ({"task": NOOP, "retry": {"memoryLimit": "16 GB"}}, "should match"),
        ({"task": NOOP, "deletionPolicy": "Keep"}, 'supported values: "Shutdown", "Orphan"'),
        ({"task": NOOP, "activeDeadlineSeconds": 0}, "should be greater than or equal to 1"),
        ({"task": NOOP, "peon": {"resources": {"limits": {"memory": "2GB"}}}}, "should match"),
        (
            {"task": NOOP, "peon": {"resources": {"requests": {"memory": "4Gi"}, "limits": {"memory": "2Gi"}}}},
            "a request is greater than its limit: raise the limit or lower the request",
        ),
        ({"task": NOOP, "peon": {"env": [{"value": "x"}]}}, "env[0].name: Required value"),
        ({"task": NOOP, "peon": {"imagePullPolicy": "Sometimes"}}, "supported values"),
    ],
)
def test_object_that_cannot_work_is_refused_with_a_sentence(
    kube: ControlPlane, path: str, spec: JsonObject, words: str
) -> None:
    with pytest.raises(Refused) as refused:
        kube.admin.create(path, task(spec))
    assert refused.value.status == 422
    assert words in refused.value.message


def test_requests_within_their_limits_are_let_in_however_they_are_written(kube: ControlPlane, path: str) -> None:
    resources = {"requests": {"cpu": 1, "memory": "1024Mi"}, "limits": {"cpu": "1500m", "memory": "1Gi"}}
    made = kube.admin.create(path, task({"task": NOOP, "peon": {"resources": resources}}))
    assert made["spec"]["peon"]["resources"] == resources


def test_task_is_kept_word_for_word(kube: ControlPlane, path: str) -> None:
    own = {
        "type": "index_parallel",
        "spec": {"a": [1, 2.5, "x", None, {"b": True}]},
        "context": {"tags": {"size": "l"}},
    }
    kube.admin.create(path, task({"task": own}))
    assert kube.admin.get(f"{path}/mine")["spec"]["task"] == own
    empty = {"type": "kill", "id": None, "interval": None, "runTime": None, "spec": None, "context": None}
    kube.admin.create(path, task({"task": empty}, "empty"))
    assert kube.admin.get(f"{path}/empty")["spec"]["task"] == empty


@pytest.mark.parametrize(
    "changed",
    [
        NOOP | {"runTime": 2, "context": {"priority": 5}},  # a field that the definition does not know
        NOOP | {"context": {"priority": 6}},  # one further down
        NOOP | {"context": {"priority": 5}, "id": "mine"},  # one that it knows, added
        NOOP | {"type": "kill", "context": {"priority": 5}},  # one that it knows, changed
        NOOP | {"context": {"priority": 5}, "more": 1},  # one more
        {"type": "noop", "context": {"priority": 5}},  # one less
        {"type": "noop", "context": {"priority": 5}, "x": 1},  # one for another
    ],
)
def test_task_that_was_submitted_never_changes(kube: ControlPlane, submitted: str, changed: JsonObject) -> None:
    raw = kube.admin.get(submitted)
    with pytest.raises(Refused, match="a task that was submitted never changes: make a new DruidTask"):
        kube.admin.replace(submitted, {**raw, "spec": {**raw["spec"], "task": changed}})


def test_task_that_was_submitted_cannot_be_suspended_any_more(kube: ControlPlane, submitted: str) -> None:
    with pytest.raises(Refused, match="cannot be suspended any more: delete the object"):
        kube.admin.patch(submitted, {"spec": {"suspend": True}})


def test_what_is_beside_the_task_may_change_for_ever(kube: ControlPlane, submitted: str) -> None:
    made = kube.admin.patch(submitted, {"spec": {"ttlSecondsAfterFinished": 60, "deletionPolicy": "Orphan"}})
    assert made["spec"]["ttlSecondsAfterFinished"] == 60


def test_task_may_change_until_it_is_submitted(kube: ControlPlane, path: str) -> None:
    kube.admin.create(path, task({"task": NOOP, "suspend": True}))
    made = kube.admin.patch(f"{path}/mine", {"spec": {"task": {"runTime": 2}, "suspend": False}})
    assert made["spec"]["task"]["runTime"] == 2


def test_object_stands_for_one_task_for_ever(kube: ControlPlane, path: str) -> None:
    kube.admin.create(path, task({"taskId": "theirs"}))
    with pytest.raises(Refused, match="taskId never changes"):
        kube.admin.patch(f"{path}/mine", {"spec": {"taskId": "other"}})
    with pytest.raises(Refused, match="taskId never changes"):
        kube.admin.patch(f"{path}/mine", {"spec": {"taskId": None, "task": NOOP}})


def test_task_that_etcd_cannot_hold_is_refused_and_one_of_a_mebibyte_is_not(kube: ControlPlane, path: str) -> None:
    def sized(size: int) -> JsonObject:
        return NOOP | {"context": {"filler": "x" * size}}

    made = kube.admin.create(path, task({"task": sized(1 << 20)}))
    assert len(made["spec"]["task"]["context"]["filler"]) == 1 << 20
    with pytest.raises(Refused) as refused:
        kube.admin.create(path, task({"task": sized(1_600_000)}, "large"))
    assert "too large" in refused.value.message
    with pytest.raises(Refused) as refused:
        kube.admin.create(path, task({"task": sized(3_500_000)}, "larger"))
    assert refused.value.status == 413


def test_status_is_written_by_its_own_door_alone(kube: ControlPlane, path: str) -> None:
    made = kube.admin.create(path, task({"task": NOOP}) | {"status": {"state": "SUCCESS"}})
    assert kube.admin.get(f"{path}/mine")["status"]["state"] == "NOT_TAKEN_UP"
    kube.admin.patch(f"{path}/mine/status", {"status": {"state": "RUNNING"}, "spec": {"suspend": True}})
    after = kube.admin.get(f"{path}/mine")
    assert (after["status"]["state"], after["spec"]["suspend"]) == ("RUNNING", False)
    assert after["metadata"]["generation"] == made["metadata"]["generation"]


def test_objects_are_found_by_their_state(kube: ControlPlane, path: str) -> None:
    for name, state in (("one", "RUNNING"), ("two", "SUCCESS")):
        kube.admin.create(path, task({"task": NOOP}, name))
        kube.admin.patch(f"{path}/{name}/status", {"status": {"state": state, "taskId": f"id-{name}"}})
    found = kube.admin.items(path, fieldSelector="status.state=RUNNING")
    assert [item["metadata"]["name"] for item in found] == ["one"]
    found = kube.admin.items(path, fieldSelector="status.taskId=id-two")
    assert [item["metadata"]["name"] for item in found] == ["two"]


def test_table_shows_how_the_task_goes(kube: ControlPlane, namespace: str) -> None:
    path = path_of(namespace)
    kube.admin.create(path, task({"task": NOOP}))
    status = {
        "type": "noop",
        "dataSource": "web",
        "state": "SUCCESS",
        "rowsProcessed": 39244,
        "duration": "3m4s",
        "podName": "pod-1",
        "reason": "Success",
        "attempt": 1,
        "taskId": "noop_web",
    }
    kube.admin.patch(f"{path}/mine/status", {"status": status})
    head, row = kube.kubectl("get", "dt", "-n", namespace).splitlines()
    assert head.split() == ["NAME", "TYPE", "DATASOURCE", "STATE", "ROWS", "DURATION", "AGE"]
    assert row.split()[:6] == ["mine", "noop", "web", "SUCCESS", "39244", "3m4s"]
    head, row = kube.kubectl("get", "druid", "-n", namespace, "-o", "wide").splitlines()
    assert head.split()[-4:] == ["POD", "REASON", "ATTEMPT", "TASKID"]
    assert row.split()[-4:] == ["pod-1", "Success", "1", "noop_web"]


def test_kubectl_waits_for_the_end(kube: ControlPlane, namespace: str) -> None:
    path = path_of(namespace)
    kube.admin.create(path, task({"task": NOOP}))
    conditions = with_condition([], names.CONDITION_COMPLETE, True, "Success", "", 0)
    status = DruidTaskStatus(state=State.SUCCESS, conditions=conditions).to_raw()
    kube.admin.patch(f"{path}/mine/status", {"status": status})
    said = kube.kubectl("wait", "--for=condition=Complete", "--timeout=5s", "dt/mine", "-n", namespace)
    assert "condition met" in said


def test_every_field_explains_itself(kube: ControlPlane) -> None:
    definition = yaml.safe_load((Path(__file__).parents[2] / "crds" / "druidtask.yaml").read_text())
    schema: JsonObject = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

    def silent(fields: JsonObject, where: str) -> list[str]:
        found: list[str] = []
        for name, field in fields.get("properties", {}).items():
            if "description" not in field and (where, name) != ("", "metadata"):
                found.append(f"{where}.{name}")
            found += silent(field.get("items", field), f"{where}.{name}")
        return found

    assert silent(schema, "") == []
    said = kube.kubectl("explain", "dt.spec.peon.template")
    assert "podTemplateSelectStrategy" in said


def test_every_example_is_let_in(kube: ControlPlane, namespace: str) -> None:
    for file in sorted(EXAMPLES.glob("*.yaml")):
        said = kube.kubectl("apply", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", str(file))
        assert "created (server dry run)" in said
