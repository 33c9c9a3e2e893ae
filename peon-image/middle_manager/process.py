"""Processes: started behind a gate, known by more than their pid, watched until they end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from druid_core.wire import WireModel

_OUT_OF_MEMORY_COUNTER = Path("/proc/vmstat")
_OOM_SCORE = 500
"""
Added to a peon's share of the memory, in thousandths, when the kernel looks for a process to end: where memory runs out
it is then the peon that took it, and neither the Overlord nor PostgreSQL beside it. Linux: proc_pid_oom_score_adj(5)
"""
_LAST_LINE_BYTES = 2048
_LAST_LINE_CHARACTERS = 300
_PYTHON = (sys.executable, "-P", "-m")
"""`-P`: modules are never taken from the folder where the MiddleManager happens to stand."""


class ProcessIdentity(WireModel):
    """A process that cannot be mistaken for a later one of the same pid: its start is counted in ticks since boot."""

    pid: int
    start_ticks: int


class Peon:
    """
    A process of one attempt, started by this MiddleManager or by the one before it.

    Held by a pidfd: signals reach this process or none.
    """

    def __init__(self, identity: ProcessIdentity, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = identity
        self._child = child
        self._pidfd = os.pidfd_open(identity.pid)

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str], log_file: Path) -> "Peon":
        """
        Start a process in a session of its own, so that it outlives us; both its outputs are appended to `log_file`.

        It waits at its gate, for a line on its standard input. Raises OSError where it cannot be started.
        """
        with log_file.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        _offer_to_the_kernel(child.pid)
        return cls(_identity_of_child(child), child)

    @classmethod
    def start_spare(cls, environment: Mapping[str, str]) -> "Peon":
        """
        Start a process that loads what tasks need and waits for `call`, in a session of its own.

        What it complains of until then goes where our own words go. Raises OSError where it cannot be started.
        """
        child = subprocess.Popen(
            [*_PYTHON, "peon.spare"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        _offer_to_the_kernel(child.pid)
        return cls(_identity_of_child(child), child)

    @classmethod
    def find(cls, identity: ProcessIdentity) -> "Peon | None":
        """The process of an earlier MiddleManager, if it is still alive."""
        if identity_of(identity.pid) != identity:
            return None
        try:
            peon = cls(identity, None)
        except ProcessLookupError:
            return None
        # Between the look and the hold it may have ended, and its pid be another's.
        return peon if identity_of(identity.pid) == identity else None

    def call(self, arguments: Sequence[str], environment: Mapping[str, str], log_file: Path) -> bool:
        """
        Give a spare its task; it waits at its gate then, as one that was started. False where it is gone.

        From the first line on both its outputs are appended to `log_file`. Raises OSError where that cannot be made.
        """
        log_file.open("ab").close()
        call = {"arguments": arguments, "environment": environment, "logFile": str(log_file)}
        try:
            os.write(self._input, orjson.dumps(call) + b"\n")
        except BrokenPipeError:
            return False
        return True

    def open_gate(self) -> None:
        """Let it begin."""
        with contextlib.suppress(BrokenPipeError):  # it ended already; whoever waits for its end learns why
            os.write(self._input, b"begin\n")
        self.leave()

    def leave(self) -> None:
        """Say nothing more to it: one that still waits for a word ends. Calling twice is calling once."""
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()

    @property
    def has_ended(self) -> bool:
        """Whether a process that we started is no more."""
        return self._child is not None and self._child.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; no error when it is gone."""
        if self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self) -> int | None:
        """Wait until it has ended. Its exit code, negative for a signal; None where only its parent could know."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(self._pidfd, lambda: ended.done() or ended.set_result(None))
        try:
            await ended
        finally:
            loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        return self._child.wait() if self._child is not None else None

    @property
    def _input(self) -> int:
        assert self._child is not None
        assert self._child.stdin is not None
        return self._child.stdin.fileno()


def identity_of(pid: int) -> ProcessIdentity | None:
    """Who has this pid now; None for nobody, and for one that has ended and only waits to be buried."""
    stat = _read_stat(pid)
    return None if stat is None or stat[0] in "ZX" else stat[1]


def peon_environment(settings: Mapping[str, str | None], bytecode_dir: Path) -> dict[str, str]:
    """
    Our environment, without what was meant for us, and with what is meant for the peon.

    Where Python is told not to keep bytecode beside its sources, it is kept in `bytecode_dir`: else each peon would
    compile every module anew, which takes longer than a small task.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEMETON_")}
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        environment.setdefault("PYTHONPYCACHEPREFIX", str(bytecode_dir))
    return environment | variables(settings)


def variables(settings: Mapping[str, str | None]) -> dict[str, str]:
    """What is meant for the peon, as variables of its environment."""
    return {f"NEMETON_{name}": value for name, value in settings.items() if value is not None}


def peon_command(arguments: Sequence[str]) -> list[str]:
    """What starts a peon that is no spare."""
    return [*_PYTHON, "peon.run", *arguments]


def peon_arguments(task_dir: Path, attempt: int, task_id: str, overlord: str) -> list[str]:
    """What every peon of ours is told, a spare as well. No secrets: whoever may list processes reads it."""
    return [str(task_dir), str(attempt), f"--task-id={task_id}", f"--overlord={overlord}", "--gated"]


def compile_ahead(environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """
    Start to fill an empty bytecode folder, at low priority, so that the first task need not do it.

    None where Python keeps bytecode by itself, or the folder was filled before.
    """
    folder = environment.get("PYTHONPYCACHEPREFIX")
    if folder is None or Path(folder).exists():
        return None
    return subprocess.Popen(
        [sys.executable, "-P", "-c", "import os; os.nice(10); import peon.run, peon.task.noop, peon.task.index"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
    )


def exit_in_words(exit_code: int | None, log_file: Path | None, *, memory_ran_out: bool) -> str:
    """How a process ended, for the person who sent the task; with its last words where it failed by itself."""
    if exit_code is None:
        return "its process ended, and with what exit code is unknown: the MiddleManager was restarted meanwhile"
    if exit_code >= 0:
        words = _last_line(log_file) if exit_code and log_file is not None else ""
        return f"exit code {exit_code}" + (f"; its log ends with: {words}" if words else "")
    name = signal.Signals(-exit_code).name if -exit_code in signal.valid_signals() else "unknown"
    perhaps = ", perhaps out of memory: the kernel ended a process for that meanwhile"
    return f"killed by signal {-exit_code} ({name})" + (perhaps if memory_ran_out and name == "SIGKILL" else "")


def memory_kills() -> int:
    """How many processes of this machine the kernel has killed for want of memory, limits of cgroups included."""
    try:
        lines = _OUT_OF_MEMORY_COUNTER.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def boot_id() -> str:
    """A name that the machine gets anew each time it starts."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _offer_to_the_kernel(pid: int) -> None:
    """Make it the first to go when memory runs out; one that is so already stays so. Needs no privilege."""
    file = Path(f"/proc/{pid}/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):  # a kernel or container that does not let us is no reason to stop
        if int(file.read_text()) < _OOM_SCORE:
            file.write_text(str(_OOM_SCORE))


def _identity_of_child(child: subprocess.Popen[bytes]) -> ProcessIdentity:
    stat = _read_stat(child.pid)
    assert stat is not None  # a child that ended is still there until its exit code is read
    return stat[1]


def _read_stat(pid: int) -> tuple[str, ProcessIdentity] | None:
    """State letter and identity. Linux: proc(5)"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in brackets, which may itself hold spaces and brackets.
    state, *fields = stat.rpartition(")")[2].split()
    return state, ProcessIdentity(pid=pid, start_ticks=int(fields[18]))


def _last_line(log_file: Path) -> str:
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_LINE_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:_LAST_LINE_CHARACTERS] if lines else ""
