"""
Logs, reports and final statuses of tasks in object storage, under Druid's names.

A log that is still being written lies in parts, for objects cannot be appended to; a task that was tried more than once
keeps the log of each attempt beside the whole. Druid knows neither, and reads the whole.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count, takewhile
from pathlib import Path

from druid_core.errors import NotFound
from druid_core.storage.object_store import ObjectStore
from druid_core.storage.stored_log import LogPiece, StoredLog

PART_BYTES = 64 << 10
"""A part that holds so much is full: what a reader of a growing log may have to read anew, and what may be lost with a
machine, is no more than that."""

_FILE_NAME_BYTES = 250
"""File systems allow 255, of which a file that is not whole yet takes some for a number; a longer id is kept under its
SHA-256 (Druid fails to store it)."""

_PARTS = "log.parts"
_ATTEMPTS = "log.attempts"
_OF_ATTEMPT = re.compile(rf"(?:^|[/.]){_ATTEMPTS}/(\d{{4,}})$")
_PART = re.compile(rf"(?:^|[/.]){_PARTS}/(\d{{4,}})-(\d{{6,}})$")


class TaskLogName(StrEnum):
    """The objects of one task. Druid: TaskLogPusher, S3TaskLogs"""

    LOG = "log"
    REPORT = "report.json"
    STATUS = "status.json"
    PAYLOAD = "task.json"


class TaskLogs:
    """
    What tasks leave behind, in one store.

    Clouds: `{prefix}/{taskId}/{name}`; a local folder: `{folder}/{taskId}.{name}`, each as Druid's own log storage of
    that kind has it, so that a Druid that is pointed at the same place finds them. Methods raise NotFound and
    StorageError. Druid: S3TaskLogs, FileTaskLogs

    Beside `log`, and only of use to us: `log.parts/{attempt}-{index}` while an attempt runs, and, once there was a
    second attempt, `log.attempts/{attempt}`.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def from_url(cls, url: str) -> "TaskLogs":
        """See `ObjectStore.from_url`."""
        return cls(ObjectStore.from_url(url))

    def push(self, task_id: str, name: TaskLogName, data: bytes | Path) -> None:
        self._store.put(self._path(task_id, name), data)

    def read(self, task_id: str, name: TaskLogName, start: int = 0, end: int | None = None) -> bytes:
        return self._store.get(self._path(task_id, name), start, end)

    def size(self, task_id: str, name: TaskLogName) -> int:
        return self._store.size(self._path(task_id, name))

    def push_part(self, task_id: str, attempt: int, index: int, data: bytes) -> None:
        """Part `index` of a growing log, from 0; it is replaced as it grows, until it holds PART_BYTES."""
        self._store.put(self._part_path(task_id, attempt, index), data)

    def parts_log(self, task_id: str, attempt: int) -> StoredLog:
        """What one attempt has left in parts, in order; empty where there are none."""
        return StoredLog(self._store, tuple(self._parts(task_id).get(attempt, [])))

    def has_log_of(self, task_id: str, attempt: int) -> bool:
        """Whether an attempt's whole log was stored, and the task's log has it."""
        found = self._find(task_id)
        if attempt in found.attempts:
            return found.log_bytes == self._whole(found).size
        return attempt == 1 and not found.attempts and found.log_bytes is not None

    def finish_attempt(self, task_id: str, attempt: int, log: bytes | Path | Iterator[bytes]) -> None:
        """
        Store the whole log of an attempt, and make the task's log of all attempts that there are.

        The first attempt's log is the task's, as it is. With more of them each has a copy of its own below
        `log.attempts`, from which the task's is made: attempts in order, a line that says so before each but the first.
        The parts go last. Calling twice is calling once, and so is calling again after a crash between any two steps.
        """
        found = self._find(task_id)
        if attempt == 1 and not found.attempts:
            self._store.put(self._path(task_id, TaskLogName.LOG), log)
        else:
            if not found.attempts and found.log_bytes is not None:  # so far the log is the first attempt's alone
                self._store.copy(self._path(task_id, TaskLogName.LOG), self._attempt_path(task_id, 1))
            self._store.put(self._attempt_path(task_id, attempt), log)
            self._join(task_id)
        self._store.delete_all([piece.path for piece in self._parts(task_id).get(attempt, []) if piece.path])

    def rejoin(self, task_id: str, attempt: int) -> bool:
        """Make the task's log anew where the log of this attempt is stored by itself; whether it is."""
        if attempt not in self._find(task_id).attempts:
            return False
        self._join(task_id)
        return True

    def best_log(self, task_id: str) -> StoredLog | None:
        """All that there is of a task's log: whole attempts, parts where an attempt has no more. None: nothing."""
        found = self._find(task_id)
        if found.log_bytes is None and not found.attempts and not found.parts:
            return None
        return self._until(found, max([1, *found.attempts, *found.parts]))

    def log_before(self, task_id: str, attempt: int) -> StoredLog:
        """What a task's log holds ahead of the log of one of its attempts, the line that announces it included."""
        if attempt <= 1:
            return StoredLog(self._store)
        earlier = self._until(self._find(task_id), attempt - 1)
        return StoredLog(self._store, (*earlier.pieces, _announcement(attempt)))

    def delete(self, task_id: str) -> None:
        """Remove all that a task left behind."""
        found = self._find(task_id)
        paths = [self._attempt_path(task_id, attempt) for attempt in found.attempts]
        paths += [piece.path for parts in found.parts.values() for piece in parts if piece.path]
        self._store.delete_all([*paths, *(self._path(task_id, name) for name in TaskLogName)])

    def kill_older_than(self, time_ms: int) -> int:
        """
        Remove every object last written before a time (ms UTC), whatever task it is of; how many there were.

        Druid: TaskLogKiller.killOlderThan
        """
        killed = 0
        batch: list[str] = []
        for stored in self._store.list():
            if stored.modified_ms < time_ms:
                batch.append(stored.path)
            if len(batch) == _KILLED_AT_ONCE:
                self._store.delete_all(batch)
                killed, batch = killed + len(batch), []
        self._store.delete_all(batch)
        return killed + len(batch)

    def _join(self, task_id: str) -> None:
        """Make the task's log of its attempts' logs; anew, where another attempt's came to them meanwhile."""
        joined = None
        while (found := self._find(task_id)) and (whole := self._whole(found)) != joined:
            self._store.put(self._path(task_id, TaskLogName.LOG), whole.chunks())
            joined = whole

    def _whole(self, found: "_Found") -> StoredLog:
        """The log that the attempts' logs make."""
        return self._until(found, max(found.attempts))

    def _until(self, found: "_Found", last: int) -> StoredLog:
        pieces: list[LogPiece] = []
        for attempt in range(1, last + 1):
            if attempt > 1:
                pieces.append(_announcement(attempt))
            if attempt in found.attempts:
                pieces.append(found.attempts[attempt])
            elif attempt == 1 and not found.attempts and found.log_bytes is not None:
                pieces.append(LogPiece(self._path(found.task_id, TaskLogName.LOG), found.log_bytes))
            else:
                pieces += found.parts.get(attempt, [])
        return StoredLog(self._store, tuple(pieces))

    def _find(self, task_id: str) -> "_Found":
        found = _Found(task_id, self._log_bytes(task_id), parts=self._parts(task_id))
        for stored in self._store.list(self._path(task_id, _ATTEMPTS)):
            if match := _OF_ATTEMPT.search(stored.path):
                attempt = int(match[1])
                found.attempts[attempt] = LogPiece(self._attempt_path(task_id, attempt), stored.size)
        return found

    def _log_bytes(self, task_id: str) -> int | None:
        try:
            return self.size(task_id, TaskLogName.LOG)
        except NotFound:
            return None

    def _parts(self, task_id: str) -> dict[int, list[LogPiece]]:
        """By attempt, in order; a part behind a gap is left out, for nobody can say where it belongs."""
        sizes: dict[int, dict[int, int]] = {}
        for stored in self._store.list(self._path(task_id, _PARTS)):
            if match := _PART.search(stored.path):
                sizes.setdefault(int(match[1]), {})[int(match[2])] = stored.size
        return {
            attempt: [
                LogPiece(self._part_path(task_id, attempt, index), of_attempt[index])
                for index in takewhile(of_attempt.__contains__, count())
            ]
            for attempt, of_attempt in sizes.items()
        }

    def _attempt_path(self, task_id: str, attempt: int) -> str:
        return f"{self._path(task_id, _ATTEMPTS)}/{attempt:04d}"

    def _part_path(self, task_id: str, attempt: int, index: int) -> str:
        return f"{self._path(task_id, _PARTS)}/{attempt:04d}-{index:06d}"

    def _path(self, task_id: str, name: str) -> str:
        if self._store.scheme == "file":
            stem = task_id
            if len(stem.encode()) + len(name) + 1 > _FILE_NAME_BYTES:
                stem = hashlib.sha256(stem.encode()).hexdigest()
            return f"{stem}.{name}"
        return f"{task_id}/{name}"


_KILLED_AT_ONCE = 1000
"""As many as S3 deletes with one request."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is of a task's log."""

    task_id: str
    log_bytes: int | None
    parts: dict[int, list[LogPiece]]
    attempts: dict[int, LogPiece] = field(default_factory=dict[int, LogPiece])


def _announcement(attempt: int) -> LogPiece:
    """The line between two attempts. It begins with a line break: what was killed may have ended in mid-line."""
    text = f"\n==== attempt {attempt} ====\n".encode()
    return LogPiece(None, len(text), text)
