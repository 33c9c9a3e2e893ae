"""Nouns on the wire: statuses, locks, segments, shard specs, reports, the runner's protocol."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from druid_core.interval import Interval
from druid_core.lock import LockType, TaskLock
from druid_core.report import IngestionState, IngestionStatsAndErrors, ParseExceptionReport, RowTotals, report_frame
from druid_core.runner import (
    Assignment,
    AttemptRef,
    AttemptReport,
    AttemptState,
    RunnerAnnouncement,
    RunnerOrders,
)
from druid_core.segment import DataSegment, SegmentIdWithShardSpec, segment_id
from druid_core.shard_spec import NumberedShardSpec, RangeShardSpec, ShardSpec
from druid_core.status import ERROR_MSG_LIMIT, StatusCode, TaskLocation, TaskStatus, shorten
from druid_core.wire import WireModel, camel

GOLDEN = Path(__file__).parents[2] / "golden" / "druid-api"
DAY = Interval.parse("2026-01-01/2026-01-02")


class Example(WireModel):
    some_name: int
    k8s_pod_name: str | None = None


def test_names_are_camel_case_and_nulls_are_written() -> None:
    assert Example(some_name=1).to_json() == b'{"someName":1,"k8sPodName":null}'
    assert Example.model_validate({"someName": "2", "unknown": True}) == Example(some_name=2)
    assert camel("max_rows_per_segment") == "maxRowsPerSegment"


def test_wire_models_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Example(some_name=1).some_name = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_status_is_written_as_druid_writes_it() -> None:
    assert TaskStatus.running("a").to_json() == (
        b'{"id":"a","status":"RUNNING","duration":-1,"errorMsg":null,"location":{"host":null,"port":-1,"tlsPort":-1}}'
    )
    assert not TaskStatus.running("a").is_complete
    assert TaskStatus.success("a", 5).is_complete
    assert TaskStatus.failure("a", "why").error_msg == "why"


def test_status_of_a_pod_names_the_pod_also_inside_other_json() -> None:
    location = TaskLocation(host="h", port=8100, k8s_pod_name="pod")
    status = TaskStatus(id="a", status=StatusCode.RUNNING, location=location)
    report = AttemptReport(runner_id="r", task_id="a", attempt=1, state=AttemptState.RUNNING, status=status)
    wire = {"host": "h", "port": 8100, "tlsPort": -1, "k8sPodName": "pod"}
    assert location.to_wire() == status.to_wire()["location"] == wire
    assert report.to_wire()["status"]["location"] == wire
    assert AttemptReport.model_validate_json(report.to_json()) == report
    assert TaskLocation.model_validate(wire) == location
    assert location.is_known
    assert not TaskLocation().is_known


def test_status_without_location_reads_as_unknown() -> None:
    status = TaskStatus.model_validate({"id": "a", "status": "SUCCESS", "duration": 1, "location": None})
    assert status.location == TaskLocation()


@given(st.text(min_size=ERROR_MSG_LIMIT + 1, max_size=3000, alphabet="abc"))
def test_long_error_is_cut_in_the_middle(message: str) -> None:
    cut = shorten(message)
    assert cut.startswith(message[:512] + "...<")
    assert cut.endswith("..." + message[-512:])
    assert f"<{len(message) - 1024} characters omitted..." in cut


def test_error_of_the_greatest_length_is_kept() -> None:
    assert shorten("x" * ERROR_MSG_LIMIT) == "x" * ERROR_MSG_LIMIT
    assert TaskStatus.failure("a", "x" * 1025).error_msg == f"{'x' * 512}...<1 characters omitted...{'x' * 512}"


def test_lock_has_no_granularity_on_the_wire() -> None:
    lock = TaskLock(type=LockType.REPLACE, group_id="g", data_source="wiki", interval=DAY, version="v", priority=50)
    assert lock.to_json() == (
        b'{"type":"REPLACE","groupId":"g","dataSource":"wiki",'
        b'"interval":"2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z","version":"v","priority":50,"revoked":false}'
    )
    assert TaskLock.model_validate(lock.to_wire()) == lock


def test_published_segment_is_written_as_druid_writes_it() -> None:
    recorded = (GOLDEN / "segment-payload.json").read_text()

    segment = DataSegment.model_validate_json(recorded)

    assert json.dumps(segment.to_wire()) == json.dumps(json.loads(recorded))
    assert segment.dimensions[:2] == ["page", "language"]
    assert segment.metrics == []


def test_segment_inside_a_list_is_written_the_same() -> None:
    segment = DataSegment(data_source="a", interval=DAY, version="v", dimensions=["x", "y"], projections=["p"])
    inside = TypeAdapter(list[DataSegment]).dump_python([segment], mode="json", by_alias=True)
    assert inside == [segment.to_wire()]
    assert (inside[0]["dimensions"], inside[0]["metrics"], inside[0]["projections"]) == ("x,y", "", "p")
    assert "totalRows" not in inside[0]


def test_segments_are_the_same_when_their_ids_are() -> None:
    one = DataSegment(data_source="a", interval=DAY, version="v", size=1)
    other = DataSegment(data_source="a", interval=DAY, version="v", size=2)
    third = DataSegment(
        data_source="a", interval=DAY, version="v", shard_spec=NumberedShardSpec(partition_num=1, partitions=2)
    )
    assert one == other != third
    assert {one, other, third} == {one, third}
    assert third.id == "a_2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_v_1"


def test_segment_without_shard_spec_is_the_first_of_no_core_set() -> None:
    raw: dict[str, Any] = {"dataSource": "a", "interval": str(DAY), "version": "v", "shardSpec": None}
    assert DataSegment.model_validate(raw).shard_spec == NumberedShardSpec(partition_num=0, partitions=1)
    assert DataSegment.model_validate(raw | {"dimensions": None}).dimensions == []


def test_id_of_the_first_partition_has_no_suffix() -> None:
    assert segment_id("a", DAY, "v", 0) == "a_2026-01-01T00:00:00.000Z_2026-01-02T00:00:00.000Z_v"
    identity = SegmentIdWithShardSpec(
        data_source="a", interval=DAY, version="v", shard_spec=NumberedShardSpec(partition_num=2, partitions=0)
    )
    assert identity.id.endswith("_v_2")
    assert SegmentIdWithShardSpec.model_validate(identity.to_wire()) == identity


SHARD_SPECS: list[tuple[dict[str, Any], int]] = [
    ({"type": "numbered", "partitionNum": 3, "partitions": 4}, 3),
    (
        {
            "type": "hashed",
            "partitionNum": 1,
            "partitions": 2,
            "bucketId": 1,
            "numBuckets": 2,
            "partitionDimensions": ["a"],
            "partitionFunction": "murmur3_32_abs",
        },
        1,
    ),
    (
        {
            "type": "range",
            "dimensions": ["a", "b"],
            "start": None,
            "end": ["x", None],
            "partitionNum": 0,
            "numCorePartitions": 2,
        },
        0,
    ),
    (
        {
            "type": "single",
            "dimension": "a",
            "start": None,
            "end": "m",
            "partitionNum": 5,
            "numCorePartitions": 6,
        },
        5,
    ),
    (
        {
            "type": "numbered_overwrite",
            "partitionId": 32768,
            "startRootPartitionId": 0,
            "endRootPartitionId": 2,
            "minorVersion": 1,
            "atomicUpdateGroupSize": 1,
        },
        32768,
    ),
    ({"type": "linear", "partitionNum": 7}, 7),
    ({"type": "none"}, 0),
    ({"type": "tombstone", "partitionNum": 0, "partitions": 1}, 0),
]


@pytest.mark.parametrize(("wire", "partition"), SHARD_SPECS, ids=[str(row[0]["type"]) for row in SHARD_SPECS])
def test_shard_spec_of_every_type_comes_back_as_it_was(wire: dict[str, Any], partition: int) -> None:
    adapter: TypeAdapter[ShardSpec] = TypeAdapter(ShardSpec)
    spec = adapter.validate_python(wire)
    assert spec.to_wire() == wire
    assert spec.partition_num == partition


def test_range_of_everything_is_open_at_both_ends() -> None:
    spec = RangeShardSpec(dimensions=["a"], partition_num=0, num_core_partitions=1)
    assert (spec.start, spec.end) == (None, None)


def test_report_has_druids_frame() -> None:
    payload = IngestionStatsAndErrors(
        ingestion_state=IngestionState.COMPLETED,
        row_stats={
            "buildSegments": RowTotals(processed=2, thrown_away=1, thrown_away_by_reason={"filtered": 1}).to_wire()
        },
        segments_published=1,
    )

    frame = report_frame("ingestionStatsAndErrors", "T", payload.to_wire())

    assert list(frame) == ["ingestionStatsAndErrors"]
    assert orjson.dumps(frame["ingestionStatsAndErrors"]) == (
        b'{"type":"ingestionStatsAndErrors","taskId":"T","payload":{"ingestionState":"COMPLETED","unparseableEvents":{},'
        b'"rowStats":{"buildSegments":{"processed":2,"processedBytes":0,"processedWithError":0,"thrownAway":1,'
        b'"thrownAwayByReason":{"filtered":1},"unparseable":0}},"errorMsg":null,"segmentAvailabilityConfirmed":false,'
        b'"segmentAvailabilityWaitTimeMs":0,"recordsProcessed":null,"segmentsRead":null,"segmentsPublished":1}}'
    )


def test_kept_error_has_druids_names() -> None:
    kept = ParseExceptionReport(input="x", error_type="unparseable", details=["why"], time_of_exception_millis=5)
    assert kept.to_wire() == {
        "input": "x",
        "errorType": "unparseable",
        "details": ["why"],
        "timeOfExceptionMillis": 5,
    }


def test_runner_and_overlord_understand_each_other() -> None:
    announcement = RunnerAnnouncement(
        runner_id="h:8091",
        kind="middle-manager",
        host="h:8091",
        ip="127.0.0.1",
        version="0",
        capacity=2,
        attempts=[AttemptRef(task_id="a", attempt=1)],
    )
    orders = RunnerOrders(
        start=[Assignment(task_id="b", attempt=2, type="noop", data_source="none", group_id="b", token="t")],
        stop=[AttemptRef(task_id="a", attempt=1)],
    )

    assert RunnerAnnouncement.model_validate_json(announcement.to_json()) == announcement
    assert RunnerOrders.model_validate_json(orders.to_json()) == orders
    assert orders.to_wire()["start"][0]["taskId"] == "b"
    assert RunnerOrders().to_wire() == {"start": [], "stop": [], "forget": [], "outcomes": [], "execution": None}
