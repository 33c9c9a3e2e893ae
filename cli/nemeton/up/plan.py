"""What a person asked for, as parts: which there are, with which command lines, in which order."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from druid_core.errors import InvalidInput
from druid_core.storage.object_store import check_url
from nemeton.up.address import answers, reserve
from nemeton.up.folder import DataFolder
from nemeton.up.part import Part
from nemeton.up.postgres import EmbeddedPostgres

MIDDLE_MANAGER_GRACE_S = 15.0
"""What a MiddleManager gives its peons to stop in, when asked to stop itself."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person asked for. A None means: the embedded part."""

    data: Path
    host: str
    port: int
    worker_port: int
    worker_capacity: int
    database_url: str | None
    deep_storage: str | None
    task_logs: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Floors of parts, from the ground up. The parts of one floor start together; each floor needs the one below it."""

    floors: list[list[Part]]
    overlord_url: str
    middle_manager_url: str


def plan(wishes: Wishes, folder: DataFolder, say: Callable[[str], None]) -> Plan:
    """
    The parts for these wishes. Makes the database's folder where it is missing, the one slow step.

    Raises Conflict where a port is taken, InvalidInput where a wish makes no sense, and what EmbeddedPostgres raises.
    """
    if wishes.port == wishes.worker_port != 0:
        raise InvalidInput(f"--port and --worker-port are both {wishes.port}: the two servers need a port each")
    for url in (wishes.deep_storage, wishes.task_logs):
        if url is not None and "://" in url:
            check_url(url)
    port = reserve(wishes.host, wishes.port, "--port")
    worker_port = reserve(wishes.host, wishes.worker_port, "--worker-port")
    floors: list[list[Part]] = []
    database_url = wishes.database_url
    if database_url is None:
        postgres = EmbeddedPostgres.within(folder)
        before = monotonic()
        if postgres.prepare():
            say(f"{'database':<15} made in  {monotonic() - before:5.2f} s   once in this folder's life")
        floors.append([postgres.part()])
        database_url = postgres.url
    host = reachable(wishes.host)
    url, worker_url = f"http://{host}:{port}", f"http://{host}:{worker_port}"
    environment = {name: value for name, value in os.environ.items() if name != "NEMETON_DATABASE_URL"}
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault("NEMETON_RUNNER_TOKEN", folder.runner_token())
    if environment.get("NEMETON_AUTHENTICATORS", "none").strip() in ("", "none"):
        # whoever starts peons here as himself could read what they can, and ask what they can
        environment.setdefault("NEMETON_LOCAL_INPUT_PATHS", "/")
        environment.setdefault("NEMETON_TRUST_THIS_MACHINE", "true")
    elif "NEMETON_LOCAL_INPUT_PATHS" not in environment:
        say("tasks read no local files, for callers are asked who they are: NEMETON_LOCAL_INPUT_PATHS lists folders")
    task_logs = storage_url(wishes.task_logs, folder.task_logs)
    overlord = Part(
        name="overlord",
        command=[
            *(sys.executable, "-m", "nemeton", "overlord", "--host", wishes.host, "--port", str(port)),
            *("--task-logs", task_logs),
        ],
        is_ready=lambda: answers(host, port, "/status/health"),
        port=port,
        where=url,
        # By the environment: a database's URL may hold a password, and command lines are public.
        # Not waiting for it: whoever stands before the house learns at once; later the part is started again anyway.
        environment=environment | {"NEMETON_DATABASE_URL": database_url, "NEMETON_DATABASE_WAIT_SECONDS": "0"},
        log=folder.logs / "overlord.log",
        record=folder.record("overlord"),
    )
    floors.append([overlord, _middle_manager(wishes, folder, url, worker_port, task_logs, environment)])
    return Plan(floors, url, worker_url)


def _middle_manager(
    wishes: Wishes, folder: DataFolder, overlord: str, port: int, task_logs: str, environment: Mapping[str, str]
) -> Part:
    host = reachable(wishes.host)
    slots = "slot" if wishes.worker_capacity == 1 else "slots"
    return Part(
        name="middle-manager",
        command=[
            *(sys.executable, "-m", "middle_manager", "--overlord", overlord),
            *("--host", wishes.host, "--port", str(port)),
            *("--worker-capacity", str(wishes.worker_capacity), "--base-task-dir", str(folder.tasks)),
            *("--deep-storage", storage_url(wishes.deep_storage, folder.segments), "--task-logs", task_logs),
            *("--data", str(folder.middle_manager), "--grace", str(MIDDLE_MANAGER_GRACE_S)),
        ],
        is_ready=lambda: answers(host, port, "/status/health"),
        port=port,
        where=f"http://{host}:{port}, {wishes.worker_capacity} {slots}",
        environment=environment,
        log=folder.logs / "middle-manager.log",
        record=folder.record("middle-manager"),
        # Killed, not asked: a MiddleManager that is asked to stop stops its peons. Killed, they live on, and the next
        # one adopts them: that is what the death of `nemeton up` should mean for a running task.
        death_signal=signal.SIGKILL,
        stop_signals=((signal.SIGTERM, MIDDLE_MANAGER_GRACE_S + 10.0), (signal.SIGKILL, 5.0)),
    )


def storage_url(wish: str | None, default: Path) -> str:
    """A URL as it is; a plain path made absolute: the parts, and the peons, work in other folders."""
    if wish is not None and "://" in wish:
        return wish
    return (default if wish is None else Path(wish).expanduser()).resolve().as_uri()


def reachable(host: str) -> str:
    """Where we ourselves reach a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
