"""Growing logs, attempts and retention on storages as they are."""

import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from druid_core.storage.task_logs import PART_BYTES, TaskLogName, TaskLogs
from tests.support import seaweed
from tests.support.house import until

LINE_2 = b"\n==== attempt 2 ====\n"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Generator[seaweed.S3]:
    with seaweed.serving(tmp_path_factory.mktemp("s3")) as s3:
        s3.make_bucket("druid")
        yield s3


@pytest.fixture
def logs(s3: seaweed.S3, monkeypatch: pytest.MonkeyPatch) -> TaskLogs:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return TaskLogs.from_url("s3://druid/logs")


@pytest.mark.parametrize("task_id", ["index_wiki_2026-01-01T00:00:00.000Z", "é" * 100, "a b", "a%2Fb", "log.parts"])
def test_a_log_in_s3_grows_is_finished_and_goes(logs: TaskLogs, s3: seaweed.S3, task_id: str) -> None:
    for index in range(3):
        logs.push_part(task_id, 1, index, b"%d" % index * 3)
    logs.push_part(task_id, 1, 2, b"all")
    assert logs.parts_log(task_id, 1).read(2, 8) == b"0111al"
    logs.finish_attempt(task_id, 1, b"one")
    assert logs.has_log_of(task_id, 1)
    assert logs.parts_log(task_id, 1).size == 0
    logs.push_part(task_id, 2, 0, b"tw")
    best = logs.best_log(task_id)
    assert best is not None
    assert best.read() == b"one" + LINE_2 + b"tw"
    for _ in range(2):
        logs.finish_attempt(task_id, 2, b"two")
    assert logs.read(task_id, TaskLogName.LOG) == b"one" + LINE_2 + b"two"
    assert logs.has_log_of(task_id, 1)
    assert logs.has_log_of(task_id, 2)
    logs.delete(task_id)
    logs.delete(task_id)
    assert "<Key>" not in s3.list("druid")


def test_a_large_log_in_s3_comes_from_chunks(logs: TaskLogs) -> None:
    chunk = os.urandom(1 << 20)
    logs.finish_attempt("large", 2, (chunk for _ in range(17)))
    assert logs.read("large", TaskLogName.LOG) == LINE_2 + chunk * 17
    logs.delete("large")


def test_old_logs_in_s3_go(logs: TaskLogs, s3: seaweed.S3) -> None:
    for task in range(20):
        logs.finish_attempt(f"task {task}", 1, b"said")
        logs.push_part(f"task {task}", 2, 0, b"said")
    assert logs.kill_older_than(int(time.time() * 1000) - 3_600_000) == 0
    assert logs.kill_older_than(int(time.time() * 1000) + 3_600_000) == 40
    assert "<Key>" not in s3.list("druid")


def keeper(work_dir: Path, code: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    work_dir.mkdir()
    own = {"NEMETON_TASK_ID": "kept", "NEMETON_ATTEMPT": "1", "NEMETON_TERMINATION_LOG": f"{work_dir}/message"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.kept_child", str(work_dir), code],
        stdout=subprocess.PIPE,
        env=dict(os.environ) | own | environment,
    )


def test_a_storage_that_is_away_for_a_while_gets_the_whole_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from the first byte to after the peon's end, then back with what it had."""
    (tmp_path / "s3").mkdir()
    with seaweed.serving(tmp_path / "s3") as s3:
        s3.make_bucket("druid")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        s3.pause()
        code = "import time\nfor n in range(20_000): print('line', n)\ntime.sleep(2)"
        with keeper(tmp_path / "work", code, {"NEMETON_TASK_LOGS": "s3://druid/logs"}) as process:
            until(lambda: (tmp_path / "work" / "message").exists(), "the peon has ended")
            assert process.poll() is None
            s3.resume()
            process.communicate(timeout=60)
            assert process.returncode == 0
        logs = TaskLogs.from_url("s3://druid/logs")
        log = logs.read("kept", TaskLogName.LOG)
        assert log == b"".join(b"line %d\n" % n for n in range(20_000))
        assert len(log) > PART_BYTES


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        reason = "mounting a small file system needs root"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("makes_room", [True, False])
def test_the_log_of_a_task_that_fills_its_disk_is_whole(tmp_path: Path, small_disk: Path, makes_room: bool) -> None:
    room = "os.remove(hog)" if makes_room else "pass"
    code = f"""
import os, time
print('before')
hog = {str(small_disk / "hog")!r}
try:
    with open(hog, 'wb') as file:
        while True: file.write(bytes(4096)); file.flush()
except OSError as error: print(error)
for n in range(2000): print('while full', n)
time.sleep(0.5)
{room}
time.sleep(0.5)
print('after')
"""
    with keeper(small_disk / "work", code, {"NEMETON_TASK_LOGS": str(tmp_path / "logs")}) as process:
        output, _ = process.communicate(timeout=60)
    expected = b"before\n[Errno 28] No space left on device\n"
    expected += b"".join(b"while full %d\n" % n for n in range(2000)) + b"after\n"
    assert output == expected
    assert TaskLogs.from_url(str(tmp_path / "logs")).read("kept", TaskLogName.LOG) == expected
    assert ((small_disk / "work" / "log").read_bytes() == expected) == makes_room
