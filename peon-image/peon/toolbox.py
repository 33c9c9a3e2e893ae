"""What a task is handed to work with, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from druid_core.input_policy import UNBOUND, InputPolicy
from druid_core.storage.deep_storage import DeepStorage
from druid_core.storage.task_logs import TaskLogs
from peon.actions import TaskActions
from peon.report.ingestion import IngestionProgress
from peon.report.meters import RowMeters
from peon.stop import StopSignal


@dataclass(frozen=True, slots=True)
class Toolbox:
    """
    All that lies outside a task's own work. Druid: TaskToolbox

    `clock` returns milliseconds UTC. `work_dir` is the task's own and empty at the start; whoever made it removes it.
    `disk_budget_bytes` is how much it may hold, `memory_bytes` how much memory the process may take (None: no limit).
    `input_policy` says where it may read from.
    `keeper_began_ms` is when the first process of the pod began, in the clock's time; None outside of a pod.
    """

    task_id: str
    overlord: TaskActions
    work_dir: Path
    deep_storage: DeepStorage
    task_logs: TaskLogs | None
    clock: Callable[[], int]
    stop: StopSignal
    progress: IngestionProgress = field(default_factory=IngestionProgress)
    disk_budget_bytes: int | None = None
    memory_bytes: int | None = None
    keeper_began_ms: int | None = None
    input_policy: InputPolicy = UNBOUND

    @property
    def meters(self) -> dict[str, RowMeters]:
        """Row meters by phase (`determinePartitions`, `buildSegments`); live reports read them."""
        return self.progress.meters


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """How a task that succeeded ends: with a report map, or without one (noop)."""

    report: dict[str, Any] | None = None
