"""
What to do next about one task. Pure: all that is seen in, steps out; the same again gives the same again.

Order matters within a pass: what changes what can be seen (a submission, a pod) comes before the status, so that one
pass writes it once.
"""

from collections.abc import Sequence

from druid_core.runner import AttemptState
from druid_core.status import TaskStatus
from overlord_operator import names, retry
from overlord_operator.druid_task.present import LINGER_MS, PASSING, present
from overlord_operator.druid_task.resource import DeletionPolicy, DruidTask, read_time
from overlord_operator.druid_task.status import DruidTaskStatus, State, status_patch
from overlord_operator.druid_task.verdict import is_doubtful_refusal, is_refused, is_submitted, outcome_of
from overlord_operator.observed import Observed, ObservedPod
from overlord_operator.pod.phase import launch_deadline_ms
from overlord_operator.runner.attempts import (
    AttemptView,
    attempts_of,
    history_of,
    is_hopeless,
    launch_timeout_ms,
    refused_report,
)
from overlord_operator.steps import (
    CreateTask,
    DeletePod,
    DeleteTask,
    DisownPod,
    LookAgain,
    ReadPodEvents,
    ReadReport,
    ReleasePod,
    ReleaseTask,
    Report,
    SaveLog,
    ShortenPod,
    ShutDown,
    ShutDownOrphan,
    StartPeon,
    Step,
    Submit,
    TakeUp,
    WriteStatus,
)

EVENTS_AGAIN_MS = 10_000
"""Between two looks at the Events of a pod that does not start."""

PASSING_MS = 2_000
"""
How long a status may wait that says no more than that the task goes its way: most peons run by then, and a write is
saved. Of many such tasks only a few a second are told of.
"""


SETTLE_MS = 3_000
"""How long the end of a pod may wait to be shown together with what the Overlord makes of it: mostly an instant."""


def decide(observed: Observed) -> list[Step]:
    """The steps to take now; none where nothing is to be done until something happens."""
    task = observed.task
    if task is None:
        return _without_object(observed)
    if task.deleted_ms is not None:
        return _deleted(observed, task)
    task_id = task.task_id
    views = attempts_of(observed, task_id)
    final = outcome_of(observed)
    begin = _begin(observed, task, views, final)
    if begin:
        return begin
    steps = _attend(observed, views, task.status)
    steps += _shorten(observed, task, views)
    if _is_over(views, final) and _wants_report(observed, task, views):
        steps.append(ReadReport(task_id))
    else:
        steps += _show(observed, task, views, final)
    steps += _tidy(observed)
    steps += _expire(observed, task)
    if not any(isinstance(step, WriteStatus | DeletePod | DeleteTask) for step in steps):
        steps += _let_go(observed, task)
    return _with_one_look(steps)


def waits_for_overlord(observed: Observed) -> bool:
    """Whether only the Overlord knows how the task stands: it has it, and there is no pod that would tell."""
    task = observed.task
    if task is None or observed.problem is not None or outcome_of(observed) is not None:
        return False
    if not is_submitted(observed, task) or (task.status.state is not None and task.status.state.is_final):
        return False
    return not any(pod.is_held for pod in observed.pods)


def _begin(observed: Observed, task: DruidTask, views: Sequence[AttemptView], final: TaskStatus | None) -> list[Step]:
    """What makes something new of which the status will have to tell."""
    memory = observed.memory
    if observed.problem is not None:
        return []
    if not is_submitted(observed, task):
        if task.spec.suspend or (is_refused(observed, task) and not is_doubtful_refusal(observed, task)):
            return []
        is_noted = task.annotations.get(names.ANNOTATION_SPEC_HASH) == observed.task_hash
        if not is_noted or names.LOG_FINALIZER not in task.finalizers:
            return [TakeUp(task.task_id, observed.task_hash)]
        submission = memory.submission
        is_due = submission is None or (submission.again_ms is not None and submission.again_ms <= observed.now_ms)
        is_edited = (
            submission is not None and submission.refusal is not None and submission.generation != task.generation
        )
        return [Submit(task.task_id)] if is_due or is_edited else []
    assignment = memory.assignment
    if assignment is None or final is not None or assignment.attempt in memory.stops:
        return []
    if any(view.attempt >= assignment.attempt for view in views):
        return []
    if any(record.attempt >= assignment.attempt and record.ended_at for record in task.status.attempts):
        return []
    refusal = memory.refusals.get(assignment.attempt)
    if refusal is not None and (is_hopeless(observed, refusal) or refusal.again_ms > observed.now_ms):
        return []
    return [StartPeon(assignment, retry.oom_kills(history_of(task, views), assignment.attempt))]


def _attend(observed: Observed, views: Sequence[AttemptView], status: DruidTaskStatus | None) -> list[Step]:
    """What the attempts need: to be reported, told to end, their logs saved, let go."""
    memory, now_ms = observed.memory, observed.now_ms
    steps: list[Step] = []
    recorded = {record.attempt for record in status.attempts if record.ended_at} if status is not None else set[int]()
    for view in views:
        pod = view.pod
        is_open = pod is None or pod.is_held
        if is_open and not memory.has_told(view.report) and not _is_settled(observed, view.attempt):
            steps.append(Report(view.report))
        if pod is None or not pod.is_held:
            if pod is None and view.is_over and not _is_settled(observed, view.attempt):
                steps += _save_log(observed, view)
            continue
        reading = pod.reading
        if view.attempt in memory.stops and not reading.is_deleting and not view.is_over:
            steps.append(DeletePod(pod.name, pod.uid, "the Overlord has it ended"))
        if reading.asks_events:
            read_ms = memory.pod_events.get(pod.uid, (0, []))[0]
            if now_ms >= read_ms + EVENTS_AGAIN_MS:
                steps.append(ReadPodEvents(pod.name, pod.uid))
            else:
                steps.append(LookAgain(read_ms + EVENTS_AGAIN_MS))
        if reading.wakes_at_ms is not None and reading.wakes_at_ms > now_ms:
            steps.append(LookAgain(reading.wakes_at_ms))
        deadline_ms = launch_deadline_ms(reading, launch_timeout_ms(observed))
        if deadline_ms is not None and deadline_ms > now_ms:
            steps.append(LookAgain(deadline_ms))
        if not view.is_over:
            if memory.outcome_ms is not None and memory.outcome_ms + LINGER_MS > now_ms:
                steps.append(LookAgain(memory.outcome_ms + LINGER_MS))
            continue
        is_recorded = status is None or view.attempt in recorded
        if view.is_given_up:
            # only once the history holds why: after that it is just a pod that was deleted
            if is_recorded and not reading.is_deleting:
                steps.append(DeletePod(pod.name, pod.uid, "it did not start"))
            continue
        is_safe = observed.settings.task_logs is None or view.attempt in memory.safe_logs
        if not is_safe:
            steps += _save_log(observed, view)
        elif is_recorded and _is_settled(observed, view.attempt):
            steps.append(ReleasePod(pod.name, pod.uid))
    for attempt, refusal in memory.refusals.items():
        if not is_hopeless(observed, refusal) and not any(view.attempt == attempt for view in views):
            assignment = memory.assignment
            if assignment is not None and assignment.attempt == attempt and attempt not in memory.stops:
                report = refused_report(observed, assignment.task_id, attempt, refusal)
                steps += [] if memory.has_told(report) else [Report(report)]
            steps.append(
                LookAgain(max(now_ms + 1, min(refusal.again_ms, refusal.first_ms + launch_timeout_ms(observed))))
            )
    return steps


def _shorten(observed: Observed, task: DruidTask, views: Sequence[AttemptView]) -> list[Step]:
    """A deadline that was lowered since the pod was made. Kubernetes lets nobody raise one."""
    wanted = task.spec.active_deadline_seconds
    if wanted is None:
        return []
    return [
        ShortenPod(view.pod.name, view.pod.uid, wanted)
        for view in views
        if view.pod is not None
        and not view.is_over
        and not view.pod.reading.is_deleting
        and (view.pod.reading.deadline_seconds is None or view.pod.reading.deadline_seconds > wanted)
    ]


def _save_log(observed: Observed, view: AttemptView) -> list[Step]:
    memory = observed.memory
    if observed.settings.task_logs is None or view.attempt in memory.saving_logs or view.attempt in memory.safe_logs:
        return []
    pod_name = view.pod.name if view.pod is not None and view.has_run else None
    return [SaveLog(view.task_id, view.attempt, pod_name, view.message)]


def _is_settled(observed: Observed, attempt: int) -> bool:
    return attempt in observed.memory.forgotten or attempt in observed.memory.outcomes


def _is_over(views: Sequence[AttemptView], final: TaskStatus | None) -> bool:
    return final is not None and all(view.is_over for view in views)


def _wants_report(observed: Observed, task: DruidTask, views: Sequence[AttemptView]) -> bool:
    """Whether its rows are still to be looked up before its last status is written."""
    is_shown = task.status.state is not None and task.status.state.is_final
    has_run = any(view.has_run for view in views) or any(record.started_at for record in task.status.attempts)
    return not is_shown and has_run and observed.settings.task_logs is not None and not observed.memory.has_read_report


def _show(observed: Observed, task: DruidTask, views: Sequence[AttemptView], final: TaskStatus | None) -> list[Step]:
    after = present(observed, task, views, final)
    if not status_patch(task.status, after):
        return _next_try(observed)
    memory = observed.memory
    settled_ms = _settled_by_ms(observed, views, final)
    if observed.now_ms < settled_ms:
        return [LookAgain(settled_ms)]
    is_urgent = not _is_passing(task.status, after) and _is_urgent(task.status, after)
    if not is_urgent:
        due_ms = max(memory.told_again_ms, _passing_since_ms(observed, task.status, after) + PASSING_MS)
        if observed.now_ms < due_ms:
            return [LookAgain(due_ms), *_next_try(observed)]
    return [WriteStatus(after, is_urgent), *_next_try(observed)]


def _is_passing(before: DruidTaskStatus, after: DruidTaskStatus) -> bool:
    """Whether the new status only says that the task goes its way and does not run yet."""
    was_waiting = before.state in (None, State.NOT_TAKEN_UP, State.WAITING, State.PENDING)
    return was_waiting and after.state in (State.WAITING, State.PENDING) and after.reason in PASSING


def _passing_since_ms(observed: Observed, before: DruidTaskStatus, after: DruidTaskStatus) -> int:
    """Since when there is what a passing status tells of; 0 where it is none."""
    if not _is_passing(before, after):
        return 0
    return max([observed.memory.first_seen_ms, *(pod.reading.created_ms for pod in observed.pods)])


def _settled_by_ms(observed: Observed, views: Sequence[AttemptView], final: TaskStatus | None) -> int:
    """Until when the end of an attempt waits for the Overlord's word on it: one status then tells both."""
    latest = views[-1] if views else None
    if final is not None or latest is None or not latest.is_over or _is_settled(observed, latest.attempt):
        return 0
    if observed.task is not None and observed.task.status.state is not None and observed.task.status.state.is_final:
        return 0
    seen_ms = observed.memory.seen_ended_ms.get(latest.attempt)
    return 0 if seen_ms is None or latest.is_given_up else seen_ms + SETTLE_MS


def _next_try(observed: Observed) -> list[Step]:
    submission = observed.memory.submission
    if submission is not None and submission.again_ms is not None and submission.again_ms > observed.now_ms:
        return [LookAgain(submission.again_ms)]
    return []


def _is_urgent(before: DruidTaskStatus, after: DruidTaskStatus) -> bool:
    """Whether more than words changed."""

    def facts(status: DruidTaskStatus) -> object:
        bare = {"message": None, "conditions": [], "observed_generation": None}
        return status.model_copy(update=bare), [(each.type, each.status, each.reason) for each in status.conditions]

    return facts(before) != facts(after)


def _tidy(observed: Observed) -> list[Step]:
    """Pods that have nothing left to say are kept for a while, then removed."""
    steps: list[Step] = []
    for pod in observed.pods:
        if pod.is_held or pod.reading.is_deleting:
            continue
        due_ms = (pod.reading.finished_ms or pod.reading.created_ms) + 1000 * observed.settings.pod_keep_seconds
        steps.append(LookAgain(due_ms) if due_ms > observed.now_ms else DeletePod(pod.name, pod.uid, "it is done"))
    return steps


def _expire(observed: Observed, task: DruidTask) -> list[Step]:
    """A finished DruidTask goes when its time is over: one that was applied only if it says when."""
    status = task.status
    ttl = task.spec.ttl_seconds_after_finished
    if ttl is None and not task.is_applied:
        ttl = observed.settings.ttl_seconds_after_finished
    ended_ms = read_time(status.end_time)
    if ttl is None or ended_ms is None or not observed.is_confirmed:
        return []
    due_ms = ended_ms + 1000 * ttl
    if due_ms > observed.now_ms:
        return [LookAgain(due_ms)]
    return [] if any(pod.is_held for pod in observed.pods) else [DeleteTask(task.uid)]


def _let_go(observed: Observed, task: DruidTask) -> list[Step]:
    """
    A finished DruidTask has nothing left to be kept for: from then on it can be deleted whether or not an operator is
    there. With its pods and not before them, so that the write is none that a task has to wait for.
    """
    if not observed.is_confirmed or names.LOG_FINALIZER not in task.finalizers:
        return []
    are_gone = all(pod.reading.is_deleting and not pod.is_held for pod in observed.pods)
    return [ReleaseTask(task.uid)] if are_gone else []


def _deleted(observed: Observed, task: DruidTask) -> list[Step]:
    """The object is to go: first the task is ended, or left to itself, then its logs are made safe."""
    if names.LOG_FINALIZER not in task.finalizers:
        return []
    memory = observed.memory
    final = outcome_of(observed)
    views = attempts_of(observed, task.task_id)
    # a shutdown of what is over changes nothing, so that one who only seems so is shut down
    was_over = observed.is_confirmed
    is_orphaned = task.spec.deletion_policy is DeletionPolicy.ORPHAN and not was_over and final is None
    if is_orphaned:
        alive = [view for view in views if view.pod is not None and view.pod.is_owned and not view.is_over]
        # one that has not started still needs its Secret, which goes with the object
        steps: list[Step] = [
            DisownPod(view.pod.name, view.pod.uid)
            for view in alive
            if view.pod is not None and view.state is AttemptState.RUNNING and not view.pod.reading.is_deleting
        ]
        if steps:
            return steps
        steps = _attend(observed, [view for view in views if view.is_over or view in alive], None)
        return _with_one_look(steps) if any(_holds(pod) for pod in observed.pods) else [ReleaseTask(task.uid)]
    is_known = observed.problem is None and not is_refused(observed, task) and _may_be_known(observed, task)
    is_ended = was_over or final is not None or memory.shut_down or memory.is_unknown or not is_known
    steps = []
    if not is_ended:
        if memory.shut_down_again_ms <= observed.now_ms:
            steps.append(ShutDown(task.task_id))
        else:
            steps.append(LookAgain(memory.shut_down_again_ms))
    elif memory.shut_down:
        steps += [
            DeletePod(view.pod.name, view.pod.uid, "its DruidTask was deleted")
            for view in views
            if view.pod is not None and view.pod.is_held and not view.is_over and not view.pod.reading.is_deleting
        ]
    steps += _attend(observed, views, None)
    if is_ended and not any(pod.is_held for pod in observed.pods):
        steps.append(ReleaseTask(task.uid))
    elif not is_ended or any(not view.is_over for view in views):
        steps += _show(observed, task, views, final)
    return _with_one_look(steps)


def _may_be_known(observed: Observed, task: DruidTask) -> bool:
    """Whether the Overlord may have heard of the task: its answer to a submission may have been lost."""
    submission = observed.memory.submission
    if submission is not None and submission.refusal is not None:
        return False
    return is_submitted(observed, task) or names.ANNOTATION_SPEC_HASH in task.annotations


def _holds(pod: ObservedPod) -> bool:
    return pod.is_held and pod.is_owned


def _without_object(observed: Observed) -> list[Step]:
    """A task that came by REST and has no object yet; or pods whose object is gone."""
    memory = observed.memory
    assignment = memory.assignment
    is_wanted = assignment is not None and assignment.attempt not in memory.stops and outcome_of(observed) is None
    if assignment is not None and is_wanted and not any(pod.is_owned for pod in observed.pods):
        return [CreateTask(assignment.task_id, assignment.type, assignment.data_source)]
    if not observed.pods:
        return []
    steps: list[Step] = []
    for pod in observed.pods:
        view = next((view for view in attempts_of(observed, pod.task_id) if view.pod is pod), None)
        if view is None:
            continue
        if pod.is_held and not pod.is_owned and not view.is_over and not pod.reading.is_deleting:
            return [CreateTask(view.task_id, pod.type, pod.data_source)]
        if pod.is_held and pod.is_owned:
            steps += _end_with_its_object(observed, view, pod)
        steps += _attend(observed, [view], None)
    steps += _tidy(observed)
    return _with_one_look(steps)


def _end_with_its_object(observed: Observed, view: AttemptView, pod: ObservedPod) -> list[Step]:
    """Somebody took the object's finalizer away, or the namespace is going: that is a deletion, and ends the task."""
    memory = observed.memory
    if view.is_over and memory.assignment is None:
        return []
    if outcome_of(observed) is None and not memory.shut_down:
        if memory.shut_down_again_ms > observed.now_ms:
            return [LookAgain(memory.shut_down_again_ms)]
        return [ShutDownOrphan(view.task_id, pod.uid)]
    if memory.shut_down and not view.is_over and not pod.reading.is_deleting:
        return [DeletePod(pod.name, pod.uid, "its DruidTask is gone")]
    return []


def _with_one_look(steps: list[Step]) -> list[Step]:
    """Of several times to look again the first one is enough."""
    looks = [step for step in steps if isinstance(step, LookAgain)]
    others: list[Step] = [step for step in steps if not isinstance(step, LookAgain)]
    return [*others, min(looks, key=lambda look: look.at_ms)] if looks else others
