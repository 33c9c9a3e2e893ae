"""`nemeton logs`: a task's log, whole or as it grows."""

import time
from collections.abc import Callable

from druid_core.errors import NotFound, Unavailable
from nemeton.client.overlord import Overlord, Refused

POLL_S = 0.5
LATE_S = 5.0
"""How long after a task's end its log may still be on its way into storage."""


def follow(overlord: Overlord, task_id: str, offset: int, write: Callable[[bytes], None]) -> None:
    """
    Writes the log from `offset` on, and what is appended, until the task has ended and all of it was written.

    Follows by byte offset: a part that was once written is never fetched again. Raises NotFound for an unknown task,
    and for one that ended without a log.
    """
    if offset < 0:
        # A tail does not say where it begins, and we go on by position: so the whole, once.
        overlord.status(task_id)  # an unknown task is said at once
        whole = _log(overlord, task_id, 0) or b""
        write(whole[offset:])
        offset = len(whole)
    ended_at: float | None = None
    while True:
        ended = overlord.status(task_id)["statusCode"] != "RUNNING"
        text = _log(overlord, task_id, offset)
        if text:
            write(text)
            offset += len(text)
        if ended:
            ended_at = ended_at or time.monotonic()
            if text == b"" or (text is not None and offset):
                return
            if time.monotonic() - ended_at > LATE_S:
                overlord.log(task_id, offset)  # raises NotFound, in the Overlord's words
                return
        time.sleep(POLL_S)


def _log(overlord: Overlord, task_id: str, offset: int) -> bytes | None:
    """None while there is no log: the peon has not started, or its log is on its way into storage."""
    try:
        return overlord.log(task_id, offset)
    except (NotFound, Refused, Unavailable):
        return None
