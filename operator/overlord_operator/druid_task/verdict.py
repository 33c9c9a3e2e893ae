"""
What is known for sure of a DruidTask: whether the Overlord has it, how it ended, and whether its last status is true.

Anybody who may write a status may write anything into it. One that the operator wrote itself, or that the Overlord bore
out, is confirmed and stays; any other final one is asked about, and gives way to what pods and Overlord say. Pure.
"""

from collections.abc import Sequence

from druid_core.status import TaskStatus
from overlord_operator import names
from overlord_operator.druid_task.resource import DruidTask
from overlord_operator.druid_task.status import State
from overlord_operator.observed import Observed
from overlord_operator.runner.attempts import AttemptView, attempts_of

REFUSED = "Refused"
"""The reason of a task that the Overlord will not have."""


def is_submitted(observed: Observed, task: DruidTask) -> bool:
    """Whether the Overlord has the task, as far as is known here."""
    submission = observed.memory.submission
    if not task.is_applied or (submission is not None and submission.is_accepted):
        return True
    if any(pod.is_owned for pod in observed.pods):
        return True  # a pod is only made of what the Overlord handed out
    condition = task.status.condition(names.CONDITION_SUBMITTED)
    return condition is not None and condition.status == "True"


def is_refused(observed: Observed, task: DruidTask) -> bool:
    """Whether the object's status says, and nothing denies, that the Overlord will not have it as it is."""
    return _says_refused(task) and not is_new_spec(task) and not is_submitted(observed, task)


def is_new_spec(task: DruidTask) -> bool:
    """Whether a refused object was edited since: then it is worth another try."""
    return _says_refused(task) and task.status.observed_generation != task.generation


def outcome_of(observed: Observed) -> TaskStatus | None:
    """The task's final status, where the Overlord has said it."""
    for outcome in observed.memory.outcomes.values():
        if outcome.status.is_complete:
            return outcome.status
    explanation = observed.memory.explanation
    return explanation.status if explanation is not None and explanation.status.is_complete else None


def stands(observed: Observed, task: DruidTask, views: Sequence[AttemptView], final: TaskStatus | None) -> bool:
    """Whether the object has a last status that nothing denies: no pod that lives, no other word of the Overlord."""
    before = task.status
    if before.state is None or not before.state.is_final or is_new_spec(task):
        return False
    if observed.problem is not None:
        return _says_refused(task) and before.message == observed.problem
    if _says_refused(task):
        return is_refused(observed, task)
    if not all(view.is_over for view in views):
        return False
    if final is None:
        return observed.memory.explanation is None
    return before.state.value == final.status.value and (before.error_msg or None) == (final.error_msg or None)


def is_borne_out(observed: Observed) -> bool:
    """Whether the object's last status may be taken for true from now on: the Overlord said the same, or knows none."""
    task, memory = observed.task, observed.memory
    if task is None:
        return False
    final = outcome_of(observed)
    if not stands(observed, task, attempts_of(observed, task.task_id), final):
        return False
    if observed.problem is not None or memory.is_unknown:
        return True
    if _says_refused(task):
        # what it knows under this id is another's, as the answer to a submission says
        is_anothers = memory.explanation is not None and observed.twin is not None
        return is_anothers or (memory.submission is not None and memory.submission.refusal is not None)
    return final is not None


def is_doubtful(observed: Observed) -> bool:
    """Whether the Overlord has to be asked if the object's last status is true."""
    task = observed.task
    if task is None or observed.is_confirmed or observed.problem is not None:
        return False
    return task.status.state is not None and task.status.state.is_final and task.deleted_ms is None


def is_doubtful_refusal(observed: Observed, task: DruidTask) -> bool:
    """
    Whether a task is called refused that the Overlord has, and nobody knows whose it is: submitting it again tells,
    for it is accepted once more from the object that it came from.
    """
    if not is_refused(observed, task) or observed.is_confirmed or observed.twin is not None:
        return False
    return observed.memory.explanation is not None


def _says_refused(task: DruidTask) -> bool:
    return task.status.state is State.FAILED and task.status.reason == REFUSED
