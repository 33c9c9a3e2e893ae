"""One program of the test cluster: started, stopped, killed and held, with a log that outlives it."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

STOP_SECONDS = 20.0


class ProgramEnded(Exception):
    """A program ended that should run; the text holds the end of its log."""


class Process:
    """`command` under the name `name`; `inside` goes before it where it is to run in a machine's namespaces."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        inside: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._inside = tuple(inside)
        self._command = [*inside, *(str(part) for part in command)]
        self._environment = None if environment is None else dict(environment)
        self._started: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starting what runs is nothing."""
        if self.is_alive:
            return
        with self.log.open("ab") as log:
            self._started = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )

    @property
    def has_started(self) -> bool:
        """Ever; whether it still runs is another question."""
        return self._started is not None

    @property
    def is_alive(self) -> bool:
        return self._started is not None and self._started.poll() is None

    @property
    def pid(self) -> int:
        """As this side sees it, not as the machine's own namespace counts."""
        target = self._target()
        assert target is not None, f"{self.name} does not run"
        return target.pid

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for whoever does not care. Stopping what does not run is nothing."""
        self._signal(signal.SIGTERM)
        if not self._ended_within(STOP_SECONDS):
            self.kill()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._ended_within(STOP_SECONDS), f"{self.name} outlived SIGKILL"

    def pause(self) -> None:
        """Stands still and keeps its connections, as a machine that swaps or a network that drops everything."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)
        if self._inside and self._started is not None:
            self._started.send_signal(signal.SIGCONT)  # nsenter stands still with its child

    def require_alive(self) -> None:
        """Raises ProgramEnded."""
        if not self.is_alive:
            raise ProgramEnded(f"{self.name} ended: {self.last_words()}")

    def last_words(self, characters: int = 3000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def _target(self) -> psutil.Process | None:
        """nsenter waits for the program and is none itself, so signals go past it."""
        if self._started is None or not self.is_alive:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._started.pid)
            if not self._inside:
                return own
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and self.is_alive:
                children = own.children()
                if children:
                    return children[0]
                time.sleep(0.01)
        return None

    def _signal(self, number: signal.Signals) -> None:
        target = self._target()
        if target is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                target.send_signal(number)

    def _ended_within(self, seconds: float) -> bool:
        if self._started is None:
            return True
        try:
            self._started.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True
