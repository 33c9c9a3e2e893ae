"""Whatever is applied ends in a state and a sentence that says what to do."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from tests.support.cluster.kubectl import KubectlFailed
from tests.support.house import until
from tests.support.installed import RELEASE, Installation, druid_task

NOOP = {"type": "noop", "runTime": 1}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"task": {"id": "x"}}, "type is missing: write the task's type"),
        ({}, "give exactly one of task"),
        ({"task": NOOP, "taskId": "x"}, "give exactly one of task"),
        ({"task": NOOP, "peon": {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}},
         "raise the limit or lower the request"),
        ({"task": NOOP, "peon": {"resorces": {}}}, 'unknown field "spec.peon.resorces"'),
    ],
)  # fmt: skip
def test_object_that_makes_no_sense_is_not_let_in(installed: Installation, spec: Mapping[str, Any], words: str) -> None:
    with pytest.raises(KubectlFailed, match=words):
        installed.apply("senseless", spec)
    assert installed.object("senseless") is None


@pytest.mark.parametrize(
    ("name", "task", "words"),
    [
        ("unknown-type", {"type": "index_quantum"}, "index_quantum"),
        ("no-spec", {"type": "index_parallel"}, "ingestionSchema"),
        ("no-source", {"type": "index_parallel", "spec": {"dataSchema": {}, "ioConfig": {}}}, ""),
        ("bad-id", {**NOOP, "id": "a/b"}, "a/b"),
    ],
)  # fmt: skip
def test_task_that_the_overlord_refuses_says_why(
    installed: Installation, name: str, task: Mapping[str, Any], words: str
) -> None:
    installed.apply(name, {"task": task})
    shown = installed.until_shown(name, state="FAILED", reason="Refused")
    assert words in shown["message"]
    assert shown["message"] == shown["errorMsg"]
    until(lambda: ("Refused", shown["message"]) in installed.events(name), "an Event says so", 10)
    assert "podName" not in shown


def test_refused_task_that_is_edited_is_tried_again(installed: Installation) -> None:
    installed.apply("corrected", {"task": {"type": "noob"}})
    installed.until_shown("corrected", state="FAILED", reason="Refused")
    installed.apply("corrected", {"task": NOOP})
    installed.until_shown("corrected", state="SUCCESS")


def test_submitted_task_cannot_be_edited(installed: Installation) -> None:
    installed.apply("settled", {"task": NOOP})
    installed.until_shown("settled", state="SUCCESS")
    with pytest.raises(KubectlFailed, match="new DruidTask"):
        installed.apply("settled", {"task": {**NOOP, "runTime": 2}})


def test_second_object_of_the_same_task_is_refused_and_the_task_runs_once(installed: Installation) -> None:
    installed.apply("first", {"task": {**NOOP, "id": "only_once_b"}})
    installed.until_shown("first", state="SUCCESS")
    installed.apply("second", {"task": {**NOOP, "id": "only_once_b"}})
    shown = installed.until_shown("second", state="FAILED", reason="Refused")
    assert f"It is the task of the DruidTask {installed.namespace}/first" in shown["message"]
    log = installed.log("only_once_b")
    assert log is not None
    assert log.count(b"Running task [only_once_b]") == 1


def test_object_in_a_namespace_that_nobody_watches_says_so_and_runs_nothing(installed: Installation) -> None:
    elsewhere = installed.node.new_namespace()
    installed.node.kubectl.apply(druid_task("lost", {"task": NOOP}), namespace=elsewhere)
    path = installed.tasks_path.replace(f"/{installed.namespace}/", f"/{elsewhere}/")
    shown = installed.node.admin.get(f"{path}/lost")["status"]
    assert "namespace" in shown["message"], shown
    assert installed.node.admin.items(f"/api/v1/namespaces/{elsewhere}/pods") == []
    installed.node.delete_namespace(elsewhere)


def test_object_that_is_deleted_while_its_pod_starts_leaves_nothing(installed: Installation) -> None:
    installed.apply("brief", {"task": {**NOOP, "id": "brief_2", "runTime": 60_000}})
    until(lambda: installed.pods_of("brief_2"), "it has a pod")
    installed.kubectl("delete", "dt", "brief", "--timeout=90s")
    assert installed.object("brief") is None
    assert installed.finished("brief_2")["statusCode"] == "FAILED"
    until(lambda: not [pod for pod in installed.pods_of("brief_2") if pod["status"]["phase"] == "Running"], "no pod")


def test_object_of_nearly_the_size_that_kubernetes_takes_runs(installed: Installation) -> None:
    line = '{"time":"2026-01-31T10:00:00Z","city":"' + "x" * 1000 + '"}\n'
    data = line * (1_400_000 // (len(line) + 5))
    task = {
        "type": "index_parallel",
        "spec": {
            "dataSchema": {
                "dataSource": "heavy",
                "timestampSpec": {"column": "time"},
                "dimensionsSpec": {"dimensions": ["city"]},
                "granularitySpec": {"segmentGranularity": "day", "rollup": False},
            },
            "ioConfig": {
                "type": "index_parallel",
                "inputFormat": {"type": "json"},
                "inputSource": {"type": "inline", "data": data},
            },
            "tuningConfig": {"type": "index_parallel"},
        },
    }
    installed.kubectl("create", "--filename", "-", stdin=orjson.dumps(druid_task("heavy", {"task": task})))
    shown = installed.until_shown("heavy", state="SUCCESS")
    assert shown["rowsProcessed"] == data.count("\n")


def test_object_that_comes_while_the_overlord_is_away_waits_and_then_runs(installed: Installation) -> None:
    deployment = f"deployment/{RELEASE}-overlord"
    installed.kubectl("scale", deployment, "--replicas=0")
    try:
        until(lambda: not installed.answers(), "nobody answers")
        installed.apply("patient", {"task": NOOP})
        shown = installed.until_shown("patient", state="WAITING", reason="OverlordAway")
        assert "as soon as it can be" in shown["message"]
    finally:
        installed.kubectl("scale", deployment, "--replicas=2")
    installed.wait_ready()
    installed.until_shown("patient", state="SUCCESS")
