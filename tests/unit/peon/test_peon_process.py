"""Real peon processes: noop tasks from their start to their last word."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.fake_overlord import FakeOverlord


@pytest.fixture
def overlord() -> Iterator[FakeOverlord]:
    fake = FakeOverlord()
    yield fake
    fake.go_away()


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bytecode")


class Peons:
    """Starts peons and ends those that are left."""

    def __init__(self, bytecode: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NEMETON_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment = kept | {"PYTHONPYCACHEPREFIX": str(bytecode), "NEMETON_PORT": "0"}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        peon = subprocess.Popen(
            [sys.executable, "-m", "peon.run", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment | environment,
        )
        self.started.append(peon)
        return peon

    def run(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """Exit status and log."""
        peon = self.start(*arguments, **environment)
        log, _ = peon.communicate(timeout=20)
        return peon.returncode, log


@pytest.fixture
def peons(bytecode: Path) -> Iterator[Peons]:
    peons = Peons(bytecode)
    yield peons
    for peon in peons.started:
        with peon:
            peon.kill()


def noop(task_id: str = "n", run_time_ms: int = 1) -> dict[str, Any]:
    return {"type": "noop", "id": task_id, "groupId": task_id, "dataSource": "none", "runTime": run_time_ms}


def write_json(file: Path, value: Any) -> Path:
    file.write_bytes(orjson.dumps(value))
    return file


def read_json(file: Path) -> Any:
    return orjson.loads(file.read_bytes())


def test_a_noop_in_a_file_runs_alone(peons: Peons, tmp_path: Path) -> None:
    status = tmp_path / "out" / "status.json"
    code, log = peons.run(write_json(tmp_path / "task.json", noop()), status, tmp_path / "report.json")
    assert code == 0, log
    assert read_json(status)["status"] == "SUCCESS"
    assert not (tmp_path / "report.json").exists()
    assert " INFO [main] peon.task.noop - Running noop task for 1 ms\n" in log
    assert log.rstrip().endswith("Finished peon task")


def test_a_task_without_id_gets_what_the_overlord_would_give(peons: Peons, tmp_path: Path) -> None:
    code, log = peons.run(write_json(tmp_path / "t.json", {"type": "noop", "runTime": 1}), tmp_path / "status.json")
    assert code == 0, log
    assert read_json(tmp_path / "status.json")["id"].startswith("noop_")


def test_a_task_folder_without_task_asks_the_overlord(peons: Peons, overlord: FakeOverlord, tmp_path: Path) -> None:
    overlord.payloads["n"] = noop()
    code, log = peons.run(
        tmp_path, 2, "--task-id=n", f"--overlord={overlord.url}", "--port=8100", NEMETON_TASK_TOKEN="secret"
    )
    assert code == 0, log
    assert read_json(tmp_path / "attempt/2/status.json")["status"] == "SUCCESS"
    assert overlord.last_word("n") == read_json(tmp_path / "attempt/2/status.json")
    assert set(overlord.tokens) == {"Bearer secret"}


def test_a_pods_peon_leaves_its_status_in_storage(peons: Peons, overlord: FakeOverlord, tmp_path: Path) -> None:
    overlord.payloads["n"] = noop()
    code, log = peons.run("--task-id=n", f"--overlord={overlord.url}", f"--task-logs={tmp_path}")
    assert code == 0, log
    assert read_json(tmp_path / "n.status.json") == overlord.last_word("n")
    said = [said["action"]["type"] for said in overlord.actions]
    assert said == ["updateLocation", "lockList", "updateStatus"]


def test_a_peon_that_is_told_to_stop_says_so_at_once(peons: Peons, overlord: FakeOverlord, tmp_path: Path) -> None:
    task = write_json(tmp_path / "task.json", noop(run_time_ms=60_000))
    peon = peons.start(task, tmp_path / "status.json", f"--overlord={overlord.url}")
    overlord.wait_for(lambda: overlord.actions)
    asked = time.monotonic()
    peon.send_signal(signal.SIGTERM)
    assert peon.wait(10) == 0
    assert time.monotonic() - asked < 5
    expected = "Canceled: the peon was told to stop (SIGTERM)"
    assert read_json(tmp_path / "status.json")["errorMsg"] == expected
    word = overlord.last_word("n")
    assert word is not None
    assert (word["status"], word["errorMsg"]) == ("FAILED", expected)


def test_the_last_word_waits_for_an_overlord_that_is_away(peons: Peons, overlord: FakeOverlord, tmp_path: Path) -> None:
    task = write_json(tmp_path / "task.json", noop(run_time_ms=300))
    peon = peons.start(task, tmp_path / "status.json", f"--overlord={overlord.url}")
    overlord.wait_for(lambda: overlord.actions)
    overlord.go_away()
    deadline = time.monotonic() + 10
    while not (tmp_path / "status.json").exists():  # written before the word is said
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert peon.poll() is None
    overlord.come_back()
    assert peon.wait(10) == 0
    assert overlord.wait_for(lambda: overlord.last_word("n"))["status"] == "SUCCESS"


def test_a_refused_last_word_is_not_repeated(peons: Peons, overlord: FakeOverlord, tmp_path: Path) -> None:
    task = write_json(tmp_path / "task.json", noop())
    overlord.refusals += [(200, {"result": None}), (403, {"error": "attempt 1 is void"})]
    code, log = peons.run(task, tmp_path / "status.json", f"--overlord={overlord.url}")
    assert code == 0
    assert "Could not tell the Overlord how the task ended: attempt 1 is void" in log
    assert overlord.last_word("n") is None


def test_a_type_that_it_cannot_run_fails_the_task_not_the_peon(peons: Peons, tmp_path: Path) -> None:
    task = write_json(tmp_path / "task.json", noop() | {"type": "archive"})
    code, _ = peons.run(task, tmp_path / "status.json")
    assert code == 0
    status = read_json(tmp_path / "status.json")
    assert (status["status"], status["errorMsg"]) == ("FAILED", "This peon cannot run tasks of type [archive]")


def test_a_pods_peon_whose_attempt_is_void_ends_at_once_and_replaces_nothing(
    peons: Peons, overlord: FakeOverlord, tmp_path: Path
) -> None:
    overlord.payloads["n"] = noop()
    overlord.refusals += [(200, {"result": None}), (403, {"error": "attempt 1 of task [n] is void"})]
    began = time.monotonic()
    code, log = peons.run("--task-id=n", f"--overlord={overlord.url}", f"--task-logs={tmp_path}")
    assert time.monotonic() - began < 10
    assert code == 1
    assert "its attempt counts no more: attempt 1 of task [n] is void" in log
    assert list(tmp_path.iterdir()) == []
    assert overlord.last_word("n") is None


def test_a_peon_whose_attempt_is_void_from_the_start_says_so(peons: Peons, overlord: FakeOverlord) -> None:
    overlord.payloads["n"] = noop(run_time_ms=60_000)
    overlord.refusals.append((403, {"error": "attempt 1 of task [n] is void"}))
    code, log = peons.run("--task-id=n", f"--overlord={overlord.url}")
    assert code == 1
    assert "its attempt counts no more" in log


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b'{"id": "x"}'])
def test_a_file_without_a_task_is_a_start_that_failed(content: bytes, peons: Peons, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_bytes(content)
    code, log = peons.run(tmp_path / "task.json", tmp_path / "status.json")
    assert code == 1
    assert "The peon cannot start" in log
    assert not (tmp_path / "status.json").exists()


def test_a_task_that_the_overlord_does_not_know_is_a_start_that_failed(peons: Peons, overlord: FakeOverlord) -> None:
    code, log = peons.run("--task-id=x", f"--overlord={overlord.url}")
    assert code == 1
    assert "Cannot find any task with id: [x]" in log


def test_a_gated_peon_begins_with_a_line_and_ends_without_one(peons: Peons, tmp_path: Path) -> None:
    task = write_json(tmp_path / "task.json", noop())
    left = peons.start(task, tmp_path / "left.json", "--gated")
    left.communicate(timeout=10)  # closes its standard input
    assert left.returncode == 1
    assert not (tmp_path / "left.json").exists()
    assert not (tmp_path / "begun").exists()
    let_in = peons.start(task, tmp_path / "let-in.json", "--gated")
    let_in.communicate("begin\n", timeout=10)
    assert read_json(tmp_path / "let-in.json")["status"] == "SUCCESS"
    assert (tmp_path / "begun").exists()


def test_a_noop_loads_nothing_that_costs_more_than_itself(bytecode: Path) -> None:
    heavy = {"pydantic", "numpy", "pyarrow", "duckdb", "obstore", "urllib3", "httpx", "asyncio"}
    code = "import sys, peon.run, peon.task.noop; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPYCACHEPREFIX": str(bytecode)},
    ).stdout.split()
    assert "peon" in loaded
    assert not heavy & set(loaded)
