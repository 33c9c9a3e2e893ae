"""The status that a DruidTask should show, from what is observed. Pure; `status` has its parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from druid_core.runner import AttemptState, Explanation, PendingReason
from druid_core.status import RunnerStatusCode, StatusCode, TaskStatus
from overlord_operator import names
from overlord_operator.druid_task.resource import DruidTask, data_source_of, read_time
from overlord_operator.druid_task.status import (
    Condition,
    DruidTaskStatus,
    State,
    duration_text,
    time_text,
    with_attempt,
    with_condition,
)
from overlord_operator.druid_task.verdict import REFUSED, is_submitted, stands
from overlord_operator.log.condition import with_log_condition
from overlord_operator.observed import Observed
from overlord_operator.pod.cause import Cause
from overlord_operator.runner.attempts import PEON_PORT, AttemptView, refused_record

_NO_DATA_SOURCE = "none"
"""What a noop that names no datasource has. Druid: NoopTask"""

LINGERING = "StoringLog"
"""The reason of a task that is over, and whose pod does not end: its log cannot be stored."""

LINGER_MS = 10_000
"""After a task's end its peon stores log and report, and ends: mostly within a second."""

_EDITED = "Edited"
"""The reason of a submission whose object was edited since."""

PASSING = ("Submitted", "Submitting", "Queued", "Assigned", "Starting")
"""Reasons that say that nothing is in the way: a moment later there is a better one."""

_PLACES_SHOWN = 10
"""Places in line that are named one by one: beyond, every start of a task would be a write for all that wait."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where the task stands, in the terms of its status."""

    state: State
    code: RunnerStatusCode | None
    reason: str
    message: str


def present(
    observed: Observed, task: DruidTask, views: Sequence[AttemptView], final: TaskStatus | None
) -> DruidTaskStatus:
    """What the object's status should be. The present one where nothing changed."""
    before = task.status
    if stands(observed, task, views, final):
        return _after_its_end(observed, task, views)
    standing = _standing(observed, task, views, final)
    latest = views[-1] if views else None
    attempts = list(before.attempts)
    for view in views:
        if view.reading is not None or view.is_over:
            attempts = with_attempt(attempts, view.record)
    raw_task = task.spec.task or {}
    assignment = observed.memory.assignment
    refusal = observed.memory.refusals.get(assignment.attempt) if assignment is not None else None
    if assignment is not None and refusal is not None and not any(view.attempt == assignment.attempt for view in views):
        attempts = with_attempt(attempts, refused_record(assignment.attempt, refusal))
    known_type = (
        raw_task.get("type")
        or (assignment.type if assignment else None)
        or task.annotations.get(names.ANNOTATION_TASK_TYPE)
    )
    task_id = task.task_id
    base = observed.settings.overlord.rstrip("/")
    url = f"{base}/druid/indexer/v1/task/{quote(task_id, safe='')}"
    is_there = is_submitted(observed, task) and observed.problem is None
    pod_name = latest.record.pod_name if latest is not None else before.pod_name
    is_running = standing.state is State.RUNNING and latest is not None and latest.reading is not None
    ip = latest.reading.pod_ip if is_running and latest is not None and latest.reading is not None else None
    started = next((record.started_at for record in attempts if record.started_at), None)
    shown = DruidTaskStatus(
        # from here on the API server lets nobody edit spec.task: see the rules of the resource's definition
        task_id=task_id if _may_be_submitted(standing) and observed.problem is None else None,
        type=known_type if isinstance(known_type, str) else before.type,
        data_source=_data_source(task) or (assignment.data_source if assignment else None) or before.data_source,
        state=standing.state,
        runner_status_code=standing.code.value if standing.code is not None else None,
        reason=standing.reason,
        message=standing.message,
        conditions=_conditions(observed, task, views, standing, final),
        pod_name=pod_name,
        location=f"{ip}:{PEON_PORT}" if ip is not None else None,
        attempt=latest.attempt if latest is not None else before.attempt,
        attempts=attempts,
        submitted_at=(before.submitted_at or time_text(_submitted_ms(observed, task))) if is_there else None,
        start_time=started,
        log_url=f"{url}/log" if is_there else None,
        report_url=f"{url}/reports" if is_there else None,
        observed_generation=task.generation,
    )
    return _completed(observed, shown, views, final) if standing.state.is_final else shown


def _after_its_end(observed: Observed, task: DruidTask, views: Sequence[AttemptView]) -> DruidTaskStatus:
    """The last status stays as it is, but for what comes later still: an edit, the fate of a log, an attempt's end."""
    before, conditions = task.status, list(task.status.conditions)
    attempts, recorded = list(before.attempts), {record.attempt for record in before.attempts if record.ended_at}
    for view in views:
        if view.attempt not in recorded:
            attempts = with_attempt(attempts, view.record)
    edited = _edited_words(observed, task)
    if edited and is_submitted(observed, task):
        conditions = with_condition(
            conditions, names.CONDITION_SUBMITTED, True, _EDITED, edited, observed.now_ms, task.generation
        )
    conditions = with_log_condition(conditions, observed, views, None)
    return before.model_copy(
        update={"conditions": conditions, "attempts": attempts, "observed_generation": task.generation}
    )


def _may_be_submitted(standing: _Standing) -> bool:
    """Whether the Overlord may have the task: not one that it refused, nor one that is held back."""
    return standing.state is not State.SUSPENDED and standing.reason != REFUSED


def _completed(
    observed: Observed, shown: DruidTaskStatus, views: Sequence[AttemptView], final: TaskStatus | None
) -> DruidTaskStatus:
    before = observed.task.status if observed.task is not None else DruidTaskStatus()
    ended = next((view.record.ended_at for view in reversed(views) if view.record.ended_at), before.end_time)
    end_ms = read_time(ended) or observed.now_ms
    start_ms = read_time(shown.start_time)
    duration_ms = final.duration if final is not None and final.duration >= 0 else None
    if duration_ms is None and start_ms is not None:
        duration_ms = max(0, end_ms - start_ms)
    outcomes = observed.memory.outcomes.values()
    return shown.model_copy(
        update={
            "end_time": time_text(end_ms),
            "duration_ms": duration_ms,
            "duration": duration_text(duration_ms) if duration_ms is not None else None,
            "rows_processed": observed.memory.rows if observed.memory.has_read_report else before.rows_processed,
            "segments_published": max(
                (outcome.segments_published for outcome in outcomes), default=before.segments_published
            ),
            "error_msg": final.error_msg if final is not None else shown.message,
        }
    )


def _standing(observed: Observed, task: DruidTask, views: Sequence[AttemptView], final: TaskStatus | None) -> _Standing:
    memory = observed.memory
    latest = views[-1] if views else None
    if observed.problem is not None:
        return _Standing(State.FAILED, None, REFUSED, observed.problem)
    if final is not None and (latest is None or latest.is_over):
        return _final(final, latest, task.status)
    if latest is not None and not latest.is_over:
        if latest.state is AttemptState.RUNNING and final is not None and lingers(observed):
            words = f"The task is over ({final.status}), and its peon still stores its log and report: see whether "
            return _Standing(State.RUNNING, RunnerStatusCode.RUNNING, LINGERING, f"{words}object storage answers.")
        if latest.state is AttemptState.RUNNING:
            return _Standing(State.RUNNING, RunnerStatusCode.RUNNING, "Running", latest.message)
        reason = latest.cause.value if latest.cause is not None else "Starting"
        return _Standing(State.PENDING, RunnerStatusCode.PENDING, reason, latest.message)
    if not is_submitted(observed, task):
        return _unsubmitted(observed, task)
    if memory.is_unknown and latest is None:
        return _Standing(
            State.FAILED,
            RunnerStatusCode.NONE,
            "Unknown",
            f"The Overlord does not know the task {task.task_id}: submit it again under a new DruidTask.",
        )
    assignment = memory.assignment
    if assignment is not None and assignment.attempt in memory.refusals:
        refusal = memory.refusals[assignment.attempt]
        return _Standing(State.PENDING, RunnerStatusCode.PENDING, refusal.cause.value, refusal.message)
    explanation = memory.explanation
    if latest is not None and (explanation is None or explanation.attempt <= latest.attempt):
        cause = latest.cause.value if latest.cause is not None else "Ended"
        message = f"Attempt {latest.attempt} ended: {latest.message}"
        return _Standing(State.PENDING, RunnerStatusCode.PENDING, cause, message)
    if explanation is not None:
        return _explained(explanation)
    shown, reason = task.status.state, task.status.reason
    if (shown is State.WAITING or shown is State.PENDING) and reason not in (None, REFUSED):
        return _Standing(shown, _code(task.status), reason, task.status.message or "")
    return _Standing(
        State.WAITING,
        RunnerStatusCode.WAITING,
        "Submitted",
        "The Overlord has the task; it waits for its locks and a slot.",
    )


def _code(status: DruidTaskStatus) -> RunnerStatusCode:
    return RunnerStatusCode.WAITING if status.state is State.WAITING else RunnerStatusCode.PENDING


def lingers(observed: Observed) -> bool:
    """Whether the peon takes longer than usual to end after its last word."""
    since_ms = observed.memory.outcome_ms
    if observed.settings.task_logs is None:
        return False
    return since_ms is not None and observed.now_ms >= since_ms + LINGER_MS


def _final(final: TaskStatus, latest: AttemptView | None, before: DruidTaskStatus) -> _Standing:
    if final.status is StatusCode.SUCCESS:
        return _Standing(State.SUCCESS, RunnerStatusCode.NONE, "Success", "The task is done.")
    cause = latest.cause if latest is not None else None
    reason = "Failed" if cause is None or cause is Cause.COMPLETED else cause.value
    if latest is None and before.state is not None and before.state.is_final and before.attempts:
        recorded = before.attempts[-1].cause
        reason = recorded if recorded not in (None, Cause.COMPLETED.value) else reason
    message = final.error_msg or (latest.message if latest is not None else "The Overlord gave no reason.")
    return _Standing(State.FAILED, RunnerStatusCode.NONE, reason, message)


def _unsubmitted(observed: Observed, task: DruidTask) -> _Standing:
    submission = observed.memory.submission
    if submission is not None and submission.refusal is not None:
        return _Standing(State.FAILED, None, REFUSED, submission.refusal)
    if task.spec.suspend:
        return _Standing(
            State.SUSPENDED, None, "Suspended", "spec.suspend holds the task back: set it to false to submit it."
        )
    if submission is not None and submission.again_ms is not None:
        reason = "QueueFull" if submission.is_full else "OverlordAway"
        return _Standing(
            State.WAITING, None, reason, f"{submission.message} The task is submitted as soon as it can be."
        )
    return _Standing(State.WAITING, None, "Submitting", "The task is being submitted.")


def _explained(explanation: Explanation) -> _Standing:
    # the Overlord's own word: one that is queued may have its locks already, or wait for them
    is_waiting = explanation.runner_status_code is RunnerStatusCode.WAITING
    state, code = (State.WAITING, RunnerStatusCode.WAITING) if is_waiting else (State.PENDING, RunnerStatusCode.PENDING)
    if explanation.reason is PendingReason.NO_SLOT:
        message = f"The task waits for a free slot: {place_words(explanation.place)}."
    else:
        message = explanation.message
    words = "".join(part.capitalize() for part in explanation.reason.value.split("_"))
    return _Standing(state, code, words, message)


def place_words(place: int | None) -> str:
    """A place in line, told so coarsely that it seldom changes."""
    if place is None:
        return "all slots are taken"
    if place <= _PLACES_SHOWN:
        return "it is the next in line" if place == 1 else f"it is number {place} in line"
    bound = _PLACES_SHOWN
    while bound * 10 < place:
        bound *= 10
    return f"more than {bound} are before it"


def _conditions(
    observed: Observed,
    task: DruidTask,
    views: Sequence[AttemptView],
    standing: _Standing,
    final: TaskStatus | None,
) -> list[Condition]:
    conditions = list(task.status.conditions)
    now_ms, generation = observed.now_ms, task.generation

    def say(kind: str, status: bool, reason: str, message: str = "") -> None:
        nonlocal conditions
        conditions = with_condition(conditions, kind, status, reason, message, now_ms, generation)

    latest = views[-1] if views else None
    if not is_submitted(observed, task) or observed.problem is not None:
        say(names.CONDITION_SUBMITTED, False, standing.reason, standing.message)
        if standing.state.is_final:
            say(names.CONDITION_COMPLETE, True, standing.reason, standing.message)
        return conditions
    edited = _edited_words(observed, task)
    say(names.CONDITION_SUBMITTED, True, _EDITED if edited else "Accepted", edited)
    if latest is None and standing.state is State.WAITING:
        if standing.reason == "LockHeld":
            say(names.CONDITION_LOCKS_ACQUIRED, False, standing.reason, standing.message)
    elif latest is not None or standing.state is State.PENDING:
        say(names.CONDITION_LOCKS_ACQUIRED, True, "Granted")
    if latest is not None and latest.reading is not None:
        if latest.is_over and not latest.reading.scheduled:
            pass  # what it waited for stands there already
        elif latest.reading.scheduled:
            say(names.CONDITION_POD_SCHEDULED, True, "Scheduled", f"Node {latest.record.node}")
        else:
            reason = latest.cause.value if latest.cause is not None else "Scheduling"
            say(names.CONDITION_POD_SCHEDULED, False, reason, latest.message)
        is_running = latest.state is AttemptState.RUNNING
        reason = "Running" if is_running else latest.cause.value if latest.cause is not None else "Starting"
        say(names.CONDITION_RUNNING, is_running, reason, "" if is_running else latest.message)
    elif standing.state is State.PENDING:
        say(names.CONDITION_POD_SCHEDULED, False, standing.reason, standing.message)
    if standing.state.is_final:
        say(names.CONDITION_COMPLETE, True, standing.reason, standing.message)
    elif any(known.type == names.CONDITION_COMPLETE for known in conditions):
        conditions = [known for known in conditions if known.type != names.CONDITION_COMPLETE]
    return with_log_condition(conditions, observed, views, standing.message if standing.reason == LINGERING else None)


def _edited_words(observed: Observed, task: DruidTask) -> str:
    submitted = task.annotations.get(names.ANNOTATION_SPEC_HASH)
    if submitted is None or not observed.task_hash or submitted == observed.task_hash:
        return ""
    return "spec.task was edited after it was submitted, which has no effect: make a new DruidTask instead."


def _submitted_ms(observed: Observed, task: DruidTask) -> int:
    return observed.now_ms if task.is_applied else task.created_ms


def _data_source(task: DruidTask) -> str | None:
    if task.spec.task is not None:
        return data_source_of(task.spec.task) or (_NO_DATA_SOURCE if task.spec.task.get("type") == "noop" else None)
    return task.annotations.get(names.ANNOTATION_TASK_DATA_SOURCE)
