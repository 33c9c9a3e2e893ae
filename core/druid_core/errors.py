"""
What can go wrong, as one tree. Every error of this product is a NemetonError; no library's exception leaves a room.

    NemetonError
    ├── InvalidInput             the caller's value is wrong: name the field and what was expected      400
    │   ├── InvalidTask          a task that the Overlord refuses                                        400
    │   │   └── NotSupportedYet  it asks for what Druid has and we have not                              400
    │   └── TaskIdExists         the id was used before, finished tasks included                         400
    ├── NotFound                 no such task, log, report, object                                       404
    ├── Conflict                 the state forbids it now                                                409
    ├── CapacityExceeded         a limit of count or size was reached                                    429
    ├── Unavailable              a server that is needed does not answer; worth another try              503
    ├── StorageError             deep storage or log storage refused                                     500
    │   └── StorageAway          it does not answer; worth another try                                   500
    └── TaskFailure              a task ends FAILED; the text is its errorMsg
"""

from collections.abc import Iterable


class NemetonError(Exception):
    """The root. `str(error)` is a sentence for the person who reads it."""


class InvalidInput(NemetonError):
    """A value that cannot be accepted, now or later."""


class InvalidTask(InvalidInput):
    """A task that the Overlord refuses. The text is what Druid would answer under `error`."""


class NotSupportedYet(InvalidTask):
    """Something that Druid knows and this product does not have. `supported`: what there is in its place."""

    def __init__(self, what: str, supported: Iterable[str] = ()) -> None:
        offered = ", ".join(sorted(supported))
        sentence = f"{what} is known to Druid but not supported yet by this Overlord"
        super().__init__(f"{sentence}; supported are: {offered}" if offered else sentence)


class TaskIdExists(InvalidInput):
    """A task id that was used before. Druid: entryAlreadyExists."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(f"Task[{task_id}] already exists")


class NotFound(NemetonError):
    """What was asked for does not exist."""


class Conflict(NemetonError):
    """The present state forbids it."""


class CapacityExceeded(NemetonError):
    """A limit of count or size was reached."""


class Unavailable(NemetonError):
    """A server that is needed does not answer. Worth another try."""


class StorageError(NemetonError):
    """Deep storage or log storage refused, or what it holds is not what it should be."""


class StorageAway(StorageError):
    """Deep storage or log storage does not answer, or cannot at present. Worth another try."""


class TaskFailure(NemetonError):
    """A task cannot go on. The text becomes its errorMsg."""
