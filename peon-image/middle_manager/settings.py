"""What a MiddleManager is told: by its command line, else by its environment (`--data` is `NEMETON_DATA`)."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_EPILOG = """\
example:
  nemeton middle-manager --overlord http://127.0.0.1:8090 --worker-capacity 4 \\
      --deep-storage s3://druid/segments --task-logs s3://druid/logs

Every option may be given by the environment as well: --worker-capacity is NEMETON_WORKER_CAPACITY; several folders in
NEMETON_BASE_TASK_DIR are separated by colons. The secret that an Overlord may ask runners for is taken from
NEMETON_RUNNER_TOKEN alone, so that no process list shows it. Where there is one, callers of the worker API show it,
those on this machine too, unless NEMETON_TRUST_THIS_MACHINE is true.

When it is told to stop (SIGTERM, Ctrl-C), its peons are told too, have --grace seconds to end, and are then killed.
When it is killed itself, its peons go on; the next start on the same --data finds them again."""


@dataclass(frozen=True, slots=True)
class MiddleManagerSettings:
    """One machine's slots, folders and addresses."""

    overlord: str
    """URL."""
    data: Path
    """Its own state: which attempts there are, whether it is disabled. Not to be shared between two."""
    host: str = "127.0.0.1"
    """Announced, and listened on by the worker API and by the peons. Druid: druid.host"""
    port: int = 8091
    """Of the worker API. Druid: druid.plaintextPort"""
    worker_capacity: int = 2
    """Tasks at once; the Overlord keeps to it. Druid: druid.worker.capacity"""
    spare_peons: int = 1
    """
    Processes that have loaded everything and wait for a task, which then begins about a second sooner; 0: none.

    One, because each holds some 120 MiB while it waits, and the next is ready seconds after a task took it.
    """
    base_task_dirs: tuple[Path, ...] = ()
    """Slots are divided among them; none: `tasks` below `data`. Druid: druid.worker.baseTaskDirs"""
    base_task_dir_bytes: int | None = None
    """How much each of these may hold, divided among its slots and kept. Druid: druid.worker.baseTaskDirSize"""
    peon_start_port: int = 8100
    """The first chat port that a peon gets; the next ones follow. Druid: druid.indexer.runner.startPort"""
    deep_storage: str | None = None
    """URL or folder. Druid: druid.storage.*"""
    task_logs: str | None = None
    """URL or folder. Druid: druid.indexer.logs.*"""
    grace_seconds: float = 30.0
    """Between SIGTERM and SIGKILL: enough to end a batch. Druid: druid.indexer.task.gracefulShutdownTimeout"""
    heartbeat_seconds: float = 5.0
    """Between two announcements: a small part of the time after which the Overlord gives a silent runner up."""
    disk_check_seconds: float = 3.0
    """Between two looks at what the task folders hold. Listing a folder costs about as many system calls as files."""

    runner_token: str | None = field(default=None, repr=False)
    """The runners' secret, for an Overlord that asks for it. Never by the command line, which everybody can read."""

    trusts_this_machine: bool = True
    """
    Whether callers of its own machine may use the worker API without that secret. Peons are such callers, so not by
    default where there is a secret.
    """

    spare_quiet_seconds: float = 2.0
    """
    After the last start of anything, until a spare is loaded: a burst of short tasks is not to pay for spares, nor an
    ingestion to share its cores with one.
    """

    @property
    def runner_id(self) -> str:
        return f"{self.host}:{self.port}"


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> MiddleManagerSettings:
    """Raises SystemExit with a usage message where the arguments make no sense."""
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    if given.overlord is None:
        parser.error("--overlord URL is needed, such as http://127.0.0.1:8090")
    if given.worker_capacity < 0:
        parser.error(f"--worker-capacity is {given.worker_capacity}; it counts tasks and cannot be below 0")
    if given.spare_peons < 0:
        parser.error(f"--spare-peons is {given.spare_peons}; it counts processes and cannot be below 0")
    data = Path(given.data).absolute()
    folders: list[str] = given.base_task_dir or environment.get("NEMETON_BASE_TASK_DIR", "").split(":")
    runner_token = environment.get("NEMETON_RUNNER_TOKEN") or None
    return MiddleManagerSettings(
        overlord=given.overlord.rstrip("/"),
        data=data,
        host=given.host,
        port=given.port,
        worker_capacity=given.worker_capacity,
        spare_peons=given.spare_peons,
        base_task_dirs=tuple(Path(folder).absolute() for folder in folders if folder) or (data / "tasks",),
        base_task_dir_bytes=given.base_task_dir_size,
        peon_start_port=given.peon_start_port,
        deep_storage=_absolute(given.deep_storage),
        task_logs=_absolute(given.task_logs),
        grace_seconds=given.grace,
        runner_token=runner_token,
        trusts_this_machine=environment.get("NEMETON_TRUST_THIS_MACHINE", str(runner_token is None)).lower() == "true",
    )


def _absolute(url: str | None) -> str | None:
    """A plain folder independent of where the process stands."""
    return str(Path(url).absolute()) if url and "://" not in url else url


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    def fallback(name: str, default: str | None = None) -> str | None:
        return environment.get(f"NEMETON_{name}") or default

    parser = argparse.ArgumentParser(
        prog="nemeton middle-manager",
        description="Runs tasks on this machine: asks the Overlord for work and starts a peon process for each task.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--overlord", metavar="URL", default=fallback("OVERLORD"), help="whose tasks to run")
    parser.add_argument(
        "--data",
        metavar="DIR",
        default=fallback("DATA", "nemeton-data/middle-manager"),
        help="folder of its own state (default %(default)s)",
    )
    parser.add_argument("--host", default=fallback("HOST", "127.0.0.1"), help="address (default %(default)s)")
    parser.add_argument(
        "--port", type=int, default=fallback("PORT", "8091"), help="port of the worker API (default %(default)s)"
    )
    parser.add_argument(
        "--worker-capacity",
        metavar="N",
        type=int,
        default=fallback("WORKER_CAPACITY", "2"),
        help="task slots (default %(default)s)",
    )
    parser.add_argument(
        "--spare-peons",
        metavar="N",
        type=int,
        default=fallback("SPARE_PEONS", "1"),
        help="processes that have loaded everything and wait for a task, about 120 MiB each (default %(default)s)",
    )
    parser.add_argument(
        "--base-task-dir",
        metavar="DIR",
        action="append",
        help="folder for the tasks' files; may be repeated, slots are divided (default: tasks, below --data)",
    )
    parser.add_argument(
        "--base-task-dir-size",
        metavar="BYTES",
        type=int,
        default=fallback("BASE_TASK_DIR_SIZE"),
        help="how much each of these folders may hold; a task beyond its share is ended (default: no limit)",
    )
    parser.add_argument(
        "--peon-start-port",
        metavar="PORT",
        type=int,
        default=fallback("PEON_START_PORT", "8100"),
        help="first port for peons (default %(default)s)",
    )
    parser.add_argument(
        "--deep-storage",
        metavar="URL",
        default=fallback("DEEP_STORAGE"),
        help="where segments go: a folder, s3://bucket/prefix, gs://… or az://…",
    )
    parser.add_argument(
        "--task-logs", metavar="URL", default=fallback("TASK_LOGS"), help="where logs and reports go; forms as above"
    )
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=float,
        default=fallback("GRACE", "30"),
        help="what a peon has to end after SIGTERM (default %(default)s)",
    )
    return parser
