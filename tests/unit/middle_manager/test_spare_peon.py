"""A real spare peon without its MiddleManager: what it does with its line, and without one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from peon.spare import LOADED_AHEAD
from tests.support.task_specs import index_parallel, noop
from tests.unit.middle_manager.conftest import wait_until


class SparePeon:
    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "peon.spare"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    @property
    def is_idle(self) -> bool:
        """All is loaded, it waits: SIGINT is blocked and SIGTERM is not."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
        return bool(blocked & 1 << signal.SIGINT - 1) and not blocked & 1 << signal.SIGTERM - 1

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def call(self, *arguments: object, log_file: Path, **environment: str) -> None:
        call = {
            "arguments": [*map(str, arguments), "--gated"],
            "environment": {"NEMETON_PORT": "0"} | environment,
            "logFile": str(log_file),
        }
        self.say(orjson.dumps(call))

    def end(self) -> tuple[int, bytes]:
        """Closes its input and waits; exit status, and what it said where it was started."""
        words, _ = self.process.communicate(timeout=20)
        return self.process.returncode, words


@pytest.fixture
def environment(bytecode: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEMETON_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"PYTHONPYCACHEPREFIX": str(bytecode)}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., SparePeon]]:
    started: list[SparePeon] = []

    def start(**more: str) -> SparePeon:
        started.append(SparePeon(environment | more))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.end()


Start = Callable[..., SparePeon]


def write_task(folder: Path, task: dict[str, Any]) -> Path:
    file = folder / "task.json"
    file.write_bytes(orjson.dumps(task))
    return file


def read_status(file: Path) -> dict[str, Any]:
    return orjson.loads(file.read_bytes())


@pytest.mark.parametrize("is_loaded", [True, False])
def test_without_a_task_it_ends_quietly(is_loaded: bool, start: Start) -> None:
    spare = start()
    if is_loaded:
        wait_until(lambda: spare.is_idle)
    assert spare.end() == (0, b"")


@pytest.mark.parametrize("is_loaded", [True, False])
def test_it_runs_the_task_that_it_is_given_and_says_all_in_its_log(
    is_loaded: bool, start: Start, tmp_path: Path
) -> None:
    spare = start()
    if is_loaded:
        wait_until(lambda: spare.is_idle)
    task = write_task(tmp_path, noop("n", runTime=1))
    (tmp_path / "log").write_text("what was there\n")
    spare.call(task, tmp_path / "status.json", log_file=tmp_path / "log")
    spare.say(b"begin")
    assert spare.end() == (0, b"")
    assert read_status(tmp_path / "status.json")["status"] == "SUCCESS"
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "what was there"
    assert lines[1].endswith("INFO [main] peon.run - Running task [n] of type [noop]")


def test_it_stays_out_when_its_starter_goes_away_at_the_gate(start: Start, tmp_path: Path) -> None:
    spare = start()
    task = write_task(tmp_path, noop("n", runTime=1))
    spare.call(task, tmp_path / "status.json", log_file=tmp_path / "log")
    assert spare.end() == (1, b"")
    assert "went away before the task could begin" in (tmp_path / "log").read_text()
    assert not (tmp_path / "begun").exists()
    assert not (tmp_path / "status.json").exists()


def test_what_was_meant_for_another_is_not_kept(start: Start, tmp_path: Path) -> None:
    spare = start(NEMETON_DEEP_STORAGE=str(tmp_path / "segments"), NEMETON_TASK_TOKEN="of another")
    task = write_task(tmp_path, index_parallel("i"))
    spare.call(task, tmp_path / "status.json", log_file=tmp_path / "log")
    spare.say(b"begin")
    assert spare.end() == (0, b"")
    assert "not told where segments are stored" in read_status(tmp_path / "status.json")["errorMsg"]


def test_a_signal_ends_one_that_waits_and_cancels_no_task_to_come(start: Start) -> None:
    spare = start()
    wait_until(lambda: spare.is_idle)
    spare.process.send_signal(signal.SIGTERM)
    spare.process.wait(10)  # its input still open
    assert spare.end() == (-signal.SIGTERM, b"")


def test_a_signal_after_the_call_cancels_the_task_however_early(start: Start, tmp_path: Path) -> None:
    spare = start()
    wait_until(lambda: spare.is_idle)
    task = write_task(tmp_path, noop("n", runTime=60_000))
    spare.call(task, tmp_path / "status.json", log_file=tmp_path / "log")
    wait_until((tmp_path / "log").exists)  # it has moved in, and waits at its gate
    spare.process.send_signal(signal.SIGTERM)
    spare.say(b"begin")
    assert spare.end() == (0, b"")
    assert read_status(tmp_path / "status.json")["errorMsg"] == "Canceled: the peon was told to stop (SIGTERM)"


def test_an_ingestion_finds_everything_loaded(environment: dict[str, str], tmp_path: Path) -> None:
    task = write_task(tmp_path, index_parallel("i"))
    arguments = [str(task), str(tmp_path / "status.json"), f"--deep-storage={tmp_path / 'segments'}"]
    code = (
        "import importlib, sys\n"
        f"for module in {LOADED_AHEAD}: importlib.import_module(module)\n"
        "before = set(sys.modules)\n"
        f"sys.modules['peon.run'].main({[*arguments, '--port=0']})\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    words = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=60
    ).stdout.splitlines()
    assert read_status(tmp_path / "status.json")["status"] == "SUCCESS"
    ours_or_large = ("peon", "druid_core", "numpy", "pyarrow", "duckdb", "obstore", "pydantic", "urllib3")
    assert [name for name in words[-1].split() if name.partition(".")[0] in ours_or_large] == []
