"""Logs that grow, that have several attempts, that are half stored; read as one run of bytes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from druid_core.storage.object_store import ObjectStore
from druid_core.storage.task_logs import PART_BYTES, TaskLogName, TaskLogs
from tests.support.broken_store import BrokenOff, BrokenStore

LINE_2 = b"\n==== attempt 2 ====\n"
LINE_3 = b"\n==== attempt 3 ====\n"
IDS = ["noop_2026-01-01T00:00:00.000Z", "x" * 250, "é" * 200, "a b", "a%2Fb", "log.parts", "a.log"]


@pytest.fixture
def logs(tmp_path: Path) -> TaskLogs:
    return TaskLogs.from_url(str(tmp_path))


def whole(logs: TaskLogs, task_id: str) -> bytes:
    return logs.read(task_id, TaskLogName.LOG)


def best(logs: TaskLogs, task_id: str) -> bytes:
    log = logs.best_log(task_id)
    assert log is not None
    return log.read()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("task_id", IDS)
def test_parts_of_any_task_are_read_in_order(logs: TaskLogs, task_id: str) -> None:
    for index in range(12):
        logs.push_part(task_id, 1, index, b"%d " % index)
    logs.push_part(task_id, 1, 11, b"eleven")
    assert logs.parts_log(task_id, 1).read() == b"0 1 2 3 4 5 6 7 8 9 10 eleven"
    assert logs.parts_log(task_id, 2).read() == b""
    assert not logs.has_log_of(task_id, 1)
    logs.finish_attempt(task_id, 1, b"all of it")
    assert logs.has_log_of(task_id, 1)
    assert logs.parts_log(task_id, 1).size == 0
    assert whole(logs, task_id) == b"all of it"


def test_parts_behind_a_gap_do_not_move_up(logs: TaskLogs) -> None:
    for index in (0, 1, 3):
        logs.push_part("t", 1, index, b"%d" % index)
    assert logs.parts_log("t", 1).read() == b"01"


def test_a_log_is_read_from_any_byte_to_any_byte(logs: TaskLogs) -> None:
    logs.finish_attempt("t", 1, b"one")
    for index, text in enumerate([b"abc", b"", b"def"]):
        logs.push_part("t", 2, index, text)
    expected = b"one" + LINE_2 + b"abcdef"
    log = logs.best_log("t")
    assert log is not None
    assert log.size == len(expected)
    for start in range(len(expected) + 2):
        for end in range(start, len(expected) + 2):
            assert log.read(start, end) == expected[start:end], (start, end)
    assert b"".join(log.chunks()) == expected


def test_the_only_attempts_log_is_the_tasks_log_and_nothing_else_stays(logs: TaskLogs, tmp_path: Path) -> None:
    logs.push_part("t", 1, 0, b"half")
    logs.finish_attempt("t", 1, b"half and whole")
    assert files(tmp_path) == ["t.log"]
    assert whole(logs, "t") == b"half and whole"


def test_each_attempt_is_announced_and_none_is_lost(logs: TaskLogs) -> None:
    logs.finish_attempt("t", 1, b"one")
    assert logs.log_before("t", 1).read() == b""
    assert logs.log_before("t", 2).read() == b"one" + LINE_2
    logs.finish_attempt("t", 2, iter([b"t", b"wo"]))
    logs.finish_attempt("t", 3, b"three")
    assert whole(logs, "t") == b"one" + LINE_2 + b"two" + LINE_3 + b"three"
    assert best(logs, "t") == whole(logs, "t")
    assert logs.log_before("t", 3).read() == b"one" + LINE_2 + b"two" + LINE_3
    assert all(logs.has_log_of("t", attempt) for attempt in (1, 2, 3))
    assert not logs.has_log_of("t", 4)


def test_what_a_reader_saw_while_an_attempt_ran_is_what_is_stored_in_the_end(logs: TaskLogs) -> None:
    logs.push_part("t", 1, 0, b"one")
    seen_before = logs.log_before("t", 2).read()
    logs.push_part("t", 2, 0, b"tw")
    seen = best(logs, "t")
    logs.finish_attempt("t", 2, b"two")
    logs.finish_attempt("t", 1, b"one")
    assert seen_before == b"one" + LINE_2
    assert whole(logs, "t").startswith(seen)
    assert whole(logs, "t") == seen_before + b"two"


def test_attempts_may_be_finished_in_any_order(logs: TaskLogs) -> None:
    logs.finish_attempt("t", 3, b"three")
    assert whole(logs, "t") == LINE_2 + LINE_3 + b"three"
    assert not logs.has_log_of("t", 1)
    logs.finish_attempt("t", 1, b"one")
    logs.finish_attempt("t", 2, b"two")
    assert whole(logs, "t") == b"one" + LINE_2 + b"two" + LINE_3 + b"three"


def test_finishing_twice_is_finishing_once(logs: TaskLogs, tmp_path: Path) -> None:
    for _ in range(2):
        logs.finish_attempt("t", 1, b"one")
    for _ in range(2):
        logs.finish_attempt("t", 2, b"two")
    before = files(tmp_path)
    logs.finish_attempt("t", 1, b"one")
    assert whole(logs, "t") == b"one" + LINE_2 + b"two"
    assert files(tmp_path) == before


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_crash_between_any_two_steps_is_made_good_by_the_next_call(tmp_path: Path, attempt: int) -> None:
    texts = {1: b"one", 2: b"two", 3: b"three"}
    expected = b"one" + (LINE_2 + b"two" if attempt > 1 else b"") + (LINE_3 + b"three" if attempt > 2 else b"")
    for steps in range(30):
        folder = tmp_path / str(steps)
        sound = TaskLogs.from_url(str(folder))
        for earlier in range(1, attempt):
            sound.finish_attempt("t", earlier, texts[earlier])
        sound.push_part("t", attempt, 0, texts[attempt][:2])
        sound.push_part("t", attempt, 1, texts[attempt][2:])
        broken = BrokenStore(ObjectStore.from_url(str(folder)), steps)
        try:
            TaskLogs(broken).finish_attempt("t", attempt, texts[attempt])
        except BrokenOff:
            if not sound.has_log_of("t", attempt) and not sound.rejoin("t", attempt):
                assert sound.parts_log("t", attempt).read() == texts[attempt]
                sound.finish_attempt("t", attempt, texts[attempt])
        else:
            break
        assert whole(sound, "t") == expected
        assert sound.has_log_of("t", attempt)
    else:
        raise AssertionError("it never came to its end")
    assert steps >= 3


def test_a_log_without_its_latest_attempt_does_not_pass_for_whole(logs: TaskLogs, tmp_path: Path) -> None:
    logs.finish_attempt("t", 1, b"one")
    logs.finish_attempt("t", 2, b"two")
    (tmp_path / "t.log").write_bytes(b"one")
    assert not logs.has_log_of("t", 2)
    assert logs.rejoin("t", 2)
    assert whole(logs, "t") == b"one" + LINE_2 + b"two"
    assert not logs.rejoin("t", 3)


def test_a_large_log_comes_from_chunks(logs: TaskLogs) -> None:
    chunk = os.urandom(1 << 20)

    def chunks() -> Iterator[bytes]:
        for _ in range(12):
            yield chunk

    logs.finish_attempt("t", 1, chunks())
    assert whole(logs, "t") == chunk * 12
    logs.finish_attempt("t", 2, chunks())
    assert whole(logs, "t") == chunk * 12 + LINE_2 + chunk * 12


def test_chunks_that_break_off_leave_no_log(logs: TaskLogs, tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(12 << 20)
        raise BrokenOff

    with pytest.raises(BrokenOff):
        logs.finish_attempt("t", 1, chunks())
    assert files(tmp_path) == []


def test_an_empty_log_is_a_log(logs: TaskLogs) -> None:
    logs.finish_attempt("t", 1, iter([]))
    assert whole(logs, "t") == b""
    assert logs.has_log_of("t", 1)


def test_a_task_without_log_has_none(logs: TaskLogs) -> None:
    assert logs.best_log("t") is None
    assert not logs.has_log_of("t", 1)


@pytest.mark.parametrize("task_id", IDS)
def test_deleting_a_task_takes_parts_and_attempts_with_it(logs: TaskLogs, tmp_path: Path, task_id: str) -> None:
    logs.finish_attempt("other", 1, b"stays")
    logs.finish_attempt(task_id, 1, b"one")
    logs.finish_attempt(task_id, 2, b"two")
    logs.push_part(task_id, 3, 0, b"thr")
    logs.push(task_id, TaskLogName.REPORT, b"{}")
    logs.delete(task_id)
    logs.delete(task_id)
    assert files(tmp_path) == ["other.log"]


@pytest.mark.parametrize("task_id", IDS)
def test_what_is_too_old_goes_and_what_is_new_stays(logs: TaskLogs, tmp_path: Path, task_id: str) -> None:
    logs.finish_attempt(task_id, 1, b"one")
    logs.finish_attempt(task_id, 2, b"two")
    logs.push_part(task_id, 3, 0, b"thr")
    for path in tmp_path.rglob("*"):
        os.utime(path, (1000, 1000))
    logs.finish_attempt("young", 1, b"stays")
    assert logs.kill_older_than(999_000) == 0
    assert logs.kill_older_than(1_000_001) == 4
    assert [name for name in files(tmp_path) if (tmp_path / name).is_file()] == ["young.log"]


def test_a_part_is_what_may_be_lost() -> None:
    assert PART_BYTES == 64 << 10
