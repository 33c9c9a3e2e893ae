"""
The protocol between the Overlord and a runner (operator or MiddleManager). Runners pull.

A runner says who it is and how many slots it has, is handed assignments by long poll, and reports what it sees
of each attempt. The Overlord decides everything else. Endpoints, all below `/nemeton/v1/runner`:

    POST /announce                  RunnerAnnouncement -> RunnerOrders   (every few seconds; also the heartbeat)
    POST /assignments?wait=SECONDS  RunnerAnnouncement -> RunnerOrders   (long poll: answers when there is news)
    POST /report                    list[AttemptReport] -> {}            (what was seen; safe to repeat)
    POST /explain                   list of task ids -> {id: Explanation} (why each stands where it stands)
"""

from enum import StrEnum
from typing import Any

from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.status import RunnerStatusCode, TaskLocation, TaskStatus
from druid_core.wire import WireModel

MIDDLE_MANAGER = "middle-manager"
"""The kind of a runner whose peons are processes."""

OPERATOR = "operator"
"""The kind of a runner whose peons are pods."""

PODS_CATEGORY = "_k8s_worker_category"
"""The category of pods among workers. Druid: KubernetesTaskRunner"""

SUBMITTER_HEADER = "X-Nemeton-Submitter"
"""
With a submission: who submits, as a text that nobody else has (the uid of an object). The same task id from the same
submitter is accepted again, and runs once.
"""

RUNNER_HEADER = "X-Nemeton-Runner"
"""With a submission: the id of the only runner that may take the task."""


class AttemptState(StrEnum):
    """What a runner sees of one attempt."""

    STARTING = "STARTING"  # a pod or process is being made
    RUNNING = "RUNNING"  # the peon's container or process has started
    ENDED = "ENDED"  # it is gone; whether the task succeeded is the peon's word


class RunnerAnnouncement(WireModel):
    """Who the runner is, what it offers, and which attempts it has now, so that either side may restart."""

    runner_id: str
    """Stable over restarts: `host:port` of a MiddleManager's worker API, the name of an operator's release."""
    kind: str
    """`MIDDLE_MANAGER` or `OPERATOR`."""
    scheme: str = "http"
    host: str
    """`host:port` of the worker API, an operator's `runner_id`; shown in /workers."""
    ip: str
    version: str
    category: str = "_default_worker_category"
    """Of a MiddleManager; an operator's is `PODS_CATEGORY`."""
    capacity: int
    """Slots. 0 while disabled."""
    enabled: bool = True
    task_types: list[str] | None = None
    """The types of tasks that it runs; None, as of runners that do not say: any."""
    attempts: list["AttemptRef"] = []
    """All attempts that the runner has, those that ended and are not yet acknowledged included."""


class AttemptRef(WireModel):
    """One run of one task. Attempts count from 1; a later one voids the earlier."""

    task_id: str
    attempt: int


class Assignment(WireModel):
    """One attempt to be started. The payload is fetched by the peon, with the token."""

    task_id: str
    attempt: int
    type: str
    data_source: str
    group_id: str
    token: str
    """Good for this attempt alone."""
    context: dict[str, Any] = {}


class TaskOutcome(WireModel):
    """What became of the task of an attempt that is over, so that a runner can say so where its peons are seen."""

    task_id: str
    attempt: int
    status: TaskStatus
    """Final; RUNNING while another attempt follows."""
    segments_published: int = 0
    """By all attempts of the task together."""
    next_attempt: int | None = None
    """The attempt that took this one's place."""


class RunnerOrders(WireModel):
    """What the Overlord wants of a runner now. All of it may be repeated."""

    start: list[Assignment] = []
    stop: list[AttemptRef] = []
    """Shut down, or no longer known: end the peon, keep its log."""
    forget: list[AttemptRef] = []
    """Ended and settled: its record may be dropped."""
    outcomes: list[TaskOutcome] = []
    """For every attempt that the runner lists, where the attempt is over or its task is finished."""
    execution: dict[str, Any] | None = None
    """
    For runners of kind `OPERATOR`: how pods are made, as it is set at
    `/druid/indexer/v1/k8s/taskrunner/executionconfig`; None where it never was.
    Druid: KubernetesTaskRunnerDynamicConfig
    """


class AttemptReport(WireModel):
    """What a runner sees of one attempt. The last report counts; ENDED is final."""

    runner_id: str
    task_id: str
    attempt: int
    state: AttemptState
    location: TaskLocation | None = None
    status: TaskStatus | None = None
    """The peon's status.json, where the runner found one."""
    reason: str | None = None
    """With ENDED: how it ended, in words: `killed by signal 9`, `OOMKilled`, `the node was lost`."""
    cause: str | None = None
    """With ENDED: why, as a code of the runner's own: `OOMKilled`, `NodeLost`."""
    retry_after_ms: int | None = None
    """
    With ENDED: the runner's policy allows another attempt, not sooner than so many milliseconds from now.
    None: no other attempt.
    """
    waiting_for: str | None = None
    """
    With STARTING: what its start still waits for, in words: the scheduler's own, an image, a quota. A runner that does
    not list the attempt (it has made nothing of it yet) is ordered to start it for as long.
    """


class PendingReason(StrEnum):
    """Why a task stands where it stands."""

    QUEUED = "QUEUED"  # nothing is in its way: the queue's next look, within a second or so, moves it on
    LOCK_HELD = "LOCK_HELD"  # another task holds a lock that it needs
    NO_RUNNER = "NO_RUNNER"  # no runner is heard of that may take it
    NO_SLOT = "NO_SLOT"  # all slots are taken, or others are before it
    LIMIT_REACHED = "LIMIT_REACHED"  # its datasource, its type, or all together have as many slots as they may
    KEPT_FOR_SUB_TASKS = "KEPT_FOR_SUB_TASKS"  # what slots are left are for sub-tasks of tasks that run
    PAUSED = "PAUSED"  # its datasource is paused
    DELAYED = "DELAYED"  # its datasource starts nothing before some time
    THROTTLED = "THROTTLED"  # its datasource began as many in the last minute as it may
    BACKING_OFF = "BACKING_OFF"  # an attempt ended, and the next one is not due yet
    ASSIGNED = "ASSIGNED"  # a slot is its own; the runner has not said that it begins
    STARTING = "STARTING"  # its peon is being started
    RUNNING = "RUNNING"  # its peon runs
    ENDED = "ENDED"  # the task is finished


class HeldBy(WireModel):
    """The lock in a task's way, and one of those who hold it."""

    interval: Interval
    lock_type: LockType
    holder_task_id: str
    holder_group_id: str
    holder_priority: int


class Explanation(WireModel):
    """Why a task stands where it stands, at this moment."""

    task_id: str
    status: TaskStatus
    runner_status_code: RunnerStatusCode
    reason: PendingReason
    message: str
    """The reason as a sentence, with names and numbers."""
    place: int | None = None
    """
    Of one that waits: 1 is the next. In line for a slot, with NO_SLOT and whatever else holds up slots; of those of its
    datasource that wait for locks, with LOCK_HELD. What is held up by its datasource is counted among that alone.
    """
    lock: HeldBy | None = None
    """With LOCK_HELD."""
    attempt: int = 0
    """The latest; 0 for a task that has none because an Overlord of Druid finished it."""
