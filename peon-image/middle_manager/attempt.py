"""One attempt on this machine, from the start of its process to the Overlord's leave to forget it."""

import asyncio
import logging
import signal
from collections.abc import Callable

from druid_core.runner import AttemptRef, AttemptReport, AttemptState
from druid_core.status import TaskLocation
from druid_core.storage.task_logs import TaskLogs
from middle_manager.process import Peon, exit_in_words, memory_kills
from middle_manager.record import AttemptEnd, AttemptRecord, RecordShelf, read_status
from middle_manager.ship import ship

_log = logging.getLogger(__name__)


class Attempt:
    """
    A record, and while it lives the process.

    `on_news` is called when there is something new to report. `reason` is why there is no process, where that is known.
    """

    def __init__(
        self,
        record: AttemptRecord,
        peon: Peon | None,
        slot_bytes: int | None,
        shelf: RecordShelf,
        on_news: Callable[["Attempt"], None],
        reason: str | None = None,
    ) -> None:
        self.record = record
        self.slot_bytes = slot_bytes
        self._peon = peon
        self._shelf = shelf
        self._on_news = on_news
        self._stop_reason = reason
        self._memory_kills_before = memory_kills()
        self.is_stopping = False
        self._gone = asyncio.Event()

    @property
    def ref(self) -> AttemptRef:
        return AttemptRef(task_id=self.record.task_id, attempt=self.record.attempt)

    @property
    def is_alive(self) -> bool:
        """Whether its process is."""
        return self._peon is not None

    def report(self, runner_id: str, host: str) -> AttemptReport:
        """What is seen of it now."""
        end = self.record.end
        return AttemptReport(
            runner_id=runner_id,
            task_id=self.record.task_id,
            attempt=self.record.attempt,
            state=AttemptState.RUNNING if end is None else AttemptState.ENDED,
            location=TaskLocation(host=host, port=self.record.port) if end is None else None,
            status=end.status if end else None,
            reason=end.reason if end else None,
        )

    async def live(self, task_logs: TaskLogs | None) -> None:
        """Wait for the process to end, then bring away what it leaves, and say so."""
        if self._peon is not None:
            exit_code = await self._peon.wait()
            self._peon = None
            self._gone.set()
            self._stop_reason = self._stop_reason or exit_in_words(
                exit_code, self.record.log_file, memory_ran_out=memory_kills() > self._memory_kills_before
            )
        if self.record.end is None:
            reason = self._stop_reason or "its process was gone when the MiddleManager came back"
            await ship(self.record, task_logs)
            end = AttemptEnd(reason=reason, status=read_status(self.record))
            self.record = self.record.model_copy(update={"end": end})
            self._shelf.write(self.record)
            word = f"its own word: {end.status.status}" if end.status else reason
            _log.info("Attempt %d of task [%s] ended: %s", self.record.attempt, self.record.task_id, word)
        self._on_news(self)

    async def stop(self, reason: str, grace_seconds: float) -> None:
        """
        Tell the process to end, and end it after a while. Calling twice is calling once.

        `reason` counts where the peon leaves no word of its own.
        """
        peon = self._peon
        if peon is None or self.is_stopping:
            return
        self.is_stopping = True
        self._stop_reason = self._stop_reason or reason
        peon.send(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._gone.wait(), grace_seconds)
        except TimeoutError:
            _log.warning("The peon of task [%s] did not end within %.0f s", self.record.task_id, grace_seconds)
            peon.send(signal.SIGKILL)

    def kill(self, reason: str) -> None:
        """End the process at once, without a chance to say another reason than this one."""
        if self._peon is not None and self._stop_reason is None:
            self._stop_reason = reason
            self._peon.send(signal.SIGKILL)

    def forget(self) -> bool:
        """Remove all traces of an attempt that has ended; whether it had."""
        if self.record.end is None:
            return False
        self._shelf.remove(self.record)
        return True
