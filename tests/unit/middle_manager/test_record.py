"""What is known of an attempt is on disk, whole or not at all."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from druid_core.status import TaskStatus
from middle_manager.process import ProcessIdentity
from middle_manager.record import AttemptEnd, AttemptRecord, RecordShelf, folder_name, read_status


@pytest.fixture
def shelf(tmp_path: Path) -> RecordShelf:
    return RecordShelf(tmp_path / "attempts")


@pytest.fixture
def record(tmp_path: Path) -> AttemptRecord:
    return AttemptRecord(task_id="t", attempt=1, base_dir=tmp_path / "tasks", port=8100, boot_id="b")


def test_an_attempt_is_recorded_once(shelf: RecordShelf, record: AttemptRecord) -> None:
    assert shelf.create(record)
    assert not shelf.create(record)
    assert list(shelf.read_all()) == [record]
    assert record.attempt_dir.is_dir()


def test_another_attempt_of_the_task_has_its_own_folders(shelf: RecordShelf, record: AttemptRecord) -> None:
    second = record.model_copy(update={"attempt": 2})
    assert shelf.create(record)
    assert shelf.create(second)
    assert record.task_dir != second.task_dir


def test_a_newer_record_replaces_the_older_one(shelf: RecordShelf, record: AttemptRecord) -> None:
    shelf.create(record)
    newer = record.model_copy(
        update={
            "process": ProcessIdentity(pid=7, start_ticks=9),
            "end": AttemptEnd(reason="exit code 0", status=TaskStatus.success("t", 5)),
        }
    )
    shelf.write(newer)
    assert list(shelf.read_all()) == [newer]


def test_removed_is_removed_however_often(shelf: RecordShelf, record: AttemptRecord) -> None:
    shelf.create(record)
    shelf.remove(record)
    shelf.remove(record)
    assert list(shelf.read_all()) == []
    assert not record.task_dir.exists()


@pytest.mark.parametrize("content", [None, b"", b'{"taskId": "t"', b"{}"])
def test_the_trace_of_a_start_that_did_not_come_far_is_cleared_away(
    content: bytes | None, shelf: RecordShelf, record: AttemptRecord, tmp_path: Path
) -> None:
    folder = tmp_path / "attempts" / record.name
    folder.mkdir()
    if content is not None:
        (folder / "attempt.json").write_bytes(content)
    assert list(shelf.read_all()) == []
    assert shelf.create(record)


def test_a_status_file_that_is_none_is_no_word(record: AttemptRecord) -> None:
    assert read_status(record) is None
    record.attempt_dir.mkdir(parents=True)
    (record.attempt_dir / "status.json").write_text('{"id": "t"')
    assert read_status(record) is None
    (record.attempt_dir / "status.json").write_bytes(TaskStatus.failure("t", "why").to_json())
    assert read_status(record) == TaskStatus.failure("t", "why")


@given(st.text(min_size=1, max_size=400), st.integers(1, 99))
def test_any_id_makes_a_name_that_a_folder_can_have(task_id: str, attempt: int) -> None:
    name = folder_name(task_id, attempt)
    assert len(name.encode()) <= 120
    assert not name.startswith(".")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_ids_never_share_a_name(one: str, other: str) -> None:
    assert (folder_name(one, 1) == folder_name(other, 1)) == (one == other)
