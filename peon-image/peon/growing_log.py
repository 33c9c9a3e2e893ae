"""A log while it is written: a file, and in memory what a full disk keeps out of it."""

import os
import threading
from pathlib import Path

_UNSAVED_BYTES = 8 << 20
"""How much a full disk may keep out of the file; what a task says of its full disk is a few KiB."""
_LOST_WORDS = "\n[{} bytes of this log are lost: the disk was full, and so was the memory for what it did not take]\n"


class GrowingLog:
    """
    Bytes of which none changes once it is there. To be written by one thread, and read by any.

    What the disk does not take is kept, and tried again with whatever follows: a task that fills the disk fails, makes
    room, and its last words are the ones worth reading.
    """

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._saved_bytes = 0
        self._unsaved = bytearray()
        self._lost_bytes = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """In bytes, the unsaved ones included."""
        with self._lock:
            return self._saved_bytes + len(self._unsaved)

    def append(self, data: bytes) -> None:
        """Add to the end; raises nothing, whatever the disk says."""
        with self._lock:
            if self._lost_bytes and self._save():
                data = _LOST_WORDS.format(self._lost_bytes).encode() + data
                self._lost_bytes = 0
            if len(self._unsaved) + len(data) > _UNSAVED_BYTES:
                self._lost_bytes += len(data)
                return
            self._unsaved += data
            self._save()

    def read(self, start: int, end: int) -> bytes:
        """Bytes `start` up to but not including `end`, as many of them as there are."""
        with self._lock:
            saved = os.pread(self._fd, max(0, min(end, self._saved_bytes) - start), start)
            begin = max(0, start - self._saved_bytes)
            return saved + bytes(self._unsaved[begin : max(begin, end - self._saved_bytes)])

    def _save(self) -> bool:
        """Write what is unsaved; whether nothing is left."""
        try:
            while self._unsaved:
                written = os.pwrite(self._fd, self._unsaved, self._saved_bytes)
                self._saved_bytes += written
                del self._unsaved[:written]
        except OSError:
            return False
        return True
