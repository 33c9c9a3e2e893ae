"""Processes are known by more than their pid, and their ends are put into words."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from middle_manager import process
from middle_manager.disk import bytes_below
from middle_manager.process import (
    Peon,
    ProcessIdentity,
    exit_in_words,
    identity_of,
    peon_arguments,
    peon_command,
    peon_environment,
)

GATED = [sys.executable, "-c", "import sys; line = sys.stdin.readline(); sys.exit(0 if line else 1)"]


def start(command: list[str], log_file: Path) -> Peon:
    return Peon.start(command, os.environ, log_file)


async def test_a_process_waits_at_its_gate(tmp_path: Path) -> None:
    peon = start(GATED, tmp_path / "log")
    peon.open_gate()
    assert await asyncio.wait_for(peon.wait(), 10) == 0


@pytest.mark.parametrize("is_spare", [True, False])
async def test_the_kernel_ends_a_peon_first_when_memory_runs_out(is_spare: bool, tmp_path: Path) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    peon = Peon.start_spare(os.environ) if is_spare else start(GATED, tmp_path / "log")
    assert score(peon.identity.pid) == max(500, score(os.getpid()))
    peon.leave()
    await asyncio.wait_for(peon.wait(), 10)


async def test_a_gate_that_nobody_opens_ends_the_process(tmp_path: Path) -> None:
    peon = start(GATED, tmp_path / "log")
    peon._child.stdin.close()  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess] - as the kernel does when its parent dies
    assert await asyncio.wait_for(peon.wait(), 10) == 1


async def test_a_signal_is_the_exit_code_and_signals_to_the_dead_do_nothing(tmp_path: Path) -> None:
    peon = start([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log")
    peon.send(signal.SIGKILL)
    assert await asyncio.wait_for(peon.wait(), 10) == -9
    peon.send(signal.SIGKILL)
    peon.open_gate()


async def test_a_living_process_is_found_again_and_its_end_noticed(tmp_path: Path) -> None:
    peon = start(GATED, tmp_path / "log")
    found = Peon.find(peon.identity)
    assert found is not None
    peon.open_gate()
    assert await asyncio.wait_for(peon.wait(), 10) == 0
    assert await asyncio.wait_for(found.wait(), 10) is None
    assert Peon.find(peon.identity) is None


def test_a_later_process_of_the_same_pid_is_not_taken_for_it() -> None:
    mine = identity_of(os.getpid())
    assert mine is not None
    assert Peon.find(ProcessIdentity(pid=mine.pid, start_ticks=mine.start_ticks - 1)) is None


def test_one_that_has_ended_and_is_not_buried_is_nobody() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identity_of(child.pid) is None


@pytest.mark.parametrize(
    ("exit_code", "memory_ran_out", "words"),
    [
        (0, False, "exit code 0"),
        (1, False, "exit code 1; its log ends with: ModuleNotFoundError: No module named 'x'"),
        (-9, False, "killed by signal 9 (SIGKILL)"),
        (
            -9,
            True,
            "killed by signal 9 (SIGKILL), perhaps out of memory: the kernel ended a process for that meanwhile",
        ),
        (-11, True, "killed by signal 11 (SIGSEGV)"),
        (-15, False, "killed by signal 15 (SIGTERM)"),
        (
            None,
            False,
            "its process ended, and with what exit code is unknown: the MiddleManager was restarted meanwhile",
        ),
    ],
)
def test_an_end_is_put_into_words(exit_code: int | None, memory_ran_out: bool, words: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Traceback\nModuleNotFoundError: No module named 'x'\n")
    assert exit_in_words(exit_code, log, memory_ran_out=memory_ran_out) == words


def test_a_log_without_words_adds_none(tmp_path: Path) -> None:
    assert exit_in_words(3, tmp_path / "missing", memory_ran_out=False) == "exit code 3"


def test_the_kernels_counter_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "vmstat"
    counter.write_text("nr_free_pages 1\noom_kill 3\nother 9\n")
    monkeypatch.setattr(process, "_OUT_OF_MEMORY_COUNTER", counter)
    assert process.memory_kills() == 3
    counter.unlink()
    assert process.memory_kills() == 0


def test_a_token_is_in_the_environment_and_not_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMETON_PORT", "8091")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    environment = peon_environment({"TASK_TOKEN": "secret", "TASK_LOGS": None}, tmp_path)
    assert environment["NEMETON_TASK_TOKEN"] == "secret"
    assert not {"NEMETON_PORT", "NEMETON_TASK_LOGS", "PYTHONDONTWRITEBYTECODE"} & environment.keys()
    assert environment["PYTHONPYCACHEPREFIX"] == str(tmp_path)
    assert "--task-id=-odd id" in peon_command(peon_arguments(tmp_path, 1, "-odd id", "http://o"))


def test_a_folder_holds_what_its_files_hold(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    before = bytes_below(tmp_path)
    (tmp_path / "a/b/big").write_bytes(b"x" * 1_000_000)
    (tmp_path / "link").symlink_to("/usr")
    assert 1_000_000 <= bytes_below(tmp_path) - before < 1_100_000
    assert bytes_below(tmp_path / "missing") == 0


def test_bytecode_is_made_ahead_once_and_only_where_python_keeps_none(tmp_path: Path) -> None:
    folder = tmp_path / "bytecode"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    compiler = process.compile_ahead(environment)
    assert compiler is not None
    assert compiler.wait(60) == 0
    assert list(folder.rglob("run.*.pyc"))
    assert process.compile_ahead(environment) is None
    environment.pop("PYTHONPYCACHEPREFIX")
    assert process.compile_ahead(environment) is None
