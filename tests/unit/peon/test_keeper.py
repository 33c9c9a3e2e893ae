"""The keeper of a pod's peon, with real processes: no end of the peon takes its log."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from druid_core.storage.task_logs import PART_BYTES, TaskLogName, TaskLogs
from peon.growing_log import GrowingLog
from peon.local_overlord import LocalOverlord
from tests.support.fake_overlord import FakeOverlord

TOKEN = "the-token-of-this-attempt"
NOBODY = "s3://nobody/here"


class Pod:
    """As much of a pod as a keeper sees: an environment, a work folder, somebody who reads its output."""

    def __init__(self, folder: Path) -> None:
        self.work_dir = folder / "work"
        self.work_dir.mkdir()
        self.message_file = folder / "termination-log"
        self.logs = TaskLogs.from_url(str(folder / "logs"))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("NEMETON_")} | {
            "NEMETON_TASK_ID": "n",
            "NEMETON_ATTEMPT": "1",
            "NEMETON_TASK_TOKEN": TOKEN,
            "NEMETON_TASK_LOGS": str(folder / "logs"),
            "NEMETON_WORK_DIR": str(self.work_dir),
            "NEMETON_PORT": "0",
            "NEMETON_TERMINATION_LOG": str(self.message_file),
        }
        self.keeper: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        self.keeper = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=subprocess.PIPE,
            env=self.environment | environment,
            start_new_session=True,
        )
        return self.keeper

    def run_child(self, code: str, **environment: str) -> tuple[int, bytes]:
        """Exit code and output of a keeper over a child that runs this code."""
        keeper = self.start("tests.support.kept_child", str(self.work_dir), code, **environment)
        output, _ = keeper.communicate(timeout=60)
        return keeper.returncode, output

    def run_peon(self, overlord: FakeOverlord, **environment: str) -> tuple[int, bytes]:
        output, _ = self.start_peon(overlord, **environment).communicate(timeout=60)
        assert self.keeper is not None
        return self.keeper.returncode, output

    def start_peon(self, overlord: FakeOverlord, **environment: str) -> subprocess.Popen[bytes]:
        return self.start("peon.keeper", NEMETON_OVERLORD=overlord.url, **environment)

    def message(self) -> dict[str, Any]:
        return orjson.loads(self.message_file.read_bytes())

    def log(self) -> bytes:
        return self.logs.read("n", TaskLogName.LOG)

    def child(self) -> int:
        assert self.keeper is not None
        children = Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children")
        return int(until(lambda: children.read_text().split(), "the keeper has a child")[0])

    def kill_all(self) -> None:
        if self.keeper is not None:
            with self.keeper:
                if self.keeper.poll() is None:
                    os.killpg(self.keeper.pid, signal.SIGKILL)


def until(what: Callable[[], Any], words: str, seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, words
        time.sleep(0.01)
    return value


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    yield pod
    pod.kill_all()


@pytest.fixture
def overlord() -> Iterator[FakeOverlord]:
    fake = FakeOverlord()
    yield fake
    fake.go_away()


def noop(run_time_ms: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "noop", "id": "n", "groupId": "n", "dataSource": "none", "runTime": run_time_ms, **more}


def index(task_id: str, data: str) -> dict[str, Any]:
    schema = {"dataSource": "wiki", "timestampSpec": {"column": "t"}, "dimensionsSpec": {"dimensions": ["page"]}}
    source = {"inputSource": {"type": "inline", "data": data}, "inputFormat": {"type": "json"}}
    spec = {"dataSchema": schema, "ioConfig": {"type": "index_parallel"} | source}
    return {"type": "index_parallel", "id": task_id, "groupId": task_id, "dataSource": "wiki", "spec": spec}


def test_a_task_that_ends_well_leaves_log_status_and_message(pod: Pod, overlord: FakeOverlord) -> None:
    overlord.payloads["n"] = noop()
    code, output = pod.run_peon(overlord)
    assert code == 0, output.decode()
    assert pod.log() == output
    assert output.endswith(b"Finished peon task\n")
    message = pod.message()
    assert 10 << 20 < message.pop("peakRssBytes") < 200 << 20
    assert message == {
        "taskId": "n",
        "attempt": 1,
        "exitCode": 0,
        "signal": None,
        "status": "SUCCESS",
        "errorMsg": None,
    }
    assert orjson.loads(pod.logs.read("n", TaskLogName.STATUS)) == overlord.last_word("n")
    assert TOKEN.encode() not in output + pod.message_file.read_bytes()


def test_an_ingestion_says_how_long_after_the_start_of_its_pod_the_first_rows_were_read(
    pod: Pod, overlord: FakeOverlord, tmp_path: Path
) -> None:
    overlord.payloads["n"] = index("n", '{"t": "2024-01-01T10:00:00Z", "page": "Oak"}')
    answer = LocalOverlord("n", "wiki", tmp_path / "segments.json", lambda: 1_700_000_000_000).answer
    overlord.results.update(dict.fromkeys(("lockTryAcquire", "segmentTransactionalInsert"), answer))
    began = time.monotonic()
    code, output = pod.run_peon(overlord, NEMETON_DEEP_STORAGE=str(tmp_path / "deep"))
    seconds = time.monotonic() - began
    assert code == 0, output.decode()
    assert pod.message()["status"] == "SUCCESS", output.decode()
    (said,) = re.findall(rb"First rows read (\d+) ms after the container began", output)
    # the kernel counts in hundredths of a second; an interpreter alone takes more than one
    assert 10 <= int(said) <= 1000 * seconds + 10


def test_a_task_that_fails_says_why_in_the_message_and_exits_with_0(pod: Pod, overlord: FakeOverlord) -> None:
    overlord.payloads["n"] = noop() | {"type": "archive"}
    code, _ = pod.run_peon(overlord)
    assert code == 0
    message = pod.message()
    assert (message["status"], message["errorMsg"]) == ("FAILED", "This peon cannot run tasks of type [archive]")


def test_a_peon_that_cannot_start_is_quoted(pod: Pod, overlord: FakeOverlord) -> None:
    code, output = pod.run_peon(overlord)
    assert code == 1
    assert pod.log() == output
    message = pod.message()
    assert (message["exitCode"], message["status"]) == (1, None)
    assert "The peon cannot start: Cannot find any task with id: [n]" in message["errorMsg"]


def test_a_killed_peon_leaves_its_whole_log_and_137(pod: Pod, overlord: FakeOverlord) -> None:
    overlord.payloads["n"] = noop(60_000)
    keeper = pod.start_peon(overlord)
    assert keeper.stdout is not None
    lines = [keeper.stdout.readline(), keeper.stdout.readline()]
    os.kill(pod.child(), signal.SIGKILL)
    output = b"".join(lines) + keeper.stdout.read()
    assert keeper.wait(30) == 137
    assert b"Running noop task for 60000 ms" in output
    assert pod.log() == output
    message = pod.message()
    assert (message["exitCode"], message["signal"], message["status"]) == (137, 9, None)
    assert message["peakRssBytes"] > 10 << 20


def test_sigterm_reaches_the_peon_once_and_leaves_the_verdict_to_the_operator(pod: Pod, overlord: FakeOverlord) -> None:
    overlord.payloads["n"] = noop(60_000)
    keeper = pod.start_peon(overlord)
    assert keeper.stdout is not None
    keeper.stdout.readline()
    for _ in range(3):
        keeper.send_signal(signal.SIGTERM)
    output = keeper.stdout.read()
    assert keeper.wait(30) == 143
    assert pod.log().endswith(output)
    assert b"Canceled: the peon was told to stop (SIGTERM)" in output
    assert pod.message()["status"] is None
    assert overlord.last_word("n") is None


def test_a_signal_that_comes_before_the_peon_has_started_is_not_lost(pod: Pod, overlord: FakeOverlord) -> None:
    overlord.payloads["n"] = noop(60_000)
    keeper = pod.start_peon(overlord)
    pod.child()
    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(30) in (1, 143)
    assert b"SIGTERM" in pod.log()


def test_with_everything_killed_the_parts_miss_at_most_a_second(pod: Pod) -> None:
    talk = "import time\nfor n in range(10**6):\n print(f'{time.time():.3f} line {n}'); time.sleep(0.005)"
    pod.start("tests.support.kept_child", str(pod.work_dir), talk)
    until(lambda: pod.logs.parts_log("n", 1).size > 2000, "parts come")
    time.sleep(1.5)
    pod.kill_all()
    killed = time.time()
    log = pod.logs.parts_log("n", 1).read()
    written = (pod.work_dir / "log").read_bytes()
    assert written.startswith(log)
    last_part_line = log.rsplit(b"\n", 1)[0].rsplit(b"\n", 1)[-1]
    assert killed - float(last_part_line.split()[0]) < 2  # a second, and one for a busy machine


def test_a_large_log_is_in_full_parts_while_it_grows_and_whole_in_the_end(pod: Pod) -> None:
    big = "import sys, time\nfor n in range(40_000): print('line', n)\nsys.stdout.flush(); time.sleep(4)"
    keeper = pod.start("tests.support.kept_child", str(pod.work_dir), big)
    expected = b"".join(b"line %d\n" % n for n in range(40_000))
    assert keeper.stdout is not None
    output = keeper.stdout.read(len(expected))
    until(lambda: pod.logs.parts_log("n", 1).size == len(expected), "all of it is in parts")
    sizes = [piece.size for piece in pod.logs.parts_log("n", 1).pieces]
    assert set(sizes[:-1]) == {PART_BYTES}
    assert pod.logs.parts_log("n", 1).read() == expected == output
    keeper.communicate(timeout=30)
    assert pod.log() == expected == (pod.work_dir / "log").read_bytes()
    assert pod.logs.parts_log("n", 1).size == 0


@pytest.mark.parametrize("attempt", [1, 2])
def test_the_log_goes_under_its_attempt(pod: Pod, attempt: int) -> None:
    pod.run_child("print('said')", NEMETON_ATTEMPT=str(attempt))
    assert pod.logs.has_log_of("n", attempt)
    assert pod.log() == (b"said\n" if attempt == 1 else b"\n==== attempt 2 ====\nsaid\n")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import os; os.abort()", 134),
        ("import os, signal; print('x', end='', flush=True); os.kill(os.getpid(), signal.SIGSEGV)", 139),
    ],
)
def test_the_exit_code_passes_through(pod: Pod, code: str, expected: int) -> None:
    assert pod.run_child(code)[0] == expected
    message = pod.message()
    assert message["exitCode"] == expected
    assert message["signal"] == (expected - 128 if expected > 128 else None)


def test_a_reader_of_the_output_that_stands_still_does_not_stop_the_peon(pod: Pod) -> None:
    lines = 400_000
    keeper = pod.start(
        "tests.support.kept_child", str(pod.work_dir), f"for n in range({lines}): print('a line of the log', n)"
    )
    until(lambda: pod.logs.has_log_of("n", 1), "the log is stored, though nobody has read the output", 60)
    output, _ = keeper.communicate(timeout=30)
    assert pod.log().count(b"\n") == lines
    assert len(output) < len(pod.log())


def test_what_a_process_left_behind_by_the_peon_holds_open_is_not_waited_for(pod: Pod) -> None:
    began = time.monotonic()
    code, _ = pod.run_child(
        "import subprocess, sys; print('said'); subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])"
    )
    assert code == 0
    assert time.monotonic() - began < 15
    assert pod.log() == b"said\n"


def test_a_storage_that_is_away_for_good_does_not_keep_the_pod(pod: Pod) -> None:
    began = time.monotonic()
    code, output = pod.run_child(
        "print('said')",
        NEMETON_TASK_LOGS=NOBODY,
        NEMETON_LOG_PATIENCE_SECONDS="1",
        AWS_ENDPOINT="http://127.0.0.1:1",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="y",
        AWS_REGION="us-east-1",
    )
    assert code == 0
    assert output == b"said\n"
    assert time.monotonic() - began < 20
    assert pod.message()["exitCode"] == 0


def test_a_peon_without_log_storage_is_kept_as_well(pod: Pod) -> None:
    code, output = pod.run_child("print('said')", NEMETON_TASK_LOGS="")
    assert (code, output) == (0, b"said\n")


def test_a_long_error_is_cut_to_what_kubernetes_takes(pod: Pod) -> None:
    (pod.work_dir / "status.json").write_bytes(orjson.dumps({"status": "FAILED", "errorMsg": "ä€" * 2000}))
    pod.run_child("pass")
    assert len(pod.message_file.read_bytes()) < 4096
    assert pod.message()["errorMsg"].startswith("ä€ä€")


def test_what_a_full_disk_does_not_take_is_read_from_memory() -> None:
    log = GrowingLog(Path("/dev/full"))
    log.append(b"first ")
    log.append(b"second")
    assert log.size == 12
    assert log.read(0, 100) == b"first second"
    assert log.read(3, 8) == b"st se"
    assert log.read(20, 30) == b""


def test_memory_for_a_full_disk_is_bounded() -> None:
    log = GrowingLog(Path("/dev/full"))
    for _ in range(20):
        log.append(b"x" * (1 << 20))
    assert log.size == 8 << 20


def test_a_growing_log_reads_back_any_range(tmp_path: Path) -> None:
    log = GrowingLog(tmp_path / "log")
    for piece in (b"abc", b"", b"defgh"):
        log.append(piece)
    for start in range(10):
        for end in range(start, 10):
            assert log.read(start, end) == b"abcdefgh"[start:end]
    assert (tmp_path / "log").read_bytes() == b"abcdefgh"
