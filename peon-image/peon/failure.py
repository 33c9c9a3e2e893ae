"""What a task died of, as the sentence that the person who sent it reads."""

import errno
import shutil
from typing import Any

from druid_core.errors import NemetonError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL_WORDS = "No space left on device"


def in_words(error: BaseException, doing: str | None = None) -> str:
    """
    Our own errors speak for themselves; memory and disk are named; anything else is given with its type.

    `doing` is what was going on, as the end of a sentence that begins with `while`.
    """
    while_doing = f" while {doing}" if doing else ""
    if isinstance(error, MemoryError):
        return f"Out of memory{while_doing}: the operating system gives the peon no more"
    if _is_disk_full(error):
        return f"Disk full{while_doing}: {_what_is_full(error)}; make room, then submit the task again"
    if isinstance(error, NemetonError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _what_is_full(error: BaseException) -> str:
    """Which place, as far as anybody said; a library's list or second line is not for people."""
    if isinstance(error, NemetonError) and str(error):
        return _first_line(error)
    at: BaseException | None = error
    while at is not None:
        place = _place(at)
        if place is not None:
            limit = "the disk quota is used up" if getattr(at, "errno", None) == errno.EDQUOT else "no space is left"
            return f"{limit} at [{place}]"
        at = at.__cause__ or at.__context__
    return _first_line(error)


def _place(error: BaseException) -> str | None:
    match error:
        case shutil.Error(args=([(_, str(target), _), *_],)):  # what `copytree` could not copy, and where to
            return target
        case OSError():
            # Of a copy the second name is the one that is written. It is a number for a file that has no name.
            names: list[Any] = [error.filename2, error.filename]
            return next((str(name) for name in names if name is not None and not isinstance(name, int)), None)
        case _:
            return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind it; libraries that are not Python's keep only the operating system's words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        if _DISK_FULL_WORDS in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
