"""
How a task ended, as plain JSON: the status file's content and the last action's.

The same object as `druid_core.status.TaskStatus` writes, held to it by a test. It is made by hand here because that
module's import costs more time than a whole noop task, and every peon ends with this word.
"""

from dataclasses import dataclass
from typing import Any

_ERROR_MSG_LIMIT = 1024
"""Druid: TaskStatus.MAX_ERROR_MSG_LENGTH"""


@dataclass(frozen=True, slots=True)
class LastWord:
    """SUCCESS, or FAILED with an error message; `duration_ms` is the peon's wall time."""

    task_id: str
    duration_ms: int
    error_msg: str | None = None

    @property
    def status_code(self) -> str:
        return "SUCCESS" if self.error_msg is None else "FAILED"

    def to_wire(self) -> dict[str, Any]:
        """Druid: TaskStatus"""
        return {
            "id": self.task_id,
            "status": self.status_code,
            "duration": self.duration_ms,
            "errorMsg": self.error_msg and _shortened(self.error_msg),
            "location": {"host": None, "port": -1, "tlsPort": -1},
        }


def _shortened(error_msg: str) -> str:
    """Its first and last 512 characters, and how many are missing."""
    excess = len(error_msg) - _ERROR_MSG_LIMIT
    if excess <= 0:
        return error_msg
    half = _ERROR_MSG_LIMIT // 2
    return f"{error_msg[:half]}...<{excess} characters omitted...{error_msg[-half:]}"
