"""What an attempt leaves behind, brought to task-log storage."""

import asyncio
import logging
import time
from pathlib import Path

from druid_core.errors import NemetonError, NotFound
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from middle_manager.record import AttemptRecord

_log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 30.0
"""How long the storage may refuse before an attempt's end is reported without its log."""
_LONGEST_WAIT_SECONDS = 5.0


async def ship(record: AttemptRecord, task_logs: TaskLogs | None) -> None:
    """
    Push the log, and report and status where the peon did not; tried again for a while where the storage refuses.

    Calling twice is calling once.
    """
    if task_logs is None:
        return
    deadline, wait_seconds = time.monotonic() + _PATIENCE_SECONDS, 0.2
    while True:
        try:
            await asyncio.to_thread(_push, record, task_logs)
        except NemetonError as error:
            if time.monotonic() + wait_seconds > deadline:
                _log.error("The log of task [%s] cannot be stored, given up: %s", record.task_id, error)
                return
            _log.warning("The log of task [%s] cannot be stored, trying again: %s", record.task_id, error)
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
        else:
            return


def _push(record: AttemptRecord, task_logs: TaskLogs) -> None:
    for name in (TaskLogName.REPORT, TaskLogName.STATUS):
        file = record.attempt_dir / name.value
        if file.exists() and not _is_stored(record.task_id, name, file, task_logs):
            task_logs.push(record.task_id, name, file)
    if record.log_file.exists():
        task_logs.push(record.task_id, TaskLogName.LOG, record.log_file)


def _is_stored(task_id: str, name: TaskLogName, file: Path, task_logs: TaskLogs) -> bool:
    try:
        return task_logs.size(task_id, name) == file.stat().st_size
    except NotFound:
        return False
