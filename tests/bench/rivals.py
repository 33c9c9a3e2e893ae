"""The two in the race. Each is started here, on loopback, with a fresh folder, and stopped again."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.support.druid.processes import command_line, descendants, start, stop
from tests.support.ports import free_ports

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 120


class Rival(Protocol):
    """What the measurements need to know of an Overlord: started by `with`, stopped after it."""

    @property
    def url(self) -> str: ...

    @property
    def worker_url(self) -> str: ...

    @property
    def overlord_pid(self) -> int: ...

    @property
    def deep_storage(self) -> Path: ...

    def peon_pids(self) -> list[int]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Nemeton:
    """`nemeton up`: Postgres, Overlord and MiddleManager. `start_s` is how long it took to be ready for a task."""

    def __init__(self, folder: Path, worker_capacity: int = 2) -> None:
        self._folder = folder
        self._capacity = worker_capacity
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.worker_url = ""
        self.start_s = 0.0

    @property
    def overlord_pid(self) -> int:
        return self._only("nemeton overlord")

    @property
    def database_pid(self) -> int:
        """Postgres's first process; the others are its children."""
        return self._only("postgres -D", "bin/postgres")

    @property
    def database_url(self) -> str:
        return f"postgresql://postgres@/nemeton?host={self._folder / 'data' / 'run' / 'postgres'}"

    @property
    def deep_storage(self) -> Path:
        return self._folder / "deep"

    def peon_pids(self) -> list[int]:
        """The peons there are now, those that wait for a task included."""
        return self._below("peon.run", "peon.spare", "nemeton peon")

    def __enter__(self) -> Self:
        overlord, worker = free_ports(2)
        self.url, self.worker_url = f"http://127.0.0.1:{overlord}", f"http://127.0.0.1:{worker}"
        self.deep_storage.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "nemeton", "up", "--data", str(self._folder / "data")),
            *("--port", str(overlord), "--worker-port", str(worker), "--worker-capacity", str(self._capacity)),
            *("--deep-storage", self.deep_storage.as_uri()),
        ]
        began = time.perf_counter()
        self._process = start(command, self._folder / "up.log", ROOT)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.start_s = time.perf_counter() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process, grace_s=40)
            self._process = None

    def _wait_until_ready(self) -> None:
        """Ready: the Overlord answers, and a worker offers its slots."""
        assert self._process is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/druid/indexer/v1/workers", timeout=5) as answer:
                    if json.load(answer):
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.02)
        raise RuntimeError(f"nemeton up did not get ready; see {self._folder / 'up.log'}")

    def _below(self, *signs: str) -> list[int]:
        assert self._process is not None
        return [pid for pid in descendants(self._process.pid) if any(sign in command_line(pid) for sign in signs)]

    def _only(self, *signs: str) -> int:
        found = self._below(*signs)
        if not found:
            raise RuntimeError(f"no process below nemeton up is called {' or '.join(signs)}")
        return found[0]


def load_average() -> str:
    return "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg())
