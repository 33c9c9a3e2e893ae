"""
The JSON of every error answer, from one table.

Druid has two shapes. `{"error": "text"}` is for a task that does not parse; the DruidException of nine fields is for
the rest. Where Druid itself answers an HTML page, this Overlord keeps the status code and answers a DruidException.
"""

import math
from collections.abc import Sequence
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


class NotSignedIn(NemetonError):
    """Nobody known calls: no credentials, or wrong ones. `challenges` are what WWW-Authenticate answers."""

    def __init__(self, message: str, challenges: Sequence[str]) -> None:
        self.challenges = tuple(challenges)
        super().__init__(message)


class AccessDenied(NemetonError):
    """Somebody known calls who may not do this. Druid: ForbiddenException"""


class UnknownThing(NotFound):
    """The path names a task or a supervisor that is none; answered in plain text. Druid: TaskResourceFilter"""


class TooManyRequests(CapacityExceeded):
    """A caller came too often. In `retry_after_seconds` he may come again."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class Unreadable(NemetonError):
    """A request that cannot be read at all: broken JSON, no body. Druid: 500 with a page of HTML"""


class BodyTooLarge(NemetonError):
    """A request body beyond `max_body_bytes`."""


class BodyTooSlow(NemetonError):
    """A request body that does not go on."""


class BodyCutShort(NemetonError):
    """A request body that ends before its end: its caller went away, and nobody reads the answer."""


class Unsupported(NemetonError):
    """What Druid can do and this Overlord cannot, or not with what it was asked for."""


@dataclass(frozen=True, slots=True)
class Problem:
    """How one kind of error is answered. Druid: DruidException"""

    status: int
    error_code: str
    persona: str
    category: str
    plain: bool = False
    """`{"error": text}` alone."""
    key: str = "error"
    """Of a plain one."""

    def body(self, message: str) -> dict[str, Any]:
        if self.plain:
            return {self.key: message}
        if self.status == 401:  # as Druid answers whoever did not sign in. Druid: QueryInterruptedException
            return {"error": "Unauthorized request", "errorMessage": message, "errorClass": None, "host": None}
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
    BodyTooSlow: Problem(408, "general", "USER", "TIMEOUT"),
    BodyCutShort: Problem(400, "general", "USER", "INVALID_INPUT"),
    BodyTooLarge: Problem(413, "general", "USER", "INVALID_INPUT"),
    NotSignedIn: Problem(401, "unauthorized", "USER", "UNAUTHORIZED"),
    AccessDenied: Problem(403, "forbidden", "USER", "FORBIDDEN", plain=True, key="Access-Check-Result"),
    Forbidden: Problem(403, "forbidden", "USER", "FORBIDDEN"),
    NotFound: Problem(404, "notFound", "USER", "NOT_FOUND"),
    Conflict: Problem(409, "general", "USER", "CONFLICT"),
    CapacityExceeded: Problem(429, "general", "ADMIN", "CAPACITY_EXCEEDED"),
    Unsupported: Problem(501, "general", "USER", "UNSUPPORTED"),
    Unavailable: Problem(503, "general", "OPERATOR", "SERVICE_UNAVAILABLE"),
    StorageError: UNEXPECTED,
    NemetonError: UNEXPECTED,
}


RETRY_AFTER_SECONDS = 5
"""After which a queue that was full, or a database that was away, is worth another try."""


def headers_of(error: BaseException) -> list[tuple[str, str]]:
    """What an error's answer says beside its body: how to sign in, when to come again."""
    match error:
        case NotSignedIn(challenges=challenges):
            return [("www-authenticate", challenge) for challenge in challenges]
        case TooManyRequests(retry_after_seconds=seconds):
            return [("retry-after", str(max(1, math.ceil(seconds))))]
        case CapacityExceeded() | Unavailable():
            return [("retry-after", str(RETRY_AFTER_SECONDS))]
        case _:
            return []


def problem_of(error: BaseException) -> Problem:
    """The row of the nearest class above `error`."""
    for kind in type(error).__mro__:
        if kind in PROBLEMS:
            return PROBLEMS[kind]
    return UNEXPECTED
