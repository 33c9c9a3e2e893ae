"""
What the MiddleManager knows of an attempt, on disk: whoever kills it at any moment, the next one reads on here.

The life of a record, each step a file replaced whole:

    prepared   made before the process is; its folder's exclusive creation is what makes a second start impossible
    started    pid known; written before the process is let through its gate, so a record without pid never ran
    (begun)    a mark that the peon makes itself as soon as it is through
    ended      gone, its log stored or given up; kept until the Overlord says that it knows
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from druid_core.status import TaskStatus
from druid_core.wire import WireModel
from middle_manager.process import ProcessIdentity

_RECORD_FILE = "attempt.json"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_READABLE_CHARACTERS = 80


class AttemptEnd(WireModel):
    """How an attempt ended: in words, and with the peon's own status where it left one."""

    reason: str
    status: TaskStatus | None = None


class AttemptRecord(WireModel):
    """One run of one task on this machine."""

    task_id: str
    attempt: int
    base_dir: Path
    """Whose slot it takes."""
    port: int
    """Of the peon's chat server."""
    boot_id: str
    """Of the machine; after a restart no process of before is alive, whatever its pid."""
    process: ProcessIdentity | None = None
    end: AttemptEnd | None = None

    @property
    def name(self) -> str:
        return folder_name(self.task_id, self.attempt)

    @property
    def task_dir(self) -> Path:
        return self.base_dir / self.name

    @property
    def log_file(self) -> Path:
        return self.task_dir / "log"

    @property
    def attempt_dir(self) -> Path:
        return self.task_dir / "attempt" / str(self.attempt)

    @property
    def has_begun(self) -> bool:
        """Whether its peon was let through its gate; one that was not has done nothing."""
        return (self.attempt_dir / "begun").exists()


class RecordShelf:
    """All records of one MiddleManager, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, record: AttemptRecord) -> bool:
        """
        Write a new record and make its task folder; False when the attempt has one already.

        Outlives a loss of power.
        """
        try:
            (self._folder / record.name).mkdir()
        except FileExistsError:
            return False
        record.attempt_dir.mkdir(parents=True, exist_ok=True)
        self.write(record)
        return True

    def write(self, record: AttemptRecord) -> None:
        """Replace the record by a newer one."""
        file = self._folder / record.name / _RECORD_FILE
        unfinished = file.with_suffix(".unfinished")
        with unfinished.open("wb") as written:
            written.write(orjson.dumps(record.to_wire()))
            written.flush()
            os.fsync(written.fileno())
        unfinished.replace(file)

    def remove(self, record: AttemptRecord) -> None:
        """Remove the record and all files of the attempt. Calling twice is calling once."""
        shutil.rmtree(record.task_dir, ignore_errors=True)
        shutil.rmtree(self._folder / record.name, ignore_errors=True)

    def read_all(self) -> Iterator[AttemptRecord]:
        """Every record; folders that hold none are the traces of a start that did not come so far, and are removed."""
        for folder in sorted(self._folder.iterdir()):
            try:
                yield AttemptRecord.model_validate(_read_json(folder / _RECORD_FILE))
            except (OSError, orjson.JSONDecodeError, ValidationError):
                shutil.rmtree(folder, ignore_errors=True)


def folder_name(task_id: str, attempt: int) -> str:
    """A name that any file system takes and a person recognises: ids may be long, and hold what paths may not."""
    readable = _UNSAFE.sub("_", task_id)[:_READABLE_CHARACTERS].strip(".") or "task"
    return f"{readable}-{hashlib.sha256(task_id.encode()).hexdigest()[:16]}-{attempt}"


def read_status(record: AttemptRecord) -> TaskStatus | None:
    """The peon's status file, where it came so far as to write one."""
    try:
        return TaskStatus.model_validate(_read_json(record.attempt_dir / "status.json"))
    except (OSError, orjson.JSONDecodeError, ValidationError):
        return None


def _read_json(file: Path) -> Any:
    return orjson.loads(file.read_bytes())
