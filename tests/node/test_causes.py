"""
Tasks whose pods die or cannot start, through the whole product: the cause stands in the status, in a condition and in
an Event within ten seconds, and what follows is by the cause.
"""

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import psutil
import pytest

from overlord_operator import names
from overlord_operator.druid_task.resource import read_time
from overlord_operator.pod.cause import Cause
from tests.support.cluster.client import Raw
from tests.support.house import until
from tests.support.installed import PATIENCE_S, Installation

WITHIN_MS = 10_000

NOOP = {"type": "noop", "runTime": 1}
LONG = {"type": "noop", "runTime": 120_000}


@dataclass(frozen=True, slots=True)
class Case:
    cause: Cause
    words: str
    """What its sentence holds."""
    spec: Mapping[str, Any]
    task: Mapping[str, Any] = field(default_factory=lambda: NOOP)


FAILING = {
    "exit-code": Case(Cause.EXIT_CODE, "exit code 3", {"peon": {"template": "exits"}}),
    "out-of-memory": Case(
        Cause.OOM_KILLED,
        "more memory than its limit of 40Mi",
        {"peon": {"template": "eats", "resources": {"limits": {"memory": "40Mi"}, "requests": {"memory": "40Mi"}}},
         "retry": {"memoryLimit": "40Mi"}},
    ),
    "disk": Case(
        Cause.DISK_LIMIT,
        "exceeds the",
        {"peon": {"template": "fills", "resources": {"limits": {"ephemeral-storage": "8Mi", "memory": "512Mi"}}}},
    ),
    "deadline": Case(Cause.DEADLINE, "deadline of 8 s", {"activeDeadlineSeconds": 8}, LONG),
    "image-name": Case(Cause.IMAGE_NAME, "NOT//an image", {"peon": {"image": "NOT//an image"}}),
    "command": Case(Cause.CONTAINER_START, "no such file", {"peon": {"template": "lost"}}),
    "template": Case(Cause.INVALID_TEMPLATE, "There is no pod template [gold]", {"peon": {"template": "gold"}}),
    "pod-security": Case(
        Cause.POD_SECURITY,
        "restricted",
        {"peon": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}},
    ),
}  # fmt: skip
"""What fails by itself, at once: nothing that could be waited for would help."""

WAITING = {
    "image-pull": Case(Cause.IMAGE_PULL, "127.0.0.1:1/none", {"peon": {"image": "127.0.0.1:1/none:1"}}),
    "secret": Case(
        Cause.MISSING_SECRET,
        'secret "landing-zone" not found',
        {"peon": {"envFrom": [{"secretRef": {"name": "landing-zone"}}]}},
    ),
    "config-map": Case(
        Cause.MISSING_CONFIG_MAP,
        'configmap "zone" not found',
        {"peon": {"envFrom": [{"configMapRef": {"name": "zone"}}]}},
    ),
    "selector": Case(Cause.UNSCHEDULABLE, "node affinity", {"peon": {"nodeSelector": {"disk": "gold"}}}),
    "requests": Case(
        Cause.INSUFFICIENT_RESOURCES,
        "Insufficient cpu",
        {"peon": {"resources": {"requests": {"cpu": "900"}}}},
    ),
    "quota": Case(
        Cause.QUOTA,
        "exceeded quota",
        {"peon": {"resources": {"requests": {"memory": "200Gi"}, "limits": {"memory": "200Gi"}}}},
    ),
    "admission": Case(Cause.ADMISSION_DENIED, "no tasks of the other team", {"peon": {"labels": {"team": "other"}}}),
    "service-account": Case(Cause.MISSING_SERVICE_ACCOUNT, "nobody", {"peon": {"serviceAccountName": "nobody"}}),
    "priority-class": Case(Cause.MISSING_PRIORITY_CLASS, "none-such", {"peon": {"priorityClassName": "none-such"}}),
}  # fmt: skip
"""What somebody may still mend: it is said within ten seconds, and fails when its launch timeout is over."""


@pytest.fixture(scope="module")
def rules(installed: Installation) -> None:
    """A quota, and a policy that refuses a label."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "memory"},
        "spec": {"hard": {"requests.memory": "100Gi"}},
    }
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": f"teams-{installed.namespace}"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
                ]
            },
            "validations": [
                {
                    "expression": "!has(object.metadata.labels) || !('team' in object.metadata.labels)"
                    " || object.metadata.labels['team'] != 'other'",
                    "message": "no tasks of the other team",
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": f"teams-{installed.namespace}"},
        "spec": {"policyName": f"teams-{installed.namespace}", "validationActions": ["Deny"]},
    }
    installed.kubectl("apply", "--filename", "-", stdin=_list(quota, policy, binding))


@pytest.fixture(scope="module")
def failing(installed: Installation, rules: None) -> str:
    return _apply_all(installed, FAILING, launchTimeoutSeconds=120)


@pytest.fixture(scope="module")
def waiting(installed: Installation, rules: None) -> str:
    return _apply_all(installed, WAITING, launchTimeoutSeconds=40)


def _apply_all(installed: Installation, cases: Mapping[str, Case], **spec: Any) -> str:
    """All at once, so that each waits for its own end alone. Returns the beginning of their names."""
    prefix = "dies" if cases is FAILING else "waits"
    for name, case in cases.items():
        installed.apply(f"{prefix}-{name}", {"task": case.task, **spec, **case.spec})
    return prefix


def _list(*objects: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def condition(shown: Raw, kind: str) -> Raw:
    return next((each for each in shown.get("conditions", []) if each["type"] == kind), {})


@pytest.mark.parametrize("name", FAILING)
def test_death_is_named_in_status_condition_and_event(installed: Installation, failing: str, name: str) -> None:
    case = FAILING[name]
    shown = installed.until_shown(f"{failing}-{name}", state="FAILED")
    complete = condition(shown, names.CONDITION_COMPLETE)
    assert (shown["reason"], complete["reason"]) == (case.cause, case.cause), shown
    assert case.words in shown["errorMsg"]
    assert case.words in complete["message"]
    told_ms, ended_ms = read_time(complete["lastTransitionTime"]), read_time(shown["endTime"])
    assert told_ms is not None
    assert ended_ms is not None
    assert told_ms - ended_ms <= WITHIN_MS
    # the Event is written just after the status
    until(lambda: any(case.words in text for _, text in installed.events(f"{failing}-{name}")), "an Event says so", 10)
    status = installed.finished(shown["taskId"])
    assert status["statusCode"] == "FAILED"
    assert case.words in status["errorMsg"], "Druid's API says the same"


@pytest.mark.parametrize("name", WAITING)
def test_start_that_does_not_come_says_why_and_ends_at_its_time(
    installed: Installation, waiting: str, name: str
) -> None:
    case = WAITING[name]
    shown = installed.until_shown(f"{waiting}-{name}", state="FAILED")
    assert shown["reason"] == case.cause, shown
    assert case.words in shown["errorMsg"]
    told = [(reason, message) for reason, message in installed.events(f"{waiting}-{name}")]
    assert any(reason == case.cause and case.words in message for reason, message in told), told
    first = installed.first_event(f"{waiting}-{name}", case.cause)
    applied = installed.object(f"{waiting}-{name}")
    assert applied is not None
    waited_ms = (read_time(first) or 0) - (read_time(applied["metadata"]["creationTimestamp"]) or 0)
    assert waited_ms <= WITHIN_MS, f"said after {waited_ms} ms"


def test_secret_that_somebody_makes_in_time_lets_the_task_run(installed: Installation) -> None:
    installed.apply("mended", {"task": NOOP, "peon": {"envFrom": [{"secretRef": {"name": "late"}}]}})
    installed.until_shown("mended", state="PENDING", reason=Cause.MISSING_SECRET)
    installed.kubectl("create", "secret", "generic", "late", "--from-literal=PASSWORD=oak")
    installed.until_shown("mended", state="SUCCESS")


def test_task_that_ran_out_of_memory_gets_more_until_it_is_enough(installed: Installation) -> None:
    little = {"limits": {"memory": "40Mi"}, "requests": {"memory": "40Mi"}}
    retry = {"memoryFactor": 8, "backoffSeconds": 1}
    installed.apply("grows", {"task": NOOP, "peon": {"template": "eats", "resources": little}, "retry": retry})
    shown = installed.until_shown("grows", state="SUCCESS")
    assert [attempt["cause"] for attempt in shown["attempts"]] == [Cause.OOM_KILLED, Cause.COMPLETED]
    assert f"Attempt 1: {shown['attempts'][0]['message']}" in [message for _, message in installed.events("grows")]
    log = installed.log(shown["taskId"])
    assert log is not None
    assert b"==== attempt 2 ====" in log


def _long_task(installed: Installation, name: str, **spec: Any) -> tuple[str, Raw]:
    installed.apply(name, {"task": {**LONG, "runTime": 8_000}, **spec})
    task_id = until(lambda: installed.shown(name).get("taskId"), f"{name} has an id", PATIENCE_S)
    return task_id, installed.running_pod(task_id)


def test_pod_that_somebody_deleted_is_run_again_for_free(installed: Installation) -> None:
    _, pod = _long_task(installed, "deleted")
    installed.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    shown = installed.until_shown("deleted", state="SUCCESS")
    assert [attempt["cause"] for attempt in shown["attempts"]] == [Cause.DELETED, Cause.COMPLETED]


def test_pod_that_was_drained_is_run_again_for_free(installed: Installation) -> None:
    _, pod = _long_task(installed, "drained")
    path = f"{installed.pods_path}/{pod['metadata']['name']}"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod["metadata"]["name"]}}
    installed.node.admin.create(f"{path}/eviction", eviction)
    shown = installed.until_shown("drained", state="SUCCESS")
    assert [attempt["cause"] for attempt in shown["attempts"]] == [Cause.EVICTED_BY_API, Cause.COMPLETED]


def test_container_that_was_killed_is_named_by_its_signal_and_keeps_its_log(installed: Installation) -> None:
    task_id, pod = _long_task(installed, "killed")
    for pid in installed.node.pids_of(pod):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shown = installed.until_shown("killed", state="FAILED")
    assert shown["reason"] == Cause.SIGNAL
    assert "signal 9" in shown["errorMsg"]
    log = installed.log(task_id)
    assert log is not None
    assert f"Running task [{task_id}]".encode() in log


def test_peon_that_was_killed_under_its_keeper_is_run_again_as_often_as_the_policy_says(
    installed: Installation,
) -> None:
    task_id, pod = _long_task(installed, "counted", retry={"limit": 1, "backoffSeconds": 1})
    pids = installed.node.pids_of(pod)
    peons = [pid for pid in pids if psutil.Process(pid).ppid() in pids]  # the keeper forked it
    assert peons
    for pid in peons:
        os.kill(pid, signal.SIGKILL)
    shown = installed.until_shown("counted", state="SUCCESS")
    assert [attempt["cause"] for attempt in shown["attempts"]] == [Cause.SIGNAL, Cause.COMPLETED]
    log = installed.log(task_id)
    assert log is not None
    assert log.count(f"Running task [{task_id}]".encode()) == 2
