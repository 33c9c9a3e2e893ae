"""One task as it is seen at one moment: the object, its pods, the Overlord's word. What `decide` decides by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from druid_core.runner import Assignment, AttemptReport, Explanation, TaskOutcome
from overlord_operator.druid_task.resource import DruidTask
from overlord_operator.mirror import Ref, json_text
from overlord_operator.pod.cause import Cause
from overlord_operator.pod.phase import PodReading
from overlord_operator.settings import OperatorSettings


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """A pod, read."""

    name: str
    uid: str
    attempt: int
    is_held: bool
    """Whether our finalizer is on it."""
    is_owned: bool
    """Whether a DruidTask owns it."""
    task_id: str
    type: str
    data_source: str
    memory_limit: str | None
    reading: PodReading


@dataclass(frozen=True, slots=True)
class Refusal:
    """A pod that could not be made."""

    cause: Cause
    message: str
    first_ms: int
    """When it was refused first."""
    again_ms: int
    """When to try again."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of handing a task to the Overlord. Exactly one of `is_accepted`, `refusal`, `again_ms`."""

    generation: int
    is_accepted: bool = False
    refusal: str | None = None
    """The Overlord's message, for good."""
    is_full: bool = False
    """Whether it has no room now."""
    message: str = ""
    again_ms: int | None = None


@dataclass(slots=True)
class Memory:
    """
    What this process has learnt of one task beside what stands in the cluster.

    All of it comes back by itself after a restart: the Overlord repeats its orders, reports are repeated, storage is
    asked again. There may be ten thousand of these: what is empty costs nothing.
    """

    assignment: Assignment | None = None
    stops: frozenset[int] = frozenset()
    forgotten: frozenset[int] = frozenset()
    """Attempts that the Overlord has settled."""
    outcomes: dict[int, TaskOutcome] = field(default_factory=dict[int, TaskOutcome])
    explanation: Explanation | None = None
    is_unknown: bool = False
    """Whether the Overlord, asked, did not know the task."""
    submission: Submission | None = None
    refusals: dict[int, Refusal] = field(default_factory=dict[int, Refusal])
    reported: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """The last that the Overlord has surely heard of each attempt, as text: a tenth of the report's own size."""
    safe_logs: frozenset[int] = frozenset()
    saving_logs: frozenset[int] = frozenset()
    log_troubles: dict[int, str] = field(default_factory=dict[int, str])
    """Why the log of an attempt cannot be stored: the first reason, which later tries do not change."""
    outcome_ms: int | None = None
    """When the Overlord said that the task is over, while its pod still ran."""
    is_reading_report: bool = False
    has_read_report: bool = False
    rows: int | None = None
    pod_events: dict[str, tuple[int, list[dict[str, Any]]]] = field(
        default_factory=dict[str, tuple[int, list[dict[str, Any]]]]
    )
    """Kubernetes' Events of a pod that does not start, by its uid, and when they were read."""
    seen_ended_ms: dict[int, int] = field(default_factory=dict[int, int])
    """When this process first saw the pod of an attempt ended."""
    shut_down: bool = False
    """Whether the Overlord has heard the shutdown."""
    shut_down_again_ms: int = 0
    told_again_ms: int = 0
    """Before which a status that tells little is not written: there were too many."""
    uid: str = ""
    """Of the object; empty where there was none yet."""
    first_seen_ms: int = 0
    """When this process saw the task first."""

    def note_told(self, report: AttemptReport) -> None:
        """The Overlord has heard this."""
        self.reported[report.attempt] = json_text(report.to_wire())

    def has_told(self, report: AttemptReport) -> bool:
        """Whether this is what the Overlord has heard last of the attempt."""
        return self.reported.get(report.attempt) == json_text(report.to_wire())


@dataclass(frozen=True, slots=True)
class Observed:
    """All of it. `task` None: there is no such object (yet, or any more). Times are milliseconds."""

    ref: Ref
    task: DruidTask | None
    problem: str | None
    """Why the object's spec cannot be read."""
    task_hash: str
    twin: str | None
    """The DruidTask whose the task of this id is, where that is another one, as `namespace/name`."""
    is_confirmed: bool
    """Whether the object has a final status that is known to be true."""
    pods: tuple[ObservedPod, ...]
    memory: Memory
    execution: Mapping[str, object] | None
    settings: OperatorSettings
    now_ms: int
