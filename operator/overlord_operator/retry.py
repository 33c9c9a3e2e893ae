"""Whether an attempt that ended without the peon's word is followed by another, and when. Pure."""

from collections.abc import Sequence
from typing import TypeVar

from overlord_operator.druid_task.resource import RetrySpec
from overlord_operator.druid_task.status import AttemptRecord
from overlord_operator.pod.cause import Cause, RetryKind, retry_kind
from overlord_operator.pod.quantity import bytes_of
from overlord_operator.settings import OperatorSettings

_Number = TypeVar("_Number", int, float)

LONGEST_BACKOFF_SECONDS = 300
"""Between two attempts: whoever waits longer has forgotten the task."""


def retry_after_ms(
    cause: Cause,
    attempt: int,
    history: Sequence[AttemptRecord],
    memory_limit: str | None,
    retry: RetrySpec,
    settings: OperatorSettings,
) -> int | None:
    """
    Milliseconds until another attempt may start; None: there is none.

    `history` is all earlier attempts; those that ended by causes of one kind share a budget. `memory_limit` is what the
    attempt had. The same question always gets the same answer, so that it can be asked again after a restart.
    """
    kind = retry_kind(cause)
    if kind is RetryKind.NEVER:
        return None
    before = [record for record in history if record.attempt < attempt]
    same = sum(1 for record in before if _kind_of(record) is kind)
    if kind is RetryKind.FREE:
        # the first at once: the task did nothing wrong
        limit, first_is_free = _given(retry.free_limit, settings.retry_free_limit), True
    elif kind is RetryKind.COUNTED:
        limit, first_is_free = _given(retry.limit, settings.retry_limit), False
    else:
        cap = bytes_of(retry.memory_limit or settings.retry_memory_limit)
        had = bytes_of(memory_limit) if memory_limit is not None else None
        factor = _given(retry.memory_factor, settings.retry_memory_factor)
        if factor <= 1 or had is None or cap is None or had >= cap:
            return None
        return 0
    if same >= limit:
        return None
    steps = same - 1 if first_is_free else same
    if steps < 0:
        return 0
    first_seconds = _given(retry.backoff_seconds, settings.retry_backoff_seconds)
    return 1000 * min(LONGEST_BACKOFF_SECONDS, first_seconds * 2 ** min(steps, 16))


def oom_kills(history: Sequence[AttemptRecord], attempt: int) -> int:
    """How many attempts before this one ran out of memory."""
    return sum(1 for record in history if record.attempt < attempt and record.cause == Cause.OOM_KILLED)


def _kind_of(record: AttemptRecord) -> RetryKind | None:
    try:
        return retry_kind(Cause(record.cause)) if record.cause else None
    except ValueError:  # a cause that a later version has
        return None


def _given(value: _Number | None, default: _Number) -> _Number:
    return default if value is None else value
