"""
Peons ahead of their tasks: everything is loaded, and they wait, so that a task does not begin with a second of imports.

They are nobody's attempt until they are called, and none outlives the MiddleManager: its death closes their input.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL

from middle_manager.process import Peon, exit_in_words

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
"""Between two looks: how late the death of a spare is noticed. A look costs one system call a spare."""
_LONGEST_PAUSE_SECONDS = 60.0
"""Between two that die by themselves: where one cannot live, the next one hardly can."""
_LEAVE_SECONDS = 3.0
"""For a spare to end by itself: several times the longest import."""
_PEON_CORES = 2
"""What an ingestion keeps busy: it reads on one core and builds on another."""


class Spares:
    """
    Up to `wanted` waiting processes, made one at a time and only in quiet times.

    `environment` is a peon's without what belongs to one task. All methods belong to one event loop.
    """

    def __init__(self, wanted: int, environment: Mapping[str, str], quiet_seconds: float) -> None:
        self._wanted = wanted
        self._environment = environment
        self._quiet_seconds = quiet_seconds
        self._pause_seconds = quiet_seconds
        self._waiting: list[Peon] = []
        self._last_start = time.monotonic()

    def note_start(self) -> None:
        """Something was started just now: quiet begins anew."""
        self._last_start = time.monotonic()

    def call(self, arguments: Sequence[str], environment: Mapping[str, str], log_file: Path) -> Peon | None:
        """
        Hand a task to the one that has waited longest; it now stands at its gate, like any peon that was just started.

        None where none is alive. Raises OSError where there can be no log.
        """
        for spare in self._waiting:
            if spare.call(arguments, environment, log_file):
                self._waiting.remove(spare)
                self._pause_seconds = self._quiet_seconds
                return spare
        return None

    async def keep(self, running: Callable[[], int], slots: Callable[[], int]) -> None:
        """
        Replace those that are gone, until cancelled. `running` counts peons at work, `slots` how many there may be.
        """
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._bury()
            is_quiet = time.monotonic() - self._last_start >= self._pause_seconds
            if is_quiet and is_wanted(len(self._waiting), self._wanted, running(), slots(), _cores()):
                self._load()

    async def dismiss(self) -> None:
        """End all of them, those that do not listen by force. Calling twice is calling once."""
        leaving, self._waiting = self._waiting, []
        for spare in leaving:
            spare.leave()
        for spare in leaving:
            try:
                await asyncio.wait_for(spare.wait(), _LEAVE_SECONDS)
            except TimeoutError:
                spare.send(SIGKILL)
                await spare.wait()

    def _load(self) -> None:
        self.note_start()
        try:
            spare = Peon.start_spare(self._environment)
        except OSError as error:
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
            _log.warning("A spare peon could not be started: %s", error)
            return
        self._waiting.append(spare)
        _log.info("A spare peon waits: pid %d", spare.identity.pid)

    async def _bury(self) -> None:
        for spare in [spare for spare in self._waiting if spare.has_ended]:
            self._waiting.remove(spare)
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
            spare.leave()
            words = exit_in_words(await spare.wait(), None, memory_ran_out=False)
            _log.warning("The spare peon of pid %d ended before it had a task: %s", spare.identity.pid, words)


def is_wanted(waiting: int, wanted: int, running: int, slots: int, cores: int) -> bool:
    """
    Whether one more is to be loaded now: it must find a slot free, and take no core from a task.

    The first of these is a matter of memory: a spare that no slot is free for would wait for another task's end.
    """
    return waiting < min(wanted, slots - running) and running * _PEON_CORES < cores


def _cores() -> int:
    """Those that this process, and so its peons, may run on."""
    return len(os.sched_getaffinity(0))
