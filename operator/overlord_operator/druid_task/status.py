"""
The status of a DruidTask: what `kubectl get dt` shows, and its conditions in Kubernetes' own manner.

Values and pure functions. `status_patch` says what one write has to hold; where nothing changed there is no write.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import ValidationError

from druid_core.instant import format_instant
from druid_core.wire import WireModel


class State(StrEnum):
    """Where a task stands, in the words of Druid's console, and two that only an object knows."""

    NOT_TAKEN_UP = "NOT_TAKEN_UP"  # no operator has seen the object: the definition's own default
    SUSPENDED = "SUSPENDED"  # spec.suspend holds it back; the Overlord does not have it
    WAITING = "WAITING"  # for its locks, or for the Overlord to take it
    PENDING = "PENDING"  # for a slot, or for its pod
    RUNNING = "RUNNING"  # its peon runs
    SUCCESS = "SUCCESS"  # final
    FAILED = "FAILED"  # final; errorMsg says why

    @property
    def is_final(self) -> bool:
        return self in (State.SUCCESS, State.FAILED)


ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(WireModel):
    """One condition. Kubernetes: metav1.Condition"""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    last_transition_time: str
    observed_generation: int | None = None


class AttemptRecord(WireModel):
    """One run of the task, for its history."""

    attempt: int
    pod_name: str | None = None
    node: str | None = None
    cause: str | None = None
    message: str | None = None
    refused_at: str | None = None
    """When the API server first did not let its pod in; it counts from then on, whoever leads."""
    started_at: str | None = None
    ended_at: str | None = None
    exit_code: int | None = None


class DruidTaskStatus(WireModel):
    """`status` of the object. Times are texts as Kubernetes writes them."""

    task_id: str | None = None
    type: str | None = None
    data_source: str | None = None
    state: State | None = None
    runner_status_code: str | None = None
    reason: str | None = None
    message: str | None = None
    conditions: list[Condition] = []
    pod_name: str | None = None
    location: str | None = None
    attempt: int | None = None
    attempts: list[AttemptRecord] = []
    submitted_at: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    duration_ms: int | None = None
    duration: str | None = None
    rows_processed: int | None = None
    segments_published: int | None = None
    error_msg: str | None = None
    log_url: str | None = None
    report_url: str | None = None
    observed_generation: int | None = None

    @classmethod
    def parse(cls, raw: object) -> "DruidTaskStatus":
        """
        What stands in the object; a status that cannot be read counts as none.

        The operator can write it anew at any time, from the cluster and the Overlord.
        """
        if not isinstance(raw, Mapping):
            return cls()
        try:
            return cls.model_validate(raw)
        except ValidationError:
            return cls()

    def to_raw(self) -> dict[str, Any]:
        """The JSON object, without what is not known."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type, if there is one."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


def with_condition(
    conditions: Sequence[Condition],
    kind: str,
    status: ConditionStatus | bool,
    reason: str,
    message: str,
    now_ms: int,
    observed_generation: int | None = None,
) -> list[Condition]:
    """
    The conditions with this one set; `lastTransitionTime` moves only when its status changes.

    Twice is once. An unchanged condition stays the very same, so that an unchanged status costs no write.
    """
    wanted: ConditionStatus = status if isinstance(status, str) else "True" if status else "False"
    before = next((condition for condition in conditions if condition.type == kind), None)
    since = before.last_transition_time if before is not None and before.status == wanted else time_text(now_ms)
    after = Condition(
        type=kind,
        status=wanted,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=observed_generation,
    )
    if before is None:
        return [*conditions, after]
    return [after if condition.type == kind else condition for condition in conditions]


def with_attempt(attempts: Sequence[AttemptRecord], record: AttemptRecord, keep: int = 20) -> list[AttemptRecord]:
    """
    The history with this attempt in it, in the order of their numbers; the last `keep` of them.

    20 is more than any policy allows by default, and holds the object small. Twice is once.
    """
    others = [known for known in attempts if known.attempt != record.attempt]
    return sorted([*others, record], key=lambda known: known.attempt)[-keep:]


def status_patch(before: DruidTaskStatus, after: DruidTaskStatus) -> dict[str, Any]:
    """
    The merge patch (RFC 7386) that makes one status the other: what changed, and null for what is gone.

    Empty where nothing changed. Lists are written whole, as a merge patch does.
    """
    old, new = before.to_raw(), after.to_raw()
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    return changed | {key: None for key in old if key not in new}


def time_text(ms: int) -> str:
    """An instant as Kubernetes writes it: whole seconds, UTC."""
    return format_instant(ms)[:-5] + "Z"


def duration_text(ms: int) -> str:
    """
    A duration for people, two units at most, as kubectl prints an age: `850ms`, `12s`, `3m4s`, `5h6m`, `2d3h`.
    """
    if ms < 1000:
        return f"{max(ms, 0)}ms"
    seconds = ms // 1000
    units = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
    for place, (unit, size) in enumerate(units):
        if seconds >= size:
            text = f"{seconds // size}{unit}"
            rest = seconds % size
            if rest and place + 1 < len(units):
                next_unit, next_size = units[place + 1]
                if rest >= next_size:
                    text += f"{rest // next_size}{next_unit}"
            return text
    return "0s"
