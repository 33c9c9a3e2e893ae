"""The shapes of live and final reports, key for key."""

from druid_core.report import IngestionState
from peon.report.ingestion import BUILD_SEGMENTS, DETERMINE_PARTITIONS, IngestionProgress
from peon.report.meters import RowMeters
from peon.report.parse_exceptions import ParseExceptionHandler

COUNTERS = ["processed", "processedBytes", "processedWithError", "thrownAway", "unparseable"]
ZEROES = {
    "processed": 0,
    "processedBytes": 0,
    "processedWithError": 0,
    "thrownAway": 0,
    "thrownAwayByReason": {},
    "unparseable": 0,
}


def progress_of(*phases: str) -> IngestionProgress:
    progress = IngestionProgress()
    for phase in phases:
        progress.meters[phase] = RowMeters(lambda: 0)
        progress.parse_exceptions[phase] = ParseExceptionHandler(
            progress.meters[phase], 10, 5, log=False, clock=lambda: 0
        )
    return progress


def test_a_task_that_starts_has_an_empty_live_report() -> None:
    report = IngestionProgress().live_report("t", 0)
    payload = report["ingestionStatsAndErrors"]["payload"]
    assert payload["ingestionState"] == "NOT_STARTED"
    assert payload["rowStats"] == {"totals": {}, "movingAverages": {}}
    assert payload["errorMsg"] is None


def test_a_live_report_has_totals_and_averages_of_the_building_phase() -> None:
    progress = progress_of(DETERMINE_PARTITIONS, BUILD_SEGMENTS)
    progress.state = IngestionState.BUILD_SEGMENTS
    progress.meters[BUILD_SEGMENTS].processed(100)
    stats = progress.row_stats(5_000)
    assert stats["totals"] == {BUILD_SEGMENTS: ZEROES | {"processed": 100}}
    averages = stats["movingAverages"][BUILD_SEGMENTS]
    assert list(averages) == ["1m", "5m", "15m"]
    assert sorted(averages["1m"]) == sorted(COUNTERS)
    assert averages["1m"]["processed"] == 20


def test_full_adds_the_phase_before() -> None:
    progress = progress_of(DETERMINE_PARTITIONS, BUILD_SEGMENTS)
    assert list(progress.row_stats(0, full=True)["totals"]) == [DETERMINE_PARTITIONS, BUILD_SEGMENTS]
    assert list(progress.unparseable_events(full=True)) == [DETERMINE_PARTITIONS, BUILD_SEGMENTS]
    assert list(progress.unparseable_events()) == [BUILD_SEGMENTS]


def test_the_final_report_has_both_phases_and_the_context() -> None:
    progress = progress_of(BUILD_SEGMENTS)
    progress.state = IngestionState.COMPLETED
    progress.meters[BUILD_SEGMENTS].processed(5)
    report = progress.final_report("t", {"forceTimeChunkLock": True}, segments_published=1)
    assert report == {
        "ingestionStatsAndErrors": {
            "type": "ingestionStatsAndErrors",
            "taskId": "t",
            "payload": {
                "ingestionState": "COMPLETED",
                "unparseableEvents": {},
                "rowStats": {DETERMINE_PARTITIONS: ZEROES, BUILD_SEGMENTS: ZEROES | {"processed": 5}},
                "errorMsg": None,
                "segmentAvailabilityConfirmed": False,
                "segmentAvailabilityWaitTimeMs": 0,
                "recordsProcessed": None,
                "segmentsRead": None,
                "segmentsPublished": 1,
            },
        },
        "taskContext": {"type": "taskContext", "taskId": "t", "payload": {"forceTimeChunkLock": True}},
    }
    assert list(report) == ["ingestionStatsAndErrors", "taskContext"]


def test_kept_errors_appear_where_the_task_wanted_them() -> None:
    progress = progress_of(BUILD_SEGMENTS)
    progress.saves_parse_exceptions = True
    progress.parse_exceptions[BUILD_SEGMENTS].unparseable("{bad", "cannot be read")
    events = progress.final_report("t", {})["ingestionStatsAndErrors"]["payload"]["unparseableEvents"]
    assert events[DETERMINE_PARTITIONS] == []
    assert [kept["input"] for kept in events[BUILD_SEGMENTS]] == ["{bad"]


def test_a_failed_task_keeps_its_state_and_its_whole_message() -> None:
    progress = progress_of(BUILD_SEGMENTS)
    progress.state = IngestionState.BUILD_SEGMENTS
    payload = progress.final_report("t", {}, error_msg="x" * 5000)["ingestionStatsAndErrors"]["payload"]
    assert (payload["ingestionState"], len(payload["errorMsg"])) == ("BUILD_SEGMENTS", 5000)
