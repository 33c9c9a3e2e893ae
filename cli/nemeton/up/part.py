"""One part of the house: a process that is started, waited for, watched, started again, and ended."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from druid_core.errors import NemetonError
from nemeton.up.address import listens
from nemeton.up.identity import ProcessIdentity
from nemeton.up.leash import Account, leashed

READY_POLL_S = 0.02
"""
Between two looks whether a part is ready. Short, because they add up to the start's duration; each costs microseconds.
"""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
"""Before a part that died is started again: 0.2 s, doubled each time up to 10 s."""

STEADY_AFTER_S = 30.0
"""A part that ran this long has recovered: its next death is a first one again."""

LOG_KEPT_BYTES = 16 * 1024 * 1024
"""A part's log that is longer when the part starts is set aside as `.1`."""


class PartFailed(NemetonError):
    """A part that did not get ready. The text ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a part is, before any process exists."""

    name: str
    command: Sequence[str]
    is_ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str]
    where: str
    """Said behind its name when it is ready."""
    log: Path
    record: Path
    port: int | None = None
    """Where it listens: an answer counts only when it comes from this part, and not from a stranger on its port."""
    ready_within_s: float = 30.0
    death_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when `nemeton up` dies without stopping it."""
    stop_signals: Sequence[tuple[signal.Signals, float]] = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
    """How it is ended: each signal with the seconds it is given."""
    run_as: Account | None = None
    before_start: Callable[[], None] = field(default=lambda: None)
    """Clears away what a dead predecessor left. Runs before each start."""


class Keeper:
    """Keeps one part running until told to stop."""

    def __init__(self, part: Part, say: Callable[[str], None]) -> None:
        self.part = part
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._log_begins = 0  # in bytes: what its process of now has written begins here

    async def start(self) -> float:
        """
        Starts the part and returns when it is ready, with the seconds that it took.

        Raises PartFailed where it ends before, or does not get ready in time.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        self.part.before_start()
        process = self._process = await self._spawn()
        while not (self._is_at_its_port(process.pid) and await self.part.is_ready()):
            if process.returncode is not None:
                raise PartFailed(
                    f"{self.part.name} ended before it was ready, {in_words(process.returncode)}\n{self._last_words()}"
                )
            if clock() - started > self.part.ready_within_s:
                await self._end(process)
                waited = f"{self.part.ready_within_s:.0f} s"
                raise PartFailed(f"{self.part.name} was not ready within {waited}\n{self._last_words()}")
            await asyncio.sleep(READY_POLL_S)
        return clock() - started

    async def keep(self) -> None:
        """Starts the part again whenever it dies. Returns when it was stopped."""
        clock = asyncio.get_running_loop().time
        pause = FIRST_PAUSE_S
        while not self._stopping and self._process is not None:
            since = clock()
            code = await self._process.wait()
            if self._stopping:
                return
            if clock() - since >= STEADY_AFTER_S:
                pause = FIRST_PAUSE_S
            self._say(f"{self.part.name} died, {in_words(code)}; starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            try:
                took = await self.start()
                self._say(f"{self.part.name} is back after {took:.2f} s")
            except PartFailed as failure:
                self._say(str(failure))

    async def stop(self) -> None:
        """Ends the part with its own signals, in bounded time. Safe to call when it never started."""
        self._stopping = True
        if self._process is not None:
            await self._end(self._process)
        self.part.record.unlink(missing_ok=True)

    async def _spawn(self) -> asyncio.subprocess.Process:
        part = self.part
        if part.log.exists() and part.log.stat().st_size > LOG_KEPT_BYTES:
            part.log.replace(part.log.with_name(f"{part.log.name}.1"))
        with part.log.open("ab") as log:
            self._log_begins = log.tell()
            process = await asyncio.create_subprocess_exec(
                *leashed(part.command, part.death_signal, part.run_as),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=part.environment,
                # Ctrl-C in the terminal must not reach the parts past us: they are ended in order.
                start_new_session=True,
            )
        identity = ProcessIdentity.of(process.pid)
        if identity is not None:
            identity.save(part.record)
        return process

    def _is_at_its_port(self, pid: int) -> bool:
        return self.part.port is None or listens(pid, self.part.port)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        for signal_number, seconds in self.part.stop_signals:
            if process.returncode is not None:
                return
            try:
                process.send_signal(signal_number)
                await asyncio.wait_for(process.wait(), seconds)
            except ProcessLookupError:
                return
            except TimeoutError:
                continue

    def _last_words(self) -> str:
        with self.part.log.open("rb") as log:
            log.seek(max(self._log_begins, self.part.log.stat().st_size - 4096))
            lines = log.read().decode(errors="replace").splitlines()[-15:]
        return "\n".join([f"the last lines of {self.part.log}:", *(f"  {line}" for line in lines)])


def in_words(return_code: int) -> str:
    """How a process ended, as a person would say it."""
    if return_code < 0:
        return f"killed by signal {-return_code} ({signal.Signals(-return_code).name})"
    return f"exit status {return_code}"
