"""What a task died of, in words."""

import errno
import shutil

import pytest

from druid_core.errors import StorageError, TaskFailure
from peon.failure import in_words

THEN = "make room, then submit the task again"


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
            f"Disk full while segments were being built: no space is left at [/scratch/a]; {THEN}",
        ),
        (
            RuntimeError("IO Error: could not write: No space left on device"),
            f"Disk full while segments were being built: IO Error: could not write: No space left on device; {THEN}",
        ),
        (
            shutil.Error(
                [
                    ("/work/00000.smoosh", "/deep/00000.smoosh", "[Errno 28] No space left on device: '/deep/a'"),
                    ("/work/meta.smoosh", "/deep/meta.smoosh", "[Errno 28] No space left on device: '/deep/b'"),
                ]
            ),
            f"Disk full while segments were being built: no space is left at [/deep/00000.smoosh]; {THEN}",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded", "/work/a", None, "/deep/a"),  # of a copy
            f"Disk full while segments were being built: the disk quota is used up at [/deep/a]; {THEN}",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", 7),  # a file without a name
            "Disk full while segments were being built: [Errno 28] No space left on device: 7; " + THEN,
        ),
        (
            caused_by(RuntimeError("could not write\na second line"), OSError(errno.ENOSPC, "No space left on device")),
            f"Disk full while segments were being built: could not write; {THEN}",
        ),
        (
            caused_by(StorageError("[/deep/x] cannot be used"), OSError(errno.EDQUOT, "Disk quota exceeded")),
            f"Disk full while segments were being built: [/deep/x] cannot be used; {THEN}",
        ),
    ],
)
def test_the_cause_is_named(error: Exception, words: str) -> None:
    assert in_words(error, "segments were being built") == words


def test_without_a_place_the_cause_stands_alone() -> None:
    assert in_words(OSError(errno.ENOSPC, "No space left on device")).startswith("Disk full: ")
