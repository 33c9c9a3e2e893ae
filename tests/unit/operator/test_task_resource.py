"""A DruidTask is read once; what cannot be used is refused with what to write instead."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from druid_core.errors import InvalidTask
from druid_core.task import parse_task
from overlord_operator.druid_task.resource import DeletionPolicy, DruidTask, data_source_of, hash_of, read_time
from overlord_operator.druid_task.status import State

JsonObject = dict[str, Any]

NOOP = {"type": "noop", "runTime": 1}
EXAMPLES = Path(__file__).parents[3] / "examples" / "kubernetes"


def raw(spec: object, **metadata: Any) -> JsonObject:
    own = {"name": "my-task", "namespace": "tasks", "uid": "1c2d3e4f", "generation": 3, "resourceVersion": "77"}
    return {"metadata": own | metadata, "spec": spec}


def test_object_is_read_with_its_defaults() -> None:
    task = DruidTask.parse(raw({"task": NOOP}, creationTimestamp="2026-01-31T10:00:00Z"))
    assert (task.namespace, task.name, task.generation, task.created_ms) == ("tasks", "my-task", 3, 1769853600000)
    assert task.spec.deletion_policy is DeletionPolicy.SHUTDOWN
    assert task.spec.suspend is False
    assert task.spec.retry.limit is None
    assert task.status.state is None
    assert (task.deleted_ms, task.is_applied) == (None, True)


def test_all_of_the_spec_is_read_as_it_is_spelled() -> None:
    spec = {
        "task": NOOP,
        "suspend": True,
        "peon": {
            "resources": {"limits": {"memory": "4Gi"}},
            "nodeSelector": {"disk": "ssd"},
            "serviceAccountName": "loader",
            "imagePullPolicy": "Always",
            "envFrom": [{"secretRef": {"name": "s"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "priorityClassName": "urgent",
        },
        "retry": {"limit": 1, "freeLimit": 2, "backoffSeconds": 3, "memoryFactor": 1.5, "memoryLimit": "8Gi"},
        "activeDeadlineSeconds": 60,
        "launchTimeoutSeconds": 30,
        "ttlSecondsAfterFinished": 0,
        "deletionPolicy": "Orphan",
    }
    read = DruidTask.parse(raw(spec)).spec
    assert read.peon.node_selector == {"disk": "ssd"}
    assert read.peon.service_account_name == "loader"
    assert read.peon.env_from == [{"secretRef": {"name": "s"}}]
    assert read.peon.volume_mounts == [{"name": "v", "mountPath": "/v"}]
    assert (read.retry.free_limit, read.retry.memory_factor, read.retry.memory_limit) == (2, 1.5, "8Gi")
    assert (read.active_deadline_seconds, read.ttl_seconds_after_finished) == (60, 0)
    assert read.deletion_policy is DeletionPolicy.ORPHAN


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "spec is missing: write the Druid task under spec.task"),
        ({}, "Exactly one of spec.task and spec.taskId"),
        ({"task": NOOP, "taskId": "x"}, "Exactly one of spec.task and spec.taskId"),
        ({"task": {}}, "spec.task.type is missing: write the task's type"),
        ({"task": {"type": ""}}, "spec.task.type is missing"),
        ({"task": {"type": 5}}, "spec.task.type is missing"),
        ({"task": "noop"}, "spec.task cannot be used"),
        ({"task": NOOP, "retry": {"limit": -1}}, "spec.retry.limit cannot be used"),
        ({"task": NOOP, "deletionPolicy": "Keep"}, "spec.deletionPolicy cannot be used"),
        ({"task": NOOP, "peon": {"env": "A=1"}}, "spec.peon.env cannot be used"),
    ],
)
def test_object_that_cannot_be_used_says_what_to_write(spec: object, words: str) -> None:
    with pytest.raises(InvalidTask) as refused:
        DruidTask.parse(raw(spec))
    assert words in str(refused.value)


def test_task_without_an_id_has_one_of_its_object_and_keeps_it() -> None:
    spec = {"task": {"type": "index_parallel", "spec": {"dataSchema": {"dataSource": "web"}}}}
    first, again = DruidTask.parse(raw(spec)), DruidTask.parse(raw(spec, resourceVersion="78"))
    assert first.task_id == again.task_id == "index_parallel_web_1c2d3e4f"
    assert first.submission() == spec["task"] | {"id": "index_parallel_web_1c2d3e4f"}


def test_task_that_names_no_datasource_has_its_objects_name_in_its_id() -> None:
    assert DruidTask.parse(raw({"task": NOOP})).task_id == "noop_my-task_1c2d3e4f"


def test_own_id_of_a_task_is_kept() -> None:
    assert DruidTask.parse(raw({"task": NOOP | {"id": "mine"}})).task_id == "mine"
    assert DruidTask.parse(raw({"taskId": "theirs"})).task_id == "theirs"


def test_made_id_is_never_longer_than_ids_may_be() -> None:
    task_id = DruidTask.parse(raw({"task": NOOP | {"dataSource": "d" * 300}})).task_id
    assert len(task_id) == 255
    assert task_id.endswith("_1c2d3e4f")


def test_hash_knows_the_task_and_not_the_order_of_its_keys() -> None:
    one = DruidTask.parse(raw({"task": {"type": "noop", "runTime": 1}}))
    same = DruidTask.parse(raw({"task": {"runTime": 1, "type": "noop"}, "suspend": True}))
    other = DruidTask.parse(raw({"task": {"type": "noop", "runTime": 2}}))
    assert hash_of(one.submission()) == hash_of(same.submission()) != hash_of(other.submission())


@pytest.mark.parametrize("broken", [None, "text", {"state": "ODD"}, {"conditions": 5}])
def test_status_that_cannot_be_read_counts_as_none(broken: object) -> None:
    assert DruidTask.parse(raw({"task": NOOP}) | {"status": broken}).status.state is None


def test_status_is_read_back() -> None:
    status = {"state": "RUNNING", "taskId": "t", "attempts": [{"attempt": 1, "cause": "NodeLost"}]}
    read = DruidTask.parse(raw({"task": NOOP}) | {"status": status}).status
    assert (read.state, read.task_id, read.attempts[0].cause) == (State.RUNNING, "t", "NodeLost")
    assert read.to_raw() | {"conditions": []} == status | {"conditions": []}


@pytest.mark.parametrize(
    ("task", "data_source"),
    [
        ({"dataSource": "a"}, "a"),
        ({"spec": {"dataSchema": {"dataSource": "b"}}}, "b"),
        ({"spec": {"dataSchema": None}}, None),
        ({"spec": "text"}, None),
        ({}, None),
        ({"dataSource": 5}, None),
    ],
)
def test_datasource_is_found_where_druid_has_it(task: JsonObject, data_source: str | None) -> None:
    assert data_source_of(task) == data_source


@pytest.mark.parametrize(
    ("text", "ms"), [("1970-01-01T00:00:01Z", 1000), ("1970-01-01T00:00:01.5Z", 1500), (None, None), ("soon", None)]
)
def test_time_of_kubernetes_is_read(text: object, ms: int | None) -> None:
    assert read_time(text) == ms


def _examples() -> list[JsonObject]:
    documents = (yaml.safe_load_all(file.read_text()) for file in sorted(EXAMPLES.glob("*.yaml")))
    return [item for file in documents for item in file if item["kind"] == "DruidTask"]


@pytest.mark.parametrize("example", _examples(), ids=lambda item: item["metadata"]["name"])
def test_every_example_is_a_task_that_the_overlord_takes(example: JsonObject) -> None:
    task = DruidTask.parse(example)
    assert parse_task(task.submission(), 0).id == task.task_id


def test_every_example_is_in_the_list_of_examples() -> None:
    table = (EXAMPLES / "README.md").read_text()
    files = sorted(file.name for file in EXAMPLES.glob("*.yaml"))
    assert len(files) >= 5
    assert all(f"`{name}`" in table for name in files)
