"""
What is done with log storage: logs made safe, reports read. In the background, a few at once, tried until it works.

Storage may be away for hours; the tasks it concerns wait, and nothing else does.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, BinaryIO, Protocol

import orjson

from druid_core.errors import NemetonError, NotFound, StorageError
from druid_core.storage.task_logs import TaskLogName, TaskLogs
from overlord_operator import names
from overlord_operator.log.ship import make_safe
from overlord_operator.mirror import Ref
from overlord_operator.observed import Memory
from overlord_operator.pod.seen import sentence
from overlord_operator.steps import ReadReport, SaveLog

_log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Logs and reports under way: each may hold some MiB."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_REPORT_SECONDS = 10.0
"""For a report. It is only for a number in the status, which does not wait longer."""


class PodLogs(Protocol):
    """What of the API server logs need."""

    async def pod_log(self, namespace: str, name: str, container: str, out: BinaryIO) -> bool: ...


class StorageWork:
    """Begins work and notes its end in the task's memory; `poke` has the task looked at then."""

    def __init__(
        self,
        logs: TaskLogs | None,
        cluster: PodLogs,
        memory: Callable[[Ref], Memory],
        poke: Callable[[Ref], None],
        patience_seconds: int,
    ) -> None:
        self._logs = logs
        self._cluster = cluster
        self._memory = memory
        self._poke = poke
        self._patience_seconds = patience_seconds
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def save_log_later(self, ref: Ref, step: SaveLog) -> None:
        memory = self._memory(ref)
        if step.attempt not in memory.saving_logs and self._logs is not None:
            memory.saving_logs |= {step.attempt}
            self._go(self._save_log(self._logs, ref, step))

    def read_report_later(self, ref: Ref, step: ReadReport) -> None:
        memory = self._memory(ref)
        if not memory.is_reading_report and self._logs is not None:
            memory.is_reading_report = True
            self._go(self._read_report(self._logs, ref, step.task_id))

    async def stop(self) -> None:
        """Leave what is under way to the next leader."""
        for work in self._under_way:
            work.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _save_log(self, logs: TaskLogs, ref: Ref, step: SaveLog) -> None:
        async def fetch(out: BinaryIO) -> bool:
            if step.pod_name is None:
                return False
            return await self._cluster.pod_log(ref.namespace, step.pod_name, names.PEON_CONTAINER, out)

        memory = self._memory(ref)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        try:
            while not await self._try_save(logs, ref, step, fetch):
                if loop.time() > give_up:
                    _log.error(
                        "The log of task [%s], attempt %d, could not be stored for %d s and is given up",
                        *(step.task_id, step.attempt, self._patience_seconds),
                    )
                    break  # what is safe is what needs no pod any more; the trouble stays on record
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                memory.log_troubles.pop(step.attempt, None)
            memory.safe_logs |= {step.attempt}
        finally:
            memory.saving_logs -= {step.attempt}
        self._poke(ref)

    async def _try_save(self, logs: TaskLogs, ref: Ref, step: SaveLog, fetch: Callable[[BinaryIO], Any]) -> bool:
        async with self._slots:
            try:
                return await make_safe(logs, step.task_id, step.attempt, fetch, step.why)
            except NemetonError as error:
                _log.warning("The log of task [%s], attempt %d, waits: %s", step.task_id, step.attempt, error)
                troubles = self._memory(ref).log_troubles
                if isinstance(error, StorageError) and step.attempt not in troubles:
                    troubles[step.attempt] = sentence(str(error))
                    self._poke(ref)
                return False

    async def _read_report(self, logs: TaskLogs, ref: Ref, task_id: str) -> None:
        memory = self._memory(ref)
        try:
            async with asyncio.timeout(_REPORT_SECONDS), self._slots:
                text = await asyncio.to_thread(logs.read, task_id, TaskLogName.REPORT)
            memory.rows = rows_of(orjson.loads(text))
        except NotFound:
            pass  # a task of a type that reports nothing, or a peon that was killed
        except (NemetonError, TimeoutError, orjson.JSONDecodeError) as error:
            _log.info("The rows of task [%s] are not known: %s", task_id, error or "storage did not answer in time")
        memory.has_read_report = True
        memory.is_reading_report = False
        self._poke(ref)

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


def rows_of(raw_report: Any) -> int | None:
    """Rows that were processed, summed over the parts of a report; None where it counts none."""
    found: list[int] = []
    for part in raw_report.values() if isinstance(raw_report, dict) else ():
        payload = part.get("payload") if isinstance(part, dict) else None
        stats = payload.get("rowStats") if isinstance(payload, dict) else None
        # of a task that runs in one process the counts stand there by themselves. Druid: ParallelIndexSupervisorTask
        totals = stats.get("totals", stats) if isinstance(stats, dict) else None
        rows = totals.get("buildSegments") if isinstance(totals, dict) else None
        if isinstance(rows, dict) and isinstance(rows.get("processed"), int):
            found.append(rows["processed"])
    return sum(found) if found else None
