"""The MiddleManager itself: takes the Overlord's orders, keeps its attempts, says what it sees."""

import asyncio
import itertools
import logging
import socket
import subprocess
import time
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any

from druid_core.errors import Unavailable
from druid_core.runner import Assignment, AttemptRef, RunnerAnnouncement, RunnerOrders
from druid_core.storage.task_logs import TaskLogs
from druid_core.task_type import SUPPORTED_TYPES
from middle_manager.attempt import Attempt
from middle_manager.disk import bytes_below
from middle_manager.overlord_client import OverlordClient
from middle_manager.process import (
    Peon,
    boot_id,
    compile_ahead,
    identity_of,
    peon_arguments,
    peon_command,
    peon_environment,
    variables,
)
from middle_manager.record import AttemptRecord, RecordShelf
from middle_manager.settings import MiddleManagerSettings
from middle_manager.slots import divide_slots, free_share
from middle_manager.spares import Spares

_log = logging.getLogger(__name__)

_POLL_SECONDS = 20
"""Of a long poll: short enough for any proxy's patience."""
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
"""After orders that asked for nothing new, so that an Overlord that repeats itself is not asked without pause."""
_GATE_SECONDS = 20.0
"""More than an interpreter ever needs to start."""
_LAST_WORDS_SECONDS = 10.0
"""At the end, for logs and reports to go out."""

Key = tuple[str, int]


class MiddleManager:
    """
    One machine's runner. Druid: MiddleManager, ForkingTaskRunner

    All methods belong to one event loop. What must survive it is on disk before it is done.
    """

    def __init__(self, settings: MiddleManagerSettings) -> None:
        self._settings = settings
        self._overlord = OverlordClient(settings.overlord, settings.runner_token)
        self._task_logs = TaskLogs.from_url(settings.task_logs) if settings.task_logs else None
        self._shelf = RecordShelf(settings.data / "attempts")
        self._bytecode_dir = settings.data / "bytecode"
        self._compiler: subprocess.Popen[bytes] | None = None
        self._spares = Spares(
            settings.spare_peons, peon_environment({}, self._bytecode_dir), settings.spare_quiet_seconds
        )
        self._disabled_mark = settings.data / "disabled"
        self._boot_id = boot_id()
        self._version = version("nemeton")
        self._shares = divide_slots(settings.worker_capacity, settings.base_task_dirs, settings.base_task_dir_bytes)
        for folder in settings.base_task_dirs:
            folder.mkdir(parents=True, exist_ok=True)
        self._attempts: dict[Key, Attempt] = {}
        self._unreported: set[Key] = set()
        self._has_news = asyncio.Event()
        self._announce_now = asyncio.Event()
        self._is_stopping = False
        self._overlord_is_away = False
        self._background: set[asyncio.Task[None]] = set()

    # what the worker API shows and changes

    @property
    def is_enabled(self) -> bool:
        return not self._disabled_mark.exists()

    def enable(self, enabled: bool) -> None:
        """Take new tasks, or none; kept over restarts."""
        if enabled:
            self._disabled_mark.unlink(missing_ok=True)
        else:
            self._disabled_mark.touch()
        self._announce_now.set()

    @property
    def running_task_ids(self) -> list[str]:
        return [attempt.record.task_id for attempt in self._attempts.values() if attempt.is_alive]

    def shut_down(self, task_id: str) -> bool:
        """End a task's peon; whether there was one."""
        found = [attempt for attempt in self._attempts.values() if attempt.record.task_id == task_id]
        for attempt in found:
            self._go(attempt.stop("shut down through the MiddleManager", self._settings.grace_seconds))
        return any(attempt.is_alive for attempt in found)

    def log_file(self, task_id: str) -> Path | None:
        """The log of the task's latest attempt here."""
        here = [attempt.record for attempt in self._attempts.values() if attempt.record.task_id == task_id]
        latest = max(here, key=lambda record: record.attempt, default=None)
        return latest.log_file if latest and latest.log_file.exists() else None

    # its life

    async def run(self) -> None:
        """Work until cancelled. Finds the attempts of an earlier MiddleManager first."""
        await self._take_over()
        self._compiler = compile_ahead(peon_environment({}, self._bytecode_dir))
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._follow_orders())
            loops.create_task(self._announce())
            loops.create_task(self._report())
            loops.create_task(self._watch_disks())
            loops.create_task(self._spares.keep(lambda: len(self.running_task_ids), self._slots_for_spares))

    async def stop(self) -> None:
        """
        End all peons and say so; to be called when `run` has ended. Takes the grace period and a few seconds at most.
        """
        self._is_stopping = True
        self._go(self._spares.dismiss())
        alive = [attempt for attempt in self._attempts.values() if attempt.is_alive]
        _log.info("Stopping; peons that run: %d", len(alive))
        self._go(self._say(self._overlord.announce(self._announcement())))
        for attempt in alive:
            self._go(attempt.stop("the MiddleManager was stopped", self._settings.grace_seconds))
        longest = self._settings.grace_seconds + _LAST_WORDS_SECONDS
        if self._background:
            await asyncio.wait(self._background, timeout=longest)
        reports = self._reports(set(self._attempts))
        if reports:
            await self._say(self._overlord.report(reports))
        if self._compiler is not None:
            self._compiler.kill()
            self._compiler.wait()
        await self._overlord.close()

    async def _take_over(self) -> None:
        for record in self._shelf.read_all():
            peon, reason = None, None
            if record.end is None and record.boot_id != self._boot_id:
                reason = "the machine was restarted"
            elif record.end is None:
                peon = await _find_past_gate(record)
                if peon is None and not record.has_begun:
                    # It has done nothing, and the Overlord never heard of it: it will be handed out again.
                    self._shelf.remove(record)
                    continue
                reason = None if peon else "its process was gone when the MiddleManager came back"
            state = "still runs" if peon else "has ended" if record.end else "is gone"
            _log.info("Attempt %d of task [%s] %s", record.attempt, record.task_id, state)
            self._keep(record, peon, reason)

    def _keep(self, record: AttemptRecord, peon: Peon | None, reason: str | None = None) -> None:
        slot_bytes = next((share.slot_bytes for share in self._shares if share.folder == record.base_dir), None)
        attempt = Attempt(record, peon, slot_bytes, self._shelf, self._on_news, reason)
        self._attempts[_key(attempt.ref)] = attempt
        if attempt.is_alive:
            self._on_news(attempt)
        self._go(attempt.live(self._task_logs))

    # orders

    async def _follow_orders(self) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            asked = time.monotonic()
            try:
                orders = await self._overlord.next_orders(self._announcement(), _POLL_SECONDS)
            except Unavailable as error:
                self._note_absence(error)
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)
            else:
                self._note_presence()
                wait_seconds = _FIRST_WAIT_SECONDS
                if not self._obey(orders) and time.monotonic() - asked < _PAUSE_SECONDS:
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def _announce(self) -> None:
        while True:
            try:
                self._obey(await self._overlord.announce(self._announcement()))
                self._note_presence()
            except Unavailable as error:
                self._note_absence(error)
            try:
                await asyncio.wait_for(self._announce_now.wait(), self._settings.heartbeat_seconds)
            except TimeoutError:
                continue
            self._announce_now.clear()

    def _obey(self, orders: RunnerOrders) -> bool:
        """Do what is asked and not done yet; whether there was any such thing."""
        news = False
        for ref in orders.stop:
            attempt = self._attempts.get(_key(ref))
            if attempt is not None and attempt.is_alive and not attempt.is_stopping:
                news = True
                self._go(attempt.stop("shut down by the Overlord", self._settings.grace_seconds))
        for ref in orders.forget:
            attempt = self._attempts.get(_key(ref))
            if attempt is not None and attempt.forget():
                news = True
                self._drop(attempt)
        for assignment in orders.start:
            if (assignment.task_id, assignment.attempt) not in self._attempts:
                news |= self._start(assignment)
        return news

    def _start(self, assignment: Assignment) -> bool:
        """
        Start the peon of an attempt; False where there is no room for it now.

        Without a pause for anything else: no announcement can name the attempt before its process is on record.
        """
        living = [attempt.record for attempt in self._attempts.values() if attempt.is_alive]
        share = free_share(self._shares, [record.base_dir for record in living])
        if share is None or self._is_stopping:
            _log.warning("No slot is free for task [%s]", assignment.task_id)
            return False
        record = AttemptRecord(
            task_id=assignment.task_id,
            attempt=assignment.attempt,
            base_dir=share.folder,
            port=self._free_port({record.port for record in living}),
            boot_id=self._boot_id,
        )
        try:
            if not self._shelf.create(record):
                _log.error("Attempt %d of task [%s] is on record already", record.attempt, record.task_id)
                return False
            peon = self._start_peon(record, assignment, share.slot_bytes)
        except OSError as error:
            _log.error("The peon of task [%s] could not be started: %s", record.task_id, error)
            self._keep(record, None, f"its peon could not be started: {error}")
            return True
        record = record.model_copy(update={"process": peon.identity})
        self._shelf.write(record)
        peon.open_gate()
        _log.info(
            "Attempt %d of task [%s] started: pid %d, port %d",
            *(record.attempt, record.task_id, peon.identity.pid, record.port),
        )
        self._keep(record, peon)
        return True

    def _start_peon(self, record: AttemptRecord, assignment: Assignment, slot_bytes: int | None) -> Peon:
        """A spare that is given the task; where none waits, a process made for it."""
        settings = self._settings
        told = {
            "TASK_TOKEN": assignment.token,
            "DEEP_STORAGE": settings.deep_storage,
            "TASK_LOGS": settings.task_logs,
            "HOST": settings.host,
            "PORT": str(record.port),
            "LOG_FILE": str(record.log_file),
            "WORK_DIR": str(record.task_dir / "work"),
            "TASK_DIR_BYTES": str(slot_bytes) if slot_bytes is not None else None,
        }
        arguments = peon_arguments(record.task_dir, record.attempt, record.task_id, settings.overlord)
        self._spares.note_start()
        return self._spares.call(arguments, variables(told), record.log_file) or Peon.start(
            peon_command(arguments), peon_environment(told, self._bytecode_dir), record.log_file
        )

    def _slots_for_spares(self) -> int:
        """None while no task can come, or the first bytecode is being made: a spare would make it once more."""
        is_compiling = self._compiler is not None and self._compiler.poll() is None
        is_open = self.is_enabled and not self._overlord_is_away
        return self._settings.worker_capacity if is_open and not is_compiling else 0

    def _free_port(self, taken: set[int]) -> int:
        """The first port from the start port on that neither a peon has nor a stranger."""
        for port in itertools.count(self._settings.peon_start_port):
            if port in taken:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self._settings.host, port))
                except OSError:
                    continue
                return port
        raise AssertionError("itertools.count does not end")

    # what is said

    def _announcement(self) -> RunnerAnnouncement:
        is_open = self.is_enabled and not self._is_stopping
        return RunnerAnnouncement(
            runner_id=self._settings.runner_id,
            kind="middle-manager",
            host=self._settings.runner_id,
            ip=self._settings.host,
            version=self._version,
            capacity=self._settings.worker_capacity if is_open else 0,
            enabled=is_open,
            task_types=list(SUPPORTED_TYPES),
            attempts=[attempt.ref for attempt in self._attempts.values()],
        )

    def _on_news(self, attempt: Attempt) -> None:
        self._unreported.add(_key(attempt.ref))
        self._has_news.set()

    async def _report(self) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            keys, self._unreported = self._unreported, set()
            reports = self._reports(keys)
            if not reports:
                continue
            try:
                await self._overlord.report(reports)
                wait_seconds = _FIRST_WAIT_SECONDS
            except Unavailable as error:
                self._note_absence(error)
                self._unreported |= keys
                self._has_news.set()
                await asyncio.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LONGEST_WAIT_SECONDS)

    def _reports(self, keys: set[Key]) -> list[Any]:
        kept = [self._attempts[key] for key in sorted(keys) if key in self._attempts]
        return [attempt.report(self._settings.runner_id, self._settings.host) for attempt in kept]

    def _note_absence(self, error: Unavailable) -> None:
        if not self._overlord_is_away:
            self._overlord_is_away = True
            _log.warning("%s; trying again until it does, peons go on", error)

    def _note_presence(self) -> None:
        """An Overlord that was away may be another one now, and is told everything again."""
        if self._overlord_is_away:
            self._overlord_is_away = False
            _log.info("The Overlord answers again")
            self._spares.note_start()  # whatever else starts on this machine together with it comes first
            self._unreported |= set(self._attempts)
            self._has_news.set()

    async def _say(self, words: Coroutine[Any, Any, object]) -> None:
        try:
            await asyncio.wait_for(words, _LAST_WORDS_SECONDS / 3)
        except (Unavailable, TimeoutError) as error:
            _log.warning("The Overlord could not be told: %s", error or "it takes too long")

    # disks

    async def _watch_disks(self) -> None:
        while True:
            await asyncio.sleep(self._settings.disk_check_seconds)
            for attempt in list(self._attempts.values()):
                if attempt.is_alive and attempt.slot_bytes is not None:
                    held = await asyncio.to_thread(bytes_below, attempt.record.task_dir)
                    if held > attempt.slot_bytes:
                        attempt.kill(
                            f"ended by the MiddleManager: its task folder held {held} bytes, more than its share of "
                            f"{attempt.slot_bytes} bytes (--base-task-dir-size, divided by the slots of the folder)"
                        )

    # threads of work

    def _drop(self, attempt: Attempt) -> None:
        self._attempts.pop(_key(attempt.ref), None)
        self._unreported.discard(_key(attempt.ref))

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _find_past_gate(record: AttemptRecord) -> Peon | None:
    """
    The peon of an earlier MiddleManager, if it is alive.

    One that still starts will soon find at its gate either the word to begin or nobody; until then it is neither.
    """
    if record.process is None:
        return None
    deadline = time.monotonic() + _GATE_SECONDS
    while not record.has_begun and time.monotonic() < deadline:
        if identity_of(record.process.pid) != record.process:
            break
        await asyncio.sleep(0.05)
    return Peon.find(record.process)


def _key(ref: AttemptRef) -> Key:
    return ref.task_id, ref.attempt
