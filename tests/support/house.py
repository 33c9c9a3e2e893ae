"""A running `nemeton up` for tests: started on free ports, killed in parts or whole, and looked at from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from druid_core.errors import NemetonError, NotFound, Unavailable
from nemeton.client.overlord import Overlord, Refused
from nemeton.up.identity import ProcessIdentity
from tests.support.ports import free_port

PATIENCE_S = 90.0
"""For anything that must happen in the end. Generous: the machine may be busy with other things."""


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Waits for a true value and returns it."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {patience_s:.0f} s: {what}")


class House:
    """One data folder and the `nemeton up` over it. Ports stay the same over restarts, as they do for a person."""

    def __init__(
        self, data: Path, *options: str, capacity: int = 2, environment: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self.port, self.worker_port = free_port(), free_port()
        self._options = [*options, "--worker-capacity", str(capacity)]
        self._environment = dict(os.environ) | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.overlord = Overlord(f"http://127.0.0.1:{self.port}")
        self.output = data.parent / f"{data.name}.out"

    def __enter__(self) -> "House":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for process in self.processes():  # a failed test must not leave anything either
            process.send(signal.SIGKILL)

    def start(self) -> float:
        """Returns when all is ready, with the seconds that it took."""
        began = time.monotonic()
        self.launch()
        self.wait_ready()
        return time.monotonic() - began

    def launch(self) -> subprocess.Popen[bytes]:
        (self.data / "run" / "ready.json").unlink(missing_ok=True)
        ports = ["--port", str(self.port), "--worker-port", str(self.worker_port)]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nemeton", "up", "--data", str(self.data), *ports, *self._options],
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        return self._process

    def wait_ready(self) -> None:
        def is_ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.words()
            return (self.data / "run" / "ready.json").exists()

        until(is_ready, f"nemeton up is ready\n{self.words()}")

    def stop(self) -> int:
        """Asks it to stop, as Ctrl-C does. The exit status; safe to call again."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """`kill -9` of `nemeton up` itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def part(self, name: str) -> ProcessIdentity:
        """The process of a part that runs now."""
        record = self.data / "run" / f"{name}.json"
        return until(lambda: ProcessIdentity.load(record), f"{name} is recorded")

    def kill_part(self, name: str) -> None:
        self.part(name).send(signal.SIGKILL)

    def wait_back(self, name: str, before: ProcessIdentity) -> None:
        until(lambda: self.part(name) != before and self.answers(), f"{name} is back\n{self.words()}")

    def answers(self) -> bool:
        try:
            self.overlord.tasks(max=0)
        except NemetonError:
            return False
        return True

    def processes(self) -> list[ProcessIdentity]:
        """Everything that works on this data folder: the house, its parts, PostgreSQL's children, peons."""
        found: list[ProcessIdentity] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                mine = os.fsencode(self.data) in (process / "cmdline").read_bytes()
                mine = mine or (process / "cwd").readlink().is_relative_to(self.data)
                mine = mine or (process / "fd/2").readlink().is_relative_to(self.data)  # a peon that was a spare
            except OSError:
                continue
            identity = ProcessIdentity.of(int(process.name)) if mine else None
            if identity is not None:
                found.append(identity)
        return found

    def peons(self) -> list[ProcessIdentity]:
        """Those that have a task."""

        def is_peon(process: ProcessIdentity) -> bool:
            folder = Path(f"/proc/{process.pid}")
            try:
                command = (folder / "cmdline").read_bytes()
                is_called = (folder / "fd/1").readlink().is_relative_to(self.data)
            except OSError:
                return False
            return b"peon.run" in command or (b"peon.spare" in command and is_called)

        return [process for process in self.processes() if is_peon(process)]

    def submit(self, task: Mapping[str, Any]) -> str:
        return self.overlord.submit(orjson.dumps(task))

    def running(self, task_id: str) -> None:
        """Waits until the task's peon is at work: the Overlord says RUNNING, and the task has begun to log."""

        def is_at_work() -> bool:
            status = self.overlord.status(task_id)
            assert status["statusCode"] == "RUNNING", status
            return status["runnerStatusCode"] == "RUNNING" and b"Running task [" in (self._log(task_id) or b"")

        until(is_at_work, f"{task_id} runs\n{self.words()}")

    def finished(self, task_id: str) -> dict[str, Any]:
        """Waits for the task's end, through times when nobody answers."""

        def status() -> dict[str, Any] | None:
            try:
                status = self.overlord.status(task_id)
            except (Unavailable, Refused):
                return None
            return status if status["statusCode"] != "RUNNING" else None

        return until(status, f"{task_id} ends\n{self.words()}")

    def starts_of(self, task_id: str) -> int:
        """How often a peon began with the task, by the log."""
        log = until(lambda: self._log(task_id), f"{task_id} has a log")
        return log.count(f"Running task [{task_id}]".encode())

    def words(self) -> str:
        """What it said, and the ends of its parts' logs: for the message of a failed test."""
        files = [self.output, *sorted((self.data / "logs").glob("*.log"))]
        return "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in files if file.exists())

    def _log(self, task_id: str) -> bytes | None:
        try:
            return self.overlord.log(task_id)
        except NotFound:
            return None
