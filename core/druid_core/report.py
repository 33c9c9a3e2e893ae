"""Task reports: rows counted, errors kept, and the frame they travel in."""

from enum import StrEnum
from typing import Any

from druid_core.wire import WireModel


class IngestionState(StrEnum):
    """Druid: IngestionState"""

    NOT_STARTED = "NOT_STARTED"
    DETERMINE_PARTITIONS = "DETERMINE_PARTITIONS"
    BUILD_SEGMENTS = "BUILD_SEGMENTS"
    SEGMENT_AVAILABILITY_WAIT = "SEGMENT_AVAILABILITY_WAIT"
    COMPLETED = "COMPLETED"


class RowTotals(WireModel):
    """How many rows met which end. Druid: RowIngestionMetersTotals"""

    processed: int = 0
    processed_bytes: int = 0
    processed_with_error: int = 0
    thrown_away: int = 0
    thrown_away_by_reason: dict[str, int] = {}
    unparseable: int = 0


class ParseExceptionReport(WireModel):
    """One kept error. Druid: ParseExceptionReport"""

    input: str
    error_type: str  # unparseable | processedWithError
    details: list[str]
    time_of_exception_millis: int


class IngestionStatsAndErrors(WireModel):
    """The payload of an ingestion report. Druid: IngestionStatsAndErrors"""

    ingestion_state: IngestionState
    unparseable_events: dict[str, Any] = {}
    row_stats: dict[str, Any] = {}
    error_msg: str | None = None
    segment_availability_confirmed: bool = False
    segment_availability_wait_time_ms: int = 0
    records_processed: dict[str, int] | None = None
    segments_read: int | None = None
    segments_published: int | None = None


def report_frame(kind: str, task_id: str, payload: Any) -> dict[str, Any]:
    """One entry of a report map: `{kind: {type, taskId, payload}}`."""
    return {kind: {"type": kind, "taskId": task_id, "payload": payload}}
