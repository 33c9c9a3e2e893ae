"""Kill -9 of anything at any moment: every task ends once, its rows are in exactly once, every log is there."""

import asyncio
import base64
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import orjson
import psutil
import pytest
import urllib3

from druid_core.errors import NemetonError
from nemeton.client.overlord import Refused
from peon.segment.read import SegmentReader
from tests.support.cluster.client import Raw
from tests.support.cluster.client import Refused as ApiRefused
from tests.support.house import until
from tests.support.installed import RELEASE, Installation

T = TypeVar("T")

SHORT = 12
"""Tasks, where nobody says how many."""
ROWS = 3
DATA_SOURCE = "chaos"
BACK_S = 300.0
LEFT_IN_PEACE = 3
AHEAD = 10
"""Strikes beyond one for each task that has ended."""


def task(number: int) -> dict[str, Any]:
    """A task that appends a few rows of its own to an hour of its own: had it published twice, they would be double."""
    hour = f"2026-01-{1 + number // 24:02d}T{number % 24:02d}"
    rows = [{"time": f"{hour}:00:0{row}Z", "row": f"task {number} row {row}"} for row in range(ROWS)]
    return {
        "type": "index_parallel",
        "id": f"chaos_{number}",
        "spec": {
            "dataSchema": {
                "dataSource": DATA_SOURCE,
                "timestampSpec": {"column": "time"},
                "dimensionsSpec": {"dimensions": ["row"]},
                "granularitySpec": {"segmentGranularity": "hour", "rollup": False},
            },
            "ioConfig": {
                "type": "index_parallel",
                "appendToExisting": True,
                "inputFormat": {"type": "json"},
                "inputSource": {"type": "inline", "data": "\n".join(orjson.dumps(row).decode() for row in rows)},
            },
            "tuningConfig": {"type": "index_parallel"},
        },
    }


class Siege:
    """Who can be killed, and how."""

    def __init__(self, besieged: Installation, chance: random.Random) -> None:
        self._installed = besieged
        self._chance = chance
        self.killed: Counter[str] = Counter()
        self.strikes = 0
        """Tried ones too: of a peon where none runs, say."""
        self.victims: dict[str, Callable[[], bool]] = {
            "peon": self._peon,
            "operator": lambda: self._container("operator"),
            "overlord": lambda: self._container("overlord"),
            "postgres": lambda: self._container("database"),
            "s3": lambda: self._container("object-storage"),
            "apiserver": lambda: self._part("apiserver"),
            "kubelet": lambda: self._part("kubelet"),
        }

    def strike(self, name: str) -> None:
        self.strikes += 1
        try:
            if self.victims[name]():
                self.killed[name] += 1
        except (ApiRefused, urllib3.exceptions.HTTPError):
            pass  # the API server is away: another time

    def _kill(self, pod: Raw) -> bool:
        struck = False
        for pid in self._installed.node.pids_of(pod):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
                struck = True
        return struck

    def _container(self, component: str) -> bool:
        return self._kill(self._chance.choice(self._installed.component_pods(component)))

    def _peon(self) -> bool:
        pods = self._installed.node.admin.items(self._installed.pods_path, labelSelector="druid.k8s.peons=true")
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        return bool(running) and self._kill(self._chance.choice(running))

    def _part(self, name: str) -> bool:
        node = self._installed.node
        node.kill(name)
        time.sleep(self._chance.random() * 3)
        node.start_part(name)
        if name == "apiserver":
            node.wait_for_api()
        return True


@pytest.mark.chaos
@pytest.mark.timeout(7200)  # as long as it is told to go on
def test_every_task_ends_once_and_its_rows_are_in_once_whatever_is_killed_when(
    besieged: Installation, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    count = request.config.getoption("--tasks", default=None) or SHORT
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    chance = random.Random(seed)
    siege = Siege(besieged, chance)
    submitted: list[str] = []

    def submit_all() -> None:
        for number in range(count):
            _submit(besieged, task(number))
            submitted.append(f"chaos_{number}")

    submitting = threading.Thread(target=submit_all, daemon=True)
    submitting.start()
    # the last few are left in peace: alone they would draw every strike, and might never come to their end
    while submitting.is_alive() or _ended(besieged) < count - LEFT_IN_PEACE:
        # each in turn, in an order of chance: no part is spared, and none is killed out of breath
        for name in chance.sample(sorted(siege.victims), len(siege.victims)):
            time.sleep(2 + chance.random() * 6)
            # as many strikes as ends: all tasks have their share, and a small machine comes to the last of them
            until(lambda: siege.strikes < AHEAD + _ended(besieged), "tasks go on ending", BACK_S)
            siege.strike(name)
            print(f"{_ended(besieged)} of {len(submitted)} ended, killed: {name}", flush=True)
    submitting.join(BACK_S)
    until(besieged.answers, "the Overlord is back", BACK_S)

    statuses = {task_id: besieged.finished(task_id, BACK_S) for task_id in submitted}
    ends = Counter(status["statusCode"] for status in statuses.values())
    print(f"tasks {len(submitted)}: {dict(ends)}; killed {sum(siege.killed.values())}: {dict(siege.killed)}")
    found = _rows(besieged, tmp_path)
    wanted = Counter(f"task {number} row {row}" for number in range(count) for row in range(ROWS))
    logs = [task_id for task_id in submitted if f"[{task_id}]".encode() in (_log(besieged, task_id) or b"")]
    print(f"rows {sum(found.values())} of {sum(wanted.values())}, double {sum((found - wanted).values())}, "
          f"missing {sum((wanted - found).values())}; logs {len(logs)} of {len(submitted)}")  # fmt: skip
    assert len(submitted) == count
    failed = {task_id: status["errorMsg"] for task_id, status in statuses.items() if status["statusCode"] != "SUCCESS"}
    assert not failed
    assert found == wanted
    assert len(logs) == count
    for task_id in submitted:
        besieged.until_shown(besieged.object_of(task_id), BACK_S, state="SUCCESS")


def _submit(besieged: Installation, wanted: dict[str, Any]) -> None:
    """Until it is taken: an answer that was lost shows at the next try, as a task that exists already."""
    deadline = time.monotonic() + BACK_S
    while time.monotonic() < deadline:
        try:
            besieged.overlord.submit(orjson.dumps(wanted))
            return
        except Refused as refused:
            if "already exists" in str(refused):
                return
        except NemetonError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{wanted['id']} was not taken within {BACK_S:.0f} s")


def _ended(besieged: Installation) -> int:
    """Tasks that are over, as far as the Overlord answers."""
    try:
        return len(besieged.overlord.tasks(state="complete", datasource=DATA_SOURCE))
    except NemetonError:
        return 0


def _log(besieged: Installation, task_id: str) -> bytes | None:
    return until(lambda: besieged.log(task_id), f"{task_id} has a log", BACK_S)


def _rows(besieged: Installation, scratch: Path) -> Counter[str]:
    """All rows in all segments that the database says are used."""
    rows: Counter[str] = Counter()
    for number, payload in enumerate(_once_back(lambda: asyncio.run(_used(besieged)))):
        folder = _once_back(lambda: besieged.fetch_segment(payload["loadSpec"]["key"], scratch / str(number)))  # noqa: B023
        with SegmentReader(folder) as reader:
            rows.update(reader.column("row").to_pylist())
    return rows


def _once_back(read: Callable[[], T]) -> T:
    """What is read from a part that may have been killed a moment ago."""
    deadline = time.monotonic() + BACK_S
    while True:
        try:
            return read()
        except (NemetonError, OSError, TimeoutError):
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


async def _used(besieged: Installation) -> list[dict[str, Any]]:
    raw = besieged.node.admin.get(f"/api/v1/namespaces/{besieged.namespace}/secrets/{RELEASE}-database")
    url = urlsplit(base64.b64decode(raw["data"]["url"]).decode())
    host, port = besieged.address("database").split(":")
    connection = await asyncpg.connect(
        host=host, port=int(port), user=url.username, password=url.password, database=url.path.strip("/"), timeout=5
    )
    try:
        records = await connection.fetch(
            "SELECT payload FROM druid_segments WHERE used AND datasource = $1", DATA_SOURCE
        )
        return [orjson.loads(record["payload"]) for record in records]
    finally:
        await connection.close()
