"""
Counts and times of this replica, from its start on. Each happened at one replica, so their sum is the truth.

What is counted inside a transaction is counted when it commits: see `overlord.db.pool.after_commit`.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

REGISTRY = CollectorRegistry()
"""Of this process, apart from the library's own, which others may fill."""

ProcessCollector(registry=REGISTRY)

OTHER = "(other)"
"""The `dataSource` of all that have no label of their own."""

LONG_SECONDS = (0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300, 900, 3600, 14_400, 86_400)
"""Druid's buckets, which end at five minutes, and on to a day: tasks run for hours."""

SHORT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 240)
"""An action is a transaction of some milliseconds; `lockAcquire` may wait for four minutes."""


class BoundedLabel:
    """
    The values of a label that users make up, of which there may be any number: the first `limit` have their own name.

    Prometheus keeps a series for each for ever; without a limit, a datasource a day would be its end.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        """`value`, or OTHER."""
        if value in self._known:
            return value
        if len(self._known) >= self.limit:
            return OTHER
        self._known.add(value)
        return value


DATA_SOURCES = BoundedLabel(100)
"""Its limit is the setting `metrics_data_sources`."""

_RUN = Histogram(
    "druid_task_run_time",
    "Seconds from the start of a task to its end, as its peon or its runner measured it.",
    ["taskType", "taskStatus"],
    buckets=LONG_SECONDS,
    registry=REGISTRY,
)
_WAITING = Histogram(
    "druid_task_waiting_time",
    "Seconds from the submission of a task until its locks were granted, of tasks that began.",
    ["taskType"],
    buckets=LONG_SECONDS,
    registry=REGISTRY,
)
_PENDING = Histogram(
    "druid_task_pending_time",
    "Seconds from the granting of its locks until a task's peon began: for a slot, a pod, a process.",
    ["taskType"],
    buckets=LONG_SECONDS,
    registry=REGISTRY,
)
_SUCCESS = Counter("druid_task_success_count", "Tasks that succeeded.", ["dataSource", "taskType"], registry=REGISTRY)
_FAILED = Counter("druid_task_failed_count", "Tasks that failed.", ["dataSource", "taskType"], registry=REGISTRY)
_ACCEPTED = Counter("nemeton_tasks_accepted", "Tasks that were stored.", registry=REGISTRY)
_ACTION = Histogram(
    "druid_task_action_run_time",
    "Seconds that a task action took, the waiting of lockAcquire included.",
    ["taskActionType"],
    buckets=SHORT_SECONDS,
    registry=REGISTRY,
)
_ACTION_SUCCESS = Counter(
    "druid_task_action_success_count", "Task actions that were answered.", ["taskActionType"], registry=REGISTRY
)
_ACTION_FAILED = Counter(
    "druid_task_action_failed_count", "Task actions that were refused.", ["taskActionType"], registry=REGISTRY
)
_LOCK_REQUESTS = Counter(
    "nemeton_lock_requests",
    "Locks that running tasks asked for: granted, revoked (lost to a higher priority) or refused.",
    ["result"],
    registry=REGISTRY,
)
_LOCKS_REVOKED = Counter("nemeton_locks_revoked", "Locks taken away from tasks of lower priority.", registry=REGISTRY)
_PUBLISHED = Counter("druid_segment_txn_success", "Publishing transactions that committed.", registry=REGISTRY)
_UNPUBLISHED = Counter("druid_segment_txn_failure", "Publishing transactions that were refused.", registry=REGISTRY)
_ADDED = Counter(
    "druid_segment_added_bytes", "Bytes of segments that were published.", ["dataSource"], registry=REGISTRY
)
_NUKED = Counter(
    "druid_segment_nuked_bytes", "Bytes of segments whose rows were deleted.", ["dataSource"], registry=REGISTRY
)
_ANSWERS = Counter("nemeton_http_answers", "Answers to calls.", ["method", "status"], registry=REGISTRY)

_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


def tasks_accepted(count: int) -> None:
    """New tasks were stored."""
    _ACCEPTED.inc(count)


def task_began(task_type: str, submitted_ms: int, released_ms: int | None, started_ms: int) -> None:
    """The peon of an attempt was seen to run. A task that waited for no lock was released when it was submitted."""
    released_ms = submitted_ms if released_ms is None else released_ms
    _WAITING.labels(task_type).observe(max(0, released_ms - submitted_ms) / 1000)
    _PENDING.labels(task_type).observe(max(0, started_ms - released_ms) / 1000)


def task_finished(data_source: str, task_type: str, succeeded: bool, duration_ms: int) -> None:
    """A task got its final status. A duration below 0 is unknown, and in no histogram; in Druid it is there as -1."""
    if duration_ms >= 0:
        _RUN.labels(task_type, "SUCCESS" if succeeded else "FAILED").observe(duration_ms / 1000)
    (_SUCCESS if succeeded else _FAILED).labels(DATA_SOURCES.of(data_source), task_type).inc()


def segments_added(data_source: str, size_bytes: int) -> None:
    _ADDED.labels(DATA_SOURCES.of(data_source)).inc(max(0, size_bytes))


def segments_nuked(data_source: str, size_bytes: int) -> None:
    _NUKED.labels(DATA_SOURCES.of(data_source)).inc(max(0, size_bytes))


def locks_revoked(count: int) -> None:
    _LOCKS_REVOKED.inc(count)


def answered(method: str, status: int) -> None:
    """A call was answered. A method that no client has is one label, not as many as somebody makes up."""
    _ANSWERS.labels(method if method in _METHODS else "other", str(status)).inc()


class MeasuredAction:
    """An action under way; `answer` is what it was answered with."""

    answer: Any = None


@contextmanager
def measuring_action(action_type: str) -> Generator[MeasuredAction]:
    """Times the block, and counts it as answered or, where it raises, as refused."""
    began = time.perf_counter()
    measured = MeasuredAction()
    try:
        yield measured
    except BaseException:
        _ACTION_FAILED.labels(action_type).inc()
        raise
    else:
        _ACTION_SUCCESS.labels(action_type).inc()
        _count_answer(action_type, measured.answer)
    finally:
        _ACTION.labels(action_type).observe(time.perf_counter() - began)


def _count_answer(action_type: str, answer: Any) -> None:
    if action_type in ("lockAcquire", "lockTryAcquire"):
        result = "refused" if answer is None else "revoked" if answer["revoked"] else "granted"
        _LOCK_REQUESTS.labels(result).inc()
    elif isinstance(answer, dict) and "success" in answer:
        # Druid: SegmentPublishResult, the answer of every action that publishes
        (_PUBLISHED if answer["success"] else _UNPUBLISHED).inc()
