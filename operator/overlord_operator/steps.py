"""
What may be done about one task: a closed set of small steps. `decide` names them, `apply` takes them.

Every one may be taken twice, or be cut off before its end, without harm.
"""

from dataclasses import dataclass

from druid_core.runner import Assignment, AttemptReport
from overlord_operator.druid_task.status import DruidTaskStatus


@dataclass(frozen=True, slots=True)
class CreateTask:
    """Make the DruidTask of a task that came by REST."""

    task_id: str
    type: str
    data_source: str


@dataclass(frozen=True, slots=True)
class TakeUp:
    """Put our finalizer on an applied DruidTask, and note which task it is, before the Overlord hears of it."""

    task_id: str
    task_hash: str


@dataclass(frozen=True, slots=True)
class Submit:
    """Hand an applied task to the Overlord."""

    task_id: str


@dataclass(frozen=True, slots=True)
class StartPeon:
    """Make the Secret and the pod of an attempt."""

    assignment: Assignment
    oom_kills: int


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the Overlord what is seen of an attempt."""

    report: AttemptReport


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Tell a pod to end, or remove one that has."""

    name: str
    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReadPodEvents:
    """Look up why a pod that has a node does not start."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class SaveLog:
    """Have the log of an attempt that is over in storage."""

    task_id: str
    attempt: int
    pod_name: str | None
    why: str


@dataclass(frozen=True, slots=True)
class ReadReport:
    """Look up how many rows a finished task has processed."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ReleasePod:
    """Take our finalizer from a pod that has nothing left to say."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DisownPod:
    """Leave a pod to itself, so that it outlives its DruidTask."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ShutDown:
    """Ask the Overlord to end the task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ShutDownOrphan:
    """Ask the Overlord to end the task of a pod whose DruidTask is gone, if it really is."""

    task_id: str
    pod_uid: str


@dataclass(frozen=True, slots=True)
class ShortenPod:
    """Give a pod an earlier deadline, counted from its start."""

    name: str
    uid: str
    seconds: int


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """Show how things stand."""

    status: DruidTaskStatus
    is_urgent: bool
    """Whether more than the wording of a reason changed."""


@dataclass(frozen=True, slots=True)
class ReleaseTask:
    """Take our finalizer from a DruidTask that is deleted, or over: nothing is left to be done for it."""

    uid: str


@dataclass(frozen=True, slots=True)
class DeleteTask:
    """Remove a DruidTask whose time is over."""

    uid: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Nothing more to do before this time, unless something happens."""

    at_ms: int


Step = (
    CreateTask
    | TakeUp
    | Submit
    | StartPeon
    | Report
    | DeletePod
    | ReadPodEvents
    | SaveLog
    | ReadReport
    | ReleasePod
    | DisownPod
    | ShutDown
    | ShutDownOrphan
    | ShortenPod
    | WriteStatus
    | ReleaseTask
    | DeleteTask
    | LookAgain
)
