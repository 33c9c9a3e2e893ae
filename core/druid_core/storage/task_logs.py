"""Logs, reports and final statuses of tasks in object storage, under Druid's names."""

import hashlib
from enum import StrEnum
from pathlib import Path

from druid_core.storage.object_store import ObjectStore

_FILE_NAME_BYTES = 255
"""What file systems allow; a longer id is kept under its SHA-256 (Druid fails to store it)."""


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

    def delete(self, task_id: str) -> None:
        """Remove all that a task left behind."""
        for name in TaskLogName:
            self._store.delete(self._path(task_id, name))

    def _path(self, task_id: str, name: TaskLogName) -> str:
        if self._store.scheme == "file":
            stem = task_id
            if len(stem.encode()) + len(name.value) + 1 > _FILE_NAME_BYTES:
                stem = hashlib.sha256(stem.encode()).hexdigest()
            return f"{stem}.{name.value}"
        return f"{task_id}/{name.value}"
