"""
The protocol between the Overlord and a runner (operator or MiddleManager). Runners pull.

A runner says who it is and how many slots it has, is handed assignments by long poll, and reports what it sees
of each attempt. The Overlord decides everything else. Endpoints, all below `/nemeton/v1/runner`:

    POST /announce                  RunnerAnnouncement -> RunnerOrders   (every few seconds; also the heartbeat)
    POST /assignments?wait=SECONDS  RunnerAnnouncement -> RunnerOrders   (long poll: answers when there is news)
    POST /report                    list[AttemptReport] -> {}            (what was seen; safe to repeat)
"""

from enum import StrEnum
from typing import Any

from druid_core.status import TaskLocation, TaskStatus
from druid_core.wire import WireModel


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
    """`middle-manager` or `operator`."""
    scheme: str = "http"
    host: str
    """`host:port` of the worker API; shown in /workers."""
    ip: str
    version: str
    category: str = "_default_worker_category"
    capacity: int
    """Slots. 0 while disabled."""
    enabled: bool = True
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


class RunnerOrders(WireModel):
    """What the Overlord wants of a runner now. All of it may be repeated."""

    start: list[Assignment] = []
    stop: list[AttemptRef] = []
    """Shut down, or no longer known: end the peon, keep its log."""
    forget: list[AttemptRef] = []
    """Ended and settled: its record may be dropped."""


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
