"""What a task died of, in words."""

import errno

import pytest

from druid_core.errors import StorageError, TaskFailure
from peon.failure import in_words


def caused_by(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TaskFailure("Max parse exceptions[0] exceeded"), "Max parse exceptions[0] exceeded"),
        (ValueError("x is no number"), "ValueError: x is no number"),
        (MemoryError(), "Out of memory while segments were being built: the operating system gives the peon no more"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/scratch/a"),
            "Disk full while segments were being built: [Errno 28] No space left on device: '/scratch/a'",
        ),
        (
            RuntimeError("IO Error: could not write: No space left on device"),
            "Disk full while segments were being built: IO Error: could not write: No space left on device",
        ),
        (
            caused_by(StorageError("[/deep/x] cannot be used"), OSError(errno.EDQUOT, "Disk quota exceeded")),
            "Disk full while segments were being built: [/deep/x] cannot be used",
        ),
    ],
)
def test_the_cause_is_named(error: Exception, words: str) -> None:
    assert in_words(error, "segments were being built") == words


def test_without_a_place_the_cause_stands_alone() -> None:
    assert in_words(OSError(errno.ENOSPC, "No space left on device")).startswith("Disk full: ")
