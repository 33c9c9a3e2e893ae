"""
The reports of ingestion tasks: the live one, and the one that stays.

Both are made from one IngestionProgress, which the task writes while the chat server's threads read it.
"""

from collections.abc import Mapping
from typing import Any

from druid_core.report import IngestionState, IngestionStatsAndErrors, RowTotals, report_frame
from peon.report.meters import RowMeters
from peon.report.parse_exceptions import ParseExceptionHandler

DETERMINE_PARTITIONS = "determinePartitions"
BUILD_SEGMENTS = "buildSegments"

REPORT_KIND = "ingestionStatsAndErrors"
CONTEXT_KIND = "taskContext"

_DOING = {
    IngestionState.NOT_STARTED: "the task was starting",
    IngestionState.DETERMINE_PARTITIONS: "partitions were being determined",
    IngestionState.BUILD_SEGMENTS: "segments were being built",
    IngestionState.SEGMENT_AVAILABILITY_WAIT: "the task waited for its segments",
    IngestionState.COMPLETED: "the task was ending",
}


class IngestionProgress:
    """
    Where an ingestion stands: its state, and by phase the rows counted and the errors kept.

    A phase appears under `meters` and `parse_exceptions` when it begins. `saves_parse_exceptions` is whether the task's
    maxSavedParseExceptions is above 0; without it a final report has no place for them.
    """

    def __init__(self) -> None:
        self.state = IngestionState.NOT_STARTED
        self.meters: dict[str, RowMeters] = {}
        self.parse_exceptions: dict[str, ParseExceptionHandler] = {}
        self.saves_parse_exceptions = False

    @property
    def doing(self) -> str:
        """What was going on, as the end of a sentence that begins with `while`."""
        return _DOING[self.state]

    def row_stats(self, now_ms: int, *, full: bool = False) -> dict[str, Any]:
        """Totals and moving averages by phase. `full` adds the phases before buildSegments."""
        meters = {phase: meter for phase, meter in dict(self.meters).items() if full or phase == BUILD_SEGMENTS}
        return {
            "totals": {phase: meter.totals().to_wire() for phase, meter in meters.items()},
            "movingAverages": {phase: meter.moving_averages(now_ms) for phase, meter in meters.items()},
        }

    def unparseable_events(self, *, full: bool = False) -> dict[str, list[dict[str, Any]]]:
        """The errors kept, by phase, newest first. `full` adds the phases before buildSegments."""
        return {
            phase: [kept.to_wire() for kept in handler.saved()]
            for phase, handler in dict(self.parse_exceptions).items()
            if full or phase == BUILD_SEGMENTS
        }

    def live_report(self, task_id: str, now_ms: int, *, full: bool = False) -> dict[str, Any]:
        """The report of a task that runs."""
        payload = IngestionStatsAndErrors(
            ingestion_state=self.state,
            unparseable_events=self.unparseable_events(full=full),
            row_stats=self.row_stats(now_ms, full=full),
        )
        return report_frame(REPORT_KIND, task_id, payload.to_wire())

    def final_report(
        self,
        task_id: str,
        context: Mapping[str, Any],
        *,
        error_msg: str | None = None,
        segments_published: int | None = None,
        records_processed: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """
        The report of an `index` task, or of an `index_parallel` that ran as one; both phases are always in it.

        `error_msg` is not shortened here.
        """
        phases = (DETERMINE_PARTITIONS, BUILD_SEGMENTS)
        kept = self.unparseable_events(full=True)
        payload = IngestionStatsAndErrors(
            ingestion_state=self.state,
            unparseable_events={phase: kept.get(phase, []) for phase in phases} if self.saves_parse_exceptions else {},
            row_stats={
                phase: (self.meters[phase].totals() if phase in self.meters else RowTotals()).to_wire()
                for phase in phases
            },
            error_msg=error_msg,
            records_processed=None if records_processed is None else dict(records_processed),
            segments_published=segments_published,
        )
        return report_frame(REPORT_KIND, task_id, payload.to_wire()) | report_frame(
            CONTEXT_KIND, task_id, dict(context)
        )
