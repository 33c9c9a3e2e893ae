"""What the API server refuses, as errors of ours."""

from druid_core.errors import Conflict, NemetonError, NotFound, Unavailable


class ClusterRefused(NemetonError):
    """The API server will not have it, now or in this form: forbidden, invalid, over quota, denied by a policy."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)


class AlreadyExists(Conflict):
    """An object of that name exists."""


class Outdated(Conflict):
    """What was written rests on an older state of the object."""


class Vanished(NotFound):
    """There is no such object."""


class ClusterAway(Unavailable):
    """The API server does not answer, or is too busy to. Worth another try."""


def of_answer(status: int, reason: str, message: str) -> NemetonError:
    """The error for an answer that is not 2xx."""
    match status, reason:
        case 409, "AlreadyExists":
            return AlreadyExists(message)
        case 409, _:
            return Outdated(message)
        case 404, _:
            return Vanished(message)
        case 410, _:
            return Outdated(message)
        case ((408 | 429 | 500 | 502 | 503 | 504), _):
            return ClusterAway(message)
        case _:
            return ClusterRefused(status, reason, message)
