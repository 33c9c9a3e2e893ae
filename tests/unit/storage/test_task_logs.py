"""What tasks leave behind, under Druid's names."""

from pathlib import Path

import pytest

from druid_core.errors import NotFound
from druid_core.storage.task_logs import TaskLogName, TaskLogs


def test_a_local_log_has_druids_file_name(tmp_path: Path) -> None:
    TaskLogs.from_url(str(tmp_path)).push("noop_1", TaskLogName.LOG, b"text")
    assert (tmp_path / "noop_1.log").read_bytes() == b"text"


@pytest.mark.parametrize("task_id", ["x" * 250, "é" * 200, "a b", "a%2Fb"])
def test_any_task_id_can_be_stored_and_read(tmp_path: Path, task_id: str) -> None:
    logs = TaskLogs.from_url(str(tmp_path))
    logs.push(task_id, TaskLogName.REPORT, b"{}")
    assert logs.read(task_id, TaskLogName.REPORT) == b"{}"
    assert logs.size(task_id, TaskLogName.REPORT) == 2


def test_deleting_a_task_removes_all_of_it_and_nothing_else(tmp_path: Path) -> None:
    logs = TaskLogs.from_url(str(tmp_path))
    for task_id in ("one", "two"):
        logs.push(task_id, TaskLogName.LOG, b"")
        logs.push(task_id, TaskLogName.STATUS, b"")
    logs.delete("one")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["two.log", "two.status.json"]
    with pytest.raises(NotFound):
        logs.read("one", TaskLogName.LOG)
