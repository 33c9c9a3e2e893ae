"""
The JSON of every error answer, from one table.

Druid has two shapes. `{"error": "text"}` is for a task that does not parse; the DruidException of nine fields is for
the rest. Where Druid itself answers an HTML page, this Overlord keeps the status code and answers a DruidException.
"""

from dataclasses import dataclass
from typing import Any

from druid_core.errors import (
    CapacityExceeded,
    Conflict,
    InvalidInput,
    InvalidTask,
    NemetonError,
    NotFound,
    StorageError,
    TaskIdExists,
    Unavailable,
)


class Forbidden(NemetonError):
    """A token that is void, unknown, or not good for what was asked."""


class Unreadable(NemetonError):
    """A request that cannot be read at all: broken JSON, no body. Druid: 500 with a page of HTML"""


class BodyTooLarge(NemetonError):
    """A request body beyond `max_body_bytes`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """How one kind of error is answered. Druid: DruidException"""

    status: int
    error_code: str
    persona: str
    category: str
    plain: bool = False
    """`{"error": text}` alone."""

    def body(self, message: str) -> dict[str, Any]:
        if self.plain:
            return {"error": message}
        return {
            "error": "druidException",
            "errorCode": self.error_code,
            "persona": self.persona,
            "category": self.category,
            "errorMessage": message,
            "context": {},
        }


UNEXPECTED = Problem(500, "general", "OPERATOR", "RUNTIME_FAILURE")

PROBLEMS: dict[type[NemetonError], Problem] = {
    InvalidTask: Problem(400, "invalidInput", "USER", "INVALID_INPUT", plain=True),
    TaskIdExists: Problem(400, "entryAlreadyExists", "USER", "INVALID_INPUT"),
    InvalidInput: Problem(400, "invalidInput", "USER", "INVALID_INPUT"),
    Unreadable: Problem(500, "general", "USER", "INVALID_INPUT"),
    BodyTooLarge: Problem(413, "general", "USER", "INVALID_INPUT"),
    Forbidden: Problem(403, "forbidden", "USER", "FORBIDDEN"),
    NotFound: Problem(404, "notFound", "USER", "NOT_FOUND"),
    Conflict: Problem(409, "general", "USER", "CONFLICT"),
    CapacityExceeded: Problem(429, "general", "ADMIN", "CAPACITY_EXCEEDED"),
    Unavailable: Problem(503, "general", "OPERATOR", "SERVICE_UNAVAILABLE"),
    StorageError: UNEXPECTED,
    NemetonError: UNEXPECTED,
}


def problem_of(error: BaseException) -> Problem:
    """The row of the nearest class above `error`."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return UNEXPECTED
