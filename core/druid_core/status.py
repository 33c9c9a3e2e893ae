"""A task's state: what the Overlord stores, and what its answers show."""

from enum import StrEnum
from typing import Any

from pydantic import field_validator, model_serializer

from druid_core.wire import WireModel


class StatusCode(StrEnum):
    """The stored state of a task. Druid: TaskState"""

    RUNNING = "RUNNING"  # from submission on, waiting for locks or a slot included
    SUCCESS = "SUCCESS"  # final
    FAILED = "FAILED"  # final


class RunnerStatusCode(StrEnum):
    """Where an active task stands. Never stored. Druid: RunnerTaskState"""

    WAITING = "WAITING"  # its locks are not granted yet
    PENDING = "PENDING"  # released: it waits for a slot, or its peon is being started
    RUNNING = "RUNNING"  # its peon runs
    NONE = "NONE"  # finished


class TaskLocation(WireModel):
    """Where a peon serves its chat endpoints. Druid: TaskLocation"""

    host: str | None = None
    port: int = -1
    tls_port: int = -1
    k8s_pod_name: str | None = None

    @property
    def is_known(self) -> bool:
        return self.host is not None

    @model_serializer(mode="plain")
    def to_wire(self) -> dict[str, object]:
        """As Druid writes it, alone or inside another model: `k8sPodName` only where there is one."""
        wire: dict[str, object] = {"host": self.host, "port": self.port, "tlsPort": self.tls_port}
        if self.k8s_pod_name is not None:
            wire["k8sPodName"] = self.k8s_pod_name
        return wire


UNKNOWN_LOCATION = TaskLocation()

ERROR_MSG_LIMIT = 1024
"""An errorMsg is cut in its middle beyond this many characters. Druid: TaskStatus.MAX_ERROR_MSG_LENGTH"""


class TaskStatus(WireModel):
    """The stored status, the content of `status.json` and of `updateStatus`. Druid: TaskStatus"""

    id: str
    status: StatusCode
    duration: int = -1  # milliseconds; -1 while active and after a shutdown
    error_msg: str | None = None
    location: TaskLocation = UNKNOWN_LOCATION

    @field_validator("location", mode="before")
    @classmethod
    def _null_is_unknown(cls, value: Any) -> Any:
        return UNKNOWN_LOCATION if value is None else value

    @property
    def is_complete(self) -> bool:
        return self.status is not StatusCode.RUNNING

    @classmethod
    def running(cls, task_id: str) -> "TaskStatus":
        return cls(id=task_id, status=StatusCode.RUNNING)

    @classmethod
    def success(cls, task_id: str, duration_ms: int = -1) -> "TaskStatus":
        return cls(id=task_id, status=StatusCode.SUCCESS, duration=duration_ms)

    @classmethod
    def failure(cls, task_id: str, error_msg: str, duration_ms: int = -1) -> "TaskStatus":
        return cls(id=task_id, status=StatusCode.FAILED, duration=duration_ms, error_msg=shorten(error_msg))

    def to_wire(self) -> dict[str, object]:
        return {
            "id": self.id,
            "status": self.status.value,
            "duration": self.duration,
            "errorMsg": self.error_msg,
            "location": self.location.to_wire(),
        }


def shorten(error_msg: str) -> str:
    """An errorMsg cut as Druid cuts it: its first and last 512 characters, and how many are missing."""
    excess = len(error_msg) - ERROR_MSG_LIMIT
    if excess <= 0:
        return error_msg
    half = ERROR_MSG_LIMIT // 2
    return f"{error_msg[:half]}...<{excess} characters omitted...{error_msg[-half:]}"
