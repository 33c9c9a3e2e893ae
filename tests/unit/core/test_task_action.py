"""Task actions: what Java peons send is understood, and what ours send looks the same."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from druid_core.action import (
    LockAcquire,
    LockTryAcquire,
    SegmentListUsed,
    SegmentNuke,
    SegmentPublishResult,
    SegmentTransactionalInsert,
    SegmentVisibility,
    TaskAction,
    UpdateLocation,
)
from druid_core.interval import Interval
from druid_core.lock import LockType
from druid_core.segment import DataSegment
from druid_core.status import TaskLocation

RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "golden" / "druid-api" / "peon-actions.json").read_text()
)
ACTIONS: TypeAdapter[TaskAction] = TypeAdapter(TaskAction)
DAY = Interval.parse("2026-01-01/2026-01-02")


@pytest.mark.parametrize("recorded", RECORDED, ids=[str(action["type"]) for action in RECORDED])
def test_action_of_a_java_peon_is_read_whole(recorded: dict[str, Any]) -> None:
    wire = ACTIONS.validate_python(recorded).to_wire()
    assert {name: wire[name] for name in recorded} == recorded
    assert all(wire[name] is None or name == "visibility" for name in wire.keys() - recorded.keys())


def test_unknown_action_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not match any of the expected tags"):
        ACTIONS.validate_python({"type": "dropTables"})


def test_defaults_are_druids() -> None:
    assert LockAcquire(interval=DAY).timeout_ms == 0
    assert LockTryAcquire(interval=DAY, lock_type=LockType.APPEND).to_wire()["lockType"] == "APPEND"
    assert SegmentListUsed(data_source="a", intervals=[DAY]).visibility is SegmentVisibility.ONLY_VISIBLE


def test_location_travels_as_druid_spells_it() -> None:
    location = TaskLocation(host="h", port=8100, k8s_pod_name="pod")
    wire = UpdateLocation(location=location).to_wire()
    assert wire["location"]["k8sPodName"] == "pod"
    assert ACTIONS.validate_python(wire) == UpdateLocation(location=location)


def test_publish_and_its_answer_carry_segments_as_stored() -> None:
    segment = DataSegment(data_source="a", interval=DAY, version="v", dimensions=["x", "y"], metrics=["m"])
    insert = SegmentTransactionalInsert(segments=[segment], segments_to_be_overwritten=[segment])
    answer = SegmentPublishResult(segments=[segment], success=True)
    assert insert.to_wire()["segments"] == insert.to_wire()["segmentsToBeOverwritten"] == [segment.to_wire()]
    assert answer.to_wire()["segments"] == SegmentNuke(segments=[segment]).to_wire()["segments"] == [segment.to_wire()]
    assert SegmentPublishResult.model_validate_json(answer.to_json()).segments[0].dimensions == ["x", "y"]
