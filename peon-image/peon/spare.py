"""
A peon ahead of its task: everything is loaded, and the task comes as a line on standard input.

    {"arguments": [...], "environment": {...}, "logFile": "..."}

The line stands for what a peon is otherwise started with: the arguments of `peon.run`, the variables of this task, and
where both outputs go. A token that comes this way is in no process list, and not even in the environment that the
process began with. When standard input closes first, there will be no task, and the process ends quietly.
"""

import importlib
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

LOADED_AHEAD = (
    "peon.run",
    "peon.task.noop",
    "druid_core.task",
    "peon.toolbox",
    "peon.local_overlord",
    "peon.task.kill",
    # What takes longest comes one by one: a call is heard between any two.
    "numpy",
    "numpy.ma",  # DuckDB imports it when it first hands over a column
    "pyarrow",
    "pyarrow.compute",
    "duckdb",
    "peon.live",
    "peon.task.index",
    "peon.read.json_lines",
    "peon.read.delimited",
    "peon.read.parquet",
    "peon.read.http_stream",
)
"""What `peon.run` imports only when a task needs it, what every task needs first."""


def main() -> int:
    """Load, wait for the call, run the task. The exit status of `peon.run`; 0 when no task came."""
    # Before anything can start a thread: a signal is for the thread that `peon.stop` will start, and a library's thread
    # that does not block it would have the process die of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    for module in LOADED_AHEAD:
        if _is_called(0):
            break  # the task imports what it needs of the rest, as in any peon
        importlib.import_module(module)
    _wait_for_call()
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        return 0

    import orjson

    from peon import run

    raw_call: dict[str, Any] = orjson.loads(line)
    _move_in(raw_call["environment"], Path(raw_call["logFile"]))
    return run.main(raw_call["arguments"])


def _is_called(seconds: float | None) -> bool:
    """Whether there is something to read, be it the end, within this time; None waits for it."""
    return bool(select.select([sys.stdin.fileno()], [], [], seconds)[0])


def _wait_for_call() -> None:
    """
    Wait, and let SIGTERM end a process that has no task: kept for later, it would cancel the first one that comes.

    Once there is a call a signal means the task.
    """
    if not _is_called(0):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        _is_called(None)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))


def _move_in(environment: dict[str, str], log_file: Path) -> None:
    """Take on the outputs and the variables of a task; none of ours that were here before stays."""
    with log_file.open("ab") as log:
        for output in (sys.stdout, sys.stderr):
            output.flush()
            os.dup2(log.fileno(), output.fileno())
    for name in [name for name in os.environ if name.startswith("NEMETON_")]:
        del os.environ[name]
    os.environ.update(environment)


if __name__ == "__main__":
    sys.exit(main())
