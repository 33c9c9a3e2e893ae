"""A growing log, brought to task-log storage part by part, and whole in the end."""

import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from druid_core.errors import NemetonError
from peon.growing_log import GrowingLog

if TYPE_CHECKING:
    from druid_core.storage.task_logs import TaskLogs

PUSH_SECONDS = 0.75
"""Between two pushes of what is new. With the time that a push takes, a machine that dies takes a second with it."""
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0
_CHUNK_BYTES = 1 << 20


class LogShipping:
    """
    One attempt's log on its way, in a thread of its own.

    Storage that is away delays it; what it could not bring before `finish` gives up is left to whoever looks after the
    pod. The library behind the storage is loaded with the first push, after the peon's own start.
    """

    def __init__(self, log: GrowingLog, task_logs_url: str, task_id: str, attempt: int) -> None:
        self._log = log
        self._url = task_logs_url
        self._task_id = task_id
        self._attempt = attempt
        self._news = threading.Condition()
        self._is_over = False
        self._is_stored = False
        self._part = self._pushed_bytes = 0
        self._pushed_at = time.monotonic()
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def notice(self) -> None:
        """The log has grown."""
        with self._news:
            self._news.notify()

    def finish(self, patience_seconds: float) -> bool:
        """The log is at its end: store it whole. Whether that was done in time."""
        with self._news:
            self._is_over = True
            self._news.notify()
        self._thread.join(patience_seconds)
        return self._is_stored

    def _run(self) -> None:
        """Push until the end, then store the whole; a storage that refuses is asked again, less and less often."""
        with self._news:
            self._news.wait_for(lambda: self._is_over, PUSH_SECONDS)
        from druid_core.storage.task_logs import TaskLogs

        while not self._is_stored:
            try:
                self._bring(TaskLogs.from_url(self._url))
            except NemetonError as error:
                if self._wait_seconds == _FIRST_WAIT_SECONDS:  # once each time that it is away
                    print(f"The log cannot be stored, trying again: {error}", file=sys.stderr, flush=True)
                time.sleep(self._wait_seconds)
                self._wait_seconds = min(2 * self._wait_seconds, _LONGEST_WAIT_SECONDS)

    def _bring(self, task_logs: "TaskLogs") -> None:
        """All of it, from where we are; returns when it is stored whole. Raises NemetonError."""
        from druid_core.storage.task_logs import PART_BYTES

        while self._wait_for_news(PART_BYTES):
            start = self._part * PART_BYTES
            data = self._log.read(start, start + PART_BYTES)
            task_logs.push_part(self._task_id, self._attempt, self._part, data)
            self._pushed_bytes, self._pushed_at = start + len(data), time.monotonic()
            self._wait_seconds = _FIRST_WAIT_SECONDS
            if len(data) == PART_BYTES:
                self._part += 1
        task_logs.finish_attempt(self._task_id, self._attempt, self._whole())
        self._is_stored = True

    def _wait_for_news(self, part_bytes: int) -> bool:
        """Wait until something is to be pushed: at once where a part is full, else not too often. False: it is over."""
        with self._news:
            while not self._is_over:
                size = self._log.size
                if size >= (self._part + 1) * part_bytes:
                    return True
                left = self._pushed_at + PUSH_SECONDS - time.monotonic() if size > self._pushed_bytes else None
                if left is not None and left <= 0:
                    return True
                self._news.wait(left)
        return False

    def _whole(self) -> Iterator[bytes]:
        for start in range(0, self._log.size, _CHUNK_BYTES):
            yield self._log.read(start, start + _CHUNK_BYTES)
