"""`nemeton up`: the parts in their order, up, watched, and down again."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from druid_core.errors import NemetonError
from nemeton.up.address import answers, reserve
from nemeton.up.folder import DataFolder
from nemeton.up.identity import ProcessIdentity, end
from nemeton.up.part import Keeper, Part
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
class Room:
    """A part with the words that stand behind its name when it is ready."""

    part: Part
    where: str


def run(wishes: Wishes, say: Callable[[str], None]) -> None:
    """
    Runs the house until SIGINT or SIGTERM; then returns, with no process left.

    Raises NemetonError where it cannot start; nothing is left running then either.
    """
    folder = DataFolder.at(wishes.data)
    with folder.locked():
        asyncio.run(_live(wishes, folder, say))


async def _live(wishes: Wishes, folder: DataFolder, say: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signal_number, leave.set)
    started = loop.time()
    keepers: list[Keeper] = []
    watching: list[asyncio.Task[None]] = []
    try:
        say(f"data folder {folder.path}")
        _end_leftovers(folder, say)
        port = reserve(wishes.host, wishes.port, "--port")
        worker_port = reserve(wishes.host, wishes.worker_port, "--worker-port")
        for room in _rooms(wishes, folder, port, worker_port, say):
            keeper = Keeper(room.part, say)
            keepers.append(keeper)
            took = await _unless(leave, keeper.start())
            if took is None:
                return
            say(f"{room.part.name:<15} ready in {took:5.2f} s   {room.where}")
            watching.append(asyncio.create_task(keeper.keep()))
        url = f"http://{_reachable(wishes.host)}:{port}"
        _announce(folder, url, f"http://{_reachable(wishes.host)}:{worker_port}")
        say(f"all ready in {loop.time() - started:.2f} s\n\n{_what_next(url)}")
        await leave.wait()
    finally:
        (folder.run / "ready.json").unlink(missing_ok=True)
        await _close(keepers, watching, say)


def _rooms(wishes: Wishes, folder: DataFolder, port: int, worker_port: int, say: Callable[[str], None]) -> list[Room]:
    """The parts from the ground up. Each needs those before it."""
    rooms: list[Room] = []
    database_url = wishes.database_url
    if database_url is None:
        postgres = EmbeddedPostgres.within(folder)
        if not folder.postgres.exists():
            before = time.monotonic()
            postgres.prepare()
            say(f"{'database':<15} made in  {time.monotonic() - before:5.2f} s   once in this folder's life")
        else:
            postgres.prepare()
        database_url = postgres.url
        as_user = f", as user {postgres.run_as.name}" if postgres.run_as else ""
        rooms.append(Room(postgres.part(), f"PostgreSQL {postgres.version} in {folder.postgres}{as_user}"))
    deep_storage = _storage_url(wishes.deep_storage, folder.segments)
    task_logs = _storage_url(wishes.task_logs, folder.task_logs)
    environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
    host = _reachable(wishes.host)
    url = f"http://{host}:{port}"
    overlord = Part(
        name="overlord",
        command=[
            *(sys.executable, "-m", "nemeton", "overlord", "--host", wishes.host, "--port", str(port)),
            *("--task-logs", task_logs),
        ],
        is_ready=lambda: answers(host, port, "/status/health"),
        # By the environment, because a database's URL may hold a password and command lines are public.
        environment=environment | {"NEMETON_DATABASE_URL": database_url},
        log=folder.logs / "overlord.log",
        record=folder.record("overlord"),
    )
    rooms.append(Room(overlord, url))
    middle_manager = Part(
        name="middle-manager",
        command=[
            *(sys.executable, "-m", "middle_manager", "--overlord", url),
            *("--host", wishes.host, "--port", str(worker_port)),
            *("--worker-capacity", str(wishes.worker_capacity), "--base-task-dir", str(folder.tasks)),
            *("--deep-storage", deep_storage, "--task-logs", task_logs, "--data", str(folder.middle_manager)),
            *("--grace", str(MIDDLE_MANAGER_GRACE_S)),
        ],
        is_ready=lambda: answers(host, worker_port, "/druid/worker/v1/enabled"),
        environment=environment,
        log=folder.logs / "middle-manager.log",
        record=folder.record("middle-manager"),
        # Killed, not asked: a MiddleManager that is asked to stop stops its peons. Killed, they live on, and the next
        # one adopts them: that is what the death of `nemeton up` should mean for a running task.
        death_signal=signal.SIGKILL,
        stop_signals=((signal.SIGTERM, MIDDLE_MANAGER_GRACE_S + 10.0), (signal.SIGKILL, 5.0)),
    )
    slots = "slot" if wishes.worker_capacity == 1 else "slots"
    rooms.append(Room(middle_manager, f"http://{host}:{worker_port}, {wishes.worker_capacity} {slots}"))
    return rooms


def _end_leftovers(folder: DataFolder, say: Callable[[str], None]) -> None:
    """
    Ends the parts of an earlier run on this folder that still live. We hold the folder's lock, so they have no master.
    """
    for name in ("middle-manager", "overlord", "postgres"):
        record = folder.record(name)
        process = ProcessIdentity.load(record)
        if process is not None and not process.gone_within(1.0):
            say(f"{name} of an earlier run is still there (pid {process.pid}); ending it")
            gentle = signal.SIGINT if name == "postgres" else signal.SIGTERM
            signals = [(gentle, 10.0), (signal.SIGKILL, 5.0)]
            end(process, *(signals[1:] if name == "middle-manager" else signals))  # its peons must live on
        record.unlink(missing_ok=True)


async def _close(keepers: list[Keeper], watching: list[asyncio.Task[None]], say: Callable[[str], None]) -> None:
    """Down again, the last part first. A second signal changes nothing: every step is bounded already."""
    loop = asyncio.get_running_loop()
    if keepers:
        say("\nstopping")
    for keeper in reversed(keepers):
        before = loop.time()
        await keeper.stop()
        say(f"{keeper.part.name:<15} stopped in {loop.time() - before:.2f} s")
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def _unless(leave: asyncio.Event, starting: Coroutine[Any, Any, float]) -> float | None:
    """The result of `starting`, or None where the person wants to leave before it is there."""
    start, leaving = asyncio.create_task(starting), asyncio.create_task(leave.wait())
    try:
        await asyncio.wait({start, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            return start.result()
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return None
    finally:
        leaving.cancel()


def _announce(folder: DataFolder, overlord: str, middle_manager: str) -> None:
    """`run/ready.json`: for programs that start us and want to know where we are."""
    me = ProcessIdentity.of(os.getpid())
    if me is None:
        raise NemetonError("the /proc file system does not show this process")
    me.save(folder.record("up"))
    beside = folder.run / ".ready.json.new"
    beside.write_bytes(orjson.dumps({"pid": os.getpid(), "overlord": overlord, "middleManager": middle_manager}))
    beside.replace(folder.run / "ready.json")


def _what_next(url: str) -> str:
    at = "" if url == "http://127.0.0.1:8090" else f" --overlord {url}"
    return "\n".join(
        (
            "Next, in another terminal:",
            f"  nemeton submit examples/wikiticker-index.json --watch{at}",
            f"  nemeton tasks{at}",
            f"  {url}/docs in a browser",
            "Ctrl-C stops everything.",
        )
    )


def _storage_url(wish: str | None, default: Path) -> str:
    """A plain path becomes absolute here: the parts, and the peons, work in other folders."""
    if wish is not None and "://" in wish:
        return wish
    return (default if wish is None else Path(wish).expanduser()).resolve().as_uri()


def _reachable(host: str) -> str:
    """Where we ourselves reach a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
