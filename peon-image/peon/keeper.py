"""
The first process of a peon's pod: keeps the peon's log, whatever becomes of the peon.

    python -m peon.keeper

It forks before it has loaded anything, so that the peon is the same interpreter and costs no second start. What the
peon writes comes through a pipe and goes to three places: the container's output (for `kubectl logs`), a file (for the
peon's own chat server), and task-log storage, in parts while the peon runs and whole when it has ended. SIGTERM goes to
the peon, once. At the end a line of JSON says in the container's termination message how the peon ended, and its exit
code is ours: 128 and the signal's number where it was killed.
"""

import os
import signal
import sys
import time
from pathlib import Path

_DEFAULT_WORK_DIR = "/work"
_KEPT_FROM_PEON = (signal.SIGTERM, signal.SIGINT)
"""Blocked when the peon begins: `peon.stop` takes them from there, and none that comes early is lost."""


def main() -> int:
    """Fork the peon, keep its log; the peon's exit code. Settings: NEMETON_* of a peon's, see `peon.settings`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_KEPT_FROM_PEON, signal.SIGCHLD))
    began_ms = _began_ms()
    work_dir = Path(os.environ.get("NEMETON_WORK_DIR") or _DEFAULT_WORK_DIR)
    log_file, status_file = work_dir / "log", work_dir / "status.json"
    output, peons_output = os.pipe()
    peon = os.fork()
    if peon == 0:
        os.close(output)
        os.environ["NEMETON_WORK_DIR"] = str(work_dir / "task")  # its scratch, which it may remove
        os.environ["NEMETON_LOG_FILE"] = str(log_file)
        os.environ["NEMETON_STATUS_FILE"] = str(status_file)
        os.environ["NEMETON_KEEPER_BEGAN_MS"] = str(began_ms)
        return _be_peon(peons_output)
    os.close(peons_output)

    from peon.watch import Watch

    exit_code = Watch(peon, output, log_file, status_file, os.environ).keep()
    # A thread may wait for a storage that is away; tidying up would wait for that thread.
    os._exit(exit_code)


def _began_ms() -> int:
    """When the kernel made this process, ms UTC, a hundredth of a second exact: before Python was loaded. proc(5)"""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # starttime, since boot
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return int((time.time() - age_s) * 1000)


def _be_peon(output: int) -> int:
    """In the child, from here to its end."""
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.close(output)
    signal.pthread_sigmask(signal.SIG_SETMASK, _KEPT_FROM_PEON)

    from peon import run

    return run.main([])


if __name__ == "__main__":
    sys.exit(main())
