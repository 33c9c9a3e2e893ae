"""
What a peon is told: by its command line, else by its environment.

    peon TASK_FILE STATUS_FILE [REPORT_FILE]            a task in a file; alone, or with --overlord
    peon TASK_DIR ATTEMPT_ID --task-id ID --overlord …  as the MiddleManager starts it
    peon --task-id ID --overlord URL                    as in a pod: no files, everything goes to storage
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_DESCRIPTION = """\
Runs exactly one task, then ends. Three ways to start it:

  nemeton peon TASK_FILE STATUS_FILE [REPORT_FILE]
      The task is read from a file. Without --overlord the peon runs alone: every lock is granted, and what it would
      publish is written to segments.json beside the status file.
  nemeton peon TASK_DIR ATTEMPT_ID --task-id ID --overlord URL
      As the MiddleManager does it. TASK_DIR/task.json is the task (asked of the Overlord where it is missing);
      status.json and report.json appear in TASK_DIR/attempt/ATTEMPT_ID.
  nemeton peon --task-id ID --overlord URL
      As in a pod. No files: the task comes from the Overlord, status.json and report.json go to --task-logs."""

_EPILOG = """\
example:
  nemeton peon my-task.json status.json report.json --deep-storage /tmp/segments

Every option may be given by the environment as well: --deep-storage is NEMETON_DEEP_STORAGE. The token that the
Overlord gave the attempt is taken from NEMETON_TASK_TOKEN alone, so that no process list shows it.

exit status: 0 when the task ran, whether it succeeded or failed (the status says which); 1 when it could not start;
143 when it was told to stop in a pod."""


@dataclass(frozen=True, slots=True)
class PeonSettings:
    """Where the task comes from, whom it talks to, where its results go."""

    task_file: Path | None
    """Read where it exists; else the payload is fetched from the Overlord."""
    status_file: Path | None
    is_in_pod: bool
    """The status goes to task-log storage, for nobody is there to take a file; and an end that was asked for is told by
    the pod alone."""
    report_file: Path | None
    """Besides, the report is pushed to task-log storage where there is one."""
    task_id: str | None
    is_under_runner: bool
    """Whether a runner on this machine started it, which then tells the Overlord its address."""

    overlord: str | None
    """URL. Druid finds it by discovery."""
    token: str | None
    deep_storage: str | None
    """URL of the folder or bucket. Druid: druid.storage.*"""
    task_logs: str | None
    """URL of the folder or bucket. Druid: druid.indexer.logs.*"""
    host: str
    """Announced, and listened on. Druid: druid.host"""
    port: int
    """Of the chat server; where it is taken, any free one. Druid: druid.plaintextPort"""
    log_file: Path | None
    """Where its own standard output goes, to be served to whoever asks."""
    work_dir: Path | None
    """Scratch; None: a temporary folder. Druid: druid.indexer.task.baseTaskDir"""
    task_dir_bytes: int | None
    """How much `work_dir` may hold. Druid: druid.worker.baseTaskDirSize, divided"""
    keeper_began_ms: int | None
    """When the first process of the peon's pod began, ms UTC, where there is one. Said by the keeper alone."""
    is_gated: bool
    """Wait for a line on standard input before anything is done; end at once when it closes first."""

    @property
    def begun_file(self) -> Path | None:
        """Beside the status file: made when a gated peon is let in."""
        return self.status_file.with_name("begun") if self.status_file is not None else None


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> PeonSettings:
    """Raises SystemExit with a usage message where the arguments make no sense."""
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    files: list[str] = given.files
    task_file = report_file = None
    status_file = Path(given.status_file) if given.status_file else None
    work_dir = Path(given.work_dir) if given.work_dir else None
    is_task_dir = bool(files) and Path(files[0]).is_dir()
    if is_task_dir:
        if len(files) != 2:
            parser.error("TASK_DIR takes one more argument, the ATTEMPT_ID")
        task_dir = Path(files[0])
        attempt_dir = task_dir / "attempt" / files[1]
        task_file, status_file, report_file = (
            task_dir / "task.json",
            attempt_dir / "status.json",
            attempt_dir / "report.json",
        )
        work_dir = work_dir or task_dir / "work"
        if not task_file.exists() and not (given.task_id and given.overlord):
            parser.error(f"{task_file} does not exist; to fetch the task, --task-id and --overlord are needed")
    elif files:
        if len(files) not in (2, 3):
            parser.error("expected TASK_FILE STATUS_FILE [REPORT_FILE]")
        task_file, status_file = Path(files[0]), Path(files[1])
        report_file = Path(files[2]) if len(files) == 3 else None
        if not task_file.is_file():
            parser.error(f"no such task file or folder: {task_file}")
    elif not (given.task_id and given.overlord):
        parser.error("give it a task: TASK_FILE STATUS_FILE, TASK_DIR ATTEMPT_ID, or --task-id ID --overlord URL")
    return PeonSettings(
        task_file=task_file,
        status_file=status_file,
        is_in_pod=not files,
        report_file=report_file,
        task_id=given.task_id,
        is_under_runner=is_task_dir,
        overlord=given.overlord,
        token=environment.get("NEMETON_TASK_TOKEN"),
        deep_storage=given.deep_storage,
        task_logs=given.task_logs,
        host=given.host,
        port=given.port,
        log_file=Path(given.log_file) if given.log_file else None,
        work_dir=work_dir,
        task_dir_bytes=given.task_dir_bytes,
        keeper_began_ms=int(began) if (began := environment.get("NEMETON_KEEPER_BEGAN_MS")) else None,
        is_gated=given.gated,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    def fallback(name: str, default: str | None = None) -> str | None:
        return environment.get(f"NEMETON_{name}") or default

    parser = argparse.ArgumentParser(
        prog="nemeton peon",
        usage="%(prog)s [TASK_FILE STATUS_FILE [REPORT_FILE] | TASK_DIR ATTEMPT_ID] [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--task-id", metavar="ID", default=fallback("TASK_ID"), help="the task to ask the Overlord for")
    parser.add_argument(
        "--overlord", metavar="URL", default=fallback("OVERLORD"), help="such as http://127.0.0.1:8090; none: run alone"
    )
    parser.add_argument(
        "--deep-storage",
        metavar="URL",
        default=fallback("DEEP_STORAGE"),
        help="where segments go: a folder, s3://bucket/prefix, gs://… or az://…",
    )
    parser.add_argument(
        "--task-logs", metavar="URL", default=fallback("TASK_LOGS"), help="where reports go; forms as above"
    )
    parser.add_argument(
        "--host", default=fallback("HOST", "127.0.0.1"), help="address of the chat server (default 127.0.0.1)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=fallback("PORT", "8100"),
        help="port of the chat server (default 8100); 0 or taken: any free one",
    )
    parser.add_argument(
        "--log-file",
        metavar="FILE",
        default=fallback("LOG_FILE"),
        help="where standard output is redirected to, served as the task's log",
    )
    parser.add_argument(
        "--status-file",
        metavar="FILE",
        default=fallback("STATUS_FILE"),
        help="as in a pod: where the final status goes besides storage",
    )
    parser.add_argument(
        "--work-dir", metavar="DIR", default=fallback("WORK_DIR"), help="scratch folder (default: a temporary one)"
    )
    parser.add_argument(
        "--task-dir-bytes",
        metavar="BYTES",
        type=int,
        default=fallback("TASK_DIR_BYTES"),
        help="how much the scratch folder may hold",
    )
    parser.add_argument(
        "--gated", action="store_true", help="begin only after one line on standard input; end when it closes first"
    )
    return parser
