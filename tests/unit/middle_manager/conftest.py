"""A fake Overlord and real MiddleManager processes, none of which outlives its test."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.fake_overlord import FakeOverlord
from tests.support.ports import free_port

REPOSITORY = Path(__file__).parents[3]


class MiddleManagerProcess:
    """`python -m middle_manager`, as a user starts it."""

    def __init__(self, overlord: FakeOverlord, folder: Path, bytecode: Path, *options: str) -> None:
        self.data, self.logs = folder / "data", folder / "logs"
        self.port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NEMETON_")}
        self.output = folder / "output"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "middle_manager", f"--overlord={overlord.url}", f"--data={self.data}"),
                    *(f"--port={self.port}", f"--task-logs={self.logs}", f"--peon-start-port={free_port()}"),
                    *options,
                ],
                stdout=output,
                stderr=output,
                env=environment | {"PYTHONPYCACHEPREFIX": str(bytecode)},
            )

    def api(self, method: str, path: str) -> httpx.Response:
        return httpx.request(method, f"http://127.0.0.1:{self.port}/druid/worker/v1{path}", trust_env=False)

    def kill(self) -> None:
        """kill -9: nothing of it is left but its files and its peons."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def peons(self) -> list[psutil.Process]:
        """All living peons that write to a log in this data folder, whoever their parent is: those that have a task."""
        return [process for process in _peons() if _output_of(process, 1).is_relative_to(self.data)]

    def spares(self) -> list[psutil.Process]:
        """All that wait for a task, whoever their parent is: what they complain of goes where our words go."""
        return [
            process
            for process in _peons()
            if _output_of(process, 1) == Path(os.devnull) and _output_of(process, 2) == self.output
        ]


@pytest.fixture
def overlord() -> Iterator[FakeOverlord]:
    fake = FakeOverlord()
    yield fake
    fake.go_away()


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled once a run, not once a process."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def start_middle_manager(
    overlord: FakeOverlord, tmp_path: Path, bytecode: Path
) -> Iterator[Callable[..., MiddleManagerProcess]]:
    """Starts one on the test's own data folder; may be called again after the first is gone."""
    started: list[MiddleManagerProcess] = []

    def start(*options: str) -> MiddleManagerProcess:
        started.append(MiddleManagerProcess(overlord, tmp_path, bytecode, *options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()
        for peon in (*each.peons(), *each.spares()):
            peon.kill()


def wait_until(what: Callable[[], object], seconds: float = 15) -> None:
    """Wait for another process to come so far."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def _peons() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if {"peon.run", "peon.spare"} & set(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _output_of(process: psutil.Process, descriptor: int) -> Path:
    """What file it is; nothing real for a process that just ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process.pid}/fd/{descriptor}").readlink()
    return Path()
