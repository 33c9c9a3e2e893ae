"""Which process is meant: a pid alone is not enough, since the kernel hands it out again."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from druid_core.errors import NemetonError


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process for good: its pid, when it started, and in which boot of the machine."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The living process with this pid; None where there is none (a zombie is none)."""
        start_ticks = _start_ticks(pid)
        return None if start_ticks is None else cls(pid, start_ticks, _boot_id())

    def is_alive(self) -> bool:
        return ProcessIdentity.of(self.pid) == self

    def send(self, signal_number: signal.Signals) -> None:
        """Safe to call when it is gone. Never reaches a stranger who got its pid."""
        if self.is_alive():
            try:
                os.kill(self.pid, signal_number)
            except ProcessLookupError:
                return

    def gone_within(self, seconds: float) -> bool:
        """Waits for its end. Also for processes that are no children of ours."""
        until = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)
        return True

    def save(self, path: Path) -> None:
        beside = path.with_name(f".{path.name}.new")
        beside.write_bytes(orjson.dumps({"pid": self.pid, "startTicks": self.start_ticks, "bootId": self.boot_id}))
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> "ProcessIdentity | None":
        """None where nothing was recorded, or nothing that can be read."""
        try:
            raw = orjson.loads(path.read_bytes())
            return cls(int(raw["pid"]), int(raw["startTicks"]), str(raw["bootId"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None


def end(process: ProcessIdentity, *signals: tuple[signal.Signals, float]) -> None:
    """
    Ends a process: each signal in turn, with the seconds it is given. Raises NemetonError where it outlives them all.
    """
    for signal_number, seconds in signals:
        process.send(signal_number)
        if process.gone_within(seconds):
            return
    raise NemetonError(f"process {process.pid} of an earlier run does not end; end it by hand: kill -9 {process.pid}")


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything; the fields after it are counted from the last parenthesis.
    fields = stat[stat.rindex(b")") + 2 :].split()
    state, start_ticks = fields[0], int(fields[19])
    return None if state in (b"Z", b"X") else start_ticks


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
