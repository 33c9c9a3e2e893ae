"""
Events on a DruidTask: its story in words, beside its status, which is the truth.

An Event is a write to the API server, so that there is a budget: warnings may use all of it, the rest leaves half.
"""

import itertools
import logging
from dataclasses import dataclass
from typing import Any, Protocol

from druid_core.errors import NemetonError
from overlord_operator import names
from overlord_operator.budget import Budget
from overlord_operator.cluster.client import EVENTS
from overlord_operator.druid_task.present import LINGERING
from overlord_operator.druid_task.resource import DruidTask
from overlord_operator.druid_task.status import DruidTaskStatus, State, time_text
from overlord_operator.druid_task.verdict import REFUSED

_log = logging.getLogger(__name__)

_MESSAGE_LIMIT = 1024
"""Characters: the API server refuses longer ones."""

_counter = itertools.count()


@dataclass(frozen=True, slots=True)
class Happening:
    """One sentence of the story."""

    reason: str
    message: str
    is_warning: bool = False


class EventStore(Protocol):
    """What of the API server Events need."""

    async def create(self, kind: str, namespace: str, raw_object: dict[str, Any]) -> dict[str, Any]: ...


def happenings(before: DruidTaskStatus, after: DruidTaskStatus) -> list[Happening]:
    """What a change of status tells. Pure; the same change tells the same."""
    told: list[Happening] = []
    known = {record.attempt: record for record in before.attempts}
    for record in after.attempts:
        was = known.get(record.attempt)
        if was is None and record.pod_name is not None:
            told.append(Happening("PodCreated", f"Attempt {record.attempt} has the pod {record.pod_name}"))
        is_news = record.ended_at is not None and (was is None or was.ended_at is None)
        if is_news and record.cause not in (None, "Completed"):
            told.append(
                Happening(record.cause or "Ended", f"Attempt {record.attempt}: {record.message}", is_warning=True)
            )
    told += _of_log(before, after)
    if after.state is before.state and after.reason == before.reason:
        return told
    message = after.message or ""
    match after.state:
        case State.RUNNING:
            if after.reason != LINGERING:  # its condition tells of it
                told.append(Happening("Running", message))
        case State.SUCCESS:
            rows = f" Rows: {after.rows_processed}." if after.rows_processed is not None else ""
            took = f" It took {after.duration}." if after.duration else ""
            told.append(Happening("Success", f"{message}{rows}{took}"))
        case State.FAILED:
            told.append(Happening(REFUSED if after.reason == REFUSED else "Failed", message, is_warning=True))
        case State.SUSPENDED:
            told.append(Happening("Suspended", message))
        case State.WAITING | State.PENDING:
            is_trouble = after.reason in ("OverlordAway", "QueueFull") or (
                after.state is State.PENDING and _is_cause(after)
            )
            if after.reason not in ("Submitted", "Submitting", "Assigned", "Starting"):
                told.append(Happening(after.reason or "Waiting", message, is_warning=is_trouble))
        case _:
            pass
    return told


def _of_log(before: DruidTaskStatus, after: DruidTaskStatus) -> list[Happening]:
    was, now = (status.condition(names.CONDITION_LOG_STORED) for status in (before, after))
    if now is None or (was is not None and was.status == now.status):
        return []
    if now.status == "True":
        return [Happening("LogStored", "The log is in storage.")]
    return [Happening("LogNotStored", now.message, is_warning=True)]


def _is_cause(status: DruidTaskStatus) -> bool:
    return status.reason not in ("NoSlot", "NoRunner", "BackingOff", "Scheduling", "SchedulingGated")


class Storyteller:
    """Writes Events, as many as the budget allows; one that cannot be written is let go."""

    def __init__(self, cluster: EventStore, budget: Budget, reserve: float, identity: str) -> None:
        self._cluster = cluster
        self._budget = budget
        self._reserve = reserve
        self._identity = identity

    async def tell(self, task: DruidTask, happening: Happening, now_ms: int) -> bool:
        """Whether it was written. Never raises: a story is not worth a task."""
        if not self._budget.spend(0 if happening.is_warning else self._reserve):
            return False
        try:
            await self._cluster.create(EVENTS, task.namespace, self._event(task, happening, now_ms))
        except NemetonError as error:
            _log.info("An Event on %s/%s was not written: %s", task.namespace, task.name, error)
            return False
        return True

    def _event(self, task: DruidTask, happening: Happening, now_ms: int) -> dict[str, Any]:
        time = time_text(now_ms)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{task.name[:200]}.{now_ms:x}{next(_counter) & 0xFFFF:04x}",
                "namespace": task.namespace,
            },
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "namespace": task.namespace,
                "name": task.name,
                "uid": task.uid,
                "resourceVersion": task.resource_version,
            },
            "reason": happening.reason[:128],
            "message": happening.message[:_MESSAGE_LIMIT],
            "type": "Warning" if happening.is_warning else "Normal",
            "source": {"component": "nemeton-operator", "host": self._identity},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "reportingComponent": "nemeton-operator",
            "reportingInstance": self._identity,
        }
