"""What is decided about one task, state by state: a sentence, what is observed, the steps."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from druid_core.instant import format_instant
from druid_core.runner import Assignment, Explanation, PendingReason, TaskOutcome
from druid_core.status import RunnerStatusCode, TaskStatus
from overlord_operator import names
from overlord_operator.decide import decide
from overlord_operator.druid_task.present import place_words
from overlord_operator.druid_task.resource import DruidTask
from overlord_operator.mirror import Ref
from overlord_operator.observed import Memory, Observed, ObservedPod, Refusal, Submission
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.phase import read_pod
from overlord_operator.settings import OperatorSettings
from overlord_operator.steps import LookAgain, Step, WriteStatus
from tests.support.pods import CREATED, NOW_MS, raw_pod

REF = Ref("tasks", "mine")
SETTINGS = OperatorSettings(
    overlord="http://o:8090", namespace="tasks", task_logs="s3://logs", launch_timeout_seconds=100_000
)
RUNNING = {"running": {"startedAt": CREATED}}
ENDED = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": CREATED, "finishedAt": CREATED}}
NOW = format_instant(NOW_MS)[:-5] + "Z"
SUBMITTED = {"type": "Submitted", "status": "True", "reason": "Accepted", "lastTransitionTime": CREATED}
RECORD = {"attempt": 1, "podName": "p", "startedAt": CREATED, "endedAt": CREATED, "cause": "Completed"}
DONE = {
    "state": "SUCCESS",
    "reason": "Success",
    "endTime": NOW,
    "observedGeneration": 1,
    "conditions": [SUBMITTED],
    "attempts": [RECORD],
}
ASSIGNMENT = Assignment(task_id="one", attempt=1, type="noop", data_source="web", group_id="one", token="t")
SUCCESS = TaskOutcome(task_id="one", attempt=1, status=TaskStatus.success("one", 1))


def task(
    *,
    rest: bool = True,
    held: bool = True,
    noted: bool = True,
    deleted: bool = False,
    status: Mapping[str, Any] | None = None,
    generation: int = 1,
    **spec: Any,
) -> DruidTask:
    metadata: dict[str, Any] = {
        "namespace": "tasks",
        "name": "mine",
        "uid": "u1",
        "resourceVersion": "5",
        "generation": generation,
        "creationTimestamp": CREATED,
        "finalizers": [names.LOG_FINALIZER] if held else [],
        "annotations": {names.ANNOTATION_SPEC_HASH: "hash"} if noted and not rest else {},
    }
    if deleted:
        metadata["deletionTimestamp"] = NOW
    given = {"taskId": "one"} if rest else {"task": {"type": "noop", "id": "one"}}
    return DruidTask.parse({"metadata": metadata, "spec": {**given, **spec}, "status": dict(status or {})})


def pod(main: Mapping[str, Any] | None = None, *, held: bool = True, owned: bool = True, **raw: Any) -> ObservedPod:
    reading = read_pod(raw_pod(main=dict(main) if main is not None else None, **raw), NOW_MS)
    return ObservedPod("p", "pu", 1, held, owned, "one", "noop", "web", "2Gi", reading)


def observed(given: DruidTask | None, *pods: ObservedPod, **memory: Any) -> Observed:
    return Observed(
        ref=REF,
        task=given,
        problem=None,
        task_hash="hash",
        twin=None,
        is_confirmed=given is not None and given.status.state in ("SUCCESS", "FAILED"),
        pods=pods,
        memory=Memory(**memory),
        execution=None,
        settings=SETTINGS,
        now_ms=NOW_MS,
    )


def steps_of(seen: Observed) -> list[str]:
    return [type(step).__name__ for step in decide(seen) if not isinstance(step, LookAgain)]


ACCEPTED = Submission(1, is_accepted=True)
DUE = NOW_MS - 1

TABLE: list[tuple[str, Observed, list[str]]] = [
    ("nothing is known of it", observed(None), []),
    ("an assignment without an object makes one", observed(None, assignment=ASSIGNMENT), ["CreateTask"]),
    ("one that is to stop makes none", observed(None, assignment=ASSIGNMENT, stops={1}), []),
    ("an object with an assignment gets its pod", observed(task(), assignment=ASSIGNMENT), ["StartPeon"]),
    (
        "one whose task is finished gets none",
        observed(task(), assignment=ASSIGNMENT, outcomes={1: SUCCESS}),
        ["WriteStatus"],
    ),
    (
        "an assignment of an attempt that is history is old",
        observed(task(status={"state": "PENDING", "attempts": [RECORD]}), assignment=ASSIGNMENT),
        ["WriteStatus"],
    ),
    ("an applied object is taken up first", observed(task(rest=False, held=False, noted=False)), ["TakeUp"]),
    ("one that was edited before its submission is noted anew", observed(task(rest=False, noted=False)), ["TakeUp"]),
    ("then it is submitted", observed(task(rest=False)), ["Submit"]),
    ("a suspended one is not, and shows it", observed(task(rest=False, held=False, suspend=True)), ["WriteStatus"]),
    (
        "a submission that failed waits for its time",
        observed(task(rest=False), submission=Submission(1, message="away", again_ms=NOW_MS + 5)),
        ["WriteStatus"],
    ),
    (
        "and is tried again then",
        observed(task(rest=False), submission=Submission(1, message="away", again_ms=DUE)),
        ["Submit"],
    ),
    ("a refusal is shown", observed(task(rest=False), submission=Submission(1, refusal="no")), ["WriteStatus"]),
    (
        "and stands, after a restart too",
        observed(
            task(rest=False, held=False, status={"state": "FAILED", "reason": "Refused", "observedGeneration": 1})
        ),
        [],
    ),
    (
        "its object is not kept",
        observed(task(rest=False, status={"state": "FAILED", "reason": "Refused", "observedGeneration": 1})),
        ["ReleaseTask"],
    ),
    (
        "until the object is edited",
        observed(
            task(rest=False, generation=2, status={"state": "FAILED", "reason": "Refused", "observedGeneration": 1})
        ),
        ["Submit"],
    ),
    ("an accepted task shows that it waits", observed(task(rest=False), submission=ACCEPTED), ["WriteStatus"]),
    (
        "a pod that starts is reported and shown",
        observed(task(), pod(phase="Pending", node=None)),
        ["Report", "WriteStatus"],
    ),
    ("one that runs too", observed(task(), pod(RUNNING)), ["Report", "WriteStatus"]),
    (
        "one that ended too, and its log is saved",
        observed(task(), pod(ENDED, phase="Succeeded")),
        ["Report", "SaveLog", "WriteStatus"],
    ),
    (
        "a log is saved once at a time",
        observed(task(), pod(ENDED, phase="Succeeded"), saving_logs={1}),
        ["Report", "WriteStatus"],
    ),
    (
        "its rows are looked up before the last status",
        observed(task(), pod(ENDED, phase="Succeeded"), safe_logs={1}, outcomes={1: SUCCESS}),
        ["ReadReport"],
    ),
    (
        "then that is written",
        observed(task(), pod(ENDED, phase="Succeeded"), safe_logs={1}, outcomes={1: SUCCESS}, has_read_report=True),
        ["WriteStatus"],
    ),
    (
        "and with it written the pod may go",
        observed(task(status=DONE), pod(ENDED, phase="Succeeded"), safe_logs={1}, forgotten={1}),
        ["ReleasePod"],
    ),
    (
        "but not without its log",
        observed(task(status=DONE), pod(ENDED, phase="Succeeded"), forgotten={1}, saving_logs={1}),
        [],
    ),
    (
        "and not without the Overlord's leave",
        observed(task(status=DONE), pod(ENDED, phase="Succeeded"), safe_logs={1}),
        ["Report"],
    ),
    ("a stop ends the pod", observed(task(), pod(RUNNING), stops={1}), ["Report", "DeletePod", "WriteStatus"]),
    ("once", observed(task(), pod(RUNNING, deleted=NOW), stops={1}), ["Report", "WriteStatus"]),
    (
        "a pod that is given up is deleted only when the history says why",
        replace(
            observed(task(), pod(phase="Pending", node=None)),
            settings=SETTINGS.model_copy(update={"launch_timeout_seconds": 1}),
        ),
        ["Report", "WriteStatus"],
    ),
    (
        "a finished pod is removed after its time",
        observed(task(status=DONE), pod(ENDED, held=False, phase="Succeeded")),
        ["DeletePod"],
    ),
    (
        "with it goes our hold on the object",
        observed(task(status=DONE), pod(ENDED, held=False, deleted=NOW, phase="Succeeded")),
        ["ReleaseTask"],
    ),
    (
        "not while a pod still has something to say",
        observed(task(status=DONE), pod(ENDED, deleted=NOW, phase="Succeeded"), saving_logs={1}, forgotten={1}),
        [],
    ),
    ("nor while the task is not over", observed(task(status={"state": "RUNNING"})), ["WriteStatus"]),
    ("once", observed(task(held=False, status=DONE)), []),
    (
        "one that could not be made is tried again when it is time",
        observed(task(), assignment=ASSIGNMENT, refusals={1: Refusal(Cause.QUOTA, "full", NOW_MS - 9, DUE)}),
        ["StartPeon"],
    ),
    (
        "and not before: meanwhile the Overlord hears why",
        observed(task(), assignment=ASSIGNMENT, refusals={1: Refusal(Cause.QUOTA, "full", NOW_MS - 9, NOW_MS + 9)}),
        ["Report", "WriteStatus"],
    ),
    (
        "which it does not need of one that is to stop",
        observed(
            task(),
            assignment=ASSIGNMENT,
            stops={1},
            refusals={1: Refusal(Cause.QUOTA, "full", NOW_MS - 9, NOW_MS + 9)},
        ),
        ["WriteStatus"],
    ),
    (
        "one that never can be made ends the attempt",
        observed(task(), assignment=ASSIGNMENT, refusals={1: Refusal(Cause.INVALID_POD, "bad", NOW_MS, NOW_MS)}),
        ["Report", "SaveLog", "WriteStatus"],
    ),
    (
        "a deleted object ends its task first",
        observed(task(deleted=True), pod(RUNNING), shut_down_again_ms=0),
        ["ShutDown", "Report", "WriteStatus"],
    ),
    (
        "then its pod",
        observed(task(deleted=True), pod(RUNNING), shut_down=True),
        ["DeletePod", "Report", "WriteStatus"],
    ),
    ("then it goes", observed(task(deleted=True), shut_down=True), ["ReleaseTask"]),
    (
        "one that was never submitted goes at once",
        observed(task(rest=False, noted=False, deleted=True)),
        ["ReleaseTask"],
    ),
    (
        "one that may have been submitted is shut down",
        observed(task(rest=False, deleted=True)),
        ["ShutDown", "WriteStatus"],
    ),
    ("a finished one goes at once", observed(task(deleted=True, status=DONE)), ["ReleaseTask"]),
    ("one that we do not hold is none of ours", observed(task(held=False, deleted=True)), []),
    ("an orphan's pod is let go", observed(task(deleted=True, deletionPolicy="Orphan"), pod(RUNNING)), ["DisownPod"]),
    (
        "then its object",
        observed(task(deleted=True, deletionPolicy="Orphan"), pod(RUNNING, owned=False)),
        ["ReleaseTask"],
    ),
    ("and the pod gets a new one", observed(None, pod(RUNNING, owned=False)), ["CreateTask"]),
    (
        "a pod whose owner was taken away by force has its task ended",
        observed(None, pod(RUNNING)),
        ["ShutDownOrphan", "Report"],
    ),
    ("then its pod", observed(None, pod(RUNNING), shut_down=True), ["DeletePod", "Report"]),
    ("once", observed(None, pod(RUNNING, deleted=NOW), shut_down=True), ["Report"]),
    (
        "one that came to its end by itself needs no more than that",
        observed(None, pod(ENDED, phase="Succeeded")),
        ["Report", "SaveLog"],
    ),
    (
        "unless another attempt is ordered: no object is made for that",
        observed(None, pod(ENDED, phase="Succeeded"), assignment=ASSIGNMENT),
        ["ShutDownOrphan", "Report", "SaveLog"],
    ),
    (
        "a last status that nobody bore out gives way to a pod that runs",
        replace(observed(task(status=DONE), pod(RUNNING)), is_confirmed=False),
        ["Report", "WriteStatus"],
    ),
    (
        "even one that was borne out",
        observed(task(status=DONE), pod(RUNNING)),
        ["Report", "WriteStatus"],
    ),
    (
        "and waits, unchanged, for the Overlord's word where there is no pod",
        replace(observed(task(status={**DONE, "endTime": CREATED}, ttlSecondsAfterFinished=60)), is_confirmed=False),
        [],
    ),
    (
        "one that is deleted then is shut down, in case it goes on",
        replace(observed(task(deleted=True, status=DONE)), is_confirmed=False),
        ["ShutDown"],
    ),
    (
        "a deadline that was lowered is lowered for the pod",
        observed(task(activeDeadlineSeconds=60), pod(RUNNING)),
        ["Report", "ShortenPod", "WriteStatus"],
    ),
    (
        "one that was raised is not, for Kubernetes forbids it",
        observed(task(activeDeadlineSeconds=7200), pod(RUNNING)),
        ["Report", "WriteStatus"],
    ),
    (
        "a finished object goes after its time",
        observed(task(status={**DONE, "endTime": CREATED}, ttlSecondsAfterFinished=60)),
        ["DeleteTask"],
    ),
    ("and not before", observed(task(held=False, status=DONE, ttlSecondsAfterFinished=60)), []),
    (
        "nor while its log is not safe",
        observed(
            task(status={**DONE, "endTime": CREATED}, ttlSecondsAfterFinished=60),
            pod(ENDED, phase="Succeeded"),
            saving_logs={1},
            forgotten={1},
        ),
        [],
    ),
]


@pytest.mark.parametrize(("seen", "steps"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_is_observed_decides_the_steps(seen: Observed, steps: list[str]):
    assert steps_of(seen) == steps


@pytest.mark.parametrize("seen", [row[1] for row in TABLE], ids=[row[0] for row in TABLE])
def test_deciding_changes_nothing_and_says_the_same_again(seen: Observed):
    first = decide(seen)
    assert decide(seen) == first


def test_a_status_that_is_shown_already_is_not_written():
    seen = observed(task(), pod(RUNNING))
    shown = next(step.status for step in decide(seen) if isinstance(step, WriteStatus))
    again = replace(seen, task=task(status=shown.to_raw()), now_ms=NOW_MS + 60_000)
    assert not any(isinstance(step, WriteStatus) for step in decide(again))


def test_a_new_wording_alone_is_not_urgent():
    seen = observed(task(), pod(RUNNING))
    shown = next(step.status for step in decide(seen) if isinstance(step, WriteStatus))
    old = shown.model_copy(update={"message": "other words"})
    again = replace(seen, task=task(status=old.to_raw()))
    assert [step.is_urgent for step in decide(again) if isinstance(step, WriteStatus)] == [False]


def test_of_several_times_to_look_again_the_first_is_kept():
    looks: list[Step] = [
        step for step in decide(observed(task(), pod(phase="Pending", node=None))) if isinstance(step, LookAgain)
    ]
    assert len(looks) <= 1


@pytest.mark.parametrize(
    ("reason", "code", "shown"),
    [
        (PendingReason.QUEUED, RunnerStatusCode.WAITING, ("WAITING", "WAITING", "Queued")),
        (PendingReason.QUEUED, RunnerStatusCode.PENDING, ("PENDING", "PENDING", "Queued")),
        (PendingReason.LOCK_HELD, RunnerStatusCode.WAITING, ("WAITING", "WAITING", "LockHeld")),
        (PendingReason.NO_RUNNER, RunnerStatusCode.PENDING, ("PENDING", "PENDING", "NoRunner")),
        # its pod is not in sight here: it does not run as far as this status goes
        (PendingReason.RUNNING, RunnerStatusCode.RUNNING, ("PENDING", "PENDING", "Running")),
    ],
)
def test_a_task_without_a_pod_stands_where_the_overlord_says(
    reason: PendingReason, code: RunnerStatusCode, shown: tuple[str, str, str]
):
    explanation = Explanation(
        task_id="one",
        status=TaskStatus.running("one"),
        runner_status_code=code,
        reason=reason,
        message="It is so.",
        attempt=1,
    )
    steps = decide(observed(task(), explanation=explanation))
    status = next(step.status for step in steps if isinstance(step, WriteStatus))
    assert (status.state, status.runner_status_code, status.reason) == shown
    locks = status.condition(names.CONDITION_LOCKS_ACQUIRED)
    assert (locks.status if locks is not None else None) == (
        "True" if shown[0] == "PENDING" else "False" if reason is PendingReason.LOCK_HELD else None
    )


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (1, "it is the next in line"),
        (2, "it is number 2 in line"),
        (10, "it is number 10 in line"),
        (11, "more than 10 are before it"),
        (100, "more than 10 are before it"),
        (101, "more than 100 are before it"),
        (50_000, "more than 10000 are before it"),
        (None, "all slots are taken"),
    ],
)
def test_a_place_in_line_is_told_coarsely(place: int | None, words: str):
    assert place_words(place) == words
