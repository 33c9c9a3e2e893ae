"""What a task died of, as the sentence that the person who sent it reads."""

import errno

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
        return f"Disk full{while_doing}: {error}"
    if isinstance(error, NemetonError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind it; libraries that are not Python's keep only the operating system's words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        if _DISK_FULL_WORDS in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
