"""
The attempts of a task as the Overlord is to hear of them, from pods, refusals and the object's history. Pure.

What the history holds as ended stays ended that way: a pod that is removed because it did not start is not "deleted".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from druid_core.runner import AttemptReport, AttemptState
from druid_core.status import StatusCode, TaskLocation, TaskStatus
from overlord_operator import retry
from overlord_operator.druid_task.resource import DruidTask, RetrySpec
from overlord_operator.druid_task.status import AttemptRecord, DruidTaskStatus, time_text, with_attempt
from overlord_operator.observed import Observed, ObservedPod, Refusal
from overlord_operator.pod.cause import Cause, may_pass
from overlord_operator.pod.phase import PodPhase, PodReading, overdue, overdue_words, vanished

PEON_PORT = 8100
"""On which every peon in a pod serves its chat. Druid: druid.plaintextPort"""


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt: what is to be said of it."""

    attempt: int
    task_id: str
    state: AttemptState
    cause: Cause | None
    message: str
    reading: PodReading | None
    pod: ObservedPod | None
    report: AttemptReport
    record: AttemptRecord
    """For the object's history."""
    is_given_up: bool = False
    """Whether it is over for us, while its pod still waits to start."""

    @property
    def is_over(self) -> bool:
        return self.state is AttemptState.ENDED

    @property
    def has_run(self) -> bool:
        """Whether its peon ever started."""
        return self.record.started_at is not None


def attempts_of(observed: Observed, task_id: str) -> list[AttemptView]:
    """All attempts of which there is something to say, in their order."""
    status = observed.task.status if observed.task is not None else DruidTaskStatus()
    known = {record.attempt: record for record in status.attempts}
    views: dict[int, AttemptView] = {}
    for pod in observed.pods:
        views[pod.attempt] = _of_pod(observed, task_id, pod, known.get(pod.attempt), views.values())
    for attempt, refusal in observed.memory.refusals.items():
        if attempt not in views and is_hopeless(observed, refusal):
            views[attempt] = _of_refusal(observed, task_id, attempt, refusal, known.get(attempt))
    lost = _lost(observed, status)
    if lost is not None and lost.attempt not in views:
        reading = vanished(lost.pod_name or "", lost.attempt, observed.now_ms)
        views[lost.attempt] = _view(
            observed, task_id, lost.attempt, AttemptState.ENDED, reading.cause, reading.message, reading, None, lost
        )
    return [views[attempt] for attempt in sorted(views)]


def refused_record(attempt: int, refusal: Refusal) -> AttemptRecord:
    """What the history says of an attempt whose pod is not let in yet."""
    return AttemptRecord(attempt=attempt, refused_at=time_text(refusal.first_ms))


def refused_report(observed: Observed, task_id: str, attempt: int, refusal: Refusal) -> AttemptReport:
    """What the Overlord is to hear of it."""
    return AttemptReport(
        runner_id=observed.settings.release,
        task_id=task_id,
        attempt=attempt,
        state=AttemptState.STARTING,
        waiting_for=refusal.message,
    )


def history_of(task: DruidTask | None, views: Iterable[AttemptView]) -> list[AttemptRecord]:
    """All attempts that are known to have ended: those that the object tells of, and those that it will."""
    known = list(task.status.attempts) if task is not None else []
    for view in views:
        known = with_attempt(known, view.record)
    return [record for record in known if record.ended_at is not None]


def is_hopeless(observed: Observed, refusal: Refusal) -> bool:
    """Whether there is no point in trying to make this pod again."""
    return not may_pass(refusal.cause) or observed.now_ms >= refusal.first_ms + launch_timeout_ms(observed)


def launch_timeout_ms(observed: Observed) -> int:
    wanted = observed.task.spec.launch_timeout_seconds if observed.task is not None else None
    return 1000 * (observed.settings.launch_timeout_seconds if wanted is None else wanted)


def _of_pod(
    observed: Observed, task_id: str, pod: ObservedPod, record: AttemptRecord | None, earlier: Iterable[AttemptView]
) -> AttemptView:
    reading = pod.reading
    cause, message, given_up = reading.cause, reading.message, False
    match reading.phase:
        case PodPhase.RUNNING:
            state = AttemptState.RUNNING
        case PodPhase.ENDED:
            state = AttemptState.ENDED
        case PodPhase.PENDING:
            state = AttemptState.STARTING
            timeout_ms = launch_timeout_ms(observed)
            if overdue(reading, timeout_ms, observed.now_ms):
                state, given_up = AttemptState.ENDED, True
                cause, message = overdue_words(reading, timeout_ms)
            elif cause is not None and not may_pass(cause):
                state, given_up = AttemptState.ENDED, True
    if state is AttemptState.ENDED and cause is not Cause.COMPLETED and pod.attempt in observed.memory.stops:
        cause = Cause.DELETED  # whatever it died of then, that is why
        message = "The Overlord had it ended: the task was shut down, or another attempt took its place."
    if record is not None and record.ended_at is not None and _has_ended(observed, pod, state):
        state, given_up = AttemptState.ENDED, reading.phase is not PodPhase.ENDED
        cause = _cause(record.cause) or cause
        message = record.message or message
    return _view(observed, task_id, pod.attempt, state, cause, message, reading, pod, record, given_up, earlier)


def _has_ended(observed: Observed, pod: ObservedPod, state: AttemptState) -> bool:
    """
    Whether the end that the history tells of may be true. A pod that nobody deleted, of an attempt that the Overlord
    has not settled, goes on if it can: it started at the last moment, or somebody else wrote that history.
    """
    if state is AttemptState.ENDED or pod.reading.is_deleting:
        return True
    memory = observed.memory
    return any(pod.attempt in settled for settled in (memory.forgotten, memory.outcomes, memory.stops))


def _of_refusal(
    observed: Observed, task_id: str, attempt: int, refusal: Refusal, record: AttemptRecord | None
) -> AttemptView:
    return _view(observed, task_id, attempt, AttemptState.ENDED, refusal.cause, refusal.message, None, None, record)


def _lost(observed: Observed, status: DruidTaskStatus) -> AttemptRecord | None:
    """The attempt of which the history says that it has a pod, and there is none."""
    last = status.attempts[-1] if status.attempts else None
    if last is None or last.ended_at is not None or last.pod_name is None:
        return None
    is_there = any(pod.attempt == last.attempt for pod in observed.pods)
    assignment = observed.memory.assignment
    is_to_start = assignment is not None and assignment.attempt == last.attempt
    return None if is_there or is_to_start else last


def _view(
    observed: Observed,
    task_id: str,
    attempt: int,
    state: AttemptState,
    cause: Cause | None,
    message: str,
    reading: PodReading | None,
    pod: ObservedPod | None,
    record: AttemptRecord | None,
    given_up: bool = False,
    earlier: Iterable[AttemptView] = (),
) -> AttemptView:
    is_over = state is AttemptState.ENDED
    started_ms = reading.started_ms if reading is not None else None
    ended_ms = (reading.finished_ms if reading is not None else None) or observed.now_ms
    known = record or AttemptRecord(attempt=attempt)
    after = AttemptRecord(
        attempt=attempt,
        pod_name=reading.pod_name if reading is not None else known.pod_name,
        node=(reading.node if reading is not None else None) or known.node,
        cause=cause.value if is_over and cause is not None else None,
        message=message if is_over else None,
        refused_at=known.refused_at,
        started_at=time_text(started_ms) if started_ms is not None else known.started_at,
        ended_at=(known.ended_at or time_text(ended_ms)) if is_over else None,
        exit_code=(reading.exit_code if reading is not None else None) if is_over else None,
    )
    report = _report(observed, task_id, attempt, state, cause, message, reading, pod, earlier)
    return AttemptView(attempt, task_id, state, cause, message, reading, pod, report, after, given_up)


def _report(
    observed: Observed,
    task_id: str,
    attempt: int,
    state: AttemptState,
    cause: Cause | None,
    message: str,
    reading: PodReading | None,
    pod: ObservedPod | None,
    earlier: Iterable[AttemptView],
) -> AttemptReport:
    base: dict[str, Any] = {
        "runner_id": observed.settings.release,
        "task_id": task_id,
        "attempt": attempt,
        "state": state,
    }
    if state is AttemptState.STARTING:
        return AttemptReport(**base, waiting_for=message if cause is not None else None)
    if state is AttemptState.RUNNING:
        location = None
        if reading is not None and reading.pod_ip is not None:
            location = TaskLocation(host=reading.pod_ip, port=PEON_PORT, k8s_pod_name=reading.pod_name)
        return AttemptReport(**base, location=location)
    status = _own_word(task_id, reading.last_words if reading is not None else None)
    spec = observed.task.spec.retry if observed.task is not None else RetrySpec()
    history = history_of(observed.task, earlier)
    is_wanted = observed.task is not None and observed.task.deleted_ms is None
    retry_after_ms = None
    if status is None and cause is not None and is_wanted and attempt not in observed.memory.stops:
        limit = pod.memory_limit if pod is not None else None
        retry_after_ms = retry.retry_after_ms(cause, attempt, history, limit, spec, observed.settings)
    return AttemptReport(
        **base,
        status=status,
        reason=message,
        cause=cause.value if cause is not None else None,
        retry_after_ms=retry_after_ms,
    )


def _own_word(task_id: str, last_words: Mapping[str, Any] | None) -> TaskStatus | None:
    """What the peon wrote into its status file, as its keeper read it."""
    if last_words is None or last_words.get("taskId") != task_id:
        return None
    match last_words.get("status"):
        case StatusCode.SUCCESS.value:
            return TaskStatus.success(task_id)
        case StatusCode.FAILED.value:
            return TaskStatus.failure(task_id, str(last_words.get("errorMsg") or "The peon gave no reason"))
        case _:
            return None


def _cause(text: str | None) -> Cause | None:
    try:
        return Cause(text) if text else None
    except ValueError:  # written by a later version
        return None
