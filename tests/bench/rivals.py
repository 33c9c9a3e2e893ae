"""The two in the race. Each is started here, on loopback, with a fresh folder, and stopped again."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import asyncpg

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

    def copy_finished_task(self, task_id: str, count: int) -> None:
        """Puts copies of a finished task into the tables, under ids of their own."""
        ...

    def copy_pending_task(self, task_id: str, count: int, sources: int) -> None:
        """Puts copies of a task that waits for a slot into the tables, of this many datasources in turn."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Nemeton:
    """`nemeton up`: Postgres, Overlord and MiddleManager. `start_s` is how long it took to be ready for a task."""

    def __init__(self, folder: Path, worker_capacity: int = 2) -> None:
        self._folder = folder
        self._capacity = worker_capacity
        self.environment: Mapping[str, str] = {}
        """Settings beside those of this process; said before the start."""
        self.headers: Mapping[str, str] = {}
        """Of every call, where these settings ask callers who they are."""
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

    def copy_finished_task(self, task_id: str, count: int) -> None:
        asyncio.run(_copy(self.database_url, task_id, count))

    def copy_pending_task(self, task_id: str, count: int, sources: int) -> None:
        asyncio.run(_copy(self.database_url, task_id, count, sources))

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
        environment = {"NEMETON_TRUST_THIS_MACHINE": "true", **self.environment}  # the worker is switched off and on
        self._process = start(command, self._folder / "up.log", ROOT, environment)
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
                asked = urllib.request.Request(f"{self.url}/druid/indexer/v1/workers", headers=dict(self.headers))
                with urllib.request.urlopen(asked, timeout=5) as answer:
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


_COPY = """
WITH copies AS (
    SELECT $1 || '_' || lpad(i::text, 7, '0') AS id, i, 'source-' || i % $3::int AS data_source
    FROM generate_series(1, $2::int) AS i
),
stored AS (
    INSERT INTO druid_tasks (id, created_date, datasource, payload, status_payload, active, type, group_id)
    SELECT copies.id, created_date, COALESCE(data_source, datasource),
           convert_to(replace(replace(convert_from(payload, 'UTF8'), $1, copies.id),
                              '"dataSource":"' || datasource || '"',
                              '"dataSource":"' || COALESCE(data_source, datasource) || '"'), 'UTF8'),
           convert_to(replace(convert_from(status_payload, 'UTF8'), $1, copies.id), 'UTF8'), active, type, copies.id
    FROM druid_tasks, copies WHERE druid_tasks.id = $1
)
INSERT INTO nemeton_attempts (task_id, attempt, data_source, group_id, priority, state, submitted_ms, released_ms,
                              assigned_ms, started_ms, ended_ms, task_type, context, finished)
SELECT id, attempt, COALESCE(copies.data_source, attempts.data_source), id, priority,
       CASE state WHEN 'PENDING' THEN state ELSE 'ENDED' END,  -- the peon may be on its way out yet
       submitted_ms - $2::int + i, released_ms, assigned_ms, started_ms, ended_ms, task_type, context, finished
FROM nemeton_attempts AS attempts, copies WHERE task_id = $1
"""


async def _copy(database_url: str, task_id: str, count: int, sources: int | None = None) -> None:
    """And then what autovacuum and the checkpointer do within a minute, so that they do not do it under the clock."""
    connection = await asyncpg.connect(database_url)
    try:
        copied = await connection.execute(_COPY, task_id, count, sources, timeout=600)
        if copied != f"INSERT 0 {count}":
            raise RuntimeError(f"{copied} instead of {count} copies of {task_id}")
        await connection.execute("VACUUM ANALYZE", timeout=600)
        await connection.execute("CHECKPOINT", timeout=600)
    finally:
        await connection.close()


def load_average() -> str:
    return "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg())
